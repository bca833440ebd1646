"""The scores that the README promises, by whole trainings: `make proof`, 20 minutes or more.

Times are printed and not asserted: machines differ.
"""

import json
import os
import re
from pathlib import Path
from statistics import median

import pytest

from tool_runner import REPOSITORY, run_process

pytestmark = pytest.mark.slow

GOALS = REPOSITORY / "output" / "goals"
DEMO = "configs/double_digits/mask_unet_demo.yaml"


def train(name: str, *words: str, **environment: str) -> dict:
    """Trains from the command line and returns the scores of the one data set."""
    output = GOALS / name
    done = run_process(
        "tools/train_net.py", *words, "OUTPUT_DIR", output, timeout=3000, **environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    log = (output / "log.txt").read_text(encoding="utf-8")
    print(name, re.findall(r"trained for .*", log)[-1])
    (scores,) = json.loads((output / "results.json").read_text())["datasets"].values()
    return scores


@pytest.fixture(scope="module")
def double_digits() -> Path:
    folder = REPOSITORY / "datasets" / "double_digits"
    if not (folder / "val.json").is_file():
        assert run_process("datasets/prepare_double_digits.py").returncode == 0
    return folder


def test_demo(double_digits):
    """The medians of three seeds."""
    runs = [train(f"demo_{seed}", "--config-file", DEMO, "SEED", str(seed)) for seed in (1, 2, 3)]
    assert [run["images"] for run in runs] == [200, 200, 200]
    goals = {("segm", "AP"): 83, ("segm", "AP50"): 98, ("sem_seg", "mIoU"): 85}
    for (task, metric), goal in {**goals, ("panoptic_seg", "PQ"): 78}.items():
        found = [run[task][metric] for run in runs]
        print(task, metric, found)
        assert median(found) >= goal, (task, metric)


def test_isbi2012(shared_data):
    scores = train(
        "isbi2012",
        *("--config-file", "configs/isbi2012/unet.yaml"),
        MASKUNET_SHARED_DATA=os.fspath(shared_data),
    )
    assert scores["images"] == 4
    assert scores["sem_seg"]["mIoU"] >= 80


def test_fruits_nuts(shared_data):
    """Scored on the images of the training: says that both work on photographs."""
    scores = train(
        "fruits_nuts",
        *("--config-file", "configs/mask_unet/mask_unet_small.yaml"),
        *("--dataset", "datasets/fruits_nuts.yaml"),
        *("SOLVER.MAX_ITER", "300", "SOLVER.WARMUP_ITERS", "20", "DATALOADER.NUM_WORKERS", "0"),
        MASKUNET_SHARED_DATA=os.fspath(shared_data),
    )
    assert scores["images"] == 18
    assert scores["segm"]["AP"] >= 60
