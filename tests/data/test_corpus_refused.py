"""What bad data meet: no training starts, the tool says so, and a corrected copy is sound."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

import factories
from corpus import BAD, Case
from corpus.case import edit_json
from corpus.images import FORMATS
from corpus.pixels import cut_off
from project.data.spec import read_spec
from project.engine.setup import prepare_config
from project.errors import DatasetError
from tool_runner import TINY, load_tool, run_process

# What makes scores look better than they are, and no training worse.
OF_SCORES = ("leak_exact", "leak_group", "class_untaught", "annotation_copied")


def one_of_each_rule(cases: list[Case]) -> list[Case]:
    """One case of each rule, the formats by turns."""
    by_rule: dict[str, list[Case]] = {}
    for case in cases:
        by_rule.setdefault(case.rule, []).append(case)
    return [of_rule[i % len(of_rule)] for i, of_rule in enumerate(by_rule.values())]


ERRORS = [case for case in BAD if case.level == "error"]
STOPPING = one_of_each_rule([case for case in ERRORS if case.rule not in OF_SCORES])
KEYS = {"rule", "level", "split", "file", "annotation", "found", "expected", "repair"}


def start(spec: Path, *words: str) -> None:
    """All that comes before a model is built."""
    fields = read_spec(spec)
    train = fields.splits["train"]
    # Such label maps do not tell objects apart.
    semantic = fields.format == "label_map" or (fields.format == "voc" and "objects" not in train)
    if semantic and not fields.things:
        words += ("MODEL.MASK_UNET.INSTANCES", "False")
    prepare_config(TINY, spec, words, purpose="train")


@pytest.mark.parametrize("case", STOPPING, ids=str)
def test_no_training_starts(case: Case, tmp_path: Path):
    place = case.make(tmp_path)
    with pytest.raises(DatasetError) as raised:
        start(place.spec, *case.config)
    assert raised.value.problem.rule in (case.rule, *case.also)
    assert place.file.name in str(raised.value)


@pytest.mark.parametrize("form", FORMATS)
def test_trainings_on_good_data_start(form: str, tmp_path: Path):
    start(factories.make(form, tmp_path))


def rename_second_image(content: dict[str, Any]) -> None:
    content["images"][1]["file_name"] = "caf\udce9.png"


def files_of(folder: Path) -> dict[str, tuple[str, int]]:
    """Path -> hash of the content and time of change."""
    return {
        str(path.relative_to(folder)): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mtime_ns,
        )
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_tool_lists_all_in_one_run_and_writes_a_sound_copy(tmp_path: Path):
    """Several damages at once, through real processes; the person's files stay as they are."""
    cases = {str(case): case for case in ERRORS}
    spec = cases["coco-polygon_nan"].make(tmp_path / "data").spec
    path = tmp_path / "data" / "train.json"
    content = json.loads(path.read_text())
    content["annotations"][1]["category_id"] = 99
    content["annotations"].append({**content["annotations"][2], "id": 500})
    path.write_text(json.dumps(content))
    image = tmp_path / "data" / "images" / "val" / "001.png"
    image.rename(image.with_name("caf\udce9.png"))  # a byte that is no UTF-8, as old disks have it
    cut_off(image.with_name("caf\udce9.png"))
    edit_json(tmp_path / "data" / "val.json", rename_second_image)
    before = files_of(tmp_path / "data")

    words = ["--json", tmp_path / "all.json", "--fix", tmp_path / "fixed"]
    done = run_process("tools/check_dataset.py", spec, *words, OMP_NUM_THREADS="1")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "caf\\udce9.png" in done.stdout
    assert files_of(tmp_path / "data") == before
    listed = json.loads((tmp_path / "all.json").read_text())
    assert list(listed) == ["problems", "counts"]
    assert all(set(problem) == KEYS for problem in listed["problems"])
    errors = {p["rule"] for p in listed["problems"] if p["level"] == "error"}
    assert errors == {"polygon_hostile", "class_unknown", "annotation_copied", "image_unreadable"}
    assert sum(listed["counts"].values()) == len(listed["problems"])
    assert all(rule in done.stdout for rule in errors) and "4 errors" in done.stdout

    (fixed,) = (tmp_path / "fixed").glob("*.yaml")
    assert load_tool("tools/check_dataset.py").main([str(fixed)]) == 0
    changes = json.loads((tmp_path / "fixed" / "changes.json").read_text())["changes"]
    assert {change["rule"] for change in changes} == errors


def test_the_tool_passes_what_is_only_odd(tmp_path: Path, capsys):
    case = next(case for case in BAD if str(case) == "coco-area_wrong")
    assert load_tool("tools/check_dataset.py").main([str(case.make(tmp_path).spec)]) == 0
    said = capsys.readouterr().out
    assert "area_not_mask" in said and "0 errors, 1 warning" in said


def test_the_tool_refuses_wrong_words(tmp_path: Path):
    done = run_process("tools/check_dataset.py", tmp_path / "a.yaml", "--jsn", "x")
    assert done.returncode == 2 and "--json" in done.stderr
