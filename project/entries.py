"""Lists of {name: NAME, ARGUMENT: VALUE, ...} in a config, read and checked.

A reader takes one value or says what it wants.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any

from project.errors import ConfigError, nearest

Reader = Callable[[Any], Any]  # raises ValueError, whose text says what is expected

REQUIRED = object()


@dataclass(frozen=True)
class Argument:
    """One argument.

    Attributes:
        read: from the value in the config to that for the factory.
        default: where the config says nothing; `REQUIRED` where it must.
    """

    read: Reader
    default: Any = REQUIRED


@dataclass(frozen=True)
class Entry:
    """One entry of a list, with every argument."""

    name: str
    arguments: dict[str, Any]


def read_entries(
    key: str, entries: Sequence[Any], known: Mapping[str, Mapping[str, Argument]], what: str
) -> list[Entry]:
    """The entries of a list, in their order.

    Args:
        key: of the config, for errors.
        entries: what it holds.
        known: name -> its arguments by name.
        what: a name stands for, for errors.

    Raises:
        ConfigError: an entry of another form, an unknown name or argument, or a value that is not
            among those it may have.
    """
    return [_entry(f"{key}[{i}]", entry, known, what) for i, entry in enumerate(entries)]


def _entry(where: str, entry: Any, known: Mapping[str, Mapping[str, Argument]], what: str) -> Entry:
    if not isinstance(entry, dict) or "name" not in entry:
        raise ConfigError(
            f"{where}: expected {{name: NAME, ARGUMENT: VALUE, ...}}, found {entry!r}"
        )
    name = entry["name"]
    if name not in known:
        raise ConfigError(f"{where}: there is no {what} {name!r}.{nearest(str(name), known)}")
    arguments = known[name]
    given = {key: value for key, value in entry.items() if key != "name"}
    for key in given:
        if key not in arguments:
            hint = nearest(str(key), arguments)
            raise ConfigError(f"{where}: {name} has no argument {key!r}.{hint}")
    return Entry(
        name, {key: _value(f"{where}: {name}", key, arguments[key], given) for key in arguments}
    )


def _value(where: str, key: str, argument: Argument, given: Mapping[Any, Any]) -> Any:
    if key not in given:
        if argument.default is REQUIRED:
            raise ConfigError(f"{where} needs the argument {key!r}")
        return argument.default
    try:
        return argument.read(given[key])
    except ValueError as error:
        raise ConfigError(f"{where}: {key}: expected {error}, found {given[key]!r}") from error


def number(low: float, high: float = inf) -> Reader:
    """A number within limits."""

    def read(value: Any) -> float:
        if not _is_number(value) or not low <= value <= high:
            raise ValueError(f"a number {_within(low, high)}")
        return float(value)

    return read


def interval(low: float, high: float = inf) -> Reader:
    """Two numbers within limits, [smallest, largest]."""

    def read(value: Any) -> tuple[float, float]:
        if not _is_pair(value, _is_number) or not low <= value[0] <= value[1] <= high:
            raise ValueError(f"[smallest, largest], two numbers {_within(low, high)}")
        return float(value[0]), float(value[1])

    return read


def whole(low: int, high: float = inf) -> Reader:
    """A whole number within limits."""

    def read(value: Any) -> int:
        if not _is_whole(value) or not low <= value <= high:
            raise ValueError(f"a whole number {_within(low, high)}")
        return value

    return read


def size(value: Any) -> tuple[int, int]:
    """[height, width] in pixels."""
    if not _is_pair(value, _is_whole) or min(value) < 1:
        raise ValueError("[height, width], two whole numbers from 1 on")
    return value[0], value[1]


def sizes(value: Any) -> tuple[int, ...]:
    """Some whole numbers of pixels."""
    if not _is_list(value) or not value or not all(_is_whole(v) and v > 0 for v in value):
        raise ValueError("a list of whole numbers from 1 on")
    return tuple(value)


def one_of(*known: str) -> Reader:
    """A name out of some."""

    def read(value: Any) -> str:
        if value not in known:
            raise ValueError(" or ".join(known))
        return value

    return read


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _is_pair(value: Any, test: Callable[[Any], bool]) -> bool:
    return _is_list(value) and len(value) == 2 and all(map(test, value))


def _within(low: float, high: float) -> str:
    return f"from {low:g} on" if high == inf else f"from {low:g} to {high:g}"
