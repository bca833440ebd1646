"""What the documents show works as it stands there."""

import re
from pathlib import Path

import pytest
import yaml

from project.data.formats import FORMATS
from project.data.label_maps import label_encoding
from project.data.spec import DatasetSpec, parse_spec
from tool_runner import REPOSITORY, run_process

DOCUMENTS = ("README.md", "datasets/README.md")
# A tiny model with the README's head learns for a step and predicts.
TRIAL = """
import sys
from pathlib import Path

import torch
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage

from model_cases import CASES, NUM_STUFF, NUM_THINGS, make_input, tiny_config

exec(compile(Path(sys.argv[1]).read_text(), sys.argv[1], "exec"))
torch.manual_seed(0)
for case in ("joint", "semantics"):
    model = build_model(tiny_config(*CASES[case], "MODEL.SEM_SEG_HEAD.NAME", "LinearHead"))
    assert type(model.sem_seg_head).__name__ == "LinearHead"
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with EventStorage():
        losses = model.train()([make_input(61, 75), make_input(56, 64, objects=0)])
    assert any(name.startswith("loss_sem_seg") for name in losses), losses
    before = next(model.sem_seg_head.parameters()).clone()
    sum(losses.values()).backward()
    optimizer.step()
    assert not torch.equal(before, next(model.sem_seg_head.parameters()))
    with torch.no_grad():
        (output,) = model.eval()([make_input(61, 75)])
    assert output["sem_seg"].shape == (NUM_STUFF + NUM_THINGS, 61, 75)
print("trained")
"""


def blocks(document: str, language: str) -> list[str]:
    """The fenced blocks of a document, without the indentation of lists."""
    text = (REPOSITORY / document).read_text(encoding="utf-8")
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", body, flags=re.MULTILINE) for indent, body in found]


def check(spec: DatasetSpec) -> None:
    """Checks what of a specification can be checked without its files."""
    assert spec.format in FORMATS
    if spec.format == "label_map":
        (split, *_) = spec.splits
        label_encoding(spec, FORMATS[spec.format].read_categories(spec, split))


def specifications(*documents: str) -> list[str]:
    return [b for document in documents for b in blocks(document, "yaml") if "format:" in b]


def test_every_format_is_shown():
    shown, all_shown = (
        [yaml.safe_load(text)["format"] for text in specifications(document)]
        for document in DOCUMENTS
    )
    assert shown == ["coco", "label_map"]
    assert sorted(all_shown) == sorted(FORMATS)


@pytest.mark.parametrize(
    "text", specifications(*DOCUMENTS), ids=lambda text: yaml.safe_load(text)["format"]
)
def test_data_sets_can_be_described_as_shown(text):
    check(parse_spec(yaml.safe_load(text)))


def test_every_way_to_write_classes_can_be_read():
    """In comments too; each stands for itself."""
    lines = [line for d in DOCUMENTS for b in blocks(d, "yaml") for line in b.splitlines()]
    ways = [line.lstrip("# ") for line in lines if line.lstrip("# ").startswith("classes:")]
    assert len(ways) >= 7
    assert len([way for way in ways if re.search("#[0-9A-F]{6}", way)]) == 2
    paths = {"splits": {"train": {"images": "images", "labels": "labels"}}}
    for way in ways:
        check(parse_spec({"name": "a", "format": "label_map", **paths, **yaml.safe_load(way)}))


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", *DOCUMENTS[1:]])
def test_files_that_are_named_exist(document):
    text = (REPOSITORY / document).read_text(encoding="utf-8")
    pattern = r"(?<![\w/.])(?:configs|tools|datasets|docs|project|tests)/[\w./*-]*[\w*]"
    named = {name for name in re.findall(pattern, text) if not name.startswith("datasets/double")}
    assert len(named) > 3 or document.startswith("datasets")
    assert sorted(name for name in named if not any(REPOSITORY.glob(name))) == []


def test_parts_that_contributing_lists_are_those_there_are():
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    folders = {path.parent.name for path in REPOSITORY.glob("project/*/*.py")}
    assert set(re.findall(r"^\| `project/(\w+)`", text, re.MULTILINE)) == folders
    chain = re.search(r"\*\*Imports run one way\*\*: (.*?) <- tools", text, re.DOTALL)
    modules = {path.stem for path in REPOSITORY.glob("project/[!_]*.py")}
    assert set(re.findall(r"\w+", chain.group(1))) == folders | modules


def test_the_head_of_the_readme_trains(tmp_path: Path):
    """In a process of its own: registries forget nothing."""
    (code,) = blocks("README.md", "python")
    (tmp_path / "head.py").write_text(code, encoding="utf-8")
    (tmp_path / "trial.py").write_text(TRIAL, encoding="utf-8")
    done = run_process(
        tmp_path / "trial.py",
        tmp_path / "head.py",
        PYTHONPATH=f"{REPOSITORY}:{REPOSITORY / 'tests'}",
        OMP_NUM_THREADS="1",
    )
    assert done.stdout.endswith("trained\n"), done.stderr[-2000:]
