"""What stands around the library's loss: float32, pixels that do not count, losses by name."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_ABSENT = -30.0  # a mask logit of probability 1e-13, which no loss corrects
_MASKS = "masks_queries_logits"


class RecordingCriterion(nn.Module):
    """Takes the place of the criterion in a model of the library.

    The library's models return the sum of their losses alone, and know no pixels to be ignored.
    Each call keeps its dict of losses, which the model then weighs in place.

    Legend: N images, Q queries, h x w values of a mask, H x W pixels of the padded batch.

    Attributes:
        ignored: (N, H, W) bool pixels that neither teach nor count; None for none.
        records: the losses of the calls since the last `take`.
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.ignored: Tensor | None = None
        self.records: list[dict[str, Tensor]] = []

    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """The library's losses; takes whatever its criterion takes."""
        args = tuple(_map_tensors(a, self._prepare) for a in args)
        kwargs = {key: _map_tensors(value, self._prepare) for key, value in kwargs.items()}
        # The matching needs NumPy, which has no bfloat16, and sums over thousands of points.
        with torch.autocast(_device_type(args, kwargs), enabled=False):
            losses = self.inner(*args, **kwargs)
        self.records.append(losses)
        return losses

    def _prepare(self, value: Tensor) -> Tensor:
        """Floats in float32; masks, which have four dimensions, without what is ignored."""
        if not value.is_floating_point():
            return value
        value = value.float()
        if self.ignored is None or value.dim() != 4:
            return value
        # A cell counts if any of its pixels does.
        share = F.interpolate(self.ignored[:, None].float(), value.shape[-2:], mode="area")
        return value.masked_fill(share > 0.999, _ABSENT)  # (N, Q, h, w)

    def take(self) -> dict[str, Tensor]:
        """The recorded losses: those of the last layer by name, of the others as one sum.

        Returns:
            Scalars: loss_cross_entropy, loss_mask, loss_dice, and as far as the model has them
            loss_contrastive and loss_auxiliary.
        """
        *earlier, final = self.records
        self.records = []
        names = ("loss_cross_entropy", "loss_mask", "loss_dice", "loss_contrastive")
        losses = {name: final[name].sum() for name in names if name in final}
        rest = [value for key, value in final.items() if key not in names]
        rest += [value for record in earlier for value in record.values()]
        if rest:
            losses["loss_auxiliary"] = torch.stack([value.sum() for value in rest]).sum()
        return losses


def _map_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same nested lists, tuples and dicts with every tensor changed."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {key: _map_tensors(item, change) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_map_tensors(item, change) for item in value)
    return value


def _device_type(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    logits = kwargs[_MASKS] if _MASKS in kwargs else args[0]
    return logits.device.type
