"""How a sweep is measured and drawn; and that each of the real ones measures something."""

import json
from itertools import count

import cv2
import pytest

from project.benchmark import scaling
from project.benchmark.scaling import Line, Sweep, measure, sweeps
from project.benchmark.scaling_plots import write_json, write_plots


def test_points_are_medians_of_rounds_in_turns():
    """The first call of each does not count; then 1, 2, 3 times x in the order of the rounds."""
    order: list[int] = []

    def build(x):
        turns = count()

        def run():
            order.append(x)
            return float(x * next(turns))

        return run

    line = measure(Sweep("A", "x", "y", (1, 10), build, 1), rounds=3)
    assert line.points == {1: 2, 10: 20}
    assert order == [1, 10] * 4
    assert str(line) == "A; y by x: 1: 2, 10: 20"


def test_lines_become_one_picture_and_json(tmp_path):
    lines = [
        Line(Sweep("A", "workers", "images a second", (0, 1, 2), None, 1), {0: 5, 1: 4, 2: 8}),
        Line(Sweep("B", "side", "ms", (64, 512), None, 2), {64: 1.0, 512: 70.0}),
    ]
    write_plots(lines, tmp_path / "new" / "plots.png")
    picture = cv2.imread(str(tmp_path / "new" / "plots.png"))
    assert picture.shape[1] > 1.5 * picture.shape[0] and picture.std() > 5
    write_json(lines, tmp_path / "lines.json")
    written = json.loads((tmp_path / "lines.json").read_text())["lines"]
    assert [line["points"] for line in written] == [{"0": 5, "1": 4, "2": 8}, {"64": 1, "512": 70}]


@pytest.mark.parametrize("index", [i for i, s in enumerate(sweeps()) if "rank" not in s.x])
def test_every_sweep_measures(index, monkeypatch):
    monkeypatch.setattr(scaling, "_STEPS", 1)
    sweep = sweeps()[index]
    assert sweep.build(sweep.values[0])() > 0
