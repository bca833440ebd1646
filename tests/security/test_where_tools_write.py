"""A whole run through the tools: no connection, and nothing written but where the user said."""

import json
from pathlib import Path

import factories
from corpus.case import edit_spec
from tool_runner import TINY, load_tool

MARKUP = "<script>alert(1)</script>"


def far_names(root: Path) -> Path:
    """A data set whose images lie where its names lead, far up, by `roots:`; a class is markup."""
    spec = factories.make_coco(root / "a" / "b" / "data", num_images=3)
    for split in factories.SPLITS:
        path = spec.parent / f"{split}.json"
        content = json.loads(path.read_text())
        content["categories"][0]["name"] = MARKUP
        for entry in content["images"]:
            image = spec.parent / "images" / split / entry["file_name"]
            entry["file_name"] = f"../../../../../far/{split}-{image.name}"
            target = root / "far" / f"{split}-{image.name}"
            target.parent.mkdir(exist_ok=True)
            image.rename(target)
        path.write_text(json.dumps(content))
    edit_spec(spec, roots=["../../../far"])
    return spec


def files_of(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_everything_stays_in_its_folder(tmp_path, monkeypatch, connections):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "out" / "cache"))
    spec = far_names(tmp_path)
    out, run = tmp_path / "out", tmp_path / "out" / "run"
    out.mkdir()
    before = files_of(tmp_path)
    linked = [str(spec), "--images", "link"]
    config = ["--config-file", str(TINY), "--dataset", str(spec)]
    weights = ["--weights", str(run / "model_final.pth")]
    predictions = out / "found" / "none.json"
    for tool, words in (
        ("check_dataset", [str(spec), "--json", str(out / "all.json")]),
        ("train_net", [*config, "OUTPUT_DIR", str(run)]),
        ("visualize_data", [*config, "--output", str(out / "fed")]),
        (
            "predict",
            [*config, *weights, "--input", str(tmp_path / "far"), "--output", str(out / "found")],
        ),
        ("report", [str(run)]),
        ("convert_dataset", [str(spec), "--to", "coco", "--out", str(out / "coco")]),
        ("convert_dataset", [*linked, "--to", "yolo", "--out", str(out / "yolo")]),
        ("check_dataset", [str(out / "yolo" / f"{spec.stem}_yolo.yaml"), "--quick"]),
        ("compare", [str(run), str(run), "--out", str(out / "c.html")]),
        ("benchmark", ["cost", "--config-file", str(run / "config.yaml"), *weights]),
    ):
        assert load_tool(f"tools/{tool}.py").main(words) == 0, tool
    predictions.write_text("[]")
    words = ["--dataset", str(spec), "--split", "val", "--predictions", str(predictions)]
    assert load_tool("tools/score.py").main(words) == 0
    assert not connections
    after = files_of(tmp_path)
    new = {path for path in after if after[path] != before.get(path)}
    assert len(new) > 40
    assert all(path.is_relative_to(out) for path in new)
    # A report is opened in a browser, where markup in a class's name would run.
    for page in (run / "report.html", out / "c.html"):
        assert "alert(1)" in page.read_text() and MARKUP not in page.read_text()
