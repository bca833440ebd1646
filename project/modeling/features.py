"""Choosing a backbone's features by name, and checking that they form a pyramid."""

from collections.abc import Sequence
from itertools import pairwise

from detectron2.layers import ShapeSpec

from project.errors import ConfigError, nearest


def select_features(
    shapes: dict[str, ShapeSpec], names: Sequence[str], key: str
) -> dict[str, ShapeSpec]:
    """The features that a config key names.

    Raises:
        ConfigError: `key` names no feature, or one that the backbone does not offer.
    """
    if not names:
        raise ConfigError(f"{key} is empty; the backbone offers {', '.join(shapes)}")
    for name in names:
        if name not in shapes:
            raise ConfigError(
                f"{key} names {name!r}, but the backbone offers {', '.join(shapes)}."
                f"{nearest(name, shapes)}"
            )
    return {name: shapes[name] for name in names}


def by_stride(shapes: dict[str, ShapeSpec]) -> list[tuple[str, ShapeSpec]]:
    """Features from fine to coarse; those of one stride in the order in which they were given."""
    return sorted(shapes.items(), key=lambda item: item[1].stride)


def sort_pyramid(shapes: dict[str, ShapeSpec]) -> list[tuple[str, ShapeSpec]]:
    """Features from fine to coarse.

    Raises:
        ConfigError: the sizes do not halve from each feature to the next.
    """
    levels = by_stride(shapes)
    strides = [shape.stride for _, shape in levels]
    if any(coarse != 2 * fine for fine, coarse in pairwise(strides)):
        found = ", ".join(f"{name} at stride {shape.stride}" for name, shape in levels)
        raise ConfigError(f"features must halve in size from one to the next, found {found}")
    return levels
