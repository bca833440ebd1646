"""The safe way to read config files; project/keys has the keys."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode, get_cfg

from project.config_files import check_overrides, read_config_values
from project.errors import ConfigError, nearest
from project.keys import add_project_config
from project.safe_yaml import parse_yaml

# What a value is that is no such literal, or one of thousands of nested signs.
_NO_VALUE = (ValueError, AssertionError, RecursionError, MemoryError)
# How yacs tells it: types, values and key.
_MISMATCH = re.compile(
    r"Type mismatch \(<class '(\w+)'> vs\. <class '(\w+)'>\)"
    r" with values \((.*) vs\. (.*)\) for config key: (\S+)"
)
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
    _merge_values(cfg, read_config_values(path), str(path))


def _merge_values(cfg: CfgNode, values: dict[str, Any], where: str) -> None:
    _check_keys(values, cfg, where)
    try:
        cfg.merge_from_other_cfg(CfgNode(values))
    except (*_NO_VALUE, KeyError) as error:
        raise ConfigError(f"{where}: {_text(error)}") from error


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
    check_overrides(overrides)
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
        except _NO_VALUE as error:
            said = _text(error).removeprefix(f"{full}: ")
            raise ConfigError(f"command line: {full}: {said}") from error


def _parse_word(full: str, value: str) -> Any:
    try:
        return parse_yaml(value)
    except ConfigError as error:
        raise ConfigError(f"command line: {full}: {error}") from error


def _text(error: Exception) -> str:
    said = " ".join(str(error.args[0] if error.args else error).split())
    said = _MISMATCH.sub(r"\5: expected \1 as \3, found \2 \4", said)
    return said or "a value in it is nested too deeply"
