"""Fixed batch normalisation within the convolution before it, in training on a GPU.

Detectron2 fine-tunes with frozen statistics: x * scale + bias is two passes over each feature map
forwards and one backwards. A convolution with weights times scale gives the same, and the gradient
of the weights goes through that product.
"""

from typing import Any, cast

import torch
import torch.nn.functional as F
from detectron2.layers import Conv2d, FrozenBatchNorm2d
from torch import Tensor, nn


class FrozenNormConv2d(Conv2d):
    """Detectron2's convolution whose norm is a `FrozenBatchNorm2d`; names of weights stay."""

    _affine: tuple[list[tuple[Tensor, int]], Tensor, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Convolves, normalises, activates.

        Args:
            x: (N, C, H, W), N may be 0.

        Returns:
            (N, D, H, W).
        """
        scale, shift = self._scale_and_shift()
        weight = self.weight * scale
        x = F.conv2d(x, weight, shift, self.stride, self.padding, self.dilation, self.groups)
        return x if self.activation is None else self.activation(x)

    def _scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """(D, 1, 1, 1) and (D,); anew where the statistics were changed, as by loading weights."""
        norm = cast(FrozenBatchNorm2d, self.norm)
        parts = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
        if self._affine is None or not _are_same(self._affine[0], parts):
            weight, bias, mean, variance = parts
            with torch.no_grad():
                scale = weight * (variance + norm.eps).rsqrt()
                shift = bias - mean * scale
            scale = scale[:, None, None, None]
            if torch.is_inference_mode_enabled():  # no training could take what is made here
                return scale, shift
            self._affine = ([(part, part._version) for part in parts], scale, shift)
        return self._affine[1:]

    def __getstate__(self) -> dict[str, Any]:
        """A copy has statistics of its own, whose versions begin anew."""
        return {**self.__dict__, "_affine": None}


def _are_same(known: list[tuple[Tensor, int]], parts: tuple[Tensor, ...]) -> bool:
    """Whether these are the same tensors, unchanged."""
    return all(
        old is new and old_version == new._version for (old, old_version), new in zip(known, parts)
    )


def fold_frozen_norms(module: nn.Module) -> None:
    """Gives each Detectron2 convolution with a frozen norm below `module` the way above."""
    for child in module.modules():
        if type(child) is Conv2d and type(child.norm) is FrozenBatchNorm2d and child.bias is None:
            child.__class__ = FrozenNormConv2d


def restore_frozen_norms(module: nn.Module) -> None:
    """Undoes `fold_frozen_norms`."""
    for child in module.modules():
        if type(child) is FrozenNormConv2d:
            child.__class__ = Conv2d
            child._affine = None
