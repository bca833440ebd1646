"""How the weights of new layers are drawn."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def draw_by_width(network: nn.Module) -> None:
    """Draws the layers of a network without batch normalisation by their inputs, in place.

    Weights get the deviation 1 / sqrt(inputs), which keeps signals as they are (LeCun et al. 1998,
    Efficient BackProp, section 4.6). Transformers and their kin are drawn with 0.02 for all layers,
    as their authors do for a width of 768: at 32 values that is an eighth of it, and small networks
    may not learn at all. Where batches are normalised the deviation changes nothing, and networks
    have rules of their own.
    """
    if any(isinstance(module, _BatchNorm) for module in network.modules()):
        return
    for module in network.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)
