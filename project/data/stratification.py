"""Groups of images dealt to splits so that each has its share of every class."""

import hashlib
from collections.abc import Sequence

import numpy as np

from project.errors import DatasetError

# N images, G groups, K classes, S splits. A column more than the classes counts all images.


def stratify(
    present: np.ndarray, groups: Sequence[str], shares: Sequence[float], seed: int
) -> np.ndarray:
    """Iterative stratification (Sechidis et al., ECML PKDD 2011), of whole groups.

    The class with the fewest remaining groups comes first; each of its groups, the largest first,
    goes where most images of the class are still wanted, among the splits with room for half of
    the group. A split that would go without the class, or without any group, comes first where
    there are no groups to spare. Then groups are exchanged for classes that a split still lacks.

    Args:
        present: (N, K) bool, which classes are in which image.
        groups: name of each image's group.
        shares: (S,) of the images, sum 1.
        seed: of the order in which equal groups are dealt out.

    Returns:
        (N,) index of each image's split.

    Raises:
        DatasetError: there are fewer groups than splits.
    """
    names = sorted(set(groups), key=lambda name: _shuffled(name, seed))
    if len(names) < len(shares):
        raise DatasetError(
            f"{len(names)} groups of images cannot fill {len(shares)} splits; ask for fewer splits,"
            " or for smaller groups"
        )
    index = {name: i for i, name in enumerate(names)}
    own = np.array([index[name] for name in groups])
    # The last column, which all images have, is the size of a group.
    everything = np.c_[present, np.ones(len(present), dtype=bool)].astype(np.int64)
    counts = np.zeros((len(names), everything.shape[1]), dtype=np.int64)  # (G, K + 1) images
    np.add.at(counts, own, everything)
    return _exchange(_deal(counts, np.asarray(shares)), counts, len(shares))[own]


def _shuffled(name: str, seed: int) -> bytes:
    """A sorting key that depends on nothing else: not on the order of files, nor on the machine."""
    return hashlib.sha256(f"{seed} {name}".encode()).digest()


def _deal(counts: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """(G,) split of each group from their (G, K + 1) images of each class and of all."""
    wanted = shares[:, None] * counts.sum(axis=0)  # (S, K + 1) images that a split still lacks
    splits = np.full(len(counts), -1)
    has = np.zeros(wanted.shape, dtype=int)  # (S, K + 1) groups
    while (splits < 0).any():
        remaining = ((counts > 0) & (splits < 0)[:, None]).sum(axis=0)  # (K + 1,) groups
        # All images are in the last column: it is the rarest only when no class is left.
        rarest = int(np.where(remaining > 0, remaining, len(counts) + 1).argmin())
        of_class = np.flatnonzero((counts[:, rarest] > 0) & (splits < 0))
        for group in of_class[np.argsort(-counts[of_class, -1], kind="stable")]:
            split = _choose(wanted, has, remaining, rarest, int(counts[group, -1]))
            splits[group] = split
            wanted[split] -= counts[group]
            has[split] += counts[group] > 0
            remaining -= counts[group] > 0
    return splits


def _choose(
    wanted: np.ndarray, has: np.ndarray, remaining: np.ndarray, rarest: int, size: int
) -> int:
    """The split of a group of `size` images, of which some show the class `rarest`."""
    room = wanted[:, -1] >= size / 2
    if not room.any():
        room = wanted[:, -1] == wanted[:, -1].max()
    empty, lacking = has[:, -1] == 0, has[:, rarest] == 0
    if remaining[-1] <= empty.sum():
        room = empty
    elif remaining[rarest] <= lacking.sum() and (room & lacking).any():
        room = room & lacking
    candidates = np.flatnonzero(room)
    # By the class, then by size; the first of equals is the one with the larger share.
    return int(candidates[np.lexsort((-wanted[candidates, -1], -wanted[candidates, rarest]))[0]])


def _exchange(splits: np.ndarray, counts: np.ndarray, num_splits: int) -> np.ndarray:
    """Swaps groups so that splits get classes which they lack, where none loses its last for it.

    Where no swap does, a group moves without another coming back.

    Args:
        splits: (G,) of each group; changed in place.
        counts: (G, K + 1) images of each class, and of all.
        num_splits: S.
    """
    shows = (counts > 0).astype(int)
    has = np.stack([shows[splits == s].sum(axis=0) for s in range(num_splits)])  # (S, K + 1)
    for split, label in zip(*np.nonzero(has == 0)):
        if has[split, label]:
            continue  # came along with another class
        givers = np.flatnonzero(shows[:, label])
        takers = np.flatnonzero(splits == split)
        pairs = [(g, t) for g in givers for t in takers]
        pairs.sort(key=lambda pair: abs(counts[pair[0], -1] - counts[pair[1], -1]))
        for giver, taker in [*pairs, *((g, None) for g in givers)]:
            there = splits[giver]
            change = shows[giver] - (0 if taker is None else shows[taker])
            if _keeps(has[split], change) and _keeps(has[there], -change):
                has[split] += change
                has[there] -= change
                splits[giver] = split
                if taker is not None:
                    splits[taker] = there
                break
    return splits


def _keeps(has: np.ndarray, change: np.ndarray) -> bool:
    """Whether a split with (K + 1,) groups of each class has some of each after a change."""
    return bool(((has == 0) | (has + change > 0)).all())
