"""What a data set holds, counted by hand."""

import json
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

import factories
from project.data.checks.census import SplitCensus, census_table
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
    assert found.images_with == {"square": 1, "disc": 1}
    assert found.sizes == {"small": 1, "medium": 3, "large": 1}
    assert found.per_image == (0, 1, 4)
    assert found.pixels == {"square": 31**2 + 32**2 + 95**2 + 96**2, "disc": 50**2}
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
