"""What is wrong with one entry of a file, said by code that does not know whose entry it is."""

import reprlib
from pathlib import Path
from typing import Any

from project.data.problems import Id, Problems
from project.data.records import Record
from project.errors import DatasetError

_repr = reprlib.Repr()
_repr.maxlist = _repr.maxdict = 8
_repr.maxstring = _repr.maxother = _repr.maxlong = 60


class Fault(DatasetError):
    """A finding without its place: a `Problem` as soon as file and annotation are known.

    Attributes:
        rule: one of `project.data.rules.RULES`.
        found: what is there, a statement.
        expected: what should be there.
        repair: what to do.
    """

    def __init__(self, rule: str, found: str, expected: str, repair: str) -> None:
        """See the attributes."""
        super().__init__(f"{found}; expected {expected}; {repair}")
        self.rule, self.found, self.expected, self.repair = rule, found, expected, repair

    def report(
        self,
        problems: Problems,
        file: str | Path,
        *,
        annotation: Id | None = None,
        image: Id | None = None,
    ) -> None:
        """Says where it is.

        Raises:
            DatasetError: it is an error and `problems` is strict.
        """
        parts = (self.rule, file, self.found, self.expected, self.repair)
        problems.add(*parts, annotation=annotation, image=image)


def in_image(record: Record, file: str | Path = "") -> str:
    """Names the image that an entry of a file is about; "" where the file is that image's own."""
    image = Path(record["file_name"])
    return "" if Path(file).stem == image.stem else f" (image {image.name})"


def short(value: Any) -> str:
    """A value from a file as a message may show it: cut, however long or deeply nested it is."""
    return _repr.repr(value)
