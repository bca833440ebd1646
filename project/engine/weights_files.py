"""Reads weights files of every kind so that none of them runs code, whatever the environment says.

Detectron2 and fvcore leave the choice to torch, which takes it from environment variables.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from project.engine.exported import ENDING, read_exported
from project.engine.zoo_pickle import read_zoo_pickle
from project.errors import UserError, WeightsError
from project.pickle_scan import check_torch_file


def read_weights_file(path: str) -> dict[str, Any]:
    """The content of a local file.

    Args:
        path: ends in .pkl (the model zoo's), .safetensors, .pyth (pycls') or in anything else
            (torch's).

    Returns:
        What the file holds, with "model": name -> tensor or array.

    Raises:
        WeightsError: it holds code, is damaged, or holds no weights.
    """
    try:
        content = _read(path)
    except UserError:
        raise
    except Exception as error:  # each library has its own; all mean a file that is of no use
        first = (str(error).strip() or type(error).__name__).split("\n")[0]
        raise WeightsError(f"{path}: not a weights file that can be read ({first})") from error
    if not isinstance(content, dict):
        raise _no_weights(path, content)
    if "model" not in content:
        content = {"model": content}
    weights = content["model"]
    if not isinstance(weights, Mapping) or not all(map(_is_weight, weights.items())):
        raise _no_weights(path, weights)
    return content


def _read(path: str) -> Any:
    if path.endswith(".pkl"):
        return read_zoo_pickle(path)
    if path.endswith(ENDING):
        return read_exported(path)
    return _of_pycls(_read_torch(path)) if path.endswith(".pyth") else _read_torch(path)


def _read_torch(path: str) -> Any:
    check_torch_file(path)
    return torch.load(path, map_location=torch.device("cpu"), weights_only=True)


def _of_pycls(content: Any) -> dict[str, Any]:
    weights = {
        name: value
        for name, value in content["model_state"].items()
        if not name.endswith("num_batches_tracked")
    }
    return {"model": weights, "__author__": "pycls", "matching_heuristics": True}


def _is_weight(entry: tuple[Any, Any]) -> bool:
    name, value = entry
    is_array = isinstance(value, np.ndarray) and value.dtype != object
    return isinstance(name, str) and (isinstance(value, torch.Tensor) or is_array)


def _no_weights(path: str, found: Any) -> WeightsError:
    return WeightsError(
        f"{path}: it holds no weights: expected tensors by their names, found a"
        f" {type(found).__name__}; name a file that a training wrote"
    )
