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
from dataclasses import fields
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from project.cli import new_parser, run_tool
from project.usage import check_usage


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The words of the command line."""
    parser = new_parser(__doc__)
    add = parser.add_argument
    add("--dataset", required=True, metavar="SPEC", help="data set specification")
    add("--split", required=True, help="of the data set, e.g. val")
    add("--predictions", required=True, type=Path, metavar="P", help="file or folder")
    add("--out", type=Path, metavar="FILE", help="write a results.json, and per_image.npz beside")
    add("--report", action="store_true", help="also write a report.html beside --out")
    add("--boundary", action="store_true", help="score the boundaries of masks too")
    add(
        "--cross-tasks",
        action="store_true",
        help="score instances as a label map, and the regions of a label map as instances",
    )
    add("--rand-foreground", default="", metavar="CLASS", help="of label maps: adds Rand scores")
    add("--confusion-iou", type=float, default=0.5, metavar="IOU", help="from which a pair fits")
    add("--confidence", type=float, default=0.5, help="score from which a detection is confident")
    add("--bootstrap", type=int, default=1000, metavar="N", help="resamples for intervals; 0: none")
    add(
        "--task",
        choices=("auto", "instances", "semantic", "panoptic"),
        default="auto",
        help="what is predicted; auto: what the predictions look like",
    )
    add(
        "--backend",
        choices=("streamed", "faster-coco-eval", "pycocotools"),
        default="streamed",
        help="who computes COCO's numbers; all give the same, and the libraries take more memory",
    )
    add(
        "--encoding",
        choices=("semantic", "dataset"),
        default="semantic",
        help="values of predicted label maps: semantic ids (stuff first, then things, from 0; 255"
        " no class), or those of the data set's own label maps",
    )
    args = parser.parse_args(argv)
    if args.report and not args.out:
        parser.error("--report: needs --out, beside which the page is written")
    for flag, value in (
        ("--confusion-iou", args.confusion_iou),
        ("--confidence", args.confidence),
    ):
        if not 0 <= value <= 1:
            parser.error(f"{flag}: expected 0 to 1, found {value}")
    if args.bootstrap < 0:
        parser.error(f"--bootstrap: expected 0 or more, found {args.bootstrap}")
    return args


def main(argv: list[str] | None = None) -> int:
    """Registers the data set, scores, prints a table and writes the results."""
    args = parse_args(argv)
    check_usage(dataset=args.dataset, paths={"--predictions": args.predictions})

    from project.data.register import dataset_records, register_dataset
    from project.data.spec import read_spec
    from project.errors import DatasetError, nearest
    from project.evaluation.bootstrap import add_details
    from project.evaluation.per_image import path_beside, write_per_image
    from project.evaluation.prediction_files import ScoreOptions, score_with_statistics
    from project.evaluation.results import Results, dataset_results, table, write_results

    spec = read_spec(args.dataset)
    if args.split not in spec.splits:
        raise DatasetError(
            f"{spec.where}: there is no split '{args.split}'.{nearest(args.split, spec.splits)}"
        )
    register_dataset(spec)
    name = f"{spec.name}_{args.split}"
    options = {field.name: getattr(args, field.name) for field in fields(ScoreOptions)}
    scores, statistics = score_with_statistics(name, args.predictions, ScoreOptions(**options))
    dataset = dataset_results(len(dataset_records(name)), scores)
    add_details(dataset, statistics.tasks, args.bootstrap)
    results: Results = {
        "config": None,
        "weights": {"path": None, "sha256": None, "iteration": None},
        "backend": args.backend,
        "datasets": {name: dataset},
    }
    print(table(results))
    if args.out:
        write_results(results, args.out)
        write_per_image({name: statistics}, path_beside(args.out))
        print(f"\nresults: {args.out}")
    if args.report:
        from project.report.page import write_report

        print(f"report: {write_report(args.out.parent, results)}")
    return 0


if __name__ == "__main__":
    run_tool(main)
