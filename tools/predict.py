#!/usr/bin/env python
"""Predicts images: pictures to look at, and results that tools/score.py takes.

    tools/predict.py --weights model_final.pth --input photo.jpg --output out
    tools/predict.py --weights W --dataset D.yaml --input folder --output out
    tools/predict.py --weights W --input large.tif --output out --tile 1024
    tools/predict.py --config-file C.yaml --dataset D.yaml --weights W --input folder --output out

Weights of this project hold their config and the names of their classes; for others give both, by
--config-file and --dataset. Writes overlays/, and as far as the model has the parts
predictions.json (COCO results), label_maps/ and panoptic.json with panoptic/. Images of the data
set get its image ids, others their name.
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
    from detectron2.config import CfgNode

    from project.data.categories import Categories
    from project.data.records import Record


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The words of the command line."""
    parser = new_parser(__doc__, downloads=True)
    add = parser.add_argument
    add("--weights", required=True, metavar="FILE", help="e.g. model_best.pth, model.safetensors")
    add("--config-file", metavar="FILE", help="of the training; left out: what the weights hold")
    add("--dataset", metavar="SPEC", help="data set specification; knows the images' ids")
    add("--split", help="of the data set: its images, or those of them that --input holds")
    add("--input", type=Path, metavar="PATH", help="an image, or a folder of images")
    add("--output", required=True, type=Path, metavar="DIR", help="folder for the results")
    add("--overwrite", action="store_true", help="results that lie in --output may go")
    add(
        "--confidence",
        type=float,
        default=0.5,
        help="score from which objects are drawn, 0 to 1; the result files hold all",
    )
    add("--follow-links", action="store_true", help="also images that links lead to elsewhere")
    add("--tile", type=int, metavar="SIZE", help="predict larger images in tiles; TEST.TILE.SIZE")
    add("--overlap", type=int, metavar="N", help="of tiles, pixels; TEST.TILE.OVERLAP")
    add("--augment", action="store_true", help="average over flips or sizes; TEST.AUG says which")
    add("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config keys to change")
    args = parser.parse_args(argv)
    if args.input is None and args.split is None:
        parser.error("give --input, an image or a folder, or --split of a data set (--dataset)")
    if not 0 <= args.confidence <= 1:
        parser.error(f"--confidence: expected 0 to 1, found {args.confidence}")
    return args


def main(argv: list[str] | None = None) -> int:
    """Finds the images, builds the model, predicts and writes."""
    args = parse_args(argv)
    set_downloads(args.allow_download)
    check_usage(
        config_file=args.config_file,
        dataset=args.dataset,
        weights=args.weights,
        opts=args.opts,
        paths={"--input": args.input} if args.input else {},
    )

    from tqdm import tqdm

    from project.data.depth import picture
    from project.data.register import dataset_info
    from project.engine.setup import prepare_config
    from project.inference.inputs import images_of, images_of_split, list_images
    from project.inference.predictor import Predictor
    from project.inference.writer import PredictionWriter, check_unused

    files: dict[str, Path] = {}
    if args.input:
        files = list_images(args.input, args.output, follow_links=args.follow_links)
    overrides = [*args.opts, *test_time_keys(args), "MODEL.WEIGHTS", args.weights]
    cfg = prepare_config(args.config_file, args.dataset, overrides, purpose="predict")
    if args.split:
        name = split_name(cfg, args.split)
        files = files or images_of_split(name)
        records = images_of(files, name)
        files = {key: path for key, path in files.items() if key in records}
        image_ids = {key: record["image_id"] for key, record in records.items()}
        categories = dataset_info(name).categories
    else:
        categories, image_ids, records = find_classes(files, cfg, described=not args.config_file)
    check_unused(args.output, overwrite=args.overwrite)
    if args.tile:
        tell_scale(cfg, args.tile)
    predictor = Predictor(cfg)
    writer = PredictionWriter(args.output, categories, confidence=args.confidence)
    for key, path in tqdm(files.items(), "images", disable=None):
        image = predictor.read(path, records.get(key))
        writer.add(key, image_ids[key], picture(image, "RGB"), predictor(image, "RGB"))
    print(f"pictures: {args.output / 'overlays'}")
    if writer.found:
        print(
            f"objects: {writer.found}; {writer.drawn} of them are drawn, those with a score of"
            f" {args.confidence:g} or more (--confidence)"
        )
    many = "1 image" if len(files) == 1 else f"{len(files)} images"
    print(f"results of {many}: {', '.join(map(str, writer.close()))}")
    return 0


def test_time_keys(args: argparse.Namespace) -> list[str]:
    """KEY VALUE ... of the flags that stand for config keys."""
    keys = {"TEST.TILE.SIZE": args.tile, "TEST.TILE.OVERLAP": args.overlap}
    if args.tile:
        keys["INPUT.MIN_SIZE_TEST"] = 0
        if args.overlap is None:
            keys["TEST.TILE.OVERLAP"] = args.tile // 4
    if args.augment:
        keys["TEST.AUG.ENABLED"] = True
    return [str(word) for key, value in keys.items() if value is not None for word in (key, value)]


def tell_scale(cfg: "CfgNode", tile: int) -> None:
    """Says where tiles show objects in another size than the training did."""
    sides = [side for side in cfg.INPUT.MIN_SIZE_TRAIN if side]
    if sides and not cfg.INPUT.CROP.ENABLED:
        print(
            f"note: the model was trained on images whose shorter side was resized to"
            f" {min(sides)} to {max(sides)} pixels (INPUT.MIN_SIZE_TRAIN), and tiles of {tile} are"
            " predicted as they are; objects should have the same size in both",
            file=sys.stderr,
        )


def split_name(cfg: "CfgNode", split: str) -> str:
    """The registered name of a split of the data set that is given."""
    from project.data.spec import read_spec
    from project.errors import ConfigError, nearest

    if not cfg.DATASETS.SPECS:
        raise ConfigError(f"--split {split} is of a data set; give it with --dataset SPEC")
    spec = read_spec(cfg.DATASETS.SPECS[0])
    if split not in spec.splits:
        raise ConfigError(f"--split {split}: {spec.name} has none.{nearest(split, spec.splits)}")
    return f"{spec.name}_{split}"


def find_classes(
    files: dict[str, Path], cfg: "CfgNode", *, described: bool
) -> tuple["Categories", dict[str, int | str], dict[str, "Record"]]:
    """The classes, by the data set or else by the weights; the rest as `find_dataset`."""
    from project.data.register import dataset_info
    from project.engine.described_config import require_description
    from project.engine.description import described_categories

    names = [*cfg.DATASETS.TEST, *cfg.DATASETS.TRAIN]
    if described and not names:
        categories = described_categories(require_description(cfg.MODEL.WEIGHTS))
        return categories, {key: key for key in files}, {}
    dataset, image_ids, records = find_dataset(files, names)
    return dataset_info(dataset).categories, image_ids, records


def find_dataset(
    files: dict[str, Path], names: list[str]
) -> tuple[str, dict[str, int | str], dict[str, "Record"]]:
    """The data set that names the classes, the image ids, and the records of known images.

    It need not know any: a machine that only predicts may have the specification without the data.
    """
    from project.data.register import dataset_records
    from project.errors import DatasetError
    from project.inference.inputs import known_records, match_images

    known = []
    for name in names:
        try:
            dataset_records(name)
            known.append(name)
        except DatasetError as error:
            print(f"note: no image gets its id from {name}: {error}", file=sys.stderr)
    if names and not known:
        return names[0], {key: key for key in files}, {}
    dataset, image_ids = match_images(files, known)
    return dataset, image_ids, known_records(files, dataset, known)


if __name__ == "__main__":
    run_tool(main)
