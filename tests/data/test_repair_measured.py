"""Repairs that keep what a mask or a file tells; and what is said of all that goes."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import ExifTags, Image

import factories
from conversions import objects, read
from project.data.repair import Repair, repair_text, write_fixed
from project.data.spec import read_spec
from project.data.validate import check_dataset
from project.errors import DatasetError

SIZE = (48, 80)  # height, width


def repaired(spec: Path, out: Path) -> Repair:
    return write_fixed(check_dataset(read_spec(spec)), out)


def edit(root: Path, change: Callable[[Any], None]) -> None:
    """Changes the content of train.json."""
    content = json.loads((root / "train.json").read_text())
    change(content)
    (root / "train.json").write_text(json.dumps(content))


@pytest.mark.parametrize("box", [[math.nan] * 4, [1, 2, -3, 4], "none", [1, 2]])
@pytest.mark.parametrize("form", ["polygon", "rle"])
def test_a_wrong_box_is_measured_where_the_mask_is_sound(tmp_path: Path, box: Any, form: str):
    spec = factories.make_coco(tmp_path / "s", segmentation=form)
    before = read(spec)

    def change(content: Any) -> None:
        content["annotations"][0]["bbox"] = box
        content["annotations"][1]["area"] = -1

    edit(tmp_path / "s", change)
    with pytest.raises(DatasetError, match="bbox is"):
        read(spec)
    repair = repaired(spec, tmp_path / "out")
    assert [change.change for change in repair.changes] == [
        "box measured from the mask",
        "area measured from the mask",
    ]
    after = read(repair.spec)
    assert objects(after) == objects(before)
    old, new = (found["train"][1][0]["annotations"][0] for found in (before, after))
    assert new["bbox"] == old["bbox"] and new["area"] == old["area"]


def test_a_wrong_box_without_a_mask_goes(tmp_path: Path):
    spec = factories.make_coco(tmp_path / "s")

    def change(content: Any) -> None:
        content["annotations"] = [
            {key: value for key, value in entry.items() if key != "segmentation"}
            for entry in content["annotations"]
        ]
        content["annotations"][0]["bbox"] = [1, 2, -3, 4]

    edit(tmp_path / "s", change)
    repair = repaired(spec, tmp_path / "out")
    assert [change.change for change in repair.changes] == ["object left out"]


def exchange(content: Any) -> None:
    """Height and width of the first image."""
    first = content["images"][0]
    first["height"], first["width"] = first["width"], first["height"]


def test_exchanged_height_and_width_are_those_of_the_file(tmp_path: Path):
    spec = factories.make_coco(tmp_path / "s", size=SIZE, segmentation="polygon")
    before = read(spec)
    edit(tmp_path / "s", exchange)
    assert check_dataset(read_spec(spec)).problems.counts()["size_turned"] == 1
    repair = repaired(spec, tmp_path / "out")
    [turned] = [change for change in repair.changes if change.rule == "size_turned"]
    assert turned.change == "height and width exchanged, as the image has them"
    after = read(repair.spec)
    assert objects(after) == objects(before)
    assert {(r["height"], r["width"]) for r in after["train"][1]} == {SIZE}


def turn_by_exif(path: Path, content: Any) -> None:
    """The file is as annotated, and its tag says that it is to be turned."""
    del content
    image = Image.open(path)
    exif = image.getexif()
    exif[ExifTags.Base.Orientation] = 6
    image.save(path, exif=exif)


def widen(path: Path, content: Any) -> None:
    """An object reaches out of the image whichever way it is."""
    del path
    content["annotations"][0]["segmentation"][0][0] = 200


@pytest.mark.parametrize("hinder", [turn_by_exif, widen])
def test_an_image_that_may_be_turned_another_way_goes_with_its_objects(
    tmp_path: Path, hinder: Callable[[Path, Any], None]
):
    spec = factories.make_coco(tmp_path / "s", size=SIZE, segmentation="polygon")
    path = tmp_path / "s" / "images" / "train" / "000.png"
    count = len(read(spec)["train"][1][0]["annotations"])
    assert count > 1
    edit(tmp_path / "s", exchange)
    edit(tmp_path / "s", lambda content: hinder(path, content))
    fields = spec.read_text()
    spec.write_text(fields + "exif: apply\n" if hinder is turn_by_exif else fields)
    if hinder is turn_by_exif:  # stated as stored, though it is to be turned
        edit(tmp_path / "s", exchange)
    repair = repaired(spec, tmp_path / "out")
    [gone] = [change for change in repair.changes if change.rule == "size_turned"]
    assert (gone.change, gone.objects) == ("image left out", count)
    assert f"image left out [size_turned]: 1, with {count} objects" in repair_text(repair)
    [listed] = [
        change
        for change in json.loads((tmp_path / "out" / "changes.json").read_text())["changes"]
        if change["rule"] == "size_turned"
    ]
    assert listed["objects"] == count


def test_objects_of_an_image_in_two_splits_are_counted(tmp_path: Path):
    spec = factories.make_coco(tmp_path / "s", num_images=4, crowd=True)
    images = tmp_path / "s" / "images"
    shutil.copy(images / "train" / "002.png", images / "val" / "000.png")
    count = sum(not a["iscrowd"] for a in read(spec)["train"][1][2]["annotations"])
    repair = repaired(spec, tmp_path / "out")
    text = f"image left out of 'train', as 'val' has it [leak_exact]: 1, with {count} objects"
    assert count and text in repair_text(repair)


def test_a_split_that_cannot_be_read_is_said_last(tmp_path: Path):
    spec = factories.make_coco(tmp_path / "s")
    (tmp_path / "s" / "val.json").write_text("{")
    repair = repaired(spec, tmp_path / "out")
    assert list(read(repair.spec)) == ["train"]
    last = repair_text(repair).splitlines()[-1]
    assert last.startswith("split val is NOT in the copy: ") and "val.json" in last
    written = json.loads((tmp_path / "out" / "changes.json").read_text())
    assert "val.json" in written["absent"]["val"]


def test_a_copy_without_train_is_refused(tmp_path: Path):
    spec = factories.make_coco(tmp_path / "s")
    (tmp_path / "s" / "train.json").write_text("{")
    with pytest.raises(DatasetError, match=r"without the split train.*train\.json"):
        repaired(spec, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_splits_of_other_classes_are_refused(tmp_path: Path):
    spec = factories.make_coco(tmp_path / "s")

    def rename(content: Any) -> None:
        content["categories"][0]["name"] = "ring"

    edit(tmp_path / "s", rename)
    assert "class_missing" in check_dataset(read_spec(spec)).problems.counts()
    with pytest.raises(DatasetError, match="mend"):
        repaired(spec, tmp_path / "out")
    assert not (tmp_path / "out").exists()
