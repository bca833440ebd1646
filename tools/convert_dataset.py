#!/usr/bin/env python
r"""Writes a data set in another format, or in other splits, with a specification of its own.

    tools/convert_dataset.py my_data.yaml --to yolo --out my_data_yolo
    tools/convert_dataset.py my_data.yaml --split 0.8/0.1/0.1 --seed 1 --out my_data_split
    tools/convert_dataset.py film.yaml --split 0.8/0.2 --group-by '(\w+)_frame' --out film_split

What the new format cannot hold is said, image by image. The source is only read. A new split has
each class in its share, and is the same for the same seed, whatever the order of the files; without
--to it is written as coco, or as label_map where nothing is countable.
"""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from project.cli import new_parser, run_tool

if TYPE_CHECKING:
    from project.data.problems import Problem, Problems
    from project.data.spec import DatasetSpec
    from project.data.writers import Dataset

FORMATS = ("coco", "label_map", "voc", "yolo")
_SHOWN = 3  # losses of a kind
_SPLITS = ("train", "val", "test")


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The words of the command line."""
    parser = new_parser(__doc__)
    add = parser.add_argument
    add("spec", metavar="SPEC", help="data set specification")
    add("--to", choices=FORMATS, help="the format to write; with --split, coco if left out")
    add("--out", required=True, type=Path, metavar="DIR", help="a new or an empty folder")
    add("--splits", nargs="+", metavar="S", help="of the source; all where it is left out")
    add(
        "--split",
        type=parse_shares,
        metavar="SHARES",
        help="divide the images anew, into train/val or train/val/test: 0.8/0.1/0.1 or 80/10/10",
    )
    add("--seed", type=int, default=0, help="of the new split")
    add(
        "--group-by",
        type=_expression,
        metavar="REGEX",
        help="images in whose path from the specification's `root:` this finds the same text (its"
        " first group) stay in one split; the specification's `groups:` where it is left out",
    )
    add("--images", choices=("copy", "link"), default="copy", help="link: symbolic links")
    add("--name", help="of the new data set; the source's, with the format, where it is left out")
    add("--json", type=Path, metavar="FILE", help="write what was written and every loss")
    args = parser.parse_args(argv)
    if not args.to and not args.split:
        parser.error("give --to FORMAT, --split SHARES, or both")
    if args.group_by and not args.split:
        parser.error("--group-by goes with --split")
    if not Path(args.spec).is_file():
        parser.error(f"SPEC: there is no file {args.spec}")
    if args.out.exists() and (not args.out.is_dir() or any(args.out.iterdir())):
        parser.error(f"--out: {args.out} holds something; name a new or an empty folder")
    return args


def parse_shares(text: str) -> dict[str, float]:
    """Split -> share of the images, of a text such as 0.8/0.1/0.1 or 80/10/10.

    Raises:
        argparse.ArgumentTypeError: other than two or three numbers above 0 with the sum 1 or 100.
    """
    try:
        shares = [float(share) for share in text.split("/")]
    except ValueError:
        shares = []
    whole = 100 if sum(shares) > 2 else 1
    right = all(share > 0 for share in shares) and abs(sum(shares) - whole) < 1e-6
    if len(shares) not in (2, 3) or not right:
        raise argparse.ArgumentTypeError(
            "expected the shares of train/val or of train/val/test, with the sum 1 or 100, such as"
            f" 0.8/0.1/0.1; found {text!r}"
        )
    return {split: share / whole for split, share in zip(_SPLITS, shares)}


def _expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no regular expression: {error}") from error
    return text


def main(argv: list[str] | None = None) -> int:
    """Reads, divides, writes and prints what was written and what was lost."""
    args = parse_args(argv)

    from project.data.spec import read_spec

    # Before what takes seconds to import: a wrong key is answered at once.
    spec = read_spec(args.spec)

    from project.data.dataset import check_format
    from project.data.problems import Problems
    from project.data.splitting import split_dataset
    from project.data.writers import WRITERS

    check_format(spec)
    dataset = _read(spec, args.splits or list(spec.splits))
    notes: list[str] = []
    if args.split:
        pattern = args.group_by or spec.groups
        dataset, notes = split_dataset(list(dataset.values()), args.split, args.seed, pattern)
    things = next(iter(dataset.values()))[0].categories.things
    to = args.to or ("coco" if things else "label_map")
    name = args.name or f"{spec.name}_{args.to or 'split'}"
    problems = Problems()
    path = WRITERS[to](dataset, args.out, name, args.images, problems)
    summary = {"spec": str(path), "format": to, "splits": _counts(dataset), "notes": notes}
    _print(summary, problems)
    if args.json:
        _write_json(args.json, summary, problems)
    return 0


def _read(spec: "DatasetSpec", splits: list[str]) -> "Dataset":
    """Classes and images of some splits; the first thing that is wrong with them is raised."""
    from project.data.dataset import read_info, read_records
    from project.data.problems import Problems
    from project.errors import DatasetError, nearest

    dataset = {}
    for split in splits:
        if split not in spec.splits:
            raise DatasetError(
                f"{spec.where}: there is no split '{split}'.{nearest(split, spec.splits)}"
            )
        info = read_info(spec, split)
        dataset[split] = (info, read_records(info, Problems(strict=True)))
    return dataset


def _counts(dataset: "Dataset") -> dict[str, dict[str, Any]]:
    """Split -> images, the objects of each class, and crowds, as they were read."""
    counts = {}
    for split, (info, records) in dataset.items():
        objects, crowds = dict.fromkeys(info.categories.things, 0), 0
        for annotation in (a for record in records for a in record.get("annotations", [])):
            if annotation["iscrowd"]:
                crowds += 1
            else:
                objects[info.categories.things[annotation["category_id"]]] += 1
        counts[split] = {"images": len(records), "objects": objects, "crowds": crowds}
    return counts


def _print(summary: dict[str, Any], problems: "Problems") -> None:
    for split, counts in summary["splits"].items():
        objects = [f"{name} {number}" for name, number in counts["objects"].items()]
        if counts["crowds"]:
            objects.append(f"and {counts['crowds']} crowd regions")
        print(f"{split}: {counts['images']} images{'; ' if objects else ''}{', '.join(objects)}")
    for note in summary["notes"]:
        print(f"note: {note}")
    kinds: dict[str, list[Problem]] = {}
    for problem in problems.found:
        kinds.setdefault(problem.expected, []).append(problem)
    for found in kinds.values():
        print(f"\n{_title(found, summary['format'])}:")
        for problem in found[:_SHOWN]:
            print(f"  {problem.file}: {problem.found}")
        if len(found) > _SHOWN:
            print(f"  and {len(found) - _SHOWN} more (--json FILE writes all)")
        if found[0].rule == "split_needed":
            print(f"  -> {found[0].repair}")
    print(f"\nwritten as {summary['format']}; specification: {summary['spec']}")


def _title(found: "list[Problem]", format: str) -> str:
    """What findings of one kind have in common."""
    images = "1 image" if len(found) == 1 else f"{len(found)} images"
    holds = found[0].expected
    return {
        "lost_in_conversion": f"lost in {images}, since {format} holds {holds}",
        "image_renamed": f"renamed: {images}, since {format} holds {holds}",
        "split_needed": f"it lacks {holds}",
    }[found[0].rule]


def _write_json(path: Path, summary: dict[str, Any], problems: "Problems") -> None:
    """The summary and all losses, as tools/check_dataset.py writes its problems."""
    fields = ("rule", "level", "split", "file", "annotation", "found", "expected", "repair")
    found = [{field: getattr(problem, field) for field in fields} for problem in problems.found]
    content = {**summary, "problems": found, "counts": problems.counts()}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run_tool(main)
