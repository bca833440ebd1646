"""Where readers and checks report what they find: all of it, or the first error as an exception."""

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from project.data.rules import RULES, Level
from project.errors import DatasetError

logger = logging.getLogger(__name__)

Id = int | str
_ORDER = {rule: index for index, rule in enumerate(RULES)}


@dataclass(frozen=True)
class Problem:
    """One finding.

    Attributes:
        rule: one of `RULES`.
        split: of the data set; None where it concerns all.
        file: the file to mend: annotation file, label map or image.
        annotation: id of the annotation; None where there is none.
        found: what is there.
        expected: what should be there.
        repair: what to do.
        image: id of the image, where one is concerned; for repairs, not for print.
    """

    rule: str
    split: str | None
    file: str
    annotation: Id | None
    found: str
    expected: str
    repair: str
    image: Id | None = None

    @property
    def level(self) -> Level:
        """How bad its kind is."""
        return RULES[self.rule].level

    @property
    def text(self) -> str:
        """One paragraph."""
        which = "" if self.annotation is None else f"annotation {self.annotation}: "
        return f"{self.file}: {which}{self.found}; expected {self.expected}; {self.repair}"

    def error(self) -> DatasetError:
        """The same as an exception, which carries it along."""
        error = DatasetError(self.text)
        error.problem = self
        return error


class Problems:
    """What was found so far."""

    def __init__(self, *, strict: bool = False) -> None:
        """Starts with nothing found.

        Args:
            strict: raise the first error instead of keeping it, as training and scoring want it;
                otherwise whoever reports goes on without the entry that is wrong.
        """
        self.found: list[Problem] = []
        self.strict = strict
        self._split: str | None = None

    @contextmanager
    def in_split(self, split: str | None) -> Iterator[None]:
        """Within, what is reported concerns this split."""
        before, self._split = self._split, split
        try:
            yield
        finally:
            self._split = before

    def add(
        self,
        rule: str,
        file: str | Path,
        found: str,
        expected: str,
        repair: str,
        *,
        annotation: Id | None = None,
        image: Id | None = None,
    ) -> None:
        """Reports one finding; the arguments are those of `Problem`.

        Raises:
            DatasetError: it is an error and the mode is strict.
        """
        self.keep(Problem(rule, self._split, str(file), annotation, found, expected, repair, image))

    def keep(self, problem: Problem) -> None:
        """Reports a finding that exists already.

        Raises:
            DatasetError: it is an error and the mode is strict.
        """
        if self.strict and problem.level == "error":
            raise problem.error()
        self.found.append(problem)

    def keep_error(self, error: DatasetError, rule: str, file: str | Path) -> None:
        """Reports what an exception says; `rule` and `file` where it carries no finding.

        Raises:
            DatasetError: the same, if the mode is strict.
        """
        if self.strict:
            raise error
        known = error.problem
        if isinstance(known, Problem):
            self.found.append(known if known.split else _in_split(known, self._split))
        else:
            text = str(error).removeprefix(f"{file}: ")
            self.add(rule, file, text, "what the format asks for", "mend it")

    @property
    def errors(self) -> list[Problem]:
        """The findings that must be mended."""
        return [p for p in self.found if p.level == "error"]

    def counts(self) -> dict[str, int]:
        """Rule -> findings, the most harmful rule first."""
        counts = Counter(p.rule for p in self.found)
        return {rule: counts[rule] for rule in sorted(counts, key=_ORDER.__getitem__)}

    def by_rule(self) -> dict[str, list[Problem]]:
        """Rule -> its findings, the most harmful rule first, and what concerns all splits."""
        found = sorted(self.found, key=lambda p: p.split is not None)
        return {rule: [p for p in found if p.rule == rule] for rule in self.counts()}

    def log_warnings(self, name: str) -> None:
        """One line a kind in the log."""
        for rule, found in self.by_rule().items():
            logger.warning(
                "%s: %s (findings: %d), the first: %s",
                name,
                RULES[rule].title,
                len(found),
                found[0].text,
            )


def _in_split(problem: Problem, split: str | None) -> Problem:
    return Problem(**{**problem.__dict__, "split": split})
