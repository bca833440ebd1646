"""What MODEL.SEM_SEG_HEAD.LOSSES may name: docs/training.md says the same in words."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from project.entries import Argument, Entry, number, read_entries
from project.errors import ConfigError
from project.layers.losses import (
    boundary_loss,
    cross_entropy,
    dice_loss,
    focal_loss,
    lovasz_softmax,
    ohem_cross_entropy,
    tversky_loss,
)

KEY = "MODEL.SEM_SEG_HEAD.LOSSES"
DEFAULT = ({"name": "cross_entropy"}, {"name": "dice"})


@dataclass(frozen=True)
class Kind:
    """One kind of loss.

    Attributes:
        function: (logits, targets, ignore_value=..., **arguments) -> a scalar.
        log_name: under which it is logged, behind "loss_sem_seg_".
        arguments: name -> how it is read, without the factor "weight" that all have.
        weighs_classes: it takes `class_weights`.
    """

    function: Callable[..., Tensor]
    log_name: str
    arguments: Mapping[str, Argument]
    weighs_classes: bool = False


_SHARE, _FROM_ZERO = number(0, 1), number(0)

LOSSES: dict[str, Kind] = {
    "cross_entropy": Kind(
        cross_entropy, "ce", {"label_smoothing": Argument(number(0, 0.99), 0.0)}, True
    ),
    "focal": Kind(
        focal_loss,
        "focal",
        {"alpha": Argument(_FROM_ZERO, 0.25), "gamma": Argument(_FROM_ZERO, 2.0)},
        True,
    ),
    "ohem": Kind(
        ohem_cross_entropy,
        "ohem",
        {"threshold": Argument(_SHARE, 0.7), "min_share": Argument(_SHARE, 0.1)},
        True,
    ),
    "dice": Kind(dice_loss, "dice", {"smooth": Argument(_FROM_ZERO, 1.0)}),
    "tversky": Kind(
        tversky_loss,
        "tversky",
        {
            "alpha": Argument(_FROM_ZERO, 0.3),
            "beta": Argument(_FROM_ZERO, 0.7),
            "smooth": Argument(_FROM_ZERO, 1.0),
        },
    ),
    "lovasz": Kind(lovasz_softmax, "lovasz", {}),
    "boundary": Kind(boundary_loss, "boundary", {}),
}
_WEIGHT = Argument(_FROM_ZERO, 1.0)


def read_losses(entries: Sequence[Any]) -> list[Entry]:
    """The entries of the list that have a weight, which is among their arguments.

    Raises:
        ConfigError: an entry of another form, an unknown name or argument, a value that is not
            among those it may have, one name twice, or nothing that teaches.
    """
    known = {name: {"weight": _WEIGHT, **kind.arguments} for name, kind in LOSSES.items()}
    read = read_entries(KEY, entries, known, "loss")
    names = [entry.name for entry in read]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"{KEY} names {', '.join(twice)} twice; give one entry the whole weight")
    chosen = [entry for entry in read if entry.arguments["weight"] > 0]
    if not chosen:
        raise ConfigError(
            f"{KEY} holds no loss with a weight above 0, so nothing would be learnt; write at"
            " least one, e.g. [{name: cross_entropy}]"
        )
    return chosen
