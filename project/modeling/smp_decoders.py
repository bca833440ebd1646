"""The decoders of segmentation_models_pytorch, and what each wants of features and arguments.

The library's encoders yield the image, then a feature at each of the strides 2, 4, 8, ...; its
decoders read this list from some place on and ignore what is before. Only the ratios of the sizes
matter to them, so features of any halving pyramid can stand in the places that are read.
"""

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from project.errors import ConfigError, nearest

LIBRARY = "segmentation_models_pytorch"
# The library's own numbers for five levels, coarsest first.
WIDTHS = (256, 128, 64, 32, 16)


@dataclass(frozen=True)
class Decoder:
    """How one decoder is built and fed.

    Attributes:
        module: in the library's `decoders`.
        class_name: there.
        fewest: features that it needs.
        most: features that it reads.
        skipped: places of the library's list before the first feature, of which the image is one.
        gain: size of the result, relative to the finest feature that is given.
        width: the argument that holds the channels of the result, as a number or last of a list.
        defaults: channels and strides of the features, finest first -> arguments.
        kernel_size: of the library's predictor behind it.
        smallest: cells of an axis that the coarsest feature needs.
        by_size: it enlarges to the size of the next feature, whatever the factor; others double.
    """

    module: str
    class_name: str
    fewest: int
    most: int
    skipped: int
    gain: int
    width: str
    defaults: Callable[[list[int], list[int]], dict[str, Any]] = field(repr=False)
    kernel_size: int = 3
    smallest: int = 1
    by_size: bool = False


def _u_net(channels: list[int], strides: list[int]) -> dict[str, Any]:
    depth = len(channels)
    widths = WIDTHS[-depth:]
    return {"encoder_channels": [0, *channels], "n_blocks": depth, "decoder_channels": widths}


def _linknet(channels: list[int], strides: list[int]) -> dict[str, Any]:
    return {
        "encoder_channels": [0, *channels],
        "n_blocks": len(channels),
        "prefinal_channels": 32,
    }


def _pyramid(**defaults: Any) -> Callable[[list[int], list[int]], dict[str, Any]]:
    """Arguments of decoders that read the list from stride 4 on."""

    def arguments(channels: list[int], strides: list[int]) -> dict[str, Any]:
        depth = len(channels) + 1
        return {"encoder_channels": [0, 0, *channels], "encoder_depth": depth, **defaults}

    return arguments


def _pspnet(channels: list[int], strides: list[int]) -> dict[str, Any]:
    if channels[-1] % 4:
        raise ConfigError(
            "pspnet makes four branches of a quarter of the channels each: it needs a feature of"
            f" a multiple of 4 channels, found {channels[-1]}"
        )
    return {"encoder_channels": channels, "out_channels": 512, "dropout": 0.2}


def _deeplabv3(channels: list[int], strides: list[int]) -> dict[str, Any]:
    aspp = {"atrous_rates": (12, 24, 36), "aspp_separable": False, "aspp_dropout": 0.5}
    return {"in_channels": channels[-1], "out_channels": 256, **aspp}


def _deeplabv3plus(channels: list[int], strides: list[int]) -> dict[str, Any]:
    ratio = strides[-1] // strides[0]
    if ratio not in (2, 4):
        raise ConfigError(
            "deeplabv3plus of this library enlarges its coarse feature 2 or 4 times, but the"
            f" strides {strides} are {ratio} apart; DeepLabHead takes any"
        )
    aspp = {"atrous_rates": (12, 24, 36), "aspp_separable": True, "aspp_dropout": 0.5}
    depth, stride = (4, 16) if ratio == 4 else (3, 8)
    channels = [0, 0, channels[0], channels[-1]]
    return {
        "encoder_channels": channels,
        "encoder_depth": depth,
        "output_stride": stride,
        "out_channels": 256,
        **aspp,
    }


def is_plain(strides: list[int]) -> bool:
    """Whether features are those of a plain transformer, several blocks of one size."""
    return len(strides) > 1 and len(set(strides)) == 1


def _dpt(channels: list[int], strides: list[int]) -> dict[str, Any]:
    places = range(len(channels))
    return {
        "encoder_out_channels": channels,
        # It brings feature i to stride 4 * 2^i: a pyramid stays as it is.
        "encoder_output_strides": [16 if is_plain(strides) else 4 * 2**i for i in places],
        "encoder_has_prefix_tokens": False,
        "readout": "ignore",
        "intermediate_channels": (256, 512, 1024, 1024)[-len(channels) :],
        "fusion_channels": 256,
    }


# Features, places skipped, gain, width, arguments.
DECODERS = {
    "pspnet": Decoder("pspnet", "PSPDecoder", 1, 1, 0, 1, "out_channels", _pspnet),
    "deeplabv3": Decoder(
        *("deeplabv3", "DeepLabV3Decoder", 1, 1, 0, 1, "out_channels", _deeplabv3),
        kernel_size=1,
    ),
    "deeplabv3plus": Decoder(
        *("deeplabv3", "DeepLabV3PlusDecoder", 2, 2, 2, 1, "out_channels", _deeplabv3plus),
        kernel_size=1,
        by_size=True,
    ),
    "segformer": Decoder(
        *("segformer", "SegformerDecoder", 2, 5, 2, 1, "segmentation_channels"),
        _pyramid(segmentation_channels=256),
        kernel_size=1,
        by_size=True,
    ),
    "upernet": Decoder(
        *("upernet", "UPerNetDecoder", 2, 5, 2, 1, "decoder_channels"),
        _pyramid(decoder_channels=256),
        kernel_size=1,
        by_size=True,
    ),
    "fpn": Decoder(
        *("fpn", "FPNDecoder", 4, 4, 1, 1, "segmentation_channels"),
        _pyramid(pyramid_channels=256, segmentation_channels=128, dropout=0.2),
        kernel_size=1,
    ),
    "pan": Decoder(
        *("pan", "PANDecoder", 2, 4, 2, 1, "decoder_channels"),
        _pyramid(decoder_channels=32),
        smallest=8,  # it is pooled three times
        by_size=True,
    ),
    "dpt": Decoder("dpt", "DPTDecoder", 1, 4, 0, 2, "fusion_channels", _dpt),
    "unet": Decoder("unet", "UnetDecoder", 2, 5, 1, 2, "decoder_channels", _u_net, by_size=True),
    "unetplusplus": Decoder(
        "unetplusplus", "UnetPlusPlusDecoder", 2, 5, 1, 2, "decoder_channels", _u_net
    ),
    "manet": Decoder("manet", "MAnetDecoder", 2, 5, 1, 2, "decoder_channels", _u_net),
    "linknet": Decoder(
        "linknet", "LinknetDecoder", 2, 5, 1, 2, "prefinal_channels", _linknet, kernel_size=1
    ),
}


def build_decoder(
    decoder: Decoder, channels: list[int], strides: list[int], arguments: dict[str, Any]
) -> tuple[nn.Module, int]:
    """Builds the library's decoder.

    Args:
        decoder: one of `DECODERS`.
        channels: of the features, finest first.
        strides: of these.
        arguments: of the library's class, in place of the defaults here.

    Returns:
        The decoder, and the channels that it yields.

    Raises:
        ConfigError: the library is missing, or does not take the arguments.
    """
    cls = getattr(_load(f"decoders.{decoder.module}.decoder"), decoder.class_name)
    all_arguments = decoder.defaults(channels, strides)
    given = {"encoder_channels", "encoder_depth", "n_blocks", "in_channels", "output_stride"}
    given |= {name for name in all_arguments if name.startswith("encoder_")}
    free = [name for name in inspect.signature(cls).parameters if name not in given]
    for name in arguments:
        if name not in free:
            raise ConfigError(
                f"MODEL.SEM_SEG_HEAD.DECODER_ARGUMENTS: {cls.__name__} takes"
                f" {', '.join(free)}; found {name!r}.{nearest(name, free)}"
            )
    all_arguments.update(arguments)
    try:
        net = cls(**all_arguments)
    except (ValueError, TypeError, RuntimeError, KeyError) as error:
        raise ConfigError(
            f"{LIBRARY} does not build {cls.__name__} with MODEL.SEM_SEG_HEAD.DECODER_ARGUMENTS"
            f" {arguments} on features of {channels} channels: {error}"
        ) from error
    width = all_arguments[decoder.width]
    # FPNDecoder has more where it concatenates, and says so.
    own = getattr(net, "out_channels", None)
    return net, own if isinstance(own, int) else width if isinstance(width, int) else width[-1]


def _load(module: str) -> Any:
    """A module of the library, whose import takes most of a second: not before it is needed."""
    try:
        return importlib.import_module(f"{LIBRARY}.{module}")
    except ImportError as error:
        raise ConfigError(
            f"MODEL.SEM_SEG_HEAD.NAME SMPHead needs {LIBRARY}, which cannot be imported ({error});"
            " install it with: pip install -e '.[zoo]'"
        ) from error
