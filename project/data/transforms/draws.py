"""Random numbers for augmentations, from numpy's global state.

Detectron2 seeds it in every worker process and draws from it too, so that one seed repeats all.
"""

import numpy as np


def uniform(low: float, high: float) -> float:
    """A number between two."""
    return np.random.uniform(low, high)  # noqa: NPY002


def happens(prob: float) -> bool:
    """True with a probability."""
    return uniform(0, 1) < prob


def integer(low: int, high: int) -> int:
    """A whole number from `low` to `high`, both included."""
    return int(np.random.randint(low, high + 1))  # noqa: NPY002


def normal(std: float, shape: tuple[int, ...]) -> np.ndarray:
    """Float32 numbers about 0."""
    return np.random.normal(0, std, shape).astype(np.float32)  # noqa: NPY002
