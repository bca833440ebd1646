"""The one way to the network: shut, unless a tool was given `--allow-download`.

What is fetched comes by https alone, is kept under a name that holds its host, and has its digest
beside it, which is compared each time it is used. docs/security.md says what is promised.
"""

import hashlib
import os
import re
import shutil
import socket
import sys
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from project.digests import sha256
from project.errors import NetworkError

FLAG = "--allow-download"
_SHUT = f"nothing is fetched without {FLAG}"
_CLOSED_EVENTS = (
    *("socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo"),
    *("socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"),
)
_TIMEOUT_S = 60
_HUB_OFFLINE, _BY_US = "HF_HUB_OFFLINE", "YES"
_HUB_FILES = ("*.json", "*.txt", "*.safetensors")


@dataclass
class _State:
    """Of this process; see `set_downloads`."""

    allowed: bool | None = None
    guarded: bool = False


_state = _State()


def set_downloads(allowed: bool | None) -> None:
    """Opens or shuts the network for this process; every tool, and each of its ranks, calls this.

    Shut, no Python code of any library opens a connection or asks for the address of a host. Ranks
    find each other without: their connections are torch's own.

    Args:
        allowed: whether `--allow-download` was given; None leaves other code alone, as in a
            program that uses the package as a library, and still fetches nothing.
    """
    _state.allowed = allowed
    if allowed is False:
        _add_guard()
    # Read when the library of the hub is imported; what a user has set stays.
    if allowed is False and _HUB_OFFLINE not in os.environ:
        os.environ[_HUB_OFFLINE] = _BY_US
    elif allowed is not False and os.environ.get(_HUB_OFFLINE) == _BY_US:
        del os.environ[_HUB_OFFLINE]


def downloads_allowed() -> bool:
    """Whether files may be fetched."""
    return _state.allowed is True


def _add_guard() -> None:
    if not _state.guarded:  # it cannot be taken away again
        _state.guarded = True
        sys.addaudithook(_guard)


def _guard(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in _CLOSED_EVENTS or _state.allowed is not False:
        return
    first = arguments[0] if arguments else None
    local = getattr(socket, "AF_UNIX", None)  # processes of one machine, which has no network
    if isinstance(first, socket.socket) and first.family == local:
        return
    where = arguments[1] if isinstance(first, socket.socket) else first
    raise NetworkError(f"{event} to {where}: {_SHUT}")


def fetch(url: str) -> Path:
    """The file at an address: from the cache, or fetched where that is allowed.

    Args:
        url: https://HOST/PATH.

    Returns:
        Its local path; `<path>.sha256` beside it holds its digest, as `sha256sum --check` reads it.

    Raises:
        NetworkError: another kind of address, nothing in the cache and nothing may be fetched, the
            file cannot be fetched, or it is no longer what was fetched.
    """
    check_address(url)
    path = cached_path(url)
    digests = path.with_name(f"{path.name}.sha256")
    if path.is_file() and digests.is_file():
        _compare(path, digests, url)
        return path
    if not downloads_allowed():
        raise NetworkError(
            f"{url}: it was not fetched before, and {_SHUT}; give that flag once, or download the"
            " file elsewhere and name its path instead"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        _download(url, partial)
        digests.write_text(f"{sha256(partial)}  {path.name}\n", encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def check_address(url: str) -> None:
    """Passes for https://HOST/PATH.

    Raises:
        NetworkError: it is another kind of address.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or not Path(unquote(parts.path)).name:
        raise NetworkError(
            f"{url}: only files at https://HOST/PATH are fetched, since others may be exchanged on"
            " their way; download it elsewhere, compare its digest, and name its path instead"
        )


def cached_path(url: str) -> Path:
    """Where the file of an address is kept; different addresses never share a path."""
    parts = urlsplit(url)
    host, name = (_plain(text) for text in (parts.hostname or "", Path(unquote(parts.path)).name))
    key = hashlib.sha256(url.encode()).hexdigest()[:16]
    return _cache() / "downloads" / host / key / name


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "maskunet"


def _plain(text: str) -> str:
    """A text as the name of one file or folder, which leads nowhere else."""
    return re.sub(r"[^\w.-]", "_", text)[-100:].lstrip(".") or "_"


def _compare(path: Path, digests: Path, source: str) -> None:
    known = digests.read_text(encoding="utf-8").split()[:1]
    if [sha256(path)] != known:
        raise NetworkError(
            f"{path}: its content is not what {digests.name} beside it says, so it was changed or"
            f" damaged since it was fetched from {source}; remove both, and fetch it anew with"
            f" {FLAG}"
        )


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    """An answer may send elsewhere, but not to where files can be exchanged on their way."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        check_address(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(url: str) -> Any:
    return urllib.request.build_opener(_HttpsOnly).open(url, timeout=_TIMEOUT_S)


def _download(url: str, path: Path) -> None:
    try:
        with _open(url) as answer, open(path, "wb") as file:
            shutil.copyfileobj(answer, file, 1 << 20)
            expected = answer.headers.get("Content-Length")
    except NetworkError:
        raise
    except OSError as error:
        raise NetworkError(
            f"{url}: could not be fetched ({error}); without internet, download it elsewhere and"
            " name its path instead"
        ) from error
    found = path.stat().st_size
    if not found or (expected and int(expected) != found):
        raise NetworkError(
            f"{url}: {found} of {expected or 'unknown many'} bytes came; fetch it anew"
        )


def hub_folder(name: str, patterns: Sequence[str] = _HUB_FILES) -> Path:
    """The folder of a model of the Hugging Face hub: in its cache, or fetched where allowed.

    Args:
        name: OWNER/MODEL, with @REVISION if it is not the newest; a local folder is taken as it is.
        patterns: of the files that are needed; none of them is a pickle.

    Raises:
        NetworkError: there is no such model, it is not in the cache and nothing may be fetched, or
            a file of it is no longer what it was.
    """
    if Path(name).is_dir():
        return Path(name)
    import huggingface_hub

    repository, _, revision = name.partition("@")
    if downloads_allowed():
        check_address(f"{huggingface_hub.constants.ENDPOINT}/{repository}")
    try:
        folder = Path(
            huggingface_hub.snapshot_download(
                repository,
                revision=revision or None,
                allow_patterns=list(patterns),
                local_files_only=not downloads_allowed(),
            )
        )
    except (OSError, ValueError) as error:
        first = str(error).strip().split("\n")[0]
        why = first if downloads_allowed() else f"it was not fetched before, and {_SHUT}"
        raise NetworkError(
            f"{name}: no such folder, nor could it be fetched from the hub ({why}); give {FLAG}"
            " where there is internet, or download it elsewhere and name its folder"
        ) from error
    _compare_folder(folder, name)
    return folder


def _compare_folder(folder: Path, name: str) -> None:
    """Keeps the digest of each file when it is first seen, and compares it from then on."""
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        key = _plain(f"{name}@{folder.name}@{path.relative_to(folder).as_posix()}")
        digests = _cache() / "hub" / f"{key}.sha256"
        if digests.is_file():
            _compare(path, digests, name)
            continue
        digests.parent.mkdir(parents=True, exist_ok=True)
        digests.write_text(f"{sha256(path)}  {path}\n", encoding="utf-8")
