"""Folders of masks: which values are an object, which class it has, and what is wrong with them."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from factories_mask_folder import make_mask_folder
from format_checks import collect
from project.data.labels import decode_mask
from project.data.register import dataset_info, dataset_records, register_dataset
from project.errors import DatasetError

SAMPLE = "sample000"


def change_spec(spec: Path, **changes) -> None:
    content = yaml.safe_load(spec.read_text()) | changes
    spec.write_text(yaml.safe_dump({k: v for k, v in content.items() if v is not None}))


def masks(spec: Path, sample: str = SAMPLE) -> list[Path]:
    return sorted((spec.parent / "train" / sample / "masks").rglob("*.png"))


def only(spec: Path, rule: str):
    """The records, and the one finding, which is of this rule and stops a training."""
    records, (problem,) = collect(spec)
    assert (problem.rule, problem.level, problem.split) == (rule, "error", "train")
    with pytest.raises(DatasetError) as error:
        dataset_records(register_dataset(spec)[0])
    assert str(error.value) == problem.text
    return records, problem


def count(records) -> int:
    return sum(len(record["annotations"]) for record in records)


def test_ids_are_names_of_folders_and_files(tmp_path):
    spec = make_mask_folder(tmp_path)
    name = register_dataset(spec)[0]
    assert dataset_info(name).categories.semantic == ("background", "square", "disc")
    record = dataset_records(name)[3]
    assert record["image_id"] == "sample003"
    assert record["file_name"] == str(tmp_path / "train" / "sample003" / "images" / "photo3.png")
    folder = tmp_path / "train" / "sample003" / "masks"
    assert dataset_info(name).truth_file(record) == folder
    assert len(record["annotations"]) == len(masks(spec, "sample003")) > 1
    for annotation in record["annotations"]:
        thing = ["square", "disc"][annotation["category_id"]]
        assert annotation["id"].startswith(f"{thing}/")
        expected = np.array(Image.open(folder / annotation["id"])) == 255
        mask = decode_mask(annotation["segmentation"], 64, 64)
        np.testing.assert_array_equal(mask, expected)
        assert annotation["area"] == expected.sum() > 50


def paint(mode: str):
    """A function (mask) -> image of another kind with the same pixels."""
    return {
        "bool": lambda mask: Image.fromarray(mask),
        "one": lambda mask: Image.fromarray(mask.astype(np.uint8)),
        "grey in RGBA": lambda mask: Image.fromarray(mask.astype(np.uint8) * 255).convert("RGBA"),
        "16 bits": lambda mask: Image.fromarray(mask.astype(np.uint16) * 65535),
        "grey 200": lambda mask: Image.fromarray(mask.astype(np.uint8) * 200),
    }[mode]


@pytest.mark.parametrize("mode", ["bool", "one", "grey in RGBA", "16 bits", "grey 200"])
def test_kinds_of_black_and_white(tmp_path, mode):
    spec = make_mask_folder(tmp_path)
    plain, _ = collect(spec)
    for path in masks(spec):
        paint(mode)(np.array(Image.open(path)) > 0).save(path)
    records, found = collect(spec)
    assert records == plain and not found


def test_an_image_without_masks_has_no_objects(tmp_path):
    spec = make_mask_folder(tmp_path)
    for path in masks(spec):
        path.unlink()
    assert collect(spec)[0][0]["annotations"] == []
    folder = tmp_path / "train" / SAMPLE / "masks"
    for path in folder.iterdir():
        path.rmdir()
    folder.rmdir()
    records, found = collect(spec)
    assert records[0]["annotations"] == [] and len(records) == 6 and not found


@pytest.mark.parametrize(
    ("rule", "change", "text"),
    [
        ("mask_empty", lambda mask: mask * 0, "all of its pixels are black"),
        ("size_mismatch", lambda mask: mask[:32], "it is 32 x 64 pixels"),
        ("label_unexplained", lambda mask: np.r_[mask[:32], mask[32:] * 0 + 9], "9 (50.0%)"),
        ("label_colours", lambda mask: np.stack([mask, mask, mask * 0], 2), "#FFFF00"),
    ],
)
def test_a_mask_that_is_none_is_named(tmp_path, rule, change, text):
    spec = make_mask_folder(tmp_path)
    before = count(collect(spec)[0])
    path = masks(spec)[0]
    Image.fromarray(change(np.array(Image.open(path)))).save(path)
    records, problem = only(spec, rule)
    assert problem.file == str(path) and text in problem.found
    assert count(records) == before - 1 > 5


def test_jpeg_and_damaged_masks_are_named(tmp_path):
    spec = make_mask_folder(tmp_path)
    path = masks(spec)[0]
    Image.open(path).save(path.with_suffix(".jpg"))
    content = path.read_bytes()
    path.unlink()
    assert only(spec, "label_lossy")[1].file == str(path.with_suffix(".jpg"))
    path.with_suffix(".jpg").unlink()
    path.write_bytes(content[:60])
    _, problem = only(spec, "image_unreadable")
    assert problem.file == str(path)


@pytest.mark.parametrize(("number", "text"), [(0, "no images"), (2, "2 images: a.png, photo0.png")])
def test_a_folder_has_one_image(tmp_path, number, text):
    spec = make_mask_folder(tmp_path)
    image = tmp_path / "train" / SAMPLE / "images" / "photo0.png"
    if number:
        image.with_name("a.png").write_bytes(image.read_bytes())
    else:
        image.unlink()
    records, problem = only(spec, "unpaired")
    assert len(records) == 5 and text in problem.found
    assert problem.file == str(tmp_path / "train" / SAMPLE) and problem.image == SAMPLE


def test_classes_are_folders_of_things(tmp_path):
    spec = make_mask_folder(tmp_path)
    folder = tmp_path / "train" / SAMPLE / "masks"
    (folder / "disc").rename(folder / "disk")
    records, problem = only(spec, "class_unknown")
    assert "'disk' is no class. Did you mean disc?" in problem.found
    assert {a["category_id"] for a in records[0]["annotations"]} == {0}
    (folder / "disk").rename(folder / "disc")
    (folder / "stray.png").write_bytes(masks(spec)[0].read_bytes())
    _, problem = only(spec, "class_unknown")
    assert problem.file == str(folder) and "stray.png" in problem.found


def test_things_must_be_given(tmp_path):
    spec = make_mask_folder(tmp_path, flat=True)
    change_spec(spec, things=None)
    with pytest.raises(DatasetError, match="no `things:`"):
        collect(spec)
    change_spec(spec, things=["background"])
    with pytest.raises(DatasetError, match="both countable and stuff"):
        collect(spec)
    change_spec(spec, stuff=["rest"])
    assert len(collect(spec)[0]) == 6


def test_a_photo_turned_by_exif_is_as_its_masks_are(tmp_path):
    """Masks drawn on the stored pixels, or on the upright ones: either way they fit."""
    spec = make_mask_folder(tmp_path, size=(64, 80))
    image = tmp_path / "train" / SAMPLE / "images" / "photo0.png"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(image).save(image, exif=exif)
    records, found = collect(spec)
    assert (records[0]["height"], records[0]["width"]) == (64, 80) and not found
    for path in masks(spec):
        Image.open(path).transpose(Image.Transpose.ROTATE_270).save(path)
    records, found = collect(spec)
    assert (records[0]["height"], records[0]["width"]) == (80, 64) and not found


def test_nuclei_as_their_makers_give_them(shared_data):
    """The eight images are not among those of the COCO files beside them; Pillow is compared."""
    root = shared_data / "nuclei"
    (name,) = register_dataset(
        name="raw",
        format="mask_folder",
        root=str(root),
        things=["nucleus"],
        splits={"all": {"samples": "raw"}},
    )
    records = dataset_records(name)
    assert len(records) == 8
    assert count(records) == len(list(root.glob("raw/*/masks/*.png"))) == 218
    for record in records:
        size = (record["height"], record["width"])
        for annotation in record["annotations"][:3]:
            path = root / "raw" / record["image_id"] / "masks" / annotation["id"]
            expected = np.asarray(Image.open(path)) > 127
            mask = decode_mask(annotation["segmentation"], *size)
            np.testing.assert_array_equal(mask, expected)
