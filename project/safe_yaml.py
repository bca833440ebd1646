"""Reads YAML that people write: no tag runs code, and no key stands twice."""

import re
from pathlib import Path
from typing import Any

import yaml

from project.errors import ConfigError, nearest

# YAML takes it for a comment, up to the end of the line.
_BARE_COLOUR = re.compile(r"(?:[:,]\s+|\[\s*)#[0-9A-Fa-f]{6}\b")


# Values that are not what their tag says, such as `!!timestamp x`, fail in many ways.
_NOT_YAML = (yaml.YAMLError, RecursionError, ValueError, TypeError, AttributeError, LookupError)
# Nodes of a file with its aliases written out; a data set of 100,000 classes has fewer.
_MOST_NODES = 1_000_000


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML without tags that run code, and with an error where a key stands twice.

    And where aliases of aliases of aliases stand for more than a machine can hold.
    """

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None:
            _check_expanded(node)
        return node


def _check_expanded(top: yaml.Node) -> None:
    """Raises where a document is too large with its aliases written out, or holds itself."""
    sizes: dict[int, int] = {}

    def size(node: yaml.Node) -> int:
        if isinstance(node, yaml.ScalarNode):
            return 1
        if sizes.setdefault(id(node), 0) == 0:
            if id(node) in within:
                raise ConfigError(f"line {node.start_mark.line + 1}: an alias stands for itself")
            within.add(id(node))
            parts = (part for pair in node.value for part in pair)
            children = parts if isinstance(node, yaml.MappingNode) else node.value
            sizes[id(node)] = 1 + sum(map(size, children))
            within.remove(id(node))
        return sizes[id(node)]

    within: set[int] = set()
    if size(top) > _MOST_NODES:
        raise ConfigError(
            f"with its aliases written out it holds {size(top):.2g} values; expected at most"
            f" {_MOST_NODES:,}"
        )


def _construct_unique(loader: _UniqueKeyLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: dict[Any, int] = {}
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":
            continue
        key = loader.construct_object(key_node, deep=True)
        line = key_node.start_mark.line + 1
        if not isinstance(key, (str, int, float)):
            raise ConfigError(f"line {line}: a key must be a plain word or number, found {key!r}")
        if key in seen:
            raise ConfigError(
                f"the key '{key}' stands twice, at lines {seen[key]} and {line};"
                " merge the two, since only the last would count"
            )
        seen[key] = line
    loader.flatten_mapping(node)
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


_UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _construct_unique)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Reads a YAML mapping; used for configs and for data set specifications.

    Raises:
        ConfigError: the file is missing, no text, not YAML, no mapping, or holds a tag or a key
            twice.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        known = [p.name for p in path.parent.glob("*.yaml")] if path.parent.is_dir() else []
        raise ConfigError(f"{path}: no such file.{nearest(path.name, known)}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as text ({error})") from error
    try:
        values = parse_yaml(text)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected 'KEY: value' lines, found a {type(values).__name__}")
    return values


def parse_yaml(text: str) -> Any:
    """Reads YAML of any kind.

    Raises:
        ConfigError: it is not YAML, or holds a tag or a key twice.
    """
    try:
        # A subclass of SafeLoader: it refuses every tag that would construct a Python object.
        return yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506
    except ConfigError:
        raise
    except _NOT_YAML as error:
        reason = f"not plain YAML ({' '.join(str(error).split())})"
        raise ConfigError(f"{reason}{_hint(error, text)}") from error


def _hint(error: Exception, text: str) -> str:
    """How to mend what is not YAML, where the reason is known."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return ""
    if "'\\t'" in str(error):
        return f"; line {mark.line + 1}: use spaces instead of the tab"
    for number, line in enumerate(text.splitlines()[: mark.line + 1], start=1):
        if _BARE_COLOUR.search(line):
            return (
                f"; line {number}: a colour needs quotes, such as '#FF0000', or YAML takes it for"
                " a comment"
            )
    return ""
