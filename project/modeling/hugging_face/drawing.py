"""How the weights of a new model are drawn: as the papers' authors do, where the library does not.

The library draws nearly all weights with one deviation, 0.02, since it is made for weights that
were learnt before. In layers narrower than a few hundred values that is next to nothing, and the
signals of classes die out between input and loss: a model from random weights learns masks, and no
classes for thousands of iterations.
"""

import math
from collections.abc import Iterator
from typing import Any

from torch import nn

_QUERY_MODELS = ("mask2former", "maskformer", "oneformer")
# Parts of those that have rules of their own: networks for features, words and masks, and where the
# attention of pixels looks, which is to start at fixed offsets.
_OWN_RULES = (
    *("pixel_level_module.encoder.", "text_mapper.", ".mask_embedder."),
    *(".sampling_offsets", ".attention_weights"),
)
_CLASSIFIERS = ("class_predictor", "class_embed")


def draw_as_published(network: Any) -> None:
    """Draws anew, in place, what the library has drawn otherwise than the authors' own code.

    MaskFormer (Cheng et al. 2021), Mask2Former (Cheng et al. 2022) and OneFormer (Jain et al.
    2023): layers by Xavier's rule, as in DETR, and queries with deviation 1. SegFormer (Xie et al.
    2021): convolutions by the number of their outputs; those of single channels, which alone tell
    neighbours apart, would start 23 times as small. Other models stay as they are.
    """
    kind = network.config.model_type
    if kind in _QUERY_MODELS:
        for name, layer in _layers(network):
            if name.endswith(_CLASSIFIERS):
                layer.reset_parameters()
            elif not any(part in name for part in _OWN_RULES):
                nn.init.xavier_uniform_(layer.weight)
        for name, module in network.named_modules():
            if name.endswith("queries_embedder"):
                nn.init.normal_(module.weight)
    elif kind == "segformer":
        for _, layer in _layers(network):
            if isinstance(layer, nn.Conv2d):
                outputs = math.prod(layer.kernel_size) * layer.out_channels // layer.groups
                nn.init.normal_(layer.weight, std=math.sqrt(2 / outputs))


def _layers(network: nn.Module) -> Iterator[tuple[str, nn.Linear | nn.Conv2d]]:
    for name, module in network.named_modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            yield name, module
