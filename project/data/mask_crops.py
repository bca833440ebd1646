"""Masks of the objects of an image, each held as a small code of the window that it covers.

What large images need, where N masks of the image's size do not fit: H x W pixels, N objects.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pycocotools.mask as mask_util
import torch
from torch import Tensor

Size = tuple[int, int]
Window = tuple[slice, slice]  # rows, columns


@dataclass(frozen=True)
class MaskCrop:
    """One mask.

    Attributes:
        top: first row of its window.
        left: first column.
        height: of the window; 0 where the mask has no pixel.
        width: of the window.
        counts: the window's compressed run lengths, as pycocotools has them.
    """

    top: int
    left: int
    height: int
    width: int
    counts: bytes

    @property
    def window(self) -> Window:
        """The rows and columns of the image that it covers."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)

    @property
    def pixels(self) -> np.ndarray:
        """(height, width) bool, the mask within its window."""
        if not self.height:
            return np.zeros((0, 0), dtype=bool)
        code = {"size": [self.height, self.width], "counts": self.counts}
        return mask_util.decode(code).view(bool)

    @property
    def area(self) -> int:
        """Pixels."""
        if not self.height:
            return 0
        return int(mask_util.area({"size": [self.height, self.width], "counts": self.counts}))

    @classmethod
    def of(cls, mask: np.ndarray, top: int = 0, left: int = 0) -> "MaskCrop":
        """Codes a (h, w) mask whose first pixel is the image's (top, left)."""
        pixels = np.ascontiguousarray(mask, dtype=np.uint8)
        x, y, width, height = cv2.boundingRect(pixels)
        if not height:
            return cls(0, 0, 0, 0, b"")
        code = mask_util.encode(np.asfortranarray(pixels[y : y + height, x : x + width]))
        return cls(top + y, left + x, height, width, code["counts"])

    def counts_in(self, size: Size) -> bytes:
        """The `counts` of the compressed RLE of the mask in an image of (height, width)."""
        lengths = _run_lengths(self.pixels, self.top, self.left, size).tolist()
        return mask_util.frPyObjects({"size": list(size), "counts": lengths}, *size)["counts"]


class MaskCrops:
    """The field `pred_masks` of Detectron2's Instances, in place of an (N, H, W) tensor."""

    def __init__(self, crops: Iterable[MaskCrop], size: Size) -> None:
        """Keeps what it is given.

        Args:
            crops: the N masks.
            size: (height, width) of the image.
        """
        self.crops = list(crops)
        self.size = size

    @classmethod
    def of(cls, masks: "Tensor | MaskCrops") -> "MaskCrops":
        """Codes (N, H, W) bool masks; crops stay as they are."""
        if isinstance(masks, MaskCrops):
            return masks
        height, width = masks.shape[1:]
        return cls(map(MaskCrop.of, masks.cpu().numpy()), (height, width))

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, item: int | slice | Tensor | Sequence[int]) -> "MaskCrops":
        """Chooses masks, as Instances asks for it: by number, slice, numbers or (N,) bool."""
        chosen = np.arange(len(self))[item.cpu().numpy() if isinstance(item, Tensor) else item]
        return MaskCrops([self.crops[i] for i in np.atleast_1d(chosen)], self.size)

    def to(self, *args: Any, **kwargs: Any) -> "MaskCrops":
        """Stays where it is: codes are no tensors."""
        return self

    def shifted(self, top: int, left: int, size: Size) -> "MaskCrops":
        """The same masks in a larger image of which this one is a part, from (top, left) on."""
        moved = (
            MaskCrop(crop.top + top, crop.left + left, crop.height, crop.width, crop.counts)
            for crop in self.crops
        )
        return MaskCrops(moved, size)

    def counts(self) -> list[bytes]:
        """The `counts` of the compressed RLE of each mask, at the image's size."""
        return [crop.counts_in(self.size) for crop in self.crops]

    def dense(self) -> Tensor:
        """(N, H, W) bool; for small images."""
        masks = torch.zeros(len(self), *self.size, dtype=torch.bool)
        for mask, crop in zip(masks, self.crops):
            mask[crop.window] = torch.from_numpy(np.ascontiguousarray(crop.pixels))
        return masks


class SampledMasks:
    """(N, h, w) bool masks of chosen pixels of the image, made one at a time by `masks[i]`."""

    def __init__(self, masks: MaskCrops, rows: np.ndarray, columns: np.ndarray) -> None:
        """Keeps what it is given.

        Args:
            masks: N masks.
            rows: (h,) rising numbers of rows of the image.
            columns: (w,) likewise.
        """
        self._masks, self._rows, self._columns = masks, rows, columns
        self.shape = len(masks), len(rows), len(columns)

    def __len__(self) -> int:
        return len(self._masks)

    def __getitem__(self, index: int) -> np.ndarray:
        mask = np.zeros(self.shape[1:], dtype=bool)
        crop = self._masks.crops[index]
        first = np.searchsorted(self._rows, [crop.top, crop.top + crop.height])
        second = np.searchsorted(self._columns, [crop.left, crop.left + crop.width])
        rows = self._rows[slice(*first)] - crop.top
        columns = self._columns[slice(*second)] - crop.left
        mask[slice(*first), slice(*second)] = crop.pixels[rows[:, None], columns]
        return mask

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        masks = [self[i] for i in range(len(self))]
        return np.array(masks, dtype=bool).reshape(self.shape).astype(dtype or bool, copy=False)


def _run_lengths(pixels: np.ndarray, top: int, left: int, size: Size) -> np.ndarray:
    """Lengths of the runs of 0, 1, 0, ... down the columns of the image.

    Args:
        pixels: (h, w) bool, the image's pixels from (top, left) on.
    """
    height, width = size
    padded = np.zeros((pixels.shape[1], pixels.shape[0] + 2), dtype=np.int8)
    padded[:, 1:-1] = pixels.T
    steps = np.diff(padded, axis=1)
    begins, ends = (_positions(steps == sign, top, left, height) for sign in (1, -1))
    # A run may go on from the foot of one column to the head of the next.
    apart = begins[1:] != ends[:-1]
    begins, ends = begins[np.r_[True, apart][: len(begins)]], ends[np.r_[apart, True][: len(ends)]]
    edges = np.stack([begins, ends], axis=1).ravel()
    lengths = np.diff(np.r_[0, edges, height * width])
    # An empty run at the end is one that pycocotools would not write.
    return lengths[:-1] if not lengths[-1] else lengths


def _positions(where: np.ndarray, top: int, left: int, height: int) -> np.ndarray:
    columns, rows = np.nonzero(where)
    return (left + columns) * height + top + rows
