"""One split of a data set, read: its classes and its records."""

from dataclasses import dataclass
from pathlib import Path

from project.data.categories import Categories
from project.data.formats import FORMATS
from project.data.label_maps import LabelEncoding
from project.data.problems import Problems
from project.data.records import Record
from project.data.roots import check_links
from project.data.spec import DatasetSpec
from project.errors import DatasetError, nearest


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of a split besides its images.

    Attributes:
        name: as registered, such as fruits_val.
        spec: its specification.
        split: its split.
        categories: its classes; names and order are those of all splits, `thing_dataset_ids` are
            what this split's own annotation file calls them, so predictions made for this split
            carry them too.
        encoding: of its label maps; None where it has none.
    """

    name: str
    spec: DatasetSpec
    split: str
    categories: Categories
    encoding: LabelEncoding | None

    def truth_file(self, record: Record) -> Path:
        """The annotation file, or the label map of one image: what states the image's size."""
        return FORMATS[self.spec.format].truth_file(self.spec, self.split, record)


def read_info(spec: DatasetSpec, split: str) -> DatasetInfo:
    """The classes of a split.

    Raises:
        DatasetError: they cannot be read, or a link leads out of the data set.
    """
    check_links(spec)
    expected = FORMATS[spec.format]
    categories = expected.read_categories(spec, split)
    encoding = expected.read_encoding(spec, split, categories)
    return DatasetInfo(f"{spec.name}_{split}", spec, split, categories, encoding)


def read_records(info: DatasetInfo, problems: Problems) -> list[Record]:
    """The images of a split.

    Args:
        info: of the split.
        problems: takes what is wrong; where it is not strict, wrong entries are left out.

    Raises:
        DatasetError: a file that cannot be read at all; in strict mode, the first error.
    """
    with problems.in_split(info.split):
        records = FORMATS[info.spec.format].read_records(
            info.spec, info.split, info.categories, problems
        )
    for record in records:
        record["dataset"] = info.name
    return records


def check_format(spec: DatasetSpec) -> None:
    """Checks the keys of a specification that depend on its format.

    Raises:
        DatasetError: an unknown format, a key that it does not know, or a missing one.
    """
    if spec.format not in FORMATS:
        raise DatasetError(
            f"{spec.where}: unknown format '{spec.format}'.{nearest(spec.format, FORMATS)}"
        )
    expected = FORMATS[spec.format]
    for key in ("things", "stuff", "classes", "ignore", "instances"):
        if getattr(spec, key) and key not in expected.fields:
            raise DatasetError(f"{spec.where}: the format {spec.format} has no use for `{key}:`")
    known = (*expected.required, *expected.optional)
    for split, paths in spec.splits.items():
        for key in paths:
            if key not in known:
                raise DatasetError(
                    f"{spec.where}: splits.{split}: there is no key '{key}'.{nearest(key, known)}"
                )
        for key in expected.required:
            spec.resolve(split, key)
