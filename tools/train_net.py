#!/usr/bin/env python
"""Trains and scores what a config describes; writes results.json and report.html.

tools/train_net.py --config-file configs/double_digits/mask_unet_demo.yaml
tools/train_net.py --config-file C.yaml --dataset D.yaml --num-gpus 4 SOLVER.IMS_PER_BATCH 32
tools/train_net.py --eval-only --dataset D.yaml MODEL.WEIGHTS output/x/model_best.pth

Without --config-file, weights are scored by the config that they hold, into a folder of their name.
"""

import argparse
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from project.cli import new_parser, run_tool
from project.network import set_downloads
from project.usage import check_usage

if TYPE_CHECKING:
    from detectron2.config import CfgNode
    from torch import nn

    from project.engine.choices import Purpose
    from project.engine.evaluate import Evaluation
    from project.evaluation.results import Results, Weights

    Outcome = tuple[nn.Module, dict[str, Evaluation], Weights]


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Detectron2's arguments, and `--dataset`."""
    parser = new_parser(__doc__, downloads=True)
    add = parser.add_argument
    add("--config-file", metavar="FILE", help="a config of configs/, or your own")
    add("--dataset", metavar="SPEC", help="data set specification; trains on train, scores on val")
    add("--resume", action="store_true", help="go on from the last checkpoint in OUTPUT_DIR")
    add("--overwrite", action="store_true", help="delete the run that lies in OUTPUT_DIR")
    add("--accept-changes", action="store_true", help="with --resume: go on with another config")
    add("--eval-only", action="store_true", help="only score MODEL.WEIGHTS")
    add("--num-gpus", type=int, default=1, help="ranks on this machine, one a GPU, or on the CPU")
    add("--num-machines", type=int, default=1, help="machines that take part")
    add("--machine-rank", type=int, default=0, help="number of this machine, from 0")
    add("--dist-url", default="auto", help="where the ranks of several machines meet, tcp://...")
    add("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config keys to change")
    args = parser.parse_args(argv)
    if not (args.config_file or args.eval_only):
        parser.error("--config-file: needed to train; only --eval-only takes that of the weights")
    return args


def main(argv: list[str] | None = None) -> int:
    """Checks everything that can be checked, then starts the ranks."""
    args = parse_args(argv)
    set_downloads(args.allow_download)
    check_usage(config_file=args.config_file, dataset=args.dataset, opts=args.opts)

    from project.config import load_config
    from project.engine.addresses import fetch_weights
    from project.engine.launch import is_first, launch
    from project.engine.run_folder import check_free
    from project.engine.setup import prepare_config
    from project.engine.signals import EXIT_STATUS, Interrupted

    purpose: Purpose = "score" if args.eval_only else "train"
    if purpose == "train" and is_first(args):
        # Before the data is looked at, which may take long.
        output_dir = load_config(args.config_file, args.opts).OUTPUT_DIR
        check_free(output_dir, resume=args.resume, overwrite=args.overwrite)
    cfg = prepare_config(args.config_file, args.dataset, args.opts, purpose=purpose)
    if not args.resume:
        fetch_weights(cfg)
    patience = cfg.SOLVER.RANK_PATIENCE
    try:
        launch(run, args, (cfg, args), device=cfg.MODEL.DEVICE, patience=patience)
    except Interrupted as interrupted:
        print(interrupted, file=sys.stderr)
        return EXIT_STATUS
    return 0


def run(cfg: "CfgNode", args: argparse.Namespace) -> None:
    """The work of one rank: train or load, score, write what the run leaves behind."""
    from detectron2.utils import comm

    from project.engine.run_folder import locked
    from project.engine.setup import register_missing, start_run

    set_downloads(args.allow_download)  # a rank is a process of its own
    register_missing(cfg)
    with locked(cfg.OUTPUT_DIR) if comm.is_main_process() else nullcontext():
        changed = enter_folder(cfg, args) if comm.is_main_process() else []
        comm.synchronize()  # nobody writes before the folder is ours
        start_run(cfg, is_training=not args.eval_only, changed=changed)
        outcome = score(cfg) if args.eval_only else train(cfg, args)
        if comm.is_main_process():
            write_outcome(cfg, args.config_file or cfg.MODEL.WEIGHTS, *outcome)


def enter_folder(cfg: "CfgNode", args: argparse.Namespace) -> list[str]:
    """Makes OUTPUT_DIR ready for this run; what has changed since the run began, if it goes on."""
    from project.engine.config_changes import check_unchanged
    from project.engine.run_folder import check_free, check_weights_stay, clear
    from project.engine.setup import portable

    if args.eval_only:
        return []
    check_free(cfg.OUTPUT_DIR, resume=args.resume, overwrite=args.overwrite)
    if args.resume:
        return check_unchanged(portable(cfg), cfg.OUTPUT_DIR, accept=args.accept_changes)
    if args.overwrite:
        check_weights_stay(cfg.MODEL.WEIGHTS, cfg.OUTPUT_DIR)
    clear(cfg.OUTPUT_DIR, overwrite=args.overwrite)
    return []


def train(cfg: "CfgNode", args: argparse.Namespace) -> "Outcome":
    """Trains, and scores what was trained."""
    from project.engine.checkpoint import describe_weights
    from project.engine.trainer import Trainer

    trainer = Trainer(cfg)
    trainer.resume_or_load(args.resume)
    trainer.train()
    final = str(Path(cfg.OUTPUT_DIR) / "model_final.pth")
    weights = describe_weights(final, trainer.max_iter - 1)
    return trainer.scored_model, trainer.evaluations, weights


def score(cfg: "CfgNode") -> "Outcome":
    """Scores MODEL.WEIGHTS."""
    from project.engine.checkpoint import class_names, describe_weights, load_weights
    from project.engine.evaluate import evaluate
    from project.engine.trainer import Trainer

    model = Trainer.build_model(cfg)
    iteration = load_weights(model, cfg.MODEL.WEIGHTS, class_names(cfg))
    return model, evaluate(cfg, model), describe_weights(cfg.MODEL.WEIGHTS, iteration)


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
