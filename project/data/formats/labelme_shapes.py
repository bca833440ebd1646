"""Shapes of labelme as polygons or pixels.

https://github.com/wkentaro/labelme is the tool that draws them.
"""

import base64
import io
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from project.data.faults import Fault, short
from project.data.formats.json_files import flat_points
from project.data.image_errors import UNREADABLE

Part = list[float] | np.ndarray  # a polygon [x0, y0, x1, y1, ...], or an (H, W) bool mask
Size = tuple[int, int]  # (height, width) of the image

_CIRCLE_CORNERS = 64  # the polygon has 99.8 % of the circle's area
_NO_AREA = ("line", "linestrip", "point", "points")
_REPAIR = "draw the object again, or take it out"


def read_part(shape: dict[str, Any], size: Size) -> Part:
    """The polygon or the pixels of a shape.

    Raises:
        Fault: an unknown type, a shape without an area, or points or pixels that are none.
    """
    # Files of the first versions state no type.
    kind = shape.get("shape_type") or "polygon"
    if kind in _NO_AREA:
        raise Fault("polygon_flat", f"it is a {kind}", "a shape that has an area", _REPAIR)
    if not isinstance(kind, str) or kind not in _READERS:
        raise Fault(
            "segmentation_invalid", f"its shape_type is {short(kind)}", ", ".join(_READERS), _REPAIR
        )
    return _READERS[kind](shape, size)


def _polygon(shape: dict[str, Any], size: Size) -> list[float]:
    points = flat_points(shape.get("points"), size)
    if len(points) < 6:
        raise Fault("polygon_flat", f"it has {len(points) // 2} points", "3 or more", _REPAIR)
    return points


def _rectangle(shape: dict[str, Any], size: Size) -> list[float]:
    points = flat_points(shape.get("points"), size)
    if len(points) != 4:  # all corners, as tools related to labelme write them
        return _polygon(shape, size)
    x0, y0, x1, y1 = points
    return [x0, y0, x1, y0, x1, y1, x0, y1]


def _circle(shape: dict[str, Any], size: Size) -> list[float]:
    x, y, edge_x, edge_y = _two_points(shape, size)
    radius = np.hypot(edge_x - x, edge_y - y)
    angles = np.arange(_CIRCLE_CORNERS) * (2 * np.pi / _CIRCLE_CORNERS)
    corners = np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], axis=1)
    return corners.ravel().tolist()


def _mask(shape: dict[str, Any], size: Size) -> np.ndarray:
    left, top, right, bottom = (int(number) for number in _two_points(shape, size))
    pixels = _decode(shape.get("mask"), (bottom - top + 1, right - left + 1))
    canvas = np.zeros(size, dtype=bool)
    rows, columns = np.nonzero(pixels)
    rows, columns = rows + top, columns + left
    inside = (rows >= 0) & (rows < size[0]) & (columns >= 0) & (columns < size[1])
    canvas[rows[inside], columns[inside]] = True
    if not canvas.any():
        raise Fault("mask_empty", "its mask has no pixel in the image", "one or more", _REPAIR)
    return canvas


def _two_points(shape: dict[str, Any], size: Size) -> list[float]:
    points = flat_points(shape.get("points"), size)
    if len(points) != 4:
        found = f"it is a {shape['shape_type']} of {len(points) // 2} points"
        raise Fault("segmentation_invalid", found, "two", _REPAIR)
    return points


def _decode(text: Any, size: Size) -> np.ndarray:
    """(H, W) pixels, 0 outside of the object, of a PNG file written as text.

    Raises:
        Fault: it is none, or has another size; then it is not decoded.
    """
    try:
        content = base64.b64decode(text, validate=True)
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            if image.size == size[::-1]:
                return np.asarray(image.convert("L"))
            found = f"its mask is {image.height} x {image.width} pixels (height x width)"
    except UNREADABLE as error:
        raise Fault(
            *("segmentation_invalid", f"its mask cannot be decoded ({short(str(error))})"),
            *("a PNG file in base64", _REPAIR),
        ) from error
    raise Fault("size_mismatch", found, f"{size[0]} x {size[1]}, between its two points", _REPAIR)


_READERS: dict[str, Callable[[dict[str, Any], Size], Part]] = {
    "polygon": _polygon,
    "rectangle": _rectangle,
    "circle": _circle,
    "mask": _mask,
}
