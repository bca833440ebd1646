"""What a user waits for before anything happens: help, a mistake, the first iteration."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import detectron2
import yaml

from project.benchmark.made_batches import CLASSES, write_images
from project.benchmark.timing import Comparison, Pair, Run

REPOSITORY = Path(__file__).resolve().parents[2]
BASE = Path(detectron2.__file__).parent / "model_zoo" / "configs" / "Base-RCNN-FPN.yaml"
IMAGES = 64
QUICK_MS = 300  # what help and mistakes may take
_FIRST = "start to the end of the first iteration"
_HELP, _MISTAKE = "--help of the training tool", "a config that is not there"

# Both end the process right after their first step, before anything is saved or scored.
_STOCK = """
import os, sys
from detectron2.config import get_cfg
from detectron2.data.datasets import register_coco_instances
from detectron2.engine import DefaultTrainer
from detectron2.engine.train_loop import SimpleTrainer

run_step = SimpleTrainer.run_step
def first_step(self):
    run_step(self)
    os._exit(0)
SimpleTrainer.run_step = first_step

folder, classes = sys.argv[1], int(sys.argv[2])
cfg = get_cfg()
cfg.merge_from_file(BASE)
register_coco_instances("made", {}, folder + "/train.json", folder)
cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = ("made",), ()
cfg.OUTPUT_DIR = folder + "/stock"
os.makedirs(cfg.OUTPUT_DIR, exist_ok=True)
cfg.merge_from_list(KEYS)
DefaultTrainer(cfg).train()
os._exit(1)
"""
_OURS = """
import os, runpy, sys
from project.engine.step import TrainStep

run_step = TrainStep.run_step
def first_step(self):
    run_step(self)
    os._exit(0)
TrainStep.run_step = first_step

sys.argv = ["tools/train_net.py", *sys.argv[1:]]
runpy.run_path("tools/train_net.py", run_name="__main__")
os._exit(1)
"""
_KEYS = (
    *("MODEL.WEIGHTS", "", "MODEL.DEVICE", "cpu", "MODEL.MASK_ON", True),
    *("MODEL.RESNETS.DEPTH", 18, "MODEL.RESNETS.RES2_OUT_CHANNELS", 64),
    *("MODEL.RESNETS.NORM", "BN", "MODEL.BACKBONE.FREEZE_AT", 0),
    *("MODEL.ROI_HEADS.NUM_CLASSES", CLASSES, "INPUT.MIN_SIZE_TRAIN", (96,)),
    *("DATALOADER.NUM_WORKERS", 2, "SOLVER.IMS_PER_BATCH", 8),
)


def pairs() -> Iterator[Pair]:
    """Processes from their start on; ours also with the checks that stock does not have."""
    yield Pair(_HELP, partial(_words, ["--help"]))
    yield Pair(_MISTAKE, partial(_words, ["--config-file", "nowhere.yaml"]))
    yield Pair(f"{_FIRST}, without a trial of the largest batch", partial(_first, False), goal=1)
    yield Pair(f"{_FIRST}, with it", partial(_first, True))


def conclusion(comparisons: Sequence[Comparison]) -> str:
    """Help and mistakes against what they may take."""
    quick = [c for c in comparisons if c.name in (_HELP, _MISTAKE)]
    words = [f"{c.name}: {c.candidate:.0f} ms, at most {QUICK_MS} wanted" for c in quick]
    return "\n".join(words) or "both sides ended after their first step"


def _words(words: list[str]) -> tuple[Run, Run]:
    """Detectron2's parser, as its own tools import it, and our tool; both say something."""
    parser = "from detectron2.engine import default_argument_parser as parser;"
    stock = ["-c", f"{parser} parser().parse_args({words!r}); open({words[-1]!r})"]
    return _run(stock, ends=None), _run(["tools/train_net.py", *words], ends=None)


def _first(preflight: bool) -> tuple[Run, Run]:
    temporary = tempfile.TemporaryDirectory()
    folder = Path(temporary.name)
    spec = write_images(folder, IMAGES, objects=4)
    (folder / "made.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    config = folder / "config.yaml"
    content = {"_BASE_": str(BASE), "PREFLIGHT": preflight, "OUTPUT_DIR": str(folder / "ours")}
    config.write_text(yaml.safe_dump(content), encoding="utf-8")
    keys = [str(word) for word in _KEYS]
    stock = ["-c", _filled(_STOCK), str(folder), str(CLASSES)]
    ours = ["-c", _OURS, "--config-file", str(config), "--dataset", str(folder / "made.yaml")]
    theirs, own = _run(stock, ends=0), _run([*ours, "--overwrite", *keys], ends=0)
    # The folder lives as long as what runs in it.
    return partial(_within, temporary, theirs), partial(_within, temporary, own)


def _filled(script: str) -> str:
    return script.replace("KEYS", repr(list(_KEYS))).replace("BASE", repr(str(BASE)))


def _within(_folder: object, run: Run) -> None:
    run()


def _run(words: Sequence[str], ends: int | None) -> Run:
    """Runs Python in our folder; raises where it ends in another way than is expected."""

    def run() -> None:
        # Into a file: workers that outlive their process for a while would hold a pipe open.
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(
                [sys.executable, *words], cwd=REPOSITORY, stdout=output, stderr=subprocess.STDOUT
            )
            if ends is not None and done.returncode != ends:
                output.seek(0)
                raise RuntimeError(f"ended with {done.returncode}: {output.read()[-2000:]!r}")

    return run
