"""What semantic heads have in common: their losses, and predictors that only teach.

Legend: N images, K classes, H x W pixels of the padded image.
"""

from typing import Any

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from torch import Tensor, nn

from project.errors import ConfigError
from project.layers.blocks import ConvBlock
from project.layers.enlarge import Bilinear
from project.modeling.features import select_features
from project.modeling.sem_seg_loss import SemSegLoss

# Suffix of the losses' names -> logits and their factor.
Judged = dict[str, tuple[Tensor, float]]


class SemanticHead(nn.Module):
    """Detectron2's interface of a semantic head around `layers`, which each head writes itself."""

    def __init__(
        self,
        *,
        num_classes: int,
        loss: SemSegLoss,
        loss_weight: float = 1.0,
        auxiliary: dict[str, nn.Module] | None = None,
        auxiliary_weight: float = 0.4,
        inherited: dict[str, Any] | None = None,
    ):
        """Holds what judges the logits.

        Args:
            num_classes: K.
            loss: (logits, targets) -> dict of losses, with the attribute `ignore_value`.
            loss_weight: factor of all losses.
            auxiliary: by the name of a feature: predictors (feature -> logits of all pixels) that
                are judged in training and unused otherwise.
            auxiliary_weight: factor of their losses, beside `loss_weight`.
            inherited: arguments of the other class from which a head inherits too.

        Raises:
            ConfigError: no class, or a negative factor.
        """
        super().__init__(**inherited or {})
        if num_classes < 1:
            raise ConfigError(f"a semantic head needs at least 1 class, found {num_classes}")
        if auxiliary_weight < 0 or loss_weight < 0:
            raise ConfigError(
                "factors of losses are at least 0, found MODEL.SEM_SEG_HEAD.LOSS_WEIGHT"
                f" {loss_weight} and AUXILIARY_WEIGHT {auxiliary_weight}"
            )
        self.loss = loss
        self.loss_weight = loss_weight
        # Fills the padding of targets; Detectron2's architectures read it.
        self.ignore_value = loss.ignore_value
        self.auxiliary = nn.ModuleDict(auxiliary or {})
        self.auxiliary_weight = auxiliary_weight

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        """The arguments that every head takes; heads add their own."""
        head = cfg.MODEL.SEM_SEG_HEAD
        aside: dict[str, ShapeSpec] = {}
        if head.AUXILIARY_FEATURES:
            key = "MODEL.SEM_SEG_HEAD.AUXILIARY_FEATURES"
            aside = select_features(input_shape, head.AUXILIARY_FEATURES, key)
        return {
            "input_shape": select_features(
                input_shape, head.IN_FEATURES, "MODEL.SEM_SEG_HEAD.IN_FEATURES"
            ),
            "num_classes": head.NUM_CLASSES,
            "loss": SemSegLoss(cfg),
            "loss_weight": head.LOSS_WEIGHT,
            "auxiliary": {
                name: AuxiliaryHead(shape, head.NUM_CLASSES, norm=head.NORM)
                for name, shape in aside.items()
            },
            "auxiliary_weight": head.AUXILIARY_WEIGHT,
        }

    def forward(
        self, features: dict[str, Tensor], targets: Tensor | None = None
    ) -> tuple[Tensor | None, dict[str, Tensor]]:
        """Decodes, and in training judges.

        Args:
            features: the backbone's, by name.
            targets: (N, H, W) class ids, needed in training.

        Returns:
            In training None and the losses; otherwise the logits of `layers` and no losses.
        """
        if not self.training:
            return self.layers(features), {}
        assert targets is not None
        losses: dict[str, Tensor] = {}
        for suffix, (logits, factor) in self.judged(features).items():
            for name, value in self.losses(logits, targets).items():
                losses[name + suffix] = value * factor
        return None, losses

    def layers(self, features: dict[str, Tensor]) -> Tensor:
        """Decodes the features to the logits of all pixels.

        Args:
            features: (N, channels, h, w) each.

        Returns:
            (N, K, at least H, at least W) in float32, with the image at the top left.
        """
        raise NotImplementedError

    def judged(self, features: dict[str, Tensor]) -> Judged:
        """All logits that training judges: those of `layers` under "", then the auxiliary ones."""
        return {"": (self.layers(features), 1.0), **self.judged_aside(features)}

    def judged_aside(self, features: dict[str, Tensor]) -> Judged:
        """Logits of the auxiliary predictors."""
        return {
            f"_{name}": (head(features[name]), self.auxiliary_weight)
            for name, head in self.auxiliary.items()
        }

    def losses(self, logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Judges the part of the logits that the targets cover.

        Args:
            logits: of `layers`.
            targets: (N, H, W) class ids, with `ignore_value` holes.

        Returns:
            Scalars by name.
        """
        height, width = targets.shape[-2:]
        losses = self.loss(logits[..., :height, :width], targets)
        return {name: value * self.loss_weight for name, value in losses.items()}


class AuxiliaryHead(nn.Module):
    """Judges one feature of the backbone, as PSPNet does (Zhao et al. 2017, arXiv:1612.01105).

    A 3x3 convolution to a quarter of the channels, dropout of 0.1, a 1x1 convolution to the
    classes, and bilinear enlargement by the feature's stride.
    """

    def __init__(self, shape: ShapeSpec, num_classes: int, *, norm: str = "BN"):
        super().__init__()
        assert shape.channels is not None and shape.stride is not None
        # Narrow backbones keep enough for the classes; steps of 32 suit group normalisation.
        width = -(-shape.channels // 128) * 32
        self.net = nn.Sequential(
            ConvBlock(shape.channels, width, norm=norm),
            nn.Dropout2d(0.1),
            nn.Conv2d(width, num_classes, 1),
        )
        self.enlarge = Bilinear(shape.stride)

    def forward(self, feature: Tensor) -> Tensor:
        """(N, channels, h, w) -> (N, K, stride * h, stride * w) in float32."""
        return self.enlarge(self.net(feature).float())
