"""Tables of scores as HTML; values are 0 to 100 with one decimal, None is shown as n/a."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from project.evaluation.results import DETAILS, HEADLINES

Scores = Mapping[str, Any]  # of one data set: task -> {metric: value, "per_class": ...}

# Of the headlines of results.json, what cards and curves show: task, metric, what it is called.
FIRST_SCORES = (
    ("panoptic_seg", "PQ", "panoptic quality"),
    ("segm", "AP", "mask AP"),
    ("segm", "AP50", "mask AP50"),
    ("bbox", "AP", "box AP"),
    ("sem_seg", "mIoU", "mean IoU"),
    ("sem_seg", "mDice", "mean Dice"),
)


@dataclass(frozen=True)
class Group:
    """The tables of one kind of result.

    Attributes:
        rows: (label, task, suffix of the metric's name), one line each in the summary.
        columns: metrics of the summary; others that a task has are added behind.
        class_columns: metrics of a class, in this order; others are added behind.
        meaning: one sentence for readers who meet these numbers for the first time.
    """

    title: str
    rows: tuple[tuple[str, str, str], ...]
    columns: tuple[str, ...]
    class_columns: tuple[str, ...]
    meaning: str

    def tasks(self) -> list[str]:
        """The tasks that the rows speak of, each once."""
        return list(dict.fromkeys(task for _, task, _ in self.rows))


# The rows add the suffixes of things and stuff.
_QUALITIES = tuple(metric for metric in HEADLINES["panoptic_seg"] if "_" not in metric)

GROUPS = (
    Group(
        "Panoptics",
        (
            ("All", "panoptic_seg", ""),
            ("Things", "panoptic_seg", "_th"),
            ("Stuff", "panoptic_seg", "_st"),
        ),
        _QUALITIES,
        _QUALITIES,
        "SQ is the mean overlap (IoU) of the segments that are found; RQ says how well they are"
        " found, missed and invented ones counted against it. For a class, PQ = SQ × RQ / 100.",
    ),
    Group(
        "Instances",
        (
            ("Masks", "segm", ""),
            ("Boxes", "bbox", ""),
            ("Mask boundaries", "boundary", ""),
            ("Regions of the label map", "segm_from_sem_seg", ""),
        ),
        HEADLINES["segm"],
        ("AP", "AP50", "AP75"),
        "AP is the average precision over overlaps (IoU) of 0.50 to 0.95, AP50 and AP75 at one"
        " overlap; AR is the recall with so many detections. The letters s, m and l stand for"
        " objects of up to 32², up to 96² and more pixels.",
    ),
    Group(
        "Semantics",
        (
            ("All classes", "sem_seg", ""),
            ("Pasted instances", "sem_seg_from_instances", ""),
        ),
        HEADLINES["sem_seg"],
        ("IoU", "Dice", "ACC", "BIoU"),
        "Of true and predicted pixels of a class, IoU is the overlap by the union, Dice twice the"
        " overlap by the sum, ACC the share of the true ones found, BIoU the IoU of their"
        " boundaries; m: mean over classes, fw: weighted by true pixels, p: over all pixels."
        " VRand says how well segments are parted and joined; of the error ARE, less is better.",
    ),
)

_EMPTY = "<td></td>"


def score_tables(scores: Scores) -> str:
    """All tables of one data set: a summary a group, then its classes."""
    return "".join(_group(group, scores) for group in GROUPS if set(group.tasks()) & set(scores))


def interval_text(scores: Mapping[str, Any], metric: str) -> str:
    """The 95 % interval of a task's metric, in brackets; "" where there is none."""
    interval = (scores.get("intervals") or {}).get(metric)
    if interval is None:
        return ""
    return f'<small class="interval">({interval[0]:.1f} to {interval[1]:.1f})</small>'


def value_cell(value: float | None, reason: str = "", bar: bool = False, between: str = "") -> str:
    """One table cell; the bar behind it is as long as the value, `between` stands below."""
    if value is None:
        return f'<td class="none"><abbr title="{escape(reason)}">n/a</abbr></td>'
    kind = f' class="bar" style="--value:{value:.1f}"' if bar else ""
    return f"<td{kind}>{value:.1f}{between}</td>"


def reason_for(task: str, what: str, notes: Sequence[str]) -> str:
    """The note on `task` that names the metric or class `what`; any note on it where it is ""."""
    ours = [note for note in notes if re.match(rf"{re.escape(task)}\b", note)]
    named = (note for note in ours if re.search(rf"(?<!\w){re.escape(what)}(?!\w)", note))
    return next(named, "see the notes")


def _group(group: Group, scores: Scores) -> str:
    notes = scores.get("notes", [])
    summary, classes = _summary(group, scores, notes), _classes(group, scores, notes)
    return (
        f'<section><h3>{group.title}</h3><div class="tables"><div>{summary}'
        f'<p class="meaning">{group.meaning}</p></div>{classes}</div></section>'
    )


def _summary(group: Group, scores: Scores, notes: Sequence[str]) -> str:
    """One line a row of the group; a task that could not be scored has n/a in all columns."""
    rows = [row for row in group.rows if row[1] in scores]
    used = {column + end for column in group.columns for _, _, end in rows}
    known = [name for _, task, _ in rows for name in scores[task] or {} if name not in DETAILS]
    more = dict.fromkeys(name for name in known if name not in used)
    ends = {end for _, _, end in rows}
    columns = [c for c in group.columns if not known or any(c + end in known for end in ends)]
    columns += more
    body = []
    for label, task, end in rows:
        cells = [_score_cell(scores, task, column + end, notes) for column in columns]
        body.append(f"<tr><th>{label}</th>{''.join(cells)}</tr>")
    return table(["", *columns], body)


def _score_cell(scores: Scores, task: str, metric: str, notes: Sequence[str]) -> str:
    known = scores[task]
    if known is None:
        return value_cell(None, reason_for(task, "", notes))
    if metric not in known:
        return _EMPTY
    between = interval_text(known, metric)
    return value_cell(known[metric], reason_for(task, metric, notes), between=between)


def _classes(group: Group, scores: Scores, notes: Sequence[str]) -> str:
    """One line a class, the tasks of the group side by side."""
    labels = {task: label for label, task, _ in reversed(group.rows)}
    tables = {t: of for t in group.tasks() if (of := (scores.get(t) or {}).get("per_class"))}
    columns = [
        (task, column)
        for task, of_classes in tables.items()
        for column in _columns(of_classes, group.class_columns)
    ]
    heads = [f"{labels[task]} {column}" if len(tables) > 1 else column for task, column in columns]
    body = []
    for name in dict.fromkeys(name for of_classes in tables.values() for name in of_classes):
        values = [(task, tables[task].get(name, {}).get(column)) for task, column in columns]
        cells = [value_cell(v, reason_for(task, name, notes), bar=True) for task, v in values]
        body.append(f"<tr><th>{escape(str(name))}</th>{''.join(cells)}</tr>")
    return table(["class", *heads], body) if body else ""


def _columns(per_class: Mapping[str, Mapping[str, Any]], known: Sequence[str]) -> list[str]:
    found = dict.fromkeys(column for values in per_class.values() for column in values)
    return [c for c in known if c in found] + [c for c in found if c not in known]


def table(heads: Sequence[str], body: Sequence[str]) -> str:
    """A table of plain heads and rows that are HTML already."""
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )
