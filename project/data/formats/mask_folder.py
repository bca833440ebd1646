"""One folder an image: the image, and a black and white file for each of its objects.

The 2018 Data Science Bowl (https://www.kaggle.com/c/data-science-bowl-2018) is such a set. Key of a
split: `samples`, whose folders hold `images/` with one image and `masks/`, where the masks lie flat
or in a folder for each class.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from project.data.categories import Categories
from project.data.faults import Fault
from project.data.files import IMAGE_SUFFIXES, require_path, some_of
from project.data.formats.chosen import stuff_names
from project.data.formats.mask_objects import object_of_mask
from project.data.images import image_size
from project.data.label_maps import LabelEncoding
from project.data.label_values import count_values, read_values, shares_text
from project.data.problems import Problem, Problems
from project.data.records import Annotation, Record
from project.data.spec import DatasetSpec
from project.errors import DatasetError, nearest


def read_categories(spec: DatasetSpec, split: str) -> Categories:
    """Classes as the specification has them; the same for all splits.

    Raises:
        DatasetError: `things` is missing, or a class is both countable and stuff.
    """
    del split
    if not spec.things:
        raise Problem(
            *("classes_missing", None, spec.where, None),
            found="it has no `things:`, which the format mask_folder needs",
            expected="the name of the class, or the names of the folders in masks/",
            repair="write, for example, `things: [cell]`",
        ).error()
    return Categories(spec.things, stuff_names(spec, spec.things))


def read_encoding(spec: DatasetSpec, split: str, categories: Categories) -> LabelEncoding | None:
    """None: there are no label maps."""
    del spec, split, categories
    return None


def truth_file(spec: DatasetSpec, split: str, record: Record) -> Path:
    """The folder of the image's masks."""
    return spec.resolve(split, "samples") / str(record["image_id"]) / "masks"


def read_records(
    spec: DatasetSpec, split: str, categories: Categories, problems: Problems
) -> list[Record]:
    """One record a folder, named after it; annotations have the mask's path as their id.

    Raises:
        DatasetError: the folder of samples is missing or holds no folder.
    """
    where = f"{spec.where}: splits.{split}.samples"
    root = require_path(spec.resolve(split, "samples"), where)
    folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not folders:
        raise DatasetError(
            f"{where}: {root} holds no folders; expected one an image, with images/ and masks/"
        )
    reader = _Reader(spec, categories, problems)
    records = (reader.read(p) for p in tqdm(folders, f"{spec.name}_{split}", disable=None))
    return [record for record in records if record is not None]


@dataclass(frozen=True)
class _Reader:
    """Reads one folder after the other.

    Attributes:
        spec: of the data set.
        categories: of the data set.
        problems: takes what is wrong.
    """

    spec: DatasetSpec
    categories: Categories
    problems: Problems

    def read(self, folder: Path) -> Record | None:
        """The record of a folder; None, and reported, where its image is missing or unreadable."""
        images = _files(folder / "images")
        if len(images) != 1:
            names = f": {some_of([path.name for path in images])}" if images else ""
            self.problems.add(
                "unpaired",
                folder,
                f"its folder images/ has {len(images) or 'no'} images{names}",
                "exactly one",
                "give each image a folder of its own, or take this folder out",
                image=folder.name,
            )
            return None
        masks = list(self._masks(folder / "masks"))
        try:
            height, width = self._size(images[0], [path for path, _ in masks])
        except DatasetError as error:
            self.problems.keep_error(error, "image_unreadable", images[0])
            return None
        record = Record(file_name=str(images[0]), image_id=folder.name, height=height, width=width)
        objects = (self._object(path, thing_id, record) for path, thing_id in masks)
        record["annotations"] = [found for found in objects if found is not None]
        return record

    def _size(self, image: Path, masks: list[Path]) -> tuple[int, int]:
        """(height, width) of an image; drawn on the stored pixels, if its first mask has theirs."""
        limit = self.spec.max_pixels
        if self.spec.exif == "auto" and masks:
            stored = image_size(image, exif="ignore", max_pixels=limit)
            with suppress(DatasetError):  # told when the mask is read
                if image_size(masks[0], max_pixels=limit) == stored:
                    return stored
        return image_size(image, exif=self.spec.exif, max_pixels=limit)

    def _masks(self, folder: Path) -> Iterator[tuple[Path, int]]:
        """Every mask and its thing id."""
        flat, things = _files(folder), self.categories.things
        if flat and len(things) > 1:
            self.problems.add(
                "class_unknown",
                folder,
                f"{len(flat)} masks lie in no folder of a class: {some_of([p.name for p in flat])}",
                f"a folder for each class: {', '.join(things)}",
                "move each mask into the folder of its class",
                image=folder.parent.name,
            )
        else:
            yield from ((path, 0) for path in flat)
        for of_class in sorted(p for p in folder.glob("[!.]*") if p.is_dir()):
            if of_class.name in things:
                yield from ((path, things.index(of_class.name)) for path in _files(of_class))
                continue
            self.problems.add(
                "class_unknown",
                of_class,
                f"'{of_class.name}' is no class.{nearest(of_class.name, things)}",
                f"one of `things:`, {', '.join(things)}",
                "rename the folder, or add the class to `things:`",
                image=folder.parent.name,
            )

    def _object(self, path: Path, thing_id: int, record: Record) -> Annotation | None:
        """The object of a mask; None, and reported, where it is none."""
        limit, where = self.spec.max_pixels, "the format mask_folder"
        folder = Path(record["file_name"]).parents[1]
        annotation_id = path.relative_to(folder / "masks").as_posix()
        try:
            values = read_values(path, colours=False, where=where, max_pixels=limit)
            _check_mask(values, record)
        except Fault as fault:
            about = {"annotation": annotation_id, "image": record["image_id"]}
            fault.report(self.problems, path, **about)
            return None
        except DatasetError as error:
            self.problems.keep_error(error, "file_invalid", path)
            return None
        return object_of_mask(values != 0, annotation_id, thing_id)


def _check_mask(values: np.ndarray, record: Record) -> None:
    """Raises a fault unless (H, W) values are those of one object."""
    size = (record["height"], record["width"])
    if values.shape != size:
        raise Fault(
            "size_mismatch",
            f"it is {values.shape[0]} x {values.shape[1]} pixels (height x width)",
            f"{size[0]} x {size[1]}, as {record['file_name']} is",
            "export it at the size of the image, or move it to its own image",
        )
    objects = values[values != 0]
    if not objects.size:
        raise Fault(
            "mask_empty",
            "all of its pixels are black",
            "one object, white on black",
            "draw the object, or take the file out",
        )
    if objects.min() != objects.max():
        shares = shares_text(count_values(values), values.size, colours=False)
        raise Fault(
            "label_unexplained",
            f"it has more than two values: {shares}",
            "0 and one other value",
            "export it in black and white, without smooth edges, one file an object",
        )


def _files(folder: Path) -> list[Path]:
    """The image files right in a folder, sorted; none where it does not exist."""
    return sorted(
        path
        for path in folder.glob("[!.]*")
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
    )
