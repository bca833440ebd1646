#!/usr/bin/env python
"""Scores predictions that were made anywhere; needs no image files and no model.

    tools/score.py --dataset datasets/fruits_nuts.yaml --split val --predictions coco_results.json
    tools/score.py --dataset D.yaml --split val --predictions label_maps/ --out results.json
    tools/score.py --dataset D.yaml --split val --predictions panoptic.json

Predictions are a COCO results json (boxes, masks or both), a folder of label maps named after the
images, or a COCO panoptic json beside the folder of its PNG files that has the json's name.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from project.cli import new_parser, run_tool


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The words of the command line."""
    parser = new_parser(__doc__)
    add = parser.add_argument
    add("--dataset", required=True, metavar="SPEC", help="data set specification")
    add("--split", required=True, help="of the data set, e.g. val")
    add("--predictions", required=True, type=Path, metavar="P", help="file or folder")
    add("--out", type=Path, metavar="FILE", help="write a results.json")
    add(
        "--task",
        choices=("auto", "instances", "semantic", "panoptic"),
        default="auto",
        help="what is predicted; auto: what the predictions look like",
    )
    add(
        "--backend",
        choices=("faster-coco-eval", "pycocotools"),
        default="faster-coco-eval",
        help="who computes COCO's numbers; both give the same",
    )
    add(
        "--encoding",
        choices=("semantic", "dataset"),
        default="semantic",
        help="values of predicted label maps: semantic ids (stuff first, then things, from 0; 255"
        " no class), or those of the data set's own label maps",
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Registers the data set, scores, prints a table and writes the results."""
    args = parse_args(argv)

    from project.data.register import dataset_records, register_dataset
    from project.data.spec import read_spec
    from project.errors import DatasetError, nearest
    from project.evaluation.prediction_files import score_predictions
    from project.evaluation.results import Results, dataset_results, table, write_results

    spec = read_spec(args.dataset)
    if args.split not in spec.splits:
        raise DatasetError(
            f"{spec.where}: there is no split '{args.split}'.{nearest(args.split, spec.splits)}"
        )
    register_dataset(spec)
    name = f"{spec.name}_{args.split}"
    scores = score_predictions(
        name, args.predictions, task=args.task, backend=args.backend, encoding=args.encoding
    )
    results: Results = {
        "config": None,
        "weights": {"path": None, "sha256": None, "iteration": None},
        "backend": args.backend,
        "datasets": {name: dataset_results(len(dataset_records(name)), scores)},
    }
    print(table(results))
    if args.out:
        write_results(results, args.out)
        print(f"\nresults: {args.out}")
    return 0


if __name__ == "__main__":
    run_tool(main)
