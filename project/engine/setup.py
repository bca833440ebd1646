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

from project.config import load_config
from project.data.categories import Categories
from project.data.register import choose_mask_format, dataset_info, register_dataset
from project.data.spec import read_spec
from project.data.statistics import count_pixels
from project.data.validate import check_dataset_quick
from project.engine.checkpoint import check_weights_exist
from project.errors import ConfigError, DatasetError
from project.modeling.sem_seg_loss import inverse_frequency_weights

logger = logging.getLogger(__name__)


def prepare_config(
    config_file: str | Path | None,
    dataset: str | Path | None = None,
    overrides: Sequence[str] = (),
    *,
    training: bool = False,
) -> CfgNode:
    """Reads, completes and checks a config; nothing expensive happens before this has passed.

    Args:
        config_file: a YAML file of `configs/`.
        dataset: a data set specification; its splits train and val take the place of the
            config's data sets.
        overrides: KEY VALUE KEY VALUE ...
        training: also check and measure the training data.

    Raises:
        ConfigError: a wrong key, value or class count.
        DatasetError: a data set that is unknown, missing or empty.
        WeightsError: MODEL.WEIGHTS names a local file that is not there.
    """
    if dataset is not None:
        chosen = ["DATASETS.SPECS", str(dataset), "DATASETS.TRAIN", "()", "DATASETS.TEST", "()"]
        overrides = [*chosen, *overrides]
    cfg = load_config(config_file, list(overrides))
    check_weights_exist(cfg.MODEL.WEIGHTS)
    _choose_datasets(cfg)
    register_datasets(cfg)
    cfg.MODEL.DEVICE = resolve_device(cfg.MODEL.DEVICE)
    names = [*(cfg.DATASETS.TRAIN if training else ()), *cfg.DATASETS.TEST]
    if training and not cfg.DATASETS.TRAIN:
        raise ConfigError(
            "DATASETS.TRAIN is empty: give `--dataset SPEC.yaml`, or DATASETS.SPECS in the config"
        )
    for name in dict.fromkeys(names):
        check_dataset_quick(name)
    fill_from_data(cfg, training=training)
    cfg.freeze()
    return cfg


def register_datasets(cfg: CfgNode) -> None:
    """Registers `DATASETS.SPECS`; every process of a run calls this."""
    for path in cfg.DATASETS.SPECS:
        register_dataset(path)


def resolve_device(device: str) -> str:
    """The device that "auto" stands for on this machine; any other name as it is."""
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"


def fill_from_data(cfg: CfgNode, *, training: bool) -> None:
    """Fills class counts, mask format and class weights from the data sets, in place.

    Raises:
        ConfigError: a class count in the config disagrees with the data.
        DatasetError: the data sets have different classes.
    """
    names = [*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST]
    if not names:
        return
    categories = _agreed_categories(names)
    _fill_count(cfg.MODEL.ROI_HEADS, "MODEL.ROI_HEADS", categories.things, names[0])
    _fill_count(cfg.MODEL.SEM_SEG_HEAD, "MODEL.SEM_SEG_HEAD", categories.semantic, names[0])
    if cfg.INPUT.MASK_FORMAT == "auto":
        train = list(cfg.DATASETS.TRAIN) if training else []
        cfg.INPUT.MASK_FORMAT = choose_mask_format(train) if train else "bitmask"
    head = cfg.MODEL.SEM_SEG_HEAD
    uncounted = head.CLASS_WEIGHTING == "inverse_frequency" and not head.CLASS_WEIGHTS
    if training and uncounted and cfg.MODEL.MASK_UNET.SEMANTICS:
        counts = np.sum([count_pixels(name) for name in cfg.DATASETS.TRAIN], axis=0)
        head.CLASS_WEIGHTS = [float(w) for w in inverse_frequency_weights(counts)]


def start_run(cfg: CfgNode) -> None:
    """Opens the log, writes the config and seeds the random states, on every rank."""
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
    if comm.is_main_process():
        (output_dir / "config.yaml").write_text(cfg.dump(), encoding="utf-8")
        logger.info("config: %s", os.path.join(cfg.OUTPUT_DIR, "config.yaml"))


def _choose_datasets(cfg: CfgNode) -> None:
    """Fills TRAIN and TEST, where they are empty, with the splits train and val of SPECS."""
    for key, split in (("TRAIN", "train"), ("TEST", "val")):
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
