"""Fully convolutional networks: FCN-32s, FCN-16s and FCN-8s on any backbone."""

from itertools import pairwise
from typing import Any

from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from torch import Tensor, nn

from project.errors import ConfigError
from project.layers.blocks import check_choice, fit_size
from project.layers.enlarge import Bilinear, bilinear_transposed
from project.modeling.features import by_stride
from project.modeling.semantic_head import SemanticHead

UPSAMPLES = ("transposed", "bilinear")


@SEM_SEG_HEADS_REGISTRY.register()
class FCNHead(SemanticHead):
    """Scores each feature with a 1x1 convolution and adds the scores from coarse to fine.

    After Long et al. 2015 (arXiv:1411.4038). On features of stride 32 it is FCN-32s, with those of
    stride 16 FCN-16s, with those of stride 8 FCN-8s.
    """

    @configurable
    def __init__(
        self,
        input_shape: dict[str, ShapeSpec],
        *,
        num_classes: int,
        upsample: str = "transposed",
        **judges: Any,
    ):
        """Plans the scores.

        Args:
            input_shape: the features to score, in any order.
            num_classes: K.
            upsample: from one score to the next: "transposed" starts as bilinear enlargement and
                learns, "bilinear" stays it. The last step, to the image's size, is always bilinear,
                as in the paper.
            judges: loss and auxiliary predictors, see `SemanticHead`.

        Raises:
            ConfigError: an unknown upsampling, or strides of which one does not divide the next.
        """
        super().__init__(num_classes=num_classes, **judges)
        check_choice("upsampling of FCNHead", upsample, UPSAMPLES)
        levels = by_stride(input_shape)
        strides = [int(shape.stride or 1) for _, shape in levels]
        if any(coarse % fine for fine, coarse in pairwise(strides)):
            raise ConfigError(
                "FCNHead enlarges by whole factors, but its features have the strides"
                f" {', '.join(map(str, strides))}"
            )
        self.in_features = [name for name, _ in levels]
        scores = [nn.Conv2d(int(shape.channels or 0), num_classes, 1) for _, shape in levels]
        for skip in scores[:-1]:  # as in the paper: it starts from what the coarser one says
            nn.init.zeros_(skip.weight)
        self.scores = nn.ModuleList(scores)
        self.ups = nn.ModuleList(
            bilinear_transposed(num_classes, coarse // fine)
            if upsample == "transposed"
            else Bilinear(coarse // fine)
            for fine, coarse in pairwise(strides)
        )
        self.to_pixels = Bilinear(strides[0])

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        upsample = cfg.MODEL.SEM_SEG_HEAD.UPSAMPLE
        return {**super().from_config(cfg, input_shape), "upsample": upsample}

    def layers(self, features: dict[str, Tensor]) -> Tensor:
        x, *finer = (
            score(features[name])
            for name, score in reversed(list(zip(self.in_features, self.scores)))
        )
        for up, score in zip(reversed(self.ups), finer):
            x = fit_size(up(x), score.shape[-2], score.shape[-1]) + score
        return self.to_pixels(x.float())
