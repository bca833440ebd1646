"""Segment, then detect: a U-Net labels pixels, a watershed cuts them into objects."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from torch import Tensor

from project.errors import ConfigError
from project.modeling.dense_instances import DenseInstances, check_positive
from project.modeling.watershed import (
    border_target,
    check_installed,
    cut_objects,
    depth_target,
)


class WatershedGrouping:
    """Two maps of logits: depth in the object, and the border between near objects.

    Legend: N images, H x W pixels, K semantic classes of which the first S are stuff, M objects.
    """

    num_maps = 2

    def __init__(
        self,
        *,
        num_stuff: int,
        border_width: int = 2,
        seed_threshold: float = 0.5,
        foreground_threshold: float = 0.5,
        smoothing: float = 1.0,
        min_area: int = 1,
        depth_weight: float = 1.0,
        border_weight: float = 1.0,
    ):
        """Keeps the numbers.

        Args:
            num_stuff: S.
            border_width: see `border_target`, pixels of what the network is fed.
            seed_threshold: see `cut_objects`; so are the next three.
            foreground_threshold: of the sum of all things' probabilities.
            smoothing: pixels of what the network is fed.
            min_area: pixels of what the network is fed.
            depth_weight: factor of the depth's loss.
            border_weight: factor of the border's loss.

        Raises:
            ConfigError: a number that cannot be, or scikit-image is not installed.
        """
        check_installed()
        weights = {"DEPTH_LOSS_WEIGHT": depth_weight, "BORDER_LOSS_WEIGHT": border_weight}
        check_positive("MODEL.WATERSHED", {"BORDER_WIDTH": border_width, **weights})
        for key, value in (
            ("SEED_THRESHOLD", seed_threshold),
            ("FOREGROUND_THRESHOLD", foreground_threshold),
        ):
            if not 0 < value < 1:
                raise ConfigError(f"MODEL.WATERSHED.{key} must be between 0 and 1, found {value}")
        if min(smoothing, min_area) < 0:
            raise ConfigError(
                "MODEL.WATERSHED.SMOOTHING and MIN_AREA must be at least 0, found"
                f" {smoothing} and {min_area}"
            )
        self.num_stuff = num_stuff
        self.border_width = border_width
        self.thresholds = {
            "seed_threshold": seed_threshold,
            "foreground_threshold": foreground_threshold,
        }
        self.smoothing = smoothing
        self.min_area = min_area
        self.depth_weight = depth_weight
        self.border_weight = border_weight

    def losses(self, maps: Tensor, numbers: Tensor, taught: Tensor) -> dict[str, Tensor]:
        """Judges both maps by cross entropy: depth is a share, so it can be taught as one.

        Args:
            maps: (N, 2, H, W) logits.
            numbers: (N, H, W) int64, 0 for no object.
            taught: (N, H, W) bool.

        Returns:
            "loss_depth" and "loss_border", scalars.
        """
        each = numbers.cpu().numpy()
        depth = np.stack([depth_target(n) for n in each])
        border = np.stack([border_target(n, self.border_width) for n in each])
        targets = torch.from_numpy(np.stack([depth, border], axis=1)).to(maps)  # (N, 2, H, W)
        errors = F.binary_cross_entropy_with_logits(maps, targets, reduction="none")
        means = (errors * taught[:, None]).sum(dim=(0, 2, 3)) / taught.sum().clamp(min=1)
        return {
            "loss_depth": means[0] * self.depth_weight,
            "loss_border": means[1] * self.border_weight,
        }

    def group(self, probs: Tensor, maps: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        """Cuts the pixels that are more likely a thing than stuff.

        Args:
            probs: (K, H, W).
            maps: (2, H, W) logits.
            scale: pixels here for one pixel that the network was fed.

        Returns:
            numbers: (H, W) int64, 0 to M.
            factors: (M,) ones: an object is as likely as its pixels are, on the mean. A region
                that the network doubts has low probabilities throughout, whatever its shape.
        """
        depth, border = maps.sigmoid().cpu().numpy()
        numbers = cut_objects(
            probs[self.num_stuff :].sum(dim=0).cpu().numpy(),
            depth,
            border,
            **self.thresholds,
            smoothing=self.smoothing * scale,
            min_area=round(self.min_area * scale**2),
        )
        found = torch.from_numpy(numbers).to(maps.device, torch.int64)
        return found, maps.new_ones(int(numbers.max()))


@META_ARCH_REGISTRY.register()
class WatershedUNet(DenseInstances):
    """A semantic head, a depth and a border map, and a watershed (Beucher and Meyer 1993).

    The usual road for cells and nuclei, where objects are many, small, and hardly overlap. The
    score of an object is the mean probability of its class.
    """

    @configurable
    def __init__(self, **parts: Any):
        """See `DenseInstances`."""
        super().__init__(**parts)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        keys = cfg.MODEL.WATERSHED
        grouping = WatershedGrouping(
            num_stuff=cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES - cfg.MODEL.ROI_HEADS.NUM_CLASSES,
            border_width=keys.BORDER_WIDTH,
            seed_threshold=keys.SEED_THRESHOLD,
            foreground_threshold=keys.FOREGROUND_THRESHOLD,
            smoothing=keys.SMOOTHING,
            min_area=keys.MIN_AREA,
            depth_weight=keys.DEPTH_LOSS_WEIGHT,
            border_weight=keys.BORDER_LOSS_WEIGHT,
        )
        return cls.parts_from_config(cfg, grouping)
