"""COCO's compressed RLE of many masks of one image at once, each from the window that holds it.

pycocotools reads every pixel of the image for every mask, and wants it column by column first: 75
masks of 480 x 640 pixels take 54 ms, of which its own part is 16 ms; here 5 ms
(`tools/benchmark.py rle`). The codes are its codes, byte by byte.

N masks of H x W pixels; the format is that of
https://github.com/cocodataset/cocoapi/blob/master/common/maskApi.c
"""

from collections.abc import Sequence

import cv2
import numpy as np

Size = tuple[int, int]

_CELLS = 2**24  # pixels of windows at a time, a bound of memory


def encode_masks(masks: np.ndarray) -> list[bytes]:
    """Codes masks of an image's size.

    Args:
        masks: (N, H, W) bool.

    Returns:
        The `counts` of each.
    """
    size: Size = (masks.shape[1], masks.shape[2])
    tops, bottoms = _extents(np.asarray(masks.any(axis=2)))
    columns = np.zeros((len(masks), size[1]), dtype=bool)
    for mask, used, top, bottom in zip(masks, columns, tops, bottoms):
        np.logical_or.reduce(mask[top:bottom], axis=0, out=used)
    lefts, rights = _extents(columns)
    windows = []
    for mask, top, bottom, left, right in zip(masks, tops, bottoms, lefts, rights):
        window = mask[top:bottom, left:right].view(np.uint8)
        # OpenCV is quick at this, but takes no empty array.
        windows.append(cv2.transpose(window) if window.size else window.T)
    corners = list(zip(tops, lefts))
    return encode_windows(windows, corners, size)


def encode_windows(
    windows: Sequence[np.ndarray], corners: Sequence[tuple[int, int]], size: Size
) -> list[bytes]:
    """Codes masks of which a window of the image is given.

    Args:
        windows: N times (w, h) of 0 and 1, bool or uint8: columns of the window first.
        corners: the image's row and column of each window's first pixel.
        size: (H, W); the windows lie within.

    Returns:
        The `counts` of each.
    """
    if not windows:
        return []
    areas = np.cumsum([window.size for window in windows])
    if areas[-1] > _CELLS and len(windows) > 1:
        half = min(max(1, int(np.searchsorted(areas, areas[-1] / 2))), len(windows) - 1)
        parts = (slice(half), slice(half, None))
        return [c for part in parts for c in encode_windows(windows[part], corners[part], size)]
    shapes = np.array([window.shape for window in windows], dtype=np.int64).reshape(-1, 2)
    starts = line_starts(shapes)
    line = np.zeros(int(starts[-1]), dtype=np.uint8)
    sides = shapes.tolist()
    for window, start, (width, height) in zip(windows, starts.tolist(), sides):
        end = start + width * (height + 1)
        line[start:end].reshape(width, height + 1)[:, :height] = window
    return encode_line(line, shapes, np.array(corners), size)


def line_starts(shapes: np.ndarray) -> np.ndarray:
    """Where windows stand in a line of `encode_line`.

    Args:
        shapes: (N, 2) width and height of each.

    Returns:
        (N + 1,) int64, the last one the line's length.
    """
    lengths = shapes[:, 0] * (shapes[:, 1] + 1)
    return np.concatenate([[1], 1 + np.cumsum(lengths)])


def encode_line(
    line: np.ndarray, shapes: np.ndarray, corners: np.ndarray, size: Size
) -> list[bytes]:
    """Codes masks whose windows stand in one line, column after column, a zero after each column.

    A zero is the first of all, too: so every run of ones begins and ends with a step.

    Args:
        line: (L,) of 0 and 1, bool or uint8.
        shapes: (N, 2) width and height of each window, N at least 1.
        corners: (N, 2) see `encode_windows`.
        size: (H, W).
    """
    starts = line_starts(shapes)[:-1]
    steps = np.flatnonzero(line[1:] != line[:-1]) + 1
    numbers = np.diff(np.searchsorted(steps, starts), append=len(steps))
    owners = np.repeat(np.arange(len(shapes)), numbers)
    columns, rows = np.divmod(steps - starts[owners], shapes[owners, 1] + 1)
    edges = (corners[owners, 1] + columns) * size[0] + corners[owners, 0] + rows
    # A run may go on from the foot of one column to the head of the next.
    joined = (edges[1:-1:2] == edges[2::2]) & (owners[1:-1:2] == owners[2::2])
    if joined.any():
        kept = np.ones(len(edges), dtype=bool)
        kept[1:-1] = np.repeat(~joined, 2)
        edges, numbers = edges[kept], np.bincount(owners[kept], minlength=len(shapes))
    return _packed(edges, numbers, size)


def _extents(used: np.ndarray) -> tuple[list[int], list[int]]:
    """Of each row the first True, and what follows the last; 0 and 0 where there is none."""
    if not used.size:
        return [0] * len(used), [0] * len(used)
    firsts = used.argmax(axis=1)
    ends = np.where(used.any(axis=1), used.shape[1] - used[:, ::-1].argmax(axis=1), 0)
    return firsts.tolist(), ends.tolist()


def _packed(edges: np.ndarray, numbers: np.ndarray, size: Size) -> list[bytes]:
    """Codes of masks from where their runs begin and end.

    Args:
        edges: begin, end, begin, ... of the runs of ones of all masks, one after the other.
        numbers: (N,) edges of each mask.
        size: (H, W).
    """
    total = size[0] * size[1]
    # Of each mask 0, its edges and the image's end; the steps between them are its run lengths.
    ends = np.cumsum(numbers + 2)
    firsts = ends - numbers - 2
    bounds = np.empty(int(ends[-1]), dtype=np.int64)
    inner = np.ones(len(bounds), dtype=bool)
    inner[firsts] = inner[ends - 1] = False
    bounds[firsts], bounds[ends - 1] = 0, total
    bounds[inner] = edges
    runs = np.diff(bounds, prepend=0)
    used = np.ones(len(runs), dtype=bool)
    used[firsts] = False
    # pycocotools writes no empty run at the end.
    used[ends - 1] &= (runs[ends - 1] > 0) | (numbers == 0)
    number_of_runs = np.add.reduceat(used, firsts)
    return _written(runs[used], number_of_runs)


def _written(runs: np.ndarray, numbers: np.ndarray) -> list[bytes]:
    """The texts of run lengths, `numbers` of which are each mask's.

    From the fourth on, a run is written as its difference to the last but one. Characters hold 5
    bits each, the lowest first, and whether more follow.
    """
    ends = np.cumsum(numbers)
    values = runs.copy()
    values[2:] -= runs[:-2]
    for place in range(3):
        first = (ends - numbers + place)[numbers > place]
        values[first] = runs[first]
    sizes = np.ones(len(values), dtype=np.int64)
    magnitudes = values ^ (values >> 63)
    limit, largest = 16, int(magnitudes.max())
    while limit <= largest:  # n characters hold -16 * 32**(n - 1) to 16 * 32**(n - 1) - 1
        sizes += magnitudes >= limit
        limit *= 32
    text_ends = np.cumsum(sizes)
    text = np.empty(int(text_ends[-1]), dtype=np.uint8)
    left, at, rest = sizes, text_ends - sizes, values
    while len(rest):
        text[at] = (rest & 31) + 32 * (left > 1) + 48
        more = left > 1
        left, at, rest = left[more] - 1, at[more] + 1, rest[more] >> 5
    whole, bounds = text.tobytes(), text_ends[ends - 1].tolist()
    return [whole[begin:end] for begin, end in zip([0, *bounds], bounds)]
