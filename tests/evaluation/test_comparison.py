"""tools/compare.py: what it finds, what it refuses, what it writes."""

import json
from pathlib import Path

import numpy as np
import pytest

from project.errors import UserError
from project.evaluation.comparison import compare_runs, compare_statistics
from project.evaluation.image_statistics import PixelCounts, SegmentCounts
from project.evaluation.per_image import ImageStatistics, write_per_image
from tool_runner import load_tool, run_process

IMAGES = 40


def run(shift: float, *, seed: int = 0, noise: float = 0.02, **changes) -> ImageStatistics:
    """A run on images of very different difficulty, the same for all runs of a seed."""
    rng = np.random.default_rng(seed)
    difficulty = rng.uniform(0.2, 0.8, (IMAGES, 2))
    own = np.random.default_rng(int(1000 * shift) + 7)
    share = np.clip(difficulty + shift + own.normal(0, noise, difficulty.shape), 0, 1)
    true = np.full(share.shape, 1000)
    hits = (true * share).astype(int)
    counts = np.stack([hits, true, hits, hits, true], axis=2)
    statistics = PixelCounts(changes.get("classes", ("a", "b<i>")), counts)
    return ImageStatistics(changes.get("images", list(range(IMAGES))), {"sem_seg": statistics})


def saved(folder: Path, **datasets: ImageStatistics) -> Path:
    folder.mkdir()
    write_per_image(datasets, folder / "per_image.npz")
    return folder


def test_a_paired_difference_is_seen_where_single_intervals_would_overlap():
    found = compare_statistics("d_val", run(0.0), run(0.02), 500)
    (difference,) = [d for d in found.differences if d.metric == "mIoU"]
    assert 1 < difference.difference < 3 and difference.better == "B"
    low, high = difference.interval
    assert 0 < low < difference.difference < high < 4
    back = compare_statistics("d_val", run(0.02), run(0.0), 500).differences[0]
    assert back.better == "A" and back.interval == pytest.approx([-high, -low])
    # The spread of the images alone is ten times as wide.
    assert np.std(run(0.0).tasks["sem_seg"].counts[..., 0]) > 100


def test_chance_is_called_chance():
    found = compare_statistics("d_val", run(0.0, noise=0.2), run(0.001, noise=0.2), 500)
    assert {d.verdict for d in found.differences} == {"not distinguishable"}
    same = compare_statistics("d_val", run(0.0), run(0.0), 100)
    assert {(d.difference, d.better) for d in same.differences} == {(0, "")}


def test_of_an_error_less_is_better():
    a, b = run(0.0), run(0.0)
    for found, mean in ((a, 30), (b, 10)):
        found.tasks["sem_seg"].values["ARE"] = np.full(IMAGES, mean) + np.arange(IMAGES) % 3
    (error,) = [d for d in compare_statistics("d", a, b, 100).differences if d.metric == "ARE"]
    assert error.difference == pytest.approx(-20) and error.verdict == "B is better"


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (run(0.0, images=[*range(39), 99]), "40 and 40; only in A: 39; only in B: 99"),
        (run(0.0, classes=("a", "c")), "other classes: a, b<i> against a, c"),
        (
            ImageStatistics(list(range(IMAGES)), {"sem_seg": PixelCounts(
                ("a", "b<i>"), np.ones((IMAGES, 2, 5), dtype=int))}),
            "sem_seg: the images have another truth",
        ),
        (
            ImageStatistics(list(range(IMAGES)), {"panoptic_seg": SegmentCounts(
                ("a",), 0, np.ones((IMAGES, 1, 4), dtype=int))}),
            "no task that both were scored on: sem_seg against panoptic_seg",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_told(other, message):
    with pytest.raises(UserError, match=message):
        compare_statistics("d_val", run(0.0), other, 10)


def test_runs_are_found_and_their_data_sets_chosen(tmp_path):
    a = saved(tmp_path / "a", x_val=run(0.0), y_val=run(0.0))
    b = saved(tmp_path / "b", y_val=run(0.02))
    (found,) = compare_runs(a, b, resamples=50)
    assert found.dataset == "y_val" and found.resamples == 50
    with pytest.raises(UserError, match=r"not scored on 'y_vl'. Did you mean y_val"):
        compare_runs(a, b, dataset="y_vl")
    with pytest.raises(UserError, match=r"expected one per_image\.npz.* found none"):
        compare_runs(a, tmp_path)
    with pytest.raises(UserError, match="no such file or folder"):
        compare_runs(a, tmp_path / "c")
    (b / "per_image.npz").rename(b / "one.per_image.npz")
    (b / "one.json").write_text("{}")
    assert compare_runs(a, b, resamples=50) == compare_runs(a, b / "one.json", resamples=50)
    (b / "two.per_image.npz").write_bytes((b / "one.per_image.npz").read_bytes())
    with pytest.raises(UserError, match=r"several: one\.per_image\.npz, two\.per"):
        compare_runs(a, b)


def test_the_tool_prints_and_writes(tmp_path, capsys):
    a, b = saved(tmp_path / "a", y_val=run(0.0)), saved(tmp_path / "b", y_val=run(0.02))
    main = load_tool("tools/compare.py").main
    words = [str(a), str(b), "--resamples", "200", "--out"]
    assert main([*words, str(tmp_path / "new" / "c.html")]) == 0
    printed = capsys.readouterr().out
    assert "sem_seg mIoU" in printed and "B is better" in printed
    page = (tmp_path / "new" / "c.html").read_text()
    assert "b&lt;i&gt;" in page and "<i>" not in page and "http" not in page
    assert main([*words, str(tmp_path / "c.json")]) == 0
    (comparison,) = json.loads((tmp_path / "c.json").read_text())["comparisons"]
    (first, *_) = comparison["differences"]
    assert first["verdict"] == "B is better" and first["interval"][0] > 0
    assert [d["name"] for d in comparison["of_classes"]] == ["a", "b<i>"]


def test_exit_statuses(tmp_path):
    a = saved(tmp_path / "a", y_val=run(0.0))
    failed = run_process("tools/compare.py", a, tmp_path / "b")
    assert failed.returncode == 1 and failed.stderr.startswith("error: ")
    assert failed.stderr.count("\n") == 1
    assert run_process("tools/compare.py", a, a, "--out", "c.png").returncode == 2
