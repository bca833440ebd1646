"""Random states that are functions of the seed and of what they are for, and of nothing before.

A run that goes on from a checkpoint then draws what the uninterrupted run draws, whatever the
number of loader workers, without any state being saved.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import numpy as np
import torch


class Stream(IntEnum):
    """What random numbers are for; streams of one seed are independent."""

    ORDER = 0
    SAMPLE = 1
    STEP = 2
    SCORING = 3


def derived_seed(seed: int, stream: Stream, *numbers: int) -> int:
    """A seed of 64 bits for one use of one stream, such as an iteration.

    Args:
        seed: of the run, at least 0.
        stream: what for.
        numbers: which of its uses, at least 0 each.
    """
    # The length tells (0,) from (), which NumPy fills up with zeros.
    sequence = np.random.SeedSequence([seed, int(stream), len(numbers), *numbers])
    return int(sequence.generate_state(1, np.uint64)[0])


def seed_all(seed: int) -> None:
    """Seeds the global states of Python, NumPy and torch, GPUs included."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  (Detectron2's augmentations draw from it)
    torch.manual_seed(seed)


@contextmanager
def random_states(seed: int) -> Iterator[None]:
    """Within, the CPU's global states come from `seed`; afterwards they are what they were."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        torch.set_rng_state(before[2])
