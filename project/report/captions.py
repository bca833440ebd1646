"""Names beside the objects of a picture: where they fit without covering what they name."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

Box = tuple[int, int, int, int]  # x0, y0, x1, y1 in pixels, x1 and y1 outside

_INK, _PAPER = (255, 255, 255), (22, 24, 29)
_MOST = 30  # captions in a picture; among more objects they would hide what they name


@dataclass(frozen=True)
class Caption:
    """A text that belongs to the object in `box`, with the object's RGB colour beside it."""

    text: str
    colour: Sequence[int]
    box: Box


def draw_captions(image: np.ndarray, captions: list[Caption], occupied: np.ndarray) -> np.ndarray:
    """Writes each caption next to its box where it hides least; none where texts would collide.

    Pictures of more than 30 objects get none: their colours and the legend name them.

    Args:
        image: (H, W, 3) uint8 RGB; not changed.
        occupied: (H, W) bool, pixels of objects.
    """
    captions = [caption for caption in captions if caption.text]
    if not captions or len(captions) > _MOST:
        return image
    font = _font(_text_size(image, len(captions)))
    sums = cv2.integral(occupied.astype(np.uint8))
    canvas = Image.fromarray(image)
    draw = ImageDraw.Draw(canvas)
    taken: list[Box] = []
    for caption in captions:
        place = _best_place(caption.box, _plate_size(caption.text, font), sums, taken)
        if place:
            _draw_plate(draw, caption, place, font)
            taken.append(place)
    return np.asarray(canvas)


def legend(width: int, entries: Sequence[tuple[str, Sequence[int]]]) -> np.ndarray:
    """A white strip (h, width, 3) uint8 that names colours, as many lines as it needs."""
    font = _font(13)
    swatch, gap, line = 12, 18, 22
    places, x, y = [], 6, 5
    for name, colour in entries:
        length = swatch + 6 + round(font.getlength(name)) + gap
        if x > 6 and x + length - gap > width:
            x, y = 6, y + line
        places.append((x, y, name, tuple(colour)))
        x += length
    canvas = Image.new("RGB", (width, y + line), (255, 255, 255))
    draw = ImageDraw.Draw(canvas)
    for left, top, name, fill in places:
        draw.rectangle((left, top + 2, left + swatch, top + 2 + swatch), fill=fill)
        draw.text((left + swatch + 6, top), name, fill=_PAPER, font=font)
    return np.asarray(canvas)


def heading(width: int, text: str) -> np.ndarray:
    """A white strip (h, width, 3) uint8 with one line of text, cut off where it is too long."""
    canvas = Image.new("RGB", (width, 24), (255, 255, 255))
    ImageDraw.Draw(canvas).text((6, 12), text, fill=_PAPER, font=_font(14), anchor="lm")
    return np.asarray(canvas)


@lru_cache(maxsize=16)
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Matplotlib's own copy of DejaVu Sans: the same on every machine, with accents and Greek."""
    return ImageFont.truetype(
        str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size
    )


def _text_size(image: np.ndarray, count: int) -> int:
    """Pixels; larger in large pictures, smaller among many objects."""
    crowding = min(1.0, (12 / count) ** 0.5)
    return int(np.clip(round(max(image.shape[:2]) / 27 * crowding), 12, 36))


def _plate_size(text: str, font: ImageFont.FreeTypeFont) -> tuple[int, int]:
    size = int(font.size)
    return round(font.getlength(text)) + size, round(size * 1.45)


def _draw_plate(
    draw: ImageDraw.ImageDraw, caption: Caption, place: Box, font: ImageFont.FreeTypeFont
) -> None:
    x0, y0, x1, y1 = place
    bar = max(3, int(font.size) // 4)
    draw.rectangle((x0, y0, x1 - 1, y1 - 1), fill=_PAPER)
    draw.rectangle((x0, y0, x0 + bar - 1, y1 - 1), fill=tuple(caption.colour))
    middle = (x0 + bar + max(3, int(font.size) // 3), (y0 + y1) / 2)
    draw.text(middle, caption.text, fill=_INK, font=font, anchor="lm")


def _best_place(box: Box, size: tuple[int, int], sums: np.ndarray, taken: list[Box]) -> Box | None:
    """The candidate around `box` that covers the fewest object pixels and no other text."""
    height, width = sums.shape[0] - 1, sums.shape[1] - 1
    free = [
        place
        for place in _candidates(box, size, width)
        if place[0] >= 0
        and place[1] >= 0
        and place[2] <= width
        and place[3] <= height
        and not any(_overlap(place, other) for other in taken)
    ]
    return min(free, key=lambda place: _covered(place, sums), default=None)


def _candidates(box: Box, size: tuple[int, int], width: int) -> list[Box]:
    """Places above, below, right, left and, last, inside; shifted sideways into the picture."""
    x0, y0, x1, y1 = box
    w, h = size
    gap = 2
    corners = [
        *((x, y) for y in (y0 - gap - h, y1 + gap) for x in (x0, (x0 + x1 - w) // 2, x1 - w)),
        *((x, y) for x in (x1 + gap, x0 - gap - w) for y in (y0, (y0 + y1 - h) // 2, y1 - h)),
        *((x, y) for y in (y0, y1 - h) for x in (x0, x1 - w)),
    ]
    return [(x, y, x + w, y + h) for x, y in ((min(max(x, 0), width - w), y) for x, y in corners)]


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _covered(place: Box, sums: np.ndarray) -> int:
    x0, y0, x1, y1 = place
    return int(sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0])
