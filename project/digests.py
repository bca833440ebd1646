"""Digests of files."""

import hashlib
from pathlib import Path

_BLOCK = 1 << 20


def sha256(path: str | Path) -> str:
    """The digest of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
