"""A disk that fills up while a training saves."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import factories
from forked_training import finish, printed, start
from project.engine import checkpoint_files as files

SIZE = "500k"
WORDS = [
    *("SOLVER.MAX_ITER", "4", "SOLVER.CHECKPOINT_PERIOD", "1", "TEST.EVAL_PERIOD", "0"),
    *("MODEL.MASK_UNET.INSTANCES", "False"),
    *("TEST.BOOTSTRAP", "0", "TEST.REPORT_IMAGES", "0"),
]


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A disk with room for two checkpoints and what belongs to them, not for three."""
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(words, check=False, capture_output=True).returncode:
        pytest.skip("only root can make a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_training_on_a_disk_that_fills_up(small_disk, tmp_path):
    """What was saved is as it was, the message is plain; with room again the run goes on."""
    spec = factories.make_coco(tmp_path / "data", num_images=3)
    assert finish(start(spec, small_disk, *WORDS)) == [1]
    (error,) = re.findall(r"(?m)^error: .*", printed(small_disk))
    assert re.search(r"/model_0000002\.pth could not be written: it needs [\d,]+ bytes", error)
    names = {path.name for path in small_disk.glob("*model_*")}
    assert names == {f"model_000000{n}.pth{end}" for n in (0, 1) for end in ("", ".sha256")}
    assert files.last_whole(small_disk).name == "model_0000001.pth"

    subprocess.run(["mount", "-o", "remount,size=5m", str(small_disk)], check=True)
    assert finish(start(spec, small_disk, "--resume", *WORDS)) == [0], printed(small_disk)
    assert files.last_whole(small_disk).name == "model_final.pth"
