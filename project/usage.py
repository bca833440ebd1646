"""What a command line names is looked at before anything heavy is imported.

Most mistakes are a mistyped path: their errors, which are those of the readers themselves, come in
tenths of a second, where importing torch alone takes seconds.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from project.config_files import check_overrides, read_config_values
from project.data.files import require_path
from project.data.spec import read_spec
from project.errors import WeightsError, nearest

WEIGHTS_ENDINGS = (".pth", ".pkl", ".pt", ".pyth", ".safetensors")
_TRAINED = ("model_best.pth", "model_final.pth")  # those of a run that are predicted with


def check_usage(
    *,
    config_file: str | Path | None = None,
    dataset: str | Path | None = None,
    weights: str | None = None,
    opts: Sequence[str] = (),
    paths: Mapping[str, Path] | None = None,
) -> None:
    """Reads the files that a command line names, as far as that needs no heavy import.

    Keys of configs, classes and images are checked by those who read them.

    Args:
        config_file: of --config-file.
        dataset: of --dataset.
        weights: of --weights.
        opts: KEY VALUE pairs, of which MODEL.WEIGHTS is looked at.
        paths: word of the command line -> file or folder that must be there.

    Raises:
        UserError: the errors of `require_path`, `read_config_values`, `check_overrides`,
            `read_spec` and `check_weights_file`.
    """
    for word, path in (paths or {}).items():
        require_path(path, word)
    if config_file:
        read_config_values(config_file)
    check_overrides(opts)
    if dataset:
        read_spec(find_spec(str(dataset)))
    named = dict(zip(opts[0::2], opts[1::2])).get("MODEL.WEIGHTS", "")
    # Other words may be a value in quotes, which the reader of configs takes off.
    check_weights_file(weights or (named if named.endswith(WEIGHTS_ENDINGS) else ""))


def find_spec(path: str) -> str:
    """A path from the working folder or, as the configs that we ship have it, from our own."""
    ours = Path(__file__).resolve().parents[1] / path
    return str(ours) if not Path(path).is_file() and ours.is_file() else path


def check_weights_file(path: str) -> None:
    """Passes for "", for an address, and for a file that is there.

    Raises:
        WeightsError: a local file that is not there; names the nearest.
    """
    if path and "://" not in path and not Path(path).is_file():
        beside = [p.name for p in Path(path).parent.glob("*") if p.suffix in WEIGHTS_ENDINGS]
        known = beside or [str(p) for p in Path("output").glob("*/*") if p.name in _TRAINED]
        raise WeightsError(f"{path}: no such weights file.{nearest(Path(path).name, known)}")
