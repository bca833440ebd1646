#!/usr/bin/env python
"""Trains and scores what a config describes; writes results.json and report.html.

    tools/train_net.py --config-file configs/double_digits/mask_unet_demo.yaml
    tools/train_net.py --config-file C.yaml --dataset D.yaml --num-gpus 4 SOLVER.IMS_PER_BATCH 32
    tools/train_net.py --config-file C.yaml --eval-only MODEL.WEIGHTS output/model_final.pth
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from project.cli import run_tool


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Detectron2's arguments, and `--dataset`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--config-file", required=True, metavar="FILE", help="a config of configs/, or your own")
    add("--dataset", metavar="SPEC", help="data set specification; trains on train, scores on val")
    add("--resume", action="store_true", help="go on from the last checkpoint in OUTPUT_DIR")
    add("--eval-only", action="store_true", help="only score MODEL.WEIGHTS")
    add("--num-gpus", type=int, default=1, help="ranks on this machine; CPU ranks without GPUs")
    add("--num-machines", type=int, default=1, help="machines that take part")
    add("--machine-rank", type=int, default=0, help="number of this machine, from 0")
    add("--dist-url", default="auto", help="where the ranks of several machines meet, tcp://...")
    add("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config keys to change")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Parses, checks everything that can be checked, then starts the ranks."""
    args = parse_args(argv)

    from project.engine.launch import launch
    from project.engine.setup import prepare_config
    from project.workflow import run

    cfg = prepare_config(args.config_file, args.dataset, args.opts, training=not args.eval_only)
    launch(run, args, (cfg, args.config_file, args.resume, args.eval_only))
    return 0


if __name__ == "__main__":
    run_tool(main)
