"""Images with what photographs have: large blotches of colour, and noise in every pixel."""

import numpy as np
from PIL import Image


def photograph(
    rng: np.random.Generator, size: tuple[int, int], low: int = 0, high: int = 256
) -> np.ndarray:
    """(H, W, 3) uint8 of (H, W); the blotches are of colours from `low` to below `high`."""
    small = Image.fromarray(rng.integers(low, high, (5, 6, 3), dtype=np.uint8))
    smooth = np.asarray(small.resize(size[::-1], Image.Resampling.BILINEAR)).astype(int)
    return (smooth + rng.integers(-6, 7, smooth.shape)).clip(0, 255).astype(np.uint8)
