"""A training that was interrupted ends with the very weights of one that was not."""

from pathlib import Path

import pytest
import torch

import factories
from tool_runner import TINY, load_tool

CHANGES = "[{name: flip}, {name: noise, std: [0, 8]}, {name: colour_jitter, brightness: 0.2}]"
WORDS = [
    *("SOLVER.MAX_ITER", "6", "SOLVER.CHECKPOINT_PERIOD", "1", "TEST.EVAL_PERIOD", "0"),
    *("TEST.BOOTSTRAP", "0", "TEST.REPORT_IMAGES", "0"),
    *("SOLVER.EMA.ENABLED", "True", "SOLVER.EMA.DECAY", "0.5", "INPUT.AUGMENTATIONS", CHANGES),
]
PARTS = {
    "joint": [],
    "instances": ["MODEL.MASK_UNET.SEMANTICS", "False"],
    "semantics": ["MODEL.MASK_UNET.INSTANCES", "False"],
}


def train(spec: Path, output: Path, *words: str) -> None:
    flags = [word for word in words if word.startswith("--")]
    argv = ["--config-file", str(TINY), "--dataset", str(spec), *flags, "OUTPUT_DIR", str(output)]
    keys = [word for word in words if not word.startswith("--")]
    assert load_tool("tools/train_net.py").main([*argv, *WORDS, *keys]) == 0


def tensors(output: Path, name: str) -> dict[str, torch.Tensor]:
    checkpoint = torch.load(output / name, weights_only=True)
    parts = ("model", "training_model")
    return {f"{part}/{key}": value for part in parts for key, value in checkpoint[part].items()}


@pytest.mark.parametrize(
    ("part", "stop", "workers"),
    [("joint", 2, "2"), ("instances", 1, "0"), ("semantics", 3, "2")],
)
def test_bit_by_bit(tmp_path, part, stop, workers):
    spec = factories.make_coco(tmp_path, num_images=5)
    words = [*PARTS[part], "DATALOADER.NUM_WORKERS"]
    train(spec, tmp_path / "whole", *words, "0")
    train(spec, tmp_path / "parted", *words, workers)
    for later in range(stop, 6):
        (tmp_path / "parted" / f"model_{later:07}.pth").unlink(missing_ok=True)
    (tmp_path / "parted" / "last_checkpoint").write_text(f"model_{stop - 1:07}.pth")
    train(spec, tmp_path / "parted", "--resume", *words, workers)
    assert f"Starting training from iteration {stop}" in (tmp_path / "parted/log.txt").read_text()
    expected, found = (tensors(tmp_path / name, "model_final.pth") for name in ("whole", "parted"))
    start = tensors(tmp_path / "whole", "model_0000000.pth")
    assert expected.keys() == found.keys()
    assert any(not torch.equal(start[key], expected[key]) for key in start)
    assert all(torch.equal(expected[key], found[key]) for key in expected)


def test_a_damaged_checkpoint_is_passed_over(tmp_path, coco_spec):
    """The run goes on from the one before, and ends with the same weights."""
    words = [*PARTS["semantics"], "SOLVER.CHECKPOINTS_KEPT", "3"]
    train(coco_spec, tmp_path, *words)
    whole = tensors(tmp_path, "model_final.pth")
    kept = sorted(path.name for path in tmp_path.glob("model_0*.pth"))
    assert kept == [f"model_{iteration:07}.pth" for iteration in (3, 4, 5)]
    (tmp_path / "model_final.pth").unlink()
    (tmp_path / "last_checkpoint").write_text(kept[-1])
    newest = tmp_path / kept[-1]
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    train(coco_spec, tmp_path, "--resume", *words)
    log = (tmp_path / "log.txt").read_text()
    assert f"{newest} is damaged" in log and "Starting training from iteration 5" in log
    assert all(
        torch.equal(whole[key], value)
        for key, value in tensors(tmp_path, "model_final.pth").items()
    )
