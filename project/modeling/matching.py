"""Whose box each is, and which are trained on: of all images, without waiting for the device.

Legend: N images, G objects of the truth, padded to the most, A boxes to label.
"""

from collections.abc import Iterator, Sequence

import torch
from detectron2.modeling.matcher import Matcher
from detectron2.structures import Boxes, pairwise_iou
from detectron2.utils.memory import retry_if_cuda_oom
from torch import Tensor

from project.layers.boxes import batched_iou, draw, pad_boxes

_PAIRS = 2**25  # of objects and boxes that are compared at once: 128 MB a temporary tensor
# Of one image, above which Detectron2's own way is taken: where memory ends, it goes on on the CPU.
_MOST_PAIRS = 2**28


def match_all(truth: Sequence[Tensor], boxes: Tensor, matcher: Matcher) -> tuple[Tensor, Tensor]:
    """Which object each box belongs to, of as many images at once as memory allows.

    Args:
        truth: (count, 4) XYXY of each of N images.
        boxes: (N, A, 4), or (A, 4) for the same in all images.
        matcher: see `label_matches`.

    Returns:
        matches: (N, A) int64, an object of the image; 0 where it has none.
        labels: (N, A) int8 of -1, 0, 1.
    """
    found = []
    length = boxes.shape[-2]
    for part in _groups([len(own) for own in truth], length):
        own = boxes if boxes.dim() == 2 else boxes[part]
        is_one = part.stop - part.start == 1
        if is_one and len(truth[part.start]) * length > _MOST_PAIRS:
            found.append(_match_one(truth[part.start], own.reshape(-1, 4), matcher))
            continue
        padded, real = pad_boxes(truth[part])
        found.append(label_matches(batched_iou(padded, own), real, matcher))
    matches, labels = zip(*found)
    return torch.cat(matches), torch.cat(labels)


def _groups(counts: Sequence[int], length: int) -> Iterator[slice]:
    """Images that follow each other, padded to their most objects no more than `_PAIRS` pairs."""
    start, most = 0, 1
    for place, count in enumerate(counts):
        if place > start and (place + 1 - start) * max(most, count) * length > _PAIRS:
            yield slice(start, place)
            start, most = place, 1
        most = max(most, count)
    yield slice(start, len(counts))


def _match_one(truth: Tensor, boxes: Tensor, matcher: Matcher) -> tuple[Tensor, Tensor]:
    iou = retry_if_cuda_oom(pairwise_iou)(Boxes(truth), Boxes(boxes))
    matches, labels = retry_if_cuda_oom(matcher)(iou)
    return matches.to(boxes.device)[None], labels.to(boxes.device)[None]


def label_matches(iou: Tensor, real: Tensor, matcher: Matcher) -> tuple[Tensor, Tensor]:
    """What Detectron2's `Matcher` says of each image.

    Args:
        iou: (N, G, A), at least 0.
        real: (N, G) bool, which objects there are.
        matcher: its thresholds, labels and whether an object's best boxes are labelled 1.

    Returns:
        matches: (N, A) int64, the object of the highest IoU; 0 where there are none.
        labels: (N, A) int8 of -1, 0, 1.
    """
    values, matches = iou.masked_fill(~real[..., None], -1.0).max(dim=1)
    labels = torch.ones_like(matches, dtype=torch.int8)
    for label, low, high in zip(matcher.labels, matcher.thresholds, matcher.thresholds[1:]):
        labels.masked_fill_((values >= low) & (values < high), label)
    if matcher.allow_low_quality_matches:
        best = iou.amax(dim=2, keepdim=True)
        labels.masked_fill_(((iou == best) & real[..., None]).any(dim=1), 1)
    return matches, labels


def sample(labels: Tensor, count: int, fraction: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Random boxes to train on, as Detectron2's `subsample_labels` draws them of each image.

    Args:
        labels: (N, A) of -1, 0, 1.
        count: boxes of an image, at most.
        fraction: of these that may have the label 1; those of 0 fill up.

    Returns:
        positive: (N, S) places of boxes of the label 1, at most `count * fraction`.
        is_positive: (N, S) bool, which of these were drawn.
        negative: (N, T) places of boxes of the label 0.
        is_negative: (N, T) bool.
    """
    positive, is_positive = draw(labels == 1, int(count * fraction))
    negative, is_negative = draw(labels == 0, count, count - is_positive.sum(dim=1))
    return positive, is_positive, negative, is_negative
