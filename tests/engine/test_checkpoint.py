"""Weights come back as they were written, and nothing else comes in with them."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from project.engine.averaging import WeightAverage
from project.engine.checkpoint import Checkpointer, load_weights
from project.errors import WeightsError
from project.network import set_downloads


class RunsCode:
    """A pickle of this touches a file when it is read."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def test_weights_come_back(tmp_path):
    model, other = nn.Linear(2, 2), nn.Linear(2, 2)
    assert not torch.equal(model.weight, other.weight)
    Checkpointer(model, str(tmp_path)).save("model_0000004", iteration=4)
    assert load_weights(other, str(tmp_path / "model_0000004.pth")) == 4
    assert torch.equal(model.weight, other.weight)


def test_averaged_weights_are_what_is_loaded_to_predict_with(tmp_path):
    model = nn.Linear(1, 1)
    average = WeightAverage(model, decay=0.0, start_iter=0)
    for iteration, value in enumerate([1.0, 3.0]):
        nn.init.constant_(model.weight, value)
        average.update(iteration)
    Checkpointer(model, str(tmp_path), average=average).save("model_final", iteration=1)

    plain = nn.Linear(1, 1)
    load_weights(plain, str(tmp_path / "model_final.pth"))
    assert plain.weight.item() == 2.0

    resumed = nn.Linear(1, 1)
    resumed_average = WeightAverage(resumed, decay=0.0, start_iter=0)
    Checkpointer(resumed, str(tmp_path), average=resumed_average).resume_or_load("", resume=True)
    assert resumed.weight.item() == 3.0
    assert resumed_average.state_dict()["weight"].item() == 2.0
    assert resumed_average.count == 2


def test_best_is_not_what_resume_goes_on_from(tmp_path):
    checkpointer = Checkpointer(nn.Linear(1, 1), str(tmp_path))
    checkpointer.save("model_0000009", iteration=9)
    checkpointer.save("model_best", tag=False, iteration=4)
    assert checkpointer.get_checkpoint_file().endswith("model_0000009.pth")
    assert (tmp_path / "model_best.pth").is_file()


def test_a_save_that_fails_leaves_the_file_before_it(tmp_path):
    checkpointer = Checkpointer(nn.Linear(1, 1), str(tmp_path))
    checkpointer.save("model", iteration=1)
    before = (tmp_path / "model.pth").read_bytes()
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
        checkpointer.save("model", unpicklable=lambda: None)
    assert (tmp_path / "model.pth").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "last_checkpoint",
        "model.pth",
        "model.pth.sha256",
    ]


def test_zoo_pickle_of_arrays_is_read(tmp_path):
    model = nn.Linear(2, 2)
    weights = {"weight": np.full((2, 2), 7, np.float32), "bias": np.zeros(2, np.float32)}
    path = tmp_path / "zoo.pkl"
    path.write_bytes(pickle.dumps({"model": weights, "__author__": "a test"}))
    load_weights(model, str(path))
    assert model.weight.eq(7).all()


@pytest.mark.parametrize("suffix", [".pkl", ".pth", ".pyth", ""])
@pytest.mark.parametrize("whole", [True, False])
def test_weights_that_would_run_code_are_refused(tmp_path, suffix, whole):
    marker, path = tmp_path / "marker", tmp_path / f"evil{suffix}"
    evil = RunsCode(marker)
    if whole and suffix != ".pkl":
        torch.save({"model": {"weight": evil}}, path)
    else:
        path.write_bytes(pickle.dumps({"model": {"weight": evil}, "__author__": "x"}))
    with pytest.raises(WeightsError, match="evil"):
        load_weights(nn.Linear(1, 1), str(path))
    assert not marker.exists()
    pickle.loads(pickle.dumps(evil))
    assert marker.exists(), "the file must be hostile for the test to mean something"


def test_missing_weights_name_the_nearest(tmp_path):
    Checkpointer(nn.Linear(1, 1), str(tmp_path)).save("model_final")
    with pytest.raises(WeightsError, match=r"Did you mean model_final\.pth"):
        load_weights(nn.Linear(1, 1), str(tmp_path / "model_finale.pth"))


def test_truncated_weights_are_refused(tmp_path):
    Checkpointer(nn.Linear(8, 8), str(tmp_path)).save("model_final")
    path = tmp_path / "model_final.pth"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(WeightsError, match="not a weights file"):
        load_weights(nn.Linear(8, 8), str(path))


def test_weights_of_another_architecture_are_refused(tmp_path):
    Checkpointer(nn.Linear(2, 2), str(tmp_path)).save("linear")
    with pytest.raises(WeightsError, match="another architecture"):
        load_weights(nn.Sequential(nn.Linear(2, 2)), str(tmp_path / "linear.pth"))


def test_weights_that_cannot_be_fetched_say_how_to_go_on(monkeypatch):
    def offline(url):
        raise OSError("no route to host")

    monkeypatch.setattr("project.network._open", offline)
    set_downloads(True)
    with pytest.raises(WeightsError, match=r"no route to host.*internet.*MODEL\.WEIGHTS"):
        load_weights(nn.Linear(1, 1), "https://weights.invalid/model_final.pkl")


def test_no_weights_named():
    with pytest.raises(WeightsError, match=r"MODEL\.WEIGHTS"):
        load_weights(nn.Linear(1, 1), "")


def averaged(values: list[float], start_iter: int = 0) -> tuple[nn.Linear, WeightAverage]:
    """A model that had these weights, and their plain mean."""
    model = nn.Linear(1, 1)
    average = WeightAverage(model, decay=0.0, start_iter=start_iter)
    for iteration, value in enumerate(values):
        nn.init.constant_(model.weight, value)
        average.update(iteration)
    return model, average


def test_another_run_starts_from_averaged_weights_with_a_new_average(tmp_path):
    model, average = averaged([1.0, 3.0])
    Checkpointer(model, str(tmp_path), average=average).save("model_final", iteration=1)

    other, new_average = averaged([], start_iter=1000)
    checkpointer = Checkpointer(other, str(tmp_path / "other"), average=new_average)
    checkpointer.resume_or_load(str(tmp_path / "model_final.pth"), resume=False)
    assert other.weight.item() == 2.0
    assert not new_average.started


def test_run_resumed_without_averaging_goes_on_from_its_last_weights(tmp_path):
    model, average = averaged([1.0, 3.0])
    Checkpointer(model, str(tmp_path), average=average).save("model_final", iteration=1)
    other = nn.Linear(1, 1)
    Checkpointer(other, str(tmp_path)).resume_or_load("", resume=True)
    assert other.weight.item() == 3.0


class TwoLayers(nn.Module):
    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(2, 2), nn.Linear(2, classes)


def test_part_of_the_weights_is_enough_to_start_but_not_to_predict(tmp_path):
    old, new = TwoLayers(classes=3), TwoLayers(classes=5)
    Checkpointer(old, str(tmp_path)).save("old")
    path = str(tmp_path / "old.pth")
    with pytest.raises(WeightsError, match=r"2 of the model's 4 weights .*head"):
        load_weights(new, path)
    started = TwoLayers(classes=5)
    Checkpointer(started).resume_or_load(path, resume=False)
    assert torch.equal(started.body.weight, old.body.weight)


CLASSES = {"things": ["fig", "date"], "stuff": ["background"]}
SWAPPED = {"things": ["date", "fig"], "stuff": ["background"]}


def test_weights_predict_only_the_classes_they_were_trained_for(tmp_path):
    model = nn.Linear(1, 2)
    Checkpointer(model, str(tmp_path), classes=CLASSES).save("model_final", iteration=1)
    path = str(tmp_path / "model_final.pth")
    assert load_weights(nn.Linear(1, 2), path, CLASSES) == 1
    with pytest.raises(WeightsError, match=r"'date', 'fig'"):
        load_weights(nn.Linear(1, 2), path, SWAPPED)
    with pytest.raises(WeightsError, match=r"'date', 'fig'"):
        Checkpointer(model, str(tmp_path), classes=SWAPPED).resume_or_load("", resume=True)
    Checkpointer(model, classes=SWAPPED).resume_or_load(path, resume=False)


def test_weights_of_which_next_to_nothing_fits_are_refused(tmp_path):
    """Biases of one length are no weights to start from; a whole backbone is."""
    model = torch.nn.Sequential(torch.nn.Linear(30, 8), torch.nn.Linear(8, 8))
    names = list(model.state_dict())
    state = {name: torch.ones(3, 3) for name in names}
    torch.save({"model": {**state, "1.bias": torch.ones(8)}}, tmp_path / "w.pth")
    Checkpointer(model).load(str(tmp_path / "w.pth"), checkpointables=[])  # 8 of 320
    assert torch.equal(model[1].bias, torch.ones(8))
    large = torch.nn.Sequential(torch.nn.Linear(300, 8), torch.nn.Linear(8, 8))
    with pytest.raises(WeightsError, match=r"8 of the model's 2480 weights fit: .*another arch"):
        Checkpointer(large).load(str(tmp_path / "w.pth"), checkpointables=[])
