"""The rows of `project.benchmark.zoo` as Markdown and as json."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from project.benchmark.cost import COUNTED
from project.benchmark.timing import machine
from project.benchmark.zoo import SHOWN, Row

_HEADER = (
    *("system", "config", "task", "mIoU", "mask AP", "PQ", "parameters", "GFLOPs"),
    *("training", "CPU", "latency"),
)
_NUM_WORDS = 3  # columns at the left that hold words


def markdown(rows: Sequence[Row]) -> str:
    """The table, and what its columns mean."""
    lines = [_line(_HEADER), _line(["---"] * _NUM_WORDS + ["---:"] * (len(_HEADER) - _NUM_WORDS))]
    lines += [_line(_cells(row)) for row in rows]
    lines += ["", _legend()]
    lines += [f"\\* {row.config}: {', '.join(row.missed)}" for row in rows if row.missed]
    return "\n".join(lines) + "\n"


def write_json(path: Path, rows: Sequence[Row]) -> None:
    """Writes {"machine": {...}, "rows": [{...}]}."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"machine": machine(), "rows": [asdict(row) for row in rows]}
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _cells(row: Row) -> list[str]:
    name = f"`{row.config.removeprefix('configs/')}`"
    if row.error:
        return [row.system, name, f"failed: {row.error.replace('|', '/')}", *[""] * 8]
    scores: dict[str, Any] = row.scores or {}
    below = {words.split()[0] for words in row.missed}
    return [
        *(row.system, name, row.task),
        *(f"{scores[m]:.1f}{' *' * (m in below)}" if m in scores else "" for m in SHOWN),
        f"{row.parameters / 1e6:.2f} M",
        f"{row.gflops:.3f}",
        f"{row.train_seconds:.0f} s",
        f"{row.cpu_seconds:.0f} s",
        f"{row.latency_ms:.1f} ms",
    ]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _legend() -> str:
    here = machine()
    return (
        "GFLOPs: 1e9 multiply-adds of one image of 64 x 64 pixels, a multiply-add being one; of"
        f" {COUNTED} alone, so without normalisation, activations, resizing, pooling and"
        " suppression of duplicates. Training: wall time without scoring. CPU: time of the whole"
        " process, scoring and report included. Latency: median of one image, from tensor to"
        f" results, on the CPU. Measured with torch {here['torch']}, {here['cpu']},"
        f" {here['threads']} of {here['cores']} threads. \\*: below the goal (mIoU 60, mask AP 50)."
    )
