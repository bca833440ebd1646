"""Masks of the objects of an image as pixels of the windows that hold them, not coded yet."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from torch import Tensor

from project.data.mask_crops import MaskCrop, MaskCrops, Size, chosen_numbers
from project.data.rle_encoding import encode_line, encode_windows


class MaskWindows(MaskCrops):
    """`MaskCrops` that are made only where somebody asks for single ones.

    What a model yields at once for an image, and of which the codes of all are wanted.
    """

    def __init__(
        self,
        windows: Sequence[np.ndarray],
        corners: Sequence[tuple[int, int]],
        size: Size,
        line: np.ndarray | None = None,
    ) -> None:
        """Keeps what it is given.

        Args:
            windows: N times (w, h) bool or uint8: columns of the window first.
            corners: the image's row and column of each window's first pixel.
            size: (height, width) of the image.
            line: what all windows are parts of, as `encode_line` takes it, if they are.
        """
        self._windows, self._corners, self._line = windows, corners, line
        self.size = size

    @cached_property
    def crops(self) -> list[MaskCrop]:  # type: ignore[override]
        """The masks one by one."""
        return [MaskCrop.of(w.T, *corner) for w, corner in zip(self._windows, self._corners)]

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, item: int | slice | Tensor | Sequence[int]) -> "MaskWindows":
        chosen = chosen_numbers(len(self), item)
        windows = [self._windows[i] for i in chosen]
        return MaskWindows(windows, [self._corners[i] for i in chosen], self.size)

    def counts(self) -> list[bytes]:
        """The `counts` of the compressed RLE of each mask, at the image's size."""
        if self._line is None or not len(self):
            return encode_windows(self._windows, self._corners, self.size)
        shapes = np.array([window.shape for window in self._windows], dtype=np.int64)
        return encode_line(self._line, shapes, np.array(self._corners), self.size)
