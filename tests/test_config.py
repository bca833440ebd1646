"""Config files: safe to read, and hard to get wrong without being told."""

import ast
import inspect
from pathlib import Path

import pytest
from detectron2.config import CfgNode, get_cfg
from detectron2.projects.point_rend import PointRendMaskHead

from project import config
from project.config import get_project_config, load_config
from project.errors import ConfigError
from project.safe_yaml import read_yaml


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def refused(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    return str(caught.value)


def test_values_come_from_base_then_file_then_command_line(tmp_path):
    write(tmp_path / "base.yaml", "SOLVER: {MAX_ITER: 7, BASE_LR: 0.5, STEPS: [3, 5]}\n")
    path = write(tmp_path / "c.yaml", "_BASE_: base.yaml\nSOLVER: {BASE_LR: 0.25}\n")
    cfg = load_config(path, ["SOLVER.STEPS", "(1, 2)"])
    assert (cfg.SOLVER.MAX_ITER, cfg.SOLVER.BASE_LR, cfg.SOLVER.STEPS) == (7, 0.25, (1, 2))


def test_several_bases_apply_in_their_order(tmp_path):
    write(tmp_path / "a.yaml", "SOLVER: {MAX_ITER: 1, BASE_LR: 0.1}\n")
    write(tmp_path / "b.yaml", "SOLVER: {MAX_ITER: 2}\n")
    cfg = load_config(write(tmp_path / "c.yaml", "_BASE_: [a.yaml, b.yaml]\n"))
    assert (cfg.SOLVER.MAX_ITER, cfg.SOLVER.BASE_LR) == (2, 0.1)


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.system ['touch {marker}']",
        '!!python/object/apply:builtins.exec [\'open("{marker}", "w")\']',
        "!!python/object/new:os.system ['touch {marker}']",
        "!!python/name:os.system",
        "!!python/module:os",
        "!!python/tuple [1, 2]",
    ],
)
@pytest.mark.parametrize("through_base", [False, True])
def test_no_tag_runs_code(tmp_path, tag, through_base):
    marker = tmp_path / "marker"
    path = write(tmp_path / "evil.yaml", f"OUTPUT_DIR: {tag.format(marker=marker)}\n")
    if through_base:
        path = write(tmp_path / "innocent.yaml", "_BASE_: evil.yaml\n")
    message = refused(path)
    assert "evil.yaml" in message and "not plain YAML" in message
    assert not marker.exists()


def test_the_hostile_file_would_run_code_in_stock_detectron2(tmp_path):
    marker = tmp_path / "marker"
    tag = f"!!python/object/apply:os.system ['touch {marker}']"
    path = write(tmp_path / "evil.yaml", f"OUTPUT_DIR: {tag}\n")
    with pytest.raises(ValueError, match="OUTPUT_DIR"):
        get_cfg().merge_from_file(str(path))
    assert marker.exists()


@pytest.mark.parametrize("base", ["http://example.org/a.yaml", "https://example.org/a.yaml", 3])
def test_base_is_a_local_file(tmp_path, base):
    assert "local file" in refused(write(tmp_path / "c.yaml", f"_BASE_: {base}\n"))


def test_circle_of_bases_is_named(tmp_path):
    write(tmp_path / "a.yaml", "_BASE_: b.yaml\n")
    path = write(tmp_path / "b.yaml", "_BASE_: a.yaml\n")
    assert "in a circle" in refused(path)


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        ("SOLVER: {MAX_ITR: 1}", "SOLVER.MAX_ITER"),
        ("MODEL: {MASK_UNETS: {SEMANTICS: True}}", "MODEL.MASK_UNET"),
        ("MAX_ITER: 3", "SOLVER.MAX_ITER"),
        ("Solver: {MAX_ITER: 3}", "SOLVER"),
    ],
)
def test_misspelt_key_names_the_nearest(tmp_path, text, suggestion):
    message = refused(write(tmp_path / "c.yaml", text))
    assert "there is no config key" in message
    assert suggestion in message.split("Did you mean")[1]


def test_misspelt_key_on_the_command_line_names_the_nearest():
    with pytest.raises(ConfigError, match=r"SOLVER\.BASE_RL.*Did you mean SOLVER\.BASE_LR"):
        load_config(None, ["SOLVER.BASE_RL", "1"])


@pytest.mark.parametrize("text", ["SEED: 1\nSEED: 2\n", "SOLVER: {MAX_ITER: 1, MAX_ITER: 2}\n"])
def test_key_that_stands_twice_is_an_error(tmp_path, text):
    message = refused(write(tmp_path / "c.yaml", text))
    assert "stands twice" in message and "c.yaml" in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SOLVER: {MAX_ITER: many}", "SOLVER.MAX_ITER"),
        ("SOLVER: 3", "a group of keys"),
        ("SEED: {A: 1}", "one value"),
        ("- 1\n- 2\n", "found a list"),
        ("a: [1", "not plain YAML"),
        ("[1, 2]: 3", "plain word"),
        ("SEED: !!timestamp x", "not plain YAML"),
        ("SEED: !!int x", "not plain YAML"),
    ],
)
def test_wrong_values_are_named(tmp_path, text, expected):
    assert expected in refused(write(tmp_path / "c.yaml", text))


def test_missing_file_names_the_nearest(tmp_path):
    write(tmp_path / "unet.yaml", "")
    assert "Did you mean unet.yaml" in refused(tmp_path / "unnet.yaml")


def test_binary_file_is_refused(tmp_path):
    (tmp_path / "c.yaml").write_bytes(b"\xff\xfe\x00\x80")
    assert "cannot be read as text" in refused(tmp_path / "c.yaml")


@pytest.mark.parametrize(
    "text", ["DATASETS: {TRAIN: fruits_train}", "DATASETS: {TRAIN: [fruits_train]}"]
)
def test_one_name_stands_for_a_list_of_one(tmp_path, text):
    cfg = load_config(write(tmp_path / "c.yaml", text), ["DATASETS.TEST", "fruits_val"])
    assert list(cfg.DATASETS.TRAIN) == ["fruits_train"]
    assert list(cfg.DATASETS.TEST) == ["fruits_val"]


def test_a_whole_number_stands_for_a_float(tmp_path):
    text = "SOLVER: {BASE_LR: 1, WEIGHT_DECAY: '0'}"
    cfg = load_config(write(tmp_path / "c.yaml", text), ["SOLVER.GAMMA", "2", "SOLVER.MOMENTUM", 0])
    found = [cfg.SOLVER[key] for key in ("BASE_LR", "WEIGHT_DECAY", "GAMMA", "MOMENTUM")]
    assert found == [1.0, 0.0, 2.0, 0.0] and {type(value) for value in found} == {float}
    assert "SOLVER.BASE_LR" in refused(write(tmp_path / "d.yaml", "SOLVER: {BASE_LR: True}"))
    assert "SOLVER.MAX_ITER" in refused(write(tmp_path / "e.yaml", "SOLVER: {MAX_ITER: 1.0}"))


def test_empty_file_changes_nothing(tmp_path):
    assert read_yaml(write(tmp_path / "c.yaml", "")) == {}


def _leaves(cfg: CfgNode, prefix: str = "") -> set[str]:
    leaves = set()
    for key, value in cfg.items():
        full = f"{prefix}.{key}" if prefix else key
        leaves |= _leaves(value, full) if isinstance(value, CfgNode) else {full}
    return leaves


def test_every_key_of_ours_has_a_reader():
    added = _leaves(get_project_config()) - _leaves(get_cfg())
    assert len(added) > 20
    package = Path(inspect.getfile(config)).parent
    point_rend = Path(inspect.getfile(PointRendMaskHead)).parent  # the head of ours is built on it
    files = [*package.rglob("*.py"), *point_rend.glob("*_head.py")]
    read = {
        node.attr
        for path in files
        if "keys" not in path.parts and path.name != "config.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
    }
    unread = sorted(key for key in added if key.rsplit(".", 1)[-1] not in read)
    assert not unread, f"keys without a reader: {unread}"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("SOLVER:\n\tMAX_ITER: 1\n", "; line 2: use spaces instead of the tab"),
        ("a: 1\nclasses: {a: #000000, b: #FF0000}\nb: 2\n", "; line 2: a colour needs quotes"),
        ("classes: {a: #000000}\n", "; line 1: a colour needs quotes"),
        ("classes:\n  a: [#000000, #111111]\n", "; line 2: a colour needs quotes"),
    ],
)
def test_what_yaml_trips_over_is_named(tmp_path, text, hint):
    path = write(tmp_path / "c.yaml", text)
    with pytest.raises(ConfigError) as caught:
        read_yaml(path)
    assert hint in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        read_yaml(write(path, "a: [1  # a comment, #5\n"))
    assert "a colour" not in str(caught.value), "not every error is about that"


@pytest.mark.parametrize("count", [5_000, 100_000])
@pytest.mark.parametrize("sign", ["-", "1+", "(", "["])
def test_values_of_thousands_of_signs_are_told(tmp_path, sign, count):
    """Python's reader of literals ends in errors of other kinds, or takes them for text."""
    text = sign * count + "1"
    path = tmp_path / "c.yaml"
    path.write_text(f"SOLVER: {{BASE_LR: '{text}'}}\n")
    with pytest.raises(ConfigError, match=r"c\.yaml: "):
        load_config(path)
    with pytest.raises(ConfigError, match=r"command line: SOLVER\.BASE_LR"):
        load_config(None, ["SOLVER.BASE_LR", text])


def test_values_of_another_type_are_told_in_words(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("SOLVER: {MAX_ITER: [1]}\n")
    told = r"SOLVER\.MAX_ITER: expected int as 40000, found {}"
    with pytest.raises(ConfigError, match=r"c\.yaml: " + told.format(r"list \[1\]")):
        load_config(path)
    with pytest.raises(ConfigError, match="command line: " + told.format("str abc")):
        load_config(None, ["SOLVER.MAX_ITER", "abc"])
