"""What a comparison says, and the tool that runs them."""

import json
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace

import pytest

from project.benchmark import performance, timing
from project.benchmark.performance import Performance
from project.benchmark.timing import Comparison, Pair, compare
from tool_runner import load_tool, run_process


class Clock:
    """A clock that only moves when something runs."""

    now = 0.0

    def run(self, seconds):
        turns = cycle(seconds)

        def step():
            self.now += next(turns)

        return step


def test_medians_over_interleaved_rounds(monkeypatch):
    """Ratios 4/1, 4/2, 8/2, 4/2: median 3, quartiles 2 and 4; the first calls do not count."""
    clock = Clock()
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock.now)
    pair = Pair("x", lambda: (clock.run([9, 4, 4, 8, 4]), clock.run([9, 1, 2, 2, 2])))
    comparison = compare(pair, rounds=4)
    assert comparison.ratio == 3 and comparison.spread == (2, 4)
    assert (comparison.baseline, comparison.candidate) == (4000, 2000)


def test_a_figure_of_its_own_is_not_timed():
    """Peak memory: 30 MB against 10 MB, whatever the clock says."""
    pair = Pair("x", lambda: (lambda: 30.0, lambda: 10.0), goal=2, unit="MB")
    comparison = compare(pair, rounds=3)
    assert (comparison.baseline, comparison.candidate, comparison.ratio) == (30, 10, 3)
    assert str(comparison).endswith("goal 2x") and "30.00 MB" in str(comparison)


def test_rounds_alternate_who_goes_first():
    order: list[str] = []
    pair = Pair("x", lambda: (lambda: order.append("b"), lambda: order.append("c")))
    compare(pair, rounds=3)
    assert "".join(order) == "bc" + "bc" + "cb" + "bc"


def test_tool_writes_the_ratios(tmp_path, capsys):
    path = tmp_path / "new" / "roi_align.json"
    words = ["roi-align", "--only", "4x4x64 16x24 RoIs 7x7 float32 channels_last", "--rounds", "1"]
    assert load_tool("tools/benchmark.py").main([*words, "--json", str(path)]) == 0
    written = json.loads(path.read_text())
    assert len(written["comparisons"]) == 2 and written["machine"]["threads"] >= 1
    printed = capsys.readouterr().out
    for name, figures in written["comparisons"].items():
        assert figures["ratio"] == figures["baseline"] / figures["candidate"] > 0
        assert f"{name} " in printed and f"{figures['ratio']:.2f}x" in printed
    assert "torchvision's was quicker in: " in printed


def test_unknown_name_lists_the_known(capsys):
    with pytest.raises(SystemExit) as stop:
        load_tool("tools/benchmark.py").main(["roi-align", "--only", "nothing"])
    assert stop.value.code == 2
    assert "ROIPooler, 3 levels" in capsys.readouterr().err


def test_help_loads_no_torch():
    code = (
        "import runpy, sys; sys.modules['torch'] = None; sys.argv = ['x', 'roi-align', '--help'];"
        "runpy.run_path('tools/benchmark.py', run_name='__main__')"
    )
    done = run_process("-c", code)
    assert done.returncode == 0, done.stderr
    assert "--rounds" in done.stdout


def test_the_check_is_timed_an_image(capsys):
    assert (
        load_tool("tools/benchmark.py").main(["check", "--only", "headers", "--rounds", "1"]) == 0
    )
    comparison, conclusion = capsys.readouterr().out.splitlines()
    call_ms = float(comparison.split(" ms ")[1])
    image_ms = float(conclusion.removeprefix("headers: ").removesuffix(" ms an image"))
    assert 0 < image_ms == pytest.approx(call_ms / 100, abs=1e-3)


def found(ratio, goal=2.0):
    fields = {"baseline": 4.0, "candidate": 4.0 / ratio, "ratio": ratio, "spread": [ratio, ratio]}
    return {**fields, "rounds": 5, "goal": goal, "against": "stock Detectron2", "unit": "ms"}


def test_the_table_marks_what_missed_its_goal_and_what_failed():
    words = {"torch": "2", "cpu": "AVX512", "cores": 2, "threads": 2}
    good = Performance(words, {"a": found(2.0)})
    assert good.is_good and "2.00 |" in good.markdown() and "| a |" in good.markdown()
    missed = Performance(words, {"a": found(2.0), "b": found(1.99)})
    assert not missed.is_good and "1.99 * |" in missed.markdown()
    failed = Performance(words, {"a": found(2.0)}, ["mapper"])
    assert not failed.is_good and "mapper: failed" in failed.markdown()


def test_all_takes_the_rows_of_each_subcommand(tmp_path, monkeypatch, capfd):
    """Of two subcommands one ends with an error, as it does where results differ."""

    def run(command, **_):
        name, path = command[2], command[command.index("--json") + 1]
        assert "--goals" in command and command[-2:] == ["--rounds", "5"]
        if name == "mapper":
            return SimpleNamespace(returncode=1)
        timing.write_json(Path(path), [Comparison(name, 4, 1, 4, (4, 4), 5, goal=3)])
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(performance.subprocess, "run", run)
    result = performance.run_all(["rle", "mapper"], ["--rounds", "5"])
    assert result.failed == ["mapper"] and result.comparisons["rle"]["ratio"] == 4
    result.write_json(tmp_path / "new" / "all.json")
    assert json.loads((tmp_path / "new" / "all.json").read_text())["failed"] == ["mapper"]


def test_the_mapper_beside_detectron2s(capsys):
    words = ["mapper", "--only", "bitmasks, rotation", "--rounds", "1", "--goals"]
    assert load_tool("tools/benchmark.py").main(words) == 0
    comparison, conclusion = capsys.readouterr().out.splitlines()
    assert "goal 8x" in comparison and conclusion.endswith("ms an image")


def test_help_is_timed_from_the_start_of_the_process(capsys):
    assert load_tool("tools/benchmark.py").main(["startup", "--only", "help", "--rounds", "1"]) == 0
    comparison, conclusion = capsys.readouterr().out.splitlines()
    assert float(comparison.split("ms")[-1].split("x")[0]) > 1  # stock imports torch first
    assert "at most 300 wanted" in conclusion
