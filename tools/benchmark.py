"""Times a part of this project beside what it replaces, a model, all small systems, or tiles.

    python tools/benchmark.py roi-align --threads 2 --json roi_align.json
    python tools/benchmark.py all --json performance.json --markdown performance.md
    python tools/benchmark.py cost --config-file RUN/config.yaml --weights RUN/model_final.pth
    python tools/benchmark.py zoo --json zoo.json --markdown zoo.md
    python tools/benchmark.py tiling --side 10000 --tile 1024 --overlap 128

Of a comparison, a ratio above 1 says how many times quicker our part is.
"""

import argparse
import importlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from project.cli import run_tool

# Subcommand: (what it compares, the module with its `pairs()` and `conclusion(comparisons)`).
COMPARISONS = {
    "check": (
        "the check of a data set against reading its files with Pillow and Detectron2",
        "project.benchmark.check",
    ),
    "infer": (
        "prediction by Mask R-CNN R50-FPN against stock Detectron2's",
        "project.benchmark.infer",
    ),
    "roi-align": (
        "our RoIAlign against Detectron2's, on CPU",
        "project.benchmark.roi_align",
    ),
    "train": (
        "a training step of a small Mask R-CNN against stock Detectron2's",
        "project.benchmark.train",
    ),
    "unet": (
        "forward and backward pass of the U-Net against the same in float32 and NCHW, on CPU",
        "project.benchmark.unet",
    ),
}
WITH_DEVICE = ("infer", "train")  # whose `pairs` take one
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
        command.set_defaults(run=compare, parser=parser)
        command.add_argument("--rounds", type=_positive, default=9, help="calls of each side")
        command.add_argument("--threads", type=_positive, help="CPU threads (default: all cores)")
        command.add_argument("--only", default="", metavar="TEXT", help="names that hold TEXT")
        command.add_argument("--goals", action="store_true", help="only those that have a goal")
        command.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
        if name in WITH_DEVICE:
            command.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    _add_all(commands)
    _add_cost(commands)
    _add_zoo(commands)
    _add_tiling(commands)
    return parser


def _add_all(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    words = "every comparison that has a goal, as one table"
    command = commands.add_parser("all", help=words, description=f"Times {words}.")
    command.set_defaults(run=compare_all)
    add = command.add_argument
    add("--rounds", type=_positive, default=9, help="calls of each side")
    add("--threads", type=_positive, help="CPU threads (default: all cores)")
    add("--only", nargs="+", choices=WITH_GOALS, default=WITH_GOALS, help="these subcommands")
    add("--json", type=Path, metavar="FILE", help="write the figures here")
    add("--markdown", type=Path, metavar="FILE", help="write the table here")


def _add_cost(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    words = "parameters, operations and milliseconds of one image of a trained model, on CPU"
    command = commands.add_parser("cost", help=words, description=f"Measures {words}.")
    command.set_defaults(run=cost)
    add = command.add_argument
    add("--config-file", type=Path, required=True, metavar="FILE", help="config.yaml of a run")
    add("--weights", type=Path, required=True, metavar="FILE", help="its model_final.pth")
    add("--images", type=_positive, default=50, help="images that are timed")
    add("--json", type=Path, metavar="FILE", help="write the figures here")


def _add_zoo(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    words = "every small system, trained on double_digits, as one table"
    command = commands.add_parser("zoo", help=words, description=f"Measures {words}.")
    command.set_defaults(run=zoo)
    add = command.add_argument
    add("--config-file", type=Path, action="append", default=[], metavar="FILE", help="only this")
    add("--only", default="", metavar="TEXT", help="configs whose path holds TEXT")
    add("--output", type=Path, default=Path("output/zoo"), metavar="DIR", help="folder of the runs")
    add("--time-limit", type=_positive, default=1200, metavar="S", help="seconds of one training")
    add("--json", type=Path, metavar="FILE", help="write the rows here")
    add("--markdown", type=Path, metavar="FILE", help="write the table here")
    add("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config keys to change in all")


def _add_tiling(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    words = "peak memory and time of one large image in tiles, for two small models on CPU"
    command = commands.add_parser("tiling", help=words, description=f"Measures {words}.")
    command.set_defaults(run=tiling)
    add = command.add_argument
    add("--side", type=_positive, default=10000, help="of the square image, pixels")
    add("--tile", type=_positive, default=1024, help="side of a tile, pixels")
    add("--overlap", type=_positive, default=128, help="of tiles, pixels")
    add("--threads", type=_positive, default=1, help="CPU threads")
    add("--only", default="", metavar="TEXT", help="configs whose path holds TEXT")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return number


def main(argv: list[str] | None = None) -> int:
    """Runs one benchmark."""
    arguments = build_parser().parse_args(argv)
    return arguments.run(arguments)


def compare(arguments: argparse.Namespace) -> int:
    """Runs one comparison, printing each pair when it is there."""
    import torch

    from project.benchmark import timing

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    benchmark = importlib.import_module(COMPARISONS[arguments.command][1])
    words = {"device": arguments.device} if "device" in arguments else {}
    pairs = [
        pair
        for pair in benchmark.pairs(**words)
        if arguments.only in pair.name and (pair.goal is not None or not arguments.goals)
    ]
    if not pairs:
        names = "\n".join(pair.name for pair in benchmark.pairs(**words))
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


def cost(arguments: argparse.Namespace) -> int:
    """Measures one model."""
    import json
    from dataclasses import asdict

    from project.benchmark.cost import measure_cost

    found = asdict(measure_cost(arguments.config_file, arguments.weights, images=arguments.images))
    for name, value in found.items():
        print(f"{name}: {value}")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


def tiling(arguments: argparse.Namespace) -> int:
    """Measures each model in a process of its own."""
    from project.benchmark.tiling import measure_all

    a = arguments
    for found in measure_all(a.side, a.tile, a.overlap, threads=a.threads, only=a.only):
        print(found, flush=True)
    return 0


def zoo(arguments: argparse.Namespace) -> int:
    """Trains, scores and measures what has no row yet; 1 where a row fails or misses its goal."""
    from project.benchmark.zoo import find_configs, run_zoo
    from project.benchmark.zoo_table import markdown, write_json

    configs = find_configs(arguments.config_file, arguments.only)
    rows = run_zoo(configs, arguments.output, arguments.opts, limit_s=arguments.time_limit)
    table = markdown(rows)
    print(f"\n{table}")
    if arguments.markdown:
        arguments.markdown.write_text(table, encoding="utf-8")
    if arguments.json:
        write_json(arguments.json, rows)
    return 0 if all(row.is_good for row in rows) else 1


if __name__ == "__main__":
    run_tool(main)
