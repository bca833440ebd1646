"""What formats cannot hold, and what they must: holes, parts, borders, touching and hidden ones."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
import pytest
import yaml
from PIL import Image

from conversions import convert, objects, read, semantics
from corpus.case import edit_spec
from project.data.labels import read_semantic
from project.data.problems import Problem, Problems
from project.data.writers import WRITERS
from project.errors import DatasetError

SIZE = (40, 60)


def rectangle(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros(SIZE, dtype=np.uint8)
    mask[top:bottom, left:right] = 1
    return mask


def rle(mask: np.ndarray) -> dict[str, Any]:
    encoded = mask_util.encode(np.asfortranarray(mask))
    return {"size": encoded["size"], "counts": encoded["counts"].decode()}


def make(root: Path, segmentations: list[Any], names: tuple[str, ...] = ("a.png",)) -> Path:
    """One COCO split; all objects are in the first image. A bare list of 4 numbers is a box."""
    (root / "images").mkdir(parents=True)
    for name in names:
        (root / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", SIZE[::-1], "gray").save(root / "images" / name)
    annotations = []
    for number, segmentation in enumerate(segmentations, start=1):
        entry = {"id": number, "image_id": 1, "category_id": 1, "iscrowd": 0}
        if isinstance(segmentation, list) and not isinstance(segmentation[0], list):
            entry |= {"bbox": segmentation, "area": segmentation[2] * segmentation[3]}
        else:
            entry["segmentation"] = segmentation
        annotations.append(entry)
    images = [
        {"id": i, "file_name": name, "height": SIZE[0], "width": SIZE[1]}
        for i, name in enumerate(names, start=1)
    ]
    categories = [{"id": 1, "name": "cell"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "all.json").write_text(json.dumps(content))
    spec = {"name": "hard", "format": "coco"}
    spec["splits"] = {"train": {"images": "images", "annotations": "all.json"}}
    (root / "hard.yaml").write_text(yaml.safe_dump(spec))
    return root / "hard.yaml"


def found(problems: Problems) -> list[Problem]:
    """All that is said, but that YOLO asks for a split val, which none of these sources has."""
    return [p for p in problems.found if p.rule != "split_needed"]


def only(problems: Problems) -> str:
    """What the one loss says."""
    [loss] = found(problems)
    assert (loss.rule, loss.split) == ("lost_in_conversion", "train")
    assert loss.file.endswith("a.png")
    return loss.found


def test_holes_parts_and_borders_survive(tmp_path: Path):
    ring = rectangle(2, 2, 14, 14) - rectangle(5, 5, 9, 9)
    parts = rectangle(2, 20, 8, 24) + rectangle(10, 30, 12, 40) + rectangle(14, 20, 18, 22)
    border = rectangle(20, 0, 40, 10)
    overhanging = [[45.0, 25.0, 75.0, 25.0, 75.0, 55.0, 45.0, 55.0]]
    two_polygons = [[15.0, 22.0, 19.5, 22.0, 19.5, 30.0], [22.0, 22.0, 30.0, 22.0, 30.0, 30.0]]
    spec = make(tmp_path / "s", [rle(ring), rle(parts), rle(border), overhanging, two_polygons])
    before = objects(read(spec))
    assert sum(map(len, before.values())) == 5
    for to in ("coco", "voc", "yolo"):
        converted, problems = convert(spec, to, tmp_path / to)
        assert objects(converted) == before, to
        if to == "yolo":
            assert only(problems).startswith("3 objects with holes or several parts")
        else:
            assert not found(problems)
    converted, problems = convert(spec, "label_map", tmp_path / "label_map")
    assert semantics(converted) == semantics(read(spec))
    assert only(problems) == "2 objects in several parts, which become objects"


def test_objects_that_touch_are_joined_in_label_maps_only(tmp_path: Path):
    touching = [rle(rectangle(5, 5, 15, 15)), rle(rectangle(5, 15, 15, 25))]
    spec = make(tmp_path / "source", [*touching, rle(rectangle(30, 30, 35, 35))])
    for to in ("coco", "voc", "yolo"):
        assert objects(convert(spec, to, tmp_path / to)[0]) == objects(read(spec)), to
    converted, problems = convert(spec, "label_map", tmp_path / "label_map")
    assert only(problems) == "2 objects joined with others of the class that touch"
    assert sum(map(len, objects(converted).values())) == 2


def test_hidden_pixels_are_counted(tmp_path: Path):
    """Of 100 + 25 + 25 pixels, 25 of the large one are behind the second, all of a twin gone."""
    small = rle(rectangle(5, 5, 10, 10))
    spec = make(tmp_path / "source", [rle(rectangle(5, 5, 15, 15)), small, small])
    for to in ("coco", "yolo"):
        converted, problems = convert(spec, to, tmp_path / to)
        assert objects(converted) == objects(read(spec))
        assert not found(problems)
    _, problems = convert(spec, "voc", tmp_path / "voc")
    text = "50 of 150 object pixels (33.3%) hidden by other objects, 1 object entirely"
    assert only(problems) == text


def test_voc_holds_254_objects(tmp_path: Path):
    """Of 259 objects of 2 pixels and one of 1 pixel, the latter and five others must go."""
    corners = [(4 * (i // 30) % 40, 2 * (i % 30)) for i in range(260)]
    grid = [rectangle(y, x, y + 2, x + 1) for y, x in corners]
    grid[0] = rectangle(0, 0, 1, 1)
    spec = make(tmp_path / "source", [rle(mask) for mask in grid])
    assert sum(c.total() for c in objects(read(spec)).values()) == 260
    converted, problems = convert(spec, "voc", tmp_path / "out")
    assert only(problems) == "260 objects, of which the 6 smallest are written as void"
    kept = next(iter(objects(converted).values()))
    assert kept.total() == 254
    assert ("cell", 0, grid[0].astype(bool).tobytes()) not in kept
    [(info, [record])] = converted.values()
    assert np.count_nonzero(read_semantic(record, info) == 255) == 1 + 5 * 2


def test_boxes_without_masks(tmp_path: Path):
    spec = make(tmp_path / "source", [[5.5, 6, 10, 12.25], [30, 20, 20, 10]])
    before = objects(read(spec))
    for to in ("coco", "yolo"):
        converted, problems = convert(spec, to, tmp_path / to)
        assert objects(converted) == before, to
        assert not found(problems)
    for to in ("label_map", "voc"):
        converted, problems = convert(spec, to, tmp_path / to)
        assert only(problems).startswith("2 objects of which only boxes are known written as")
        assert semantics(converted) == semantics(read(spec))
        assert objects(converted)["train", "a"].total() == 0


def test_tenths_of_a_pixel_keep_their_pixels_in_yolo(tmp_path: Path):
    """At tenths pycocotools rounds, and a fraction of the image's width may fall just short."""
    rng = np.random.default_rng(0)
    polygons = []
    for _ in range(60):
        centre, angles = rng.uniform(10, 30, 2), np.sort(rng.uniform(0, 2 * np.pi, 7))
        points = centre + 9 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        polygons.append([np.round(points, 1).ravel().tolist()])
    spec = make(tmp_path / "source", polygons)
    converted, problems = convert(spec, "yolo", tmp_path / "out")
    assert objects(converted) == objects(read(spec))
    assert not found(problems)
    assert all(
        len(a["segmentation"][0]) == 14 for _, [r] in converted.values() for a in r["annotations"]
    )


@pytest.mark.parametrize("to", WRITERS)
def test_names_that_differ_in_suffix_or_folder(tmp_path: Path, to: str):
    names = ("a.png", "a.jpg", "deep/a.png", "A.tif")
    spec = make(tmp_path / "source", [rle(rectangle(5, 5, 15, 15))], names)
    converted, problems = convert(spec, to, tmp_path / "out")
    files = {Path(r["file_name"]) for _, records in converted.values() for r in records}
    folder = min(files, key=lambda path: len(path.parts)).parent
    written = {path.relative_to(folder).as_posix() for path in files}
    assert written == {"a.png", "a-2.jpg", "deep/a.png", "A-3.tif"}
    assert {Path(p.file).name for p in found(problems)} == {"a.jpg", "A.tif"}
    [(_, records)] = converted.values()
    with_object = [Path(r["file_name"]) for r in records if r["annotations"]]
    assert with_object == [folder / "a.png"]


@pytest.mark.parametrize("to", WRITERS)
def test_no_name_leads_out_of_the_folder(tmp_path: Path, to: str):
    spec = make(tmp_path / "source", [rle(rectangle(5, 5, 15, 15))], ("../outside/a.png",))
    absolute = json.loads((tmp_path / "source" / "all.json").read_text())
    Image.new("RGB", SIZE[::-1]).save(tmp_path / "b.png")
    absolute["images"].append({**absolute["images"][0], "id": 2})
    absolute["images"][1]["file_name"] = str(tmp_path / "b.png")
    (tmp_path / "source" / "all.json").write_text(json.dumps(absolute))
    with pytest.raises(DatasetError, match=r"leads to .*outside/a\.png.*roots:"):
        read(spec)
    edit_spec(spec, roots=["outside", str(tmp_path)])
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    converted, _ = convert(spec, to, tmp_path / "new" / "out")
    new = {path for path in tmp_path.rglob("*") if path.is_file()} - before
    assert len(new) >= 4
    assert all(path.is_relative_to(tmp_path / "new" / "out") for path in new)
    assert objects(converted) == objects(read(spec))


@pytest.mark.parametrize(
    ("name", "to"), [("a", "voc"), (".a.png", "coco"), ("classes.png", "yolo")]
)
def test_names_that_would_not_be_found_again_are_refused(tmp_path: Path, name: str, to: str):
    spec = make(tmp_path / "source", [rle(rectangle(5, 5, 15, 15))], ("a.png",))
    content = (tmp_path / "source" / "all.json").read_text()
    (tmp_path / "source" / "images" / "a.png").rename(tmp_path / "source" / "images" / name)
    (tmp_path / "source" / "all.json").write_text(content.replace("a.png", name))
    with pytest.raises(DatasetError, match="rename it") as caught:
        convert(spec, to, tmp_path / "out")
    assert str(caught.value).startswith(str(tmp_path / "source" / "images" / name))
    assert not (tmp_path / "out").exists()


def test_objects_without_a_pixel_are_said(tmp_path: Path):
    outside = [[100.0, 100.0, 110.0, 100.0, 110.0, 110.0]]
    dataset = read(make(tmp_path / "source", [rle(rectangle(5, 5, 9, 9))]))
    [(_, [record])] = dataset.values()
    record["annotations"].append({**record["annotations"][0], "id": 2, "segmentation": outside})
    for to in ("coco", "yolo"):
        converted, problems = convert(dataset, to, tmp_path / to)
        assert only(problems) == "1 object without a single pixel left out"
        assert objects(converted)["train", "a"].total() == 1
    with pytest.raises(DatasetError, match="empty folder"):
        convert(dataset, "coco", tmp_path / "coco")
