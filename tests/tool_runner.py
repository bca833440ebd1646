"""Loads the scripts of tools/ and datasets/ as modules, and runs them in a process of their own."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

REPOSITORY = Path(__file__).resolve().parents[1]
TINY = REPOSITORY / "tests" / "tiny.yaml"


def load_tool(path: str) -> ModuleType:
    """The script `path` (from the top of the repository) as a module; its `main` takes argv."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, REPOSITORY / path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_process(
    *words: str | Path, timeout: float = 300, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs Python with these words from the top of the repository; output as text."""
    return subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
