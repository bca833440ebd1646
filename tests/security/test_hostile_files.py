"""No file runs code, leads elsewhere or fetches anything, in any tool; each is refused by name."""

import shutil
from pathlib import Path

import pytest
import torch

import factories
from hostile_files import CASES, READERS, Case, Place, Started
from project.errors import UserError
from project.network import set_downloads
from tool_runner import TINY, load_tool

WITH_CODE = [case for case in CASES if case.opens]


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    """A good data set, and the folder of a run with weights that fit."""
    from detectron2.modeling import build_model

    import project.modeling  # noqa: F401
    from project.config import load_config

    root = tmp_path_factory.mktemp("sound")
    factories.make_coco(root / "data", num_images=2, name="sound")
    (root / "run").mkdir()
    (root / "out").mkdir()
    counts = ["MODEL.ROI_HEADS.NUM_CLASSES", "2", "MODEL.SEM_SEG_HEAD.NUM_CLASSES", "3"]
    model = build_model(load_config(TINY, counts))
    torch.save({"model": model.state_dict()}, root / "run" / "model_final.pth")
    return root


@pytest.fixture
def place(sound, tmp_path, monkeypatch) -> Place:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    shutil.copytree(sound, tmp_path / "case")
    return Place(tmp_path / "case", tmp_path / "marker")


def run(started: Started) -> str:
    """What the tool says when it refuses."""
    set_downloads(False)
    main = load_tool(f"tools/{started.tool}.py").main
    try:
        status = main(started.words)
    except UserError as error:
        return str(error)
    except SystemExit as ended:
        return f"status {ended.code}"
    assert status == 1, "it was taken"
    return ""


def files_of(folder: Path) -> dict[str, bytes]:
    """What lies outside of the folders that a tool may write to."""
    return {
        str(path): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not {"out", "cache"} & {*path.parts}
    }


def test_there_are_enough():
    assert len({str(case) for case in CASES}) == len(CASES) > 100
    assert len(WITH_CODE) > 50


@pytest.mark.parametrize("case", WITH_CODE, ids=str)
def test_the_file_would_run_its_code(case: Case, place: Place):
    """Otherwise what follows proves nothing."""
    file = case.make(place).file
    assert file is not None and not place.marker.exists()
    try:
        case.opens(file)
    except Exception:
        assert place.marker.exists()
    assert place.marker.exists()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_is_refused(case: Case, place: Place, capfd, connections):
    started = case.make(place)
    before = files_of(place.root.parent)
    said = run(started)
    captured = capfd.readouterr()
    text = said + captured.out + captured.err
    assert not place.marker.exists()
    assert started.names in text, text[-2000:]
    assert not connections
    after = files_of(place.root.parent)
    written = {path for path in after if after[path] != before.get(path)}
    # A run that goes on has begun when it finds its checkpoint.
    assert {Path(path).name for path in written} <= {
        ".lock",
        "log.txt",
        "config.yaml",
        "metrics.json",
    }
    assert before.keys() <= after.keys()


@pytest.mark.parametrize("case", [case for case in WITH_CODE if case.opens in READERS], ids=str)
def test_the_environment_does_not_open_weights(case: Case, place: Place, monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    run(case.make(place))
    assert not place.marker.exists()
