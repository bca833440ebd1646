"""Specifications: paths, variables, and what their mistakes are answered with."""

from pathlib import Path

import pytest

from project.data.spec import parse_spec, read_spec
from project.errors import ConfigError, DatasetError

MINIMAL = {"name": "a", "format": "coco", "splits": {"train": {"annotations": "train.json"}}}


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_file_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv("PICTURES", "some/pictures")
    path = write(
        tmp_path / "d.yaml",
        """
name: fruits
format: label_map
root: ${PICTURES}/2026
classes: {background: [0, 9], 3: 7, road: 255}
ignore: 8
splits:
  train: {images: $PICTURES/a, labels: b}
""",
    )
    spec = read_spec(path)
    assert (spec.name, spec.format, spec.path) == ("fruits", "label_map", path)
    assert spec.classes == {"background": [0, 9], "3": [7], "road": [255]}
    assert spec.ignore == (8,)
    folder = tmp_path / "some" / "pictures" / "2026"
    assert spec.resolve("train", "labels") == folder / "b"
    assert spec.resolve("train", "images") == folder / "some" / "pictures" / "a"


def test_a_list_of_classes_numbers_them():
    assert parse_spec({**MINIMAL, "classes": ["x", "y"]}).classes == {"x": [0], "y": [1]}


def test_root_is_the_folder_of_the_file(tmp_path, monkeypatch):
    path = write(
        tmp_path / "d.yaml", "{name: a, format: coco, splits: {val: {annotations: v.json}}}"
    )
    monkeypatch.chdir("/")
    assert read_spec(path).resolve("val", "annotations") == tmp_path / "v.json"


def test_an_absolute_root_and_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert parse_spec({**MINIMAL, "root": "~/x"}).root == tmp_path / "x"
    assert parse_spec({**MINIMAL, "root": "/data"}).root == Path("/data")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"nmae": "a"}, "no key 'nmae'. Did you mean name"),
        ({"name": None}, "'name' is missing"),
        ({"splits": None}, "'splits' is missing"),
        ({"splits": {}}, "splits: expected"),
        ({"splits": ["train"]}, "splits: expected"),
        ({"splits": {"train": "train.json"}}, "splits.train: expected 'key: path'"),
        ({"splits": {"train": {"annotations": 3}}}, "splits.train: expected 'key: path'"),
        ({"splits": {"train": {"images": ["a", "b"]}}}, "not a list: .*convert_dataset.py --split"),
        ({"name": "a/b"}, "name: expected letters"),
        ({"root": "${NO_SUCH_FOLDER}/x"}, "NO_SUCH_FOLDER is not set"),
        ({"splits": {"train": {"images": "$NO_SUCH_FOLDER"}}}, "train.images: .*NO_SUCH_FOLDER"),
        ({"things": "fig"}, "things: expected a list"),
        ({"things": ["fig", "fig"]}, "stands twice"),
        ({"things": [True]}, "True is no class name; put the name in quotes"),
        ({"things": [None]}, "None is no class name"),
        ({"stuff": [""]}, "is no class name"),
        ({"classes": {"a": None}}, "a colour needs quotes"),
        ({"classes": {"a": "#12345"}}, "expected a number .* or a colour"),
        ({"classes": {"a": "red"}}, "expected a number .* or a colour"),
        ({"classes": {"a": -1}}, "expected a number"),
        ({"classes": {"a": 65536}}, "expected a number"),
        ({"classes": {"a": 1.5}}, "expected a number"),
        ({"classes": {"a": True}}, "expected a number"),
        ({"ignore": "255"}, "ignore: expected a number"),
        ({"instances": "components"}, "unknown source 'components'"),
    ],
)
def test_mistakes_are_named(fields, message):
    with pytest.raises(DatasetError, match=message):
        parse_spec({**MINIMAL, **fields})


def test_a_variable_without_a_value_counts_as_unset(monkeypatch):
    monkeypatch.setenv("EMPTY_FOLDER", "")
    with pytest.raises(DatasetError, match="EMPTY_FOLDER is not set"):
        parse_spec({**MINIMAL, "root": "${EMPTY_FOLDER}/x"})


def test_unknown_splits_and_keys_of_a_split():
    spec = parse_spec(MINIMAL)
    with pytest.raises(DatasetError, match=r"no split 'trian'. Did you mean train"):
        spec.resolve("trian", "annotations")
    with pytest.raises(DatasetError, match=r"splits\.train lacks the key 'labels'"):
        spec.resolve("train", "labels")


def test_a_missing_file_is_answered_with_the_nearest(tmp_path):
    write(tmp_path / "fruits.yaml", "")
    with pytest.raises(ConfigError, match=r"no such file. Did you mean fruits\.yaml"):
        read_spec(tmp_path / "fruit.yaml")


def test_tags_run_no_code(tmp_path):
    marker = tmp_path / "marker"
    path = write(tmp_path / "d.yaml", f"name: !!python/object/apply:os.system ['touch {marker}']")
    with pytest.raises(ConfigError, match="not plain YAML"):
        read_spec(path)
    assert not marker.exists()
