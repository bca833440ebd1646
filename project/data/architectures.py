"""Which truth an architecture learns from: objects, semantic labels, or both."""

from collections.abc import Callable
from dataclasses import dataclass

from detectron2.config import CfgNode

from project.errors import ConfigError, nearest


@dataclass(frozen=True)
class Parts:
    """What a model learns and yields."""

    instances: bool
    semantics: bool


# Every MODEL.META_ARCHITECTURE that can be trained and scored.
ARCHITECTURES: dict[str, Callable[[CfgNode], Parts]] = {
    "MaskUNet": lambda cfg: Parts(cfg.MODEL.MASK_UNET.INSTANCES, cfg.MODEL.MASK_UNET.SEMANTICS),
    "BottomUpPanoptic": lambda cfg: Parts(instances=True, semantics=True),
    "WatershedUNet": lambda cfg: Parts(instances=True, semantics=True),
    "GeneralizedRCNN": lambda cfg: Parts(instances=True, semantics=False),
    "HuggingFaceSegmenter": lambda cfg: Parts(
        instances=cfg.MODEL.HUGGING_FACE.TASK != "semantic",
        semantics=cfg.MODEL.HUGGING_FACE.TASK != "instance",
    ),
    "SemanticSegmentor": lambda cfg: Parts(instances=False, semantics=True),
}
_REFUSED = {
    "PanopticFPN": " Its merge takes semantic class 0 for all countable classes together, where"
    " ours have a class each; MaskUNet with both parts is the same model with a merge that fits.",
}


def model_parts(cfg: CfgNode) -> Parts:
    """The parts of the model that a config describes.

    Raises:
        ConfigError: MODEL.META_ARCHITECTURE is none of `ARCHITECTURES`.
    """
    name = cfg.MODEL.META_ARCHITECTURE
    if name not in ARCHITECTURES:
        raise ConfigError(
            f"MODEL.META_ARCHITECTURE {name!r} is not supported.{_REFUSED.get(name, '')}"
            f"{nearest(name, ARCHITECTURES)}"
        )
    return ARCHITECTURES[name](cfg)
