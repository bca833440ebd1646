"""Files of which anything may be anything are refused by name, or what is left of them is sound."""

import copy
import itertools
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import factories
from project.data.checks.objects import check_objects
from project.data.dataset import DatasetInfo, read_info, read_records
from project.data.labels import decode_mask, panoptic_truth
from project.data.problems import Problems
from project.data.records import Record
from project.data.spec import read_spec
from project.errors import DatasetError

GONE = object()
NAN, INF = float("nan"), float("inf")
FILES = {
    "coco": "train.json",
    "coco_panoptic": "*train*.json",
    "labelme": "train/000.json",
    "cityscapes": "gtFine/train/*/*_polygons.json",
}
HARD = {"coco": {"segmentation": "mixed", "holes": True, "crowd": True}}
odd = st.sampled_from(
    [
        *(GONE, None, True, False, 0, -1, 1, 10, 64, 2**31, 2**63, 10**30, 0.5, 1e9, 1e308),
        *(NAN, INF, -INF, "", "3", "../../etc/passwd", "\0", "\ud800", "\u20ac", [], {}, [[]]),
        *([NAN] * 6, [[1, 2, 3, 4, 5, NAN]], [1, 1, 4, 4], {"size": [64, 64], "counts": [4096]}),
        {"size": [64, 64], "counts": "o"},
        {"counts": []},
        {"size": [64, 64], "png": "/", "id": 0},
        *("mask", "circle", [[1, 1], [2, 2]], [[NAN, 0]], [[1e300, -1e300]] * 3, "cargroup"),
    ]
)
damages = st.lists(st.tuples(st.integers(0, 2**16), odd), min_size=1, max_size=4)
words = st.sampled_from(
    ["0", "1", "-1", "9", "0.5", "1e9", "1e999", "nan", "-inf", "x", "0,5", "1_0", "\0", "\u0665"]
)
lines = st.lists(st.lists(words, max_size=9).map(" ".join), max_size=4).map("\n".join)
times = itertools.count(1)
quickly = settings(
    deadline=None,
    max_examples=80,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A good data set of each format."""
    roots = {form: tmp_path_factory.mktemp(form) for form in (*FILES, "yolo")}
    return {
        form: factories.make(form, root, num_images=2, **HARD.get(form, {}))
        for form, root in roots.items()
    }


def places(node: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a JSON tree."""
    if not isinstance(node, (dict, list)):
        return []
    keys = list(node) if isinstance(node, dict) else range(len(node))
    return [(node, key) for key in keys] + [p for key in keys for p in places(node[key])]


def damaged(content: Any, changes: list[tuple[int, Any]]) -> Any:
    """A copy of a JSON tree with other values at some places."""
    content = copy.deepcopy(content)
    for position, value in changes:
        everywhere = places(content)
        if not everywhere:
            break
        container, key = everywhere[position % len(everywhere)]
        if value is GONE:
            del container[key]
        else:
            container[key] = copy.deepcopy(value)
    return content


def read(spec_path: Path) -> tuple[DatasetInfo, list[Record], Problems]:
    """The training split and what was found, everything left out that is wrong."""
    spec = read_spec(spec_path)
    info, problems = read_info(spec, "train"), Problems()
    records = read_records(info, problems)
    check_objects(info, records, problems, quick=False)
    return info, records, problems


def refused_or_sound(spec: Path, file: Path, content: str) -> None:
    """Puts `content` in the place of a file, reads the data set, and puts the file back."""
    whole = file.read_bytes()
    try:
        file.write_text(content, encoding="utf-8", errors="surrogatepass")
        # Files are parsed once, unless their time or size is another; a clock may be slow.
        os.utime(file, ns=(0, next(times)))
        info, records, problems = read(spec)
        assert_sound(info, records)
    except DatasetError:
        return
    finally:
        file.write_bytes(whole)
    assert all(problem.file and len(problem.text) < 2000 for problem in problems.found)


def assert_sound(info: DatasetInfo, records: list[Record]) -> None:
    """Holds that whatever comes later can trust every number."""
    for record in records:
        shape = (record["height"], record["width"])
        for annotation in record["annotations"]:
            assert np.isfinite([*annotation["bbox"], annotation.get("area", 0)]).all()
            assert 0 <= annotation["category_id"] < len(info.categories.things)
            if "segmentation" in annotation:
                assert decode_mask(annotation["segmentation"], *shape).shape == shape
        if "sem_seg_file_name" not in record and "pan_seg_file_name" not in record:
            assert panoptic_truth(record, info)[0].shape == shape


@quickly
@given(damages)
@pytest.mark.parametrize("form", FILES)
def test_json_with_anything_in_it(specs, form, damages):
    file = next(specs[form].parent.glob(FILES[form]))
    content = damaged(json.loads(file.read_text()), damages)
    refused_or_sound(specs[form], file, json.dumps(content))


@quickly
@given(lines | st.text(max_size=20))
def test_lines_with_anything_in_them(specs, text):
    file = next((specs["yolo"].parent / "labels" / "train").glob("*.txt"))
    refused_or_sound(specs["yolo"], file, text)


@pytest.mark.parametrize("form", [*FILES, "yolo"])
def test_good_files_are_read_whole(specs, form):
    """Otherwise the properties above would hold for a reader that refuses everything."""
    _, records, problems = read(specs[form])
    assert not problems.found
    assert len(records) == 2 and all(len(r["annotations"]) > 1 for r in records)
