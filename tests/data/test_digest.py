"""A digest of a data set changes with what is learnt from it, and with nothing else."""

import json
import os
import shutil
from pathlib import Path

import pytest

import factories
from project.data.digest import data_digest
from project.data.formats import FORMATS
from project.data.register import (
    dataset_records,
    find_dataset,
    register_dataset,
    unregister_dataset,
)


def digest(spec: Path, split: str = "train") -> str:
    names = register_dataset(spec)
    try:
        return data_digest(next(name for name in names if name.endswith(f"_{split}")))
    finally:
        unregister_dataset(*names)


@pytest.mark.parametrize("format", sorted(FORMATS))
def test_a_copy_elsewhere_under_another_name_is_the_same(tmp_path, format):
    spec = factories.make(format, tmp_path / "a")
    expected = digest(spec)
    copy = Path(shutil.copytree(spec.parent, tmp_path / "b")) / spec.name
    copy.write_text(copy.read_text().replace(str(tmp_path / "a"), str(tmp_path / "b")))
    for path in copy.parent.rglob("*"):
        os.utime(path, (0, 0))
    assert digest(copy) == expected
    assert digest(spec, "val") != expected


@pytest.mark.parametrize("format", sorted(FORMATS))
def test_a_changed_annotation_counts(tmp_path, format):
    """Every file of the training split that is no image, one after the other."""
    spec = factories.make(format, tmp_path / "a", num_images=2)
    names = register_dataset(spec)
    images = {r["file_name"] for name in names for r in dataset_records(name)}
    settings, _ = find_dataset(names[0])
    unregister_dataset(*names)
    named = [settings.resolve("train", key) for key in settings.splits["train"] if key != "images"]
    files = [f for p in named for f in ([p] if p.is_file() else sorted(p.rglob("*")))]
    files = [file for file in files if file.is_file() and str(file) not in images]
    assert files
    seen = {digest(spec)}
    for file in files:
        file.write_bytes(file.read_bytes() + b"\n")
        seen.add(digest(spec))
    assert len(seen) == 1 + len(files)


def test_images_count_by_name_and_size(tmp_path):
    spec = factories.make_coco(tmp_path)
    seen = [digest(spec)]
    annotations = json.loads((tmp_path / "train.json").read_text())
    image = next(tmp_path.rglob(annotations["images"][0]["file_name"]))
    image.write_bytes(image.read_bytes() + b"\0")
    seen.append(digest(spec))
    image.unlink()  # what reads the images tells of it
    seen.append(digest(spec))
    assert len(set(seen)) == 3


def test_what_the_specification_chooses_counts(tmp_path):
    spec = factories.make_coco(tmp_path)
    seen = {digest(spec)}
    text = spec.read_text()
    for things in ("[square, disc]", "[disc, square]", "[disc]"):
        spec.write_text(f"{text}\nthings: {things}\n")
        seen.add(digest(spec))
    assert len(seen) == 4
    spec.write_text(f"{text}\nmax_pixels: 5000\n")
    assert digest(spec) in seen
