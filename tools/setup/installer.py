"""pip, with its output in a log file and its failures put into one paragraph."""

import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

# Downloads smaller than this are over before anybody wonders.
SHOWN_MEGABYTES = 100


class SetupError(Exception):
    """A reason why the environment cannot be set up, as one paragraph for the user."""


CHECK = "Check the network, the proxy (HTTPS_PROXY) and `pip config list`"
NOT_FOUND = r"(?:The user requested \(constraint\)|No matching distribution found for) (\S+)"
# What pip prints -> what it means, most telling first. Groups of the pattern fill the text.
FAILURES = {
    r"DO NOT MATCH THE HASHES": (
        "a downloaded package is not the one whose sha256 is pinned in tools/setup/detectron2.txt"
        " or requirements.lock, and was not installed. Look at where packages come from:"
        " `pip config list`"
    ),
    r"No space left on device": (
        "the disk is full. Free some space, or point TMPDIR and PIP_CACHE_DIR at a larger disk"
    ),
    rf"(?s)connection broken by.*?{NOT_FOUND}": (
        f"a package index could not be reached, and {{0}} was not found. {CHECK}"
    ),
    NOT_FOUND: (
        f"no package index could be reached, or it lacks {{0}} for {{python}} on {{machine}}."
        f" {CHECK}, or try another Python: make setup BASE_PYTHON=/path/to/python3.12"
    ),
    r"connection broken by|ReadTimeoutError": f"the package index could not be reached. {CHECK}",
    r"ERROR: (.+?)\.?\n": "pip says: {0}",
}


def run_pip(python: Path, arguments: Sequence[str], *, log: Path, cwd: Path) -> None:
    """Runs pip; its output is appended to `log`, and large downloads are named as they begin.

    Raises:
        SetupError: pip failed.
    """
    command = [str(python), "-m", "pip", *arguments]
    command += ["--no-input", "--no-color", "--progress-bar=off", "--disable-pip-version-check"]
    # A `user = true` in somebody's pip configuration cannot be meant for a virtual environment.
    environment = {**os.environ, "PIP_USER": "0"}
    lines = [f"$ {' '.join(command)}\n"]
    with (
        log.open("a", encoding="utf-8") as file,
        subprocess.Popen(
            command,
            cwd=cwd,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
    ):
        assert process.stdout is not None
        file.write(lines[0])
        for line in process.stdout:
            lines.append(line)
            file.write(line)
            if note := worth_showing(line):
                print(f"      {note}", flush=True)
    if process.returncode:
        raise SetupError(f"{explain(''.join(lines))}. pip's whole output is in {log}")


def worth_showing(line: str) -> str | None:
    """The part of a line of pip's output that tells a waiting person what takes so long."""
    if found := re.match(r"\s*(?:Downloading|Using cached) (\S+) \(([\d.]+) ([MG])B\)", line):
        name, size, unit = found.groups()
        if unit == "G" or float(size) >= SHOWN_MEGABYTES:
            return f"{name.rsplit('/')[-1]} ({size} {unit}B)"
    if line.startswith("Installing collected packages:"):
        return f"installing {line.count(',') + 1} packages"
    return None


def explain(output: str) -> str:
    """The one sentence that pip's output of a failed run amounts to."""
    for pattern, meaning in FAILURES.items():
        if found := re.search(pattern, output):
            return meaning.format(
                *found.groups(),
                python=f"Python {platform.python_version()}",
                machine=f"{sys.platform} {platform.machine()}",
            )
    return "pip ended without saying why"
