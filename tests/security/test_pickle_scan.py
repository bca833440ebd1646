"""Pickles that exhaust the machine are told before they are read, and no others."""

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from hostile_files import hash_bomb
from project.engine.weights_files import read_weights_file
from project.errors import WeightsError
from project.pickle_scan import check_pickle


def stored(path: Path, content: bytes, kind: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", kind) as archive:
        archive.writestr("a/data.pkl", content)
        archive.writestr("a/byteorder", "little")
        archive.writestr("a/version", "3\n")
    return path


def test_the_bomb_is_one():
    """Twice the time with each level, as far as that can be waited for."""
    value = pickle.loads(hash_bomb(3))
    assert value == {((((), ()), ((), ())), (((), ()), ((), ()))): 1}
    check_pickle(hash_bomb(16))


@pytest.mark.parametrize("write", ["zoo", "torch", "legacy"])
@pytest.mark.parametrize("levels", [17, 40, 250])
def test_tuples_within_tuples_are_refused(tmp_path, write, levels):
    bomb = hash_bomb(levels)
    path = tmp_path / ("a.pkl" if write == "zoo" else "a.pth")
    if write == "torch":
        stored(path, bomb)
    else:
        path.write_bytes(bomb)
    with pytest.raises(WeightsError, match="tuples within tuples, 17 deep"):
        read_weights_file(str(path))


def test_what_unfolds_is_refused(tmp_path):
    """A file that torch reads otherwise: 300 times as large in memory as on the disk."""
    content = b"\x80\x02}X\x05\x00\x00\x00modelq\x00}X" + (10**7).to_bytes(4, "little")
    path = stored(tmp_path / "a.pth", content + b"a" * 10**7 + b"K\x01ss.", zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 30000
    assert len(next(iter(torch.load(path, weights_only=True)["model"]))) == 10**7
    with pytest.raises(WeightsError, match=r"a/data\.pkl in it is compressed"):
        read_weights_file(str(path))


def whole_state() -> dict[str, object]:
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 3, 5, 5)).sum().backward()
    optimizer.step()
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "none": None}
    state["more"] = OrderedDict(a=[(1, (2.0, "b"))], c=torch.Size([3, 4]))
    return state


@pytest.mark.parametrize("legacy", [False, True])
def test_what_torch_writes_is_read(tmp_path, legacy):
    state = whole_state()
    path = tmp_path / "a.pth"
    torch.save(state, path, _use_new_zipfile_serialization=not legacy)
    found = read_weights_file(str(path))
    assert found.keys() == state.keys()
    assert all(torch.equal(found["model"][k], v) for k, v in state["model"].items())
    assert found["more"] == state["more"]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "make",
    [
        lambda: {"a": np.arange(6).reshape(2, 3), "b": [np.float32(2), {"c": (1, (2, (3,)))}]},
        lambda: [frozenset([1, 2]), {3, 4}, bytearray(b"x"), (), ((),), {}, b"y", 1 << 70],
        lambda: [[i] * 3 for i in range(1000)],
    ],
)
def test_pickles_of_every_protocol_pass(protocol, make: Callable[[], object]):
    content = pickle.dumps(make(), protocol)
    file = io.BytesIO(content + b"behind")
    check_pickle(file)
    assert file.read() == b"behind"


@pytest.mark.parametrize(
    "content", [b"", b"\x80\x02", b"s.", b"(u.", b"\x80\x02}r\xff\xff\xff\x7f."]
)
def test_damaged_pickles(content):
    with pytest.raises((pickle.UnpicklingError, ValueError)):
        check_pickle(content)
