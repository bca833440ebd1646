"""Reads config files with what they are based on, as plain values; imports nothing heavy."""

import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from project.errors import ConfigError
from project.safe_yaml import read_yaml

BASE_KEY = "_BASE_"
# Further folders that `_BASE_` may lead into, as in PATH: for a team's shared configs.
ROOTS_VARIABLE = "MASKUNET_CONFIG_ROOTS"
_LONGEST_CHAIN, _MOST_FILES = 50, 500


def read_config_values(path: str | Path) -> dict[str, Any]:
    """The values of a config file over those of its `_BASE_` files.

    No YAML tag runs code, nothing is fetched from a network, and `_BASE_` reads no file outside of
    `config_roots`.

    Raises:
        ConfigError: unreadable or unsafe YAML, duplicate keys, a circle of `_BASE_`, or one that
            leads elsewhere.
    """
    return _BaseReader(config_roots(Path(path))).read(Path(path))


def check_overrides(overrides: Sequence[str]) -> None:
    """Checks that words of a command line are KEY VALUE KEY VALUE ...

    Raises:
        ConfigError: they are not.
    """
    for word in overrides[0::2]:
        if word.startswith("-"):
            raise ConfigError(
                f"command line: {word} is no config key; flags stand before all keys: write it"
                f" before {overrides[0]}"
            )
        if "=" in word:
            raise ConfigError(f"command line: {word}: write KEY VALUE, with a space between them")
    if len(overrides) % 2:
        raise ConfigError(f"command line: the key {overrides[-1]} has no value")


def config_roots(path: Path) -> list[Path]:
    """The folders, with all that is below them, that the bases of a config may lie in.

    They are the config's own folder, the working folder if the config lies below it, this
    repository, Detectron2's own configs, and those of the environment variable
    `MASKUNET_CONFIG_ROOTS`.
    """
    own = {path.absolute().parent.resolve(), path.resolve().parent}
    here = Path.cwd().resolve()
    if any(folder.is_relative_to(here) for folder in own):
        own.add(here)
    named = os.environ.get(ROOTS_VARIABLE, "").split(os.pathsep)
    return [*_shipped(), *sorted(own), *(Path(folder).resolve() for folder in named if folder)]


@dataclass
class _BaseReader:
    """Reads a config file and, before it, what it is based on.

    Attributes:
        roots: see `config_roots`.
        left: files that may still be read; bases of bases could be without number.
    """

    roots: list[Path]
    left: int = _MOST_FILES

    def read(self, path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
        resolved = path.resolve()
        if resolved in seen:
            circle = " -> ".join(str(p) for p in (*seen, resolved))
            raise ConfigError(f"{path}: {BASE_KEY} goes in a circle: {circle}")
        self.left -= 1
        if self.left < 0 or len(seen) > _LONGEST_CHAIN:
            raise ConfigError(
                f"{path}: it is based on more than {_MOST_FILES} files, or on a chain of more than"
                f" {_LONGEST_CHAIN}; copy what is needed into fewer"
            )
        values = read_yaml(path)
        bases = values.pop(BASE_KEY, [])
        merged: dict[str, Any] = {}
        for base in bases if isinstance(bases, list) else [bases]:
            _merge_dicts(self.read(self.base_path(path, base), (*seen, resolved)), merged)
        _merge_dicts(values, merged)
        return merged

    def base_path(self, path: Path, base: Any) -> Path:
        """The file that `_BASE_` of `path` names."""
        if not isinstance(base, str) or not base.isprintable() or "://" in base:
            raise ConfigError(f"{path}: {BASE_KEY} must name a local file, found {base!r}")
        found = path.parent / os.path.expanduser(base)
        try:
            resolved = found.resolve()
        except (OSError, RuntimeError) as error:  # a link that leads to itself
            raise ConfigError(f"{path}: {BASE_KEY} {base!r} leads nowhere ({error})") from error
        if not any(resolved.is_relative_to(root) for root in self.roots):
            raise ConfigError(
                f"{path}: {BASE_KEY} {base!r} is {resolved}, outside of the folders that a base may"
                f" lie in: {', '.join(map(str, self.roots))}; copy it there, or name its folder in"
                f" the environment variable {ROOTS_VARIABLE}"
            )
        return found


def _merge_dicts(source: dict[str, Any], target: dict[str, Any]) -> None:
    for key, value in source.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            _merge_dicts(value, target[key])
        else:
            target[key] = value


@cache
def _shipped() -> tuple[Path, ...]:
    """This repository, and the configs that come with Detectron2, which is found, not imported."""
    folders = [Path(__file__).resolve().parents[1]]
    found = importlib.util.find_spec("detectron2")
    if found and found.origin:
        folders.append(Path(found.origin).resolve().parent / "model_zoo" / "configs")
    return tuple(folders)
