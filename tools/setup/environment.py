"""The project's own virtual environment: where it is, what is in it, and whether it is whole."""

import csv
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from installer import SetupError

INPUTS = ("constraints.txt", "requirements.lock", "setup.py", "tools/setup")
GIB = 2**30
# Measured with torch 2.14.1; on Linux it brings the GPU libraries.
ENVIRONMENT_GIB, DOWNLOADS_GIB = (6.4, 3.1) if sys.platform == "linux" else (2.0, 0.5)


@dataclass(frozen=True)
class Environment:
    """The environment `.venv` of the checkout at `root`.

    Attributes:
        root: of the checkout.
        locked: every package must have the sha256 of requirements.lock.
    """

    root: Path
    locked: bool = False

    @property
    def folder(self) -> Path:
        return self.root / ".venv"

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def log(self) -> Path:
        """Everything that pip printed in the last set-up."""
        return self.folder / "setup.log"

    @property
    def stamp(self) -> Path:
        """Marks the folder as made by us and, once it is complete, says from what."""
        return self.folder / "maskunet-setup.json"

    @property
    def version(self) -> str:
        """The environment's Python as `3.11.7`; "" where there is none."""
        try:
            settings = (self.folder / "pyvenv.cfg").read_text(encoding="utf-8")
        except OSError:
            return ""
        found = re.search(r"^version(?:_info)? *= *(\d+\.\d+\.\d+)", settings, re.MULTILINE)
        return found[1] if found else ""

    @property
    def packages(self) -> Path:
        """Its site-packages."""
        major_minor = ".".join(self.version.split(".")[:2])
        return self.folder / "lib" / f"python{major_minor}" / "site-packages"

    def distributions(self) -> set[str]:
        """Names of what is installed."""
        return {info.name.split("-")[0] for info in self.packages.glob("*.dist-info")}

    def own_detectron2(self) -> bool:
        """Whether a Detectron2 that the user installed is here: it is used as it is."""
        return any(self.packages.glob("detectron2[-.]*"))

    def is_usable(self) -> bool:
        """Whether its Python and its scripts run, which they do not after the folder was moved."""
        try:
            script = (self.folder / "bin" / "pip").read_text(encoding="utf-8")
        except OSError:
            return False
        check = "import pip, sys; sys.exit(sys.version_info < (3, 10))"
        return (
            str(self.folder) in script[:400]
            and self.python.exists()
            and subprocess.run([self.python, "-c", check], capture_output=True).returncode == 0
        )


def digest(environment: Environment) -> str:
    """Changes with every input of the set-up, with the environment's Python and its place."""
    sha = hashlib.sha256(f"{environment.folder}\n{environment.version}\n".encode())
    for name in INPUTS:
        path = environment.root / name
        for file in [path] if path.is_file() else sorted(path.glob("*.*")):
            sha.update(f"{file.name}\n{file.stat().st_size}\n".encode() + file.read_bytes())
    return sha.hexdigest()


def write_stamp(environment: Environment, *, complete: bool) -> None:
    """Marks the environment as ours, and as complete or not."""
    stamp = {
        "digest": digest(environment) if complete else None,
        "locked": environment.locked,
        "distributions": sorted(environment.distributions()),
    }
    environment.stamp.write_text(json.dumps(stamp, indent=1) + "\n", encoding="utf-8")


def is_current(environment: Environment) -> bool:
    """Whether a set-up from the present inputs was completed and nothing was removed since.

    Versions that the user changed by hand are left alone until an input changes.
    """
    try:
        stamp = json.loads(environment.stamp.read_text(encoding="utf-8"))
        return (
            stamp["digest"] == digest(environment)
            and (stamp["locked"] or not environment.locked)
            and environment.python.exists()
            and set(stamp["distributions"]) <= environment.distributions()
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def drop_damaged(environment: Environment) -> list[str]:
    """Forgets packages that are not whole (an interrupted installation), so that pip mends them."""
    for leftover in environment.packages.glob("~*"):  # pip's own name for what it was replacing
        remove(leftover)
    damaged = [info for info in environment.packages.glob("*.dist-info") if not is_whole(info)]
    for info in damaged:
        remove(info)
    return sorted(info.name.removesuffix(".dist-info") for info in damaged)


def is_whole(info: Path) -> bool:
    """Whether every file of an installed package is there in its recorded size."""
    try:
        with (info / "RECORD").open(encoding="utf-8", newline="") as record:
            return all(
                (info.parent / name).stat().st_size == int(size)
                for name, _, size in csv.reader(record)
                if size and not name.endswith(".pyc")  # pip compiles anew what a wheel brings
            )
    except (OSError, ValueError):
        return False


def remove(path: Path) -> None:
    """Removes a file or a folder; fine where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def check_space(environment: Environment) -> None:
    """Looks for room before gigabytes are fetched.

    Raises:
        SetupError: a disk is too small for what will be written to it.
    """
    if os.environ.get("MASKUNET_ANY_DISK"):
        return
    needs: dict[int, float] = defaultdict(float)
    places: dict[int, list[str]] = defaultdict(list)
    for place, what, gib in written_places(environment):
        existing = next(path for path in [place, *place.parents] if path.exists())
        device = existing.stat().st_dev
        needs[device] += gib
        places[device].append(f"{what} ({place}) {gib:.0f} GiB")
        free = shutil.disk_usage(existing).free / GIB
        if free < needs[device]:
            raise SetupError(
                f"not enough disk space: {free:.1f} GiB are free where these go:"
                f" {', '.join(places[device])}. Free some space, point TMPDIR or PIP_CACHE_DIR at"
                " another disk, or do without the cache (PIP_NO_CACHE_DIR=1); with a package index"
                " of smaller builds (torch for the CPU), MASKUNET_ANY_DISK=1 leaves this check out"
            )


def written_places(environment: Environment) -> list[tuple[Path, str, float]]:
    """Where a first set-up writes how many GiB."""
    places = [
        (environment.root, "the environment", ENVIRONMENT_GIB),
        (Path(tempfile.gettempdir()), "downloads", DOWNLOADS_GIB),
    ]
    if not os.environ.get("PIP_NO_CACHE_DIR"):
        cache = os.environ.get("PIP_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME") or Path.home()
        places.append((Path(cache), "pip's cache", DOWNLOADS_GIB))
    return places
