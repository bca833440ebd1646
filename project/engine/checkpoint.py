"""The one writer and reader of weights.

A checkpoint is a dict of tensors and plain values:
    model            weights to predict with (averaged ones where averaging is on)
    classes          names of things and stuff, in the order of their numbers
    description      what the weights are, see `project.engine.description`
    training_model   weights to go on training with, where they are not the same
    average_count    updates in the average
    optimizer, scheduler, iteration, trainer   as Detectron2 writes them, for `--resume`
"""

import logging
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import CfgNode
from detectron2.utils import comm
from torch import nn

from project.data.register import dataset_info
from project.digests import sha256
from project.engine.addresses import check_kind, local_weights
from project.engine.averaging import WeightAverage
from project.engine.checkpoint_files import (
    has_checkpoint,
    last_whole,
    prune,
    sweep,
    tag_last,
    write_checkpoint,
)
from project.engine.description import KEY, Description
from project.engine.nonfinite import check_finite, learnt
from project.engine.weights_files import read_weights_file
from project.errors import WeightsError
from project.evaluation.results import Weights
from project.usage import check_weights_file

logger = logging.getLogger(__name__)

_LEAST_FITTING = 0.01  # of a model's numbers; less is chance, such as biases of one length

Classes = dict[str, list[str]]  # "things" and "stuff" -> names


class Checkpointer(DetectionCheckpointer):
    """Detectron2's checkpointer with whole files only, averaged weights and safe reading."""

    def __init__(
        self,
        model: nn.Module,
        save_dir: str = "",
        *,
        average: WeightAverage | None = None,
        classes: Classes | None = None,
        description: Description | None = None,
        keep: int = 0,
        **checkpointables: Any,
    ) -> None:
        """A checkpointer of one model.

        Args:
            model: what is saved and loaded.
            save_dir: where checkpoints are; "" saves none.
            average: goes with the model.
            classes: of the data set; kept beside the weights and compared when they are loaded.
            description: of the weights; kept beside them.
            keep: how many periodic checkpoints are left, the newest; 0: all.
            **checkpointables: whatever else has a state.
        """
        super().__init__(model, save_dir, save_to_disk=comm.is_main_process(), **checkpointables)
        self.average = average
        self.classes = classes
        self.description = description
        self.keep = keep
        self._address = ""  # of what is being loaded
        self.loaded = ""  # the file that was read last
        self._resuming = False  # take up a run: its last weights and its average
        self._whole = False  # every weight must be there

    def save(self, name: str, *, tag: bool = True, state: bool = True, **extra: Any) -> None:
        """Writes `<name>.pth`; a file is never seen half written.

        Args:
            name: file name without its ending.
            tag: make it the one that `--resume` goes on from.
            state: with what a run needs to go on; without it only the weights to predict with.
            extra: further tensors and plain values to keep.

        Raises:
            TrainingError: the weights are not finite; nothing is written.
        """
        if not self.save_dir or not self.save_to_disk:
            return
        path = Path(self.save_dir) / f"{name}.pth"
        check_finite(learnt(self.model), str(path))
        data: dict[str, Any] = {"model": self.model.state_dict(), "classes": self.classes}
        if self.average and self.average.started:
            check_finite(learnt(self.average.scored_model), f"the average in {path}")
            last, data["model"] = data["model"], self.average.state_dict()
            if state:
                data.update(training_model=last, average_count=self.average.count)
        if state:
            data.update({key: part.state_dict() for key, part in self.checkpointables.items()})
        if self.description is not None:
            data[KEY] = self.description
        data.update(extra)
        self.logger.info("Saving checkpoint to %s", path)
        write_checkpoint(path, lambda file: torch.save(data, file))
        if tag:
            tag_last(path)
            prune(path.parent, self.keep)

    def has_checkpoint(self) -> bool:
        """Whether there is a run to go on with."""
        return has_checkpoint(Path(self.save_dir))

    def get_checkpoint_file(self) -> str:
        """The last checkpoint that is not damaged.

        Raises:
            WeightsError: there is none.
        """
        return str(last_whole(Path(self.save_dir)))

    def resume_or_load(self, path: str, *, resume: bool = True) -> dict[str, Any]:
        """Goes on from the last checkpoint, or starts from the weights of `path`.

        Raises:
            WeightsError: the file is missing, unreadable or made for another model.
        """
        if resume and self.has_checkpoint():
            if self.save_to_disk:
                sweep(Path(self.save_dir))
            found = self.get_checkpoint_file()
            _check_shared(found)
            return self.load(found)
        _check_shared(path)
        return self.load(path, checkpointables=[])

    def load(
        self, path: str, checkpointables: list[str] | None = None, *, whole: bool = False
    ) -> dict[str, Any]:
        """Reads a checkpoint.

        Args:
            path: a file or an address; "" reads nothing.
            checkpointables: whose state to take up; None goes on with the run that wrote the file,
                [] takes its weights to predict with, or to start another run from.
            whole: refuse weights that do not cover the model; a run that goes on needs them all.

        Returns:
            What else the file holds.

        Raises:
            WeightsError: the file is missing, unreadable or made for another model.
        """
        check_weights_exist(path)
        local_weights(path)  # what goes wrong with an address is told in our words
        self._address = path
        self._resuming = checkpointables is None
        self._whole = whole or self._resuming
        self.loaded = path
        return super().load(path, checkpointables=checkpointables)

    def _load_file(self, filename: str) -> dict[str, Any]:
        content = read_weights_file(filename)
        query = parse_qs(urlparse(self._address).query)
        if query.get("matching_heuristics") == ["True"]:
            content["matching_heuristics"] = True
        return content

    def _load_model(self, checkpoint: dict[str, Any]) -> Any:
        scored = checkpoint["model"]
        if self._resuming and "training_model" in checkpoint:
            checkpoint["model"] = checkpoint.pop("training_model")
        self._check_classes(checkpoint.get("classes"))
        incompatible = super()._load_model(checkpoint)
        self._check_channels(incompatible.incorrect_shapes)
        self._check_fit(incompatible, sorted(scored))
        if self._resuming and self.average and "average_count" in checkpoint:
            self.average.load(scored, checkpoint["average_count"])
        return incompatible

    def _check_classes(self, found: Classes | None) -> None:
        """Weights go with the names of their classes, not with the number of these."""
        if found is None or self.classes is None or found == self.classes:
            return
        message = f"the weights were trained for {found}, the data set has {self.classes}"
        if self._whole:
            raise WeightsError(
                f"{message}; name the classes alike and in one order (`things`, `stuff` in the"
                " data set's spec), or train on this data set"
            )
        logger.warning("%s; what depends on the classes starts from the old ones", message)

    def _check_channels(self, shapes: list[tuple[str, tuple[int, ...], tuple[int, ...]]]) -> None:
        """The first convolution must not start anew in silence: it may even be frozen."""
        channels = len(getattr(self.model, "pixel_mean", ()))
        for name, found, expected in shapes:
            if len(found) == len(expected) == 4 and found[1] != expected[1] == channels:
                raise WeightsError(
                    f"{name} takes images of {found[1]} channels in the file, and INPUT.CHANNELS is"
                    f" {channels}; start without weights (MODEL.WEIGHTS '' and"
                    " MODEL.BACKBONE.FREEZE_AT 0), or feed such images"
                )

    def _check_fit(self, incompatible: Any, in_file: list[str]) -> None:
        sizes = {name: p.numel() for name, p in self.model.named_parameters()}
        own = set(sizes)
        unfit = own & {*incompatible.missing_keys, *(k[0] for k in incompatible.incorrect_shapes)}
        fitting = sum(sizes[name] for name in own - unfit)
        if in_file and fitting < _LEAST_FITTING * sum(sizes.values()):
            raise WeightsError(
                f"{fitting or 'none'} of the model's {sum(sizes.values())} weights fit: they were"
                f" made by another architecture; the file has e.g. {in_file[:2]}, the model"
                f" {sorted(own)[:2]}. Take the config of their training, or start without weights"
                " (MODEL.WEIGHTS '')"
            )
        if unfit and self._whole:
            raise WeightsError(
                f"{len(unfit)} of the model's {len(own)} weights are missing in the file or of"
                f" another shape there, e.g. {sorted(unfit)[:3]}: it was made for another config"
                " or other classes; use the config of its training"
            )
        if unfit:
            parts = sorted({".".join(name.split(".")[:2]) for name in unfit})
            logger.info(
                "%d of %d weights (%.1f %% of their numbers) start anew: %s",
                len(unfit), len(own), 100 * (1 - fitting / sum(sizes.values())), ", ".join(parts),
            )  # fmt: skip


def _check_shared(path: str) -> None:
    """Ranks that start from different files would train different models, and not know it."""
    chosen = comm.all_gather(path)
    for rank, other in enumerate(chosen):
        if other != chosen[0]:
            raise WeightsError(
                f"rank 0 goes on from {chosen[0] or 'nothing'} and rank {rank} from"
                f" {other or 'nothing'}: OUTPUT_DIR must be one folder that all machines see"
            )


def check_weights_exist(path: str) -> None:
    """Passes for "", for an address of a kind that may be fetched, and for a file that is there.

    Raises:
        WeightsError: a local file that is not there, or another kind of address.
    """
    check_kind(path)
    check_weights_file(path)


def load_weights(model: nn.Module, path: str, classes: Classes | None = None) -> int | None:
    """Reads weights to predict with into a model.

    Args:
        model: of the config that the weights were trained with.
        path: a file or an address.
        classes: that the predictions will be given; see `class_names`.

    Returns:
        The iteration that they were saved at; None where the file does not say.

    Raises:
        WeightsError: no file is named, or it is missing, unreadable or for another model or other
            classes.
    """
    if not path:
        raise WeightsError("no weights are named; write MODEL.WEIGHTS and a file after the flags")
    checkpointer = Checkpointer(model, classes=classes)
    return checkpointer.load(path, checkpointables=[], whole=True).get("iteration")


def class_names(cfg: CfgNode) -> Classes | None:
    """The classes of a config's data sets; None where it names none."""
    names = [*cfg.DATASETS.TEST, *cfg.DATASETS.TRAIN]
    if not names:
        return None
    categories = dataset_info(names[0]).categories
    return {"things": list(categories.things), "stuff": list(categories.stuff)}


def describe_weights(path: str, iteration: int | None) -> Weights:
    """Which weights were scored, as results.json says it; `path` may be an address."""
    return {"path": path, "sha256": sha256(local_weights(path)), "iteration": iteration}
