"""Objects of PASCAL VOC: a map numbers them, another says what their pixels are."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from project.data.categories import IGNORE_LABEL, Categories
from project.data.formats.mask_objects import object_of_mask
from project.data.label_maps import LabelEncoding, read_label_map
from project.data.label_values import read_values
from project.data.problems import Problems
from project.data.records import Record
from project.errors import DatasetError

VOID = 255  # outlines and what is too small to be labelled


@dataclass(frozen=True)
class ObjectReader:
    """Reads the objects of one image after the other.

    Attributes:
        files: name -> object map.
        categories: of the data set.
        encoding: of the class maps.
        left_out: class -> objects, of classes that are not countable here.
    """

    files: Mapping[str, Path]
    categories: Categories
    encoding: LabelEncoding
    left_out: Counter[str] = field(default_factory=Counter)

    def add_objects(self, record: Record, problems: Problems) -> bool:
        """Gives a record its annotations, in place; their ids are their numbers in the map.

        Returns:
            Whether the maps could be read.
        """
        name, label = str(record["image_id"]), record["sem_seg_file_name"]
        path = self.files.get(name)
        if path is None:
            problems.add(
                *("unpaired", label, f"there is no object map '{name}'"),
                *("one of the same name", "add it, or take the image out of the list"),
                image=name,
            )
            return False
        limit = self.encoding.max_pixels
        try:
            semantic = read_label_map(label, self.encoding)
            numbers = read_values(path, colours=False, where="the format voc", max_pixels=limit)
        except DatasetError as error:
            problems.keep_error(error, "file_invalid", path)
            return False
        if numbers.shape != semantic.shape:
            problems.add(
                "size_mismatch",
                path,
                f"it is {_size(numbers)} pixels (height x width)",
                f"{_size(semantic)}, as {label} is",
                "export both at the size of the image",
                image=name,
            )
            return False
        self._add(record, path, numbers, semantic, problems)
        return True

    def _add(
        self,
        record: Record,
        path: Path,
        numbers: np.ndarray,
        semantic: np.ndarray,
        problems: Problems,
    ) -> None:
        record["annotations"] = []
        for number in np.unique(numbers).tolist():
            if number in (0, VOID):
                continue
            mask = numbers == number
            thing_id = self._thing(semantic[mask], number, path, record, problems)
            if thing_id is not None:
                record["annotations"].append(object_of_mask(mask, number, thing_id))

    def _thing(
        self, of_object: np.ndarray, number: int, path: Path, record: Record, problems: Problems
    ) -> int | None:
        """Thing id of an object from its pixels' (P,) semantic ids; None where it has none."""
        counts = np.bincount(of_object[of_object != IGNORE_LABEL])
        classes = np.flatnonzero(counts)
        label, names = record["sem_seg_file_name"], self.categories.semantic
        if len(classes) != 1:
            ordered = sorted(classes.tolist(), key=lambda i: -counts[i])
            shares = [f"{names[i]} ({counts[i] / of_object.size:.1%})" for i in ordered]
            problems.add(
                "object_class",
                path,
                f"its pixels are {', '.join(shares) or 'all void'} in {label}",
                "one class beside void",
                "give all of its pixels one class, or split it into one object a class",
                annotation=number,
                image=record["image_id"],
            )
            return None
        semantic_id = int(classes[0])
        if not self.categories.is_thing(semantic_id):
            self.left_out[names[semantic_id]] += 1
            return None
        return semantic_id - len(self.categories.stuff)


def _size(pixels: np.ndarray) -> str:
    return " x ".join(map(str, pixels.shape))
