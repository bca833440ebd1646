"""A COCO file as a whole: its JSON, its lists and its classes."""

import json
from pathlib import Path
from typing import Any

import pytest

import factories
from project.data.dataset import read_info, read_records
from project.data.problems import Problems
from project.data.records import Record
from project.data.spec import read_spec
from project.errors import DatasetError


def read(spec: Path) -> list[Record]:
    """The records of the train split."""
    return read_records(read_info(read_spec(spec), "train"), Problems())


def change(spec: Path, key: str, **fields: Any) -> None:
    """Rewrites fields of the first entry of a list of the file."""
    path = spec.parent / "train.json"
    content = json.loads(path.read_text())
    content[key][0] |= fields
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("changes", "rule", "message"),
    [
        ({"name": "disc"}, "class_duplicate", "'disc' with the id 7 stands twice"),
        ({"id": 7}, "class_duplicate", "'disc' with the id 7 stands twice"),
        ({"id": "3"}, "classes_missing", "whole number as id"),
        ({"id": 3.0}, "classes_missing", "whole number as id"),
        ({"name": None}, "classes_missing", "expected a name"),
        ({"name": [[["a"]]]}, "classes_missing", "expected a name"),
    ],
)
def test_wrong_classes_are_raised(tmp_path, changes, rule, message):
    spec = factories.make_coco(tmp_path)
    change(spec, "categories", **changes)
    with pytest.raises(DatasetError, match=message) as raised:
        read(spec)
    assert (raised.value.problem.rule, raised.value.problem.file) == (
        rule,
        str(tmp_path / "train.json"),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it is not JSON"),
        ("[1]", "it is not an object"),
        ("{", "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        ('{"images": ' + "9" * 5000 + "}", "it is not JSON"),
        ('{"images": [{"id": 1, "id": 2}]}', "the key 'id' stands twice"),
        ('{"images": [], "annotations": [1], "categories": []}', "no list of objects 'annotations"),
        ('{"images": [], "categories": []}', "no list of objects 'annotations'"),
    ],
)
def test_what_is_no_coco_file(tmp_path, text, message):
    spec = factories.make_coco(tmp_path)
    (tmp_path / "train.json").write_text(text)
    with pytest.raises(DatasetError, match=message) as raised:
        read(spec)
    assert raised.value.problem.rule == "file_invalid"
    assert str(raised.value).startswith(str(tmp_path / "train.json"))


@pytest.mark.parametrize(
    ("key", "rule", "message"),
    [("images", "file_invalid", "no images"), ("categories", "classes_missing", "no categories")],
)
def test_empty_lists(tmp_path, key, rule, message):
    spec = factories.make_coco(tmp_path)
    path = tmp_path / "train.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: []}))
    with pytest.raises(DatasetError, match=message) as raised:
        read(spec)
    assert raised.value.problem.rule == rule


def test_a_mark_of_the_byte_order_is_read_over(tmp_path):
    spec = factories.make_coco(tmp_path)
    path = tmp_path / "train.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(read(spec)) == 6
