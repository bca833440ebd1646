"""What a data set holds, counted."""

import numpy as np
from tqdm import tqdm

from project.data.labels import read_semantic
from project.data.register import dataset_info, dataset_records


def count_pixels(name: str) -> np.ndarray:
    """(K,) int64 pixels of each semantic class over all images of a registered data set.

    Pixels to ignore are not counted.

    Raises:
        DatasetError: see `dataset_records` and `read_semantic`.
    """
    info = dataset_info(name)
    counts = np.zeros(256, dtype=np.int64)
    for record in tqdm(dataset_records(name), f"counting pixels of {name}", disable=None):
        counts += np.bincount(read_semantic(record, info).ravel(), minlength=256)
    return counts[: len(info.categories.semantic)]
