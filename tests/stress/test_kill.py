"""kill -9 at random moments: the run goes on with --resume, and ends as if nothing had happened.

The long form, 200 moments, is in `make stress`.
"""

import random
import re
from collections import Counter
from pathlib import Path

import pytest
import torch

import factories
from forked_training import assert_same, finish, printed, start
from kills import AfterSeconds, AtMoment
from project.engine import checkpoint_files as files

ITERATIONS, PERIOD, KEPT = 8, 2, 2
WORDS = [
    *("SOLVER.MAX_ITER", str(ITERATIONS), "SOLVER.CHECKPOINT_PERIOD", str(PERIOD)),
    *("SOLVER.CHECKPOINTS_KEPT", str(KEPT), "TEST.EVAL_PERIOD", "3", "TEST.BOOTSTRAP", "0"),
    *("TEST.REPORT_IMAGES", "0", "MODEL.MASK_UNET.INSTANCES", "False"),
    *("SOLVER.BASE_LR", "0.1", "SOLVER.EMA.ENABLED", "True", "SOLVER.EMA.DECAY", "0.5"),
]
NAMES = ("model_final.pth", "model_best.pth")


@pytest.fixture(scope="module")
def spec(tmp_path_factory) -> Path:
    return factories.make_coco(tmp_path_factory.mktemp("data"), num_images=3)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, spec) -> Path:
    """The folder of a run that nobody disturbs; beside it the moments of its saving."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    counts = folder.with_name("moments")
    found = finish(start(spec, folder, *WORDS, sabotage=AtMoment(counts=counts)))
    assert found == [0], printed(folder)
    return folder


def moments(undisturbed: Path) -> list[str]:
    return undisturbed.with_name("moments").read_text().split()


def begun(output: Path) -> list[int]:
    """The iterations that the parts of a run began with."""
    log = (output / "log.txt").read_text() if (output / "log.txt").exists() else ""
    return [int(n) for n in re.findall(r"Starting training from iteration (\d+)", log)]


def done(output: Path) -> int:
    """Iterations that the newest whole checkpoint is after; 0 where there is none."""
    if not files.has_checkpoint(output):
        return 0
    name = files.last_whole(output).stem.removeprefix("model_")
    return ITERATIONS if name == "final" else int(name) + 1


def reached(output: Path) -> int:
    """Iterations that a run is known to have done, saved or not."""
    path = output / "metrics.json"
    lines = path.read_text().splitlines() if path.exists() else []
    found = [int(n) for line in lines for n in re.findall(r'"iteration": (\d+)', line)]
    return 1 + max(found, default=-1)


def check_files(output: Path) -> None:
    """No file under a final name is partial, nor is the one that is tagged missing."""
    for path in output.glob("model_*.pth"):
        assert files.damage(path) is None
        assert path.with_name(f"{path.name}.sha256").is_file(), "without it nothing is compared"
    assert files.has_checkpoint(output) or not (output / "model_best.pth").exists()
    tag = output / files.LAST
    assert not tag.exists() or (output / tag.read_text()).is_file()


def is_killed(found: list[int | None], output: Path) -> bool:
    """Whether it was killed, rather than quicker than the killer."""
    assert found in ([0], [-9]), (found, printed(output))
    return found == [-9]


def kill_and_resume(
    spec: Path, output: Path, sabotages: list, words: list[str] = WORDS, period: int = PERIOD
) -> int:
    """Kills a run by each sabotage in turn, then lets it end; how many of them met it."""
    kills, before = 0, 0
    for sabotage in [*sabotages, None]:
        flags = ["--resume"] if files.has_checkpoint(output) else []
        parts = len(begun(output))
        killed = is_killed(finish(start(spec, output, *flags, *words, sabotage=sabotage)), output)
        kills += killed
        check_files(output)
        if len(begun(output)) > parts:
            assert begun(output)[-1] == before, "it began elsewhere than at its newest checkpoint"
        assert done(output) >= before, "what had been saved was lost"
        assert reached(output) - done(output) <= period
        before = done(output)
    return kills


def sabotages(seed: int, undisturbed: Path) -> list:
    """One or two kills; of three seeds, two aim at saving and one at anything."""
    rng = random.Random(seed)
    count = len(moments(undisturbed))
    began, ended = ((undisturbed / f).stat().st_mtime for f in ("config.yaml", "report.html"))
    last = ended - began
    return [
        AfterSeconds(rng.uniform(0, last)) if seed % 3 == 2 else AtMoment(rng.randint(1, count))
        for _ in range(1 + seed % 2)
    ]


def check_end(output: Path, undisturbed: Path) -> None:
    for name in NAMES:
        assert_same(output / name, undisturbed / name)
    left = sorted(path.name for path in output.glob("*model*"))
    assert left == sorted(path.name for path in undisturbed.glob("*model*"))


def test_the_undisturbed_run_saves_prunes_and_improves(undisturbed):
    """Otherwise the kills below would meet nothing."""
    counts = Counter(moments(undisturbed))
    assert min(counts[name] for name in ("write", "fsync", "replace", "unlink")) > 5
    kept = sorted(path.name for path in undisturbed.glob("model_0*.pth"))
    assert kept == ["model_0000005.pth", "model_0000007.pth"]
    assert not list(undisturbed.glob("*.partial"))
    assert begun(undisturbed) == [0]


@pytest.mark.parametrize("seed", range(3))
def test_kill(tmp_path, spec, undisturbed, seed):
    kill_and_resume(spec, tmp_path / "run", sabotages(seed, undisturbed))
    check_end(tmp_path / "run", undisturbed)


@pytest.mark.parametrize("kind", ["write", "replace"])
def test_killed_inside_of_the_first_checkpoint(tmp_path, spec, undisturbed, kind):
    """Nothing is saved yet, so the run begins anew, without a word about what is half written."""
    names = moments(undisturbed)
    config = names.index("replace") + 1  # of config.yaml, which is written before
    moment = names.index(kind, config) + 1
    kill_and_resume(spec, tmp_path / "run", [AtMoment(moment)])
    assert begun(tmp_path / "run") == [0, 0]
    check_end(tmp_path / "run", undisturbed)


def test_a_run_whose_first_evaluation_comes_before_its_first_checkpoint(tmp_path, spec):
    """Killed before and after model_best.pth is there, it starts anew or goes on."""
    words = [*WORDS, "TEST.EVAL_PERIOD", "2", "SOLVER.CHECKPOINT_PERIOD", "6"]
    folder = tmp_path / "undisturbed" / "run"
    counts = folder.with_name("moments")
    assert finish(start(spec, folder, *words, sabotage=AtMoment(counts=counts))) == [0]
    assert (folder / "model_0000001.pth").exists()
    replaced = [n for n, name in enumerate(moments(folder), start=1) if name == "replace"]
    # config.yaml; digest, checkpoint, digest, tag; digest, best, digest.
    for number, moment in enumerate((replaced[2], replaced[6], replaced[7] + 2)):
        output = tmp_path / f"run{number}"
        assert kill_and_resume(spec, output, [AtMoment(moment)], words, period=6) == 1
        assert begun(output) == [0, 0 if number == 0 else 2]
        check_end(output, folder)


@pytest.mark.slow
def test_kill_at_200_moments(tmp_path, spec, undisturbed):
    """Every one of at least 200 kills that meets its run."""
    kills, seed = 0, 100
    met: Counter = Counter()
    while kills < 200:
        output = tmp_path / f"run{seed}"
        plan = sabotages(seed, undisturbed)
        found = kill_and_resume(spec, output, plan)
        kills += found
        met[type(plan[0]).__name__] += found
        check_end(output, undisturbed)
        seed += 1
    print(f"{kills} kills {dict(met)} of {seed - 100} runs, all resumed")
    assert min(met.values()) > 40


def test_a_run_killed_just_before_its_last_checkpoint(tmp_path, spec, undisturbed):
    """The last periodic checkpoint is written and tagged, model_final is not."""
    renamed = [n for n, name in enumerate(moments(undisturbed), start=1) if name == "replace"]
    # Of each checkpoint: its digests, itself, its digest and, but for the best, the tag.
    of_final = renamed[-4 - 3 * ends_with_best(undisturbed)]
    output = tmp_path / "run"
    kill_and_resume(spec, output, [AtMoment(of_final)])
    assert begun(output) == [0, ITERATIONS]
    check_end(output, undisturbed)


def ends_with_best(output: Path) -> bool:
    """Whether the last evaluation, which comes after everything else, was the best."""
    best = torch.load(output / "model_best.pth", weights_only=True)["best"]
    return best["iteration"] == ITERATIONS - 1
