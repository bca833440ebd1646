"""Data sets read, converted and compared: what tests of writers share."""

from collections import Counter
from pathlib import Path
from typing import Any

from project.data.dataset import DatasetInfo, check_format, read_info, read_records
from project.data.files import relative_name
from project.data.labels import decode_mask, read_semantic
from project.data.problems import Problems
from project.data.records import Record
from project.data.spec import read_spec
from project.data.writers import WRITERS, Dataset


def read(spec_path: Path) -> Dataset:
    """All splits of a data set, of which nothing may be wrong."""
    spec = read_spec(spec_path)
    check_format(spec)
    infos = {split: read_info(spec, split) for split in spec.splits}
    return {s: (info, read_records(info, Problems(strict=True))) for s, info in infos.items()}


def convert(
    source: Path | Dataset, to: str, out: Path, images: Any = "copy"
) -> tuple[Dataset, Problems]:
    """A data set written in another format and read back; and what was lost."""
    problems = Problems(strict=True)
    dataset = read(source) if isinstance(source, Path) else source
    return read(WRITERS[to](dataset, out, "converted", images, problems)), problems


def stem(record: Record, info: DatasetInfo) -> str:
    """What an image is called whatever the format: its file's name without folders and suffix."""
    return Path(relative_name(record, info)).stem


def objects(dataset: Dataset, *, crowds: bool = True) -> dict[tuple[str, str], Counter[Any]]:
    """(split, image) -> how often each object is there: class, crowd or not, pixels or box."""
    found = {}
    for split, (info, records) in dataset.items():
        for record in records:
            size = record["height"], record["width"]
            found[split, stem(record, info)] = Counter(
                (
                    info.categories.things[a["category_id"]],
                    a["iscrowd"],
                    decode_mask(a["segmentation"], *size).tobytes()
                    if "segmentation" in a
                    else tuple(round(v, 6) for v in a["bbox"]),
                )
                for a in record.get("annotations", [])
                if crowds or not a["iscrowd"]
            )
    return found


def semantics(dataset: Dataset) -> dict[tuple[str, str], bytes]:
    """(split, image) -> its semantic truth, by the names of classes."""
    found = {}
    for split, (info, records) in dataset.items():
        names = sorted(info.categories.semantic)
        table = [names.index(name) for name in info.categories.semantic]
        table += [255] * (256 - len(table))
        for record in records:
            semantic = read_semantic(record, info)
            found[split, stem(record, info)] = bytes(table[i] for i in semantic.ravel())
    return found
