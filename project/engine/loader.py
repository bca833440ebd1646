"""The training loader: which images, how often, and what happens to each."""

from collections.abc import Callable
from math import inf
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import (
    DatasetFromList,
    build_detection_train_loader,
    get_detection_dataset_dicts,
)
from detectron2.data.samplers import RepeatFactorTrainingSampler

from project.data.augment import copy_paste_step, log_replaced
from project.data.copy_paste import CopyPaste, check_sources
from project.data.mapper import SegmentationMapper
from project.data.records import Record
from project.data.sampling import classes_of_images, limit_empty, repeat_factors
from project.errors import ConfigError
from project.layers.blocks import check_choice

# DATALOADER.SAMPLER_TRAIN; Detectron2's two others weigh whole data sets, which they read anew
# without what is left out here.
REPEATING = "RepeatFactorTrainingSampler"
SAMPLERS = ("TrainingSampler", REPEATING, "RandomSubsetTrainingSampler")


def build_train_loader(cfg: CfgNode) -> Any:
    """Detectron2's training loader over the images that a config chooses.

    Raises:
        ConfigError: no image is left, or the data has not what the config asks for.
        DatasetError: the data sets cannot be read.
    """
    log_replaced(cfg)
    mapper = SegmentationMapper(cfg, is_train=True)
    records = training_records(cfg, mapper)
    sampler = None
    if cfg.DATALOADER.SAMPLER_TRAIN == REPEATING:
        sampler = RepeatFactorTrainingSampler(_factors(cfg, mapper, records))
    # One copy, in memory that the workers share.
    shared = DatasetFromList(records, copy=False)
    return build_detection_train_loader(
        cfg, mapper=training_mapper(cfg, mapper, records, shared), dataset=shared, sampler=sampler
    )


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
