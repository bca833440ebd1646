#!/usr/bin/env python
"""Times parts of this project beside what they replace, and models, tiles, growth and scores.

    python tools/benchmark.py roi-align --threads 2 --json roi_align.json
    python tools/benchmark.py all --json performance.json --markdown performance.md
    python tools/benchmark.py cost --config-file RUN/config.yaml --weights RUN/model_final.pth
    python tools/benchmark.py zoo --json zoo.json --markdown zoo.md
    python tools/benchmark.py tiling --side 10000 --tile 1024 --overlap 128
    python tools/benchmark.py scaling --plot scaling.png --json scaling.json
    python tools/benchmark.py precision --config-file CONFIG --seeds 1 2 3

Of a comparison, a ratio above 1 says how many times quicker our part is.
"""

import argparse
import importlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from project.benchmark.commands import add_measurements, cores, positive
from project.cli import run_tool

# Subcommand: (what it compares, the module with its `pairs()` and `conclusion(comparisons)`).
COMPARISONS = {
    "check": (
        "the check of a data set against reading its files with Pillow and Detectron2",
        "project.benchmark.check",
    ),
    "coco-eval": (
        "COCO's scores from a model's outputs against Detectron2's evaluator",
        "project.benchmark.coco_eval",
    ),
    "infer": (
        "prediction by Mask R-CNN R50-FPN, as set and in float32, against stock Detectron2's",
        "project.benchmark.infer",
    ),
    "mapper": (
        "reading and augmenting of training images against Detectron2's mapper",
        "project.benchmark.mapper",
    ),
    "memory": (
        "the growth of an evaluator's memory with the images against Detectron2's",
        "project.benchmark.memory",
    ),
    "panoptic": (
        "panoptic quality against torchmetrics', where that is installed",
        "project.benchmark.panoptic",
    ),
    "rle": (
        "an image's masks from a mask head's cells to RLE against Detectron2's way",
        "project.benchmark.rle",
    ),
    "roi-align": (
        "our RoIAlign against Detectron2's, on CPU",
        "project.benchmark.roi_align",
    ),
    "semantic": (
        "the scores of a label map from a model's logits against Detectron2's evaluator",
        "project.benchmark.semantic",
    ),
    "startup": (
        "the start of the training tool against Detectron2's",
        "project.benchmark.startup",
    ),
    "train": (
        "a training step of Mask R-CNN against stock Detectron2's, on a GPU at 800 pixels too",
        "project.benchmark.train",
    ),
    "unet": (
        "forward and backward pass of the U-Net against the same in float32 and NCHW, on CPU",
        "project.benchmark.unet",
    ),
}
ROUNDS = "calls of each side (default: 9)"
WITH_DEVICE = ("infer", "rle", "semantic", "train", "unet")  # whose `pairs` take one
# Those that `all` runs.
WITH_GOALS = [name for name in COMPARISONS if name != "check"]


def build_parser() -> argparse.ArgumentParser:
    """One subcommand a benchmark; comparisons all with the same options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (words, _) in COMPARISONS.items():
        command = commands.add_parser(name, help=words, description=f"Times {words}.")
        command.set_defaults(run=compare, parser=command)
        command.add_argument("--rounds", type=positive, default=9, help=ROUNDS)
        command.add_argument("--threads", type=cores, help="CPU threads (default: all cores)")
        command.add_argument("--only", default="", metavar="TEXT", help="names that hold TEXT")
        command.add_argument("--goals", action="store_true", help="only those that have a goal")
        command.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
        if name in WITH_DEVICE:
            words = "where both sides compute (default: cpu)"
            command.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help=words)
    _add_all(commands)
    add_measurements(commands)
    return parser


def _add_all(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    words = "every comparison that has a goal, as one table"
    command = commands.add_parser("all", help=words, description=f"Times {words}.")
    command.set_defaults(run=compare_all)
    add = command.add_argument
    add("--rounds", type=positive, default=9, help=ROUNDS)
    add("--threads", type=cores, help="CPU threads (default: all cores)")
    add("--only", nargs="+", choices=WITH_GOALS, default=WITH_GOALS, help="these subcommands")
    add("--json", type=Path, metavar="FILE", help="write the figures here")
    add("--markdown", type=Path, metavar="FILE", help="write the table here")


def main(argv: list[str] | None = None) -> int:
    """Runs one benchmark."""
    arguments = build_parser().parse_args(argv)
    return arguments.run(arguments)


def compare(arguments: argparse.Namespace) -> int:
    """Runs one comparison, printing each pair when it is there."""
    import torch

    from project.benchmark import timing

    if getattr(arguments, "device", "cpu") == "cuda" and not torch.cuda.is_available():
        arguments.parser.error("--device cuda, but torch finds no GPU on this machine")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    benchmark = importlib.import_module(COMPARISONS[arguments.command][1])
    words = {"device": arguments.device} if "device" in arguments else {}
    known = list(benchmark.pairs(**words))  # none where a peer is not installed
    with_goals = [pair for pair in known if pair.goal is not None or not arguments.goals]
    pairs = [pair for pair in with_goals if arguments.only in pair.name]
    if known and not pairs:
        names = "\n".join(pair.name for pair in with_goals)
        arguments.parser.error(f"--only {arguments.only!r} is in none of these names:\n{names}")
    comparisons = []
    for pair in pairs:
        comparisons.append(timing.compare(pair, arguments.rounds))
        print(comparisons[-1], flush=True)
    print(benchmark.conclusion(comparisons))
    if arguments.json:
        timing.write_json(arguments.json, comparisons)
    return 0


def compare_all(arguments: argparse.Namespace) -> int:
    """Runs each comparison in a process of its own; 1 where one fails or misses a goal."""
    from project.benchmark.performance import run_all

    options = ["--rounds", str(arguments.rounds)]
    if arguments.threads:
        options += ["--threads", str(arguments.threads)]
    result = run_all(arguments.only, options)
    print(f"\n{result.markdown()}")
    if arguments.markdown:
        arguments.markdown.write_text(result.markdown(), encoding="utf-8")
    if arguments.json:
        result.write_json(arguments.json)
    return 0 if result.is_good else 1


if __name__ == "__main__":
    run_tool(main)
