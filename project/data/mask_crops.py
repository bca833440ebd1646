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

from project.data.rle_encoding import encode_windows

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
        return MaskCrops([self.crops[i] for i in chosen_numbers(len(self), item)], self.size)

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
        # What is decoded stands column after column.
        windows = [crop.pixels.T for crop in self.crops]
        return encode_windows(windows, [(crop.top, crop.left) for crop in self.crops], self.size)

    def dense(self) -> Tensor:
        """(N, H, W) bool; for small images."""
        masks = torch.zeros(len(self), *self.size, dtype=torch.bool)
        for mask, crop in zip(masks, self.crops):
            mask[crop.window] = torch.from_numpy(np.ascontiguousarray(crop.pixels))
        return masks


def chosen_numbers(length: int, item: int | slice | Tensor | Sequence[int]) -> np.ndarray:
    """Which of `length` masks an index chooses: a number, slice, numbers or (N,) bool."""
    chosen = np.arange(length)[item.cpu().numpy() if isinstance(item, Tensor) else item]
    return np.atleast_1d(chosen)


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
