"""A digest of what a data set teaches: of annotations the content, of images name and size."""

import hashlib
import json
import os
from collections.abc import Iterator
from typing import Any

from project.data.dataset import DatasetInfo
from project.data.register import dataset_info, dataset_records

# What a specification makes of its files; its name and where it lies change nothing.
_SETTINGS = ("format", "things", "stuff", "classes", "ignore", "instances", "exif")
_BLOCK = 1 << 20
_IMAGES = "images"  # the key of a split that names images and nothing else


def data_digest(name: str) -> str:
    """The sha256 of a registered split; the same wherever a copy of it lies.

    Images count by their paths from the root and their sizes in bytes: reading all would take as
    long as an epoch. Every other file that the keys of the split name counts by its content.

    Args:
        name: as registered, such as fruits_train.

    Raises:
        DatasetError: the name is unknown, or its files are wrong.
    """
    info = dataset_info(name)
    digest = hashlib.sha256()
    _add(digest, [getattr(info.spec, key) for key in _SETTINGS])
    images = {record["file_name"] for record in dataset_records(name)}
    for path in sorted(images):
        _add(digest, [_from_root(info, path), _size(path)])
    for path in _annotation_files(info, images):
        _add(digest, [_from_root(info, path), _content(path)])
    return digest.hexdigest()


def _add(digest: Any, values: list[Any]) -> None:
    digest.update(f"{json.dumps(values)}\n".encode())


def _from_root(info: DatasetInfo, path: str) -> str:
    rest = path.removeprefix(f"{info.spec.root}{os.sep}")
    # Nearly all paths begin with the root, and there may be a million of them.
    relative = os.path.relpath(path, info.spec.root) if rest == path else os.path.normpath(rest)
    return relative.replace(os.sep, "/")


def _size(path: str) -> int | None:
    """In bytes; None of an image that is not there, which its reader tells of."""
    try:
        return os.stat(path).st_size
    except OSError:
        return None


def _content(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _annotation_files(info: DatasetInfo, images: set[str]) -> Iterator[str]:
    """Files that the split's keys name, and those in the folders that they name; sorted."""
    for key in sorted(info.spec.splits[info.split]):
        path = str(info.spec.resolve(info.split, key))
        if os.path.isfile(path):
            yield path
        elif key != _IMAGES:
            for folder, folders, files in os.walk(path):
                folders.sort()
                paths = [os.path.join(folder, name) for name in sorted(files)]
                paths = [os.path.join(folder, name) for name in sorted(files)]
                yield from (path for path in paths if path not in images)
