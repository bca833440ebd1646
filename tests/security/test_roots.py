"""Where files may lead: bases of configs, names and links of data sets, folders of images."""

import json
from pathlib import Path

import pytest
import yaml

import factories
from conversions import convert, read
from corpus.case import edit_spec
from project.config import load_config
from project.config_files import ROOTS_VARIABLE
from project.data.roots import declared_roots
from project.data.spec import read_spec
from project.data.validate import check_dataset
from project.errors import ConfigError, DatasetError, PredictionsError
from project.evaluation.prediction_files import score_predictions
from project.inference.inputs import list_images
from tool_runner import REPOSITORY, TINY


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_base_may_lie_in_this_repository(tmp_path):
    ours = REPOSITORY / "configs" / "unet" / "unet_small.yaml"
    for base in (ours, TINY):
        cfg = load_config(write(tmp_path / "c.yaml", f"_BASE_: {base}\nSEED: 9\n"))
        assert cfg.SEED == 9 and cfg.MODEL.UNET.WIDTHS != load_config().MODEL.UNET.WIDTHS


def test_a_base_may_lie_below_its_config(tmp_path):
    write(tmp_path / "bases" / "deep" / "b.yaml", "SEED: 3\n")
    write(tmp_path / "bases" / "a.yaml", "_BASE_: deep/b.yaml\n")
    assert load_config(write(tmp_path / "c.yaml", "_BASE_: bases/a.yaml\n")).SEED == 3


def test_a_base_may_lie_in_the_working_folder_of_its_config(tmp_path, monkeypatch):
    write(tmp_path / "mine" / "base.yaml", "SEED: 3\n")
    config = write(tmp_path / "mine" / "trials" / "c.yaml", "_BASE_: ../base.yaml\n")
    with pytest.raises(ConfigError, match=f"{config}: _BASE_ '../base.yaml' is {tmp_path}"):
        load_config(config)
    monkeypatch.chdir(tmp_path / "mine")
    assert load_config(config).SEED == 3
    assert load_config("trials/c.yaml").SEED == 3


def test_a_base_may_lie_where_the_variable_says(tmp_path, monkeypatch):
    write(tmp_path / "team" / "base.yaml", "SEED: 3\n")
    config = write(tmp_path / "mine" / "c.yaml", f"_BASE_: {tmp_path}/team/base.yaml\n")
    with pytest.raises(ConfigError, match=ROOTS_VARIABLE):
        load_config(config)
    monkeypatch.setenv(ROOTS_VARIABLE, f"/nowhere:{tmp_path}/team")
    assert load_config(config).SEED == 3


def test_a_config_that_is_a_link_may_use_what_lies_beside_its_file(tmp_path):
    write(tmp_path / "real" / "base.yaml", "SEED: 3\n")
    real = write(tmp_path / "real" / "c.yaml", f"_BASE_: {tmp_path}/real/base.yaml\n")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "c.yaml").symlink_to(real)
    assert load_config(tmp_path / "links" / "c.yaml").SEED == 3


@pytest.mark.parametrize("form", ["coco", "label_map", "voc", "yolo", "labelme", "mask_folder"])
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_links_out_of_a_data_set_are_refused_unless_declared(form, kind, tmp_path):
    spec = factories.make(form, tmp_path / "set", num_images=2)
    assert len(read(spec)["train"][1]) == 2
    image = sorted((tmp_path / "set").rglob("*.png"))[0]
    moved = image if kind == "file" else image.parent
    elsewhere = tmp_path / "elsewhere" / moved.name
    elsewhere.parent.mkdir()
    moved.rename(elsewhere)
    moved.symlink_to(elsewhere)
    declared = {path.resolve() for path in declared_roots(read_spec(spec))}
    if elsewhere.resolve() in declared:
        assert len(read(spec)["train"][1]) == 2  # the specification itself names the link
        return
    with pytest.raises(DatasetError, match=r"is a symbolic link to .*elsewhere.*roots:"):
        read(spec)
    (problem, *_) = check_dataset(read_spec(spec), quick=True).problems.errors
    assert problem.rule == "file_outside" and Path(problem.file) == moved
    edit_spec(spec, roots=["../elsewhere"])
    assert len(read(spec)["train"][1]) == 2


def test_links_within_a_data_set_are_followed(tmp_path):
    spec = factories.make_coco(tmp_path / "set", num_images=2)
    image = tmp_path / "set" / "images" / "train" / "000.png"
    image.rename(tmp_path / "set" / "store.png")
    image.symlink_to("../../store.png")
    (tmp_path / "set" / "images" / "train" / "back").symlink_to("..")
    assert len(read(spec)["train"][1]) == 2


def test_a_name_may_lead_to_a_declared_folder_but_no_link_in_it_elsewhere(tmp_path):
    spec = factories.make_coco(tmp_path / "set", num_images=2)
    more, far = tmp_path / "more", tmp_path / "far"
    more.mkdir()
    far.mkdir()
    path = tmp_path / "set" / "train.json"
    content = json.loads(path.read_text())
    image = tmp_path / "set" / "images" / "train" / content["images"][0]["file_name"]
    image.rename(more / "a.png")
    content["images"][0]["file_name"] = str(more / "a.png")
    path.write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=r"train\.json: .*more/a\.png"):
        read(spec)
    edit_spec(spec, roots=["../more"])
    assert read(spec)["train"][1][0]["file_name"] == str(more / "a.png")
    (more / "a.png").rename(far / "a.png")
    (more / "a.png").symlink_to(far / "a.png")
    with pytest.raises(DatasetError, match=r"leads to .*far/a\.png"):
        read(spec)


def test_what_we_write_with_links_says_where_they_lead(tmp_path):
    source = factories.make_coco(tmp_path / "source", num_images=2)
    convert(source, "coco", tmp_path / "new", "link")
    (spec,) = (tmp_path / "new").glob("*.yaml")
    assert yaml.safe_load(spec.read_text())["roots"] == [str(tmp_path / "source")]
    assert len(read(spec)["train"][1]) == 2


@pytest.mark.parametrize("value", ["a", [1], [""], {"a": "b"}])
def test_roots_is_a_list_of_folders(value, tmp_path):
    spec = factories.make_coco(tmp_path)
    edit_spec(spec, roots=value)
    with pytest.raises(DatasetError, match="roots: expected a list of folders"):
        read_spec(spec)


def test_images_to_predict_lie_in_their_folder(tmp_path):
    factories.make_coco(tmp_path / "set", num_images=2)
    folder = tmp_path / "set" / "images" / "train"
    (tmp_path / "secret.png").write_bytes((folder / "000.png").read_bytes())
    (folder / "a.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(DatasetError, match=r"a\.png is a symbolic link.*--follow-links"):
        list_images(folder, tmp_path / "out")
    assert "a" in list_images(folder, tmp_path / "out", follow_links=True)


def test_label_maps_to_score_lie_in_their_folder(tmp_path, registered):
    spec = factories.make_label_map(tmp_path / "maps", num_images=2)
    (name, _) = registered(spec)
    folder = factories.write_perfect_predictions(spec, "train", tmp_path / "p")["label_map"]
    assert score_predictions(name, folder)["sem_seg"]["mIoU"] == 100
    label = sorted(folder.glob("*.png"))[0]
    label.rename(tmp_path / "secret.png")
    label.symlink_to(tmp_path / "secret.png")
    with pytest.raises(PredictionsError, match=f"{label}: it is a symbolic link"):
        score_predictions(name, folder)
