#!/usr/bin/env python
"""Writes the report.html of a finished run again, from its results.json and metrics.json.

    tools/report.py output/demo
    tools/report.py output/demo --images 10
    tools/report.py output/demo --images 0      (no pictures: needs neither weights nor data)

For the pictures, the run's weights predict the test images once more.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from project.cli import new_parser, run_tool
from project.network import set_downloads


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The words of the command line."""
    parser = new_parser(__doc__, downloads=True)
    add = parser.add_argument
    add("run_dir", type=Path, metavar="RUN_DIR", help="OUTPUT_DIR of the run")
    add("--images", type=int, help="of worst, median and best each; TEST.REPORT_IMAGES if left out")
    args = parser.parse_args(argv)
    if args.images is not None and args.images < 0:
        parser.error(f"--images: expected 0 or more, found {args.images}")
    return args


def main(argv: list[str] | None = None) -> int:
    """Reads the run, finds the pictures and writes the page."""
    args = parse_args(argv)
    set_downloads(args.allow_download)

    from project.evaluation.results import read_results

    results = read_results(args.run_dir / "results.json")  # the rest takes seconds to import

    from project.inference.examples import examples_of_run
    from project.report.page import read_metrics, write_report

    metrics = read_metrics(args.run_dir / "metrics.json")
    examples = examples_of_run(args.run_dir, results, args.images) if args.images != 0 else []
    print(write_report(args.run_dir, results, metrics, examples))
    return 0


if __name__ == "__main__":
    run_tool(main)
