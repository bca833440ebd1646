"""Networks of the library timm as Detectron2 backbones."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from torch import Tensor, nn

from project.errors import ConfigError, nearest
from project.modeling.timm_models import create_network, merge_arguments
from project.modeling.unet_fpn import EncoderFPN, needs_extra_level

logger = logging.getLogger(__name__)


class TimmBackbone(Backbone):
    """Features of a network of timm.

    "stage<k>" is the k-th feature as timm counts them, from 1: stage1 is at stride 4 in ConvNeXt,
    Swin and PVT, and at stride 2 in ResNet, EfficientNet, MobileNet and HRNet.

    Legend: N images, C channels, H x W pixels.
    """

    def __init__(
        self,
        name: str,
        *,
        in_channels: int = 3,
        out_features: Sequence[str] = (),
        pretrained: bool = False,
        weights: str = "",
        drop_path: float = 0.0,
        freeze: int = 0,
        arguments: Mapping[str, Any] | None = None,
    ):
        """Makes the network and tries it once, on a small blank image.

        Args:
            name: of timm, with or without the tag of its weights.
            in_channels: of the images.
            out_features: names of the features; empty: those that timm yields by itself.
            pretrained: fetch timm's weights.
            weights: a file of weights of this network; takes the place of `pretrained`.
            drop_path: share of residual branches that are left out in training (stochastic depth).
            freeze: k keeps all that stage1 to stage<k> are computed from as it is; 0: nothing.
            arguments: further ones of the network.

        Raises:
            ConfigError: no such network, feature or argument, or a network that takes images of
                one size only.
            WeightsError: see `create_network`.
        """
        super().__init__()
        arguments = dict(arguments or {})
        if drop_path:
            arguments["drop_path_rate"] = drop_path
        self.network = create_network(
            name,
            in_channels=in_channels,
            out_indices=[_index(feature) for feature in out_features],
            pretrained=pretrained,
            weights=weights,
            arguments=arguments,
        )
        info: Any = self.network.feature_info
        self._names = [f"stage{index + 1}" for index in info.out_indices]
        self._divisibility = max(level["reduction"] for level in info.info)
        layout = getattr(self.network, "output_fmt", None)
        self._channels_at_end = getattr(layout, "value", "NCHW") == "NHWC"
        self._frozen: list[nn.Module] = []
        features, size = self._try(name, in_channels)
        self._shapes = {
            key: ShapeSpec(channels=f.shape[1], stride=size // f.shape[-2])
            for key, f in features.items()
        }
        self._freeze(features, freeze)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Computes the features.

        Args:
            x: (N, C, H, W), with H and W multiples of `size_divisibility`.

        Returns:
            For each feature (N, channels, H / stride, W / stride).
        """
        features = self.network(x)
        if self._channels_at_end:
            features = [f.permute(0, 3, 1, 2) for f in features]
        return dict(zip(self._names, features))

    def output_shape(self) -> dict[str, ShapeSpec]:
        return self._shapes

    @property
    def size_divisibility(self) -> int:
        """Stride of the network's last stage, used or not: its levels are fused in some."""
        return self._divisibility

    def train(self, mode: bool = True) -> "TimmBackbone":
        """Frozen layers keep their statistics too."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    def _try(self, name: str, in_channels: int) -> tuple[dict[str, Tensor], int]:
        """Features of one blank image, with their graph, and its height."""
        height = 2 * self._divisibility
        blank = torch.zeros(1, in_channels, height, 3 * self._divisibility)
        self.eval()
        try:
            with torch.enable_grad():
                features = self(blank)
        except (RuntimeError, AssertionError, ValueError) as error:
            raise ConfigError(
                f"MODEL.TIMM.NAME {name} does not take images of any size ({error}); a backbone"
                " must, as e.g. convnext_tiny, swin_tiny_patch4_window7_224 and pvt_v2_b2 do"
            ) from error
        finally:
            self.train()
        return features, height

    def _freeze(self, features: Mapping[str, Tensor], count: int) -> None:
        """Freezes what the first `count` stages are computed from, whatever it is called.

        And what no feature is computed from: distributed training would wait for its gradients.
        """
        fine = {name: f for name, f in features.items() if _index(name) < count}
        if count < 0 or (count and not (fine and count <= max(map(_index, features)) + 1)):
            raise ConfigError(
                f"MODEL.TIMM.FREEZE is {count}, but the features are {', '.join(features)}"
            )
        parameters = list(self.network.parameters())
        kept = _reached(fine, parameters)
        for p, frozen, used in zip(parameters, kept, _reached(features, parameters)):
            p.requires_grad_(used and not frozen)
        for module in self.network.modules():
            own = list(module.parameters(recurse=False))
            if own and not any(p.requires_grad for p in own):
                self._frozen.append(module)
        self.train()


def _reached(features: Mapping[str, Tensor], parameters: Sequence[nn.Parameter]) -> list[bool]:
    """Whether any of the features is computed from each parameter."""
    if not features:
        return [False] * len(parameters)
    total = torch.stack([feature.sum() for feature in features.values()]).sum()
    gradients = torch.autograd.grad(total, parameters, retain_graph=True, allow_unused=True)
    return [gradient is not None for gradient in gradients]


def _index(feature: str) -> int:
    """Place of a feature in timm's list.

    Raises:
        ConfigError: it is not called stage<k>.
    """
    number = feature.removeprefix("stage")
    if not number.isdecimal() or number == feature or int(number) < 1:
        known = [f"stage{k}" for k in range(1, 6)]
        raise ConfigError(
            f"MODEL.TIMM.OUT_FEATURES: features are called stage1, stage2, ..., found {feature!r}."
            f"{nearest(feature, known)}"
        )
    return int(number) - 1


@BACKBONE_REGISTRY.register()
def build_timm_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> TimmBackbone:
    """Builds the network that MODEL.TIMM describes."""
    timm = cfg.MODEL.TIMM
    if not timm.NAME:
        raise ConfigError("MODEL.TIMM.NAME is empty: name a network of timm, e.g. convnext_tiny")
    backbone = TimmBackbone(
        timm.NAME,
        in_channels=input_shape.channels,
        out_features=timm.OUT_FEATURES,
        pretrained=timm.PRETRAINED,
        weights=timm.WEIGHTS,
        drop_path=timm.DROP_PATH,
        freeze=timm.FREEZE,
        arguments=merge_arguments(timm.ARGUMENTS),
    )
    fetched = "timm's" if timm.PRETRAINED else ""
    origin = timm.WEIGHTS or fetched or (cfg.MODEL.WEIGHTS and "MODEL.WEIGHTS") or "random"
    levels = (
        f"{k} at stride {s.stride} ({s.channels})" for k, s in backbone.output_shape().items()
    )
    logger.info("%s, weights: %s; %s", timm.NAME, origin, ", ".join(levels))
    if cfg.MODEL.PIXEL_NORMALIZATION == "fixed":
        mean, std = (
            ", ".join(f"{value:.2f}" for value in values)
            for values in (cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD)
        )
        logger.info("its images: %s, mean %s, deviation %s", cfg.INPUT.FORMAT, mean, std)
    return backbone


@BACKBONE_REGISTRY.register()
def build_timm_fpn_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> EncoderFPN:
    """Builds the network of MODEL.TIMM with the pyramid of MODEL.FPN on FPN.IN_FEATURES.

    The level above the pyramid exists if MODEL.RPN.IN_FEATURES names it.
    """
    encoder = build_timm_backbone(cfg, input_shape)
    names, key = cfg.MODEL.FPN.IN_FEATURES, "MODEL.FPN.IN_FEATURES"
    return EncoderFPN(
        encoder,
        in_features=names,
        out_channels=cfg.MODEL.FPN.OUT_CHANNELS,
        norm=cfg.MODEL.FPN.NORM,
        fuse_type=cfg.MODEL.FPN.FUSE_TYPE,
        extra_level=needs_extra_level(encoder, names, key, cfg.MODEL.RPN.IN_FEATURES),
        key=key,
    )
