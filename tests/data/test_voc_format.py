"""PASCAL VOC's maps: which classes, which images, which objects, and what is wrong with them."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import factories
from factories_voc import make_voc
from format_checks import collect
from project.data.dataset import read_info
from project.data.formats.voc import CLASSES
from project.data.labels import decode_mask, decode_masks, read_semantic
from project.data.register import dataset_info, dataset_records, register_dataset
from project.data.spec import read_spec
from project.errors import DatasetError


def change_spec(spec: Path, **changes) -> None:
    content = yaml.safe_load(spec.read_text()) | changes
    spec.write_text(yaml.safe_dump({k: v for k, v in content.items() if v is not None}))


def edit(path: Path, change) -> Path:
    """Rewrites the values of a map by `change(values)`, in place unless it returns others."""
    values = np.array(Image.open(path))
    changed = change(values)
    factories._palette_image(values if changed is None else changed).save(path)
    return path


def info_of(spec: Path):
    return read_info(read_spec(spec), "train")


def files(spec: Path, index: int = 0) -> tuple[Path, Path]:
    """Class map and object map of an image of the split train."""
    name = f"train_{index:06}.png"
    return spec.parent / "SegmentationClass" / name, spec.parent / "SegmentationObject" / name


def only(spec: Path, rule: str) -> tuple[list, object]:
    """The records, and the one finding, which is of this rule and stops a training."""
    records, (problem,) = collect(spec)
    assert problem.rule == rule and problem.split == "train"
    if problem.level == "error":
        with pytest.raises(DatasetError) as error:
            dataset_records(register_dataset(spec)[0])
        assert str(error.value) == problem.text
    return records, problem


def test_vocs_own_classes_are_the_default(tmp_path):
    spec = make_voc(tmp_path)
    change_spec(spec, classes=None)
    info = dataset_info(register_dataset(spec)[0])
    assert len(CLASSES) == 21 and info.categories.semantic == CLASSES
    assert info.categories.stuff == ("background",) and info.categories.things[14] == "person"
    assert info.encoding.meaning == {**{i: i for i in range(21)}, 255: 255}


def test_without_object_maps_nothing_is_countable(tmp_path):
    spec = make_voc(tmp_path, objects=False, void=True)
    info = dataset_info(register_dataset(spec)[0])
    assert info.categories.stuff == ("background", "square", "disc") and not info.categories.things
    record = dataset_records(info.name)[0]
    assert "annotations" not in record
    values = np.array(Image.open(record["sem_seg_file_name"]))
    assert set(np.unique(values)) == {0, 1, 2, 255}
    np.testing.assert_array_equal(read_semantic(record, info), values)
    change_spec(spec, things=["disc"])
    with pytest.raises(DatasetError, match="`things:` needs `objects:`"):
        info_of(spec)


def test_things_choose_and_the_others_become_stuff(tmp_path):
    spec = make_voc(tmp_path)
    whole = dataset_records(register_dataset(spec)[0])
    discs = [sum(a["category_id"] == 1 for a in r["annotations"]) for r in whole]
    change_spec(spec, things=["disc"])
    records, found = collect(spec)
    assert [len(record["annotations"]) for record in records] == discs and sum(discs) > 0
    (problem,) = found
    squares = sum(len(record["annotations"]) for record in whole) - sum(discs)
    assert problem.rule == "class_left_out" and f"{squares} objects" in problem.found
    info = info_of(spec)
    assert info.categories.semantic == ("background", "square", "disc")
    values = np.array(Image.open(files(spec)[0]))
    np.testing.assert_array_equal(read_semantic(records[0], info), values)


def test_void_is_ignored_and_no_object(tmp_path):
    record = dataset_records(register_dataset(make_voc(tmp_path, void=True))[0])[0]
    numbers = np.array(Image.open(tmp_path / "SegmentationObject" / "train_000000.png"))
    assert (numbers == 255).sum() > 50
    assert [a["id"] for a in record["annotations"]] == sorted(set(numbers.ravel()) - {0, 255})
    for annotation in record["annotations"]:
        mask = decode_mask(annotation["segmentation"], 64, 64)
        np.testing.assert_array_equal(mask, numbers == annotation["id"])
        assert annotation["area"] == mask.sum()


def test_a_list_chooses_and_names_what_is_missing(tmp_path):
    spec = make_voc(tmp_path)
    path = tmp_path / "ImageSets" / "Segmentation" / "train.txt"
    path.write_text("train_000003\n\ntrain_000001\ntrain_00001\ntrain_000003 \n")
    records, found = collect(spec)
    assert [record["image_id"] for record in records] == ["train_000003", "train_000001"]
    assert [p.rule for p in found] == ["image_listed_twice", "unpaired"]
    assert all(p.file == str(path) for p in found) and "'train_00001'" in found[1].text
    path.write_text("\n")
    with pytest.raises(DatasetError, match="names no image"):
        collect(spec)


def test_without_a_list_the_class_maps_choose(tmp_path, caplog):
    spec = make_voc(tmp_path)
    splits = yaml.safe_load(spec.read_text())["splits"]
    del splits["train"]["list"]
    change_spec(spec, splits=splits)
    files(spec)[0].unlink()
    records, found = collect(spec)
    assert len(records) == 11 and not found
    assert "1 images have no class map" in caplog.text


@pytest.mark.parametrize("folder", ["JPEGImages", "SegmentationClass", "SegmentationObject"])
def test_a_missing_file_is_named(tmp_path, folder):
    spec = make_voc(tmp_path)
    (path,) = (tmp_path / folder).glob("train_000002.*")
    path.unlink()
    records, problem = only(spec, "unpaired")
    assert len(records) == 5 and problem.image == "train_000002"
    assert "train_000002" in problem.found


def test_an_object_of_several_classes_is_named(tmp_path):
    spec = make_voc(tmp_path)
    classes, numbers = files(spec)
    pixels = np.argwhere(np.array(Image.open(numbers)) == 2)
    count = len(pixels) // 4

    def repaint(values):
        values[tuple(pixels[:count].T)] = 1
        values[tuple(pixels[count : 2 * count].T)] = 255

    edit(classes, repaint)
    records, problem = only(spec, "object_class")
    assert (problem.file, problem.annotation) == (str(numbers), 2)
    shares = [1 - 2 * count / len(pixels), count / len(pixels)]
    assert f"disc ({shares[0]:.1%}), square ({shares[1]:.1%})" in problem.found
    assert 2 not in [a["id"] for a in records[0]["annotations"]]
    edit(classes, lambda values: np.where(np.array(Image.open(numbers)) == 2, 255, values))
    assert "all void" in only(spec, "object_class")[1].found


def test_an_unknown_value_is_named_with_its_share(tmp_path):
    spec = make_voc(tmp_path)
    path = edit(files(spec)[0], lambda values: values[:16].fill(77))
    records, problem = only(spec, "label_unexplained")
    assert problem.file == str(path) and "77 (25.0%)" in problem.found and len(records) == 5


def test_maps_of_different_sizes(tmp_path):
    spec = make_voc(tmp_path)
    path = edit(files(spec)[1], lambda values: values[:32])
    records, problem = only(spec, "size_mismatch")
    assert problem.file == str(path) and "32 x 64" in problem.found and len(records) == 5


@pytest.mark.parametrize("which", [0, 1])
def test_jpeg_maps_are_refused(tmp_path, which):
    spec = make_voc(tmp_path)
    path = files(spec)[which]
    Image.open(path).convert("L").save(path.with_suffix(".jpg"))
    path.unlink()
    _, problem = only(spec, "label_lossy")
    assert problem.file == str(path.with_suffix(".jpg"))


def test_objects_in_one_split_only(tmp_path):
    spec = make_voc(tmp_path)
    splits = yaml.safe_load(spec.read_text())["splits"]
    del splits["val"]["objects"]
    change_spec(spec, splits=splits)
    with pytest.raises(DatasetError, match=r"splits.val has no `objects:`"):
        collect(spec)


def test_the_same_photos_in_voc_and_coco(shared_data):
    """Labelme draws outlines one pixel fatter than COCO's tools: masks differ at their edges."""
    folder = shared_data / "labelme_voc" / "examples" / "instance_segmentation"
    names = (folder / "data_dataset_voc" / "class_names.txt").read_text().split("\n")
    assert len(names) == 21
    paths = {
        "images": "JPEGImages",
        "labels": "SegmentationClass",
        "objects": "SegmentationObject",
    }
    root = str(folder / "data_dataset_voc")
    (voc,) = register_dataset(name="a", format="voc", root=root, classes=names, splits={"v": paths})
    root, paths = str(folder / "data_dataset_coco"), {"annotations": "annotations.json"}
    (coco,) = register_dataset(name="a", format="coco", root=root, splits={"c": paths})
    records = {record["image_id"]: record for record in dataset_records(voc)}
    things = dataset_info(voc).categories.things
    of_coco = dataset_info(coco).categories.things
    assert len(records) == 3 and len(things) == 20
    overlaps, classes = [], set()
    for record in dataset_records(coco):
        ours = records[Path(record["file_name"]).stem]
        size = (record["height"], record["width"])
        assert (ours["height"], ours["width"]) == size
        found = list(zip(ours["annotations"], decode_masks(ours["annotations"], *size)))
        assert len(found) == len(record["annotations"])
        for theirs, other in zip(record["annotations"], decode_masks(record["annotations"], *size)):
            ious = [(mask & other).sum() / (mask | other).sum() for _, mask in found]
            name = things[found[int(np.argmax(ious))][0]["category_id"]]
            assert name == of_coco[theirs["category_id"]]
            overlaps.append(max(ious))
            classes.add(name)
    assert len(overlaps) == 12 and len(classes) == 6
    assert min(overlaps) == pytest.approx(0.9336, abs=1e-4) and np.median(overlaps) > 0.975
