"""DeepLabV3 and DeepLabV3+: Detectron2's own decoder with our losses, on any backbone."""

from collections.abc import Sequence
from typing import Any

from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY

# Registers the backbone "build_resnet_deeplab_backbone" too; the import takes 6 ms.
from detectron2.projects.deeplab import DeepLabV3PlusHead
from torch import Tensor, nn

from project.errors import ConfigError
from project.layers.batch_norm import accept_single_values
from project.layers.enlarge import Bilinear
from project.modeling.features import by_stride, select_features
from project.modeling.semantic_head import SemanticHead


@SEM_SEG_HEADS_REGISTRY.register()
class DeepLabHead(SemanticHead, DeepLabV3PlusHead):
    """Atrous spatial pyramid pooling, and in the V3+ form a decoder that joins finer features.

    DeepLabV3 (Chen et al. 2017, arXiv:1706.05587) on one feature, DeepLabV3+ (Chen et al. 2018,
    arXiv:1802.02611) on several. Weights have the names of Detectron2's `DeepLabV3PlusHead`.
    The pooled branch looks at the whole map, whatever the crop in training, so that any size works.
    """

    @configurable
    def __init__(
        self,
        input_shape: dict[str, ShapeSpec],
        *,
        num_classes: int,
        project_channels: Sequence[int] = (),
        aspp_channels: int = 256,
        aspp_dilations: Sequence[int] = (6, 12, 18),
        aspp_dropout: float = 0.1,
        decoder_channels: int = 256,
        use_depthwise_separable_conv: bool = False,
        norm: str = "BN",
        **judges: Any,
    ):
        """Builds Detectron2's decoder.

        Args:
            input_shape: the features, in any order; the coarsest goes through the ASPP.
            num_classes: K.
            project_channels: of each of the others, finest first; empty: 48 each.
            aspp_channels: of each branch.
            aspp_dilations: rates of three 3x3 convolutions.
            aspp_dropout: behind the ASPP, in [0, 1).
            decoder_channels: of each level of the V3+ decoder.
            use_depthwise_separable_conv: in ASPP and decoder.
            norm: any name that Detectron2's `get_norm` takes.
            judges: loss and auxiliary predictors, see `SemanticHead`.

        Raises:
            ConfigError: another number of rates than three, or of channels than features.
        """
        levels = by_stride(input_shape)
        finer = [name for name, _ in levels[:-1]]
        project_channels = list(project_channels) or [48] * len(finer)
        if len(aspp_dilations) != 3 or len(project_channels) != len(finer):
            raise ConfigError(
                "DeepLabHead takes three MODEL.SEM_SEG_HEAD.ASPP_DILATIONS, and PROJECT_CHANNELS"
                f" for each feature before the coarsest ({', '.join(finer) or 'none here'}); found"
                f" {list(aspp_dilations)} and {project_channels}"
            )
        widths = [decoder_channels] * len(finer) + [aspp_channels]
        stride = int(levels[0][1].stride or 1)
        decoder = {
            "input_shape": input_shape,
            "num_classes": num_classes,
            "project_channels": project_channels,
            "aspp_dilations": list(aspp_dilations),
            "aspp_dropout": aspp_dropout,
            "decoder_channels": widths,
            "use_depthwise_separable_conv": use_depthwise_separable_conv,
            "norm": norm,
            "common_stride": stride,
            "train_size": None,
        }
        super().__init__(num_classes=num_classes, inherited=decoder, **judges)
        # Detectron2 starts its predictor near zero, which suits SGD. Adam moves all weights by the
        # same step: classes would stay alike, and the training at the most frequent one.
        self.predictor = nn.Conv2d(widths[0], num_classes, 1)
        accept_single_values(self)
        self.to_pixels = Bilinear(stride)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        head = cfg.MODEL.SEM_SEG_HEAD
        finer: dict[str, ShapeSpec] = {}
        if head.PROJECT_FEATURES:
            key = "MODEL.SEM_SEG_HEAD.PROJECT_FEATURES"
            finer = select_features(input_shape, head.PROJECT_FEATURES, key)
        shared = SemanticHead.from_config(cfg, input_shape)
        return {
            **shared,
            "input_shape": {**finer, **shared["input_shape"]},
            "project_channels": head.PROJECT_CHANNELS,
            "aspp_channels": head.ASPP_CHANNELS,
            "aspp_dilations": head.ASPP_DILATIONS,
            "aspp_dropout": head.ASPP_DROPOUT,
            "decoder_channels": head.CONVS_DIM,
            "use_depthwise_separable_conv": head.USE_DEPTHWISE_SEPARABLE_CONV,
            "norm": head.NORM,
        }

    def layers(self, features: dict[str, Tensor]) -> Tensor:
        return self.to_pixels(DeepLabV3PlusHead.layers(self, features).float())
