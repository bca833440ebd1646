"""From classes and masks of queries to Detectron2's outputs.

The rules are those of Mask2Former (Cheng et al. 2022, arXiv:2112.01527) and MaskFormer. The
library's own functions would shrink every mask to 384 x 384 pixels first.

Q queries, K classes and one for "no object", h x w values of a mask, H x W pixels of a result.
Masks are enlarged a few at a time, so that memory does not grow with Q times the pixels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from detectron2.structures import Boxes, Instances
from torch import Tensor

_ENLARGED = 2**25  # values of masks that are enlarged at a time; 128 MB


@dataclass(frozen=True)
class Geometry:
    """Where an image lies in its masks.

    Attributes:
        frame: height and width of the padded batch, which the masks cover.
        used: of the image, at the top left of the frame.
        wanted: of the results, H and W.
    """

    frame: tuple[int, int]
    used: tuple[int, int]
    wanted: tuple[int, int]

    def enlarge(self, masks: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Slices of the (Q, h, w) logits with their (q, H, W) logits, one after the other."""
        pixels = max(self.frame[0] * self.frame[1], self.wanted[0] * self.wanted[1])
        step = max(_ENLARGED // pixels, 1)
        for start in range(0, len(masks), step):
            chosen = slice(start, start + step)
            yield chosen, self._resize(masks[chosen])

    def _resize(self, masks: Tensor) -> Tensor:
        whole = _bilinear(masks, self.frame)
        return _bilinear(whole[:, : self.used[0], : self.used[1]], self.wanted)


def _bilinear(masks: Tensor, size: tuple[int, int]) -> Tensor:
    if masks.shape[-2:] == size:
        return masks
    return F.interpolate(masks[None], size, mode="bilinear", align_corners=False)[0]


def semantic_scores(classes: Tensor, masks: Tensor, geometry: Geometry) -> Tensor:
    """Scores of the classes at each pixel: sum over queries of class times mask probability.

    Args:
        classes: (Q, K + 1) logits.
        masks: (Q, h, w) logits.
        geometry: of the image.

    Returns:
        (K, H, W), 0 or more.
    """
    probabilities = classes.softmax(dim=-1)[:, :-1]  # (Q, K)
    scores = masks.new_zeros(probabilities.shape[1], *geometry.wanted)
    for chosen, logits in geometry.enlarge(masks):
        # In place: the scores may be the largest thing in memory.
        scores.flatten(1).addmm_(probabilities[chosen].T, logits.sigmoid().flatten(1))
    return scores


def find_instances(
    classes: Tensor,
    masks: Tensor,
    geometry: Geometry,
    *,
    num_stuff: int,
    limit: int,
    score_threshold: float = 0.0,
) -> Instances:
    """The best pairs of query and thing class.

    The score is the class probability times the mean mask probability of the mask's pixels.

    Args:
        classes: (Q, K + 1) logits.
        masks: (Q, h, w) logits.
        geometry: of the image.
        num_stuff: how many of the K classes, the first ones, are no things.
        limit: most instances.
        score_threshold: instances below it are left out.

    Returns:
        `pred_masks` (N, H, W) bool with at least one pixel each, `pred_boxes` around them,
        `scores` in falling order of the class probability, `pred_classes` thing ids.
    """
    probabilities = classes.softmax(dim=-1)[:, num_stuff:-1]  # (Q, things)
    num_things = probabilities.shape[1]
    best, index = probabilities.flatten().topk(min(limit, probabilities.numel()))
    sure = best >= score_threshold  # the mask can only lower it
    best, index = best[sure], index[sure]
    found, certainty = _binary_masks(masks[index // num_things], geometry)
    scores = best * certainty
    kept = found.flatten(1).any(dim=1) & (scores >= score_threshold)
    instances = Instances(geometry.wanted)
    instances.pred_masks = found[kept]
    instances.pred_boxes = Boxes(boxes_around(instances.pred_masks))
    instances.scores = scores[kept]
    instances.pred_classes = (index % num_things)[kept]
    return instances


def _binary_masks(masks: Tensor, geometry: Geometry) -> tuple[Tensor, Tensor]:
    """(N, h, w) logits -> (N, H, W) bool masks, and (N,) their mean probability within."""
    found = masks.new_zeros(len(masks), *geometry.wanted, dtype=torch.bool)
    certainty = masks.new_zeros(len(masks))
    for chosen, logits in geometry.enlarge(masks):
        found[chosen] = inside = logits > 0
        total = (logits.sigmoid() * inside).flatten(1).sum(dim=1)
        certainty[chosen] = total / inside.flatten(1).sum(dim=1).clamp(min=1)
    return found, certainty


def boxes_around(masks: Tensor) -> Tensor:
    """(N, 4) XYXY boxes around the pixels of (N, H, W) bool masks that have some."""
    columns, rows = masks.any(dim=1).byte(), masks.any(dim=2).byte()  # (N, W), (N, H)
    (height, width), last = masks.shape[1:], 1
    left, top = columns.argmax(dim=1), rows.argmax(dim=1)
    right = width - columns.flip(last).argmax(dim=1)
    bottom = height - rows.flip(last).argmax(dim=1)
    return torch.stack([left, top, right, bottom], dim=1).float()


def find_segments(
    classes: Tensor,
    masks: Tensor,
    geometry: Geometry,
    *,
    num_stuff: int,
    score_threshold: float = 0.8,
    overlap_threshold: float = 0.8,
) -> tuple[Tensor, list[dict[str, Any]]]:
    """Panoptic segments: each pixel goes to the query of the largest class times mask probability.

    Args:
        classes: (Q, K + 1) logits.
        masks: (Q, h, w) logits.
        geometry: of the image.
        num_stuff: how many of the K classes, the first ones, are stuff.
        score_threshold: queries whose class probability is not above it are left out.
        overlap_threshold: a query is left out if it wins less than this share of its mask.

    Returns:
        (H, W) int32 segment ids, 0 for void, and for each segment "id", "isthing", "category_id"
        (a thing id or a semantic id) and, for things, "score".
    """
    scores, labels = classes.softmax(dim=-1).max(dim=-1)
    kept = (labels < classes.shape[1] - 1) & (scores > score_threshold)
    scores, labels = scores[kept], labels[kept]
    ids = torch.zeros(geometry.wanted, dtype=torch.int32, device=masks.device)
    if not len(scores):
        return ids, []
    winner, is_inside, areas = _compete(scores, masks[kept], geometry)
    won = torch.bincount(winner.flatten(), minlength=len(scores))
    shown = torch.bincount(winner[is_inside], minlength=len(scores))
    valid = (shown > 0) & (won >= overlap_threshold * areas)
    segments, numbers = _number_segments(scores, labels, valid, num_stuff)
    table = torch.tensor(numbers, dtype=torch.int32, device=masks.device)
    return torch.where(is_inside, table[winner], ids), segments


def _compete(scores: Tensor, masks: Tensor, geometry: Geometry) -> tuple[Tensor, Tensor, Tensor]:
    """(H, W) index of the winning query, (H, W) whether its mask is there, (Q,) areas of masks."""
    best = torch.full(geometry.wanted, -1.0, device=masks.device)
    winner = torch.zeros(geometry.wanted, dtype=torch.long, device=masks.device)
    is_inside = torch.zeros(geometry.wanted, dtype=torch.bool, device=masks.device)
    areas = torch.zeros_like(scores)
    for chosen, logits in geometry.enlarge(masks):
        areas[chosen] = (logits >= 0).flatten(1).sum(dim=1).to(areas.dtype)
        value, index = (logits.sigmoid() * scores[chosen, None, None]).max(dim=0)
        inside = logits.gather(0, index[None])[0] >= 0
        is_better = value > best
        best = torch.where(is_better, value, best)
        winner = torch.where(is_better, index + chosen.start, winner)
        is_inside = torch.where(is_better, inside, is_inside)
    return winner, is_inside, areas


def _number_segments(
    scores: Tensor, labels: Tensor, valid: Tensor, num_stuff: int
) -> tuple[list[dict[str, Any]], list[int]]:
    """The segments, and the segment id of each query, 0 for none; one segment a stuff class."""
    segments: list[dict[str, Any]] = []
    numbers: list[int] = []
    of_stuff: dict[int, int] = {}
    for score, label, is_valid in zip(scores.tolist(), labels.tolist(), valid.tolist()):
        if not is_valid:
            numbers.append(0)
        elif label in of_stuff:
            numbers.append(of_stuff[label])
        else:
            number = len(segments) + 1
            numbers.append(number)
            if label < num_stuff:
                of_stuff[label] = number
                segments.append({"id": number, "isthing": False, "category_id": label})
            else:
                thing = {"category_id": label - num_stuff, "score": score}
                segments.append({"id": number, "isthing": True, **thing})
    return segments, numbers
