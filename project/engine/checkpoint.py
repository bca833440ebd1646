"""The one writer and reader of weights.

A checkpoint is a dict of tensors and plain values:
    model            weights to predict with (averaged ones where averaging is on)
    training_model   weights to go on training with, where they are not the same
    average_count    updates in the average
    optimizer, scheduler, iteration, trainer   as Detectron2 writes them, for `--resume`
"""

import hashlib
import logging
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.utils import comm
from torch import nn

from project.engine.averaging import WeightAverage
from project.errors import WeightsError, nearest
from project.evaluation.results import Weights

logger = logging.getLogger(__name__)


class Checkpointer(DetectionCheckpointer):
    """Detectron2's checkpointer with whole files only, averaged weights and safe reading."""

    def __init__(
        self,
        model: nn.Module,
        save_dir: str = "",
        *,
        average: WeightAverage | None = None,
        **checkpointables: Any,
    ) -> None:
        super().__init__(model, save_dir, save_to_disk=comm.is_main_process(), **checkpointables)
        self.average = average

    def save(self, name: str, *, tag: bool = True, **extra: Any) -> None:
        """Writes `<name>.pth`; a file is never seen half written.

        Args:
            name: file name without its ending.
            tag: make it the one that `--resume` goes on from.
            extra: further tensors and plain values to keep.
        """
        if not self.save_dir or not self.save_to_disk:
            return
        data: dict[str, Any] = {"model": self.model.state_dict()}
        if self.average and self.average.started:
            data["training_model"] = data["model"]
            data["model"] = self.average.state_dict()
            data["average_count"] = self.average.count
        data.update({key: part.state_dict() for key, part in self.checkpointables.items()})
        data.update(extra)
        path = os.path.join(self.save_dir, f"{name}.pth")
        self.logger.info("Saving checkpoint to %s", path)
        _write_whole(path, lambda file: torch.save(data, file))
        if tag:
            self.tag_last_checkpoint(f"{name}.pth")

    def resume_or_load(self, path: str, *, resume: bool = True) -> dict[str, Any]:
        """Goes on from the last checkpoint, or starts from the weights of `path`.

        Raises:
            WeightsError: the file is missing, unreadable or made for another model.
        """
        if resume and self.has_checkpoint():
            return self.load(self.get_checkpoint_file())
        return self.load(path, checkpointables=[])

    def load(self, path: str, checkpointables: list[str] | None = None) -> dict[str, Any]:
        """Reads weights, and the state of what is in `checkpointables` (None: of everything)."""
        check_weights_exist(path)
        try:
            return super().load(path, checkpointables=checkpointables)
        except OSError as error:
            if "://" not in path:
                raise
            raise WeightsError(
                f"MODEL.WEIGHTS {path} could not be fetched ({error}); without internet,"
                " download it elsewhere and set MODEL.WEIGHTS to the file, or train from random"
                ' weights with MODEL.WEIGHTS "" (slower to learn, MODEL.RESNETS.NORM "GN" and'
                " MODEL.BACKBONE.FREEZE_AT 0 help)"
            ) from error

    def _load_file(self, filename: str) -> dict[str, Any]:
        try:
            if filename.endswith(".pkl"):
                return _read_zoo_pickle(filename)
            return super()._load_file(filename)
        except (pickle.UnpicklingError, RuntimeError, EOFError, UnicodeDecodeError) as error:
            first = str(error).strip().split("\n")[0]
            raise WeightsError(
                f"{filename}: not a weights file that can be read ({first})"
            ) from error

    def _load_model(self, checkpoint: dict[str, Any]) -> Any:
        weights, average = checkpoint["model"], self.average
        resumed = "training_model" in checkpoint and average is not None
        if resumed:
            checkpoint["model"] = checkpoint.pop("training_model")
        incompatible = super()._load_model(checkpoint)
        missing = set(incompatible.missing_keys)
        if weights and missing >= {name for name, _ in self.model.named_parameters()}:
            raise WeightsError(
                "none of the weights fits the model: they were made by another architecture;"
                f" the file has e.g. {sorted(weights)[:2]}, the model {sorted(missing)[:2]}"
            )
        if resumed and average is not None:
            average.load(weights, checkpoint["average_count"])
        return incompatible


def check_weights_exist(path: str) -> None:
    """Passes for "", for an address and for a file that is there.

    Raises:
        WeightsError: a local file that is not there.
    """
    if path and "://" not in path and not os.path.isfile(path):
        folder = Path(path).parent
        known = [p.name for p in folder.glob("*.p*")] if folder.is_dir() else []
        raise WeightsError(f"{path}: no such weights file.{nearest(Path(path).name, known)}")


def load_weights(model: nn.Module, path: str) -> int | None:
    """Reads weights to predict with into a model.

    Returns:
        The iteration that they were saved at; None where the file does not say.

    Raises:
        WeightsError: no file is named, or it is missing, unreadable or for another model.
    """
    if not path:
        raise WeightsError("no weights are named; set MODEL.WEIGHTS, or give --weights")
    return Checkpointer(model).load(path, checkpointables=[]).get("iteration")


def describe_weights(path: Path, iteration: int | None) -> Weights:
    """Which weights were scored, as results.json says it."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return {"path": str(path), "sha256": digest.hexdigest(), "iteration": iteration}


def _write_whole(path: str, write: Callable[[BinaryIO], None]) -> None:
    """Writes beside `path` and renames, so that `path` is always the old or the new file."""
    partial = f"{path}.partial"
    try:
        with open(partial, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


class _ArrayUnpickler(pickle.Unpickler):
    """Reads pickles of numpy arrays in plain containers and nothing else: no code can run."""

    ALLOWED: ClassVar = {
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy.core.multiarray", "scalar"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "scalar"),
        ("_codecs", "encode"),
        ("collections", "OrderedDict"),
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not an array")
        return super().find_class(module, name)


def _read_zoo_pickle(filename: str) -> dict[str, Any]:
    """Reads a `.pkl` of Detectron2's model zoo (or of Caffe2, which names weights otherwise)."""
    with open(filename, "rb") as file:
        data = _ArrayUnpickler(file, encoding="latin1").load()
    if "model" in data and "__author__" in data:
        return data
    blobs = data.get("blobs", data)
    weights = {key: value for key, value in blobs.items() if not key.endswith("_momentum")}
    return {"model": weights, "__author__": "Caffe2", "matching_heuristics": True}
