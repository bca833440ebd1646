"""Where a prediction is right, and how it is wrong, pixel by pixel.

A code map is (H, W) uint8 of the codes below. Missed: the truth has something where the prediction
has nothing; invented: the reverse; wrong: both have something, of different classes.
"""

import numpy as np

from project.report.overlays import ALPHA, paint

NOTHING, RIGHT, WRONG, MISSED, INVENTED = range(5)
# Okabe & Ito (2008); yellow, blue and vermilion stay apart in colour-blind eyes.
COLOURS = {
    RIGHT: ("right", (0, 158, 115)),
    WRONG: ("wrong class", (240, 228, 66)),
    MISSED: ("missed", (0, 114, 178)),
    INVENTED: ("invented", (213, 94, 0)),
}
MATCH_IOU = 0.5


def semantic_difference(
    truth: np.ndarray, prediction: np.ndarray, *, ignore: int, background: int | None = None
) -> np.ndarray:
    """Compares two label maps.

    Args:
        truth, prediction: (H, W) semantic ids; where the truth is `ignore` nothing is judged.
        background: semantic id that counts as nothing; None where every class is something.
    """
    codes = np.where(truth == prediction, RIGHT, WRONG).astype(np.uint8)
    if background is not None:
        there, found = truth != background, prediction != background
        codes[there & ~found] = MISSED
        codes[~there & found] = INVENTED
        codes[~there & ~found] = NOTHING
    codes[truth == ignore] = NOTHING
    return codes


def instance_difference(
    truth_masks: np.ndarray,
    truth_classes: np.ndarray,
    masks: np.ndarray,
    classes: np.ndarray,
    crowd: np.ndarray | None = None,
) -> np.ndarray:
    """Compares objects, matched one to one at mask IoU 0.5.

    A matched pair is judged by its pixels, so that a ragged border shows; an object without
    partner is missed or invented as a whole, and an invented duplicate covers what it repeats.

    Args:
        truth_masks, masks: (M, H, W) and (N, H, W) bool; predictions in falling order of score.
        truth_classes, classes: (M,) and (N,) thing ids.
        crowd: (M,) bool, true objects that are regions of many: never missed, and a prediction
            that lies in one is not invented.
    """
    crowd = np.zeros(len(truth_masks), bool) if crowd is None else crowd
    inside_crowd = truth_masks[crowd].any(axis=0)
    truth_masks, truth_classes = truth_masks[~crowd], truth_classes[~crowd]
    pairs = match(truth_masks, truth_classes, masks, classes)

    codes = np.zeros(truth_masks.shape[1:], np.uint8)
    for t, p in pairs:
        if truth_classes[t] == classes[p]:
            codes[truth_masks[t] & ~masks[p]] = MISSED
            codes[masks[p] & ~truth_masks[t]] = INVENTED
    for t, p in pairs:
        if truth_classes[t] == classes[p]:
            codes[truth_masks[t] & masks[p]] = RIGHT
    for t, p in pairs:
        if truth_classes[t] != classes[p]:
            codes[truth_masks[t] | masks[p]] = WRONG
    for t in set(range(len(truth_masks))) - {t for t, _ in pairs}:
        codes[truth_masks[t]] = MISSED
    for p in set(range(len(masks))) - {p for _, p in pairs}:
        if (masks[p] & inside_crowd).sum() <= MATCH_IOU * masks[p].sum():
            codes[masks[p]] = INVENTED
    return codes


def match(
    truth_masks: np.ndarray, truth_classes: np.ndarray, masks: np.ndarray, classes: np.ndarray
) -> list[tuple[int, int]]:
    """Pairs (truth, prediction): of the same class first, then of any, in the order of `masks`."""
    iou = _mask_iou(truth_masks, masks)
    same = truth_classes[:, None] == classes[None, :]
    pairs: list[tuple[int, int]] = []
    for allowed in (same, ~same):
        for p in range(len(masks)):
            if any(p == other for _, other in pairs):
                continue
            free = np.where(allowed[:, p], iou[:, p], 0.0)
            free[[t for t, _ in pairs]] = 0.0
            if len(free) and free.max() >= MATCH_IOU:
                pairs.append((int(free.argmax()), p))
    return pairs


def draw_difference(image: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Paints a code map over a grey, darkened copy of (H, W, 3); what is right stays subdued."""
    grey = image.mean(axis=2, keepdims=True) * 0.55 + 20
    result = np.repeat(grey.astype(np.uint8), 3, axis=2)
    for code, (_, colour) in COLOURS.items():
        paint(result, codes == code, np.array(colour), ALPHA if code == RIGHT else 0.8)
    return result


def _mask_iou(truth_masks: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """(M, N) intersection over union."""
    height, width = masks.shape[1:]
    a = truth_masks.reshape(-1, height * width).astype(np.float32)
    b = masks.reshape(-1, height * width).astype(np.float32)
    common = a @ b.T
    union = a.sum(axis=1)[:, None] + b.sum(axis=1)[None, :] - common
    return common / np.maximum(union, 1)
