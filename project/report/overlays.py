"""Truth and predictions drawn over an image; pure functions of arrays.

H x W pixels, N objects, K semantic classes. Images are (H, W, 3) uint8 RGB, colours (K, 3) uint8
RGB, and every function returns a new image. Masks are painted as they are, holes included.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from project.data.labels import Segment
from project.data.mask_crops import SampledMasks
from project.report.captions import Box, Caption, draw_captions

ALPHA = 0.6  # share of the class colour in a painted pixel
_HATCH = (150, 150, 150)  # colour and period (pixels) of the stripes over ignored pixels
_HATCH_PERIOD = 8


def paint(image: np.ndarray, where: np.ndarray, colour: np.ndarray, alpha: float = ALPHA) -> None:
    """Colours the pixels `where` (H, W) of an image, in place.

    A painted pixel is `alpha` of the colour and else the grey of the image, so that a class looks
    the same on red and on blue objects and their texture is still seen.

    Args:
        colour: (3,), or one for each pixel (H, W, 3).
    """
    wanted = colour[where] if colour.ndim == 3 else colour
    grey = image[where].mean(axis=-1, keepdims=True)
    image[where] = np.rint((1 - alpha) * grey + alpha * wanted).astype(np.uint8)


def edge(mask: np.ndarray, thickness: int) -> np.ndarray:
    """(H, W) bool: the pixels of `mask` within `thickness` of its border or of a hole."""
    kernel = np.ones((2 * thickness + 1, 2 * thickness + 1), np.uint8)
    # The value 0 outside: an object that the image's border cuts has an edge there.
    inner = cv2.erode(mask.astype(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return mask & (inner == 0)


def draw_semantic(
    image: np.ndarray, label_map: np.ndarray, colours: np.ndarray, ignore: int, alpha: float = ALPHA
) -> np.ndarray:
    """Paints each pixel in the colour of its class; `ignore` pixels of (H, W) are striped grey."""
    result = image.copy()
    known = label_map != ignore
    lookup = np.zeros((256, 3), np.uint8)
    lookup[: len(colours)] = colours
    paint(result, known, lookup[label_map], alpha)
    _stripe(result, ~known)
    return result


def draw_instances(
    image: np.ndarray,
    masks: np.ndarray | SampledMasks,
    classes: np.ndarray,
    scores: np.ndarray | None,
    names: Sequence[str],
    colours: np.ndarray,
    boxes: np.ndarray | None = None,
) -> np.ndarray:
    """Paints objects in the colours of their classes, small over large, with edge and name.

    Args:
        masks: (N, H, W) bool; (0, H, W) for none.
        classes: (N,) thing ids.
        scores: (N,) in 0..1, written behind the name; None leaves them out.
        names: of the things; "" is not written.
        colours: (T, 3) of the things.
        boxes: (N, 4) x0, y0, x1, y1, drawn as frames; None draws none.
    """
    result = image.copy()
    occupied = np.zeros(image.shape[:2], bool)
    order = np.argsort([-np.count_nonzero(masks[i]) for i in range(len(masks))], kind="stable")
    for i in order.astype(int):
        _paint_object(result, masks[i], colours[classes[i]])
        occupied |= masks[i]
    captions = []
    for i in order[::-1].astype(int):
        x0, y0, x1, y1 = frame = _bounds(masks[i]) if boxes is None else _rounded(boxes[i])
        colour = colours[classes[i]].tolist()
        if boxes is not None:
            cv2.rectangle(result, (x0, y0), (x1 - 1, y1 - 1), colour, _line(image))
        score = "" if scores is None else f"{scores[i]:.2f}"
        captions.append(Caption(f"{names[classes[i]]} {score}".strip(), colour, frame))
    return draw_captions(result, captions, occupied)


def draw_panoptic(
    image: np.ndarray,
    ids: np.ndarray,
    segments: Sequence[Segment],
    names: Sequence[str],
    colours: np.ndarray,
) -> np.ndarray:
    """Paints every segment in the colour of its class, with an edge; void is striped grey.

    Args:
        ids: (H, W) int, 0 = void.
        segments: one for each id; things get their name beside them.
        names, colours: by semantic id.
    """
    result = image.copy()
    captions = []
    for segment in sorted(segments, key=lambda s: s["area"]):
        mask = ids == segment["id"]
        colour = colours[segment["semantic_id"]]
        if not segment["isthing"]:
            paint(result, mask, colour)
        elif mask.any():
            _paint_object(result, mask, colour)
            name = names[segment["semantic_id"]]
            captions.append(Caption(name, colour.tolist(), _bounds(mask)))
    _stripe(result, ids == 0)
    things = [s["id"] for s in segments if s["isthing"]]
    return draw_captions(result, captions, np.isin(ids, things))


def _paint_object(image: np.ndarray, mask: np.ndarray, colour: np.ndarray) -> None:
    """A mask with a light edge, so that touching objects of one class stay apart."""
    x0, y0, x1, y1 = _bounds(mask)
    part, inside = image[y0:y1, x0:x1], mask[y0:y1, x0:x1]
    paint(part, inside, colour)
    paint(part, edge(inside, _line(image)), np.rint(0.55 * colour + 0.45 * 255), 1.0)


def _stripe(image: np.ndarray, where: np.ndarray) -> None:
    rows, columns = np.indices(where.shape)
    stripes = (rows + columns) % _HATCH_PERIOD < _HATCH_PERIOD // 2
    paint(image, where & stripes, np.array(_HATCH), 0.75)


def _line(image: np.ndarray) -> int:
    """Thickness of lines, pixels."""
    return max(1, round(max(image.shape[:2]) / 250))


def _rounded(box: np.ndarray) -> Box:
    x0, y0, x1, y1 = (round(float(v)) for v in box)
    return x0, y0, x1, y1


def _bounds(mask: np.ndarray) -> Box:
    """x0, y0, x1, y1 of the pixels of a mask; all 0 for an empty one."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
