"""Batches are a function of seed and iteration: for any ranks, workers and interruptions."""

import random
from collections import Counter
from contextlib import suppress
from itertools import chain, islice

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from project.data.batches import BatchSampler, Draw, SeededSamples, by_shape
from project.data.randomness import Stream, derived_seed, random_states

GROUPS = [0, 1, 1, 0, 0, 1, 0, 1, 1, 1, 0]


def batches(count: int, start: int = 0, **options) -> list[list[Draw]]:
    sampler = BatchSampler(GROUPS, options.pop("batch_size", 4), options.pop("seed", 3), **options)
    sampler.start = start
    return list(islice(sampler, count))


def test_every_image_once_a_round():
    """33 batches of 4 are 12 rounds of 11 images, but for the few that wait for their group."""
    drawn = [draw for batch in batches(33, batch_size=1) for draw in batch]
    assert [draw.number for draw in drawn] == list(range(33))
    rounds = [[draw.record for draw in drawn[i : i + 11]] for i in (0, 11, 22)]
    assert all(sorted(indices) == list(range(11)) for indices in rounds)
    assert rounds[0] != rounds[1] != rounds[2]
    counts = Counter(draw.record for draw in chain(*batches(30)))
    assert set(counts.values()) <= {9, 10, 11, 12} and len(counts) == 11


def test_a_batch_is_of_one_group():
    assert {len({GROUPS[d.record] for d in batch}) for batch in batches(50)} == {1}
    assert len({GROUPS[batch[0].record] for batch in batches(50)}) == 2


@pytest.mark.parametrize("start", [1, 7, 40])
def test_going_on_draws_what_would_have_been_drawn(start):
    assert batches(50)[start:] == batches(50 - start, start=start)


def test_seeds_and_ranks():
    assert batches(20) == batches(20) != batches(20, seed=4)
    shares = [batches(20, rank=rank, num_ranks=2) for rank in range(2)]
    assert all(len(batch) == 2 for share in shares for batch in share)
    for whole, first, second in zip(batches(20), *shares):
        assert sorted(whole) == sorted(first + second)


def test_factors_are_met_on_average():
    factors = [0.0, 1.0, 1.5, 3.0]
    sampler = BatchSampler([0] * 4, 11, 0, factors=factors)
    counts = Counter(draw.record for draw in chain(*islice(sampler, 2000)))
    total = counts.total()
    for index, factor in enumerate(factors):
        assert counts[index] / total == pytest.approx(factor / sum(factors), abs=0.01)


def draw_numbers(record: dict) -> dict:
    numbers = [random.random(), np.random.rand(), torch.rand(()).item()]  # noqa: NPY002
    return {**record, "numbers": numbers}


def identity(batch: list) -> list:
    return batch


@pytest.mark.parametrize("workers", [0, 2])
def test_samples_have_random_numbers_of_their_own(workers):
    samples = SeededSamples([{"id": i} for i in range(11)], draw_numbers, seed=5)
    torch.manual_seed(workers)
    before = random.getstate(), np.random.rand(), torch.rand(())  # noqa: NPY002
    random.setstate(before[0])
    loader = DataLoader(
        samples, batch_sampler=BatchSampler(GROUPS, 4, 3), num_workers=workers, collate_fn=identity
    )
    found = list(islice(loader, 6))
    expected = [[samples[draw] for draw in batch] for batch in batches(6)]
    assert found == expected
    numbers = [number for batch in found for item in batch for number in item["numbers"]]
    assert len(set(numbers)) == len(numbers) == 72


def test_states_are_given_back():
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    expected = random.random(), np.random.rand(), torch.rand(()).item()  # noqa: NPY002
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    with suppress(ValueError), random_states(9):
        inside = random.random(), np.random.rand(), torch.rand(()).item()  # noqa: NPY002
        raise ValueError
    assert (random.random(), np.random.rand(), torch.rand(()).item()) == expected  # noqa: NPY002
    assert not set(inside) & set(expected)


def test_streams_and_uses_are_independent():
    seeds = {
        derived_seed(seed, stream, *numbers)
        for seed in (0, 1)
        for stream in Stream
        for numbers in ((), (0,), (1,), (0, 1), (1, 0))
    }
    assert len(seeds) == 2 * len(Stream) * 5


def test_shapes():
    sizes = [(4, 5), (5, 4), (5, 5)]
    assert by_shape([{"height": h, "width": w} for h, w in sizes]) == [1, 0, 0]
