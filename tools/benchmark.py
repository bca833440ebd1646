"""Times a part of this project beside what it replaces.

    python tools/benchmark.py roi-align --threads 2 --json roi_align.json

A ratio above 1 says how many times quicker our part is.
"""

import argparse
import importlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from project.cli import run_tool

# Subcommand: (what it compares, the module with its `pairs()` and `conclusion(comparisons)`).
COMMANDS = {
    "check": (
        "the check of a data set against reading its files with Pillow and Detectron2",
        "project.benchmark.check",
    ),
    "roi-align": (
        "the separable RoIAlign against torchvision's, on CPU",
        "project.benchmark.roi_align",
    ),
}


def build_parser() -> argparse.ArgumentParser:
    """One subcommand a benchmark, all with the same options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (words, _) in COMMANDS.items():
        command = commands.add_parser(name, help=words, description=f"Times {words}.")
        command.add_argument("--rounds", type=_positive, default=9, help="calls of each side")
        command.add_argument("--threads", type=_positive, help="CPU threads (default: all cores)")
        command.add_argument("--only", default="", metavar="TEXT", help="names that hold TEXT")
        command.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return number


def main(argv: list[str] | None = None) -> int:
    """Runs one benchmark, printing each comparison when it is there."""
    parser = build_parser()
    arguments = parser.parse_args(argv)

    import torch

    from project.benchmark import timing

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    benchmark = importlib.import_module(COMMANDS[arguments.command][1])
    pairs = [pair for pair in benchmark.pairs() if arguments.only in pair.name]
    if not pairs:
        names = "\n".join(pair.name for pair in benchmark.pairs())
        parser.error(f"--only {arguments.only!r} is in none of these names:\n{names}")
    comparisons = []
    for pair in pairs:
        comparisons.append(timing.compare(pair, arguments.rounds))
        print(comparisons[-1], flush=True)
    print(benchmark.conclusion(comparisons))
    if arguments.json:
        timing.write_json(arguments.json, comparisons)
    return 0


if __name__ == "__main__":
    run_tool(main)
