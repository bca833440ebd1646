"""What every command line tool shares; imports nothing heavy, so that `--help` is quick."""

import argparse
import io
import logging
import sys
import warnings
from collections.abc import Callable
from typing import NoReturn

from project.errors import UserError
from project.network import FLAG, set_downloads


def new_parser(description: str | None, *, downloads: bool = False) -> argparse.ArgumentParser:
    """A parser that shows the tool's own docstring as it stands and takes no shortened flags.

    Args:
        description: the docstring.
        downloads: the tool may fetch weights; it gives `allow_download` to
            `project.network.set_downloads`.
    """
    parser = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    if downloads:
        words = "fetch weights that are not here yet, by https; a digest of them is kept"
        parser.add_argument(FLAG, action="store_true", help=words)
    return parser


def run_tool(main: Callable[[], int]) -> NoReturn:
    """Runs a tool's `main` and ends the process with its exit status.

    The network is shut until `main` opens it. A `UserError` is printed as one paragraph, without a
    traceback, and ends with status 1.
    """
    quiet_libraries()
    _print_any_name()
    set_downloads(False)
    try:
        status = main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        status = 1
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in {"torch", "torchvision", "detectron2"}:
            raise
        print(
            f"error: the Python at {sys.executable} has no {error.name}; run `make setup` and use"
            " .venv/bin/python, or install torch, torchvision and Detectron2 there",
            file=sys.stderr,
        )
        status = 1
    sys.exit(status)


def quiet_libraries() -> None:
    """Keeps what torch says of Detectron2's own calls from our users; for each process of a run."""
    warnings.filterwarnings("ignore", message=r".*torch\.jit\.script.*", category=FutureWarning)
    warnings.filterwarnings("ignore", message=r".*torch\.meshgrid.*", category=UserWarning)
    warnings.filterwarnings("ignore", message=r".*broadcast_buffers.*", category=FutureWarning)
    logging.getLogger("torch.fx._symbolic_trace").setLevel(logging.ERROR)


def _print_any_name() -> None:
    """Makes prints escape what the terminal's encoding lacks: names of files hold any bytes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
