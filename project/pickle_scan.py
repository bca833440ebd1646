"""What is looked for in a pickle before it is read: it may exhaust the machine without any code.

Legend: the stack, the marks on it and the memory are those of the pickle machine (PEP 3154), here
with the depth of nested tuples in the place of each value.
"""

import io
import pickle
import pickletools
import zipfile
from pathlib import Path
from typing import BinaryIO

from project.errors import WeightsError

_PUTS = ("PUT", "BINPUT", "LONG_BINPUT")
_GETS = ("GET", "BINGET", "LONG_BINGET")
_ADDING = ("APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD")  # to what lies below
_UNHASHABLE = ("LIST", "DICT", "EMPTY_LIST", "EMPTY_DICT")
_HASHED_WHOLE = ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "FROZENSET")
_DEEPEST = 16  # of what torch and the model zoo write, 4
_MARK = -1
_ZIP = b"PK\x03\x04"
_LEGACY_PICKLES = 5  # before the numbers, in files of torch before 1.6


def check_pickle(content: bytes | BinaryIO) -> None:
    """Reads the instructions of one pickle, and follows none.

    - A place in memory far behind all others: Python would make room for all before it.
    - A tuple of the same tuple twice, and so on: its hash takes twice as long with each level.

    Args:
        content: a pickle, or a file that stands before one; it stands behind it afterwards.

    Raises:
        pickle.UnpicklingError: it has one of these, or is damaged.
        ValueError: it is no pickle.
    """
    file = io.BytesIO(content) if isinstance(content, bytes) else content
    machine = _Machine()
    for opcode, argument, _ in pickletools.genops(file):
        try:
            machine.follow(opcode, argument)
        except IndexError:
            raise pickle.UnpicklingError(f"{opcode.name} without what it works on") from None


def check_torch_file(path: str | Path) -> None:
    """Checks what torch will read as weights: its pickles, and that nothing in it unfolds.

    Raises:
        WeightsError: a part of it is compressed, as torch writes none.
        pickle.UnpicklingError, ValueError, zipfile.BadZipFile: see `check_pickle`; it is damaged.
    """
    with open(path, "rb") as file:
        if file.read(len(_ZIP)) != _ZIP:  # as torch tells its two forms apart
            file.seek(0)
            for _ in range(_LEGACY_PICKLES):
                check_pickle(file)
            return
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.compress_type != zipfile.ZIP_STORED:
                raise WeightsError(
                    f"{path}: {entry.filename[:80]} in it is compressed, as torch writes no file;"
                    " save the weights anew with torch.save"
                )
            if entry.filename.endswith(".pkl"):
                check_pickle(archive.read(entry))


class _Machine:
    def __init__(self) -> None:
        self.stack: list[int] = []
        self.memory: dict[int, int] = {}
        self.steps = 0

    def follow(self, opcode: pickletools.OpcodeInfo, argument: object) -> None:
        """One instruction."""
        self.steps += 1
        name = opcode.name
        if name == "MARK":
            self.stack.append(_MARK)
        elif name in _PUTS or name == "MEMOIZE":
            self._put(len(self.memory) if name == "MEMOIZE" else int(str(argument)))
        elif name in _GETS:
            self.stack.append(self.memory.get(int(str(argument)), 0))
        elif name == "DUP":
            self.stack.append(self.stack[-1])
        else:
            taken = self._take(opcode.stack_before)
            if opcode.stack_after:
                self.stack.append(self._depth(name, taken))

    def _put(self, place: int) -> None:
        if place > 2 * self.steps + 256:
            raise pickle.UnpicklingError(f"it keeps something at place {place} of its memory")
        self.memory[place] = self.stack[-1]

    def _take(self, expected: list[pickletools.StackObject]) -> list[int]:
        """What an instruction takes from the stack, the lowest first."""
        taken: list[int] = []
        for kind in reversed(expected):
            if kind is pickletools.stackslice:
                while self.stack[-1] != _MARK:
                    taken.append(self.stack.pop())
            else:
                taken.append(self.stack.pop())
        return taken[::-1]

    @staticmethod
    def _depth(name: str, taken: list[int]) -> int:
        if name in _UNHASHABLE:
            return 0
        if name in _ADDING:
            return taken[0]
        depth = max((0, *taken)) + (name in _HASHED_WHOLE)
        if depth > _DEEPEST:
            raise pickle.UnpicklingError(f"it holds tuples within tuples, {depth} deep")
        return depth
