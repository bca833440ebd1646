"""`python3 tools/setup` brings .venv up to date; `PYTHON tools/setup --check` only looks at PYTHON.

This file alone must run in any Python 3, however old, to say what is wrong with it.
"""

import os
import shutil
import subprocess
import sys

OLDEST = (3, 10)
NEWEST_KNOWN = (3, 14)


def newer_python() -> "str | None":
    """The newest Python on the PATH that is new enough and can be run (a pyenv shim may not)."""
    for minor in range(NEWEST_KNOWN[1], OLDEST[1] - 1, -1):
        path = shutil.which(f"python3.{minor}")
        if path and subprocess.call([path, "-c", ""], stderr=subprocess.DEVNULL) == 0:
            return path
    return None


def require_python(checking: bool, version: "tuple[int, ...]" = sys.version_info[:3]) -> None:
    """Goes on in a newer Python, or ends the process, where this one is too old."""
    if version >= OLDEST:
        return
    found = None if checking else newer_python()
    if found:
        os.execv(found, [found, *sys.argv])
    sys.exit(
        "set-up failed: {} is Python {}, and MaskUNet needs Python 3.10 or newer. Install one, or"
        " name one that is already there: make setup BASE_PYTHON=/path/to/python3.12".format(
            sys.executable, ".".join(map(str, version))
        )
    )


if __name__ == "__main__":
    require_python(checking="--check" in sys.argv)
    from steps import main

    sys.exit(main(sys.argv[1:]))
