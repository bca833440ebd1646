#!/usr/bin/env python
"""Turns boxes or points into masks with Segment Anything: a data set to train on, or better masks.

    tools/label_with_sam.py --model sam-vit-base --dataset boxes.yaml --split train --out masks
    tools/label_with_sam.py --model M --dataset D.yaml --split val --predictions found.json --out O
    tools/label_with_sam.py --model M --dataset D.yaml --split val --weights W.pth --out O

Writes images, <split>.json (COCO) and a specification, which tools/check_dataset.py and
tools/train_net.py take; of a detector's boxes also predictions.json, which tools/score.py takes.
The model is a local folder of the Hugging Face library (SAM or SAM 2), see docs/label_with_sam.md.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from project.cli import new_parser, run_tool
from project.network import set_downloads
from project.usage import check_usage

if TYPE_CHECKING:
    from project.data.dataset import DatasetInfo
    from project.data.problems import Problems
    from project.data.records import Record
    from project.evaluation.detections import ImageDetections
    from project.inference.labelling import Counts


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The words of the command line."""
    parser = new_parser(__doc__, downloads=True)
    add = parser.add_argument
    add("--model", required=True, type=Path, metavar="DIR", help="folder of SAM or SAM 2")
    add("--dataset", required=True, metavar="SPEC", help="data set specification")
    add("--split", required=True, metavar="S", help="of the data set, e.g. train")
    add("--out", required=True, type=Path, metavar="DIR", help="a new or an empty folder")
    add("--predictions", type=Path, metavar="FILE", help="boxes: a COCO results json")
    add("--weights", metavar="FILE", help="boxes: those of this trained model")
    add("--config-file", metavar="FILE", help="of its training; left out: what the weights hold")
    add("--confidence", type=float, default=0.5, help="least score of a detector's box, 0 to 1")
    add("--prompt", choices=("box", "point", "both"), default="box", help="what SAM is shown")
    add("--fill-holes", type=int, default=0, metavar="N", help="fill holes of fewer pixels")
    add("--drop-islands", type=int, default=0, metavar="N", help="drop parts of fewer pixels")
    add("--images", choices=("copy", "link"), default="copy", help="link: symbolic links")
    add("--name", help="of the new data set; the old one's with _sam where it is left out")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    add("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="keys of --config-file")
    args = parser.parse_args(argv)
    if args.config_file and not args.weights:
        parser.error("--config-file: needs --weights")
    if args.predictions and args.weights:
        parser.error("give either --predictions or --weights")
    if not 0 <= args.confidence <= 1:
        parser.error(f"--confidence: expected 0 to 1, found {args.confidence}")
    if min(args.fill_holes, args.drop_islands) < 0:
        parser.error("--fill-holes and --drop-islands: expected a number of pixels")
    if args.out.exists() and (not args.out.is_dir() or any(args.out.iterdir())):
        parser.error(f"--out: {args.out} holds something; name a new or an empty folder")
    return args


def main(argv: list[str] | None = None) -> int:
    """Checks what can be checked, asks the model, writes and prints what became of the prompts."""
    args = parse_args(argv)
    set_downloads(args.allow_download)
    check_usage(
        config_file=args.config_file, dataset=args.dataset, weights=args.weights, opts=args.opts
    )

    from project.data.register import dataset_info, dataset_records, register_dataset
    from project.data.spec import read_spec
    from project.engine.setup import resolve_device
    from project.errors import DatasetError, nearest
    from project.inference import labelling
    from project.inference.sam import check_sam, load_sam

    check_sam(args.model)
    device = resolve_device(args.device)
    spec = read_spec(args.dataset)
    if args.split not in spec.splits:
        raise DatasetError(
            f"{spec.where}: there is no split '{args.split}'.{nearest(args.split, spec.splits)}"
        )
    register_dataset(spec)
    info = dataset_info(f"{spec.name}_{args.split}")
    records = dataset_records(info.name)
    labelling.check_images(records, info)
    is_predicted = bool(args.predictions or args.weights)
    if is_predicted:
        found = find_boxes(args, info, records)
        records = labelling.predicted_records(records, found, args.confidence)
    labelling.check_prompts(records, info)
    how = labelling.Labelling(args.prompt, args.fill_holes, args.drop_islands)
    labelled, counts = labelling.label_records(records, info, load_sam(args.model, device), how)
    name = args.name or f"{spec.name}_sam"
    path, problems = labelling.write_labelled(labelled, info, args.out, name, args.images)
    print_outcome(counts, len(labelled), problems)
    print(f"specification: {path}")
    if is_predicted:
        entries = labelling.coco_predictions(labelled, info)
        print(f"predictions: {labelling.write_predictions(args.out, entries)}")
    return 0


def print_outcome(counts: "Counts", num_images: int, problems: "Problems") -> None:
    """What became of the prompts, and what could not be written."""
    mean = sum(counts.scores) / max(len(counts.scores), 1)
    print(f"masks: {counts.masks} in {num_images} images; expected IoU {mean:.2f} on average")
    if counts.empty:
        print(f"left out: {counts.empty} objects of which no pixel was found")
    for problem in problems.found:
        print(f"note: {problem.text}")


def find_boxes(
    args: argparse.Namespace, info: "DatasetInfo", records: "list[Record]"
) -> "list[ImageDetections | None]":
    """What a detector found in each image: of a file, or by a trained model."""
    from project.inference import labelling

    if args.predictions:
        return labelling.read_detections(args.predictions, info, records)

    from project.engine.setup import prepare_config
    from project.inference.predictor import Predictor

    overrides = [*args.opts, "MODEL.WEIGHTS", args.weights]
    cfg = prepare_config(args.config_file, args.dataset, overrides, purpose="predict")
    return labelling.detect(Predictor(cfg), records)


if __name__ == "__main__":
    run_tool(main)
