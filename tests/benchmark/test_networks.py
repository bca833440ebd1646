"""The comparisons of whole networks, with small ones."""

import json
from typing import Any

import pytest
import torch

from project.benchmark import infer, train, train_photos, unet
from tool_runner import load_tool

SMALL: list[Any] = ["MODEL.RESNETS.DEPTH", 18, "MODEL.RESNETS.RES2_OUT_CHANNELS", 64]
SMALL += ["MODEL.FPN.OUT_CHANNELS", 16, "MODEL.ROI_BOX_HEAD.FC_DIM", 32]
SMALL += ["MODEL.ROI_MASK_HEAD.CONV_DIM", 16, "MODEL.RPN.POST_NMS_TOPK_TEST", 200]
SMALL += ["MODEL.RPN.POST_NMS_TOPK_TRAIN", 200]


def ratios(tmp_path, *words: str) -> list[float]:
    path = tmp_path / "figures.json"
    argv = [*words, "--rounds", "1", "--threads", "1", "--json", str(path)]
    assert load_tool("tools/benchmark.py").main(argv) == 0
    return [found["ratio"] for found in json.loads(path.read_text())["comparisons"].values()]


@pytest.fixture(autouse=True)
def threads():
    """The tool sets them."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_prediction_agrees_and_is_timed(tmp_path, monkeypatch):
    monkeypatch.setattr(infer, "KEYS", [*infer.KEYS, *SMALL])
    monkeypatch.setattr(infer, "SIZE", (160, 192))
    (ratio,) = ratios(tmp_path, "infer", "--only", "float32")
    assert ratio > 0


def test_other_results_are_told(monkeypatch):
    monkeypatch.setattr(infer, "KEYS", [*infer.KEYS, *SMALL])
    monkeypatch.setattr(infer, "SIZE", (160, 192))
    with pytest.raises(RuntimeError, match=r"results differ: of \d+ objects"):
        infer.build(["MODEL.ROI_HEADS.NMS_THRESH_TEST", 0.05], infer.EXACT, "cpu")


def test_a_training_step_is_timed(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "KEYS", [*train.KEYS, *SMALL])
    monkeypatch.setattr(train, "BATCH", 2)
    (ratio,) = ratios(tmp_path, "train")
    assert ratio > 0


def test_a_step_on_photographs_agrees(monkeypatch):
    """On the CPU: on a GPU its memory and its waits are measured too."""
    small = {"KEYS": [*train_photos.KEYS, *SMALL], "SIZE": (96, 128), "BATCHES": (1,)}
    for name, value in {**small, "WARM_UP": 2}.items():
        monkeypatch.setattr(train_photos, name, value)
    train_photos._learnt.cache_clear()
    theirs, ours = train_photos.build(1, "cpu", mixed=False)
    losses = [run().latest()["total_loss"][0] for run in (theirs, ours)]
    assert losses[0] > 0.1 and losses[1] == pytest.approx(losses[0], rel=0.2)
    train_photos._learnt.cache_clear()
    train_photos._trainers.cache_clear()
    names = [pair.name for pair in train_photos.pairs("cuda")]
    assert len(names) == len(set(names)) == 5


def test_the_unet_is_timed(monkeypatch):
    monkeypatch.setattr(unet, "SIDE", 64)
    words = ["MODEL.UNET.WIDTHS", [16, 32], "MODEL.SEM_SEG_HEAD.IN_FEATURES", ["stage1", "stage2"]]
    theirs, ours = unet.build(words)
    assert float(theirs()) == pytest.approx(float(ours()), rel=unet.CLOSE)
    peers = [pair for pair in unet.pairs() if unet.PEER in pair.name]
    for pair in peers:  # none where the library is not installed
        theirs, ours = pair.build()
        assert float(theirs()) == pytest.approx(float(ours()), rel=unet.CLOSE)
