"""Masks of polygons within boxes against Detectron2's, bit for bit."""

import numpy as np
import pytest
import torch
from detectron2.structures import PolygonMasks
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from project.layers import polygons as module
from project.layers.polygons import Polygons

Objects = list[list[np.ndarray]]
SIDES = (7, 14, 28, 56)


def theirs(objects: Objects, index: Tensor, boxes: Tensor, side: int) -> Tensor:
    return PolygonMasks([objects[i] for i in index.tolist()]).crop_and_resize(boxes, side)


def ring(rng: np.random.Generator, points: int, radii: np.ndarray | float) -> np.ndarray:
    """(points, 2) around a random centre of a 100 x 100 image, by rising angle."""
    angles = np.sort(rng.uniform(0, 2 * np.pi, points))
    around = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return rng.uniform(20, 80, 2) + around * np.reshape(radii, (-1, 1))


def rectangle(rng: np.random.Generator) -> np.ndarray:
    (left, right), (top, bottom) = np.sort(rng.integers(0, 100, (2, 2)), axis=1)
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], float)
    return corners[:: rng.choice([1, -1])]


KINDS = {
    "convex": lambda rng: ring(rng, rng.integers(3, 30), rng.uniform(5, 40)),
    "star": lambda rng: ring(rng, 24, rng.uniform(3, 40, 24)),
    "crossing itself": lambda rng: rng.uniform(-20, 120, (rng.integers(3, 12), 2)),
    "tiny": lambda rng: ring(rng, 5, rng.uniform(0, 0.5)),
    "far outside": lambda rng: rng.uniform(-600, 700, (rng.integers(3, 9), 2)),
    "whole numbers": lambda rng: rng.integers(0, 100, (rng.integers(3, 9), 2)).astype(float),
    "halves": lambda rng: rng.integers(0, 200, (rng.integers(3, 9), 2)) / 2,
    "fifths": lambda rng: rng.integers(0, 500, (rng.integers(3, 9), 2)) / 5,
    "rectangle": rectangle,
    "repeated points": lambda rng: rng.uniform(0, 100, (4, 2)).repeat([3, 1, 2, 2], axis=0),
    "no area": lambda rng: rng.uniform(0, 100, (2, 2))[[0, 1, 0]],
}


def random_boxes(rng: np.random.Generator, objects: Objects, index: np.ndarray) -> Tensor:
    """(R, 4): near the object, of whole numbers, anywhere, without a side, or of one below 0.1."""
    boxes = rng.uniform(0, 100, (len(index), 2, 2))
    boxes.sort(axis=1)
    for box, parts in zip(boxes, [objects[i] for i in index], strict=True):
        kind = rng.integers(8)
        if parts and kind < 5:
            points = np.concatenate(parts).reshape(-1, 2)
            box[:] = [points.min(axis=0), points.max(axis=0)]
            box += rng.normal(0, 0.1, (2, 2)) * (box[1] - box[0])
        if kind in (4, 5):
            box[:] = box.round()
        if kind == 6:
            box[1, rng.integers(2)] = box[0, rng.integers(2)]
        if kind == 7:
            box[1, rng.integers(2)] += 1
            box[1, rng.integers(2)] = box[0, 0] + np.float32(0.1) * rng.choice([1, 0.5, 1.001])
    return torch.from_numpy(boxes.reshape(-1, 4)).float()


def case(kind: str, boxes: int, seed: int = 0) -> tuple[Objects, Tensor, Tensor]:
    """Objects of 0 to 4 polygons of one kind, and boxes of theirs."""
    rng = np.random.default_rng(seed)
    counts = rng.choice(5, 40, p=[0.05, 0.5, 0.25, 0.1, 0.1])
    objects = [[KINDS[kind](rng).ravel() for _ in range(count)] for count in counts]
    index = rng.integers(0, len(objects), boxes)
    return objects, torch.from_numpy(index), random_boxes(rng, objects, index)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("kind", KINDS)
def test_equals_detectron2(kind, side):
    objects, index, boxes = case(kind, 160, seed=side)
    expected = theirs(objects, index, boxes, side)
    if kind not in ("tiny", "no area"):
        assert 0.1 < expected.float().mean() < 0.9
    ours = Polygons.of(objects, "cpu").crop_and_resize(index, boxes, side)
    assert ours.dtype == torch.bool
    assert torch.equal(ours, expected)


@pytest.mark.parametrize("elements", [1, 2**12, 2**30])
def test_a_few_at_a_time(monkeypatch, elements):
    monkeypatch.setattr(module, "_ELEMENTS_OF_CPU", elements)
    objects, index, boxes = case("star", 50)
    ours = Polygons.of(objects, "cpu").crop_and_resize(index, boxes, 14)
    assert torch.equal(ours, theirs(objects, index, boxes, 14))


def halfway() -> Objects:
    """Triangles with a step where the last bit of float64 decides how pycocotools rounds.

    In fifths of a pixel: slope * step of an edge is a whole number and a half, but comes out a bit
    less, in the middle of a column where what is rounded is between two rows; or x and y swapped.
    """
    rng = np.random.default_rng(0)
    width, height, at = np.ogrid[:130, :130, :130]
    step = height / np.maximum(width, 1) * at
    less = (2 * height * at % np.maximum(2 * width, 1) == width) & (step % 1 < 0.5)
    triangles = []
    for wide, high, middle in np.argwhere(less & (height < width) & (at < width)):
        start = 5 * rng.integers(0, [14, 2]) + 2 - np.array([middle, high * middle // wide])
        edge = (start + np.array([[0, 0], [wide, high], [0, 400]])) / 5
        triangles.append([edge[:: rng.choice([1, -1]), :: rng.choice([1, -1])].ravel()])
    return triangles


def test_equals_detectron2_where_the_last_bit_decides():
    objects = halfway()
    index = torch.arange(len(objects))
    boxes = torch.tensor([[0.0, 0, 14, 14]]).expand(len(objects), 4)
    expected = theirs(objects, index, boxes, 14)
    assert len(objects) > 50 and 0.1 < expected.float().mean() < 0.9
    assert torch.equal(Polygons.of(objects, "cpu").crop_and_resize(index, boxes, 14), expected)


# Of 25ths of a pixel many corners lie on the grid of fifths.
coordinates = st.integers(-60, 400).map(lambda i: i / 25) | st.floats(-1e3, 1e3)
outlines = st.integers(3, 8).flatmap(
    lambda points: st.lists(coordinates, min_size=2 * points, max_size=2 * points)
)


@settings(deadline=None, max_examples=300)
@given(
    st.lists(outlines.map(np.array), max_size=3),
    st.lists(st.integers(0, 60).map(lambda i: i / 4) | st.floats(-50, 50), min_size=4, max_size=4),
    st.integers(1, 20),
)
def test_equals_detectron2_whatever_the_outline(parts, box, side):
    boxes, index = torch.tensor([box], dtype=torch.float32), torch.zeros(1, dtype=torch.int64)
    ours = Polygons.of([parts], "cpu").crop_and_resize(index, boxes, side)
    assert torch.equal(ours, theirs([parts], index, boxes, side))


def test_a_rectangle_by_hand():
    """Of a box of 4 x 4, x from 1 to 3 and y from 2 to 4: middle columns, lower rows."""
    outline = np.array([1.0, 2, 3, 2, 3, 4, 1, 4])
    mask = Polygons.of([[outline]], "cpu").crop_and_resize(
        torch.tensor([0]), torch.tensor([[0.0, 0, 4, 4]]), 4
    )
    expected = torch.zeros(1, 4, 4, dtype=torch.bool)
    expected[:, 2:, 1:3] = True
    assert torch.equal(mask, expected)


def test_no_boxes_no_objects_no_polygons_and_no_numbers():
    objects, index, boxes = case("star", 3)
    outlines = Polygons.of(objects, "cpu")
    assert len(outlines) == 40
    assert outlines.crop_and_resize(index[:0], boxes[:0], 28).shape == (0, 28, 28)
    none = Polygons.of([], "cpu")
    assert len(none) == 0
    assert none.crop_and_resize(index[:0], boxes[:0], 7).shape == (0, 7, 7)
    empty = Polygons.of([[], []], "cpu").crop_and_resize(index % 2, boxes, 7)
    assert empty.shape == (3, 7, 7) and not empty.any()
    for value in (float("nan"), float("inf"), -float("inf")):
        assert not outlines.crop_and_resize(index, torch.full_like(boxes, value), 7).any()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")
@pytest.mark.parametrize("kind", [*KINDS, "halfway"])
def test_a_gpu_makes_the_same_and_is_not_waited_for(kind):
    if kind == "halfway":
        objects = halfway()
        index = torch.arange(len(objects))
        boxes = torch.tensor([[0.0, 0, 28, 28]]).repeat(len(objects), 1)
    else:
        objects, index, boxes = case(kind, 1024)
    expected = Polygons.of(objects, "cpu").crop_and_resize(index, boxes, 28)
    assert expected.any() or kind == "no area"
    at, within = index.cuda(), boxes.cuda()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        ours = Polygons.of(objects, "cuda").crop_and_resize(at, within, 28)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(ours.cpu(), expected)
