#!/usr/bin/env python
"""Runs a training step that was not finite once more, and says where it went wrong.

    tools/replay_batch.py output/run/nonfinite_0001234.pth
    tools/replay_batch.py output/run/nonfinite_0001234.pth --device cuda --json replay.json

The file holds the batch, the weights before the step and the config; it needs no data set.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from project.cli import new_parser, run_tool
from project.usage import check_usage

if TYPE_CHECKING:
    from project.engine.replay import Replay

_SHOWN = 10


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The words of the command line."""
    parser = new_parser(__doc__)
    add = parser.add_argument
    add("file", type=Path, metavar="FILE", help="nonfinite_*.pth of an OUTPUT_DIR")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    add("--json", type=Path, metavar="OUT", help="write what was found here")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Runs the step and prints what it gave; 1 where it is not finite again."""
    args = parse_args(argv)
    check_usage(paths={"FILE": args.file})

    from project.engine.replay import replay
    from project.engine.setup import resolve_device

    found = replay(args.file, resolve_device(args.device))
    print(text(found))
    if args.json:
        args.json.write_text(json.dumps(asdict(found), indent=1), encoding="utf-8")
    return int(bool(found.weights or found.layers or found.gradients))


def text(found: "Replay") -> str:
    """What was found, line by line."""
    now = {**found.losses, "gradient norm": found.gradient_norm}
    lines = [f"iteration {found.iteration}: {', '.join(found.images)}", "", "then        now"]
    lines += [f"{found.then[name]:<11.5g} {now[name]:<11.5g} {name}" for name in now]
    for title, names in {
        "not finite before the step": found.weights,
        "first outputs that are not finite": found.layers,
        "gradients that are not finite": found.gradients,
    }.items():
        more = [f"and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
        lines += ["", f"{title}:", *(f"  {name}" for name in [*names[:_SHOWN], *more] or ["none"])]
    return "\n".join(lines)


if __name__ == "__main__":
    run_tool(main)
