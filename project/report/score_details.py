"""What lies behind the scores of instances: which classes are mistaken, and at which threshold."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from project.report.plots import MOST_LINES, Curve, figure, plot
from project.report.tables import Scores, table

_MOST_NUMBERS = 22  # rows of a matrix whose cells show numbers
_MOST_ROWS = 120


def score_details(scores: Scores) -> str:
    """Curves and confusion matrix of one data set's instances; "" where there are none."""
    found = next((s for t in ("segm", "bbox") if (s := scores.get(t)) and "curves" in s), None)
    if found is None:
        return ""
    return _thresholds(found["curves"]) + _confusion(found["confusion"])


def _thresholds(curves: Mapping[str, Any]) -> str:
    """Precision-recall and F1 plots, and a table of the best thresholds."""
    known = {name: c for name, c in curves["classes"].items() if c and c["best"]}
    if not known or not curves["all"]:
        return ""
    rows = [_best("all classes", curves["all"])] if len(known) > 1 else []
    rows += [_best(name, curve) for name, curve in known.items()]
    weakest = sorted(known, key=lambda name: known[name]["best"]["F1"])[: MOST_LINES - 1]
    lines = {"all classes": curves["all"]} | {name: known[name] for name in weakest}
    if len(known) == 1:
        lines = known
    plots = "".join(
        plot(_figure(title, lines, curves[x], of, label))
        for title, x, of, label in (
            ("Precision", "recall", "precision", "recall"),
            ("F1", "threshold", "F1", "score threshold"),
        )
    )
    chosen = f" The plots show the {len(weakest)} weakest." if len(weakest) < len(known) else ""
    return (
        f"<section><h3>Thresholds at an IoU of {curves['iou']:g}</h3>"
        '<p class="meaning">A detection counts from a score threshold on. Precision is the share of'
        " them that are right, recall the share of the objects that are found, and F1 = 2 right /"
        f" (detections + objects), at its best with the threshold in the table.{chosen}</p>"
        f'<div class="plots">{plots}</div>'
        f"{table(['class', 'threshold', 'F1', 'precision', 'recall'], rows)}</section>"
    )


def _figure(title: str, lines: Mapping[str, Any], x: Sequence[float], of: str, label: str) -> Curve:
    series = {name: np.stack([x, curve[of]], axis=1) for name, curve in lines.items()}
    best = [f"F1 {curve['best']['F1']:.1f}" for curve in lines.values()]
    return figure(title, series, best, label)


def _best(name: str, curve: Mapping[str, Any]) -> str:
    best = curve["best"]
    cells = f"<td>{best['threshold']:.2f}</td>" + "".join(
        f"<td>{best[metric]:.1f}</td>" for metric in ("F1", "precision", "recall")
    )
    return f"<tr><th>{escape(name)}</th>{cells}</tr>"


def _confusion(confusion: Mapping[str, Any]) -> str:
    """The matrix as a table whose cells are coloured by their share of the row."""
    matrix = np.array(confusion["matrix"])
    names = [*confusion["classes"], "background"]
    shown = _shown(matrix)
    dense = len(shown) > _MOST_NUMBERS
    heads = "".join(f"<th>{escape(names[i])}</th>" for i in shown)
    body = "".join(
        f"<tr><th>{escape(names[i])}</th>{''.join(_cell(matrix, names, i, j) for j in shown)}</tr>"
        for i in shown
    )
    rest = len(names) - len(shown)
    hidden = f" {rest} classes without the most mistakes are left out." if rest else ""
    return (
        "<section><h3>Which class is taken for which</h3>"
        '<p class="meaning">Row: true class; column: predicted class, of detections with a score'
        f" from {confusion['score']:g} on that overlap an object by an IoU of"
        f" {confusion['iou']:g} or more, whatever their classes. Last column: missed objects; last"
        f" row: detections where there is no object.{hidden}</p>"
        f'<div class="scroll"><table class="matrix{" dense" if dense else ""}">'
        f"<thead><tr><th></th>{heads}</tr></thead><tbody>{body}</tbody></table></div></section>"
    )


def _shown(matrix: np.ndarray) -> list[int]:
    """All classes, or those with the most mistakes, and the background."""
    wrong = matrix.sum(axis=0) + matrix.sum(axis=1) - 2 * np.diag(matrix)
    classes = np.argsort(-wrong[:-1], kind="stable")[: _MOST_ROWS - 1]
    return [*sorted(classes.tolist()), len(matrix) - 1]


def _cell(matrix: np.ndarray, names: Sequence[str], i: int, j: int) -> str:
    count = int(matrix[i, j])
    if i == j == len(names) - 1:
        return "<td></td>"
    if not count:
        return '<td class="nothing">0</td>'
    share = 100 * count / matrix[i].sum()
    kind = "right" if i == j else "wrong"
    title = escape(f"{names[i]} as {names[j]}: {count}, {share:.0f} % of the row")
    return f'<td class="{kind}" style="--share:{share:.0f}" title="{title}">{count}</td>'
