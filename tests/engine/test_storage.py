import math

import pytest
import torch

from project.engine.storage import BoundedStorage


def far() -> torch.Tensor:
    """A number that is not in the memory of the host, as on a GPU."""
    return torch.empty(1, device="meta")


def test_tensors_of_other_devices_are_kept_when_they_are_read():
    with BoundedStorage(7, log_period=5) as storage:
        storage.put_scalar("plain", 1.5)
        with storage.name_scope("stage0"):
            storage.put_scalar("late", far(), cur_iter=6)
        storage.put_scalar("nothing", far())
        storage.put_scalar("now", far())
        storage.put_scalar("near", torch.tensor([4.0]))
        assert set(storage.latest()) == {"plain", "near"}
        assert torch.stack(storage.waiting()).shape == (3,)
        storage.step()
        storage.settle([2.0, math.nan, 5.0])  # NaN is the share of nothing
        assert storage.latest() == {
            "plain": (1.5, 7),
            "near": (4.0, 7),
            "stage0/late": (2.0, 6),
            "now": (5.0, 7),
        }
        assert storage.waiting() == []
        storage.put_scalar("after", 3.0)
        assert "after" in storage.latest()


def test_as_many_numbers_as_wait():
    with BoundedStorage(0, log_period=5) as storage:
        storage.put_scalar("late", far())
        with pytest.raises(ValueError, match="zip"):
            storage.settle([])
