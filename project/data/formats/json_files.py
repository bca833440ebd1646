"""JSON files of one image each, read so that the next reader can trust what they hold."""

import json
from pathlib import Path
from typing import Any

from project.data.faults import Fault, short
from project.data.masks import MAX_SIDE, check_polygons


def read_entries(path: Path, key: str, format: str) -> dict[str, Any]:
    """The object of a JSON file, with a list of entries at `key`.

    Raises:
        Fault: it is no JSON, or has no such list.
    """
    expected = f"a {format} file: an object with a list `{key}`"
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        found = f"it is not JSON ({' '.join(str(error).split())})"
        raise Fault("file_invalid", found, expected, "export it again, or take it out") from error
    if not isinstance(content, dict) or not isinstance(content.get(key), list):
        repair = "export it again, or move files of other kinds out of the folder"
        raise Fault("file_invalid", f"it is {short(content)}", expected, repair)
    return content


def stated_size(content: dict[str, Any], height: str, width: str) -> tuple[int, int] | None:
    """The (height, width) that a file states at two keys; None where it states neither.

    Raises:
        Fault: they are no numbers of pixels.
    """
    sides = content.get(height), content.get(width)
    if sides == (None, None):
        return None
    if not all(type(side) is int and 0 < side <= MAX_SIDE for side in sides):
        raise Fault(
            "image_size_invalid",
            f"its {height} and {width} are {short(sides[0])} and {short(sides[1])}",
            f"1 to {MAX_SIDE} pixels",
            "write the size of the image",
        )
    return content[height], content[width]


def flat_points(points: Any, size: tuple[int, int]) -> list[float]:
    """A list of points [x, y] as [x0, y0, x1, y1, ...]; all of them are near the image.

    Args:
        points: as the file has them.
        size: (height, width) of the image.

    Raises:
        Fault: it is no such list, or a coordinate is not finite or nowhere near the image.
    """
    if not isinstance(points, list) or not all(isinstance(p, list) and len(p) == 2 for p in points):
        raise Fault(
            "segmentation_invalid",
            f"its points are {short(points)}",
            "a list of points [x, y]",
            "outline the object again, or take it out",
        )
    numbers = [number for point in points for number in point]
    # Repeated, so that two points, which are the corners of a box, are enough.
    check_polygons([numbers * 3] if numbers else [], *size)
    return numbers
