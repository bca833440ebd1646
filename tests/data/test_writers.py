"""Every format converted into every format that can be written, and read back."""

import filecmp
from pathlib import Path

import pytest

import factories
from conversions import convert, objects, read, semantics, stem
from project.data.formats import FORMATS
from project.data.writers import WRITERS
from project.errors import DatasetError

# Keywords under which a format's data set has objects at all.
WITH_OBJECTS = {"label_map": {"things": True}}


def make_source(format: str, root: Path, **keywords: object) -> Path:
    return factories.make(format, root, num_images=3, **WITH_OBJECTS.get(format, {}), **keywords)


@pytest.mark.parametrize("to", WRITERS)
@pytest.mark.parametrize("format", FORMATS)
def test_objects_classes_and_pixels_survive(tmp_path: Path, format: str, to: str):
    """Shapes of the factories never touch, so that every format can hold them."""
    source = read(make_source(format, tmp_path / "source"))
    before = objects(source, crowds=False)
    kinds = {kind for counted in before.values() for kind, _, _ in counted}
    assert len(kinds) >= 2 and sum(map(len, before.values())) > 6
    converted, problems = convert(source, to, tmp_path / "out")
    assert objects(converted, crowds=False) == before
    for split, (info, _) in source.items():
        assert converted[split][0].categories.things == info.categories.things
    if to != "yolo":
        assert semantics(converted) == semantics(source)
        assert not [p for p in problems.found if "object" in p.found]


@pytest.mark.parametrize("to", ["label_map", "voc"])
@pytest.mark.parametrize("encoding", ["index", "palette", "binary_255", "rgb"])
def test_label_maps_without_objects_survive(tmp_path: Path, encoding: str, to: str):
    source = read(factories.make_label_map(tmp_path / "s", encoding=encoding, ignore=True))
    converted, problems = convert(source, to, tmp_path / "out")
    before = semantics(source)
    assert all(len(set(values)) > 1 and 255 in values for values in before.values())
    assert semantics(converted) == before
    assert not problems.found


@pytest.mark.parametrize("to", ["coco", "yolo"])
def test_data_without_objects_is_refused_before_anything_is_written(tmp_path: Path, to: str):
    source = factories.make_label_map(tmp_path / "source")
    with pytest.raises(DatasetError, match=r"holds objects.*label_map.*`things:`"):
        convert(source, to, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("to", WRITERS)
def test_crowds_and_label_maps(tmp_path: Path, to: str):
    keywords = {"segmentation": "mixed", "holes": True, "crowd": True, "labels": True}
    source = read(factories.make_coco(tmp_path / "source", num_images=3, **keywords))
    converted, problems = convert(source, to, tmp_path / "out")
    assert objects(converted, crowds=False) == objects(source, crowds=False)
    said = {p.expected for p in problems.found}
    if to == "coco":
        assert objects(converted) == objects(source)
        assert not said
    else:
        assert "no crowds" in said
    if to == "yolo":
        assert said == {"no crowds", "one outline for each object", "no label maps"}
    else:
        assert semantics(converted) == semantics(source)
        assert any(255 in values for values in semantics(source).values())


def test_coco_keeps_ids_and_polygons(tmp_path: Path):
    source = read(factories.make_coco(tmp_path / "source", segmentation="mixed"))
    converted, _ = convert(source, "coco", tmp_path / "out")
    forms = set()
    for split, (info, records) in source.items():
        new_info, new_records = converted[split]
        assert new_info.categories == info.categories
        assert info.categories.thing_dataset_ids == (3, 7)
        for old, new in zip(records, new_records, strict=True):
            assert new["image_id"] == old["image_id"]
            for a, b in zip(old["annotations"], new["annotations"], strict=True):
                assert (b["id"], b["bbox"], b["area"]) == (a["id"], a["bbox"], a["area"])
                assert b["segmentation"] == a["segmentation"]
                forms.add(type(a["segmentation"]))
    assert forms == {list, dict}


@pytest.mark.parametrize("to", WRITERS)
@pytest.mark.parametrize("images", ["copy", "link"])
def test_images_are_the_same_bytes(tmp_path: Path, to: str, images: str):
    source = read(factories.make_coco(tmp_path / "source"))
    converted, _ = convert(source, to, tmp_path / "out", images)
    for split, (info, records) in source.items():
        new_info, new_records = converted[split]
        files = {stem(r, new_info): Path(r["file_name"]) for r in new_records}
        for record in records:
            new = files[stem(record, info)]
            assert new.is_relative_to(tmp_path / "out")
            assert new.is_symlink() == (images == "link")
            assert filecmp.cmp(record["file_name"], new, shallow=False)


@pytest.mark.parametrize("to", WRITERS)
def test_nothing_is_written_over(tmp_path: Path, to: str):
    source = factories.make_coco(tmp_path / "source")
    convert(source, to, tmp_path / "out")
    with pytest.raises(DatasetError, match="expected a new or an empty folder") as caught:
        convert(source, to, tmp_path / "out")
    assert str(tmp_path / "out") in str(caught.value)
    with pytest.raises(DatasetError, match="which is read"):
        convert(source, to, tmp_path / "source" / "images" / "train" / "new")


def test_missing_image_is_named_before_anything_is_written(tmp_path: Path):
    source = factories.make_coco(tmp_path / "source")
    lost = tmp_path / "source" / "images" / "val" / "002.png"
    lost.unlink()
    with pytest.raises(DatasetError, match="1 of 12 images do not exist") as caught:
        convert(source, "voc", tmp_path / "out")
    assert str(lost) in str(caught.value)
    assert not (tmp_path / "out").exists()
