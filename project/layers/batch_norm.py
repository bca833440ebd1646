"""Batch normalisation that survives a batch of a single value."""

import torch.nn.functional as F
from torch import Tensor, nn


class BatchNorm(nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` that takes its running statistics where a channel has one value.

    The map of one image that is pooled to 1x1 has no deviation: torch refuses it in training.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.numel() == x.shape[1]:
            return F.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(x)


def accept_single_values(module: nn.Module) -> None:
    """Makes a `BatchNorm` of each `torch.nn.BatchNorm2d` below `module`; their state stays."""
    for child in module.modules():
        if type(child) is nn.BatchNorm2d:
            child.__class__ = BatchNorm
