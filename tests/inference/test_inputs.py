"""Which files are predicted, how their results are called, and whose image ids they get."""

from pathlib import Path

import pytest

from project.data.register import dataset_records
from project.errors import DatasetError
from project.inference.inputs import known_records, list_images, match_images


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_one_file(tmp_path):
    touch(tmp_path, "a.b.JPG")
    assert list_images(tmp_path / "a.b.JPG", tmp_path) == {"a.b": tmp_path / "a.b.JPG"}


def test_results_never_share_a_name(tmp_path):
    touch(tmp_path, "x/a.png", "y/a.png", "a.png", "a.jpg", "b.txt", ".hidden.png")
    names = list_images(tmp_path, tmp_path / "out")
    assert sorted(names) == ["a.jpg", "a.png", "x/a", "y/a"]
    assert len(set(names.values())) == 4


def test_results_of_an_earlier_run_are_no_input(tmp_path):
    touch(tmp_path, "a.png", "out/overlays/a.png")
    assert list(list_images(tmp_path, tmp_path / "out")) == ["a"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("photo", "does not exist. Did you mean photos"),
        ("empty", "no images in .*empty"),
        ("notes.txt", "is no image"),
    ],
)
def test_mistakes_say_what_was_found(tmp_path, name, expected):
    touch(tmp_path, "photos/a.png", "notes.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=expected):
        list_images(tmp_path / name, tmp_path / "out")


def test_ids_are_those_of_the_split_that_knows_most(coco_spec, registered):
    train, val = registered(coco_spec)
    assert {r["image_id"] for r in dataset_records(train)} == {
        r["image_id"] for r in dataset_records(val)
    }, "ids of the splits must clash for this test"
    files = {Path(r["file_name"]).stem: Path(r["file_name"]) for r in dataset_records(train)}
    name, ids = match_images(files, [val, train])
    assert name == train
    assert ids == {Path(r["file_name"]).stem: r["image_id"] for r in dataset_records(train)}


def test_copies_are_known_by_their_name_and_strangers_keep_theirs(coco_spec, registered):
    _, val = registered(coco_spec)
    files = {"000": Path("elsewhere/000.jpg"), "x/9": Path("x/9.png")}
    assert match_images(files, [val]) == (val, {"000": 10, "x/9": "x/9"})


def test_names_that_stand_twice_are_no_proof(coco_spec, registered):
    _, val = registered(coco_spec)
    files = {"x/000": Path("x/000.png"), "y/000": Path("y/000.png"), "001": Path("001.png")}
    assert match_images(files, [val])[1] == {"x/000": "x/000", "y/000": "y/000", "001": 11}


def test_somebody_must_name_the_classes():
    with pytest.raises(DatasetError, match="--dataset"):
        match_images({"a": Path("a.png")}, [])


def test_records_are_known_by_path_in_any_split_and_by_name_in_the_chosen(coco_spec, registered):
    train, val = registered(coco_spec)
    of_train, of_val = dataset_records(train), dataset_records(val)
    assert Path(of_train[0]["file_name"]).name == Path(of_val[0]["file_name"]).name
    files = {
        "a": Path(of_train[0]["file_name"]),
        "b": Path("elsewhere") / Path(of_val[1]["file_name"]).name,
        "c": Path("stranger.png"),
    }
    assert known_records(files, val, [train]) == {"a": of_train[0], "b": of_val[1]}
