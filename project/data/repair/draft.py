"""What is to become the corrected copy: records that may be changed, found by their names."""

from collections.abc import Iterable, Mapping

from project.data.dataset import DatasetInfo
from project.data.problems import Id, Problem
from project.data.records import Record
from project.data.writers import Dataset

_FILES = ("file_name", "sem_seg_file_name", "pan_seg_file_name")


class Draft:
    """The images of all splits, without those that were dropped."""

    def __init__(self, records: Mapping[str, tuple[DatasetInfo, list[Record]]]) -> None:
        """Copies records and lists of objects, so that the given ones stay as they are."""
        self.infos = {split: info for split, (info, _) in records.items()}
        self._turned: set[str] = set()
        self._images: dict[str, dict[Id, Record]] = {}
        self._by_file: dict[tuple[str, str], Record] = {}
        for split, (_, of_split) in records.items():
            copies = [_copied(record) for record in of_split]
            self._images[split] = {record["image_id"]: record for record in copies}
            for record in copies:
                files = [value for key, value in record.items() if key in _FILES]
                self._by_file |= {(split, str(file)): record for file in files}

    def dataset(self) -> Dataset:
        """The splits that have images."""
        return {
            split: (info, list(self._images[split].values()))
            for split, info in self.infos.items()
            if self._images[split]
        }

    def records(self, split: str) -> list[Record]:
        """The images of a split."""
        return list(self._images[split].values())

    def image(self, problem: Problem) -> Record | None:
        """The image that a problem concerns; None where it is not, or no more, in the draft."""
        split = problem.split or ""
        if problem.image is not None:
            return self._images.get(split, {}).get(problem.image)
        record = self._by_file.get((split, problem.file))
        return record if record and record["image_id"] in self._images[split] else None

    def drop_image(self, split: str, record: Record) -> None:
        """Takes out an image with its objects."""
        self._images[split].pop(record["image_id"], None)

    def turn(self, record: Record) -> None:
        """Exchanges the height and the width of an image."""
        record["height"], record["width"] = record["width"], record["height"]
        self._turned.add(record["file_name"])

    def was_turned(self, record: Record) -> bool:
        """Whether height and width of an image were exchanged."""
        return record["file_name"] in self._turned

    def drop_object(self, problem: Problem) -> None:
        """Takes out the object that a problem concerns, if it is there."""
        record = self.image(problem)
        if record is not None and "annotations" in record:
            record["annotations"] = [
                a for a in record["annotations"] if a.get("id") != problem.annotation
            ]

    def emptied(self, problems: Iterable[Problem]) -> list[tuple[Problem, Record]]:
        """Images without objects where there were some, and a problem of each: not to be taught."""
        found: dict[tuple[str | None, Id], tuple[Problem, Record]] = {}
        for problem in problems:
            record = self.image(problem) if problem.annotation is not None else None
            if record is not None and not record.get("annotations"):
                found.setdefault((problem.split, record["image_id"]), (problem, record))
        return list(found.values())


def count_objects(record: Record) -> int:
    """How many objects an image has, crowds apart."""
    return sum(not annotation["iscrowd"] for annotation in record.get("annotations", []))


def _copied(record: Record) -> Record:
    copy = record.copy()
    if "annotations" in record:
        copy["annotations"] = [annotation.copy() for annotation in record["annotations"]]
    return copy
