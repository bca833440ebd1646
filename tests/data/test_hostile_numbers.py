"""Numbers that make compiled code spin, crash or take all memory are refused before that."""

import numpy as np
import pycocotools.mask as mask_util
import pytest

import mask_guards
from corpus import BAD
from project.data.masks import encode_mask
from tool_runner import REPOSITORY, run_process

HOSTILE = ("polygon_hostile", "rle_damaged", "rle_size", "box_invalid", "area_invalid")


def test_nothing_hostile_reaches_compiled_code(tmp_path):
    """In a process of its own, so that a crash or a spinning loop fails this test only."""
    cases = [case for case in BAD if case.rule in HOSTILE]
    assert len(cases) > 40
    specs = [case.make(tmp_path / str(case)).spec for case in cases]
    done = run_process(
        "tests/mask_guards.py", *specs, PYTHONPATH=str(REPOSITORY), OMP_NUM_THREADS="1"
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for case, line in zip(cases, done.stdout.splitlines(), strict=True):
        assert case.rule in line.split(), case


@pytest.fixture
def guards(monkeypatch):
    for name in mask_guards.FUNCTIONS:
        monkeypatch.setattr(mask_util, name, getattr(mask_util, name))
    mask_guards.install()


@pytest.mark.usefixtures("guards")
def test_the_guards_let_good_masks_pass():
    mask = np.zeros((20, 30), bool)
    mask[3:9, 4:25] = True
    mask[5, 9] = False
    rle = encode_mask(mask)
    assert mask_util.area(rle) == mask.sum()
    merged = mask_util.merge(
        mask_util.frPyObjects([[1, 1, 9, 1, 9, 9], [-5, 3, 9, 3, 9, 99]], 20, 30)
    )
    assert mask_util.iou([rle], [merged], [0]).shape == (1, 1)


@pytest.mark.usefixtures("guards")
@pytest.mark.parametrize(
    "objects",
    [[[float("nan"), 1, 9, 1, 9, 9]], [[1e9, 1, 9, 1, 9, 9]], {"size": [20, 30], "counts": [599]}],
)
def test_the_guards_stop_what_is_hostile(objects):
    with pytest.raises(AssertionError):
        mask_util.frPyObjects(objects, 20, 30)


@pytest.mark.usefixtures("guards")
@pytest.mark.parametrize("text", [b"", b"o" * 9, b"Pf1", b"\x01"])
def test_the_guards_stop_damaged_run_lengths(text):
    with pytest.raises(AssertionError):
        mask_util.decode({"size": [20, 30], "counts": text})
