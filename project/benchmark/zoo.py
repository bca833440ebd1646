"""Every small system trained on the built-in data set, one process after the other, and one table.

A row is kept beside its run, with what it was made from: a table that was interrupted goes on where
it stopped, and a row whose config has changed is made anew.
"""

import hashlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from project.config import load_config
from project.errors import ConfigError, nearest

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIGS = REPOSITORY / "configs"
DEMO = CONFIGS / "double_digits" / "mask_unet_demo.yaml"
# What a model is for -> metric -> the least that counts as learnt.
GOALS = {
    "semantics": {"mIoU": 60.0},
    "instances": {"AP": 50.0},
    "panoptics": {"mIoU": 60.0, "AP": 50.0},
}
# Metric -> its task in results.json.
SHOWN = {"mIoU": "sem_seg", "AP": "segm", "PQ": "panoptic_seg"}
_ROW, _OUTPUT = "row.json", "train.out"
_LATENCY_IMAGES = 50


@dataclass(frozen=True)
class Row:
    """One system.

    Attributes:
        system: what its config calls it.
        config: path from the top of the repository.
        made_from: digest of the config and of what was changed in it.
        task: "instances", "semantics", "panoptics"; "" where the run failed.
        scores: "mIoU", "AP" (of masks), "PQ" -> 0 to 100; those that the model has.
        parameters: how many numbers are learnt.
        gflops: 1e9 multiply-adds of one image, see `project.benchmark.cost`.
        latency_ms: median milliseconds of one image.
        train_seconds: wall time of the training alone.
        cpu_seconds: CPU time of the whole process: start, training, scoring, report.
        missed: what is below the goal, in words.
        error: why there are no numbers; "" where there are.
    """

    system: str
    config: str
    made_from: str
    task: str = ""
    scores: dict[str, float] | None = None
    parameters: int = 0
    gflops: float = 0.0
    latency_ms: float = 0.0
    train_seconds: float = 0.0
    cpu_seconds: float = 0.0
    missed: tuple[str, ...] = ()
    error: str = ""

    @property
    def is_good(self) -> bool:
        return not self.error and not self.missed


def find_configs(files: Sequence[Path], only: str) -> list[Path]:
    """The configs to run: those named, or every small one of `configs/` and the demo.

    Args:
        files: named ones; empty for all.
        only: a text that the path must hold.

    Raises:
        ConfigError: a file is not there, or none is left.
    """
    found = list(files) or sorted({*CONFIGS.rglob("*_digits.yaml"), DEMO})
    for path in found:
        if not path.is_file():
            beside = [p.name for p in path.parent.glob("*.yaml")]
            raise ConfigError(f"{path}: no such config.{nearest(path.name, beside)}")
    chosen = [path for path in found if only in _name(path)]
    if not chosen:
        names = ", ".join(_name(path) for path in found)
        raise ConfigError(f"--only {only!r} is in none of these: {names}")
    return chosen


def run_zoo(
    configs: Sequence[Path],
    output: Path,
    overrides: Sequence[str],
    *,
    limit_s: float,
    judges: bool = True,
) -> list[Row]:
    """Trains and measures each config that has no row yet, and says how it goes.

    Args:
        configs: to run, in this order.
        output: each gets a folder in it.
        overrides: KEY VALUE pairs for all of them.
        limit_s: seconds that one training may take.
        judges: says what is below its goal.
    """
    rows: list[Row] = []
    times: list[float] = []
    for number, path in enumerate(configs, start=1):
        folder = output / Path(_name(path)).relative_to("configs").with_suffix("")
        row = read_row(folder, _digest(path, overrides))
        if row is None:
            left = _time_left(times, len(configs) - number + 1)
            print(f"[{number}/{len(configs)}] {_name(path)} ...{left}", flush=True)
            begin = time.monotonic()
            row = run_one(path, folder, overrides, limit_s=limit_s)
            times.append(time.monotonic() - begin)
        rows.append(row)
        print(f"[{number}/{len(configs)}] {summary(row, judges)}", flush=True)
    return rows


def run_one(path: Path, folder: Path, overrides: Sequence[str], *, limit_s: float) -> Row:
    """Trains, scores and measures one config in processes of their own, and keeps its row."""
    if (folder / _OUTPUT).exists():  # left by an interrupted run of ours
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    blank = Row(system_name(path), _name(path), _digest(path, overrides))
    # Absolute, since the tools run from the top of the repository.
    path, folder = path.resolve(), folder.resolve()
    words = ["tools/train_net.py", "--config-file", str(path), "OUTPUT_DIR", str(folder)]
    cpu, error = _run([*words, *overrides], folder / _OUTPUT, limit_s)
    if error:
        return replace(blank, error=error)
    cost_file = folder / "cost.json"
    words = ["tools/benchmark.py", "cost", "--config-file", str(folder / "config.yaml")]
    words += ["--weights", str(folder / "model_final.pth"), "--json", str(cost_file)]
    _, error = _run([*words, "--images", str(_LATENCY_IMAGES)], folder / "cost.out", limit_s)
    if error:
        return replace(blank, error=error)
    row = make_row(blank, folder, cpu)
    (folder / _ROW).write_text(json.dumps(asdict(row), indent=1) + "\n", encoding="utf-8")
    return row


def make_row(blank: Row, folder: Path, cpu_seconds: float) -> Row:
    """The row of a finished run, from what it left: results.json, cost.json and its log."""
    cost = json.loads((folder / "cost.json").read_text(encoding="utf-8"))
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    (tasks,) = results["datasets"].values()
    log = (folder / "log.txt").read_text(encoding="utf-8")
    found = {metric: (tasks.get(task) or {}).get(metric) for metric, task in SHOWN.items()}
    missed = [
        f"{metric} {found[metric] or 0:.1f} is below {least:g}"
        for metric, least in GOALS[cost["task"]].items()
        if (found[metric] or 0) < least
    ]
    return replace(
        blank,
        task=cost["task"],
        scores={metric: value for metric, value in found.items() if value is not None},
        parameters=cost["parameters"],
        gflops=cost["gflops"],
        latency_ms=cost["latency_ms"],
        train_seconds=float(re.findall(r"trained for ([\d.]+) s", log)[-1]),
        cpu_seconds=cpu_seconds,
        missed=tuple(missed),
    )


def read_row(folder: Path, made_from: str) -> Row | None:
    """The row that is kept in a folder, if it was made from the same."""
    try:
        fields = json.loads((folder / _ROW).read_text(encoding="utf-8"))
        row = Row(**{**fields, "missed": tuple(fields["missed"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return row if row.made_from == made_from else None


def system_name(path: Path) -> str:
    """The first clause of a config's opening comment; the file's name where there is none."""
    words = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        words += line.lstrip("#").rstrip() + " "
    words = re.sub(r"\s*\([^)]*\)", "", words)  # who and when
    return re.split(r"[,:.]\s", words.strip(), maxsplit=1)[0] or path.stem


def summary(row: Row, judges: bool = True) -> str:
    """One line of progress."""
    if row.error:
        return f"{row.config}: failed: {row.error}"
    scores = ", ".join(f"{name} {value:.1f}" for name, value in (row.scores or {}).items())
    goal = f"; missed: {', '.join(row.missed)}" if row.missed and judges else ""
    return f"{row.config}: {scores} after {row.train_seconds:.0f} s{goal}"


def _name(path: Path) -> str:
    """A config as its path from the top of the repository, or from a folder `configs` elsewhere."""
    path = path.resolve()
    if path.is_relative_to(REPOSITORY):
        return path.relative_to(REPOSITORY).as_posix()
    return f"configs/{path.parent.name}/{path.name}"


def _digest(path: Path, overrides: Sequence[str]) -> str:
    """Changes with anything that the config or its bases say."""
    content = load_config(path, list(overrides)).dump()
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _time_left(times: Sequence[float], to_do: int) -> str:
    if not times:
        return ""
    return f" about {sum(times) / len(times) * to_do / 60:.0f} min left for {to_do}"


def _run(words: Sequence[str], log: Path, limit_s: float) -> tuple[float, str]:
    """Runs a tool from the top of the repository, its output into `log`.

    Returns:
        CPU seconds of the process and its children, and what went wrong, "" if nothing.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            [sys.executable, *words],
            cwd=REPOSITORY,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that workers end with it
        )
        try:
            status = process.wait(limit_s)
            error = f"ended with status {status}: {_last_words(log)}" if status else ""
        except subprocess.TimeoutExpired:
            error = f"took longer than {limit_s:g} s"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime), error


def _last_words(log: Path) -> str:
    """The error that a log ends with, and where the rest is."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    return f"{(errors or lines or ['no output'])[-1][:300]} ({log})"
