"""Run-length encodings (RLE) of COCO, checked before anything believes them.

https://github.com/cocodataset/cocoapi/blob/master/common/maskApi.h describes them.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from project.data.faults import Fault, short

# Of one number in a compressed RLE: 7 hold 35 bits, enough for any image. pycocotools reads longer
# ones, which must be padded, as other numbers than they are.
_MAX_CHARACTERS = 7
_EXPORT = "export the mask again, or take it out"


def run_lengths(rle: dict[str, Any], height: int, width: int) -> np.ndarray:
    """The runs of an RLE.

    Args:
        rle: `{"size": [height, width], "counts": ...}`, compressed (str, bytes) or not (list).
        height: of the image, pixels.
        width: of the image, pixels.

    Returns:
        (R,) lengths of the runs of 0, 1, 0, ..., column by column; they fill the image.

    Raises:
        Fault: another size (rle_size), or counts that are damaged, negative or too few or many
            (rle_damaged).
    """
    if not _is_size(rle.get("size"), height, width):
        raise Fault(
            "rle_size",
            f"its RLE has the size {short(rle.get('size'))}",
            f"that of its image, [{height}, {width}] (height, width)",
            "export the masks at the size of the images",
        )
    lengths = _lengths(rle.get("counts"))
    total = height * width
    if len(lengths) and (lengths.min() < 0 or lengths.max() > total):
        raise _damaged(
            "its RLE has a run that is negative or longer than the image",
            f"runs of 0 to {height} x {width} = {total} pixels",
        )
    if int(lengths.sum()) != total:
        raise _damaged(
            f"its run lengths sum to {int(lengths.sum())}", f"{height} x {width} = {total}"
        )
    return lengths


def _is_size(size: Any, height: int, width: int) -> bool:
    # 64.0 equals 64 and True equals 1, but what is compiled takes neither.
    return (
        isinstance(size, (list, tuple))
        and all(type(side) is int for side in size)
        and list(size) == [height, width]
    )


def _lengths(counts: Any) -> np.ndarray:
    """(R,) whole numbers of 64 bits, compressed or not."""
    lengths = None
    if isinstance(counts, (str, bytes)):
        text = counts.encode(errors="replace") if isinstance(counts, str) else counts
        lengths = _decompress(text)
    elif isinstance(counts, list) and set(map(type, counts)) <= {int}:
        lengths = _integers(counts)
    if lengths is None:
        raise _damaged(f"its RLE has the counts {short(counts)}", "run lengths")
    return lengths


def _integers(values: list[int]) -> np.ndarray | None:
    try:
        return np.array(values, dtype=np.int64)
    except OverflowError:
        return None


def _decompress(text: bytes) -> np.ndarray | None:
    """Counts of COCO's compressed RLE, or None where the text is damaged.

    A number is a group of characters: 48 + five bits, lowest first, + 32 where another follows; the
    top bit of the last is its sign. From the fourth on, numbers are differences to the one before
    the last (cocoapi, common/maskApi.c, rleToString).
    """
    codes = np.frombuffer(text, dtype=np.uint8).astype(np.int64) - 48
    if not len(codes):
        return codes
    last = (codes & 32) == 0
    if codes.min() < 0 or codes.max() > 63 or not last[-1]:
        return None
    ends = np.flatnonzero(last) + 1
    if np.diff(ends, prepend=0).max() > _MAX_CHARACTERS:
        return None
    return _summed(_numbers(codes, ends))


def decompress(texts: Sequence[bytes]) -> list[np.ndarray]:
    """(R,) run lengths of each compressed RLE, of those that pycocotools has just written.

    Nothing is checked, and all are read at once: most are so short that it is the calls that cost.
    """
    codes = np.frombuffer(b"".join(texts), dtype=np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero((codes & 32) == 0) + 1
    numbers = _numbers(codes, ends)
    counts = np.searchsorted(ends, np.cumsum([len(text) for text in texts]), side="right")
    return [_summed(numbers[begin:end]) for begin, end in pairwise([0, *counts.tolist()])]


def _numbers(codes: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """What groups of codes, which end before `ends`, stand for."""
    starts = np.concatenate([[0], ends[:-1]])
    sizes = ends - starts
    shifts = 5 * (np.arange(len(codes)) - starts.repeat(sizes))
    numbers = np.add.reduceat((codes & 31) << shifts, starts)
    numbers -= np.where(codes[ends - 1] & 16, 1 << (5 * sizes), 0)
    return numbers


def _summed(numbers: np.ndarray) -> np.ndarray:
    """The run lengths whose differences the numbers are; in place."""
    numbers[1::2] = numbers[1::2].cumsum()
    numbers[2::2] = numbers[2::2].cumsum()
    return numbers


def _damaged(found: str, expected: str) -> Fault:
    return Fault("rle_damaged", found, expected, _EXPORT)
