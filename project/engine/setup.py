"""From a config file to a config that is complete, checked and frozen; and the start of a run."""

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import detectron2
import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.utils import comm
from detectron2.utils.env import seed_all_rng
from detectron2.utils.logger import setup_logger

from project.data.architectures import model_parts
from project.data.augment import copy_paste_step, needs_bitmasks
from project.data.categories import Categories
from project.data.copy_paste import check_sources
from project.data.register import (
    choose_mask_format,
    dataset_info,
    dataset_records,
    is_registered,
    register_dataset,
)
from project.data.sampling import weights_table
from project.data.spec import read_spec
from project.data.statistics import count_pixels
from project.data.validate import check_dataset_quick
from project.engine.channels import fill_channels
from project.engine.checkpoint import check_weights_exist
from project.engine.checkpoint_files import write_whole
from project.engine.choices import Purpose, check_choices
from project.engine.data_check import check_training_data
from project.engine.described_config import choose_config
from project.engine.solver_checks import check_scored
from project.engine.timm_inputs import fill_from_timm
from project.errors import ConfigError, DatasetError
from project.evaluation.semantic import check_foreground
from project.modeling.hugging_face.completion import complete_hugging_face
from project.modeling.roi_heads import needs_bitmasks as mask_head_needs_bitmasks
from project.modeling.sem_seg_loss import inverse_frequency_weights
from project.usage import find_spec

logger = logging.getLogger(__name__)

_SPLITS = {"TRAIN": "train", "TEST": "val"}  # key of DATASETS -> split of the same use
_GIVEN_DEVICE = "GIVEN_DEVICE"
_PIXEL_COUNTS = "PIXEL_COUNTS"


def prepare_config(
    config_file: str | Path | None,
    dataset: str | Path | None = None,
    overrides: Sequence[str] = (),
    *,
    purpose: Purpose = "score",
) -> CfgNode:
    """Reads, completes and checks a config; nothing expensive happens before this has passed.

    Args:
        config_file: a YAML file of `configs/`; None: see `choose_config`.
        dataset: a data set specification; its splits train and val take the place of the
            config's data sets.
        overrides: KEY VALUE KEY VALUE ...
        purpose: "train" also checks and measures the training data, "score" needs test data,
            "predict" nothing of a data set but its classes.

    Raises:
        ConfigError: a wrong key, value or class count, or data that cannot teach the model.
        DatasetError: a data set that is unknown, missing, empty or wrong.
        WeightsError: MODEL.WEIGHTS names a local file that is not there.
    """
    if dataset is not None:
        chosen = ["DATASETS.SPECS", str(dataset), "DATASETS.TRAIN", "()", "DATASETS.TEST", "()"]
        overrides = [*chosen, *overrides]
    cfg = choose_config(config_file, overrides)
    # Not among the keys that a file may set; for the config that a run writes.
    cfg.MODEL[_GIVEN_DEVICE] = cfg.MODEL.DEVICE
    cfg.MODEL.DEVICE = resolve_device(cfg.MODEL.DEVICE)
    check_choices(cfg, purpose)
    fill_from_timm(cfg, training=purpose == "train")
    fill_channels(cfg)
    complete_hugging_face(cfg, training=purpose == "train")
    check_weights_exist(cfg.MODEL.WEIGHTS)
    cfg.DATASETS.SPECS = [find_spec(path) for path in cfg.DATASETS.SPECS]
    _choose_datasets(cfg)
    register_datasets(cfg)
    needed = _needed_datasets(cfg, purpose)
    if purpose == "train":
        check_scored(cfg)
        check_training_data(cfg, needed)
        _check_taught(cfg)
    else:
        for name in needed:
            check_dataset_quick(name, cfg.INPUT.CHANNELS)
    fill_from_data(cfg, training=purpose == "train")
    cfg.freeze()
    return cfg


def register_datasets(cfg: CfgNode) -> None:
    """Registers `DATASETS.SPECS` anew, for files may have changed."""
    for path in cfg.DATASETS.SPECS:
        register_dataset(path)


def register_missing(cfg: CfgNode) -> None:
    """Registers `DATASETS.SPECS` in a process that `prepare_config` was not called in.

    Where it was, what it has read is kept: large data sets take a while.
    """
    for path in cfg.DATASETS.SPECS:
        if not is_registered(spec := read_spec(path)):
            register_dataset(spec)


def resolve_device(device: str) -> str:
    """The device that "auto" stands for on this machine; any other name as it is.

    Raises:
        ConfigError: torch knows no such device, or has none here.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device)
    except RuntimeError as error:
        known = "known are auto, cpu, cuda and cuda:N"
        raise ConfigError(f"MODEL.DEVICE {device!r} is not known; {known}") from error
    count = torch.cuda.device_count()
    if found.type == "cuda" and (found.index or 0) >= count:
        raise ConfigError(
            f"MODEL.DEVICE is {device}, but torch finds {count or 'no'} GPU{'s' * (count > 1)} on"
            " this machine; set it to auto or cpu"
        )
    return device


def fill_from_data(cfg: CfgNode, *, training: bool) -> None:
    """Fills class counts, mask format and class weights from the data sets, in place.

    Raises:
        ConfigError: a class count in the config disagrees with the data.
        DatasetError: the data sets have different classes.
    """
    train, test = cfg.DATASETS.TRAIN, cfg.DATASETS.TEST
    # The training data need not be there to score or to predict.
    names = [*train, *test] if training else [*(test or train)]
    if not names:
        return
    categories = _agreed_categories(names)
    check_foreground(cfg.TEST.RAND_FOREGROUND, categories.semantic, names[0])
    parts = model_parts(cfg)
    if parts.instances:
        _fill_count(cfg.MODEL.ROI_HEADS, "MODEL.ROI_HEADS", categories.things, names[0])
    if parts.semantics:
        _fill_count(cfg.MODEL.SEM_SEG_HEAD, "MODEL.SEM_SEG_HEAD", categories.semantic, names[0])
    if cfg.INPUT.MASK_FORMAT == "auto":
        pixels = needs_bitmasks(cfg) or mask_head_needs_bitmasks(cfg)
        train = list(cfg.DATASETS.TRAIN) if training and not pixels else []
        cfg.INPUT.MASK_FORMAT = choose_mask_format(train) if train else "bitmask"
    head = cfg.MODEL.SEM_SEG_HEAD
    uncounted = head.CLASS_WEIGHTING == "inverse_frequency" and not head.CLASS_WEIGHTS
    if training and uncounted and parts.semantics:
        counts = np.sum([count_pixels(name) for name in cfg.DATASETS.TRAIN], axis=0)
        head.CLASS_WEIGHTS = [float(w) for w in inverse_frequency_weights(counts)]
        # Not among the keys that a file may set; for the log, which is not open yet.
        head[_PIXEL_COUNTS] = counts.tolist()


def start_run(cfg: CfgNode, *, is_training: bool = True, changed: Sequence[str] = ()) -> None:
    """Opens the log, writes the config and seeds the random states, on every rank.

    Args:
        cfg: complete.
        is_training: the config that a run began with is not written over by a mere scoring.
        changed: what a run that goes on does otherwise than it began, for the log.
    """
    output_dir = Path(cfg.OUTPUT_DIR)
    rank = comm.get_rank()
    output_dir.mkdir(parents=True, exist_ok=True)
    for name in ("detectron2", "fvcore", "project"):
        setup_logger(str(output_dir), distributed_rank=rank, name=name, abbrev_name=name)
    seed_all_rng(None if cfg.SEED < 0 else cfg.SEED + rank)
    torch.backends.cudnn.benchmark = cfg.CUDNN_BENCHMARK
    logger.info(
        "Python %s, torch %s, Detectron2 %s, device %s, ranks %d, threads %d",
        sys.version.split()[0],
        torch.__version__,
        detectron2.__version__,
        cfg.MODEL.DEVICE,
        comm.get_world_size(),
        torch.get_num_threads(),
    )
    _log_class_weights(cfg)
    for change in changed:
        logger.warning("changed since the run began: %s", change)
    path = output_dir / "config.yaml"
    if comm.is_main_process() and (is_training or not path.exists()):
        text = portable(cfg).dump().encode()
        write_whole(path, lambda file: file.write(text))
        logger.info("config: %s", os.path.join(cfg.OUTPUT_DIR, "config.yaml"))


def portable(cfg: CfgNode) -> CfgNode:
    """A complete config as it is written: good from any folder, and "auto" for any device."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.DEVICE = cfg.MODEL.pop(_GIVEN_DEVICE, cfg.MODEL.DEVICE)
    cfg.MODEL.SEM_SEG_HEAD.pop(_PIXEL_COUNTS, None)
    cfg.DATASETS.SPECS = [os.path.abspath(path) for path in cfg.DATASETS.SPECS]
    return cfg


def _needed_datasets(cfg: CfgNode, purpose: Purpose) -> list[str]:
    """The data sets whose images must be there, each once.

    Raises:
        ConfigError: there is nothing to train on, or to score on.
    """
    if purpose == "predict":
        return []
    key = "TRAIN" if purpose == "train" else "TEST"
    if not cfg.DATASETS[key]:
        raise ConfigError(
            f"DATASETS.{key} is empty: give `--dataset SPEC.yaml` of a data set with the split"
            f" {_SPLITS[key]}, or DATASETS.SPECS or DATASETS.{key} in the config"
        )
    trained = cfg.DATASETS.TRAIN if purpose == "train" else ()
    return list(dict.fromkeys([*trained, *cfg.DATASETS.TEST]))


def _check_taught(cfg: CfgNode) -> None:
    """Checks that the training data has what the model is to learn.

    Raises:
        ConfigError: no countable class for instances, objects without masks, or none to paste.
    """
    if copy_paste_step(cfg) is not None:
        check_sources([r for name in cfg.DATASETS.TRAIN for r in dataset_records(name)])
    if not model_parts(cfg).instances:
        return
    for name in cfg.DATASETS.TRAIN:
        if not dataset_info(name).categories.things:
            raise ConfigError(
                f"{name} has no countable classes, so no instances can be learnt from it; name"
                " them under `things:` in its specification, or set MODEL.MASK_UNET.INSTANCES"
                " False"
            )
        objects = (a for record in dataset_records(name) for a in record.get("annotations", ()))
        if cfg.MODEL.MASK_ON and any("segmentation" not in annotation for annotation in objects):
            raise ConfigError(
                f"the objects of {name} have boxes and no segmentation, so no masks can be learnt"
                " from them; set MODEL.MASK_ON False to learn boxes alone"
            )


def _log_class_weights(cfg: CfgNode) -> None:
    head = cfg.MODEL.SEM_SEG_HEAD
    if _PIXEL_COUNTS in head:
        names = dataset_info(cfg.DATASETS.TRAIN[0]).categories.semantic
        table = weights_table(names, head[_PIXEL_COUNTS], head.CLASS_WEIGHTS)
        logger.info("weights of the classes in the cross entropy:\n%s", table)


def _choose_datasets(cfg: CfgNode) -> None:
    """Fills TRAIN and TEST, where they are empty, with the splits train and val of SPECS."""
    for key, split in _SPLITS.items():
        if not cfg.DATASETS[key]:
            specs = [read_spec(path) for path in cfg.DATASETS.SPECS]
            cfg.DATASETS[key] = tuple(f"{s.name}_{split}" for s in specs if split in s.splits)


def _agreed_categories(names: Sequence[str]) -> Categories:
    """The classes that all data sets share, by name and in the same order."""
    first, *others = names
    expected = dataset_info(first).categories
    for name in others:
        found = dataset_info(name).categories
        if (found.things, found.stuff) != (expected.things, expected.stuff):
            raise DatasetError(
                f"data sets {first} and {name} have different classes:"
                f" {list(expected.semantic)} and {list(found.semantic)};"
                " give both the same `things` and `stuff`, in the same order, in their specs"
            )
    return expected


def _fill_count(node: CfgNode, where: str, classes: Sequence[str], dataset: str) -> None:
    if node.NUM_CLASSES not in (0, len(classes)):
        raise ConfigError(
            f"{where}.NUM_CLASSES is {node.NUM_CLASSES}, but data set {dataset} has"
            f" {len(classes)} classes ({', '.join(classes)});"
            " leave the key out (0) and it is filled from the data"
        )
    node.NUM_CLASSES = len(classes)
