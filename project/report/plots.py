"""Curves, such as those over the iterations of a training run, as inline SVG.

Written by hand rather than by matplotlib: an SVG in a page takes its fonts and its light or dark
colours from the style sheet, which matplotlib's fixed attributes do not allow.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from project.report.tables import FIRST_SCORES

Series = dict[str, np.ndarray]  # name -> (P, 2) iteration and value, iterations rising

_WIDTH, _HEIGHT = 400, 250  # of the drawing, in its own units
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 16, 10, 40  # margins of the plotting area
MOST_LINES, _MOST_POINTS = 8, 300
_VALIDATION = "validation/total_loss"
_SCORES = tuple(f"{task}/{metric}" for task, metric, _ in FIRST_SCORES)


@dataclass(frozen=True)
class Curve:
    """A figure; `legend` holds the (name, last value) of its lines, the i-th of class `line-i`."""

    title: str
    svg: str
    legend: list[tuple[str, str]]


def curves(metrics: Sequence[Mapping[str, Any]]) -> list[Curve]:
    """The figures that the lines of a metrics.json allow: losses, scores, learning rate.

    Lines of a resumed run may repeat iterations; the later ones count. Values that are no finite
    numbers are left out, and a figure needs a line of two points.
    """
    series = read_series(metrics)
    losses = {k: v for k, v in series.items() if k == "total_loss" or k.startswith("loss")}
    both = {k: v for k, v in series.items() if k in ("total_loss", _VALIDATION)}
    scores = {k: v for k, v in series.items() if k.endswith(_SCORES)}
    rate = {k: v for k, v in series.items() if k == "lr"}
    figures = [("Loss", losses, ".3g"), ("Scores", scores, ".1f"), ("Learning rate", rate, ".2g")]
    if _VALIDATION in both:
        figures.insert(1, ("Loss in training and validation", both, ".3g"))
    return [
        figure(title, *_training_lines(lines, style), "iteration")
        for title, lines, style in figures
        if any(len(points) > 1 for points in lines.values())
    ]


def plot(curve: Curve) -> str:
    """A figure as HTML, with its legend."""
    entries = "".join(
        f'<li class="line-{i}"><i></i><span>{escape(name)}</span> <small>{value}</small></li>'
        for i, (name, value) in enumerate(curve.legend)
    )
    return (
        f"<figure><figcaption><b>{curve.title}</b></figcaption>{curve.svg}"
        f'<ul class="legend">{entries}</ul></figure>'
    )


def read_series(metrics: Sequence[Mapping[str, Any]]) -> Series:
    """Turns lines {"iteration": i, name: value, ...} into a (P, 2) array a name."""
    found: dict[str, dict[int, float]] = {}
    for line in metrics:
        for name, value in line.items():
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if "iteration" in line and number and math.isfinite(value):
                found.setdefault(name, {})[int(line["iteration"])] = float(value)
    return {name: np.array(sorted(points.items())) for name, points in found.items()}


def ticks(highest: float, count: int = 5) -> list[float]:
    """Round numbers from 0 to at least `highest`, about `count` steps of 1, 2 or 5 times 10^n."""
    if highest <= 0:
        return [0.0, 1.0]
    rough = highest / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(f * power for f in (1, 2, 5, 10) if f * power >= rough * (1 - 1e-9))
    return [step * i for i in range(math.ceil(highest / step - 1e-9) + 1)]


def figure(title: str, lines: Series, values: Sequence[str], x_label: str) -> Curve:
    """Draws lines; the first lies on top.

    Args:
        title: of the figure.
        lines: at most `MOST_LINES`.
        values: what the legend says beside each name.
        x_label: what the x axis is.
    """
    shown = {name: _thinned(points) for name, points in lines.items()}
    y_ticks = ticks(max(float(points[:, 1].max()) for points in shown.values()))
    x_ticks = ticks(max(float(points[-1, 0]) for points in shown.values()))
    x_end = max(points[-1, 0] for points in shown.values()) or 1.0

    def place(points: np.ndarray) -> np.ndarray:
        x = _LEFT + points[:, 0] / x_end * (_WIDTH - _LEFT - _RIGHT)
        y = _HEIGHT - _BOTTOM - points[:, 1] / y_ticks[-1] * (_HEIGHT - _TOP - _BOTTOM)
        return np.stack([x, y], axis=1)

    parts = [_axes(place, [x for x in x_ticks if x <= x_end], y_ticks, escape(x_label))]
    parts += [_line(i, place(shown[name])) for i, name in reversed(list(enumerate(shown)))]
    label = f"{escape(title)} over {escape(x_label)}"
    svg = (
        f'<svg class="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">'
        f"{''.join(parts)}</svg>"
    )
    return Curve(title, svg, list(zip(shown, values)))


def _training_lines(lines: Series, style: str) -> tuple[Series, list[str]]:
    """What matters most comes first; with the last value of each line."""
    names = sorted(lines, key=lambda n: (_importance(n), -lines[n][-1, 1]))[:MOST_LINES]
    return {n: lines[n] for n in names}, [format(lines[n][-1, 1], style) for n in names]


def _axes(place: Any, x_ticks: list[float], y_ticks: list[float], x_label: str) -> str:
    parts = []
    for value in y_ticks:
        y = place(np.array([[0, value]]))[0, 1]
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>')
        parts.append(f'<text class="y" x="{_LEFT - 8}" y="{y + 4:.1f}">{value:.6g}</text>')
    for value in x_ticks:
        x = place(np.array([[value, 0]]))[0, 0]
        parts.append(f'<text class="x" x="{x:.1f}" y="{_HEIGHT - 20}">{_short(value)}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text class="x" x="{middle:.0f}" y="{_HEIGHT - 4}">{x_label}</text>')
    return "".join(parts)


def _line(index: int, points: np.ndarray) -> str:
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    dots = points if len(points) <= 12 else points[:0]
    marks = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>' for x, y in dots)
    return f'<g class="line-{index}"><path d="{path}"/>{marks}</g>'


def _importance(name: str) -> int:
    """Position of a name in its legend; the parts of the loss are equal and ordered by height."""
    known = ("total_loss", *_SCORES)
    return next((i for i, end in enumerate(known) if name.endswith(end)), len(known))


def _thinned(points: np.ndarray) -> np.ndarray:
    """(P, 2) -> at most 300 points, each the mean of its neighbours; the last one is kept."""
    if len(points) <= _MOST_POINTS:
        return points
    means = [part.mean(axis=0) for part in np.array_split(points, _MOST_POINTS - 1)]
    return np.array([*means, points[-1]])


def _short(value: float) -> str:
    """90000 -> 90k."""
    return f"{value / 1000:g}k" if value >= 10000 else f"{value:g}"
