"""The loaders: in training which images, how often, and what happens to each."""

from collections.abc import Callable
from math import inf
from typing import Any

import cv2
import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import (
    DatasetFromList,
    build_detection_test_loader,
    get_detection_dataset_dicts,
)
from detectron2.data.build import trivial_batch_collator
from detectron2.utils import comm
from torch.utils.data import DataLoader

from project.data.augment import copy_paste_step, log_replaced
from project.data.batches import BatchSampler, SeededSamples, by_shape
from project.data.copy_paste import CopyPaste, check_sources
from project.data.mapper import SegmentationMapper
from project.data.randomness import Stream, derived_seed
from project.data.records import Record
from project.data.sampling import classes_of_images, limit_empty, repeat_factors
from project.errors import ConfigError
from project.layers.blocks import check_choice

# DATALOADER.SAMPLER_TRAIN, by Detectron2's names; its two others weigh whole data sets, which they
# read anew without what is left out here.
REPEATING = "RepeatFactorTrainingSampler"
SUBSET = "RandomSubsetTrainingSampler"
SAMPLERS = ("TrainingSampler", REPEATING, SUBSET)


def build_train_loader(cfg: CfgNode, seed: int) -> "TrainLoader":
    """A loader of this rank's share of each batch, without end, over the images that are chosen.

    Args:
        cfg: complete.
        seed: of the run, at least 0, the same on all ranks. The batch of an iteration follows from
            it alone; a run that goes on sets `start` of the loader's batch sampler.

    Raises:
        ConfigError: no image is left, the data has not what the config asks for, or the batch
            cannot be shared evenly.
        DatasetError: the data sets cannot be read.
    """
    log_replaced(cfg)
    mapper = SegmentationMapper(cfg, is_train=True)
    records = training_records(cfg, mapper)
    loader = cfg.DATALOADER
    if loader.SAMPLER_TRAIN == SUBSET:
        records = _subset(records, loader.RANDOM_SUBSET_RATIO, seed)
    repeats = loader.SAMPLER_TRAIN == REPEATING
    # One copy, in memory that the workers share.
    shared = DatasetFromList(records, copy=False)
    return TrainLoader(
        SeededSamples(shared, training_mapper(cfg, mapper, records, shared), seed),
        batch_sampler=BatchSampler(
            by_shape(records) if loader.ASPECT_RATIO_GROUPING else [0] * len(records),
            batch_size(cfg),
            seed,
            factors=_factors(cfg, mapper, records).tolist() if repeats else None,
            rank=comm.get_rank(),
            num_ranks=comm.get_world_size(),
        ),
        num_workers=loader.NUM_WORKERS,
        pin_memory=cfg.MODEL.DEVICE.startswith("cuda"),  # from there, copies need no waiting
        collate_fn=trivial_batch_collator,
        # It draws a seed when it starts, whenever that is: not from the numbers of an iteration.
        generator=torch.Generator(),
    )


def build_test_loader(cfg: CfgNode, dataset: str) -> DataLoader:
    """Batches of one image in the data set's order; each rank has its share.

    Args:
        cfg: complete.
        dataset: registered name.

    Raises:
        DatasetError: the data set cannot be read.
    """
    mapper = SegmentationMapper(cfg, is_train=False)
    return build_detection_test_loader(cfg, dataset, mapper=mapper)


class TrainLoader(DataLoader):
    """Torch's, whose worker processes have one thread for OpenCV, as they have for torch.

    Cores are for the training. The number is set before the processes are forked: in a worker, that
    would end the threads of a pool that was not copied with it, and wait for them for ever.
    """

    def __iter__(self) -> Any:
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        try:
            return super().__iter__()  # starts the workers
        finally:
            cv2.setNumThreads(threads)


def batch_size(cfg: CfgNode) -> int:
    """Images of all ranks together.

    Raises:
        ConfigError: the ranks cannot share them evenly.
    """
    size, ranks = cfg.SOLVER.IMS_PER_BATCH, comm.get_world_size()
    if size < 1 or size % ranks:
        raise ConfigError(
            f"SOLVER.IMS_PER_BATCH is {size}, the images of all {ranks} ranks together: it must be"
            f" a multiple of {ranks}, such as {max(1, round(size / ranks)) * ranks}"
        )
    parts = cfg.SOLVER.ACCUMULATE
    if size // ranks % parts:
        raise ConfigError(
            f"SOLVER.ACCUMULATE is {parts}, but each of {ranks} ranks has {size // ranks} images of"
            f" a batch of SOLVER.IMS_PER_BATCH {size}: it must divide these"
        )
    return size


def _subset(records: list[Record], ratio: float, seed: int) -> list[Record]:
    """A random choice of the records, the same on all ranks, in their order."""
    count = max(1, int(len(records) * ratio))
    rng = np.random.default_rng(derived_seed(seed, Stream.ORDER))
    return [records[index] for index in sorted(rng.permutation(len(records))[:count])]


def check_sampling(cfg: CfgNode) -> None:
    """Checks what can be checked without data.

    Raises:
        ConfigError: a sampler that is not known here, or one that would repeat nothing.
    """
    loader = cfg.DATALOADER
    check_choice("DATALOADER.SAMPLER_TRAIN", loader.SAMPLER_TRAIN, SAMPLERS)
    if loader.SAMPLER_TRAIN == REPEATING and not 0 < loader.REPEAT_THRESHOLD <= 1:
        raise ConfigError(
            f"DATALOADER.SAMPLER_TRAIN {REPEATING} draws images more often whose classes are in a"
            " smaller share of all images than DATALOADER.REPEAT_THRESHOLD, which is"
            f" {loader.REPEAT_THRESHOLD}; set it above 0 and up to 1, such as 0.3"
        )


def training_records(cfg: CfgNode, mapper: SegmentationMapper) -> list[Record]:
    """The images of DATASETS.TRAIN that are trained on, see DATALOADER.EMPTY_RATIO.

    DATALOADER.FILTER_EMPTY_ANNOTATIONS leaves out images without objects only where nothing but
    objects is taught: they still teach semantics.
    """
    records = get_detection_dataset_dicts(cfg.DATASETS.TRAIN, filter_empty=False)
    ratio = cfg.DATALOADER.EMPTY_RATIO
    if ratio < 0:
        drops = cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS and not mapper.semantics
        if not drops and any("annotations" not in record for record in records):
            return records  # to count them, all label maps would have to be read
        ratio = 0 if drops else inf
    # Every rank must choose the same.
    kept = limit_empty(classes_of_images(records, mapper.infos), ratio, max(0, cfg.SEED))
    return [records[index] for index in kept]


def training_mapper(
    cfg: CfgNode,
    mapper: SegmentationMapper,
    records: list[Record],
    shared: DatasetFromList | None = None,
) -> Callable[[Record], dict[str, Any]]:
    """The mapper, and around it what joins images, if the config asks for that.

    Args:
        cfg: complete.
        mapper: of the config, for training.
        records: of `training_records`.
        shared: the same in shared memory.
    """
    step = copy_paste_step(cfg)
    if step is None:
        return mapper
    parts = SegmentationMapper.from_config(cfg, is_train=True)
    source = {**parts, "instances": True, "semantics": False, "mask_format": "bitmask"}
    return CopyPaste(
        mapper,
        SegmentationMapper(**source),
        records if shared is None else shared,
        check_sources(records),
        mapper.infos,
        **step.arguments,
    )


def _factors(cfg: CfgNode, mapper: SegmentationMapper, records: list[Record]) -> Any:
    loader = cfg.DATALOADER
    classes = classes_of_images(records, mapper.infos)
    names = mapper.infos[records[0]["dataset"]].categories.semantic
    return repeat_factors(classes, loader.REPEAT_THRESHOLD, sqrt=loader.REPEAT_SQRT, names=names)
