"""All comparisons that have a goal, each in a process of its own, as one table."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_TOOL = Path(__file__).resolve().parents[2] / "tools" / "benchmark.py"
_HEADER = ("work", "against", "theirs", "ours", "times faster", "quartiles", "goal")
_NUM_WORDS = 2  # columns at the left that hold words


@dataclass
class Performance:
    """What the subcommands found.

    Attributes:
        machine: see `project.benchmark.timing.machine`; empty if nothing ran.
        comparisons: by name, the fields of `project.benchmark.timing.Comparison`.
        failed: subcommands that ended with an error.
    """

    machine: dict[str, Any] = field(default_factory=dict)
    comparisons: dict[str, dict[str, Any]] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Whether everything ran and reached its goal."""
        reached = [found["ratio"] >= found["goal"] for found in self.comparisons.values()]
        return not self.failed and all(reached)

    def markdown(self) -> str:
        """The table, and the machine; `*` marks what missed its goal."""
        rule = ["---"] * _NUM_WORDS + ["---:"] * (len(_HEADER) - _NUM_WORDS)
        lines = [_line(_HEADER), _line(rule)]
        lines += [_line(_cells(name, found)) for name, found in self.comparisons.items()]
        if self.machine:
            words = "torch {torch}, {cpu}, {threads} of {cores} threads".format(**self.machine)
            lines += ["", f"Measured with {words}. \\*: below its goal."]
        lines += [f"{name}: failed" for name in self.failed]
        return "\n".join(lines) + "\n"

    def write_json(self, path: Path) -> None:
        """Writes {"machine": {...}, "comparisons": {name: {"ratio": ..., ...}}, "failed": []}."""
        content = {
            "machine": self.machine,
            "comparisons": self.comparisons,
            "failed": self.failed,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def run_all(names: Sequence[str], options: Sequence[str]) -> Performance:
    """Runs subcommands of the tool one after the other, with what they print.

    Args:
        names: of the subcommands.
        options: for each of them.
    """
    result = Performance()
    with tempfile.TemporaryDirectory() as folder:
        for number, name in enumerate(names, 1):
            print(f"[{number}/{len(names)}] {name}", flush=True)
            path = Path(folder) / f"{name}.json"
            command = [sys.executable, str(_TOOL), name, "--goals", "--json", str(path), *options]
            if subprocess.run(command).returncode or not path.is_file():
                result.failed.append(name)
                continue
            found = json.loads(path.read_text(encoding="utf-8"))
            result.machine = found["machine"]
            result.comparisons |= found["comparisons"]
    return result


def _cells(name: str, found: dict[str, Any]) -> list[str]:
    low, high = found["spread"]
    missed = "" if found["ratio"] >= found["goal"] else " *"
    return [
        name,
        found["against"],
        f"{found['baseline']:.1f} {found['unit']}",
        f"{found['candidate']:.1f} {found['unit']}",
        f"{found['ratio']:.2f}{missed}",
        f"{low:.2f} to {high:.2f}",
        f"{found['goal']:g}",
    ]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
