"""Folders of label maps: pairing, classes and objects by connected components."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import factories
from project.data.dataset import read_info, read_records
from project.data.labels import decode_mask, read_semantic
from project.data.problems import Problems
from project.data.register import dataset_info, dataset_records, register_dataset
from project.data.spec import read_spec
from project.errors import DatasetError


def change_spec(spec: Path, **changes) -> Path:
    values = yaml.safe_load(spec.read_text()) | changes
    spec.write_text(yaml.safe_dump({k: v for k, v in values.items() if v is not None}))
    return spec


@pytest.mark.parametrize("encoding", ["index", "palette", "binary_255", "rgb"])
@pytest.mark.parametrize("ignore", [False, True])
def test_every_encoding_arrives_as_semantic_ids(tmp_path, encoding, ignore):
    reference = factories.make_label_map(tmp_path / "reference", ignore=ignore)
    spec = factories.make_label_map(tmp_path / "other", encoding=encoding, ignore=ignore)
    expected, found = [
        [read_semantic(r, dataset_info(n)) for r in dataset_records(n)]
        for n in (register_dataset(reference)[0], register_dataset(spec)[0])
    ]
    assert set(np.unique(expected)) == {0, 1, 2} | ({255} if ignore else set())
    if encoding == "binary_255":
        expected = [np.where(ids == 2, 1, ids) for ids in expected]
    np.testing.assert_array_equal(found, expected)


def test_records(label_map_spec):
    name = f"{yaml.safe_load(label_map_spec.read_text())['name']}_train"
    record = dataset_records(name)[2]
    root = label_map_spec.parent
    assert record == {
        "dataset": name,
        "file_name": str(root / "images" / "train" / "002.png"),
        "sem_seg_file_name": str(root / "labels" / "train" / "002.png"),
        "image_id": "002",
        "height": 64,
        "width": 64,
    }
    assert dataset_info(name).categories.semantic == ("background", "square", "disc")


def test_files_are_paired_by_name(tmp_path):
    """As many images as label maps, but one of each has no partner."""
    spec = factories.make_label_map(tmp_path)
    name = register_dataset(spec)[0]
    (tmp_path / "images/train/005.png").rename(tmp_path / "images/train/zzz.png")
    with pytest.raises(DatasetError, match=r"zzz\.png: there is no label map for it"):
        dataset_records(name)
    (tmp_path / "images/train/zzz.png").unlink()
    with pytest.raises(DatasetError, match=r"labels/train/005\.png: there is no image for it"):
        dataset_records(name)


def test_other_suffixes_and_folders_within(tmp_path):
    spec = factories.make_label_map(tmp_path)
    for kind, suffix in (("images", "JPG"), ("labels", "tif")):
        folder = tmp_path / kind / "train"
        (folder / "city").mkdir()
        Image.open(folder / "003.png").save(folder / "city" / f"003.{suffix}")
        (folder / "003.png").unlink()
        (folder / ".hidden.png").write_bytes(b"")
        (folder / "notes.txt").write_text("")
    records = {r["image_id"]: r for r in dataset_records(register_dataset(spec)[0])}
    assert list(records) == ["000", "001", "002", "004", "005", "city/003"]
    assert records["city/003"]["file_name"].endswith("city/003.JPG")
    assert records["city/003"]["sem_seg_file_name"].endswith("city/003.tif")


def test_two_files_of_one_name(tmp_path):
    spec = factories.make_label_map(tmp_path)
    folder = tmp_path / "images" / "train"
    (folder / "000.jpg").write_bytes((folder / "000.png").read_bytes())
    with pytest.raises(DatasetError, match=r"000\.jpg and 000\.png have the same name"):
        dataset_records(register_dataset(spec)[0])


def test_all_that_is_wrong_is_found_in_one_run(tmp_path):
    spec = read_spec(factories.make_label_map(tmp_path, things=True))
    images, labels = tmp_path / "images" / "train", tmp_path / "labels" / "train"
    (images / "000.jpg").write_bytes((images / "000.png").read_bytes())
    (labels / "001.png").unlink()
    (images / "002.png").unlink()
    (images / "003.png").rename(images / "zzz.png")
    (labels / "004.png").write_bytes(b"no image")
    problems = Problems()
    records = read_records(read_info(spec, "train"), problems)
    assert [r["image_id"] for r in records] == ["000", "005"]
    assert [a["id"] for r in records for a in r["annotations"]][:3] == [1, 2, 3]
    found = {(p.rule, Path(p.file).relative_to(tmp_path).as_posix()) for p in problems.found}
    assert found == {
        ("name_clash", "images/train/000.png"),
        ("unpaired", "images/train/001.png"),
        ("unpaired", "labels/train/002.png"),
        ("unpaired", "images/train/zzz.png"),
        ("unpaired", "labels/train/003.png"),
        ("image_unreadable", "labels/train/004.png"),
    }
    assert {p.split for p in problems.found} == {"train"}


def test_values_without_a_class_leave_an_image_out(tmp_path):
    spec = factories.make_label_map(tmp_path, things=True)
    path = tmp_path / "labels" / "train" / "001.png"
    Image.fromarray(np.full((64, 64), 9, dtype=np.uint8)).save(path)
    problems = Problems()
    records = read_records(read_info(read_spec(spec), "train"), problems)
    assert len(records) == 5
    (problem,) = problems.errors
    assert (problem.rule, problem.file) == ("label_unexplained", str(path))


@pytest.mark.parametrize("images", ["named", "not named"])
def test_scoring_needs_no_images(tmp_path, images):
    spec = factories.make_label_map(tmp_path)
    for split in ("train", "val"):
        for path in (tmp_path / "images" / split).iterdir():
            path.unlink()
        (tmp_path / "images" / split).rmdir()
    if images == "not named":
        change_spec(spec, splits={"val": {"labels": "labels/val"}})
    records = dataset_records(register_dataset(spec)[-1])
    assert [Path(r["file_name"]).stem for r in records] == [f"{i:03}" for i in range(6)]


def test_connected_components_become_objects(tmp_path):
    spec = factories.make_label_map(tmp_path, things=True)
    name = register_dataset(spec)[0]
    categories = dataset_info(name).categories
    assert (categories.stuff, categories.things) == (("background",), ("square", "disc"))
    ids, total = [], 0
    for record in dataset_records(name):
        semantic = read_semantic(record, dataset_info(name))
        covered = np.zeros_like(semantic)
        for annotation in record["annotations"]:
            mask = decode_mask(annotation["segmentation"], 64, 64)
            semantic_id = 1 + annotation["category_id"]
            assert (semantic[mask] == semantic_id).all()
            assert annotation["area"] == mask.sum() and annotation["iscrowd"] == 0
            x, y, w, h = (int(v) for v in annotation["bbox"])
            assert mask[y : y + h, x : x + w].sum() == mask.sum()
            covered += mask
            ids.append(annotation["id"])
        np.testing.assert_array_equal(covered, semantic > 0)
        total += len(record["annotations"])
    assert total > 12  # two or more in an image
    assert ids == list(range(1, total + 1))


def test_diagonal_neighbours_are_one_object(tmp_path):
    spec = factories.make_label_map(tmp_path, things=True, num_images=1)
    labels = np.zeros((64, 64), dtype=np.uint8)
    labels[[10, 11, 40], [10, 11, 40]] = 1
    labels[12, 12] = 2
    Image.fromarray(labels).save(tmp_path / "labels" / "train" / "000.png")
    (record,) = dataset_records(register_dataset(spec)[0])
    found = sorted((a["category_id"], a["area"]) for a in record["annotations"])
    assert found == [(0, 1), (0, 2), (1, 1)]


def test_things_come_last_whatever_their_place_in_classes(tmp_path):
    spec = factories.make_label_map(tmp_path)
    change_spec(spec, things=["background"], instances="connected_components")
    name = register_dataset(spec)[0]
    assert dataset_info(name).categories.semantic == ("square", "disc", "background")
    plain = np.asarray(Image.open(dataset_records(name)[0]["sem_seg_file_name"]))
    moved = read_semantic(dataset_records(name)[0], dataset_info(name))
    np.testing.assert_array_equal(moved, np.array([2, 0, 1])[plain])


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"classes": None}, "classes_missing"),
        ({"things": ["disk"], "instances": "connected_components"}, "class_unknown"),
        ({"splits": {"train": {"labels": "empty"}}}, "unpaired"),
        ({"splits": {"train": {"labels": "labels/train", "images": "empty"}}}, "image_missing"),
    ],
)
def test_mistakes_have_rules(tmp_path, changes, rule):
    spec = read_spec(change_spec(factories.make_label_map(tmp_path), **changes))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError) as raised:
        read_records(read_info(spec, "train"), Problems())
    assert (raised.value.problem.rule, raised.value.problem.file) == (rule, spec.where)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": None}, "needs `classes:`"),
        ({"things": ["disk"], "instances": "connected_components"}, "Did you mean disc"),
        ({"things": ["disc"]}, "go together"),
        ({"instances": "connected_components"}, "go together"),
        ({"stuff": ["background"]}, "has no use for `stuff:`"),
        ({"splits": {"train": {"images": "images/train"}}}, "lacks the key 'labels'"),
        ({"splits": {"train": {"labels": "label/train"}}}, "Did you mean labels"),
        (
            {"splits": {"train": {"labels": "images"}, "val": {"lables": "x"}}},
            "Did you mean labels",
        ),
        ({"splits": {"train": {"labels": "empty"}}}, "no label maps in"),
    ],
)
def test_mistakes_are_named(tmp_path, changes, message):
    spec = change_spec(factories.make_label_map(tmp_path), **changes)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=message) as raised:
        dataset_records(register_dataset(spec)[0])
    assert str(spec) in str(raised.value)


def test_real_colour_codes(shared_data):
    """One tile of palette PNG, one of RGB, with the colours that README.md of the data gives."""
    classes = {
        "land": "#8429F6",
        "water": "#E2A929",
        "building": "#3C1098",
        "road": "#6EC1E4",
        "vegetation": "#FEDD3A",
    }
    names = register_dataset(
        name="dubai",
        format="label_map",
        root=str(shared_data / "dubai_aerial"),
        classes=classes,
        ignore=["#9B9B9B", "#000000"],
        splits={
            f"tile{i}": {"images": f"Tile {i}/images", "labels": f"Tile {i}/masks"} for i in (4, 5)
        },
    )
    modes = set()
    for name in names:
        counts = np.zeros(256, dtype=int)
        for record in dataset_records(name)[:3]:
            with Image.open(record["sem_seg_file_name"]) as image:
                modes.add(image.mode)
                stored = np.asarray(image.convert("RGB"))
            ids = read_semantic(record, dataset_info(name))
            for semantic_id, colour in enumerate(classes.values()):
                expected = (stored == list(bytes.fromhex(colour[1:]))).all(axis=2)
                np.testing.assert_array_equal(ids == semantic_id, expected)
            counts += np.bincount(ids.ravel(), minlength=256)
        assert (counts[:5] > 0).sum() >= 4
    assert modes >= {"P", "RGB"}


def test_real_microscopy(shared_data, registered, monkeypatch):
    monkeypatch.setenv("MASKUNET_SHARED_DATA", str(shared_data))
    spec = Path(__file__).parents[2] / "datasets" / "isbi2012.yaml"
    train, val = registered(spec)
    assert dataset_info(val).categories.semantic == ("membrane", "cell")
    assert (len(dataset_records(train)), len(dataset_records(val))) == (16, 4)
    record = dataset_records(val)[0]
    ids = read_semantic(record, dataset_info(val))
    stored = np.asarray(Image.open(record["sem_seg_file_name"]))
    assert set(np.unique(stored)) == {0, 255}
    np.testing.assert_array_equal(ids, stored == 255)


def test_empty_image_folder_is_named(tmp_path):
    spec = factories.make_label_map(tmp_path / "data")
    folder = tmp_path / "data" / "images" / "val"
    assert list(folder.iterdir())
    for image in folder.iterdir():
        image.unlink()
    with pytest.raises(DatasetError, match="there are no images in"):
        dataset_records(next(name for name in register_dataset(spec) if name.endswith("_val")))
