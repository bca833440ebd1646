"""Config keys that follow from the number of channels of the images."""

from detectron2.config import CfgNode

from project.errors import ConfigError

_STATISTICS = ("PIXEL_MEAN", "PIXEL_STD")


def fill_channels(cfg: CfgNode) -> None:
    """Gives the mean and deviation of pixels one number for each of INPUT.CHANNELS, in place.

    Detectron2 takes their length as the channels of the first convolution. Three numbers become one
    for grey images by their mean; one number that all channels share is repeated.

    Raises:
        ConfigError: impossible INPUT.CHANNELS or BITS, or numbers that must be given.
    """
    channels = cfg.INPUT.CHANNELS
    if channels < 1:
        raise ConfigError(f"INPUT.CHANNELS: expected 1 or more, found {channels}")
    if cfg.INPUT.BITS not in (8, 16):
        raise ConfigError(f"INPUT.BITS: expected 8 or 16, found {cfg.INPUT.BITS}")
    for key in _STATISTICS:
        values = list(cfg.MODEL[key])
        if len(values) == channels:
            continue
        if channels == 1:
            cfg.MODEL[key] = [sum(values) / len(values)]
        elif len(set(values)) == 1 or cfg.MODEL.PIXEL_NORMALIZATION == "image":
            cfg.MODEL[key] = [values[0]] * channels
        else:
            raise ConfigError(
                f"MODEL.{key} has {len(values)} numbers, {values}, but INPUT.CHANNELS is"
                f" {channels}: give one number for each channel, on the scale of 0 to 255, or set"
                " MODEL.PIXEL_NORMALIZATION image, which measures them in each image"
            )
