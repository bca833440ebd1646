"""The objects of an image as they are written: each with its pixels, box and area."""

from collections.abc import Iterator

import numpy as np

from project.data.labels import decode_mask
from project.data.problems import Problems
from project.data.records import Annotation, Record
from project.data.writers.target import Loss, count, say_losses


def objects_with_masks(
    record: Record, problems: Problems
) -> Iterator[tuple[Annotation, np.ndarray | None]]:
    """Each object with its (H, W) bool mask, None where only its box is known.

    Objects without a pixel are left out, which is said.
    """
    empty = 0
    for annotation in record.get("annotations", []):
        mask = None
        if "segmentation" in annotation:
            mask = decode_mask(annotation["segmentation"], record["height"], record["width"])
            if not mask.any():
                empty += 1
                continue
        yield annotation, mask
    found = f"{count(empty, 'object')} without a single pixel left out"
    say_losses(problems, record, [Loss(empty, found, "objects of one pixel or more")])
