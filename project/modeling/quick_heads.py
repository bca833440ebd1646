"""Heads on regions that predict the same with less work on a CPU, in a copy that is not trained.

Legend: R RoIs of all images, C channels, P x Q pooled cells, D outputs, K classes, M x M cells of a
mask.
"""

from functools import partial
from typing import Any

import torch
from detectron2.modeling.roi_heads import FastRCNNConvFCHead, MaskRCNNConvUpsampleHead
from detectron2.modeling.roi_heads.mask_head import mask_rcnn_inference
from detectron2.structures import Instances
from torch import Tensor, nn

from project.modeling.mask_heads import ConvMaskHead, joined


def quicken_heads(model: nn.Module) -> None:
    """Changes the heads of Detectron2 and of ours below `model`, in place, after all else is done.

    The first layer of a box head becomes a convolution as large as its input, for RoIs lie in
    memory channel by channel and would be copied to be a row. A mask head predicts the masks of the
    classes that were found, and not those of all K.
    """
    for heads in list(model.modules()):
        cells = getattr(getattr(heads, "box_pooler", None), "output_size", None)
        if cells is not None:
            for head in getattr(heads, "box_head", nn.Module()).modules():
                first = getattr(head, "fc1", None)
                if type(head) is FastRCNNConvFCHead and isinstance(first, nn.Linear):
                    _convolve_first(head, tuple(cells))
        if type(heads) in (MaskRCNNConvUpsampleHead, ConvMaskHead):
            heads.forward = partial(_predict_masks, heads)


def _convolve_first(head: Any, cells: tuple[int, int]) -> None:
    """(R, C, P, Q) -> (R, D) as a convolution with D kernels of P x Q."""
    layer = head.fc1
    weight = layer.weight.detach().view(layer.out_features, -1, *cells)
    conv = nn.Conv2d(weight.shape[1], len(weight), cells, device="meta")
    conv.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last), False)
    conv.bias = layer.bias
    head.flatten = nn.Identity()
    head.fc1 = head.fcs[0] = nn.Sequential(conv, nn.Flatten())


def _predict_masks(head: Any, x: Tensor, instances: list[Instances]) -> Any:
    """What `head.forward` returns."""
    if head.training or head.predictor.out_channels == 1:
        return type(head).forward(head, x, instances)
    for layer in head.conv_norm_relus:
        x = layer(x)
    x = head.deconv(x).relu_()  # (R, C, M, M)
    classes = joined(instances, "pred_classes")
    kernels = head.predictor.weight[classes, :, 0, 0, None].to(x.dtype)  # (R, C, 1)
    logits = torch.bmm(x.flatten(2).transpose(1, 2), kernels).view(len(x), 1, *x.shape[2:])
    mask_rcnn_inference(logits + head.predictor.bias[classes, None, None, None], instances)
    return instances
