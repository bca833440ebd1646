"""Panoptic segmentation from the bottom up: classes, centres and ways to the centres."""

from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from torch import Tensor

from project.errors import ConfigError
from project.modeling.centres import (
    assign_pixels,
    centres_of_mass,
    find_centres,
    heatmap_target,
    offset_targets,
)
from project.modeling.dense_instances import DenseInstances, check_positive


class CentreGrouping:
    """Three maps, the centres' heatmap and the offsets, after Panoptic-DeepLab.

    Legend: N images, H x W pixels, K semantic classes of which the first S are stuff, M objects.
    """

    num_maps = 3

    def __init__(
        self,
        *,
        num_stuff: int,
        sigma: float = 8.0,
        threshold: float = 0.1,
        window: int = 7,
        most: int = 100,
        centre_weight: float = 200.0,
        offset_weight: float = 0.01,
    ):
        """Keeps the numbers; the defaults are the paper's.

        Args:
            num_stuff: S.
            sigma: deviation of the Gaussian on a centre, pixels of what the network is fed.
            threshold: of a centre's height, 0 to 1.
            window: in which only the highest centre counts, pixels; odd.
            most: centres an image.
            centre_weight: factor of the mean squared error of the heatmap.
            offset_weight: factor of the mean distance |dy| + |dx| of the offsets, in pixels.

        Raises:
            ConfigError: a number that cannot be.
        """
        check_positive(
            "MODEL.BOTTOM_UP",
            {
                "CENTER_SIGMA": sigma,
                "CENTER_LOSS_WEIGHT": centre_weight,
                "OFFSET_LOSS_WEIGHT": offset_weight,
            },
        )
        if window < 1 or window % 2 == 0 or not 0 <= threshold < 1:
            raise ConfigError(
                "MODEL.BOTTOM_UP: NMS_KERNEL must be odd and CENTER_THRESHOLD from 0 to below 1,"
                f" found {window} and {threshold}"
            )
        self.num_stuff = num_stuff
        self.sigma = sigma
        self.threshold = threshold
        self.window = window
        self.most = most
        self.centre_weight = centre_weight
        self.offset_weight = offset_weight

    def losses(self, maps: Tensor, numbers: Tensor, taught: Tensor) -> dict[str, Tensor]:
        """Judges heatmap and offsets.

        Args:
            maps: (N, 3, H, W).
            numbers: (N, H, W) int64, 0 for no object.
            taught: (N, H, W) bool; the heatmap is judged there, offsets only on objects.

        Returns:
            "loss_centre" and "loss_offset", scalars.
        """
        centres = [centres_of_mass(each) for each in numbers]
        pairs = list(zip(numbers, centres))
        heat = torch.stack([heatmap_target(each, c, self.sigma) for each, c in pairs])
        ways = torch.stack([offset_targets(each, c) for each, c in pairs])  # (N, 2, H, W)
        owned = numbers > 0
        squares = (maps[:, 0] - heat).square() * taught
        distances = (maps[:, 1:] - ways).abs().sum(dim=1) * owned
        return {
            "loss_centre": squares.sum() / taught.sum().clamp(min=1) * self.centre_weight,
            "loss_offset": distances.sum() / owned.sum().clamp(min=1) * self.offset_weight,
        }

    def group(self, probs: Tensor, maps: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        """Gives each pixel of a thing to a centre.

        Args:
            probs: (K, H, W).
            maps: (3, H, W).
            scale: pixels here for one pixel that the network was fed.

        Returns:
            numbers: (H, W) int64, 0 to M.
            factors: (M,) heights of the centres, at most 1.
        """
        window = 2 * round(self.window * scale / 2) + 1 if scale > 1 else self.window
        places, heights = find_centres(
            maps[0], threshold=self.threshold, window=window, most=self.most
        )
        things = probs.max(dim=0).indices >= self.num_stuff
        return assign_pixels(places, maps[1:] * scale, things), heights.clamp(max=1)


@META_ARCH_REGISTRY.register()
class BottomUpPanoptic(DenseInstances):
    """Panoptic-DeepLab (Cheng et al. 2020, arXiv:1911.10194) on any backbone and semantic head.

    The score of an object is the mean probability of its class times the height of its centre.
    """

    @configurable
    def __init__(self, **parts: Any):
        """See `DenseInstances`."""
        super().__init__(**parts)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        keys = cfg.MODEL.BOTTOM_UP
        grouping = CentreGrouping(
            num_stuff=cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES - cfg.MODEL.ROI_HEADS.NUM_CLASSES,
            sigma=keys.CENTER_SIGMA,
            threshold=keys.CENTER_THRESHOLD,
            window=keys.NMS_KERNEL,
            most=cfg.TEST.DETECTIONS_PER_IMAGE,
            centre_weight=keys.CENTER_LOSS_WEIGHT,
            offset_weight=keys.OFFSET_LOSS_WEIGHT,
        )
        return cls.parts_from_config(cfg, grouping)
