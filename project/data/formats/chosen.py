"""Which classes a specification chooses, for formats whose pixels of no object have one class."""

from collections import Counter
from collections.abc import Iterable

from project.data.categories import Categories
from project.data.files import some_of
from project.data.problems import Problem, Problems
from project.data.spec import DatasetSpec

_DEFAULT_STUFF = ("background",)


def stuff_names(spec: DatasetSpec, things: Iterable[str]) -> tuple[str, ...]:
    """Names of the classes that are not countable.

    Raises:
        DatasetError: one of them is countable as well.
    """
    stuff = spec.stuff or _DEFAULT_STUFF
    for name in things:
        if name in stuff:
            raise Problem(
                *("class_clash", None, spec.where, None),
                found=f"'{name}' is both countable and stuff",
                expected="every class to be one of the two",
                repair="leave it out with `things: [...]`, or name the pixels of no object"
                " otherwise, such as `stuff: [rest]`",
            ).error()
    return stuff


def report_left_out(
    spec: DatasetSpec, left_out: Counter[str], categories: Categories, problems: Problems
) -> None:
    """Says how many objects of which classes were left out."""
    for name, count in left_out.most_common():
        problems.add(
            "class_left_out",
            spec.where,
            f"{count} objects are of the class {name}",
            f"only {some_of(list(categories.things))}",
            f"add {name} to `things:` if it is to be learnt",
        )
