"""Losses of semantic segmentation, as plain functions of tensors.

Legend: N images, K classes, H x W pixels. Logits (N, K, H, W) of any floating type; targets
(N, H, W) with class ids 0..K-1, or `ignore_value` where a pixel teaches nothing. Everything is
computed in float32, inside autocast too. A batch in which every pixel is ignored gives exactly 0,
with a gradient of 0, where a plain mean would give NaN.

Written here rather than taken from segmentation_models_pytorch, with which the tests compare them:
there an ignored batch makes the focal loss NaN and the Lovasz loss an empty tensor, the smoothed
cross entropy counts ignored pixels in its mean, and Dice and Tversky are divided by all classes,
so that they fade where a batch holds few of many.
"""

from project.layers.losses.boundary import boundary_loss, signed_distances
from project.layers.losses.pixelwise import cross_entropy, focal_loss, ohem_cross_entropy
from project.layers.losses.regions import dice_loss, lovasz_softmax, tversky_loss

__all__ = [
    "boundary_loss",
    "cross_entropy",
    "dice_loss",
    "focal_loss",
    "lovasz_softmax",
    "ohem_cross_entropy",
    "signed_distances",
    "tversky_loss",
]
