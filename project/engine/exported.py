"""Weights as other programs read them: `model.safetensors`, and beside it `model.json`.

The JSON file is the description (`project.engine.description`) with one key more:
    weights: {"file": name of the other file, "sha256": its digest, "iteration": number or null}
The digest ties the two together, so that neither is taken for another one's.
"""

import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from project.engine.checkpoint_files import sha256
from project.errors import WeightsError

ENDING = ".safetensors"
READ_ERRORS = (
    *(pickle.UnpicklingError, RuntimeError, EOFError, ValueError, SafetensorError),
    zipfile.BadZipFile,
)
_NAME = "model"


def write_exported(
    folder: Path,
    weights: Mapping[str, torch.Tensor],
    description: Mapping[str, Any],
    iteration: int | None,
) -> list[Path]:
    """Writes both files; the folder is there with both of them, or not at all.

    Args:
        folder: that is not there yet, or empty.
        weights: to predict with, by name.
        description: a `project.engine.description.Description`.
        iteration: that they were saved at.

    Returns:
        The two files.

    Raises:
        WeightsError: the folder holds something.
        OSError: as the file system says; nothing is left then.
    """
    check_new_folder(folder)
    partial = folder.with_name(f"{folder.name}.partial")
    try:
        partial.mkdir(parents=True)
    except FileExistsError as error:
        raise WeightsError(
            f"{partial} is there: another export writes it, or one was killed; delete it then"
        ) from error
    try:
        tensors = partial / f"{_NAME}{ENDING}"
        save_file(_own_storage(weights), tensors)
        about = {"file": tensors.name, "sha256": sha256(tensors), "iteration": iteration}
        beside = tensors.with_suffix(".json")
        text = json.dumps({**description, "weights": about}, indent=1, ensure_ascii=False)
        beside.write_text(f"{text}\n", encoding="utf-8")
        tensors.chmod(beside.stat().st_mode & 0o777)  # the library lets nobody else read it
        for path in (tensors, beside):
            _sync(path)
        os.replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return [folder / tensors.name, folder / beside.name]


def check_new_folder(folder: Path) -> None:
    """Passes for a folder that is not there yet, or empty.

    Raises:
        WeightsError: it holds something, or is a file.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise WeightsError(f"--out: {folder} holds something; name a new or an empty folder")


def read_exported(path: str) -> dict[str, Any]:
    """A `.safetensors` file in the form of a checkpoint.

    Returns:
        "model": the weights; where a JSON file lies beside, also "classes" and "iteration".

    Raises:
        WeightsError: it is not what the file beside it describes, or that is no JSON.
        SafetensorError: it is none.
    """
    beside = read_beside(path)
    if beside is None:
        return {"model": load_file(path)}
    about, classes = beside.get("weights"), beside.get("classes")
    if not isinstance(about, dict) or not isinstance(classes, dict):
        raise WeightsError(
            f"{_beside(path)}: it describes no weights; take the file that tools/export_weights.py"
            f" wrote with {path}, or remove it and give the config with --config-file"
        )
    found = sha256(Path(path))
    if found != about.get("sha256"):
        raise WeightsError(
            f"{path} is not the file that {_beside(path).name} beside it describes: its sha256 is"
            f" {found}, expected {about.get('sha256')}; it is damaged, or one of the two is"
            " another export's: copy both again"
        )
    return {
        "model": load_file(path),
        "classes": {key: classes.get(key) for key in ("things", "stuff")},
        "iteration": about.get("iteration"),
    }


def read_beside(path: str) -> dict[str, Any] | None:
    """The JSON file beside a `.safetensors` file; None where there is none.

    Raises:
        WeightsError: it is no JSON object.
    """
    beside = _beside(path)
    if not beside.is_file():
        return None
    try:
        found = json.loads(beside.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{beside}: it is no JSON ({error}); copy it again") from error
    if not isinstance(found, dict):
        raise WeightsError(
            f"{beside}: expected a JSON object, found a {type(found).__name__}; copy it again"
        )
    return found


def unreadable(path: str, error: Exception) -> WeightsError:
    """What is said of a file that one of `READ_ERRORS` was raised for."""
    first = str(error).strip().split("\n")[0]
    return WeightsError(f"{path}: not a weights file that can be read ({first})")


def _beside(path: str) -> Path:
    return Path(path).with_suffix(".json")


def _own_storage(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Copies on the CPU: the format holds no two names of one tensor, and no views."""
    return {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in weights.items()
    }


def _sync(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())
