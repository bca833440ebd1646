"""Which images of two sets show nearly the same: recompressed, resized, turned or mirrored copies.

N images of one set, M of the other. A pair has to pass two tests that look at different things:
a perceptual hash (the signs of the lowest frequencies) and the correlation of small grey pictures.
Correlation alone takes dark microscopy images for copies, the hash alone plain backgrounds.
"""

from collections.abc import Iterator, Sequence

import imagehash
import numpy as np
from PIL import Image

MAX_HASH_DISTANCE = 10  # of 64 bits
MIN_CORRELATION = 0.96
_CHUNK = 512  # images of the first set at a time; bounds the memory


def near_pairs(
    first: Sequence[np.ndarray], second: Sequence[np.ndarray]
) -> Iterator[tuple[int, int, float]]:
    """The images of `second` of which `first` has nearly the same.

    Args:
        first: N thumbnails, (S, S) float grey.
        second: M thumbnails.

    Yields:
        Index in `first`, index in `second`, correlation: the best partner of each image that has
        any, in the order of `second`.
    """
    if not first or not second:
        return
    hashes, pictures = _hashes(first), _normalised(first)
    best = np.zeros(len(second))
    partner = np.full(len(second), -1)
    for turned in _turned(second):
        other_hashes, other_pictures = _hashes(turned), _normalised(turned)
        for start in range(0, len(second), _CHUNK):
            part = slice(start, start + _CHUNK)
            found = _correlations(hashes, other_hashes[part], pictures, other_pictures[part])
            index, value = found.argmax(axis=0), found.max(axis=0)
            better = value > best[part]
            best[part] = np.where(better, value, best[part])
            partner[part] = np.where(better, index, partner[part])
    for index in np.flatnonzero(best >= MIN_CORRELATION):
        yield int(partner[index]), int(index), float(best[index])


def _correlations(
    hashes: np.ndarray, other_hashes: np.ndarray, pictures: np.ndarray, others: np.ndarray
) -> np.ndarray:
    """(N, m) correlation of every pair whose hashes are near, 0 of the rest."""
    near = np.bitwise_count(hashes[:, None] ^ other_hashes[None]) <= MAX_HASH_DISTANCE
    if not near.any():
        return np.zeros(near.shape, dtype=np.float32)
    return np.where(near, pictures @ others.T, 0)


def _turned(thumbnails: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
    """All of them in each of the eight ways that an image can be turned and mirrored."""
    for quarter in range(4):
        yield [np.rot90(t, quarter) for t in thumbnails]
        yield [np.rot90(t, quarter)[:, ::-1] for t in thumbnails]


def _hashes(thumbnails: Sequence[np.ndarray]) -> np.ndarray:
    """(N,) uint64 perceptual hashes."""
    bits = [imagehash.phash(Image.fromarray(_as_uint8(t))).hash.ravel() for t in thumbnails]
    return np.packbits(np.array(bits), axis=1).view(np.uint64).ravel()


def _as_uint8(thumbnail: np.ndarray) -> np.ndarray:
    """Stretched to 0 to 255, so that the hash of a dim image is not made of rounding."""
    low, high = thumbnail.min(), thumbnail.max()
    return ((thumbnail - low) * (255 / max(high - low, 1e-6))).round().astype(np.uint8)


def _normalised(thumbnails: Sequence[np.ndarray]) -> np.ndarray:
    """(N, S * S) float32 with mean 0 and length 1, whose products are correlations."""
    flat = np.stack([t.ravel() for t in thumbnails]).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
