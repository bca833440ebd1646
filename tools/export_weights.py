#!/usr/bin/env python
"""Writes trained weights for other programs: model.safetensors, and model.json, which tells all.

    tools/export_weights.py output/x/model_best.pth --out exported
    tools/export_weights.py R50.pkl --out exported --config-file C.yaml --dataset D.yaml

What is written is what would be scored: averaged weights where the training made some, and nothing
of its optimizer. Our tools take exported/model.safetensors as weights. Weights that were made
elsewhere need the config, and the data set that names their classes.
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
    add("weights", metavar="WEIGHTS", help="e.g. model_best.pth")
    add("--out", required=True, type=Path, metavar="DIR", help="a new or an empty folder")
    add("--config-file", metavar="FILE", help="of the training; left out: what the weights hold")
    add("--dataset", metavar="SPEC", help="data set specification; only with --config-file")
    args = parser.parse_args(argv)
    if args.dataset and not args.config_file:
        parser.error("--dataset: needs --config-file; weights that hold their config name classes")
    return args


def main(argv: list[str] | None = None) -> int:
    """Builds the model, which proves that the weights are whole, and writes what it holds."""
    args = parse_args(argv)
    check_usage(config_file=args.config_file, dataset=args.dataset, weights=args.weights)

    from detectron2.modeling import build_model

    import project.modeling  # noqa: F401  (registers the parts that a config names)
    from project.engine.checkpoint import class_names, load_weights
    from project.engine.describe import describe
    from project.engine.described_config import require_description
    from project.engine.exported import check_new_folder, write_exported
    from project.engine.setup import prepare_config

    check_new_folder(args.out)
    overrides = ["MODEL.WEIGHTS", args.weights, "MODEL.DEVICE", "cpu"]
    cfg = prepare_config(args.config_file, args.dataset, overrides, purpose="predict")
    given = bool(args.config_file)
    description = describe(cfg) if given else require_description(args.weights)
    model = build_model(cfg)
    iteration = load_weights(model, args.weights, class_names(cfg))
    for path in write_exported(args.out, model.state_dict(), description, iteration):
        print(path)
    return 0


if __name__ == "__main__":
    run_tool(main)
