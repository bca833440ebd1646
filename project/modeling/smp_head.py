"""Any decoder of segmentation_models_pytorch as a semantic head on any backbone."""

from itertools import pairwise
from typing import Any

from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from torch import Tensor, nn

from project.errors import ConfigError
from project.layers.batch_norm import accept_single_values
from project.layers.blocks import check_choice, fit_size
from project.layers.enlarge import Bilinear
from project.modeling.features import by_stride
from project.modeling.semantic_head import SemanticHead
from project.modeling.smp_decoders import DECODERS, Decoder, build_decoder, is_plain


@SEM_SEG_HEADS_REGISTRY.register()
class SMPHead(SemanticHead):
    """PSPNet, SegFormer, UPerNet, DPT, FPN, ... : a decoder of the library, and a predictor.

    docs/semantic.md lists the decoders with their papers and the features that each takes.
    """

    @configurable
    def __init__(
        self,
        input_shape: dict[str, ShapeSpec],
        *,
        num_classes: int,
        decoder: str,
        arguments: dict[str, Any] | None = None,
        **judges: Any,
    ):
        """Builds the library's decoder on the features.

        Args:
            input_shape: the features to decode, in any order.
            num_classes: K.
            decoder: a name of `project.modeling.smp_decoders.DECODERS`.
            arguments: of the library's class, in place of its defaults.
            judges: loss and auxiliary predictors, see `SemanticHead`.

        Raises:
            ConfigError: an unknown decoder, features that it cannot take, or arguments that the
                library refuses.
        """
        super().__init__(num_classes=num_classes, **judges)
        check_choice("decoder (MODEL.SEM_SEG_HEAD.DECODER)", decoder, DECODERS)
        self.kind = DECODERS[decoder]
        levels = by_stride(input_shape)
        self.in_features = [name for name, _ in levels]
        self.strides = [int(shape.stride or 1) for _, shape in levels]
        _check_features(decoder, self.kind, self.in_features, self.strides)
        channels = [int(shape.channels or 0) for _, shape in levels]
        self.decoder, width = build_decoder(self.kind, channels, self.strides, arguments or {})
        accept_single_values(self.decoder)
        size = self.kind.kernel_size
        self.predictor = nn.Conv2d(width, num_classes, size, padding=size // 2)
        # DPT brings the first of a plain transformer's features to a quarter of its stride.
        self.plain = is_plain(self.strides)
        self.to_pixels = Bilinear(self.strides[0] // (self.kind.gain * (4 if self.plain else 1)))

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        head = cfg.MODEL.SEM_SEG_HEAD
        groups = head.DECODER_ARGUMENTS
        if not all(isinstance(group, dict) for group in groups):
            raise ConfigError(
                "MODEL.SEM_SEG_HEAD.DECODER_ARGUMENTS is a list of names with values, such as"
                f" [{{dropout: 0.1}}]; found {groups}"
            )
        return {
            **super().from_config(cfg, input_shape),
            "decoder": head.DECODER,
            "arguments": {name: value for group in groups for name, value in group.items()},
        }

    def layers(self, features: dict[str, Tensor]) -> Tensor:
        maps = self._exact([features[name] for name in self.in_features])
        finest = maps[0]
        if self.kind.module == "dpt":
            x = self.decoder(maps, [None] * len(maps))
        else:
            x = self.decoder([*self._places(finest), *maps])
        return self.to_pixels(self.predictor(x).float())

    def _exact(self, maps: list[Tensor]) -> list[Tensor]:
        """Repeats last rows and columns, so that sizes halve exactly, as the library wants it."""
        coarsest = [max(size, self.kind.smallest) for size in maps[-1].shape[-2:]]
        if self.plain:  # the fourth is halved
            coarsest = [size + size % 2 for size in coarsest]
        ratios = [self.strides[-1] // stride for stride in self.strides]
        return [fit_size(x, coarsest[0] * r, coarsest[1] * r) for x, r in zip(maps, ratios)]

    def _places(self, finest: Tensor) -> list[Tensor]:
        """Maps without channels in the places before the finest feature; their size is read."""
        height, width = finest.shape[-2:]
        factors = [2**i for i in range(self.kind.skipped, 0, -1)]
        return [finest.new_empty(len(finest), 0, height * f, width * f) for f in factors]


def _check_features(name: str, kind: Decoder, names: list[str], strides: list[int]) -> None:
    """Raises a ConfigError for features that the decoder cannot take."""
    found = ", ".join(f"{n} at stride {stride}" for n, stride in zip(names, strides))
    key = f"MODEL.SEM_SEG_HEAD.DECODER {name}"
    if not kind.fewest <= len(names) <= kind.most:
        many = f"{kind.fewest} to {kind.most}" if kind.fewest < kind.most else str(kind.fewest)
        raise ConfigError(f"{key} takes {many} of IN_FEATURES, found {len(names)}: {found}")
    gain = kind.gain
    steps = [(coarse, fine) for fine, coarse in pairwise(strides)]
    if kind.module == "dpt" and is_plain(strides):
        gain *= 4
    elif kind.by_size and any(coarse % fine for coarse, fine in steps):
        raise ConfigError(f"{key} takes strides of which each divides the next; found {found}")
    elif not kind.by_size and any(coarse != 2 * fine for coarse, fine in steps):
        raise ConfigError(f"{key} takes features that halve in size one by one; found {found}")
    if strides[0] % gain:
        raise ConfigError(
            f"{key} yields {gain} times the size of its finest feature, which would be finer than"
            f" the image; leave out {names[0]}; found {found}"
        )
