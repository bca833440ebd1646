"""A training step of Mask R-CNN R50-FPN on photographs of 800 pixels, for GPUs.

Detectron2's `mask_rcnn_R_50_FPN_1x`, with random weights that learn the batches a little first, so
that proposals hit objects, and the mask head has as much to do as in the middle of a training.
"""

import math
import warnings
from collections.abc import Callable, Iterator
from functools import cache, lru_cache, partial
from itertools import chain
from pathlib import Path
from typing import Any

import detectron2
import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.engine import SimpleTrainer
from detectron2.structures import Boxes, Instances, PolygonMasks
from torch import nn

from project.benchmark.timing import Pair, Run
from project.benchmark.trainers import one_step, our_trainer, stock_trainer
from project.config import load_config

CONFIGS = Path(detectron2.__file__).parent / "model_zoo" / "configs"
CONFIG = CONFIGS / "COCO-InstanceSegmentation" / "mask_rcnn_R_50_FPN_1x.yaml"
SIZE = (800, 1067)  # 480 x 640, enlarged as in trainings on COCO
OBJECTS = 7  # of an image of COCO
CORNERS = 24  # of an outline
BATCHES = (2, 8, 16)
WARM_UP = 60  # steps
KEYS: list[Any] = ["MODEL.WEIGHTS", "", "MODEL.ROI_HEADS.NUM_CLASSES", 80]
STILL: list[Any] = ["SOLVER.BASE_LR", 1e-9]  # all timed steps see the same weights
LEARNING: list[Any] = ["SOLVER.BASE_LR", 2e-4, "SOLVER.OPTIMIZER", "AdamW"]
# Of each mean loss over some steps, relative, or of three tenths of the sum of all: what they are
# of is sampled anew in each step.
CLOSE = 0.05


def pairs(device: str) -> Iterator[Pair]:
    """Time and the peak of the GPU's memory, of several batches."""
    for batch in BATCHES:
        name = f"Mask R-CNN R50-FPN, {SIZE[0]} px, batch {batch}"
        yield Pair(f"training step of {name}", partial(build, batch, device), goal=1.5)
        yield Pair(
            f"peak of memory, batch {batch}",
            partial(_build_peaks, batch, device),
            goal=1.0,
            unit="MB",
        )
        yield Pair(
            f"waits for the GPU in a step, batch {batch}",
            partial(_build_waits, batch, device),
            unit="waits",
        )
        yield Pair(
            f"training step beside stock's in mixed precision, batch {batch}",
            partial(build, batch, device, mixed=True),
        )
        yield Pair(
            f"peak of memory beside stock's in mixed precision, batch {batch}",
            partial(_build_peaks, batch, device, mixed=True),
            unit="MB",
        )


def build(batch: int, device: str, mixed: bool = False) -> tuple[Run, Run]:
    """Both trainers with the same weights and batches, whose losses agree.

    Args:
        batch: images.
        device: "cuda".
        mixed: lets stock train in mixed precision too, which it does not by itself.
    """
    stock, ours = _trainers(batch, device, mixed)
    return partial(one_step, stock), partial(one_step, ours)


def _build_peaks(batch: int, device: str, mixed: bool = False) -> tuple[Run, Run]:
    stock, ours = _trainers(batch, device, mixed)
    return partial(_peak, stock), partial(_peak, ours)


def _build_waits(batch: int, device: str) -> tuple[Run, Run]:
    stock, ours = _trainers(batch, device, False)
    return partial(count_waits, stock), partial(count_waits, ours)


@lru_cache(maxsize=1)  # several pairs look at the same
def _trainers(batch: int, device: str, mixed: bool) -> tuple[SimpleTrainer, SimpleTrainer]:
    batches = [make_batch(batch, seed) for seed in range(2)]
    weights = _learnt(device)
    stock_cfg = get_cfg()
    stock_cfg.merge_from_file(str(CONFIG))
    stock_cfg.merge_from_list([*KEYS, "MODEL.DEVICE", device, *STILL])
    stock_cfg.SOLVER.AMP.ENABLED = mixed
    if device == "cuda":
        for image in chain(*batches):  # by a thread of our loader, not in the step
            image["image"] = image["image"].pin_memory()
    stock, ours = stock_trainer(stock_cfg, batches), our_trainer(_ours(device, STILL), batches)
    for trainer in (stock, ours):
        trainer.model.load_state_dict(weights)
    _check_losses(mean_losses(stock), mean_losses(ours))
    return stock, ours


@cache
def _learnt(device: str) -> dict[str, torch.Tensor]:
    """Weights that find some of the objects."""
    batches = [make_batch(max(BATCHES), seed) for seed in range(2)]
    learner = our_trainer(_ours(device, LEARNING), batches)
    tame(learner.model)
    for _ in range(WARM_UP):
        one_step(learner)
    return {name: value.cpu() for name, value in learner.model.state_dict().items()}


def _ours(device: str, keys: list[Any]) -> CfgNode:
    cfg = load_config(CONFIG)
    cfg.merge_from_list([*KEYS, "MODEL.DEVICE", device, *keys])
    return cfg


@torch.no_grad()
def tame(model: nn.Module) -> None:
    """Random weights under frozen normalisation grow from block to block, past what fp16 holds."""
    for name, module in model.named_modules():
        if name.endswith("conv3.norm"):
            module.weight.fill_(0.25)


def mean_losses(trainer: SimpleTrainer, steps: int = 16) -> dict[str, float]:
    """Of some steps; their weights must stay."""
    torch.manual_seed(0)
    totals: dict[str, float] = {}
    for _ in range(steps):
        storage = one_step(trainer)
        for name, (value, _) in storage.latest().items():
            if "loss" in name:
                totals[name] = totals.get(name, 0.0) + value / steps
    return totals


def _check_losses(theirs: dict[str, float], ours: dict[str, float]) -> None:
    for name, value in theirs.items():
        if not abs(ours[name] - value) <= CLOSE * max(value, 0.3 * theirs["total_loss"]):
            raise RuntimeError(f"losses differ in {name}: {theirs} of stock, {ours} of ours")


def _peak(trainer: SimpleTrainer) -> float:
    """MB (10**6 bytes) that a step needs beside what is held between steps by others."""
    trainer.optimizer.zero_grad(set_to_none=True)
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    one_step(trainer)
    torch.cuda.synchronize()
    peak = torch.cuda.max_memory_allocated() - before
    trainer.optimizer.zero_grad(set_to_none=True)
    return peak / 1e6


def count_waits(trainer: SimpleTrainer) -> int:
    """How often the processor waits for the GPU in a step."""
    return len(find_waits(partial(one_step, trainer)))


def find_waits(run: Callable[[], object]) -> list[str]:
    """Where the processor waits for the GPU, a line each, as torch's own debugging mode tells."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            run()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return [f"{Path(w.filename).name}:{w.lineno}" for w in caught if "synchroniz" in str(w.message)]


def make_batch(count: int, seed: int) -> list[dict[str, Any]]:
    """Noise with ellipses of one colour, outlined by polygons."""
    generator = torch.Generator().manual_seed(seed)
    height, width = SIZE
    angles = torch.arange(CORNERS) * (2 * math.pi / CORNERS)
    circle = torch.stack([angles.cos(), angles.sin()], dim=1)
    batch = []
    for _ in range(count):
        radii = 16 + 160 * torch.rand(OBJECTS, 1, 2, generator=generator) ** 2
        room = torch.tensor([width, height]) - 2 * radii - 2
        centres = 1 + radii + room * torch.rand(OBJECTS, 1, 2, generator=generator)
        outlines = centres + radii * circle
        image = torch.randint(0, 60, (3, height, width), generator=generator, dtype=torch.uint8)
        rows, columns = torch.arange(height)[:, None] + 0.5, torch.arange(width) + 0.5
        for centre, radius in zip(centres[:, 0], radii[:, 0]):
            across, down = (columns - centre[0]) / radius[0], (rows - centre[1]) / radius[1]
            colour = torch.randint(80, 190, (3, 1), generator=generator, dtype=torch.uint8)
            image[:, across**2 + down**2 <= 1] += colour
        truth = Instances(SIZE)
        truth.gt_boxes = Boxes(torch.cat([outlines.amin(1), outlines.amax(1)], dim=1))
        truth.gt_classes = torch.randint(0, 80, (OBJECTS,), generator=generator)
        truth.gt_masks = PolygonMasks([[o.double().flatten().numpy()] for o in outlines])
        batch.append({"image": image, "instances": truth, "height": height, "width": width})
    return batch
