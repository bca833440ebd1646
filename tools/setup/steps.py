"""The steps of the set-up, in their order."""

import argparse
import importlib.util
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from environment import (
    Environment,
    check_space,
    drop_damaged,
    is_current,
    remove,
    write_stamp,
)
from installer import SetupError, run_pip
from lock import LOCK, check_machine, tools_lock, write_lock

ROOT = Path(__file__).resolve().parents[2]
DETECTRON2 = "tools/setup/detectron2.txt"
# fmt: off
MODULES = [
    "torch", "torchvision", "detectron2", "cv2", "faster_coco_eval", "fvcore", "iopath",
    "matplotlib", "numpy", "PIL", "pycocotools", "safetensors", "sklearn", "tensorboard", "yaml",
]
# fmt: on


def main(arguments: Sequence[str] | None = None) -> int:
    """Sets up what is missing, or with --check only looks; returns the exit status."""
    parser = argparse.ArgumentParser(prog="tools/setup", description=__doc__)
    parser.add_argument(
        "--check",
        action="store_true",
        help="only say what the Python that runs this lacks; install nothing",
    )
    parser.add_argument(
        "--locked",
        action="store_true",
        help=f"install only packages whose sha256 is in {LOCK}",
    )
    parser.add_argument("--lock", action="store_true", help=f"only write {LOCK} anew")
    args = parser.parse_args(arguments)
    try:
        if args.check:
            check_given(find=importlib.util.find_spec)
        elif args.lock:
            print(f"written: {write_lock(Environment(ROOT))}")
        else:
            set_up(Environment(ROOT, locked=args.locked))
    except SetupError as error:
        print(f"set-up failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("set-up interrupted; the next `make setup` goes on", file=sys.stderr)
        return 130
    return 0


def set_up(environment: Environment) -> None:
    """Brings the environment up to date; returns at once where it is."""
    if is_current(environment):
        print(f"set-up: .venv is up to date (Python {environment.version})")
        return
    print(f"set-up: into {environment.folder}; pip's output goes to {environment.log.name} there")
    steps: list[tuple[str, Callable[[Environment], None]]] = [
        ("virtual environment", make_environment),
        ("pip and setuptools", install_tools),
        ("packages (3 GB to fetch the first time)", install_packages),
        ("Detectron2", install_detectron2),
        ("trial import", try_imports),
    ]
    for number, (title, step) in enumerate(steps, start=1):
        print(f"[{number}/{len(steps)}] {title} ...", flush=True)
        start = time.monotonic()
        step(environment)
        print(f"      done in {time.monotonic() - start:.0f} s", flush=True)
    write_stamp(environment, complete=True)


def make_environment(environment: Environment) -> None:
    """Makes `.venv`, or makes a broken one of ours anew, or prepares a usable one."""
    if environment.locked:
        check_lockable(environment)
    if "torch" not in environment.distributions():
        check_space(environment)
    if not environment.is_usable():
        clear(environment)
        create(environment, find=importlib.util.find_spec)
    write_stamp(environment, complete=False)
    environment.log.write_text("", encoding="utf-8")
    if damaged := drop_damaged(environment):
        print(f"      to be mended: {', '.join(damaged)}")


def check_lockable(environment: Environment) -> None:
    """Checks that the lock is for this machine, and that it would replace nothing of the user's.

    Raises:
        SetupError: the lock is for another kind of machine, or a Detectron2 of the user's is here.
    """
    check_machine(environment)
    if environment.own_detectron2():
        raise SetupError(
            f"{environment.folder} holds a Detectron2 of your own, compiled for the torch that is"
            " there, which LOCKED=1 would replace; leave LOCKED=1 out"
        )


def clear(environment: Environment) -> None:
    """Empties a `.venv` that cannot be used; only what we made, never a Detectron2 of the user's.

    Raises:
        SetupError: there is something in it that is not ours to delete.
    """
    if not environment.folder.exists():
        return
    if not environment.stamp.exists() or environment.own_detectron2():
        raise SetupError(
            f"{environment.folder} cannot be used (moved, or its Python or pip is gone), and it"
            " holds things that `make setup` did not install. Delete or rename it, then run this"
            " again; or use another environment as it is: make test PYTHON=/path/to/python"
        )
    print("      .venv was moved or is broken: making it anew")
    for path in environment.folder.iterdir():
        if path != environment.stamp:
            remove(path)


def create(environment: Environment, find: Callable[[str], object]) -> None:
    """Makes `.venv` with the Python that runs this.

    Raises:
        SetupError: this Python cannot make one.
    """
    if lacking := [name for name in ("venv", "ensurepip") if find(name) is None]:
        version = ".".join(map(str, sys.version_info[:2]))
        raise SetupError(
            f"{sys.executable} cannot make a virtual environment: it lacks"
            f" {' and '.join(lacking)}. On Debian and Ubuntu: apt install python{version}-venv; or"
            " name another Python: make setup BASE_PYTHON=/path/to/python3.12"
        )
    environment.folder.mkdir(exist_ok=True)
    write_stamp(environment, complete=False)  # before all else: whatever follows is ours
    command = [sys.executable, "-m", "venv", str(environment.folder)]
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode:
        last = (made.stderr or made.stdout).strip().rsplit("\n", 1)[-1]
        raise SetupError(f"`{' '.join(command)}` failed: {last}")


def install_tools(environment: Environment) -> None:
    """Some packages exist as sources only: the same pip and setuptools build them everywhere."""
    if environment.locked:
        install_locked(environment, tools_lock(environment))
    else:
        install(environment, "pip", "setuptools")


def install_packages(environment: Environment) -> None:
    """What setup.py asks for, and this checkout itself in editable form."""
    if environment.locked:
        install_locked(environment, environment.root / LOCK)
        install(environment, "--no-deps", "--no-build-isolation", "--editable", ".")
    else:
        install(environment, "--no-build-isolation", "--editable", ".[all]")


def install_locked(environment: Environment, lock: Path) -> None:
    """Installs what a lock names; anew, since nobody knows the hashes of what is there."""
    run_pip(
        environment.python,
        [
            *("install", "--force-reinstall", "--no-deps", "--no-build-isolation"),
            *("--require-hashes", "--requirement", str(lock)),
        ],
        log=environment.log,
        cwd=environment.root,
    )


def install(environment: Environment, *arguments: str) -> None:
    """Installs the pinned versions, or with a Detectron2 of the user's own, what it leaves to us.

    A Detectron2 that was built here is compiled for the torch that is here, which must stay.
    """
    pins = [] if environment.own_detectron2() else ["--constraint", "constraints.txt"]
    run_pip(
        environment.python,
        ["install", *pins, *arguments],
        log=environment.log,
        cwd=environment.root,
    )


def install_detectron2(environment: Environment) -> None:
    """Installs the pinned redistribution without its compiled part and its package `tools`.

    The compiled part was built for one old torch; `tools` would shadow ours.
    """
    if environment.own_detectron2():
        print("      the one that is already here is used as it is")
        return
    pinned = (environment.root / DETECTRON2).read_text(encoding="utf-8")
    wanted = re.search(r"^sal-detectron2==(\S+)", pinned, re.MULTILINE)
    assert wanted, f"{DETECTRON2} pins no version"
    if (environment.packages / f"sal_detectron2-{wanted[1]}.dist-info").exists():
        return
    staging = environment.folder / "detectron2-staging"
    remove(staging)
    # The wheel calls itself one for Python 3.10, but its Python sources run in any newer one.
    any_python = "--python-version 3.10 --implementation cp --abi none --platform any"
    run_pip(
        environment.python,
        [
            *("install", "--no-deps", "--target", str(staging), "--only-binary=:all:"),
            *any_python.split(),
            *("--require-hashes", "--requirement", DETECTRON2),
        ],
        log=environment.log,
        cwd=environment.root,
    )
    move_detectron2(staging, environment.packages)


def move_detectron2(staging: Path, packages: Path) -> None:
    """Moves what we want of the unpacked wheel into `packages`, and its record accordingly."""
    for compiled in staging.glob("detectron2/_C*"):
        compiled.unlink()
    (info,) = staging.glob("*.dist-info")
    record = (info / "RECORD").read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in record if not line.startswith(("tools/", "detectron2/_C"))]
    (info / "RECORD").write_text("".join(kept), encoding="utf-8")
    for old in [packages / "detectron2", *packages.glob("sal_detectron2-*.dist-info")]:
        remove(old)
    for path in (staging / "detectron2", info):
        path.rename(packages / path.name)
    remove(staging)


def try_imports(environment: Environment) -> None:
    """Imports every package once and prints what the environment has become.

    Raises:
        SetupError: one of them cannot be imported.
    """
    code = (
        f"import {', '.join(MODULES)}, detectron2.engine\n"
        "gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else 'none'\n"
        "print(f'torch {torch.__version__}, torchvision {torchvision.__version__},'\n"
        "      f' Detectron2 {detectron2.__version__}, GPU: {gpu}')"
    )
    command = [str(environment.python), "-W", "ignore", "-c", code]
    tried = subprocess.run(command, capture_output=True, text=True, cwd=environment.folder)
    if tried.returncode:
        raise SetupError(
            f"everything is installed, but importing it fails: {tried.stderr.strip()[-300:]}."
            f" Delete {environment.folder} and run this again"
        )
    print(f"      {tried.stdout.strip()}")


def check_given(find: Callable[[str], object]) -> None:
    """Looks at the environment that the user named by PYTHON=..., which is used as it is.

    Raises:
        SetupError: something is missing in it.
    """
    missing = [name for name in MODULES if find(name) is None]
    if missing:
        raise SetupError(
            f"{sys.executable} lacks {', '.join(missing)}, and nothing is installed into an"
            " environment that PYTHON=... names. Install Detectron2 there from its source and the"
            f" rest with `{sys.executable} -m pip install -e '.[all]'`, or leave PYTHON=... out"
        )
