"""What is wrong with a command line is said before anything heavy is imported."""

import pytest

from project.errors import ConfigError, DatasetError, WeightsError
from project.usage import check_usage
from tool_runner import REPOSITORY, run_process

HEAVY = ("torch", "torchvision", "detectron2", "cv2", "numpy", "pycocotools")
CONFIG = "configs/unet/unet_digits.yaml"
SPEC = "datasets/double_digits.yaml"
MISTAKES = {
    "train_net.py --config-file configs/unet/unet_digit.yaml": "unet_digits.yaml",
    f"train_net.py --config-file {CONFIG} --dataset datasets/double_digit.yaml": SPEC[9:],
    f"train_net.py --config-file {CONFIG} SEED": "the key SEED has no value",
    f"train_net.py --config-file {CONFIG} SEED=1": "write KEY VALUE",
    "train_net.py --eval-only MODEL.WEIGHTS nowhere/model_best.pth": "no such weights file",
    "train_net.py": "--config-file: needed to train",
    "predict.py --weights no.pth --input README.md --output new": "no such weights file",
    "predict.py --weights no.pth --input READ.md --output new": "Did you mean README.md",
    "score.py --dataset datasets/no.yaml --split val --predictions README.md": "no such file",
    f"score.py --dataset {SPEC} --split val --predictions READ.md": "Did you mean README.md",
    "visualize_data.py --config-file no.yaml": "no such file",
    "export_weights.py no.pth --out new": "no such weights file",
    f"label_with_sam.py --model docs --dataset {SPEC} --split val --out new --weights no.pth": (
        "no such weights file"
    ),
    "check_dataset.py no.yaml": "no such file",
    "convert_dataset.py no.yaml --to coco --out new": "there is no file",
    "compare.py README.md READ.md": "Did you mean README.md",
    "report.py docs": "cannot be read as results",
    "replay_batch.py no.pth": "FILE: no.pth does not exist",
    "benchmark.py roi_align": "invalid choice",
    "benchmark.py zoo --config-file no.yaml": "no such file",
    "benchmark.py cost --config-file no.yaml --weights no.pth": "no such file",
    f"benchmark.py precision --config-file {CONFIG} --opts SEED": "the key SEED has no value",
}


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_told_without_heavy_imports(words):
    name, *rest = words.split()
    code = (
        f"import runpy, sys; sys.modules.update(dict.fromkeys({HEAVY!r}));"
        f"sys.argv = {[f'tools/{name}', *rest]!r};"
        f"runpy.run_path('tools/{name}', run_name='__main__')"
    )
    done = run_process("-c", code)
    assert done.returncode in (1, 2) and "Traceback" not in done.stderr
    assert MISTAKES[words] in " ".join(done.stderr.split())
    assert not (REPOSITORY / "new").exists()


def test_what_is_right_passes(tmp_path):
    weights = tmp_path / "model_final.pth"
    weights.write_bytes(b"")
    check_usage(
        config_file=REPOSITORY / CONFIG,
        dataset=SPEC,  # found from our own folder too
        weights=str(weights),
        opts=["SEED", "1", "MODEL.WEIGHTS", "https://example.org/w.pth"],
        paths={"FILE": weights},
    )
    check_usage()


def test_errors_are_those_of_the_readers(tmp_path):
    base = tmp_path / "c.yaml"
    base.write_text("_BASE_: d.yaml\n")
    with pytest.raises(ConfigError, match=r"d\.yaml: no such file"):
        check_usage(config_file=base)
    spec = tmp_path / "s.yaml"
    spec.write_text("name: x\nformat: coco\nsplit: {}\n")
    with pytest.raises(DatasetError, match="splits"):
        check_usage(dataset=spec)
    with pytest.raises(WeightsError, match="no such weights file"):
        check_usage(opts=["MODEL.WEIGHTS", str(tmp_path / "w.pth")])
