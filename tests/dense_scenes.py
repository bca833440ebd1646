"""Maps of numbered objects that the tests of grouping share."""

import numpy as np


def disc(shape: tuple[int, int], row: float, column: float, radius: float) -> np.ndarray:
    """(H, W) bool."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


def touching_discs() -> np.ndarray:
    """(40, 60) numbers: discs 1 and 2 touch, disc 3 lies apart, disc 4 is cut by the edge."""
    numbers = np.zeros((40, 60), dtype=np.int64)
    for number, (row, column, radius) in enumerate(
        [(14, 15, 8), (15, 31, 8), (30, 46, 5), (39, 10, 9)], start=1
    ):
        numbers[disc(numbers.shape, row, column, radius) & (numbers == 0)] = number
    return numbers


def same_objects(found: np.ndarray, true: np.ndarray) -> bool:
    """Whether two maps hold the same objects, whatever their numbers."""
    pairs = np.unique(np.stack([found.ravel(), true.ravel()]), axis=1)
    return len(pairs[0]) == len(set(pairs[0])) == len(set(pairs[1]))
