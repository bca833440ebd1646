"""Pixel values as models like them."""

import torch
from torch import Tensor


def normalize_image(
    image: Tensor,
    mean: Tensor,
    std: Tensor,
    *,
    own_statistics: bool,
    statistics: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Makes mean about 0 and deviation about 1.

    Args:
        image: (C, h, w) of 0 to 255.
        mean: (C, 1, 1).
        std: (C, 1, 1).
        own_statistics: takes the image's own mean and deviation of each channel instead.
        statistics: these, (C, 1, 1) each, where the image is a tile of the one that they are of.

    Returns:
        (C, h, w) float.
    """
    if not own_statistics:
        return (image - mean) / std
    if statistics is None:
        std, mean = torch.std_mean(image.float(), dim=(1, 2), keepdim=True)
    else:
        mean, std = (statistic.to(image.device) for statistic in statistics)
    # A blank image has no deviation; one grey level is a floor that changes no real image.
    return (image - mean) / std.clamp(min=1.0)
