import math

import pytest
import torch

from project.engine.storage import BoundedStorage


def test_tensors_are_kept_when_they_are_read():
    with BoundedStorage(7, log_period=5) as storage:
        storage.put_scalar("plain", 1.5)
        with storage.name_scope("stage0"):
            storage.put_scalar("late", torch.tensor(2.0), cur_iter=6)
        storage.put_scalar("nothing", torch.tensor(math.nan))  # the share of nothing
        assert set(storage.latest()) == {"plain"}
        storage.settle(torch.stack(storage.waiting()).tolist())
        assert storage.latest() == {"plain": (1.5, 7), "stage0/late": (2.0, 6)}
        assert storage.waiting() == []
        storage.put_scalar("after", 3.0)
        assert "after" in storage.latest()


def test_as_many_numbers_as_wait():
    with BoundedStorage(0, log_period=5) as storage:
        storage.put_scalar("late", torch.tensor(2.0))
        with pytest.raises(ValueError, match="zip"):
            storage.settle([])
