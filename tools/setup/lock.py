"""requirements.lock: the sha256 of every package that a set-up installs, for one kind of machine.

Versions follow from constraints.txt; other Pythons and systems take other archives of them, whose
hashes are others. So the pins are what every machine uses, and the hashes what `LOCKED=1` asks for.
"""

import json
import platform
import re
import sys
import tempfile
from pathlib import Path

from environment import Environment
from installer import SetupError, run_pip

LOCK = "requirements.lock"
TOOLS = ("pip", "setuptools")  # what builds those packages that exist as sources only
_FOR = "# For: "
_HEADER = """\
# The sha256 of everything that `make setup LOCKED=1` installs, Detectron2 apart
# (tools/setup/detectron2.txt). Written by `make lock` from setup.py and constraints.txt.
"""


def machine() -> str:
    """The kind of machine that hashes are for, as the lock names it."""
    python = ".".join(platform.python_version_tuple()[:2])
    return f"{platform.python_implementation()} {python}, {sys.platform} {platform.machine()}"


def write_lock(environment: Environment) -> Path:
    """Asks the package index what would be installed, and writes it down; installs nothing.

    Raises:
        SetupError: pip failed, or the index gives no sha256 of a package.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        run_pip(
            environment.python,
            [
                *("install", "--dry-run", "--ignore-installed", "--no-build-isolation"),
                *("--report", str(report), "--constraint", "constraints.txt", *TOOLS),
                *("--editable", ".[all]"),
            ],
            log=environment.log,
            cwd=environment.root,
        )
        content = json.loads(report.read_text(encoding="utf-8"))
    path = environment.root / LOCK
    path.write_text(lock_text(content), encoding="utf-8")
    return path


def lock_text(report: dict) -> str:
    """The lock of one of pip's installation reports.

    Raises:
        SetupError: a package has no sha256.
    """
    lines = []
    for item in report["install"]:
        if item.get("is_direct"):  # this checkout itself
            continue
        name = re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower()
        digest = item["download_info"].get("archive_info", {}).get("hashes", {}).get("sha256")
        if not digest:
            raise SetupError(f"the package index gives no sha256 of {name}; use another index")
        lines.append(f"{name}=={item['metadata']['version']} --hash=sha256:{digest}\n")
    return "".join([_HEADER, f"{_FOR}{machine()}\n", *sorted(lines)])


def check_machine(environment: Environment) -> None:
    """Passes where the hashes of the lock are for the environment's kind of machine.

    Raises:
        SetupError: they are for another one.
    """
    text = (environment.root / LOCK).read_text(encoding="utf-8")
    expected = next(line for line in text.splitlines() if line.startswith(_FOR))[len(_FOR) :]
    if machine() != expected:
        raise SetupError(
            f"{LOCK} has the hashes of packages for {expected}, and this is {machine()}. Leave"
            " LOCKED=1 out, which installs the same versions without asking for hashes; or name"
            " that Python: make setup LOCKED=1 BASE_PYTHON=/path/to/python; or write a lock for"
            " this machine: make lock"
        )


def tools_lock(environment: Environment) -> Path:
    """A file with the lines of `TOOLS` alone, which are installed first."""
    text = (environment.root / LOCK).read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.split("==")[0] in TOOLS]
    assert len(lines) == len(TOOLS), f"{LOCK} lacks one of {TOOLS}"
    path = environment.folder / "tools.lock"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
