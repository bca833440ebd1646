"""Prediction of one photograph's size by Mask R-CNN, stock and as our tools run it.

The model is Detectron2's `mask_rcnn_R_50_FPN_3x` with random weights, which are spread so that as
many objects as a photograph may have are found.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import detectron2
import torch
from detectron2.config import get_cfg
from detectron2.modeling import build_model
from detectron2.structures import Instances, pairwise_iou
from torch import Tensor, nn

from project.benchmark.timing import Comparison, Pair, Run
from project.config import load_config
from project.modeling.testing import build_test_model

CONFIGS = Path(detectron2.__file__).parent / "model_zoo" / "configs"
CONFIG = CONFIGS / "COCO-InstanceSegmentation" / "mask_rcnn_R_50_FPN_3x.yaml"
SIZE = (480, 640)
# Of both: ours takes the number of classes from the data otherwise.
KEYS: list[Any] = ["MODEL.WEIGHTS", "", "MODEL.ROI_HEADS.NUM_CLASSES", 80]
# Detections of the two that must have a partner of the same class, and how near it is: of the least
# IoU of boxes and difference of scores.
EXACT = {"share": 0.98, "iou": 0.999, "score": 1e-3}
LOOSE = {"share": 0.6, "iou": 0.8, "score": 0.15}


def pairs(device: str = "cpu") -> Iterator[Pair]:
    """As a user runs it, then in float32 with the same results."""
    name = f"Mask R-CNN R50-FPN, {SIZE[0]}x{SIZE[1]}, one image"
    default: list[Any] = []
    float32: list[Any] = ["SOLVER.AMP.ENABLED", False]
    goals = (2.5, 1.7) if device == "cpu" else (None, None)
    yield Pair(f"{name}, as set", partial(build, default, LOOSE, device), goals[0])
    yield Pair(f"{name}, float32", partial(build, float32, EXACT, device), goals[1])


def conclusion(comparisons: Sequence[Comparison]) -> str:
    """Images a second."""
    return "\n".join(f"{c.name}: {1e3 / c.candidate:.2f} images a second" for c in comparisons)


def build(overrides: list[Any], bounds: dict[str, float], device: str) -> tuple[Run, Run]:
    """Stock Detectron2's model and ours with the same weights, whose results must agree."""
    stock_cfg = get_cfg()
    stock_cfg.merge_from_file(str(CONFIG))
    stock_cfg.merge_from_list([*KEYS, "MODEL.DEVICE", device])
    torch.manual_seed(0)
    stock = build_model(stock_cfg).eval()
    batch = [make_image()]
    spread_scores(stock, batch)
    cfg = load_config(CONFIG)
    cfg.merge_from_list([*KEYS, "MODEL.DEVICE", device, *overrides])
    model = build_model(cfg)
    model.load_state_dict(stock.state_dict())
    ours = build_test_model(cfg, model.eval())
    theirs, own = (partial(_predict, net, batch) for net in (stock, ours))
    # Both run convolutions in TF32 on a GPU, as torch does by itself, and round differently.
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        check_agreement(theirs(), own(), **bounds)
    return theirs, own


@torch.no_grad()
def spread_scores(model: nn.Module, batch: list[dict[str, Any]]) -> None:
    """Random weights are sure of nothing: makes some objects stand out.

    Each last layer gets a mean of 0 and a deviation over the places of the image, one after another
    since each decides what comes to the next.
    """
    heads: Any = model
    for layer, spread in (
        (heads.proposal_generator.rpn_head.objectness_logits, 2.0),
        (heads.proposal_generator.rpn_head.anchor_deltas, 0.1),
        (heads.roi_heads.box_predictor.cls_score, 3.0),
        (heads.roi_heads.box_predictor.bbox_pred, 0.3),
        (heads.roi_heads.mask_head.predictor, 2.0),
    ):
        seen: list[Tensor] = []
        hook = layer.register_forward_hook(lambda _, __, out, seen=seen: seen.append(out))
        model(batch)
        hook.remove()
        logits = torch.cat([out.transpose(0, 1).flatten(1) for out in seen], dim=1)
        deviation, mean = torch.std_mean(logits, dim=1)
        scale = spread / deviation.clamp(min=1e-12)
        layer.weight.mul_(scale.view(-1, *[1] * (layer.weight.dim() - 1)))
        layer.bias.copy_(-mean * scale)


def make_image() -> dict[str, Any]:
    """Coloured blobs with noise."""
    generator = torch.Generator().manual_seed(0)
    blobs = torch.rand(1, 3, 12, 16, generator=generator)
    image = nn.functional.interpolate(blobs, SIZE, mode="bicubic")[0]
    noise = torch.randn(3, *SIZE, generator=generator)
    image = (255 * image + 10 * noise).clamp(0, 255).to(torch.uint8)
    return {"image": image, "height": SIZE[0], "width": SIZE[1]}


def check_agreement(
    theirs: Instances, ours: Instances, *, share: float, iou: float, score: float
) -> None:
    """Raises where fewer than `share` of their objects are found by both alike."""
    assert len(theirs) > 50, f"the case is trivial: {len(theirs)} objects"
    near = pairwise_iou(theirs.pred_boxes, ours.pred_boxes) >= iou
    near &= theirs.pred_classes[:, None] == ours.pred_classes
    near &= (theirs.scores[:, None] - ours.scores).abs() <= score
    found = float(near.any(dim=1).float().mean())
    if found < share or abs(len(theirs) - len(ours)) > (1 - share) * len(theirs):
        raise RuntimeError(
            f"results differ: of {len(theirs)} objects of Detectron2 {found:.1%} are among our"
            f" {len(ours)}, with an IoU of {iou} and scores within {score}; expected {share:.0%}"
        )
    first, second = (near & (near.cumsum(dim=1) == 1)).nonzero(as_tuple=True)
    masks, own = theirs.pred_masks[first].flatten(1), ours.pred_masks[second].flatten(1)
    ious = (masks & own).sum(dim=1) / (masks | own).sum(dim=1).clamp(min=1)
    if float(ious.median()) < iou:
        raise RuntimeError(f"masks differ: median IoU {float(ious.median()):.4f}, expected {iou}")


def _predict(model: nn.Module, batch: list[dict[str, Any]]) -> Instances:
    with torch.no_grad():
        return model(batch)[0]["instances"]
