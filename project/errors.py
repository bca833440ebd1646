"""What a user can mend: every such error is one paragraph that says where, what and how."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any


class UserError(ValueError):
    """A mistake in what the user gave; tools print its text alone, without a traceback."""


class ConfigError(UserError):
    """A config file, a config key or a command line that cannot be used."""


class DatasetError(UserError):
    """A data set specification, an annotation file, an image or a label that cannot be used.

    Attributes:
        problem: a `project.data.problems.Problem` where a check knows what is wrong, else None.
    """

    problem: Any = None


class WeightsError(UserError):
    """A weights file that is missing, unsafe, damaged or made for another model."""


class PredictionsError(UserError):
    """A file of predictions that cannot be scored."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Says which known names look like `name`, as the end of an error message.

    Returns:
        " Did you mean a, b?", or " Known: a, b, c." where none is near, or "" where none is known.
    """
    known = [str(k) for k in known]
    by_lower = {k.lower(): k for k in known}
    close = [by_lower[m] for m in get_close_matches(name.lower(), by_lower, n=3, cutoff=0.6)]
    if close:
        return f" Did you mean {', '.join(close)}?"
    return f" Known: {', '.join(sorted(known)[:20])}." if known else ""
