#!/usr/bin/env python
"""Draws what the loader really feeds beside what the data set holds: images, objects, labels.

tools/visualize_data.py --config-file C.yaml --dataset D.yaml
tools/visualize_data.py --config-file C.yaml --split val --draws 0 --count 4 --output pictures
tools/visualize_data.py --dataset D.yaml --output pictures MODEL.WEIGHTS output/x/model_best.pth
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
    from project.engine.choices import Purpose


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The words of the command line."""
    parser = new_parser(__doc__, downloads=True)
    add = parser.add_argument
    add("--config-file", metavar="FILE", help="left out: what the file MODEL.WEIGHTS holds")
    add("--dataset", metavar="SPEC", help="data set specification, in place of the config's")
    add("--split", choices=("train", "val"), default="train", help="val is sized as in testing")
    add("--count", type=int, default=16, help="images, drawn at random (SEED makes it repeat)")
    add("--output", type=Path, metavar="DIR", help="OUTPUT_DIR/data where it is left out")
    add("--draws", type=int, default=2, help="times each is augmented; 0: images as they are")
    add("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config keys to change")
    args = parser.parse_args(argv)
    if args.count < 1:
        parser.error(f"--count: expected 1 or more, found {args.count}")
    if args.draws < 0:
        parser.error(f"--draws: expected 0 or more, found {args.draws}")
    return args


def main(argv: list[str] | None = None) -> int:
    """Maps, draws and writes one picture an image, and all of them on one sheet."""
    args = parse_args(argv)
    set_downloads(args.allow_download)
    check_usage(config_file=args.config_file, dataset=args.dataset, opts=args.opts)

    from detectron2.utils.env import seed_all_rng
    from tqdm import tqdm

    from project.data.register import dataset_info
    from project.engine.setup import prepare_config
    from project.inference.feed import contact_sheet, draw_fed, fed_images
    from project.report.canvas import encode

    purpose: Purpose = "train" if args.split == "train" else "score"
    cfg = prepare_config(args.config_file, args.dataset, args.opts, purpose=purpose)
    seed_all_rng(None if cfg.SEED < 0 else cfg.SEED)
    folder = args.output or Path(cfg.OUTPUT_DIR) / "data"
    folder.mkdir(parents=True, exist_ok=True)
    for earlier in folder.glob("fed_[0-9]*_*.png"):
        earlier.unlink()
    pictures = []
    images = fed_images(cfg, args.split, args.count, args.draws)
    for number, fed in enumerate(tqdm(images, "images", total=args.count, disable=None)):
        categories = dataset_info(fed.before["dataset"]).categories
        pictures.append(draw_fed(fed, categories, cfg.INPUT.FORMAT))
        name = f"fed_{number:03}_{Path(fed.before['file_name']).stem}.png"
        (folder / name).write_bytes(encode(pictures[-1], ".png"))
    sheet = folder / "contact.png"
    sheet.write_bytes(encode(contact_sheet(pictures), ".png"))
    print(f"{len(pictures)} pictures in {folder}, all of them in {sheet}")
    return 0


if __name__ == "__main__":
    run_tool(main)
