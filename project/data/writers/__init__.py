"""One module a format that can be written, each with the same function `write`."""

from pathlib import Path
from typing import Protocol

from project.data.problems import Problems
from project.data.writers import coco, label_map, voc, yolo
from project.data.writers.target import Dataset, ImageMode

__all__ = ["WRITERS", "Dataset", "ImageMode", "Writer"]


class Writer(Protocol):
    """Writes a whole data set in one format."""

    def __call__(
        self, dataset: Dataset, out: Path, name: str, images: ImageMode, problems: Problems
    ) -> Path:
        """Writes images, annotations and a specification that `register_dataset` takes.

        Args:
            dataset: split -> its classes and images. The images may come from several splits of
                one data set; the classes of all splits are the same.
            out: a new or an empty folder.
            name: of the data set.
            images: "copy" them, or "link": make symbolic links to them.
            problems: takes what the format cannot hold, for each image, as `lost_in_conversion`,
                and images that have another name there, as `image_renamed`.

        Returns:
            The specification file.

        Raises:
            DatasetError: the folder is not empty, an image is missing or unreadable, or the format
                cannot hold such data at all.
        """
        ...


WRITERS: dict[str, Writer] = {
    "coco": coco.write,
    "label_map": label_map.write,
    "voc": voc.write,
    "yolo": yolo.write,
}
