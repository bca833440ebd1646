import argparse
import hashlib
import json
import re
from pathlib import Path

import pytest
import yaml

import factories
from conversions import objects, read
from project.data.writers import WRITERS
from project.errors import DatasetError
from tool_runner import load_tool, run_process

tool = load_tool("tools/convert_dataset.py")
main = tool.main


def hashes(folder: Path) -> dict[str, str]:
    """Every file below a folder and the hash of its content."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def convert(source: Path, out: Path, *words: str) -> Path:
    """Runs the tool; returns the one specification that it wrote."""
    assert main([str(source), "--out", str(out), *words]) == 0
    [spec] = [path for path in out.glob("*.yaml") if path.name != "data.yaml"]
    return spec


def test_all_writers_are_offered():
    assert tuple(WRITERS) == tool.FORMATS


def test_converts_and_says_what_is_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    source = factories.make_coco(tmp_path / "source", crowd=True, name="shapes")
    before = hashes(tmp_path / "source")
    spec = convert(
        source, tmp_path / "out", "--to", "yolo", "--json", str(tmp_path / "losses.json")
    )
    assert hashes(tmp_path / "source") == before
    assert spec.name == "shapes_yolo.yaml"
    assert objects(read(spec), crowds=False) == objects(read(source), crowds=False)
    printed = capsys.readouterr().out
    solid = objects(read(source), crowds=False)
    squares, discs = (
        sum(
            n
            for (split, _), counted in solid.items()
            for (kind, _, _), n in counted.items()
            if split == "train" and kind == name
        )
        for name in ("square", "disc")
    )
    assert f"train: 6 images; square {squares}, disc {discs}, and 6 crowd regions" in printed
    assert "lost in 12 images, since yolo holds no crowds:" in printed
    assert printed.count("1 crowd region left out") == 3
    assert "and 9 more" in printed
    assert str(spec) in printed
    written = json.loads((tmp_path / "losses.json").read_text())
    assert written["counts"] == {"lost_in_conversion": 12}
    assert len(written["problems"]) == 12
    assert written["problems"][0]["split"] == "train"
    assert Path(written["problems"][0]["file"]).name == "000.png"
    assert written["splits"]["train"]["images"] == 6


def test_split_is_made_again_and_keeps_groups(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    source = factories.make_coco(tmp_path / "source", num_images=8, labels=True)
    words = ["--split", "0.5/0.25/0.25", "--seed", "4", "--group-by", r"00(\d)", "--name", "new"]
    spec = convert(source, tmp_path / "a", *words)
    assert yaml.safe_load(spec.read_text())["format"] == "coco"
    other = convert(source, tmp_path / "b", *words)
    assert other.read_text() == spec.read_text()
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")
    dataset = read(spec)
    assert {split: len(records) for split, (_, records) in dataset.items()} == {
        "train": 8,
        "val": 4,
        "test": 4,
    }
    # Both old splits have an image of each of these names.
    digits = {
        split: {Path(r["file_name"]).stem[-3:] for r in records}
        for split, (_, records) in dataset.items()
    }
    assert [len(names) for names in digits.values()] == [4, 2, 2]
    assert len(set.union(*digits.values())) == 8
    names = {Path(r["file_name"]).name for _, records in dataset.values() for r in records}
    assert {"train-000.png", "val-000.png", "val-007.png"} < names
    printed = capsys.readouterr().out
    assert "renamed: 16 images" in printed and "lost" not in printed
    assert "written as coco" in printed
    total = sum(c.total() for c in objects(read(source)).values())
    assert sum(len(r["annotations"]) for _, rs in dataset.values() for r in rs) == total


def test_label_maps_without_objects_stay_label_maps(tmp_path: Path):
    source = factories.make_label_map(tmp_path / "source", encoding="rgb")
    spec = convert(source, tmp_path / "out", "--split", "0.5/0.5", "--splits", "train")
    assert yaml.safe_load(spec.read_text())["format"] == "label_map"
    assert {split: len(records) for split, (_, records) in read(spec).items()} == {
        "train": 3,
        "val": 3,
    }


def test_user_errors(tmp_path: Path):
    source = factories.make_coco(tmp_path / "source")
    out = ["--out", str(tmp_path / "out")]
    with pytest.raises(DatasetError, match=r"no split 'trian'.*Did you mean train"):
        main([str(source), "--to", "voc", *out, "--splits", "trian"])
    with pytest.raises(DatasetError, match="finds nothing"):
        main([str(source), "--split", "0.5/0.5", "--group-by", "film", *out])
    content = json.loads((tmp_path / "source" / "val.json").read_text())
    content["annotations"][3]["category_id"] = 99
    (tmp_path / "source" / "val.json").write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=r"val\.json: annotation 4"):
        main([str(source), "--to", "voc", *out])
    assert not (tmp_path / "out").exists()


WRONG = {
    "give --to FORMAT": ["--out", "new"],
    "invalid choice": ["--to", "png", "--out", "new"],
    "required: --out": ["--to", "voc"],
    "--split: expected the shares": ["--split", "0.8/0.3", "--out", "new"],
    r"--group-by: '\(' is no regular": ["--split", "80/20", "--group-by", "(", "--out", "new"],
    "--out: .* holds something": ["--to", "voc", "--out", "."],
}


@pytest.mark.parametrize(("said", "words"), WRONG.items())
def test_wrong_words_end_with_2(
    tmp_path: Path, said: str, words: list[str], capsys: pytest.CaptureFixture[str]
):
    spec = tmp_path / "spec.yaml"
    spec.write_text("{}")
    words = [str(tmp_path / word) if word in ("new", ".") else word for word in words]
    with pytest.raises(SystemExit) as ended:
        main([str(spec), *words])
    assert ended.value.code == 2
    assert re.search(f"error: .*{said}", capsys.readouterr().err)


def test_parse_shares():
    parse = tool.parse_shares
    assert parse("0.8/0.1/0.1") == {"train": 0.8, "val": 0.1, "test": 0.1}
    assert parse("80/20") == {"train": 0.8, "val": 0.2}
    wrong = ("1", "0.8/0.1", "0.5/0.5/0", "a/b", "nan/0.5", "1/1", "0.4/0.3/0.2/0.1", "1.5/-0.5")
    for text in wrong:
        with pytest.raises(argparse.ArgumentTypeError, match=r"0\.8/0\.1/0\.1"):
            parse(text)


def test_help_is_quick_and_a_mistyped_path_too(tmp_path: Path):
    told = run_process("tools/convert_dataset.py", "--help", timeout=10)
    assert told.returncode == 0
    assert "--group-by REGEX" in told.stdout and "coco if left out" in told.stdout
    missing = run_process(
        "tools/convert_dataset.py", "no.yaml", "--to", "voc", "--out", tmp_path, timeout=10
    )
    assert missing.returncode == 2
    assert "SPEC: there is no file no.yaml" in missing.stderr
    assert "Traceback" not in missing.stderr
