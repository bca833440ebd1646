"""The lines of `project.benchmark.scaling` as one picture and as json."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

from project.benchmark.scaling import Line
from project.benchmark.timing import machine

_COLUMNS = 4


def write_plots(lines: Sequence[Line], path: Path) -> None:
    """Writes a plot of each line, with how it would grow if nothing were in the way.

    Args:
        lines: at least one.
        path: of a PNG; its folder is made.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = math.ceil(len(lines) / _COLUMNS)
    columns = min(len(lines), _COLUMNS)
    figure, axes = pyplot.subplots(
        rows, columns, figsize=(3.6 * columns, 3 * rows), squeeze=False, layout="constrained"
    )
    for place in axes.flat[len(lines) :]:
        place.axis("off")
    for place, line in zip(axes.flat, lines):
        x, y = list(line.points), list(line.points.values())
        place.plot(x, _ideal(line), "--", color="0.6", label="if nothing were in the way")
        place.plot(x, y, "o-", color="#1f6feb", label="measured")
        if max(x) > 8 * max(min(x), 1):
            place.set_xscale("log", base=2)
        place.set_xticks(x, [str(value) for value in x])
        place.minorticks_off()
        place.set_ylim(bottom=0, top=1.25 * max(y))
        place.set_title(line.sweep.name, fontsize=10)
        place.set_xlabel(line.sweep.x, fontsize=8)
        place.set_ylabel(line.sweep.y, fontsize=8)
        place.tick_params(labelsize=8)
    axes.flat[0].legend(fontsize=7, loc="upper left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _ideal(line: Line) -> list[float]:
    """From the first point on, with the power of x; no worker is one, the process itself."""
    (first, start), *_ = line.points.items()
    return [start * (max(x, 1) / max(first, 1)) ** line.sweep.power for x in line.points]


def write_json(lines: Sequence[Line], path: Path) -> None:
    """Writes {"machine": {...}, "lines": [{"name": ..., "x": ..., "y": ..., "points": {...}}]}."""
    content = {
        "machine": machine(),
        "lines": [
            {
                "name": line.sweep.name,
                "x": line.sweep.x,
                "y": line.sweep.y,
                "points": line.points,
            }
            for line in lines
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
