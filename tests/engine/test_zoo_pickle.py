"""Pickles of arrays are read as NumPy would; nothing else is, and NumPy gets nothing unchecked."""

import collections
import pickle
from pathlib import Path

import numpy as np
import pytest

from project.engine.zoo_pickle import read_zoo_pickle

ARRAYS = {
    "plain": np.arange(6.0).reshape(2, 3),
    "columns": np.asfortranarray(np.arange(6, dtype=">i4").reshape(2, 3)),
    "empty": np.zeros((0, 3), np.float16),
    "one": np.array(True),
    "bytes": np.array([1, 200], np.uint8),
    "complex": np.array([1 + 2j]),
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_are_what_they_were(protocol, tmp_path):
    shared = ARRAYS["plain"]
    model = collections.OrderedDict(ARRAYS, again=shared)
    content = {"model": model, "__author__": "x", "score": np.float32(3), "more": [(1, "a", None)]}
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    found = read_zoo_pickle(str(path))
    assert pickle.loads(path.read_bytes()).keys() == found.keys()
    assert found["score"] == 3 and found["more"] == [(1, "a", None)]
    for name, array in model.items():
        assert found["model"][name].dtype == array.dtype
        np.testing.assert_array_equal(found["model"][name], array)
    assert found["model"]["plain"].flags.writeable


def _state(*state: object) -> bytes:
    """A pickle of an array whose state is something else."""
    rest = {"model": {}, "__author__": "x"}
    head = b"\x80\x03cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
    return head + pickle.dumps(state, protocol=3)[2:-1] + b"b0" + pickle.dumps(rest, 3)[2:]


KIND = np.dtype("f8")


@pytest.mark.parametrize(
    "content",
    [
        _state(1, (2,), KIND, False, b"\0" * 8),  # more numbers than bytes
        _state(1, (2**62, 2), KIND, False, b""),
        _state(1, (-1,), KIND, False, b"\0" * 8),
        _state(1, ("a",), KIND, False, b""),
        _state(1, (1,), np.dtype(object), False, [1]),
        _state(1, (1,), KIND, False, [1.0]),
        _state(1, (1,), "f8", False, b"\0" * 8),
        _state(1),
        b"\x80\x02}r\xff\xff\xff\x7f.",  # a place of 8 GB
        b"cnumpy\nload\n.",
        b"cnumpy\ndtype\n(X\x02\x00\x00\x00O8tR.",
        pickle.dumps([1]),
    ],
)
def test_what_is_damaged_is_refused(content: bytes, tmp_path: Path):
    path = tmp_path / "a.pkl"
    path.write_bytes(content)
    with pytest.raises((pickle.UnpicklingError, ValueError, TypeError)):
        read_zoo_pickle(str(path))


def test_a_sound_state_is_taken(tmp_path: Path):
    """Otherwise the cases above would prove nothing."""
    path = tmp_path / "a.pkl"
    path.write_bytes(_state(1, (1,), KIND, False, b"\0" * 8))
    assert read_zoo_pickle(str(path)) == {"model": {}, "__author__": "x"}
