"""Forward and backward pass of the published U-Net, plain and as our config runs it."""

import copy
from collections.abc import Iterator, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from detectron2.modeling import build_model
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import project.modeling  # noqa: F401  (registers the parts that a config names)
from project.benchmark.timing import Comparison, Pair, Run
from project.config import load_config
from project.modeling.precision import amp_dtype
from project.modeling.quick import quicken

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "Base-UNet.yaml"
SIDE, CLASSES = 256, 4
CLOSE = 0.02  # of the losses, relative
PEER = "segmentation_models_pytorch"
LAYOUT = torch.channels_last


def pairs(device: str = "cpu") -> Iterator[Pair]:
    """The network of configs/Base-UNet.yaml on one image; then a peer's, where it is installed."""
    yield Pair(
        f"U-Net of 64 to 1024 channels, {SIDE}x{SIDE}, forward+backward",
        partial(build, [], device),
        goal=2.5 if device == "cpu" else None,
        against="the same modules in float32 and NCHW",
    )
    if find_spec(PEER):
        yield Pair(
            f"Unet with ResNet-18 of {PEER}, {SIDE}x{SIDE}, forward+backward",
            partial(_build_peer, device),
            against="the same as the library runs it",
        )


def conclusion(comparisons: Sequence[Comparison]) -> str:
    """Images a second of the second side."""
    return "\n".join(f"{c.name}: {1e3 / c.candidate:.2f} images a second" for c in comparisons)


def build(overrides: list[Any], device: str = "cpu") -> tuple[Run, Run]:
    """With EXACT, which leaves torch's modules as they are, and without; losses must agree."""
    batch = [make_image()]
    runs: list[Run] = []
    losses, weights = [], None
    for exact in (True, False):
        cfg = load_config(CONFIG)
        cfg.merge_from_list(["MODEL.DEVICE", device, "EXACT", exact, *overrides])
        cfg.merge_from_list(["MODEL.SEM_SEG_HEAD.NUM_CLASSES", CLASSES])
        torch.manual_seed(0)
        model = build_model(cfg).train()
        quicken(cfg, model)  # as our trainer does
        weights = weights or model.state_dict()
        model.load_state_dict(weights)
        runs.append(partial(_step, model, amp_dtype(cfg), batch))
        losses.append(float(runs[-1]()))  # type: ignore[arg-type]
    if abs(losses[0] - losses[1]) > CLOSE * losses[0]:
        raise RuntimeError(f"losses differ: {losses[0]} in float32 and {losses[1]} as set")
    return runs[0], runs[1]


def _build_peer(device: str) -> tuple[Run, Run]:
    """The library's network as it comes, and as our trainer would run it; losses must agree."""
    cfg = load_config(CONFIG)
    cfg.merge_from_list(["MODEL.DEVICE", device])
    torch.manual_seed(0)
    theirs = import_module(PEER).Unet("resnet18", encoder_weights=None, classes=CLASSES).train()
    ours = copy.deepcopy(theirs.to(device))
    quicken(cfg, ours)
    image = make_image()
    pixels = (image["image"][None] / 255 - 0.5).to(device)
    labels = image["sem_seg"][None].to(device)
    runs = [
        partial(_peer_step, theirs, None, pixels, labels),
        partial(_peer_step, ours, amp_dtype(cfg), pixels.to(memory_format=LAYOUT), labels),
    ]
    losses = [float(run()) for run in runs]
    if abs(losses[0] - losses[1]) > CLOSE * losses[0]:
        raise RuntimeError(f"losses differ: {losses[0]} in float32 and {losses[1]} as set")
    return runs[0], runs[1]


def _peer_step(
    model: nn.Module, dtype: torch.dtype | None, pixels: Tensor, labels: Tensor
) -> Tensor:
    model.zero_grad(set_to_none=True)
    with torch.autocast(pixels.device.type, dtype, enabled=dtype is not None):
        loss = cross_entropy(model(pixels), labels)
    loss.backward()
    return loss.detach()


def make_image() -> dict[str, Any]:
    """Blocks of one colour and label each, with noise."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, CLASSES, (SIDE // 32, SIDE // 32), generator=generator)
    labels = labels.repeat_interleave(32, 0).repeat_interleave(32, 1)
    noise = torch.rand(3, SIDE, SIDE, generator=generator)
    image = (60 * labels + 60 * noise).clamp(0, 255).to(torch.uint8)
    return {"image": image, "sem_seg": labels, "height": SIDE, "width": SIDE}


def _step(model: nn.Module, dtype: torch.dtype | None, batch: list[dict[str, Any]]) -> Tensor:
    model.zero_grad(set_to_none=True)
    with torch.autocast(next(model.parameters()).device.type, dtype, enabled=dtype is not None):
        loss = sum(model(batch).values())
    assert isinstance(loss, Tensor)
    loss.backward()
    return loss.detach()
