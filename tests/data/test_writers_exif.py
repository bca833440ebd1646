"""Images that EXIF turns: converted, their pixels and masks are what they were."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import ExifTags, Image

from conversions import convert, objects, read
from project.data.pixels import read_pixels
from project.data.writers import WRITERS, Dataset
from project.errors import DatasetError

STORED = (30, 50)  # height, width


def write_image(path: Path, orientation: int) -> None:
    pixels = np.random.default_rng(orientation).integers(0, 255, (*STORED, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    image.getexif()[ExifTags.Base.Orientation] = orientation
    image.save(path, exif=image.getexif())


def make(root: Path, exif: str, annotated: dict[int, tuple[int, int]]) -> Path:
    """A COCO data set of one image for each EXIF orientation, with the size that it states."""
    root.mkdir()
    images, annotations = [], []
    for orientation, (height, width) in annotated.items():
        name = f"{orientation}.png"
        write_image(root / name, orientation)
        size = {"height": height, "width": width}
        images.append({"id": orientation, "file_name": name, **size})
        triangle = [[2, 3, width - 1, 4, 5, height - 2]]
        annotations.append(
            {"id": orientation, "image_id": orientation, "category_id": 1, "iscrowd": 0}
            | {"segmentation": triangle}
        )
    content = {"images": images, "annotations": annotations}
    content["categories"] = [{"id": 1, "name": "cell"}]
    (root / "all.json").write_text(json.dumps(content))
    spec = {"name": "turned", "format": "coco", "exif": exif}
    spec["splits"] = {"train": {"images": ".", "annotations": "all.json"}}
    (root / "turned.yaml").write_text(yaml.safe_dump(spec))
    return root / "turned.yaml"


def pixels(dataset: Dataset) -> dict[str, np.ndarray]:
    return {
        Path(record["file_name"]).name: read_pixels(record, info)
        for info, records in dataset.values()
        for record in records
    }


def same(before: Dataset, after: Dataset) -> None:
    old, new = pixels(before), pixels(after)
    assert old.keys() == new.keys()
    for name, image in old.items():
        np.testing.assert_array_equal(new[name], image, err_msg=name)
    assert objects(after) == objects(before)


UPRIGHT = {o: STORED if o < 5 else STORED[::-1] for o in range(1, 9)}
AS_STORED = dict.fromkeys(range(1, 9), STORED)


@pytest.mark.parametrize("to", WRITERS)
@pytest.mark.parametrize(
    ("exif", "annotated"),
    [("apply", UPRIGHT), ("ignore", AS_STORED), ("auto", UPRIGHT), ("auto", {6: STORED})],
)
def test_pixels_and_masks_stay_together(
    tmp_path: Path, exif: str, annotated: dict[int, tuple[int, int]], to: str
):
    source = read(make(tmp_path / "source", exif, annotated))
    turned = {r["height"] for _, records in source.values() for r in records}
    assert turned == ({30, 50} if annotated == UPRIGHT else {30})
    converted, problems = convert(source, to, tmp_path / "out")
    same(source, converted)
    assert {p.rule for p in problems.found} <= {"split_needed"}  # yolo's, of one split alone


def test_yolo_refuses_what_no_size_can_tell(tmp_path: Path):
    source = read(make(tmp_path / "source", "auto", {6: STORED, 8: STORED[::-1]}))
    same(source, convert(source, "coco", tmp_path / "coco")[0])
    with pytest.raises(DatasetError, match=r"6\.png.* as it is stored.*8\.png.*--to coco"):
        convert(source, "yolo", tmp_path / "yolo")
