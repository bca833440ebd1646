"""What a comparison of two runs says: as text, as a page with every class, and as JSON."""

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path

from tabulate import tabulate

from project.evaluation.comparison import Comparison, Difference
from project.report.stylesheet import page
from project.report.tables import table

_WIDTH = 260  # of the drawing of an interval, in its own units


def comparison_text(comparisons: Sequence[Comparison], run_a: str, run_b: str) -> str:
    """Every headline number of both runs, its difference, and whether that is more than chance."""
    parts = [f"A: {run_a}\nB: {run_b}"]
    for found in comparisons:
        rows = [
            [f"{d.task} {d.metric}", f"{d.a:.1f}", f"{d.b:.1f}", _signed(d), _between(d), d.verdict]
            for d in found.differences
        ]
        heads = ["score", "A", "B", "B - A", "95 % interval", ""]
        align = ("left", "right", "right", "right", "right", "left")
        grid = tabulate(rows, heads, tablefmt="simple", colalign=align, disable_numparse=True)
        parts.append(f"{_subject(found)}\n\n{grid}")
        if found.skipped:
            parts.append(f"note: scored in one of the runs only: {', '.join(found.skipped)}")
    return "\n\n".join(parts)


def write_comparison(comparisons: Sequence[Comparison], path: Path, run_a: str, run_b: str) -> None:
    """Writes a page (.html) or everything as JSON (.json); makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".json":
        content = {"a": run_a, "b": run_b, "comparisons": [c.as_dict() for c in comparisons]}
        path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        return
    body = "".join(_dataset(found) for found in comparisons)
    header = (
        '<header><p class="eyebrow">Comparison</p><h1>B against A</h1><dl class="facts">'
        f"<div><dt>A</dt><dd>{escape(run_a)}</dd></div>"
        f"<div><dt>B</dt><dd>{escape(run_b)}</dd></div></dl></header>"
    )
    path.write_text(page(f"{run_b} against {run_a}", header + body), encoding="utf-8")


def _subject(found: Comparison) -> str:
    return f"{found.dataset} ({found.images} images, {found.resamples} resamples)"


def _signed(difference: Difference) -> str:
    return _plus(difference.difference)


def _plus(value: float) -> str:
    """With its sign, and no minus before what is rounded to 0."""
    return f"{round(value, 1) + 0.0:+.1f}"


def _between(difference: Difference) -> str:
    if difference.interval is None:
        return "-"
    return f"{_plus(difference.interval[0])} to {_plus(difference.interval[1])}"


def _dataset(found: Comparison) -> str:
    tasks = dict.fromkeys(d.task for d in found.differences)
    parts = []
    for task in tasks:
        every = [d for d in found.differences if d.task == task]
        classes = [d for d in found.of_classes if d.task == task]
        parts.append(f"<h3>{escape(task)}</h3>{_rows(every, [d.metric for d in every])}")
        if len(classes) > 1:
            parts.append(_rows(classes, [d.name for d in classes], classes[0].metric))
    skipped = (
        f"<p>Scored in one of the runs only: {escape(', '.join(found.skipped))}.</p>"
        if found.skipped
        else ""
    )
    return (
        f"<section><h2>{escape(_subject(found))}</h2>"
        '<p class="meaning">Both runs were scored on the same resamples of the images. The line is'
        " the 95 % interval of B - A; where it leaves out 0, the difference is more than chance in"
        " the choice of the images. Of twenty comparisons without any difference, about one would"
        f" look like that.</p>{''.join(parts)}{skipped}</section>"
    )


def _rows(differences: Sequence[Difference], names: Sequence[str], of: str = "metric") -> str:
    widest = max([abs(v) for d in differences for v in (d.interval or [d.difference])] + [1.0])
    body = [
        f"<tr><th>{escape(name)}</th><td>{d.a:.1f}</td><td>{d.b:.1f}</td><td>{_signed(d)}</td>"
        f"<td>{_between(d)}</td><td>{_drawing(d, widest)}</td><td>{d.verdict}</td></tr>"
        for name, d in zip(names, differences)
    ]
    return table([of, "A", "B", "B - A", "95 % interval", "", ""], body)


def _drawing(difference: Difference, widest: float) -> str:
    """The interval beside a line at 0."""
    low, high = difference.interval or [difference.difference] * 2

    def place(value: float) -> str:
        return f"{_WIDTH / 2 * (1 + 0.96 * value / widest):.1f}"

    kind = {"": "line-0", "A": "line-2", "B": "line-3"}[difference.better]
    label = f"{_signed(difference)}, 95 % interval {_between(difference)}"
    return (
        f'<svg class="interval" viewBox="0 0 {_WIDTH} 18" role="img" aria-label="{label}">'
        f'<path class="grid" d="M{place(0)} 0V18"/><g class="{kind}">'
        f'<path d="M{place(low)} 9H{place(high)}"/>'
        f'<circle cx="{place(difference.difference)}" cy="9" r="3.5"/></g></svg>'
    )
