"""What Ultralytics makes of the folders that are written as yolo."""

import os
from pathlib import Path

import pytest
import yaml

import factories
from conversions import convert, read
from project.data.formats import FORMATS
from project.data.writers import Dataset


def label_of(image: str) -> str:
    """The text file that Ultralytics looks for: its img2label_paths."""
    before, after = image.rsplit(f"{os.sep}images{os.sep}", 1)
    return f"{before}{os.sep}labels{os.sep}{after}".rsplit(".", 1)[0] + ".txt"


def lines(out: Path) -> int:
    """Lines of all text files that are found by the images of data.yaml; each has one."""
    index = yaml.safe_load((out / "data.yaml").read_text())
    folders = [out / index[split] for split in ("train", "val") if split in index]
    images = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert images
    return sum(len(Path(label_of(str(image))).read_text().splitlines()) for image in images)


def count(dataset: Dataset) -> int:
    annotations = [a for _, rs in dataset.values() for r in rs for a in r["annotations"]]
    return sum(not a["iscrowd"] for a in annotations)


@pytest.mark.parametrize("format", FORMATS)
def test_every_image_finds_its_objects(tmp_path: Path, format: str):
    keywords = {"things": True} if format == "label_map" else {}
    source = read(factories.make(format, tmp_path / "source", num_images=3, **keywords))
    convert(source, "yolo", tmp_path / "out")
    assert lines(tmp_path / "out") == count(source) > 6


def test_folders_called_images_are_left_out(tmp_path: Path):
    """Images are listed from the root of everything."""
    spec = factories.make_coco(tmp_path / "source", num_images=3)
    fields = yaml.safe_load(spec.read_text())
    for split, paths in fields["splits"].items():
        paths["images"] = "."
        json = tmp_path / "source" / f"{split}.json"
        names = json.read_text().replace('"file_name": "', f'"file_name": "images/{split}/')
        json.write_text(names)
    spec.write_text(yaml.safe_dump(fields))
    source = read(spec)
    convert(source, "yolo", tmp_path / "out")
    assert lines(tmp_path / "out") == count(source) > 6
    assert (tmp_path / "out/images/train/train/000.png").is_file()


def test_an_image_with_a_folder_of_its_own_is_called_as_this_is(tmp_path: Path):
    source = factories.make("mask_folder", tmp_path / "source", num_images=3)
    convert(source, "yolo", tmp_path / "out")
    written = {path.name for path in (tmp_path / "out/images/train").iterdir()}
    assert written == {"sample000.png", "sample001.png", "sample002.png"}


def test_a_split_that_is_needed_is_asked_for(tmp_path: Path):
    source = read(factories.make_coco(tmp_path / "source", num_images=3))
    _, problems = convert({"train": source["train"]}, "yolo", tmp_path / "out")
    [needed] = problems.found
    assert needed.rule == "split_needed" and needed.file == str(tmp_path / "out" / "data.yaml")
    assert "not val" in needed.found and "--split 0.8/0.2" in needed.repair
    assert lines(tmp_path / "out") == count({"train": source["train"]})
    assert not convert(source, "yolo", tmp_path / "both")[1].found
