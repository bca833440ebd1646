"""What all label maps of a data set hold, and the `classes:` block that would explain it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from project.data.categories import IGNORE_LABEL
from project.data.checks.looks import Look
from project.data.dataset import DatasetInfo
from project.data.label_maps import LabelEncoding
from project.data.label_values import share_text, value_text
from project.data.problems import Problems

_MOST_VALUES = 40  # more are no legend: a photograph, or a lossy file


def check_legend(infos: Sequence[DatasetInfo], looks: Iterable[Look], problems: Problems) -> None:
    """Reports the values that no class explains with their shares over all label maps.

    The file to mend is then the specification; the single label maps are findings of their own.

    Args:
        infos: of all splits, which have one legend.
        looks: of all splits.
        problems: takes the finding, which is of no split.
    """
    info = next((info for info in infos if info.encoding is not None), None)
    if info is None or info.encoding is None:
        return
    encoding = info.encoding
    counts: Counter[int] = Counter()
    files = 0
    bad = []
    for seen in looks:
        if seen.label_values is not None:
            counts.update(seen.label_values)
            files += 1
            if not seen.label_values.keys() <= encoding.meaning.keys():
                bad.append(seen.record["sem_seg_file_name"])
    if not bad:
        return
    unused = [
        value
        for value, meaning in encoding.meaning.items()
        if not counts[value] and not (encoding.assumed_ignore and meaning == IGNORE_LABEL)
    ]
    found = (
        f"over all {files} label maps, of which {len(bad)} hold values without a meaning, the first"
        f" {bad[0]}, there are {_shares(counts, encoding)}"
    )
    if unused:
        found += f"; listed and nowhere found: {_listed(unused, encoding)}"
    problems.add(
        "label_unexplained",
        info.spec.where,
        found,
        "a class, or `ignore:`, for every value that occurs",
        "give the nameless their names, or list them under `ignore:`:\n"
        + classes_block(counts, encoding),
    )


def classes_block(counts: Mapping[int, int], encoding: LabelEncoding) -> str:
    """The `classes:` and `ignore:` of a specification for the values that occur.

    Those without a meaning get names to be replaced; classes that no file shows are left out.
    """
    total = sum(counts.values())
    ordered = sorted(counts, key=lambda value: -counts[value])[:_MOST_VALUES]
    lines = ["classes:"]
    for value in ordered:
        if encoding.meaning.get(value) != IGNORE_LABEL:
            name = _name(value, encoding)
            lines.append(
                f"  {name}: {_yaml(value, encoding)}  # {share_text(counts[value], total)}"
            )
    ignored = [v for v, meaning in encoding.meaning.items() if meaning == IGNORE_LABEL]
    if ignored and not encoding.assumed_ignore:
        lines.append(f"ignore: [{', '.join(_yaml(v, encoding) for v in ignored)}]")
    return "\n".join(lines)


def _name(value: int, encoding: LabelEncoding) -> str:
    if value in encoding.meaning:
        return repr(encoding.name(encoding.meaning[value]))
    return "name_of_" + value_text(value, colours=encoding.colours).lstrip("#").replace("-", "_")


def _yaml(value: int, encoding: LabelEncoding) -> str:
    text = value_text(value, colours=encoding.colours)
    return f"'{text}'" if encoding.colours else text


def _shares(counts: Mapping[int, int], encoding: LabelEncoding) -> str:
    """Every value with its share, and what it means."""
    total = sum(counts.values())
    ordered = sorted(counts, key=lambda value: -counts[value])
    texts = [
        f"{value_text(v, colours=encoding.colours)} ({share_text(counts[v], total)},"
        f" {encoding.name(encoding.meaning[v]) if v in encoding.meaning else 'unexplained'})"
        for v in ordered[:_MOST_VALUES]
    ]
    rest = len(ordered) - len(texts)
    return ", ".join(texts) + (f" and {rest} more" if rest else "")


def _listed(values: Iterable[int], encoding: LabelEncoding) -> str:
    return ", ".join(
        f"{value_text(v, colours=encoding.colours)} ({encoding.name(encoding.meaning[v])})"
        for v in values
    )
