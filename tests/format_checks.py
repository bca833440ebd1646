"""What every format must hold: what its files say arrives at the model, and scores 100."""

from pathlib import Path
from typing import Any

import numpy as np

import factories
from evaluation_cases import erase_unlisted, score


def map_records(spec: Path) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Each record of the split train, and what the mapper makes of it without augmentation."""
    from project.data.mapper import SegmentationMapper
    from project.data.register import dataset_info, dataset_records, register_dataset

    name = register_dataset(spec)[0]
    mapper = SegmentationMapper(
        is_train=True,
        augmentations=[],
        image_format="RGB",
        mask_format="bitmask",
        instances=True,
        semantics=True,
        infos={name: dataset_info(name)},
    )
    return [(record, mapper(record)) for record in dataset_records(name)]


def masks_of(item: dict[str, Any]) -> np.ndarray:
    """(N, H, W) bool masks of what the mapper gave."""
    return item["instances"].gt_masks.tensor.numpy()


def check_perfect_scores(spec: Path, folder: Path) -> None:
    """The truth of the split val, written as predictions, must score exactly 100 in every task."""
    paths = factories.write_perfect_predictions(spec, "val", folder)
    erase_unlisted(paths["panoptic"])
    main = {
        "coco": {"bbox": "AP", "segm": "AP"},
        "label_map": {"sem_seg": "mIoU"},
        "panoptic": {"panoptic_seg": "PQ"},
    }
    for form, tasks in main.items():
        dataset = score(spec, paths[form])
        assert {task: dataset[task][number] for task, number in tasks.items()} == dict.fromkeys(
            tasks, 100.0
        )


def categories_of(spec: Path, split: str = "train") -> Any:
    """The classes of a split, read anew."""
    from project.data.dataset import read_info
    from project.data.spec import read_spec

    return read_info(read_spec(spec), split).categories


def collect(spec: Path, split: str = "train") -> tuple[list[dict[str, Any]], list[Any]]:
    """The records of a split without what is wrong, and the findings."""
    from project.data.dataset import read_info, read_records
    from project.data.problems import Problems
    from project.data.spec import read_spec

    problems = Problems()
    records = read_records(read_info(read_spec(spec), split), problems)
    return records, problems.found
