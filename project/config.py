"""The safe way to read config files; project/keys has the keys."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import detectron2
from detectron2.config import CfgNode, get_cfg

from project.errors import ConfigError, nearest
from project.keys import add_project_config
from project.safe_yaml import parse_yaml, read_yaml

BASE_KEY = "_BASE_"
# Further folders that `_BASE_` may lead into, as in PATH: for a team's shared configs.
ROOTS_VARIABLE = "MASKUNET_CONFIG_ROOTS"
# This repository, and the configs that come with Detectron2.
_SHIPPED = (
    Path(__file__).resolve().parents[1],
    Path(detectron2.__file__).resolve().parent / "model_zoo" / "configs",
)
_LONGEST_CHAIN, _MOST_FILES = 50, 500
_WHOLE = re.compile(r"\s*[+-]?\d+\s*$")  # as a command line has it


def get_project_config() -> CfgNode:
    """A fresh config with Detectron2's and this project's keys."""
    cfg = get_cfg()
    add_project_config(cfg)
    return cfg


def load_config(path: str | Path | None = None, overrides: list[str] | None = None) -> CfgNode:
    """Reads a config file, with the files it is based on, and applies KEY VALUE pairs.

    No YAML tag runs code, nothing is fetched from a network, and `_BASE_` reads no file outside of
    `config_roots`.

    Raises:
        ConfigError: unreadable or unsafe YAML, duplicate or unknown keys, a value of another type,
            a circle of `_BASE_`, or one that leads elsewhere.
    """
    cfg = get_project_config()
    if path:
        merge_config_file(cfg, path)
    if overrides:
        merge_overrides(cfg, overrides)
    return cfg


def config_of(values: dict[str, Any], where: str) -> CfgNode:
    """A config of values that were read elsewhere; `_BASE_` is no key of theirs.

    Args:
        values: as a config file holds them; changed.
        where: they come from, for errors.

    Raises:
        ConfigError: an unknown key, or a value of another type.
    """
    cfg = get_project_config()
    _merge_values(cfg, values, where)
    return cfg


def merge_config_file(cfg: CfgNode, path: str | Path) -> None:
    """Merges a config file and its `_BASE_` files into `cfg`, in place; see `load_config`."""
    values = _BaseReader(config_roots(Path(path))).read(Path(path))
    _merge_values(cfg, values, str(path))


def _merge_values(cfg: CfgNode, values: dict[str, Any], where: str) -> None:
    _check_keys(values, cfg, where)
    try:
        cfg.merge_from_other_cfg(CfgNode(values))
    except (ValueError, KeyError, AssertionError) as error:
        raise ConfigError(f"{where}: {_text(error)}") from error


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
    return [*_SHIPPED, *sorted(own), *(Path(folder).resolve() for folder in named if folder)]


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


def _check_keys(values: dict[str, Any], cfg: CfgNode, where: str, prefix: str = "") -> None:
    """Refuses unknown keys, and gives values in `values` the type that is meant."""
    for key, value in values.items():
        full = f"{prefix}{key}"
        if key not in cfg and cfg.is_new_allowed():
            continue  # its reader knows its keys
        if key not in cfg:
            raise ConfigError(f"{where}: there is no config key {full}.{_nearest_key(full, cfg)}")
        known = cfg[key]
        if isinstance(known, CfgNode) != isinstance(value, dict):
            expected = "a group of keys" if isinstance(known, CfgNode) else "one value"
            raise ConfigError(f"{where}: {full} is {expected}, found {value!r}")
        if isinstance(known, CfgNode):
            _check_keys(value, known, where, f"{full}.")
        else:
            values[key] = _as_meant(value, known)


def _as_meant(value: Any, known: Any) -> Any:
    """A single name for a list stands for a list of one, and a whole number for a float."""
    if isinstance(known, (list, tuple)):
        if isinstance(value, str) and value.lstrip().startswith("[") and "{" in value:
            return parse_yaml(value)  # a list of groups, from a command line
        is_name = isinstance(value, str) and value.strip()[:1] not in ("(", "[", "")
        return [value] if is_name else value
    if isinstance(known, float) and not isinstance(value, bool):
        is_whole = isinstance(value, int) or (isinstance(value, str) and _WHOLE.match(value))
        return float(value) if is_whole else value
    return value


def _nearest_key(full: str, cfg: CfgNode) -> str:
    """Nearest keys of the same group, or, where none is near, of the whole config."""
    *groups, name = str(full).split(".")
    here = nearest(name, cfg)
    if here.startswith(" Did"):
        prefix = "".join(f"{g}." for g in groups)
        close = here.removeprefix(" Did you mean ").removesuffix("?").split(", ")
        return f" Did you mean {', '.join(prefix + c for c in close)}?"
    paths = list(_key_paths(get_project_config()))
    same_name = [p for p in paths if p.rsplit(".", 1)[-1] == name]
    if same_name:
        return f" Did you mean {', '.join(same_name[:3])}?"
    return nearest(full, paths) if nearest(full, paths).startswith(" Did") else here


def _key_paths(cfg: CfgNode, prefix: str = "") -> Iterator[str]:
    for key, value in cfg.items():
        yield f"{prefix}{key}"
        if isinstance(value, CfgNode):
            yield from _key_paths(value, f"{prefix}{key}.")


def merge_overrides(cfg: CfgNode, overrides: list[str]) -> None:
    """Applies `KEY VALUE KEY VALUE ...` from a command line, in place; see `load_config`."""
    for word in overrides[0::2]:
        if word.startswith("-"):
            raise ConfigError(f"command line: {word} is no config key; flags stand before all keys")
        if "=" in word:
            raise ConfigError(f"command line: {word}: write KEY VALUE, with a space between them")
    if len(overrides) % 2:
        raise ConfigError(f"command line: the key {overrides[-1]} has no value")
    for full, value in zip(overrides[0::2], overrides[1::2]):
        node: Any = cfg
        *groups, name = full.split(".")
        is_open = False  # takes keys that are not there; its reader knows them
        for group in groups:
            node = node.get(group) if isinstance(node, CfgNode) else None
            is_open |= isinstance(node, CfgNode) and node.is_new_allowed()
        if is_open and isinstance(node, CfgNode) and name not in node:
            read = _parse_word(full, value)
            node[name] = CfgNode(read) if isinstance(read, dict) else read
            continue
        if not isinstance(node, CfgNode) or name not in node:
            within = node if isinstance(node, CfgNode) else cfg
            raise ConfigError(
                f"command line: there is no config key {full}.{_nearest_key(full, within)}"
            )
        try:
            cfg.merge_from_list([full, _as_meant(value, node[name])])
        except ConfigError as error:
            raise ConfigError(f"command line: {full}: {error}") from error
        except (ValueError, AssertionError) as error:
            raise ConfigError(f"command line: {full}: {_text(error)}") from error


def _parse_word(full: str, value: str) -> Any:
    try:
        return parse_yaml(value)
    except ConfigError as error:
        raise ConfigError(f"command line: {full}: {error}") from error


def _text(error: Exception) -> str:
    return " ".join(str(error.args[0] if error.args else error).split())
