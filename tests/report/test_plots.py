"""Curves: which lines are drawn, where their points lie, and what is left out."""

import re

import numpy as np
import pytest

from project.report.plots import curves, read_series, ticks


def titles(metrics: list[dict]) -> list[str]:
    return [curve.title for curve in curves(metrics)]


@pytest.mark.parametrize(
    ("highest", "expected"),
    [
        (100, [0, 20, 40, 60, 80, 100]),
        (6.3, [0, 2, 4, 6, 8]),
        (0.003, [0, 0.001, 0.002, 0.003]),
        (0, [0, 1]),
    ],
)
def test_ticks_are_round_and_reach_the_highest_value(highest, expected):
    assert ticks(highest) == pytest.approx(expected)


def test_later_lines_of_a_resumed_run_count():
    lines = [{"iteration": 0, "lr": 1.0}, {"iteration": 9, "lr": 2.0}, {"iteration": 9, "lr": 3.0}]
    assert read_series(lines)["lr"].tolist() == [[0, 1], [9, 3]]


def test_values_that_are_no_finite_numbers_are_left_out():
    lines = [{"iteration": 1, "segm/AP": float("nan"), "x": None, "y": True, "z": 2}, {"lr": 3}]
    assert set(read_series(lines)) == {"iteration", "z"}


def test_figures_need_two_points():
    assert titles([]) == []
    assert titles([{"iteration": 1, "total_loss": 2.0, "segm/AP": 3.0}]) == []
    two = [{"iteration": i, "total_loss": 2.0, "loss_mask": 1.0, "lr": 0.1} for i in range(2)]
    assert titles(two) == ["Loss", "Learning rate"]


def test_scores_with_a_dataset_before_their_name_are_drawn():
    lines = [{"iteration": i, "val_a/segm/AP": 1.0 + i, "val_a/segm/APs": 5.0} for i in range(2)]
    (curve,) = curves(lines)
    assert curve.title == "Scores" and curve.legend == [("val_a/segm/AP", "2.0")]


def test_total_comes_first_then_parts_by_height():
    lines = [{"iteration": i, "loss_a": 1.0, "loss_b": 2.0, "total_loss": 3.0} for i in range(5)]
    assert [name for name, _ in curves(lines)[0].legend] == ["total_loss", "loss_b", "loss_a"]


def test_points_lie_where_their_values_say():
    lines = [{"iteration": i, "lr": value} for i, value in ((0, 0.0), (50, 1.0), (100, 0.5))]
    path = re.search(r'<g class="line-0"><path d="M([^"]+)"', curves(lines)[0].svg).group(1)
    x, y = np.array([p.split() for p in path.split("L")], float).T
    assert x[1] - x[0] == pytest.approx((x[2] - x[0]) / 2, abs=0.1)
    assert y[0] - y[2] == pytest.approx((y[0] - y[1]) / 2, abs=0.1)
    assert y[1] < y[0], "larger values lie higher"


def test_long_runs_are_thinned_to_means_and_keep_their_last_value():
    lines = [{"iteration": i, "total_loss": float(i % 2)} for i in range(10001)]
    curve = curves(lines)[0]
    assert curve.svg.count("L") < 310
    assert curve.legend == [("total_loss", "0")]


def test_names_are_escaped():
    lines = [{"iteration": i, "loss_<b>": 1.0} for i in range(2)]
    assert "<b>" not in curves(lines)[0].svg
