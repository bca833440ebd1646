"""Which images every iteration draws: a function of the seed and the iteration alone."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch.utils.data import Dataset, Sampler

from project.data.randomness import Stream, derived_seed, random_states
from project.data.records import Record


class Draw(NamedTuple):
    """One image of a training.

    Attributes:
        number: how many were drawn before, by all ranks.
        record: its index among the records.
    """

    number: int
    record: int


class BatchSampler(Sampler[list[Draw]]):
    """Yields this rank's share of every batch, without end.

    A round draws every image as often as its factor says, in a random order: once where there are
    no factors. The batch of an iteration is the same for any number of ranks, and each image is
    drawn as often as it is meant to, whatever the interruptions: a run that goes on sets `start`.

    Attributes:
        rank_size: images of a batch that this rank has.
        start: number of the first batch.
    """

    def __init__(
        self,
        groups: Sequence[int],
        batch_size: int,
        seed: int,
        *,
        factors: Sequence[float] | None = None,
        rank: int = 0,
        num_ranks: int = 1,
    ) -> None:
        """Keeps what it is given.

        Args:
            groups: of each image; a batch is of one group.
            batch_size: of all ranks together, a multiple of `num_ranks`.
            seed: of the run, at least 0.
            factors: draws a round of each image, at least 0 and above 0 for one; the fraction is
                the probability of one more.
            rank: of this process.
            num_ranks: that share each batch.
        """
        assert groups and batch_size % num_ranks == 0, (len(groups), batch_size, num_ranks)
        self.groups = groups
        self.batch_size = batch_size
        self.seed = seed
        self.factors = None if factors is None else np.asarray(factors, dtype=np.float64)
        self.share = slice(rank, None, num_ranks)
        self.rank_size = batch_size // num_ranks
        self.start = 0  # the batch to begin with

    def __iter__(self) -> Iterator[list[Draw]]:
        """From batch `start` on."""
        for number, batch in enumerate(self._batches()):
            if number >= self.start:
                yield batch[self.share]

    def _batches(self) -> Iterator[list[Draw]]:
        waiting: dict[int, list[Draw]] = {group: [] for group in set(self.groups)}
        for draw in self._draws():
            batch = waiting[self.groups[draw.record]]
            batch.append(draw)
            if len(batch) == self.batch_size:
                yield batch.copy()
                batch.clear()

    def _draws(self) -> Iterator[Draw]:
        number = 0
        round_number = 0
        while True:
            for index in self._round(round_number):
                yield Draw(number, index)
                number += 1
            round_number += 1

    def _round(self, number: int) -> list[int]:
        rng = np.random.default_rng(derived_seed(self.seed, Stream.ORDER, number))
        indices = np.arange(len(self.groups))
        if self.factors is not None:
            whole = np.floor(self.factors)
            more = rng.random(len(indices)) < self.factors - whole
            indices = indices.repeat((whole + more).astype(int))
        return rng.permutation(indices).tolist()


class SeededSamples(Dataset[dict[str, Any]]):
    """Maps drawn records, each with random numbers of its own, in any process."""

    def __init__(
        self, records: Sequence[Record], mapper: Callable[[Record], dict[str, Any]], seed: int
    ) -> None:
        self.records = records
        self.mapper = mapper
        self.seed = seed

    def __getitem__(self, draw: Draw) -> dict[str, Any]:
        """The mapped record of a draw."""
        with random_states(derived_seed(self.seed, Stream.SAMPLE, draw.number)):
            return self.mapper(self.records[draw.record])


def by_shape(records: Sequence[Record]) -> list[int]:
    """1 for images that are wider than high, 0 for others: they pad each other least."""
    return [int(record["width"] > record["height"]) for record in records]
