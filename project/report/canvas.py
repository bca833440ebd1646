"""Sizes of pictures: legible on a page, side by side, and as file bytes."""

import math

import cv2
import numpy as np

SMALLEST_SIDE, LARGEST_SIDE = 360, 720  # pixels of the longer side of a picture on the page
_ENCODINGS = {
    ".png": [cv2.IMWRITE_PNG_COMPRESSION, 3],  # 9 takes 8 times as long for 4 % of the bytes
    ".jpg": [cv2.IMWRITE_JPEG_QUALITY, 88],
}


def display_scale(
    size: tuple[int, ...], smallest: int = SMALLEST_SIDE, largest: int | None = LARGEST_SIDE
) -> float:
    """Factor that makes a picture legible: whole where it enlarges, so that pixels stay squares."""
    longer = max(size)
    if longer < smallest:
        return float(math.ceil(smallest / longer))
    return largest / longer if largest and longer > largest else 1.0


def scale_image(image: np.ndarray, scale: float) -> np.ndarray:
    """(H, W, 3) uint8 -> (H * scale, W * scale, 3): blocks when enlarged, averages when reduced."""
    if scale >= 1:
        return scale_labels(image, scale)
    height, width = scaled_size(image.shape, scale)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def scale_labels(labels: np.ndarray, scale: float) -> np.ndarray:
    """(H, W, ...) of any type -> (H * scale, W * scale, ...) by the nearest pixel."""
    if scale == 1:
        return labels
    rows, columns = sampled(labels.shape[:2], scale)
    return labels[rows[:, None], columns]


def sampled(size: tuple[int, ...], scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Which rows and which columns of a picture `scale_labels` takes."""
    height, width = scaled_size(size, scale)
    rows = ((np.arange(height) + 0.5) * size[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * size[1] / width).astype(int)
    return rows, columns


def scaled_size(size: tuple[int, ...], scale: float) -> tuple[int, int]:
    """Height and width of a picture of (height, width, ...) at another scale."""
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def side_by_side(
    images: list[np.ndarray], gap: int = 8, colour: tuple[int, int, int] = (255, 255, 255)
) -> np.ndarray:
    """Pictures (H_i, W_i, 3) in one row, aligned at the top, on a plain ground."""
    height = max(image.shape[0] for image in images)
    width = sum(image.shape[1] for image in images) + gap * (len(images) - 1)
    strip = np.full((height, width, 3), colour, np.uint8)
    left = 0
    for image in images:
        strip[: image.shape[0], left : left + image.shape[1]] = image
        left += image.shape[1] + gap
    return strip


def stack(
    images: list[np.ndarray], gap: int = 8, colour: tuple[int, int, int] = (255, 255, 255)
) -> np.ndarray:
    """Pictures (H_i, W_i, 3) in one column, aligned at the left, on a plain ground."""
    turned = [image.swapaxes(0, 1) for image in images]
    return np.ascontiguousarray(side_by_side(turned, gap, colour).swapaxes(0, 1))


def encode(image: np.ndarray, extension: str) -> bytes:
    """(H, W, 3) uint8 RGB -> the bytes of a ".png" or ".jpg" file."""
    done, data = cv2.imencode(extension, image[:, :, ::-1], _ENCODINGS[extension])
    assert done, extension
    return data.tobytes()
