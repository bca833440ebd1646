"""A folder holds one run: no second at the same time, none lost by mistake, none without room."""

import json
import multiprocessing
import re
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
import torch

import factories
from project.engine import run_folder
from project.engine.config_changes import changes
from project.engine.optim import OPTIMIZERS
from project.engine.run_folder import check_free, check_space, check_weights_stay, clear, locked
from project.errors import ConfigError
from tool_runner import TINY, load_tool

CURVES = ("metrics.json", "events.out.tfevents.17.host")
Usage = namedtuple("Usage", "total used free")


def leave_run(folder: Path) -> None:
    names = ["model_0000001.pth", "model_0000001.pth.sha256", "model_best.pth", "last_checkpoint"]
    for name in [
        *names,
        "metrics.json",
        "results.json",
        "report.html",
        "config.yaml",
        "nonfinite_0000001.pth",
    ]:
        (folder / name).write_text(name)


def test_an_empty_folder_is_free(tmp_path):
    check_free(tmp_path / "none", resume=False, overwrite=False)
    check_free(tmp_path, resume=False, overwrite=False)


def test_what_a_run_that_saved_nothing_left_is_no_run(tmp_path):
    (tmp_path / "metrics.json").touch()
    check_free(tmp_path, resume=False, overwrite=False)


def test_a_run_is_not_overwritten_by_mistake(tmp_path):
    leave_run(tmp_path)
    with pytest.raises(ConfigError, match=r"holds a run already .*--resume.*--overwrite") as error:
        check_free(tmp_path, resume=False, overwrite=False)
    assert str(tmp_path) in str(error.value)
    check_free(tmp_path, resume=False, overwrite=True)
    check_free(tmp_path, resume=True, overwrite=False)


def test_only_what_can_be_resumed_is_said_to_be(tmp_path):
    (tmp_path / "model_best.pth").touch()
    with pytest.raises(ConfigError) as error:
        check_free(tmp_path, resume=False, overwrite=False)
    assert "--resume" not in str(error.value)


def test_resume_and_overwrite_exclude_each_other(tmp_path):
    with pytest.raises(ConfigError, match="leave one out"):
        check_free(tmp_path, resume=True, overwrite=True)


def test_resume_needs_a_run_and_names_the_nearest(tmp_path):
    (tmp_path / "run_small").mkdir()
    (tmp_path / "run_small" / "last_checkpoint").write_text("model_final.pth")
    check_free(tmp_path / "run_small", resume=True, overwrite=False)
    with pytest.raises(ConfigError, match=r"Did you mean .*run_small"):
        check_free(tmp_path / "run_smal", resume=True, overwrite=False)


def test_clearing_leaves_what_no_run_has_made(tmp_path):
    leave_run(tmp_path)
    mine = ["notes.txt", "my_model.pth", "log.txt", "results_of_mine.json"]
    mine += ["model_pretrained.pth", "nonfinite_mine.pth", "model_final.pth.bak"]
    for name in mine:
        (tmp_path / name).touch()
    (tmp_path / "config.yaml").touch()
    clear(tmp_path, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(mine)


def test_without_overwrite_curves_alone_are_cleared(tmp_path):
    for name in (*CURVES, "config.yaml", "report.html", "nonfinite_0000003.pth", "my.txt"):
        (tmp_path / name).touch()
    clear(tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"config.yaml", "report.html", "nonfinite_0000003.pth", "my.txt"}


def test_weights_to_start_from_are_not_overwritten(tmp_path):
    for name in ("model_final.pth", "pretrained.pth"):
        (tmp_path / name).touch()
    (tmp_path / "link.pth").symlink_to(tmp_path / "model_final.pth")
    with pytest.raises(ConfigError, match="move it, or give another OUTPUT_DIR"):
        check_weights_stay(str(tmp_path / "model_final.pth"), tmp_path)
    check_weights_stay(str(tmp_path / "pretrained.pth"), tmp_path)
    check_weights_stay(str(tmp_path / "model_final.pth"), tmp_path / "other")
    check_weights_stay("", tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        *(".lock", "log.txt", "log.txt.rank1", "config.yaml", "metrics.json", "results.json"),
        *("model_0000001.pth", "model_0000001.pth.partial", "model_best.pth.sha256"),
        *("last_checkpoint", "last_checkpoint.partial", "report.html", "nonfinite_0000001.pth"),
    ],
)
@pytest.mark.parametrize("is_there", [True, False])
def test_a_run_does_not_write_where_links_lead(tmp_path, name, is_there):
    run, elsewhere = tmp_path / "run", tmp_path / "precious.txt"
    run.mkdir()
    if is_there:
        elsewhere.write_text("precious")
    (run / name).symlink_to(elsewhere)
    told = pytest.raises(ConfigError, match=rf"{re.escape(name)} is a link to .*precious")
    with told, locked(run):
        pass
    assert elsewhere.exists() == is_there and (not is_there or elsewhere.read_text() == "precious")


def test_links_of_other_names_do_no_harm(tmp_path):
    (tmp_path / "data").symlink_to(tmp_path)
    with locked(tmp_path):
        pass


def try_to_lock(folder: Path, answers) -> None:
    try:
        with locked(folder):
            answers.put("")
    except ConfigError as error:
        answers.put(str(error))


def test_a_second_run_is_refused_while_the_first_goes_on(tmp_path):
    context = multiprocessing.get_context("fork")
    answers = context.Queue()

    def answer() -> str:
        process = context.Process(target=try_to_lock, args=(tmp_path / "run", answers))
        process.start()
        process.join(30)
        return answers.get(timeout=10)

    for _ in range(20):
        with locked(tmp_path / "run"):
            assert "is in use by another run (process " in answer()
        assert answer() == "", "free again after the first has ended"


def test_room_for_two_checkpoints(tmp_path, monkeypatch):
    model = torch.nn.Linear(1000, 1000)  # 4.004 MB; SGD's momentum as much again, and the average
    needed = 2 * 3 * 1001000 * 4
    for free, fits in ((needed, True), (needed - 1, False)):
        usage = Usage(0, 0, free)
        monkeypatch.setattr(shutil, "disk_usage", lambda _, usage=usage: usage)
        if fits:
            check_space(tmp_path, model, "SGD", averaged=True)
        else:
            with pytest.raises(ConfigError, match=r"24 MB free.*take 24 MB"):
                check_space(tmp_path, model, "SGD", averaged=True)


def test_every_optimizer_has_its_size():
    assert run_folder._COPIES.keys() == OPTIMIZERS.keys()


def test_the_tool_keeps_a_run_until_it_is_told(tmp_path, coco_spec):
    main = load_tool("tools/train_net.py").main
    argv = ["--config-file", str(TINY), "--dataset", str(coco_spec)]
    keys = ["OUTPUT_DIR", str(tmp_path), "SOLVER.MAX_ITER", "2", "TEST.BOOTSTRAP", "0"]
    assert main([*argv, *keys]) == 0
    first = (tmp_path / "model_final.pth").read_bytes()
    with pytest.raises(ConfigError, match="holds a run already"):
        main([*argv, *keys])
    changed = [*keys, "SOLVER.BASE_LR", "0.02", "MODEL.FPN.OUT_CHANNELS", "24"]
    listed = r"OUT_CHANNELS: 16 -> 24; SOLVER.BASE_LR: 0.01 -> 0.02\. .*--accept-changes"
    with pytest.raises(ConfigError, match=listed):
        main([*argv, "--resume", *changed])
    assert (tmp_path / "model_final.pth").read_bytes() == first
    weights = ["MODEL.WEIGHTS", str(tmp_path / "model_final.pth")]
    config = (tmp_path / "config.yaml").read_bytes()
    assert main([*argv, "--eval-only", *keys, *weights, "SOLVER.BASE_LR", "0.5"]) == 0
    assert (tmp_path / "config.yaml").read_bytes() == config
    longer = [*keys, "SOLVER.MAX_ITER", "3"]
    with pytest.raises(ConfigError, match=r"SOLVER\.MAX_ITER: 2 -> 3"):
        main([*argv, "--resume", *longer])
    assert main([*argv, "--resume", "--accept-changes", *longer]) == 0
    assert "changed since the run began: SOLVER.MAX_ITER: 2 -> 3" in (
        tmp_path / "log.txt"
    ).read_text(encoding="utf-8")
    assert main([*argv, "--overwrite", *keys]) == 0
    assert (tmp_path / "model_final.pth").read_bytes() == first, "the same seed, the same weights"


def test_what_changes_nothing_of_what_is_learnt_may_change(tmp_path, coco_spec):
    main = load_tool("tools/train_net.py").main
    argv = ["--config-file", str(TINY), "--dataset", str(coco_spec)]
    keys = ["OUTPUT_DIR", str(tmp_path), "SOLVER.MAX_ITER", "2", "TEST.BOOTSTRAP", "0"]
    assert main([*argv, *keys]) == 0
    free = ["DATALOADER.NUM_WORKERS", "1", "SOLVER.LOG_PERIOD", "2", "TEST.EVAL_PERIOD", "1"]
    free += ["MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.5", "SOLVER.EARLY_STOPPING.PATIENCE", "9"]
    assert main([*argv, "--resume", *keys, *free]) == 0


def test_changed_data_is_noticed(tmp_path):
    main = load_tool("tools/train_net.py").main
    spec = factories.make_coco(tmp_path / "data", num_images=4)
    argv = ["--config-file", str(TINY), "--dataset", str(spec)]
    keys = ["OUTPUT_DIR", str(tmp_path / "run"), "SOLVER.MAX_ITER", "2", "TEST.BOOTSTRAP", "0"]
    assert main([*argv, *keys]) == 0
    annotations = next(path for path in spec.parent.rglob("*train*.json"))
    content = json.loads(annotations.read_text(encoding="utf-8"))
    content["annotations"].pop()
    annotations.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"content of .*_train: 4 images -> 4 images"):
        main([*argv, "--resume", *keys])
    assert main([*argv, "--resume", "--accept-changes", *keys]) == 0


def test_keys_that_only_one_of_two_configs_has(tmp_path):
    old = {"MODEL": {"HUGGING_FACE": {"CONFIG": {"a": 1, "gone": [1]}}, "OF_AN_OLD_VERSION": 1}}
    new = {"MODEL": {"HUGGING_FACE": {"CONFIG": {"a": 1, "mask_weight": 0.1}}, "NEW": 2}}
    key = "MODEL.HUGGING_FACE.CONFIG"
    assert changes(old, new) == [
        f"{key}.gone: [1] -> not given",
        f"{key}.mask_weight: not given -> 0.1",
    ]
    assert changes(old, old) == []
