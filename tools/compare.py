#!/usr/bin/env python
"""Says whether two runs that were scored on the same images differ by more than chance.

    tools/compare.py output/unet output/resnet_unet
    tools/compare.py output/a output/b --dataset my_data_val --out differences.html
    tools/compare.py scores/a.json scores/b.json --out differences.json

A run is an OUTPUT_DIR of tools/train_net.py, or what tools/score.py --out has written: the folder
or the results file. Both runs are scored on the same resamples of the images, drawn with
replacement; a difference is more than chance where its 95 % interval leaves out 0. What another
training with another seed would change is not in the intervals.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from project.cli import new_parser, run_tool
from project.usage import check_usage


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The words of the command line."""
    parser = new_parser(__doc__)
    add = parser.add_argument
    add("run_a", type=Path, metavar="RUN_A", help="folder or results file")
    add("run_b", type=Path, metavar="RUN_B", help="folder or results file")
    add("--dataset", metavar="NAME", help="compare on this data set only, e.g. my_data_val")
    add("--out", type=Path, metavar="FILE", help="also write FILE.html, with classes, or FILE.json")
    add("--resamples", type=int, default=1000, metavar="N", help="of the images; 1000 if left out")
    args = parser.parse_args(argv)
    if args.resamples < 2:
        parser.error(f"--resamples: expected 2 or more, found {args.resamples}")
    if args.out and args.out.suffix not in (".html", ".json"):
        parser.error(f"--out: expected a name that ends in .html or .json, found {args.out}")
    return args


def main(argv: list[str] | None = None) -> int:
    """Compares, prints a table and writes the file."""
    args = parse_args(argv)
    check_usage(paths={"RUN_A": args.run_a, "RUN_B": args.run_b})

    from project.evaluation.comparison import compare_runs
    from project.report.comparison_page import comparison_text, write_comparison

    comparisons = compare_runs(
        args.run_a, args.run_b, dataset=args.dataset, resamples=args.resamples
    )
    print(comparison_text(comparisons, str(args.run_a), str(args.run_b)))
    if args.out:
        write_comparison(comparisons, args.out, str(args.run_a), str(args.run_b))
        print(f"\ncomparison: {args.out}")
    return 0


if __name__ == "__main__":
    run_tool(main)
