"""Which files a data set may lead to: those below the folders that its specification names.

Names in annotation files and symbolic links come with the data, not from the person who wrote the
specification; nothing is read where they lead elsewhere.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from project.data.faults import Fault, short
from project.data.problems import Problem
from project.data.spec import DatasetSpec

_MOST_LINKS = 3  # that a message names
_REPAIR = (
    "put the files into that folder, or, if they are to be read where they are, name their folder"
    " in the specification: `roots: [/folder]`"
)


def declared_roots(spec: DatasetSpec) -> list[Path]:
    """The real folders that a specification names, whatever links lead there: none in another."""
    named = [spec.root, *(spec.resolve(s, key) for s in spec.splits for key in spec.splits[s])]
    real = sorted({Path(os.path.realpath(path)) for path in (*named, *spec.roots)})
    return [p for p in real if not any(other in p.parents for other in real)]


def check_links(spec: DatasetSpec) -> None:
    """Looks for links that lead out, in the folders of all splits, before any file is read.

    Raises:
        DatasetError: there are some.
    """
    folders = {spec.resolve(s, key): None for s in spec.splits for key in spec.splits[s]}
    found = links_out(folders, declared_roots(spec))
    if found:
        raise Problem(
            *("file_outside", None, str(found[0]), None),
            found=f"it is a symbolic link to {os.path.realpath(found[0])}{_others(found[1:])}",
            expected=f"files below {spec.root} and the folders of the splits",
            repair=_REPAIR,
        ).error()


def _others(links: list[Path]) -> str:
    if not links:
        return ""
    names = ", ".join(str(link) for link in links[:_MOST_LINKS])
    return f", and {len(links)} more lead elsewhere, such as {names}"


def links_out(folders: Iterable[Path], roots: Iterable[Path]) -> list[Path]:
    """Symbolic links below folders, or behind such links, that lead out of the roots.

    Args:
        folders: to search; what is not there is passed over.
        roots: real paths.
    """
    inside = tuple(roots)
    found = []
    for folder in folders:
        for link in _links_below(str(folder), set()):
            real = Path(os.path.realpath(link))
            if not any(real.is_relative_to(root) for root in inside):
                found.append(Path(link))
    return found


def _links_below(folder: str, seen: set[str]) -> Iterator[str]:
    """Links below a folder, and below the folders that they lead to, each folder once."""
    real = os.path.realpath(folder)
    if real in seen or not os.path.isdir(folder):
        return
    seen.add(real)
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink():
                yield entry.path
            if entry.is_dir():
                yield from _links_below(entry.path, seen)


class NamedFiles:
    """Images that annotation files name."""

    def __init__(self, spec: DatasetSpec, folder: Path, within: Path | None = None) -> None:
        """Takes a specification.

        Args:
            spec: its `roots:` may be led to, too.
            folder: that names start at.
            within: that they must stay in; `folder` where it is None.
        """
        self._folder = folder
        self._within = within or folder
        self._roots = [os.path.abspath(path) for path in (self._within, *spec.roots)]
        # Links in them have been looked at already.
        paths = (spec.resolve(s, key) for s in spec.splits for key in spec.splits[s])
        self._looked_at = list({os.path.abspath(path) for path in paths})
        self._real = declared_roots(spec)

    def path(self, name: str, *, below: str | Path = "") -> Path:
        """Where the file of a name is; it need not exist.

        Args:
            name: as a file has it.
            below: folder within the folder of the images.

        Raises:
            Fault: it leads elsewhere.
        """
        path = self._folder / below / name
        if not self.holds(name, below=below):
            raise Fault(
                "file_outside",
                f"the file name {short(name)} leads to {_real(path)}",
                f"a path below {self._within}",
                _REPAIR,
            )
        return path

    def holds(self, name: str, *, below: str | Path = "") -> bool:
        """Whether `path` has a path for a name."""
        lexical = os.path.abspath(self._folder / below / name)
        return "\0" not in name and _is_below(lexical, self._roots) and self._stays(lexical)

    def _stays(self, lexical: str) -> bool:
        if _is_below(lexical, self._looked_at):
            return True
        real = Path(os.path.realpath(lexical))
        return any(real.is_relative_to(root) for root in self._real)


def _real(path: Path) -> str:
    return "no file" if "\0" in str(path) else os.path.realpath(path)


def _is_below(path: str, folders: Iterable[str]) -> bool:
    return any(path.startswith(folder.rstrip(os.sep) + os.sep) for folder in folders)
