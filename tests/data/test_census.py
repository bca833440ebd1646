"""What a data set holds, counted by hand."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

import factories
import factories_coco_panoptic
from project.data.categories import IGNORE_LABEL
from project.data.checks.census import SplitCensus, census_table, take_census
from project.data.dataset import read_info, read_records
from project.data.labels import read_semantic
from project.data.problems import Problems
from project.data.spec import read_spec
from project.data.validate import check_dataset


def census(spec: Path, *, quick: bool = False) -> dict[str, SplitCensus]:
    return check_dataset(read_spec(spec), quick=quick).census


def square(number: int, image: int, side: int, category: int = 3, **more) -> dict:
    box = [2, 2, side, side]
    x, y, right = 2, 2, 2 + side
    polygon = [x, y, right, y, right, right, x, right]
    area = side * side
    fields = {"id": number, "image_id": image, "category_id": category, "bbox": box, "area": area}
    return fields | {"segmentation": [polygon], "iscrowd": 0} | more


def test_objects_sizes_and_pixels(tmp_path):
    """COCO's bounds: 31 is small, 32 and 95 are medium, 96 is large; a crowd is no object."""
    spec = factories.make_coco(tmp_path, num_images=3, size=(200, 200))
    content = json.loads((tmp_path / "train.json").read_text())
    objects = [square(i, 10, side) for i, side in enumerate((31, 32, 95, 96), start=1)]
    objects.append(square(5, 11, 50, category=7))
    rle = {"size": [200, 200], "counts": [0, 40_000]}
    crowd = {"segmentation": rle, "iscrowd": 1, "bbox": [0, 0, 200, 200], "area": 40_000}
    objects.append(square(6, 12, 9) | crowd)
    (tmp_path / "train.json").write_text(json.dumps(content | {"annotations": objects}))
    found = census(spec)["train"]
    assert found.images == 3
    assert found.objects == {"square": 4, "disc": 1}
    assert [found.images_with[name] for name in ("square", "disc")] == [1, 1]
    assert found.sizes == {"small": 1, "medium": 3, "large": 1}
    assert found.per_image == (0, 1, 4)
    assert found.pixels == {
        "background": 2 * 200 * 200 - 96**2 - 50**2,  # the squares lie in one another
        "square": 31**2 + 32**2 + 95**2 + 96**2,
        "disc": 50**2,
    }
    assert found.ignored == 200 * 200, "the crowd"
    assert found.images_with["background"] == 2
    assert census(spec, quick=True)["train"].pixels is None


def test_pixels_of_label_maps(tmp_path):
    spec = factories.make_label_map(tmp_path, num_images=2)
    values = np.zeros((64, 64), np.uint8)
    values[:16] = 1
    values[-8:] = 255
    for number in range(2):
        Image.fromarray(values).save(tmp_path / f"labels/train/00{number}.png")
    found = census(spec)["train"]
    assert found.pixels == {"background": 2 * 40 * 64, "square": 2 * 16 * 64}
    assert found.images_with == {"background": 2, "square": 2}
    assert found.objects == {} and found.per_image == ()
    assert found.ignored == 2 * 8 * 64 and found.unexplained == 0
    text = census_table({"train": found})
    assert "train: 2 images; 12.5% of all pixels are to be ignored" in text
    assert "objects" not in text and "71.4%" in text and "28.6%" in text, "40 and 16 of 56 rows"


def test_the_table(tmp_path):
    spec = factories.make_coco(tmp_path, labels=True)
    found = census(spec)
    text = census_table(found)
    counts = found["train"].per_image
    assert f"train: 6 images, {sum(counts)} objects; in an image {counts[0]} to" in text
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines()[-3:]}
    assert list(rows) == ["background", "square", "disc"]
    assert rows["disc"][0] == str(found["train"].objects["disc"])
    assert rows["disc"][1] == str(found["train"].images_with["disc"])
    shares = [float(rows[name][-1].rstrip("%")) for name in rows]
    assert abs(sum(shares) - 100) < 0.3 and shares[0] > 50
    assert yaml.safe_load(spec.read_text())["name"] not in text


def test_background_is_what_the_painted_truth_says(tmp_path):
    """Objects, a crowd, an object of a box only and an image without any, none overlapping."""
    spec = factories.make_coco(tmp_path, num_images=3, size=(100, 200))
    content = json.loads((tmp_path / "train.json").read_text())
    objects = [square(1, 10, 30), square(2, 11, 20, category=7)]
    (tmp_path / "train.json").write_text(json.dumps(content | {"annotations": objects}))
    info = read_info(read_spec(spec), "train")
    records = read_records(info, Problems(strict=True))
    boxed = dict(records[1]["annotations"][0], bbox=[100.0, 50.0, 10.0, 10.0], id=3)
    del boxed["segmentation"]
    records[1]["annotations"].append(boxed)
    expected = Counter()
    for record in records:
        expected.update(read_semantic(record, info).ravel().tolist())
    assert set(expected) == {0, 1, 2, IGNORE_LABEL}
    found = take_census(info, records, [], Counter(), quick=False)
    assert found.pixels == {n: expected[i] for i, n in enumerate(info.categories.semantic)}
    assert found.ignored == expected[IGNORE_LABEL] == 100


def test_pixels_of_panoptic_maps(tmp_path):
    spec = factories_coco_panoptic.make_coco_panoptic(tmp_path)
    info = read_info(read_spec(spec), "train")
    expected = Counter()
    for record in read_records(info, Problems(strict=True)):
        expected.update(read_semantic(record, info).ravel().tolist())
    found = census(spec)["train"]
    assert found.pixels == {n: expected[i] for i, n in enumerate(found.classes) if expected[i]}
    assert set(info.categories.stuff) & found.pixels.keys()
    assert found.ignored == expected[IGNORE_LABEL]


def test_a_wrong_legend_is_no_full_share(tmp_path):
    spec = factories.make_label_map(tmp_path, num_images=2)
    values = np.zeros((64, 64), np.uint8)
    values[:48] = 99
    for number in range(2):
        Image.fromarray(values).save(tmp_path / f"labels/train/00{number}.png")
    found = census(spec)
    assert found["train"].unexplained == 2 * 48 * 64
    text = census_table({"train": found["train"]})
    assert "75.0% of all pixels are of no class" in text
    assert "25.0%" in text and "100.0%" not in text


def test_a_quick_census_says_what_it_lacks(tmp_path):
    spec = factories.make_coco(tmp_path)
    assert "not in a quick check: sizes of objects, and pixels" in census_table(
        census(spec, quick=True)
    )
    assert "quick" not in census_table(census(spec))


def test_many_splits_stand_below_one_another(tmp_path):
    spec = factories.make_coco(tmp_path)
    found = census(spec)
    many = {f"fold_{number}_validation": found["val"] for number in range(6)}
    text = census_table(many)
    assert max(map(len, text.splitlines())) <= 110
    assert text.count("disc") == 6
    for split in many:
        assert f"{split}: 6 images" in text and f"{split} objects" in text


def test_exif_in_a_line(tmp_path, caplog):
    """Of six images: one turned, one as stored, one mirrored, three without an orientation."""
    spec = factories.make_coco(tmp_path, size=(48, 64))
    assert "exif" not in census_table(census(spec))
    images = tmp_path / "images" / "train"
    for name, orientation in (("000.png", 6), ("001.png", 6), ("002.png", 2)):
        image = Image.open(images / name)
        exif = Image.Exif()
        exif[274] = orientation
        stored = image.transpose(Image.Transpose.ROTATE_90) if name == "000.png" else image.copy()
        stored.save(images / name, exif=exif)
    with caplog.at_level("INFO"):
        report = check_dataset(read_spec(spec))
    line = "exif: of 12 images, 1 turned, 1 taken as stored, 1 turned though no size can tell"
    assert line in census_table(report.census).splitlines() and line in caplog.text
    rules = [(p.rule, p.split) for p in report.problems.found]
    assert rules == [("exif_ambiguous", "train"), ("exif_mixed", "train")]
    spec.write_text(f"{spec.read_text()}exif: ignore\n")
    assert "3 taken as stored" in census_table(census(spec))
