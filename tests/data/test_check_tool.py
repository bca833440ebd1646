"""tools/check_dataset.py: what it prints, what it writes, and how it ends."""

import json

import pytest

import factories
from project.data.rules import RULES
from tool_runner import TINY, load_tool, run_process

tool = load_tool("tools/check_dataset.py")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def bad_spec(tmp_path):
    """Five empty images, a copied one, and an annotation of the wrong class."""
    spec = factories.make_coco(tmp_path, num_images=8)
    images = tmp_path / "images" / "train"
    for number in range(5):
        (images / f"00{number}.png").write_bytes(b"")
    (images / "007.png").write_bytes((images / "006.png").read_bytes())
    content = json.loads((tmp_path / "train.json").read_text())
    content["annotations"][-1]["category_id"] = 99
    (tmp_path / "train.json").write_text(json.dumps(content))
    return spec


def test_good_data(tmp_path, capsys):
    spec = factories.make_coco(tmp_path, name="good")
    assert tool.main([str(spec), "--config-file", str(TINY)]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == "good: 0 errors, 0 warnings: good to train on"
    assert "square" in out and "error:" not in out


def test_problems_are_printed_by_kind_and_written_in_full(bad_spec, tmp_path, capsys):
    out_file = tmp_path / "problems.json"
    assert tool.main([str(bad_spec), "--json", str(out_file)]) == 1
    out = capsys.readouterr().out
    assert "error: an image file that cannot be decoded [image_unreadable]: 5" in out
    assert out.count("000.png") == 1 and "003.png" not in out and "  and 2 more" in out
    assert "-> replace it, or take it out of the data" in out
    assert out.index("[class_unknown]") < out.index("[image_unreadable]")
    assert out.index("[image_unreadable]") < out.index("warning: ")
    assert out.splitlines()[-1].endswith("6 errors, 1 warning: mend the errors before training")
    content = json.loads(out_file.read_text())
    assert set(content) == {"problems", "counts"}
    assert content["counts"] == {"class_unknown": 1, "image_unreadable": 5, "image_copied": 1}
    assert [p["rule"] for p in content["problems"]].count("image_unreadable") == 5
    for problem in content["problems"]:
        assert list(problem) == [
            *("rule", "level", "split", "file", "annotation", "found", "expected", "repair")
        ]
        assert problem["level"] == RULES[problem["rule"]].level
        assert problem["split"] == "train"
    unknown = content["problems"][0]
    assert unknown["file"] == str(tmp_path / "train.json") and unknown["annotation"] > 1


def test_warnings_alone_are_no_failure(tmp_path, capsys):
    spec = factories.make_coco(tmp_path)
    images = tmp_path / "images" / "train"
    (images / "001.png").write_bytes((images / "000.png").read_bytes())
    assert tool.main([str(spec), "--quick"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert "0 errors, 1 warning" in last and "without --quick" in last


def test_as_a_command(tmp_path):
    words = ["tools/check_dataset.py"]
    assert run_process(*words).returncode == 2
    assert run_process(*words, "D.yaml", "--jsn", "x").returncode == 2
    (tmp_path / "broken.yaml").write_text("name: a\nformat: cocoo\nsplits: {train: {a: b}}\n")
    done = run_process(*words, tmp_path / "broken.yaml")
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert "Did you mean coco" in done.stderr


def test_what_has_not_changed_is_not_checked_again(tmp_path, capsys):
    spec = factories.make_coco(tmp_path / "data", labels=True)
    said = []
    for _ in range(2):
        assert tool.main([str(spec)]) == 0
        said.append(capsys.readouterr().out)
    first, again = said
    assert "as checked before" not in first
    assert again == f"as checked before; no file has changed since\n\n{first}"
    (tmp_path / "data" / "images" / "train" / "000.png").write_bytes(b"")
    for _ in range(2):
        assert tool.main([str(spec)]) == 1, "errors are looked for every time"
        assert "as checked before" not in capsys.readouterr().out


def test_a_corrected_copy_is_clean(bad_spec, tmp_path, capsys):
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert tool.main([str(bad_spec), "--fix", str(tmp_path / "fixed")]) == 1
    out = capsys.readouterr().out
    assert f"corrected copy: {tmp_path / 'fixed'}" in out
    (corrected,) = (tmp_path / "fixed").glob("*.yaml")
    assert tool.main([str(corrected)]) == 0
    assert {path: path.read_bytes() for path in before} == before
    with pytest.raises(SystemExit) as ended:
        tool.main([str(bad_spec), "--fix", "x", "--quick"])
    assert ended.value.code == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["goood.yaml"], "goood.yaml: no such file. Did you mean good.yaml?"),
        (["."], "a folder; name its YAML file; in it are good.yaml"),
        (["empty"], "a folder; name its YAML file"),
        (["good.yaml", "--config-file", "c.yaml"], "--config-file: c.yaml: no such file"),
        (["good.yaml", "--json", "missing/x.json"], "the folder missing does not exist"),
        (["good.yaml", "--json", "empty"], "--json: empty is a folder"),
        (["good.yaml", "--fix", "full"], "--fix: full is not empty"),
        (["good.yaml", "--fix", "good.yaml"], "--fix: good.yaml is a file"),
    ],
)
def test_wrong_paths_end_it_before_anything_is_checked(tmp_path, monkeypatch, capsys, words, said):
    factories.make_coco(tmp_path, name="good").rename(tmp_path / "good.yaml")
    for folder in ("empty", "full"):
        (tmp_path / folder).mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        tool.main(words)
    captured = capsys.readouterr()
    assert ended.value.code == 2 and captured.out == "" and said in captured.err


def test_json_that_cannot_be_written(tmp_path, monkeypatch, capsys):
    spec = factories.make_coco(tmp_path)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(SystemExit) as ended:
        tool.main([str(spec), "--json", str(tmp_path / "x.json")])
    assert ended.value.code == 2 and "x.json cannot be written" in capsys.readouterr().err
