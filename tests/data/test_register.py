"""Registration: lazy, repeatable, and the catalogs that Detectron2 reads."""

import pytest
import yaml
from detectron2.data import DatasetCatalog, MetadataCatalog, get_detection_dataset_dicts

import factories
from project.data.register import (
    dataset_info,
    dataset_records,
    register_dataset,
    unregister_dataset,
)
from project.data.spec import read_spec
from project.errors import DatasetError


def test_registration_touches_only_the_specification(tmp_path):
    """The files of the data set need not even exist yet."""
    path = tmp_path / "d.yaml"
    splits = {s: {"images": "images", "annotations": f"{s}.json"} for s in ("train", "val", "test")}
    spec = {"name": "later", "format": "coco", "splits": splits}
    path.write_text(yaml.safe_dump(spec, sort_keys=False))
    assert register_dataset(path) == ["later_train", "later_val", "later_test"]
    assert "later_test" in DatasetCatalog
    with pytest.raises(DatasetError, match=r"test\.json does not exist"):
        DatasetCatalog.get("later_test")


def test_a_python_call_does_the_same(tmp_path):
    path = factories.make_coco(tmp_path)
    fields = yaml.safe_load(path.read_text())
    from_file = dataset_records(register_dataset(path)[0])
    unregister_dataset(f"{fields['name']}_train", f"{fields['name']}_val")
    names = register_dataset(**fields, root=str(tmp_path))
    assert dataset_records(names[0]) == from_file
    for wrong in ({}, {"source": path, "name": "a"}):
        with pytest.raises(TypeError):
            register_dataset(**wrong)


def test_metadata_for_detectron2(coco_spec):
    name = read_spec(coco_spec).name + "_train"
    records = DatasetCatalog.get(name)
    assert records == dataset_records(name) and records[0]["dataset"] == name
    metadata = MetadataCatalog.get(name)
    assert metadata.thing_classes == ["square", "disc"]
    assert metadata.stuff_classes == ["background", "square", "disc"]
    assert metadata.thing_dataset_id_to_contiguous_id == {3: 0, 7: 1}
    assert (metadata.ignore_label, metadata.evaluator_type) == (255, "maskunet")
    assert len(get_detection_dataset_dicts([name])) == 6


def test_registering_again_reads_anew(tmp_path):
    path = factories.make_coco(tmp_path, num_images=2)
    name = register_dataset(path)[0]
    assert len(dataset_records(name)) == 2
    factories.make_coco(tmp_path / "more", num_images=5, name=read_spec(path).name)
    (tmp_path / "train.json").write_text((tmp_path / "more" / "train.json").read_text())
    assert len(dataset_records(name)) == 2
    register_dataset(path)
    assert len(dataset_records(name)) == len(DatasetCatalog.get(name)) == 5


def test_a_name_that_is_taken(tmp_path):
    one = factories.make_coco(tmp_path / "one", name="same")
    two = factories.make_coco(tmp_path / "two", name="same")
    register_dataset(one)
    with pytest.raises(DatasetError, match=r"'same_train' is already registered, by .*one"):
        register_dataset(two)
    DatasetCatalog.register("foreign_train", list)
    foreign = factories.make_coco(tmp_path / "three", name="foreign")
    with pytest.raises(DatasetError, match="Detectron2 or other code"):
        register_dataset(foreign)
    DatasetCatalog.remove("foreign_train")


def test_unknown_names(coco_spec):
    name = read_spec(coco_spec).name
    for ask in (dataset_info, dataset_records):
        with pytest.raises(DatasetError, match=f"no registered data set '{name}_vla'.*{name}_val"):
            ask(f"{name}_vla")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "cocoo"}, "unknown format 'cocoo'. Did you mean coco"),
        ({"instances": "connected_components"}, "has no use for `instances:`"),
        ({"splits": {"train": {"images": "images"}}}, "lacks the key 'annotations'"),
        ({"splits": {"train": {"annotation": "x"}}}, "'annotation'. Did you mean annotations"),
    ],
)
def test_mistakes_are_named_at_registration(tmp_path, changes, message):
    path = factories.make_coco(tmp_path)
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))
    with pytest.raises(DatasetError, match=message):
        register_dataset(path)
