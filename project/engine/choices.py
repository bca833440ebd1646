"""Keys that would be found wrong late, or never: checked before anything is built."""

from collections.abc import Iterable
from functools import reduce
from typing import Any, Literal

from detectron2.config import CfgNode

from project.config import get_project_config
from project.data.architectures import model_parts
from project.data.augment import check_augmentations
from project.data.categories import IGNORE_LABEL
from project.engine.data_check import CHECKS
from project.engine.loader import check_sampling
from project.engine.optim import CLIPPERS, OPTIMIZERS, SCHEDULERS
from project.engine.solver_checks import check_metrics, check_solver
from project.errors import ConfigError
from project.evaluation.coco_backend import NAMES
from project.layers.blocks import check_choice
from project.modeling.hugging_face.library import TASKS
from project.modeling.loss_list import read_losses
from project.modeling.precision import DTYPE_NAMES, amp_dtype
from project.modeling.roi_heads import check_roi_config
from project.modeling.testing import check_test_time

Purpose = Literal["train", "score", "predict"]

_KNOWN: dict[str, Iterable[str]] = {
    "DATASETS.CHECK": CHECKS,
    "SOLVER.OPTIMIZER": OPTIMIZERS,
    "SOLVER.LR_SCHEDULER_NAME": SCHEDULERS,
    "SOLVER.CLIP_GRADIENTS.CLIP_TYPE": CLIPPERS,
    "SOLVER.AMP.DTYPE": DTYPE_NAMES,
    "MODEL.HUGGING_FACE.TASK": TASKS,
    "TEST.COCO_BACKEND": NAMES,
}
# Keys of Detectron2 that nothing here reads -> what to do instead.
_UNSUPPORTED = {
    "TEST.PRECISE_BN.ENABLED": "running statistics are used; SOLVER.EMA averages weights",
    "TEST.EXPECTED_RESULTS": "compare the numbers of results.json where the run is started",
    "VIS_PERIOD": "tools/visualize_data.py draws what is fed, and report.html what is found",
    "MODEL.PANOPTIC_FPN.COMBINE.ENABLED": "parts that are both there are always merged; leave one"
    " out with MODEL.MASK_UNET",
    **dict.fromkeys(
        (
            *("MODEL.LOAD_PROPOSALS", "DATASETS.PROPOSAL_FILES_TRAIN"),
            "DATASETS.PROPOSAL_FILES_TEST",
        ),
        "files of proposals are pickles, which may run code; models find their own, see MODEL.RPN",
    ),
    "MODEL.PANOPTIC_FPN.INSTANCE_LOSS_WEIGHT": "weigh with MODEL.SEM_SEG_HEAD.LOSS_WEIGHT",
}


def check_choices(cfg: CfgNode, purpose: Purpose) -> None:
    """Checks keys that hold names, numbers within limits, or what nothing here does.

    Args:
        cfg: MODEL.DEVICE must be resolved.
        purpose: what the model is wanted for; what only others need is not asked for.

    Raises:
        ConfigError: the key, what it holds and what it may hold.
    """
    for key, known in _KNOWN.items():
        check_choice(key, _value(cfg, key), known)
    defaults = get_project_config()
    for key, instead in _UNSUPPORTED.items():
        if _value(cfg, key) != _value(defaults, key):
            raise ConfigError(f"{key} {_value(cfg, key)} is not supported: {instead}")
    if cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE != IGNORE_LABEL:
        raise ConfigError(
            f"MODEL.SEM_SEG_HEAD.IGNORE_VALUE is {cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE}, but pixels"
            f" to be ignored are always fed as {IGNORE_LABEL}; leave the key out, and name the"
            " values that mark them in your label maps under `ignore:` in the data set"
            " specification"
        )
    if cfg.MODEL.BACKBONE.NAME == "build_resnet_deeplab_backbone":
        _check_dilated_resnet(cfg.MODEL.RESNETS)
    check_test_time(cfg)
    parts = model_parts(cfg)
    if parts.semantics:
        read_losses(cfg.MODEL.SEM_SEG_HEAD.LOSSES)
    if purpose == "train":
        check_augmentations(cfg, instances=parts.instances)
        check_sampling(cfg)
        amp_dtype(cfg)
        check_solver(cfg)
    if parts.instances:
        _check_instances(cfg)
    if purpose != "predict":
        check_metrics(cfg)
        _check_test(cfg.TEST)


def _check_dilated_resnet(resnets: CfgNode) -> None:
    """What Detectron2's builder would answer with an assertion, or not at all."""
    check_choice("MODEL.RESNETS.STEM_TYPE", resnets.STEM_TYPE, ("basic", "deeplab"))
    dilations = (resnets.RES4_DILATION, resnets.RES5_DILATION)
    possible = ((1, 1), (1, 2), (1, 4), (2, 4))
    if (
        resnets.DEPTH not in (50, 101, 152)
        or dilations not in possible
        or len(resnets.RES5_MULTI_GRID) != 3
    ):
        raise ConfigError(
            "MODEL.BACKBONE.NAME build_resnet_deeplab_backbone takes RESNETS.DEPTH 50, 101 or 152,"
            f" RES4_DILATION with RES5_DILATION as one of {', '.join(map(str, possible))}, and"
            f" three numbers of RES5_MULTI_GRID; found {resnets.DEPTH}, {dilations} and"
            f" {list(resnets.RES5_MULTI_GRID)}"
        )


def _check_instances(cfg: CfgNode) -> None:
    if cfg.MODEL.META_ARCHITECTURE == "MaskUNet":
        check_roi_config(cfg)
    elif cfg.MODEL.ROI_POOLER:
        raise ConfigError(
            "MODEL.ROI_POOLER is read by MaskUNet alone; with"
            f" {cfg.MODEL.META_ARCHITECTURE} set each head's POOLER_TYPE"
        )


def _check_test(test: CfgNode) -> None:
    for key in ("CONFUSION_IOU", "CONFIDENCE"):
        if not 0 <= test[key] <= 1:
            raise ConfigError(f"TEST.{key} is {test[key]}; it must be from 0 to 1")
    if test.BOOTSTRAP < 0:
        raise ConfigError(
            f"TEST.BOOTSTRAP is {test.BOOTSTRAP}; write the number of resamples, 1000 for example,"
            " or 0 for no intervals"
        )


def _value(cfg: CfgNode, key: str) -> Any:
    return reduce(getattr, key.split("."), cfg)
