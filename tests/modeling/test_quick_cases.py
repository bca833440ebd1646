"""Every architecture with objects, made quick as for a GPU, trains as Detectron2's parts do."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model
from detectron2.structures import PolygonMasks
from detectron2.utils.events import EventStorage
from torch import nn

from model_cases import CASES, make_input, tiny_config
from project.layers.frozen_norm import fold_frozen_norms
from project.modeling.anchors import cache_anchors
from project.modeling.pooler import replace_poolers
from project.modeling.quick_mask_head import quicken_mask_heads
from project.modeling.quick_roi_heads import quicken_roi_heads
from project.modeling.quick_rpn import QuickRPN, quicken_rpn

# All anchors and regions are sampled, so that both ways train on the same.
ALL: list[Any] = ["MODEL.RPN.BATCH_SIZE_PER_IMAGE", 10**6]
ALL += ["MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", 10**5]
QUICKEN = (
    *(replace_poolers, cache_anchors, fold_frozen_norms),
    *(quicken_rpn, quicken_roi_heads, quicken_mask_heads),
)
# Bitmasks take a way of their own through heads that look at pixels or areas.
BITMASKS = ("joint", "instances_scoring")


def with_objects() -> list[str]:
    """The cases that have regions of objects, but for losses of points that are drawn at random."""
    names = []
    for name, words in CASES.items():
        cfg = tiny_config(*words)
        ours = cfg.MODEL.META_ARCHITECTURE in ("MaskUNet", "GeneralizedRCNN")
        if ours and cfg.MODEL.MASK_UNET.INSTANCES and "point_rend" not in name:
            names.append(name)
    return names


def make_batch(polygons: bool) -> list[dict[str, Any]]:
    """Images of three sizes, the second without objects."""
    sizes = ((64, 64), (64, 80), (48, 64))
    batch = [make_input(*size, seed=seed) for seed, size in enumerate(sizes)]
    truth = batch[1]["instances"]
    batch[1]["instances"] = truth[torch.zeros(0, dtype=torch.int64)]
    for image in batch if polygons else []:
        truth = image["instances"]
        boxes = truth.gt_boxes.tensor.numpy().astype(float)
        truth.remove("gt_masks")
        pentagons = [
            [np.array([x0, y0, x1, y0, x1, y1, (x0 + x1) / 2, y1, x0, (y0 + y1) / 2])]
            for x0, y0, x1, y1 in boxes
        ]
        truth.gt_masks = PolygonMasks(pentagons)
    return batch


def trained(model: nn.Module, batch: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Losses, statistics and gradients of a step."""
    torch.manual_seed(1)
    with EventStorage() as storage:
        losses = model(copy.deepcopy(batch))
    sum(losses.values()).backward()
    found = {f"loss {name}": value.detach() for name, value in losses.items()}
    found |= {f"said {n}": torch.tensor(float(v)) for n, (v, _) in storage.latest().items()}
    grads = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return found | {f"gradient {name}": grad for name, grad in grads.items()}


@pytest.mark.parametrize(
    ("name", "polygons"),
    [*((name, True) for name in with_objects()), *((name, False) for name in BITMASKS)],
)
def test_a_step_is_detectron2s(name, polygons):
    torch.manual_seed(0)
    cfg = tiny_config(*CASES[name], *ALL)
    stock = build_model(cfg).train()
    ours = copy.deepcopy(stock)
    for change in QUICKEN:
        change(ours)
    assert any(isinstance(m, QuickRPN) for m in ours.modules())
    batch = make_batch(polygons)
    expected, found = trained(stock, batch), trained(ours, batch)
    assert found.keys() == expected.keys()
    assert sum(float(v.abs().max()) > 1e-6 for v in expected.values()) > 0.5 * len(expected)
    for key, value in expected.items():
        bound = 1e-3 * max(float(value.abs().max()), 1e-3)
        assert (found[key] - value).abs().max() <= bound, key
