"""Killed at random iterations and resumed, a training ends as the one that nobody disturbed.

The long form is `make stress`: every architecture, number of loader workers and number of ranks.
"""

import json
import random
from collections import Counter
from itertools import product
from pathlib import Path

import pytest

import factories
from forked_training import KillAt, assert_same, equal, finish, leaves, printed, start

IMAGES, ITERATIONS, BATCH = 5, 10, 2
CHANGES = "[{name: flip}, {name: noise, std: [0, 8]}, {name: colour_jitter, brightness: 0.2}]"
WORDS = [
    *("SOLVER.MAX_ITER", str(ITERATIONS), "SOLVER.CHECKPOINT_PERIOD", "3"),
    *("SOLVER.LR_SCHEDULER_NAME", "WarmupCosineLR", "TEST.EVAL_PERIOD", "2"),
    *("TEST.BOOTSTRAP", "0", "TEST.REPORT_IMAGES", "0", "INPUT.AUGMENTATIONS", CHANGES),
    *("PREFLIGHT", "False"),  # its pass would be noted too
    *("SOLVER.EMA.ENABLED", "True", "SOLVER.EMA.DECAY", "0.5"),
    *("SOLVER.EARLY_STOPPING.PATIENCE", "50"),
]
PARTS = {
    "joint": [],
    "instances": ["MODEL.MASK_UNET.SEMANTICS", "False"],
    # Without the pyramid: semantics do not use it, and ranks need a gradient of every weight.
    "semantics": [
        *("MODEL.MASK_UNET.INSTANCES", "False", "MODEL.BACKBONE.NAME", "build_unet_backbone")
    ],
}
LONG = [
    pytest.param(*case, marks=pytest.mark.slow)
    for case in product(PARTS, ("0", "2"), (1, 2), range(4))
]


@pytest.fixture(scope="module")
def spec(tmp_path_factory) -> Path:
    return factories.make_coco(tmp_path_factory.mktemp("data"), num_images=IMAGES)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, spec):
    """Architecture and ranks -> the folder of a run that nobody disturbs; each is made once."""
    runs: dict[tuple[str, int], Path] = {}

    def find(part: str, ranks: int) -> Path:
        if (part, ranks) not in runs:
            folder = runs[part, ranks] = tmp_path_factory.mktemp(f"{part}{ranks}") / "run"
            run(spec, folder, part, "0", ranks)
        return runs[part, ranks]

    return find


def run(
    spec: Path, output: Path, part: str, workers: str, ranks: int, *flags: str, kill: int = -1
) -> None:
    words = [*WORDS, *PARTS[part], "DATALOADER.NUM_WORKERS", workers]
    sabotage = KillAt(output.with_suffix(".notes"), kill)
    found = finish(start(spec, output, *flags, *words, ranks=ranks, sabotage=sabotage))
    assert found == [0 if kill < 0 else -9] * ranks, (found, printed(output))


def notes(output: Path, ranks: int) -> list[dict]:
    """What was learnt, iteration by iteration; whatever was done twice was the same twice."""
    whole: list[dict] = [{"images": [], "loss": []} for _ in range(ITERATIONS)]
    for rank in range(ranks):
        seen: dict[int, dict] = {}
        for line in output.with_suffix(f".{rank}").read_text().splitlines():
            note = json.loads(line)
            assert seen.setdefault(note["iteration"], note) == note
        assert sorted(seen) == list(range(ITERATIONS))
        for iteration, note in seen.items():
            whole[iteration]["images"] += note["images"]
            whole[iteration]["loss"].append(note["loss"])
    return whole


def assert_once_an_epoch(learnt: list[dict]) -> None:
    drawn = [image for note in learnt for image in note["images"]]
    assert len(drawn) == ITERATIONS * BATCH
    # The batch in the middle of two epochs has images of both.
    two_epochs = IMAGES * BATCH
    for start_of in range(0, len(drawn), two_epochs):
        counts = Counter(drawn[start_of : start_of + two_epochs])
        assert set(counts.values()) == {2} and len(counts) == IMAGES


def assert_all_is_kept(ended: dict, ranks: int) -> None:
    """What the comparison of two checkpoints must meet for it to mean something."""
    trainer = "/trainer/_trainer"
    kinds = ["/training_model/", "/average_count", f"{trainer}/optimizer/state/"]
    kinds += ["/trainer/hooks/LRScheduler/", "/trainer/seed"]
    kinds += [f"/trainer/hooks/EarlyStoppingHook/{name}" for name in ("best", "waited", "told_at")]
    kinds += [f"/trainer/hooks/StatisticsHook/ranks/{rank}/model." for rank in range(ranks)][1:]
    assert not [kind for kind in kinds if not any(key.startswith(kind) for key in ended)]
    assert ended["/trainer/hooks/EarlyStoppingHook/told_at"] == ITERATIONS - 2


@pytest.mark.parametrize(("part", "workers", "ranks", "number"), [("joint", "2", 2, 99), *LONG])
def test_bit_by_bit(tmp_path, spec, undisturbed, part, workers, ranks, number):
    rng = random.Random(f"{part} {workers} {ranks} {number}")
    # Before the first checkpoint, at 3, nothing can be resumed.
    first = rng.randint(3, ITERATIONS - 1)
    second = rng.randint(first // 3 * 3, ITERATIONS - 1)
    disturbed = tmp_path / "run"
    run(spec, disturbed, part, workers, ranks, kill=first)
    run(spec, disturbed, part, workers, ranks, "--resume", kill=second)
    run(spec, disturbed, part, workers, ranks, "--resume")

    expected = undisturbed(part, ranks)
    assert notes(disturbed, ranks) == notes(expected, ranks)
    assert_once_an_epoch(notes(disturbed, ranks))
    losses = [note["loss"] for note in notes(expected, ranks)]
    assert len({loss for of_ranks in losses for loss in of_ranks}) == ITERATIONS * ranks
    for name in ("model_final.pth", "model_best.pth"):
        assert_same(disturbed / name, expected / name)
    started, ended = (leaves(expected / f"model_{name}.pth") for name in ("0000002", "final"))
    assert sum(not equal(started[key], ended[key]) for key in started) > 10
    assert_all_is_kept(ended, ranks)


def test_a_seed_gives_the_same_run_twice(tmp_path, spec, undisturbed):
    again, expected = tmp_path / "run", undisturbed("semantics", 1)
    run(spec, again, "semantics", "2", 1)
    assert notes(again, 1) == notes(expected, 1)
    for name in ("model_final.pth", "model_best.pth"):
        assert_same(again / name, expected / name)
