"""The pixels of a record, as trainer, scorer, pictures and checks all see them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from project.data.dataset import DatasetInfo
from project.data.images import check_size, read_image
from project.data.problems import Problem
from project.data.records import Annotation, Record
from project.errors import DatasetError, UserError


def read_pixels(
    record: Record,
    info: DatasetInfo,
    format: str = "RGB",
    *,
    channels: int = 3,
    bits: int = 8,
) -> np.ndarray:
    """Reads the image of a record, turned as its data set's `exif` says.

    Args:
        record: of the data set.
        info: of the data set.
        format: see `read_image`.
        channels: C; see `read_image`.
        bits: see `read_image`.

    Returns:
        (H, W, C), see `read_image`.

    Raises:
        DatasetError: see `read_image`; or the image has another size than its annotations state.
    """
    path, stated = record["file_name"], (record["height"], record["width"])
    pixels = read_image(
        path,
        format,
        exif=info.spec.exif,
        stated=stated,
        max_pixels=info.spec.max_pixels,
        channels=channels,
        bits=bits,
    )
    check_size(pixels.shape[:2], path, stated, info.truth_file(record))
    return pixels


@contextmanager
def errors_of_sample(record: Record) -> Iterator[None]:
    """What goes wrong within names the data set, the image's file and its id, and keeps its cause.

    Raises:
        UserError: of the kind that was raised; any other error as `DatasetError`.
    """
    try:
        yield
    except Exception as error:
        raise _named(error, record) from error


@contextmanager
def errors_of_annotation(annotation: Annotation) -> Iterator[None]:
    """What goes wrong within names the annotation.

    Raises:
        UserError: see `errors_of_sample`.
    """
    try:
        yield
    except Exception as error:
        number = annotation.get("id")
        where = f"annotation {number}"
        text = _text(error)
        named = _same_kind(error, text if where in text else f"{where}: {text}")
        raise _with_problem(named, error, annotation=number) from error


def _named(error: Exception, record: Record) -> UserError:
    text = _text(error)
    where = f"{record['dataset']}, image {record['image_id']}"
    if record["file_name"] not in text:
        where += f", {record['file_name']}"
    return _with_problem(_same_kind(error, f"{where}: {text}"), error, image=record["image_id"])


def _text(error: Exception) -> str:
    """What a user is told, in one paragraph."""
    text = " ".join(str(error).split())
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"


def _same_kind(error: Exception, text: str) -> UserError:
    other = isinstance(error, UserError) and not isinstance(error, DatasetError)
    return type(error)(text) if other else DatasetError(text)  # type: ignore[return-value]


def _with_problem(named: UserError, error: Exception, **where: int | str | None) -> UserError:
    problem = getattr(error, "problem", None)
    if isinstance(named, DatasetError) and isinstance(problem, Problem):
        known = {key: value for key, value in where.items() if getattr(problem, key) is None}
        named.problem = replace(problem, **known)  # type: ignore[arg-type]
    return named
