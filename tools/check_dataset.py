#!/usr/bin/env python
"""Finds everything that is wrong with a data set, before anything is trained on it.

tools/check_dataset.py datasets/fruits_nuts.yaml
tools/check_dataset.py D.yaml --config-file configs/C.yaml --json problems.json
tools/check_dataset.py D.yaml --fix corrected/

Problems are printed by kind, the most harmful first; --json has all of them. Exit status: 0 where
there are no errors (warnings are to be looked at), 1 where there are, in the specification or in
the data, 2 for a wrong command line, such as a file that does not exist.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from project.cli import new_parser, run_tool
from project.errors import nearest

if TYPE_CHECKING:
    from project.data.check_cache import Kept
    from project.data.problems import Problem, Problems
    from project.data.spec import DatasetSpec
    from project.data.validate import Report

_NUM_EXAMPLES = 3


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The words of the command line."""
    parser = new_parser(__doc__)
    add = parser.add_argument
    add("spec", metavar="SPEC", help="data set specification")
    add("--config-file", metavar="FILE", help="also compare with the config of a model")
    add("--json", type=Path, metavar="OUT", help="write all problems into a file")
    add("--fix", type=Path, metavar="DIR", help="write a corrected copy; yours is not touched")
    add("--quick", action="store_true", help="decode only some images and label maps")
    args = parser.parse_args(argv)
    if args.fix and args.quick:
        parser.error("--fix needs to know every file, so leave --quick out")
    wrong = (
        unreadable("SPEC", Path(args.spec))
        or (args.config_file and unreadable("--config-file", Path(args.config_file)))
        or (args.json and unwritable("--json", args.json))
        or (args.fix and occupied("--fix", args.fix))
    )
    if wrong:
        parser.error(wrong)
    return args


def unreadable(word: str, path: Path) -> str | None:
    """What is wrong with the path of a file to be read, if anything."""
    if path.is_file():
        return None
    folder = path if path.is_dir() else path.parent
    names = sorted(file.name for file in folder.glob("*.y*ml")) if folder.is_dir() else []
    if not path.is_dir():
        return f"{word}: {path}: no such file.{nearest(path.name, names)}"
    known = f"; in it are {', '.join(names[:20])}" if names else ""
    return f"{word}: {path} is a folder; name its YAML file{known}"


def unwritable(word: str, path: Path) -> str | None:
    """What is wrong with the path of a file to be written, if anything."""
    if path.is_dir():
        return f"{word}: {path} is a folder; name a file in it"
    if not path.parent.is_dir():
        return f"{word}: the folder {path.parent} does not exist; create it, or name another file"
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        return f"{word}: {path} cannot be written; name another file"
    return None


def occupied(word: str, path: Path) -> str | None:
    """What is wrong with the path of a new folder, if anything."""
    if path.exists() and not path.is_dir():
        return f"{word}: {path} is a file; name a new or an empty folder"
    if path.is_dir() and any(path.iterdir()):
        return f"{word}: {path} is not empty; name a new or an empty folder"
    return None


def main(argv: list[str] | None = None) -> int:
    """Checks, prints and writes; says what it comes to."""
    args = parse_args(argv)

    from project.data.spec import read_spec

    spec = read_spec(args.spec)
    (problems, census), report = checked(spec, args)
    print_problems(problems)
    print(f"{census}\n")
    if args.json:
        write_json(problems, args.json)
        print(f"all problems: {args.json}")
    if args.fix and report:
        from project.data.repair import repair_text, write_fixed

        print(f"{repair_text(write_fixed(report, args.fix))}\n")
    print(verdict(spec.name, problems, quick=args.quick))
    return 1 if problems.errors else 0


def checked(spec: "DatasetSpec", args: argparse.Namespace) -> "tuple[Kept, Report | None]":
    """Checks a data set, unless nothing of it has changed since it was found free of errors."""
    from project.data.check_cache import Kept, cache_file, keep, load

    cfg = None
    if args.config_file:
        from project.config import load_config

        cfg = load_config(args.config_file)
    file = cache_file(spec, cfg.dump() if cfg else "", str(args.quick))
    kept = None if args.fix else load(file)
    if kept:
        print("as checked before; no file has changed since\n")
        return kept, None

    from project.data.checks.census import census_table
    from project.data.validate import check_dataset

    report = check_dataset(spec, cfg, quick=args.quick, progress=sys.stderr.isatty())
    kept = Kept(report.problems, census_table(report.census))
    if not kept.problems.errors:
        images = [r["file_name"] for _, records in report.records.values() for r in records]
        keep(file, spec, images, kept)
    return kept, report


def print_problems(problems: "Problems") -> None:
    """Prints each kind with its count, some examples and the repair."""
    from project.data.rules import RULES

    for rule, found in problems.by_rule().items():
        level, title = RULES[rule]
        print(f"{level}: {title} [{rule}]: {len(found)}")
        for problem in found[:_NUM_EXAMPLES]:
            print(f"  {described(problem)}")
        if len(found) > _NUM_EXAMPLES:
            print(f"  and {len(found) - _NUM_EXAMPLES} more")
        for repair in dict.fromkeys(problem.repair for problem in found[:_NUM_EXAMPLES]):
            print("  -> " + repair.replace("\n", "\n     "))
        print()


def described(problem: "Problem") -> str:
    """One finding without its repair."""
    split = "" if problem.split is None else f"{problem.split}: "
    which = "" if problem.annotation is None else f" annotation {problem.annotation}:"
    return f"{split}{problem.file}:{which} {problem.found}; expected {problem.expected}"


def verdict(name: str, problems: "Problems", *, quick: bool) -> str:
    """What the check comes to, in a line."""
    errors = len(problems.errors)
    warnings = len(problems.found) - errors
    counts = f"{counted(errors, 'error')}, {counted(warnings, 'warning')}"
    advice = "mend the errors before training" if errors else "good to train on"
    if quick:
        advice += ", as far as the quick check sees; without --quick every file is decoded"
    return f"{name}: {counts}: {advice}"


def counted(number: int, what: str) -> str:
    """A number and its noun."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def write_json(problems: "Problems", path: Path) -> None:
    """Writes every finding, and how many there are of each kind."""
    keys = ("rule", "level", "split", "file", "annotation", "found", "expected", "repair")
    found = [
        {key: getattr(problem, key) for key in keys}
        for kind in problems.by_rule().values()
        for problem in kind
    ]
    content = {"problems": found, "counts": problems.counts()}
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run_tool(main)
