"""Checks that found no error, kept until a file of the data set, or this program, changes.

What is kept are findings as text, in a JSON file a check, in the user's folder for such things.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from project.data.problems import Problem, Problems
from project.data.spec import DatasetSpec

logger = logging.getLogger(__name__)

_PROGRAM = Path(__file__).resolve().parent
_VERSION = 1  # of the files below


class Kept(NamedTuple):
    """A check as it is kept.

    Attributes:
        problems: what it found: warnings.
        census: as it is printed.
    """

    problems: Problems
    census: str


def cache_file(spec: DatasetSpec, *options: str) -> Path:
    """Where the check of a data set is kept; other options, or another program, are others.

    Args:
        spec: of the data set.
        options: whatever else the result depends on.
    """
    key = hashlib.blake2b(repr((_VERSION, spec, options)).encode(), digest_size=16)
    for path in sorted(_PROGRAM.rglob("*.py")):
        key.update(path.read_bytes())
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "maskunet" / "checks" / f"{key.hexdigest()}.json"


def load(file: Path) -> Kept | None:
    """The kept check; None where there is none or a file of the data set has changed since."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if _state(content["files"]) != content["files"]:
            return None
        problems = Problems()
        problems.found = [Problem(**fields) for fields in content["problems"]]
        return Kept(problems, content["census"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        logger.warning("%s: the kept check cannot be read (%s), so all is checked", file, error)
        return None


def keep(file: Path, spec: DatasetSpec, images: Iterable[str], kept: Kept) -> None:
    """Keeps a check without errors.

    Args:
        file: see `cache_file`.
        spec: of the data set.
        images: paths of its images; they may lie outside of the folders of its specification.
        kept: the check.
    """
    assert not kept.problems.errors
    content = {
        "files": _state([*images, *_files(spec)]),
        "problems": [asdict(problem) for problem in kept.problems.found],
        "census": kept.census,
    }
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(content, allow_nan=False), encoding="utf-8")
        partial.replace(file)
    except OSError as error:
        logger.warning("%s: the check cannot be kept (%s); the next one starts anew", file, error)


def _state(paths: Iterable[str]) -> dict[str, Any]:
    """Path -> size and time of change, and the content of text; None where it does not exist.

    A folder's time changes when a file comes or goes.
    """
    return {path: _state_of(path) for path in dict.fromkeys(paths)}


def _state_of(path: str) -> list[Any] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    text = path.endswith((".json", ".txt", ".yaml", ".yml"))
    content = hashlib.blake2b(Path(path).read_bytes(), digest_size=16).hexdigest() if text else ""
    return [found.st_size, found.st_mtime_ns, content]


def _files(spec: DatasetSpec) -> Iterator[str]:
    """The files and folders of all splits, and the files beside them in the root."""
    for split, keys in spec.splits.items():
        for key in keys:
            path = str(spec.resolve(split, key))
            yield path
            for folder, folders, files in os.walk(path):
                yield from (os.path.join(folder, name) for name in (*folders, *files))
    if spec.root.is_dir():
        yield str(spec.root)
        yield from (entry.path for entry in os.scandir(spec.root) if entry.is_file())
