"""Reads pickled weights of Detectron2's model zoo, and runs no code that a pickle asks for.

Nothing of NumPy is given to a pickle either: its functions trust what they are called with, and
damaged arguments make them write outside of their memory. What a pickle builds are descriptions of
arrays, of which the arrays are made when they have been checked.
"""

import io
import math
import pickle
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from project.pickle_scan import check_pickle

_NUMBERS = re.compile(r"[<>=|]?[biufc]\d{1,2}")  # no objects, texts or records


class _Type:
    """What a pickle says of the type of an array's numbers."""

    def __init__(self, name: Any, align: Any = False, copy: Any = False) -> None:
        if not isinstance(name, str) or not _NUMBERS.fullmatch(name):
            raise pickle.UnpicklingError(f"it holds {str(name)[:40]!r}, which are no numbers")
        self.numpy = np.dtype(name)

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">", "=", "|"):
            self.numpy = self.numpy.newbyteorder(state[1])
            return
        raise pickle.UnpicklingError("the type of an array is damaged")


class _Array:
    """What a pickle says of an array."""

    value: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        shape, kind, is_fortran, content = state[-4:]
        self.value = _numbers(content, kind, shape, "F" if is_fortran else "C")


def _numbers(content: Any, kind: Any, shape: Any, order: Any) -> np.ndarray:
    """An array of its bytes."""
    if isinstance(content, str):
        content = content.encode("latin1")  # as Python 2 wrote them
    if not isinstance(kind, _Type) or not isinstance(content, (bytes, bytearray)):
        raise pickle.UnpicklingError("an array in it is none of numbers")
    if not isinstance(shape, tuple) or not all(type(side) is int and side >= 0 for side in shape):
        raise pickle.UnpicklingError("the shape of an array is damaged")
    if math.prod(shape) * kind.numpy.itemsize != len(content):
        raise pickle.UnpicklingError(f"an array of the shape {shape} has {len(content)} bytes")
    values = np.frombuffer(bytearray(content), kind.numpy)
    return values.reshape(shape, order="F" if order == "F" else "C")


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _frombuffer(content: Any, kind: Any, shape: Any, order: Any, *_: Any) -> np.ndarray:
    return _numbers(content, kind, shape, order)


def _scalar(kind: Any, content: Any) -> Any:
    return _numbers(content, kind, (1,), "C")[0]


def _encode(text: Any, encoding: Any) -> bytes:
    """The bytes of an array in a pickle for Python 2; no other encoding is looked for."""
    if encoding not in ("latin1", "latin-1") or not isinstance(text, str):
        raise pickle.UnpicklingError(f"it asks for the encoding {str(encoding)[:40]!r}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """Those of an array without numbers, in a pickle for Python 2."""
    return b""


_INSTEAD: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _no_bytes,
    ("collections", "OrderedDict"): OrderedDict,
}
for _core in ("numpy.core", "numpy._core"):
    _INSTEAD[f"{_core}.multiarray", "_reconstruct"] = _reconstruct
    _INSTEAD[f"{_core}.multiarray", "scalar"] = _scalar
    _INSTEAD[f"{_core}.numeric", "_frombuffer"] = _frombuffer


class _ArrayUnpickler(pickle.Unpickler):
    """Reads pickles of arrays in plain containers and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _INSTEAD:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not an array")
        return _INSTEAD[module, name]


def read_zoo_pickle(filename: str) -> dict[str, Any]:
    """Reads a `.pkl` of Detectron2's model zoo (or of Caffe2, which names weights otherwise).

    Raises:
        pickle.UnpicklingError: it holds anything but arrays in plain containers. Damaged ones raise
            what Python raises, of many kinds.
    """
    content = Path(filename).read_bytes()
    check_pickle(content)
    described = _ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()
    data = _with_arrays(described, {})
    if not isinstance(data, dict):
        raise pickle.UnpicklingError(f"it holds a {type(data).__name__}, no weights by name")
    if "model" in data and "__author__" in data:
        return data
    blobs = data.get("blobs", data)
    weights = {key: v for key, v in blobs.items() if not str(key).endswith("_momentum")}
    return {"model": weights, "__author__": "Caffe2", "matching_heuristics": True}


def _with_arrays(node: Any, done: dict[int, Any]) -> Any:
    """A copy with arrays in the place of descriptions; what stands twice is copied once."""
    if id(node) in done:
        return done[id(node)]
    if isinstance(node, dict):
        copy: Any = {key: _with_arrays(value, done) for key, value in node.items()}
    elif isinstance(node, (list, tuple)):
        copy = type(node)(_with_arrays(value, done) for value in node)
    elif isinstance(node, (_Array, _Type)):
        copy = node.value if isinstance(node, _Array) else node.numpy
    else:
        copy = node
    done[id(node)] = copy
    return copy
