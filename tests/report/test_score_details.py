"""Curves, thresholds, confusion and intervals in the report."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from project.report.page import write_report
from project.report.score_details import score_details

EVIL = "<script>x</script>"


def curve(f1: float) -> dict[str, Any]:
    best = {"threshold": 0.45, "F1": f1, "precision": 71.5, "recall": 61.5}
    return {"precision": [100.0, 80.0, 0.0], "F1": [10.0, f1, 0.0], "best": best}


def segm(classes: int) -> dict[str, Any]:
    names = [EVIL, *(f"class{i}" for i in range(1, classes))]
    matrix = np.diag(np.arange(1, classes + 2))
    matrix[0, -1] = 7
    matrix[-1, -1] = 0
    of_classes: dict[str, Any] = {name: curve(50.0 + i) for i, name in enumerate(names)}
    of_classes[names[-1]] = None if classes > 1 else curve(50.0)
    return {
        "AP": 55.5,
        "AP50": 66.6,
        "intervals": {"AP": [44.4, 77.7], "AP50": None},
        "per_class": {name: {"AP": 55.5, "AP50": 66.6} for name in names},
        "confusion": {"classes": names, "matrix": matrix.tolist(), "iou": 0.5, "score": 0.25},
        "curves": {
            "iou": 0.5,
            "recall": [0.0, 50.0, 100.0],
            "threshold": [0.0, 0.5, 1.0],
            "all": curve(54.5),
            "classes": of_classes,
        },
    }


def test_nothing_without_instances():
    assert score_details({"sem_seg": {"mIoU": 1.0}, "segm": None}) == ""


@pytest.mark.parametrize(("classes", "lines"), [(1, 1), (3, 3), (30, 8)])
def test_curves_of_the_weakest_classes_and_all_thresholds(classes, lines):
    html = score_details({"segm": segm(classes)})
    plots = re.findall(r'<svg class="plot".*?</svg>', html, re.DOTALL)
    assert len(plots) == 2
    assert [len(re.findall(r'<g class="line-', plot)) for plot in plots] == [lines, lines]
    rows = re.findall(r"<tr><th>([^<]*)</th><td>0\.45</td>", html)
    assert len(rows) == (1 if classes == 1 else classes)  # one class has no curve, "all" is added
    assert EVIL not in html


def test_the_matrix_shows_counts_and_shares():
    html = score_details({"segm": segm(3)})
    assert re.search(r'class="right" style="--share:12" title="[^"]*12 % of the row">1</td>', html)
    assert re.search(r'class="wrong" style="--share:88" title="[^"]*: 7, 88 %', html)
    assert 'class="matrix"' in html and "score from 0.25 on" in html
    assert 'class="matrix dense"' in score_details({"segm": segm(30)})


def test_intervals_are_shown_beside_scores(tmp_path: Path):
    results = {
        "config": None,
        "weights": dict.fromkeys(("path", "sha256", "iteration")),
        "backend": "pycocotools",
        "datasets": {"a_val": {"images": 9, "segm": segm(2), "notes": [], "resamples": 321}},
    }
    text = write_report(tmp_path, results).read_text()
    assert text.count("(44.4 to 77.7)") == 2, "on the card and in the table"
    assert "from 321 resamples" in text
    assert not re.search(r"<th>(intervals|curves|confusion)</th>", text)
    results["datasets"]["a_val"].pop("resamples")
    results["datasets"]["a_val"]["segm"].pop("intervals")
    assert "resamples" not in write_report(tmp_path, results).read_text()
