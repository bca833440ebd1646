"""What weights say of themselves: plain values, checked when they are read."""

import json
import pickle
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import nn

import factories
from project.data.register import register_dataset, unregister_dataset
from project.engine.checkpoint import Checkpointer, load_weights
from project.engine.describe import describe
from project.engine.described_config import choose_config
from project.engine.description import Description, described_categories, read_description
from project.engine.exported import read_exported, write_exported
from project.engine.setup import prepare_config
from project.errors import WeightsError
from tool_runner import TINY


@pytest.fixture
def description(coco_spec: Path) -> Description:
    cfg = prepare_config(TINY, coco_spec, ["INPUT.FORMAT", "RGB"])
    return describe(cfg, cfg.DATASETS.TEST)


def saved(folder: Path, description: Any, name: str = "model_final") -> str:
    Checkpointer(nn.Linear(2, 2), str(folder), description=description).save(name, iteration=3)
    return str(folder / f"{name}.pth")


def exported(folder: Path, description: Any) -> Path:
    return write_exported(folder, nn.Linear(2, 2).state_dict(), description, 3)[0]


def test_says_all_that_is_needed_in_plain_values(description, coco_spec, tmp_path):
    path = saved(tmp_path, description)
    found = torch.load(path, weights_only=True)["description"]
    assert found == description == read_description(path)
    assert json.loads(json.dumps(found)) == found
    assert found["classes"] == {
        "things": ["square", "disc"],
        "stuff": ["background"],
        "thing_dataset_ids": [3, 7],
        "stuff_dataset_ids": [],
    }
    assert found["labels"] == {"semantic": ["background", "square", "disc"], "ignore": 255}
    assert found["input"]["format"] == "RGB"
    assert found["input"]["pixel_mean"] == [103.53, 116.28, 123.675]
    assert found["versions"]["torch"] == torch.__version__
    (name,) = found["data"]
    assert found["data"][name]["images"] == 6 and len(found["data"][name]["sha256"]) == 64
    assert yaml.safe_load(found["config"])["MODEL"]["UNET"]["WIDTHS"] == [8, 16, 16]
    categories = described_categories(found)
    assert categories.semantic == ("background", "square", "disc")
    assert categories.dataset_to_thing == {3: 0, 7: 1}


def test_two_data_sets_have_two_digests(tmp_path):
    digests = []
    for seed in (0, 1):
        names = register_dataset(factories.make_coco(tmp_path / str(seed), seed=seed, name="same"))
        cfg = prepare_config(TINY, tmp_path / str(seed) / "same.yaml")
        digests.append(describe(cfg, cfg.DATASETS.TRAIN)["data"]["same_train"]["sha256"])
        unregister_dataset(*names)
    assert digests[0] != digests[1]


def test_weights_that_say_nothing(tmp_path):
    torch.save(nn.Linear(1, 1).state_dict(), tmp_path / "plain.pth")
    torch.save({"model": {}}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "zoo.pkl").write_bytes(pickle.dumps({"model": {"weight": np.zeros(3)}}))
    for name in ("plain.pth", "old.pth", "zoo.pkl"):
        assert read_description(str(tmp_path / name)) is None


def test_a_damaged_file_is_told_as_such(tmp_path, description):
    path = Path(saved(tmp_path, description))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(WeightsError, match=r"does not say.*it is damaged: its content.*sha256"):
        choose_config(None, ["MODEL.WEIGHTS", str(path)])


def broken(key: str, value: Any) -> Any:
    def change(description: Any) -> Any:
        *groups, name = key.split(".")
        node = description
        for group in groups:
            node = node[group]
        node[name] = value
        return description

    return change


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda d: [d], "it is no group of keys"),
        (lambda d: {"format": 1}, "`config` should be a str, found 'None'"),
        (broken("format", "1"), "`format` should be a int, found '1'"),
        (broken("format", 2), "has the format 2, and 1 is the newest"),
        (broken("classes.things", "square"), "`classes` has no list `things`"),
        (broken("classes.things", ["disc", "disc"]), "a name of its own"),
        (broken("classes.things", ["disc", 3]), "a name of its own"),
        (broken("classes.thing_dataset_ids", [1]), "one number of the data set"),
        (broken("classes.thing_dataset_ids", [1, "2"]), "whole numbers"),
    ],
)
@pytest.mark.parametrize("form", ["pth", "safetensors"])
def test_a_damaged_description_is_refused(tmp_path, description, change, expected, form):
    changed = change(deepcopy(description))
    if form == "pth":
        path = saved(tmp_path, changed)
    else:
        path = str(exported(tmp_path / "out", description))
        Path(path).with_suffix(".json").write_text(json.dumps(changed))
        expected = expected.replace("it is no group of keys", "expected a JSON object")
    with pytest.raises(WeightsError) as caught:
        read_description(path)
    assert expected in str(caught.value) and str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("SOLVER: {GONE: 3}", r"no config key SOLVER\.GONE"),
        ("_BASE_: elsewhere.yaml", "no config key _BASE_"),
        ("SOLVER: {MAX_ITER: soon}", "MAX_ITER"),
        ("SOLVER: !!python/object/apply:os.getcwd []", "not plain YAML"),
        ("just text", "expected 'KEY: value' lines, found a str"),
        ("SOLVER: 3", "SOLVER is a group of keys"),
    ],
)
def test_a_config_of_another_version_is_told_as_such(tmp_path, description, line, expected):
    description["config"] = line
    description["versions"]["project"] = "0.0.9"
    path = saved(tmp_path, description)
    with pytest.raises(WeightsError, match=expected) as caught:
        choose_config(None, ["MODEL.WEIGHTS", path])
    assert path in str(caught.value)
    assert "written by version 0.0.9" in str(caught.value)
    assert "--config-file" in str(caught.value)


def test_exports_come_whole(tmp_path):
    path = exported(tmp_path / "out", {"classes": {}})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]
    assert read_exported(str(path))["iteration"] == 3
    with pytest.raises(WeightsError, match="holds something"):
        exported(tmp_path / "out", {})
    (tmp_path / "empty").mkdir()
    assert exported(tmp_path / "empty", {}).is_file()
    with pytest.raises(TypeError):
        exported(tmp_path / "none", {"format": object()})
    (tmp_path / "busy.partial").mkdir()
    with pytest.raises(WeightsError, match="another export writes it"):
        exported(tmp_path / "busy", {})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["busy.partial", "empty", "out"]


def test_exports_hold_no_views_and_no_shared_tensors(tmp_path):
    whole = torch.arange(12.0).reshape(3, 4)
    weights = {"a": whole, "b": whole, "c": whole.t(), "d": whole[1], "e": torch.tensor(7)}
    path, _ = write_exported(tmp_path / "out", weights, {}, None)
    from safetensors.torch import load_file

    found = load_file(path)
    assert all(torch.equal(found[name], value) for name, value in weights.items())
    assert found["e"].dtype == torch.int64


def test_exports_that_do_not_belong_together_are_refused(tmp_path, description):
    first, second = (exported(tmp_path / name, description) for name in ("a", "b"))
    model = nn.Linear(2, 2)
    assert load_weights(model, str(first)) == 3
    first.with_suffix(".json").replace(second.with_suffix(".json"))
    with pytest.raises(WeightsError, match=r"is not the file that model\.json beside it describes"):
        load_weights(model, str(second))
    second.with_suffix(".json").write_text("{")
    with pytest.raises(WeightsError, match=r"model\.json: it is no JSON"):
        load_weights(model, str(second))
    second.with_suffix(".json").write_text("{}")
    with pytest.raises(WeightsError, match="describes no weights"):
        load_weights(model, str(second))


def test_safetensors_made_elsewhere_load(tmp_path, description):
    path = exported(tmp_path / "a", description)
    path.with_suffix(".json").unlink()
    model = nn.Linear(2, 2)
    assert load_weights(model, str(path)) is None
    assert read_description(str(path)) is None
    assert torch.equal(model.weight, read_exported(str(path))["model"]["weight"])
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(WeightsError, match="not a weights file that can be read"):
        load_weights(model, str(path))


def test_exports_can_be_read_by_those_who_read_what_is_beside(tmp_path):
    description = {"config": "", "classes": {"things": ["a"], "stuff": []}}
    files = write_exported(tmp_path / "out", {"w": torch.zeros(2)}, description, 1)
    first, second = (path.stat().st_mode & 0o777 for path in files)
    assert first == second
