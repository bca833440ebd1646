"""Numbers of classes that cannot be, told before a head is built."""

from detectron2.config import CfgNode

from project.errors import ConfigError


def check_class_counts(cfg: CfgNode, *, instances: bool, semantics: bool, parts: str) -> None:
    """Checks the numbers of classes for the parts that a model has.

    Args:
        cfg: MODEL.ROI_HEADS.NUM_CLASSES are the things, MODEL.SEM_SEG_HEAD.NUM_CLASSES the stuff
            and the things.
        instances: the model finds objects.
        semantics: the model labels pixels.
        parts: what to do where there are none of a kind.

    Raises:
        ConfigError: no classes, or fewer semantic classes than things.
    """
    things, classes = (cfg.MODEL.ROI_HEADS.NUM_CLASSES, cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES)
    for wanted, key, count in (
        (instances, "MODEL.ROI_HEADS.NUM_CLASSES", things),
        (semantics, "MODEL.SEM_SEG_HEAD.NUM_CLASSES", classes),
    ):
        if wanted and count < 1:
            raise ConfigError(
                f"{key} is {count}: it is counted from the data set when one is given, otherwise"
                f" it must be written; without such classes {parts}"
            )
    if instances and semantics and classes < things:
        raise ConfigError(
            f"MODEL.SEM_SEG_HEAD.NUM_CLASSES is {classes}, but the {things} things of"
            " MODEL.ROI_HEADS.NUM_CLASSES are semantic classes too, after the stuff"
        )
