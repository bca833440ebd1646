"""Inputs that were sound and are damaged at random, and how readers take them.

Damages are drawn from a seed: bytes are flipped, cut, doubled and exchanged, and parts of a tree of
JSON or YAML are exchanged for odd values, or for one another.
"""

import copy
import json
import random
import signal
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from project.errors import UserError

LIMIT_S = 5
ODD: list[Any] = [
    *(None, True, False, 0, -1, 1, 255, 2**31, 2**63, -(2**63), 10**30, 0.5, 1e308, -0.0),
    *(float("nan"), float("inf"), "", " ", "0", "nan", "../../x", "/etc/passwd", "\0", "\u20ac"),
    *("a" * 5000, [], {}, [[]], [{}], {"": None}, [0] * 500, {"a": {"a": {"a": {}}}}, "http://h/x"),
]
TOKENS = [
    *(b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\n", b"\t", b"{", b"}", b"[", b"]", b":", b"- ", b"#"),
    *(b"&a ", b"*a", b"!!python/name:os.system", b"!!binary x", b"<<: ", b"? ", b"|", b">", b"%"),
    *(b"---\n", b"...", b"'", b'"', b"\\u0000", b"\\ud800", b"1e999", b"-", b"NaN", b"Infinity"),
    *(b"_BASE_: ", b"!!set {a}", b"!!omap [a: 1]", b"!!timestamp x", b"2001-99-99", b"0x", b"~"),
    *(
        b"9" * 5000,
        b"(" * 500,
        b"[" * 3000,
        b"{a: " * 300,
        b"\xed\xa0\x80",
        b"\r",
        b"\x85",
        b"\x7f",
    ),
]


def damaged_bytes(draw: random.Random, seed: bytes, other: bytes) -> bytes:
    """A seed with one to four damages; some of them splice in a part of another seed."""
    data = bytearray(seed)
    for _ in range(draw.randint(1, 4)):
        kind, at = draw.randrange(7), draw.randint(0, len(data))
        end = min(at + draw.randint(1, 1 + len(data) // 4), len(data))
        if kind == 0 and data:
            data[min(at, len(data) - 1)] ^= 1 << draw.randrange(8)
        elif kind == 1:
            del data[at:]
        elif kind == 2:
            del data[at:end]
        elif kind == 3:
            data[at:at] = data[at:end]
        elif kind == 4:
            data[at:at] = draw.choice(TOKENS)
        elif kind == 5:
            start = draw.randint(0, len(other))
            data[at:end] = other[start : start + draw.randint(0, 40)]
        else:
            data[at:end] = draw.randbytes(end - at)
    return bytes(data)


def damaged_tree(draw: random.Random, tree: Any) -> Any:
    """A copy of a tree with one to three parts gone, odd, doubled, or in the place of others."""
    tree = copy.deepcopy(tree)
    for _ in range(draw.randint(1, 3)):
        places = list(_places(tree))
        if not places:
            break
        container, key = draw.choice(places)
        kind = draw.randrange(4)
        if kind == 0:
            del container[key]
        elif kind == 1:
            container[key] = copy.deepcopy(draw.choice(ODD))
        elif kind == 2:
            other, at = draw.choice(places)
            container[key] = copy.deepcopy(other[at]) if at in _keys(other) else None
        elif isinstance(container, list):
            container.append(copy.deepcopy(container[key]))
        else:
            container[str(draw.choice(ODD))[:40]] = container[key]
    return tree


def _keys(node: Any) -> Any:
    return node if isinstance(node, dict) else range(len(node))


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(node, (dict, list)):
        for key in list(_keys(node)):
            yield node, key
            yield from _places(node[key])


@dataclass(frozen=True)
class Target:
    """A reader, and what it reads when all is well.

    Attributes:
        name: of the reader.
        seeds: sound inputs.
        read: reads the file that holds an input; anything but a `UserError` is a crash.
        file: where each input is written.
        form: "json" or "yaml" where inputs are trees too; "" where they are bytes alone.
    """

    name: str
    seeds: list[bytes]
    read: Callable[[Path], Any]
    file: Path
    form: str = ""

    def inputs(self, seed: int, count: int) -> Iterator[bytes]:
        """Damaged inputs; the same for the same seed."""
        draw = random.Random(f"{self.name} {seed}")
        load, dump = _FORMS.get(self.form, (None, None))
        trees = [load(data) for data in self.seeds] if load else []
        for _ in range(count):
            if trees and draw.random() < 0.5:
                yield dump(damaged_tree(draw, draw.choice(trees)))
            else:
                yield damaged_bytes(draw, draw.choice(self.seeds), draw.choice(self.seeds))


def _to_yaml(tree: Any) -> bytes:
    return yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass")


_FORMS: dict[str, Any] = {
    "json": (json.loads, lambda tree: json.dumps(tree).encode()),
    "yaml": (yaml.safe_load, _to_yaml),
}


@dataclass
class Outcome:
    """What became of the inputs of a target.

    Attributes:
        read: taken as sound.
        refused: by a `UserError`.
        crashes: the input of each, and its traceback; the same place in the code counts once.
        counts: place in the code -> crashes there.
    """

    read: int = 0
    refused: int = 0
    crashes: list[tuple[bytes, str]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def text(self) -> str:
        return "\n".join(f"{data[:300]!r}\n{trace}" for data, trace in self.crashes[:5])


class Hang(BaseException):
    """An input that took too long; no reader catches it."""


@contextmanager
def _in_time() -> Iterator[None]:
    def stop(number: int, frame: Any) -> None:
        raise Hang(f"longer than {LIMIT_S} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LIMIT_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def run_target(target: Target, seed: int, count: int) -> Outcome:
    """Gives every input to the reader."""
    outcome = Outcome()
    for data in target.inputs(seed, count):
        target.file.write_bytes(data)
        try:
            with _in_time():
                target.read(target.file)
            outcome.read += 1
        except UserError:
            outcome.refused += 1
        except (Exception, Hang) as error:
            frames = traceback.extract_tb(error.__traceback__)
            place = f"{type(error).__name__} {frames[-1].filename}:{frames[-1].lineno}"
            if place not in outcome.counts:
                outcome.crashes.append((data, traceback.format_exc(limit=-8)))
            outcome.counts[place] += 1
    return outcome
