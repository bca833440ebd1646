"""Describes the weights that a config trains; see `project.engine.description`."""

import sys
from collections.abc import Sequence

import detectron2
import torch
import torchvision
from detectron2.config import CfgNode

import project
from project.data.categories import IGNORE_LABEL
from project.data.digest import data_digest
from project.data.register import dataset_info, dataset_records
from project.engine.description import FORMAT, Description
from project.engine.setup import portable
from project.errors import WeightsError


def describe(cfg: CfgNode, learnt_from: Sequence[str] = ()) -> Description:
    """What weights of a config say of themselves.

    Args:
        cfg: complete, as `project.engine.setup.prepare_config` makes it.
        learnt_from: registered data sets to take the digests of; their files are read.

    Raises:
        WeightsError: the config names no data set, so that nobody knows the classes' names.
        DatasetError: the files of a data set are wrong.
    """
    names = [*cfg.DATASETS.TEST, *cfg.DATASETS.TRAIN]
    if not names:
        raise WeightsError(
            "the config names no data set, so the classes of the weights have no names; give the"
            " specification of the training data with --dataset"
        )
    categories = dataset_info(names[0]).categories
    return {
        "format": FORMAT,
        "config": portable(cfg).dump(),
        "classes": {
            "things": list(categories.things),
            "stuff": list(categories.stuff),
            "thing_dataset_ids": list(categories.thing_dataset_ids),
            "stuff_dataset_ids": list(categories.stuff_dataset_ids),
        },
        "labels": {"semantic": list(categories.semantic), "ignore": IGNORE_LABEL},
        "input": {
            "format": cfg.INPUT.FORMAT,
            "channels": cfg.INPUT.CHANNELS,
            "bits": cfg.INPUT.BITS,
            "normalization": cfg.MODEL.PIXEL_NORMALIZATION,
            "pixel_mean": [float(value) for value in cfg.MODEL.PIXEL_MEAN],
            "pixel_std": [float(value) for value in cfg.MODEL.PIXEL_STD],
        },
        "versions": {
            "python": sys.version.split()[0],
            "torch": str(torch.__version__),
            "torchvision": str(torchvision.__version__),
            "detectron2": str(detectron2.__version__),
            "project": project.__version__,
        },
        "data": {
            name: {"images": len(dataset_records(name)), "sha256": data_digest(name)}
            for name in learnt_from
        },
    }
