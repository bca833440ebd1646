"""The scenes of `factories` made harder: objects cut by the border, of two parts, with holes."""

from typing import Any

import numpy as np

import factories

_GAP = 2.0  # half the width of the gap between two parts, pixels
_FEWEST_PIXELS = 12  # of an object that the border cuts


def hard_scenes(
    rng: np.random.Generator,
    num_images: int,
    size: tuple[int, int],
    *,
    holes: bool = False,
    parts: bool = False,
    cut: bool = False,
    crowd: bool = False,
) -> list[tuple[np.ndarray, list[dict[str, Any]]]]:
    """Images and their shapes.

    Args:
        rng: of positions, sizes and noise.
        num_images: how many.
        size: (height, width) of every image, pixels.
        holes: discs become rings.
        parts: squares become two rectangles.
        cut: the right and lower border cut objects.
        crowd: each image has a region of the class square that is a crowd.

    Returns:
        (H, W, 3) uint8 RGB images, and a list of shapes for each: "kind", "polygons" (the parts,
        within the image), "holes" (the same of what is not of it), "mask" (H, W) bool, "iscrowd".
    """
    whole = tuple(side * 5 // 4 for side in size) if cut else size
    scenes = []
    for _ in range(num_images):
        image, shapes = factories._scene(rng, whole, holes=False, crowd=crowd)
        image = image[: size[0], : size[1]]
        found = [_harden(shape, size, holes, parts) for shape in shapes]
        for shape, hard in zip(shapes, found):
            image[shape["mask"][: size[0], : size[1]] & ~hard["mask"]] = 128
        scenes.append((image, [s for s in found if s["mask"].sum() >= _FEWEST_PIXELS]))
    return scenes


def _harden(
    shape: dict[str, Any], size: tuple[int, int], holes: bool, parts: bool
) -> dict[str, Any]:
    if shape["iscrowd"]:
        return {**shape, "polygons": [], "holes": [], "mask": shape["mask"][: size[0], : size[1]]}
    outline = np.array(shape["polygon"]).reshape(-1, 2)
    outlines, inner = [outline], []
    if parts and shape["kind"] == "square":
        outlines = _split(outline)
    if holes and shape["kind"] == "disc":
        inner = [(outline + outline.mean(axis=0)) / 2]
    polygons, inner = _within(outlines, size), _within(inner, size)
    mask = _mask(polygons, size) & ~_mask(inner, size)
    return {**shape, "polygons": polygons, "holes": inner, "mask": mask}


def _split(square: np.ndarray) -> list[np.ndarray]:
    """The left and the right part of a square, with a gap between them."""
    middle = square[:, 0].mean()
    left, right = square.copy(), square.copy()
    left[:, 0] = np.minimum(square[:, 0], middle - _GAP)
    right[:, 0] = np.maximum(square[:, 0], middle + _GAP)
    return [left, right]


def _within(outlines: list[np.ndarray], size: tuple[int, int]) -> list[list[float]]:
    from project.data.masks import clip_polygon

    clipped = [clip_polygon(points, size[1], size[0]) for points in outlines]
    return [points.ravel().tolist() for points in clipped if len(points) >= 3]


def _mask(polygons: list[list[float]], size: tuple[int, int]) -> np.ndarray:
    from project.data.masks import decode_mask

    return decode_mask(polygons, *size)
