"""A training step of a small Mask R-CNN, by stock Detectron2's trainer and by ours.

R18-FPN from random weights, batches of 8 images of 64 to 96 pixels with a few objects each, as
Detectron2's settings are but for what small images need: finer anchors, and 128 RoIs an image, as
its tutorial has.
"""

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import detectron2
import torch
from detectron2.config import get_cfg
from detectron2.engine import SimpleTrainer
from detectron2.structures import Boxes, Instances, PolygonMasks

from project.benchmark import train_photos
from project.benchmark.timing import Comparison, Pair, Run
from project.benchmark.trainers import one_step, our_trainer, stock_trainer
from project.config import load_config
from project.engine.step import TrainStep

BASE = Path(detectron2.__file__).parent / "model_zoo" / "configs" / "Base-RCNN-FPN.yaml"
BATCH, SIDES, CLASSES = 8, (64, 80, 96), 10
KEYS: list[Any] = [
    *["MODEL.WEIGHTS", "", "MODEL.MASK_ON", True, "MODEL.RESNETS.DEPTH", 18],
    *["MODEL.RESNETS.RES2_OUT_CHANNELS", 64, "MODEL.RESNETS.NORM", "BN"],
    *["MODEL.BACKBONE.FREEZE_AT", 0, "MODEL.ROI_HEADS.NUM_CLASSES", CLASSES],
    *["MODEL.ANCHOR_GENERATOR.SIZES", [[8], [16], [32], [64], [128]]],
    *["MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", 128, "SOLVER.BASE_LR", 1e-4],
]
CLOSE = 0.1  # of the losses of the first step, relative: their RoIs may be sampled differently


def pairs(device: str = "cpu") -> Iterator[Pair]:
    """A step with everything that a training does in it, but for reading images."""
    name = f"training step of Mask R-CNN R18-FPN, batch {BATCH}, {SIDES[0]}-{SIDES[-1]} px"
    yield Pair(name, partial(build, device), goal=2.5 if device == "cpu" else None)
    if device == "cuda":
        yield from train_photos.pairs(device)


def conclusion(comparisons: Sequence[Comparison]) -> str:
    """Images a second."""
    lines = []
    for found in comparisons:
        batch = re.search(r"batch (\d+)", found.name)
        if batch and found.unit == "ms":
            rate = 1e3 * int(batch[1]) / found.candidate
            lines.append(f"{found.name}: {rate:.1f} images a second")
    return "\n".join(lines)


def build(device: str) -> tuple[Run, Run]:
    """Both trainers with the same weights and batches; the losses of a first step must agree."""
    batches = [make_batch(seed) for seed in range(4)]
    stock, ours = make_stock(device, batches), make_ours(device, batches)
    ours.model.load_state_dict(stock.model.state_dict())
    losses = []
    for trainer in (stock, ours):
        torch.manual_seed(0)
        storage = one_step(trainer)
        losses.append(storage.latest()["total_loss"][0])
    if abs(losses[0] - losses[1]) > CLOSE * losses[0]:
        raise RuntimeError(f"total losses of a first step differ: {losses[0]} and {losses[1]}")
    return partial(one_step, stock), partial(one_step, ours)


def make_stock(device: str, batches: Sequence[list[dict[str, Any]]]) -> SimpleTrainer:
    """Detectron2's own trainer, model and optimizer."""
    cfg = get_cfg()
    cfg.merge_from_file(str(BASE))
    cfg.merge_from_list([*KEYS, "MODEL.DEVICE", device])
    return stock_trainer(cfg, batches)


def make_ours(
    device: str, batches: Sequence[list[dict[str, Any]]], overrides: Sequence[Any] = ()
) -> TrainStep:
    """What `project.engine.trainer.Trainer` makes of the same config."""
    cfg = load_config(BASE)
    cfg.merge_from_list([*KEYS, "MODEL.DEVICE", device, *overrides])
    return our_trainer(cfg, batches)


def make_batch(seed: int) -> list[dict[str, Any]]:
    """Noise with rectangles, outlined by polygons as in COCO."""
    generator = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int, *shape: int) -> torch.Tensor:
        return torch.randint(low, high, shape, generator=generator)

    batch = []
    for _ in range(BATCH):
        height, width = (SIDES[int(draw(0, len(SIDES), 1))] for _ in range(2))
        count = int(draw(2, 7, 1))
        corners = torch.stack([draw(0, width - 32, count), draw(0, height - 32, count)], dim=1)
        boxes = torch.cat([corners, corners + draw(12, 32, count, 2)], dim=1)
        image = draw(0, 120, 3, height, width).to(torch.uint8)
        for x1, y1, x2, y2 in boxes.tolist():
            image[:, y1:y2, x1:x2] += draw(60, 130, 3, 1, 1).to(torch.uint8)
        truth = Instances((height, width))
        truth.gt_boxes = Boxes(boxes.float())
        truth.gt_classes = draw(0, CLASSES, count)
        outlines = [[[x1, y1, x2, y1, x2, y2, x1, y2]] for x1, y1, x2, y2 in boxes.tolist()]
        truth.gt_masks = PolygonMasks(outlines)
        batch.append({"image": image, "instances": truth, "height": height, "width": width})
    return batch
