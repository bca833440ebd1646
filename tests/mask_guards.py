"""Guards in front of pycocotools, which believes every number that it gets.

Run as a program, it checks data sets behind these guards, within bounds of time and memory:

    python tests/mask_guards.py SPEC [SPEC ...]
"""

import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as mask_util

GIB = 2**30
SECONDS_EACH = 10
FUNCTIONS = ("frPyObjects", "decode", "merge", "area", "toBbox", "iou")


def install() -> None:
    """Puts a guard in front of every function of `pycocotools.mask` that reads masks."""
    for name in FUNCTIONS:
        setattr(mask_util, name, _guarded(name, getattr(mask_util, name)))


def _guarded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(objects: Any, *rest: Any, **keywords: Any) -> Any:
        if name == "frPyObjects":
            _check_object(objects, *rest[:2])
        else:
            for rle in _as_list(objects) + (_as_list(rest[0]) if name == "iou" else []):
                _check_rle(rle)
        return function(objects, *rest, **keywords)

    return call


def _as_list(objects: Any) -> list[Any]:
    return list(objects) if isinstance(objects, (list, tuple)) else [objects]


def _check_object(objects: Any, height: int, width: int) -> None:
    assert 0 < height < 2**16 and 0 < width < 2**16, (height, width)
    for one in _as_list(objects):
        if isinstance(one, dict):
            assert one["size"] == [height, width], one["size"]
            _check_runs(one["counts"], height, width)
        else:
            numbers = np.asarray(one, dtype=np.float64)
            assert numbers.ndim == 1 and np.isfinite(numbers).all(), one
            assert np.abs(numbers).max(initial=0) <= 10 * max(height, width), one


def _check_rle(rle: Any) -> None:
    if not isinstance(rle, dict):  # a box, for `iou`
        assert np.isfinite(np.asarray(rle, dtype=np.float64)).all(), rle
        return
    height, width = rle["size"]
    counts = rle["counts"].encode() if isinstance(rle["counts"], str) else rle["counts"]
    _check_runs(_runs(bytes(counts)), height, width)


def _check_runs(runs: list[int], height: int, width: int) -> None:
    assert all(type(run) is int and run >= 0 for run in runs), runs
    assert sum(runs) == height * width, (sum(runs), height, width)


def _runs(text: bytes) -> list[int]:
    """The run lengths of a compressed RLE, one character after the other."""
    runs: list[int] = []
    value = shift = 0
    for code in (byte - 48 for byte in text):
        assert 0 <= code < 64, text
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    assert not shift, text
    return runs


def main() -> None:
    """Checks every data set; prints the rules of what it finds, a line a set."""
    from project.data.problems import Problems
    from project.data.spec import read_spec
    from project.data.validate import check_dataset

    install()
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2 * GIB, used + 2 * GIB))
    for path in sys.argv[1:]:
        signal.alarm(SECONDS_EACH)  # ends the process, whatever it is doing
        problems: Problems = check_dataset(read_spec(path), progress=False).problems
        signal.alarm(0)
        print(*problems.counts())


if __name__ == "__main__":
    main()
