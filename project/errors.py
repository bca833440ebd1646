"""What a user can mend: every such error is one paragraph that says where, what and how."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any


class UserError(ValueError):
    """A mistake in what the user gave; tools print its text alone, without a traceback."""

    def __init__(self, text: str) -> None:
        """Keeps the text alone of what PyTorch raises anew for a worker, with its traceback."""
        kind = type(self)
        super().__init__(text.rpartition(f"\n{kind.__module__}.{kind.__qualname__}: ")[2].rstrip())


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


class TrainingError(UserError):
    """A training whose numbers have become infinite or not a number."""


class StorageError(UserError):
    """A disk that has no room for what must be written."""


class RankError(UserError):
    """A rank that ended, or that stood still, while others waited for it."""


class PredictionsError(UserError):
    """A file of predictions that cannot be scored."""


class NetworkError(UserError, OSError):
    """A download that was not allowed or failed; libraries take it as being without internet."""


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


def nearest_of_each(names: Iterable[str], known: Iterable[str]) -> str:
    """Lists names that are not there, each with what looks like it; one alone as `nearest` does."""
    names, known = list(names), list(known)
    if len(names) == 1:
        return f"'{names[0]}'.{nearest(names[0], known)}"
    texts = []
    for name in names:
        hint = nearest(name, known)
        near = f" (d{hint[2:]})" if hint.startswith(" Did") else ""
        texts.append(f"'{name}'{near}")
    return ", ".join(texts)
