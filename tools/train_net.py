#!/usr/bin/env python
"""Trains and scores what a config describes; writes results.json and report.html.

tools/train_net.py --config-file configs/double_digits/mask_unet_demo.yaml
tools/train_net.py --config-file C.yaml --dataset D.yaml --num-gpus 4 SOLVER.IMS_PER_BATCH 32
tools/train_net.py --config-file C.yaml --eval-only MODEL.WEIGHTS output/model_final.pth
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from project.cli import new_parser, run_tool
from project.network import set_downloads

if TYPE_CHECKING:
    from detectron2.config import CfgNode
    from torch import nn

    from project.engine.choices import Purpose
    from project.engine.evaluate import Evaluation
    from project.evaluation.results import Results, Weights


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Detectron2's arguments, and `--dataset`."""
    parser = new_parser(__doc__, downloads=True)
    add = parser.add_argument
    add("--config-file", required=True, metavar="FILE", help="a config of configs/, or your own")
    add("--dataset", metavar="SPEC", help="data set specification; trains on train, scores on val")
    add("--resume", action="store_true", help="go on from the last checkpoint in OUTPUT_DIR")
    add("--eval-only", action="store_true", help="only score MODEL.WEIGHTS")
    add("--num-gpus", type=int, default=1, help="ranks on this machine, one a GPU, or on the CPU")
    add("--num-machines", type=int, default=1, help="machines that take part")
    add("--machine-rank", type=int, default=0, help="number of this machine, from 0")
    add("--dist-url", default="auto", help="where the ranks of several machines meet, tcp://...")
    add("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config keys to change")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Checks everything that can be checked, then starts the ranks."""
    args = parse_args(argv)
    set_downloads(args.allow_download)

    from project.engine.addresses import fetch_weights
    from project.engine.launch import launch
    from project.engine.setup import check_resumable, prepare_config

    purpose: Purpose = "score" if args.eval_only else "train"
    cfg = prepare_config(args.config_file, args.dataset, args.opts, purpose=purpose)
    if args.resume and not args.eval_only:
        check_resumable(cfg.OUTPUT_DIR)
    if not args.resume:
        fetch_weights(cfg)
    launch(run, args, (cfg, args), device=cfg.MODEL.DEVICE)
    return 0


def run(cfg: "CfgNode", args: argparse.Namespace) -> None:
    """The work of one rank: train or load, score, write what the run leaves behind."""
    from detectron2.utils import comm

    from project.engine.checkpoint import class_names, describe_weights, load_weights
    from project.engine.evaluate import evaluate
    from project.engine.setup import register_datasets, start_run
    from project.engine.trainer import Trainer

    set_downloads(args.allow_download)  # a rank is a process of its own
    register_datasets(cfg)
    start_run(cfg)
    if args.eval_only:
        model = Trainer.build_model(cfg)
        iteration = load_weights(model, cfg.MODEL.WEIGHTS, class_names(cfg))
        weights = describe_weights(cfg.MODEL.WEIGHTS, iteration)
        evaluations = evaluate(cfg, model)
    else:
        trainer = Trainer(cfg)
        trainer.resume_or_load(args.resume)
        trainer.train()
        model, evaluations = trainer.scored_model, trainer.evaluations
        final = str(Path(cfg.OUTPUT_DIR) / "model_final.pth")
        weights = describe_weights(final, trainer.max_iter - 1)
    if comm.is_main_process():
        write_outcome(cfg, args.config_file, model, evaluations, weights)


def write_outcome(
    cfg: "CfgNode",
    config_file: str,
    model: "nn.Module",
    evaluations: "dict[str, Evaluation]",
    weights: "Weights",
) -> None:
    """Writes results.json, per_image.npz and report.html and prints the table of scores."""
    from project.evaluation.bootstrap import add_details
    from project.evaluation.per_image import path_beside, write_per_image
    from project.evaluation.results import table, write_results
    from project.inference.examples import collect_examples
    from project.inference.predictor import Predictor
    from project.report.page import read_metrics, write_report

    output_dir = Path(cfg.OUTPUT_DIR)
    statistics = {name: evaluation.statistics() for name, evaluation in evaluations.items()}
    for name, evaluation in evaluations.items():
        add_details(evaluation.results, statistics[name].tasks, cfg.TEST.BOOTSTRAP)
    results: Results = {
        "config": config_file,
        "weights": weights,
        "backend": cfg.TEST.COCO_BACKEND,
        "datasets": {name: evaluation.results for name, evaluation in evaluations.items()},
    }
    path = output_dir / "results.json"
    write_results(results, path)
    write_per_image(statistics, path_beside(path))
    predictor = Predictor(cfg, model=model)
    examples = [
        example
        for name, evaluation in evaluations.items()
        for example in collect_examples(
            predictor, name, evaluation.image_scores, cfg.TEST.REPORT_IMAGES
        )
    ]
    report = write_report(output_dir, results, read_metrics(output_dir / "metrics.json"), examples)
    scores = table(results) or "not scored: there is no split val, and DATASETS.TEST names none"
    print(f"\n{scores}\n\nreport: {report.resolve()}")


if __name__ == "__main__":
    run_tool(main)
