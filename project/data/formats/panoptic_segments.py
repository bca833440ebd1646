"""The entries of `segments_info` in a COCO panoptic json, each checked."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from project.data.categories import IGNORE_LABEL, Categories
from project.data.faults import Fault, short
from project.data.files import some_of
from project.data.formats.coco_annotation import read_annotation
from project.data.panoptic_png import MAX_SEGMENT_ID, VOID
from project.data.problems import Problems
from project.data.records import Record, SegmentInfo

_STATED = ("bbox", "area", "iscrowd")


@dataclass(frozen=True)
class SegmentReader:
    """Reads the segments of one image after the other.

    Attributes:
        path: the annotation file.
        names: class of each category id of the file.
        categories: of the data set.
        left_out: class -> segments, of classes that the specification does not choose.
    """

    path: Path
    names: Mapping[int, str]
    categories: Categories
    left_out: Counter[str] = field(default_factory=Counter)

    def add_segments(self, record: Record, entries: Iterable[Any], problems: Problems) -> None:
        """Gives a record its segments, and annotations for the countable ones, in place.

        A segment whose class is unknown or not chosen stays, to be ignored: its pixels are
        explained, but not what they show.
        """
        seen: set[int] = set()
        for entry in entries:
            try:
                number = _number(entry, seen)
            except Fault as fault:
                fault.report(problems, self.path, image=record["image_id"])
                continue
            seen.add(number)
            info = SegmentInfo(id=number, semantic_id=IGNORE_LABEL, iscrowd=0)
            record["segments_info"].append(info)
            try:
                self._complete(info, entry, record)
            except Fault as fault:
                fault.report(problems, self.path, annotation=number, image=record["image_id"])

    def report_left_out(self, problems: Problems) -> None:
        """Says once of each class that is not chosen how much is left out."""
        for name, count in self.left_out.items():
            problems.add(
                "class_left_out",
                self.path,
                f"{count} segments are of the class {name}",
                "only the classes that `things:` and `stuff:` choose",
                f"add {name} there if it is to be learnt; its pixels are ignored",
            )

    def _complete(self, info: SegmentInfo, entry: Mapping[str, Any], record: Record) -> None:
        """Gives a segment its class, and the record an annotation where it is countable."""
        semantic_id = self._semantic_id(entry)
        if semantic_id is None:
            return
        info["iscrowd"] = int(entry.get("iscrowd", 0) == 1)
        if self.categories.is_thing(semantic_id):
            size = (record["height"], record["width"])
            thing_id = semantic_id - len(self.categories.stuff)
            stated = {key: entry[key] for key in _STATED if key in entry}
            annotation, faults = read_annotation(stated, info["id"], thing_id, size, Counter())
            if annotation is None:
                raise faults[0]
            if "area" not in entry:
                del annotation["area"]  # it is not the box's
            png = {"size": list(size), "png": record["pan_seg_file_name"], "id": info["id"]}
            annotation["segmentation"] = png
            record["annotations"].append(annotation)
        info["semantic_id"] = semantic_id

    def _semantic_id(self, entry: Mapping[str, Any]) -> int | None:
        """The class of a segment; None, and counted, where it is not chosen."""
        category = entry.get("category_id")
        if type(category) is not int or category not in self.names:
            known = some_of([f"{number} ({name})" for number, name in self.names.items()], 10)
            raise Fault(
                *("class_unknown", f"its category_id is {short(category)}", f"one of {known}"),
                repair="add the class to `categories`, or mend the number",
            )
        name = self.names[category]
        if name not in self.categories.semantic:
            self.left_out[name] += 1
            return None
        return self.categories.semantic.index(name)


def _number(entry: Any, seen: set[int]) -> int:
    """The id of a segment."""
    number = entry.get("id") if isinstance(entry, dict) else None
    if type(number) is not int or not VOID < number <= MAX_SEGMENT_ID:
        raise Fault(
            "segments_mismatch",
            f"a segment has the id {short(number)}",
            f"a whole number of 1 to {MAX_SEGMENT_ID}: R + 256 G + 65536 B of its colour",
            "mend it, or take the segment out",
        )
    if number in seen:
        raise Fault(
            "annotation_id_duplicate",
            f"two segments have the id {number}",
            "an id for every segment of an image",
            "give one of the two another colour in the PNG, and its id",
        )
    return number
