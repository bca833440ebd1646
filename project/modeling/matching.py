"""Which object each box belongs to, for all images at once, without waiting for the device.

Legend: N images, G objects of the truth, padded to the most, A boxes to label.
"""

import torch
from detectron2.modeling.matcher import Matcher
from torch import Tensor


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
