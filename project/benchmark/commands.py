"""The subcommands of tools/benchmark.py that measure one thing alone; imports nothing heavy."""

import argparse
import os
from pathlib import Path


def add_measurements(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds them to the tool's parser."""
    _add_cost(commands)
    _add_zoo(commands)
    _add_tiling(commands)
    _add_scaling(commands)
    _add_precision(commands)


def _add_cost(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    words = "parameters, operations and milliseconds of one image of a trained model, on CPU"
    command = commands.add_parser("cost", help=words, description=f"Measures {words}.")
    command.set_defaults(run=cost)
    add = command.add_argument
    add("--config-file", type=Path, required=True, metavar="FILE", help="config.yaml of a run")
    add("--weights", type=Path, required=True, metavar="FILE", help="its model_final.pth")
    add("--images", type=positive, default=50, help="images that are timed")
    add("--json", type=Path, metavar="FILE", help="write the figures here")


def _add_zoo(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    words = "every small system, trained on double_digits, as one table"
    command = commands.add_parser("zoo", help=words, description=f"Measures {words}.")
    command.set_defaults(run=zoo)
    add = command.add_argument
    add("--config-file", type=Path, action="append", default=[], metavar="FILE", help="only this")
    add("--only", default="", metavar="TEXT", help="configs whose path holds TEXT")
    add("--output", type=Path, default=Path("output/zoo"), metavar="DIR", help="folder of the runs")
    add("--time-limit", type=positive, default=1200, metavar="S", help="seconds of one training")
    add("--json", type=Path, metavar="FILE", help="write the rows here")
    add("--markdown", type=Path, metavar="FILE", help="write the table here")
    add("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config keys to change in all")


def _add_tiling(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    words = "peak memory and time of one large image in tiles, for two small models on CPU"
    command = commands.add_parser("tiling", help=words, description=f"Measures {words}.")
    command.set_defaults(run=tiling)
    add = command.add_argument
    add("--side", type=positive, default=10000, help="of the square image, pixels")
    add("--tile", type=positive, default=1024, help="side of a tile, pixels")
    add("--overlap", type=positive, default=128, help="of tiles, pixels")
    add("--threads", type=cores, default=1, help="CPU threads (default: 1)")
    add("--only", default="", metavar="TEXT", help="configs whose path holds TEXT")


def _add_scaling(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    words = "how training, loading and scoring grow with batches, images, objects and ranks, on CPU"
    command = commands.add_parser("scaling", help=words, description=f"Measures {words}.")
    command.set_defaults(run=scaling, parser=command)
    add = command.add_argument
    add("--rounds", type=positive, default=5, help="measurements of a point")
    add("--threads", type=cores, help="CPU threads (default: all cores)")
    add("--only", default="", metavar="TEXT", help="sweeps whose name or x holds TEXT")
    add("--plot", type=Path, metavar="FILE", help="draw the lines into this PNG")
    add("--json", type=Path, metavar="FILE", help="write the figures here")


def _add_precision(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    words = "scores of trainings with our arithmetic beside stock's (EXACT), seed by seed"
    command = commands.add_parser("precision", help=words, description=f"Compares {words}.")
    command.set_defaults(run=precision)
    add = command.add_argument
    add("--config-file", type=Path, action="append", required=True, metavar="FILE", help="a config")
    words = "of the trainings (default: 1 2 3)"
    add("--seeds", type=int, nargs="+", default=[1, 2, 3], metavar="N", help=words)
    words = "folder of the runs (default: output/precision)"
    add("--output", type=Path, default=Path("output/precision"), metavar="DIR", help=words)
    words = "seconds of one training (default: 7200)"
    add("--time-limit", type=positive, default=7200, metavar="S", help=words)
    add("--json", type=Path, metavar="FILE", help="write the figures here")
    add("--markdown", type=Path, metavar="FILE", help="write the table here")
    add("--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="for all runs")


def positive(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return number


def cores(text: str) -> int:
    """A number of threads, for argparse: with more than cores they wait for each other."""
    number = positive(text)
    if number > (os.cpu_count() or number):
        raise argparse.ArgumentTypeError(
            f"{text} is more than the {os.cpu_count()} cores there are"
        )
    return number


def cost(arguments: argparse.Namespace) -> int:
    """Measures one model."""
    import json
    from dataclasses import asdict

    from project.usage import check_usage

    check_usage(config_file=arguments.config_file, weights=str(arguments.weights))
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


def scaling(arguments: argparse.Namespace) -> int:
    """Measures each sweep, printing it when it is there."""
    import torch

    from project.benchmark.scaling import measure_all, sweeps
    from project.benchmark.scaling_plots import write_json, write_plots

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    lines = []
    for line in measure_all(arguments.rounds, arguments.only):
        print(line, flush=True)
        lines.append(line)
    if not lines:
        names = ", ".join(f"{sweep.name} {sweep.x}" for sweep in sweeps())
        arguments.parser.error(f"--only {arguments.only!r} is in none of these: {names}")
    if arguments.plot:
        write_plots(lines, arguments.plot)
    if arguments.json:
        write_json(lines, arguments.json)
    return 0


def precision(arguments: argparse.Namespace) -> int:
    """Trains what has not been trained yet; 1 where intervals do not overlap, or nothing ended."""
    _check_configs(arguments)
    from project.benchmark.precision import markdown, run_precision, write_json

    a = arguments
    findings = run_precision(a.config_file, a.output, a.opts, seeds=a.seeds, limit_s=a.time_limit)
    if not findings:
        print("\nnothing to compare: of each way at least one training must end")
        return 1
    table = markdown(findings)
    print(f"\n{table}")
    if a.markdown:
        a.markdown.write_text(table, encoding="utf-8")
    if a.json:
        write_json(a.json, findings)
    return 0 if all(found.overlap for found in findings) else 1


def _check_configs(arguments: argparse.Namespace) -> None:
    """Raises for what is mistyped before anything heavy is imported."""
    from project.usage import check_usage

    for path in arguments.config_file:
        check_usage(config_file=path, opts=arguments.opts)


def zoo(arguments: argparse.Namespace) -> int:
    """Trains, scores and measures what has no row yet; 1 where a row fails or misses its goal."""
    _check_configs(arguments)
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
