"""Mirrored surroundings against NumPy, and the sizes of unpadded networks against counting."""

import numpy as np
import pytest
import torch

from project.layers.mirror import eaten, input_size, mirror


@pytest.mark.parametrize("shape", [(7, 5), (2, 3), (1, 4), (1, 1)])
@pytest.mark.parametrize(("before", "after"), [(0, 0), (3, 2), (92, 95)])
def test_mirror_is_numpys(shape, before, after):
    x = np.arange(2 * shape[0] * shape[1], dtype=np.float32).reshape(1, 2, *shape)
    beside = [(0, 0), (0, 0), (before, after), (before, after)]
    expected = np.pad(x, beside, mode="reflect")
    height, width = (size + before + after for size in shape)
    found = mirror(torch.from_numpy(x), before, height, width)
    assert np.array_equal(found.numpy(), expected)


def walk(size: int, depth: int, down: int, up: int) -> int:
    """Pixels left after all levels, counted one by one; -1 where a level does not halve evenly."""
    for _ in range(depth - 1):
        size -= down
        if size <= 0 or size % 2:
            return -1
        size //= 2
    size -= down
    for _ in range(depth - 1):
        size = 2 * size - up
    return size


@pytest.mark.parametrize(("depth", "down", "up"), [(1, 4, 4), (2, 4, 4), (4, 4, 2), (5, 4, 4)])
def test_sizes_are_those_of_a_walk(depth, down, up):
    for wanted in (1, 5, 64, 387, 388, 389):
        size = input_size(wanted, depth, down, up)
        left = walk(size, depth, down, up)
        assert left == size - eaten(depth, down, up) >= wanted
        smaller = [s for s in range(down, size) if walk(s, depth, down, up) >= wanted]
        assert smaller == []


def test_published_sizes():
    """Figure 1 of Ronneberger et al. 2015: 572 in, 388 out, 92 on each side."""
    assert input_size(388, 5, 4, 4) == 572
    assert eaten(5, 4, 4) == 2 * 92
