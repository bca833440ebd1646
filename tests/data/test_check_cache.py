"""What was checked is not checked again, and whatever changes is."""

import json
import os
from pathlib import Path

import pytest

import factories
from project.data.check_cache import Kept, cache_file, keep, load
from project.data.problems import Problems
from project.data.spec import read_spec


@pytest.fixture
def spec(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return read_spec(factories.make_coco(tmp_path / "data", labels=True))


def warned() -> Problems:
    problems = Problems()
    with problems.in_split("val"):
        problems.add("image_copied", "a.png", "it is b.png", "one", "take one out", image=7)
    return problems


def kept_once(spec, images=()) -> Path:
    file = cache_file(spec)
    keep(file, spec, images, Kept(warned(), "table"))
    assert load(file) is not None
    return file


def test_it_comes_back_as_it_was(spec):
    kept = load(kept_once(spec))
    assert kept.problems.found == warned().found and kept.census == "table"
    assert load(cache_file(spec, "other options")) is None


def same_size_and_time(path: Path) -> None:
    """Other text in an annotation file, which neither its size nor its time tells."""
    before = path.stat()
    text = path.read_text()
    path.write_text(text.replace('"id": 1,', '"id": 9,', 1))
    assert path.read_text() != text and path.stat().st_size == before.st_size
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES = {
    "an image is touched": lambda root: os.utime(root / "images/val/001.png"),
    "an image comes": lambda root: (root / "images/train/new.png").write_bytes(b"x"),
    "a label map goes": lambda root: (root / "labels/train/000.png").unlink(),
    "annotations change": lambda root: same_size_and_time(root / "train.json"),
    "a file of another format comes": lambda root: (root / "data.yaml").write_text("names: []"),
    "an image outside changes": lambda root: (root.parent / "far.png").write_bytes(b"xx"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_whatever_changes(spec, name):
    outside = spec.root.parent / "far.png"
    outside.write_bytes(b"x")
    file = kept_once(spec, [str(outside)])
    CHANGES[name](spec.root)
    assert load(file) is None


def test_another_specification_is_another_check(spec):
    changed = spec.path.read_text() + "exif: apply\n"
    before = cache_file(spec)
    spec.path.write_text(changed)
    assert cache_file(read_spec(spec.path)) != before


def test_a_damaged_file_is_told_and_passed_over(spec, caplog):
    file = kept_once(spec)
    for text in ("{", "[]", json.dumps({"files": {}, "problems": [{"rule": 1}]})):
        file.write_text(text)
        assert load(file) is None
    assert caplog.text.count("cannot be read") == 3


def test_a_folder_that_cannot_be_written_is_told(spec, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    keep(cache_file(spec), spec, [], Kept(warned(), ""))
    assert "cannot be kept" in caplog.text
