"""tools/score.py against numbers that others have published for the same files."""

import pytest
import yaml

from evaluation_cases import score
from tool_runner import load_tool

NAMES = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]


@pytest.mark.parametrize("backend", ["streamed", "faster-coco-eval", "pycocotools"])
@pytest.mark.parametrize("task", ["bbox", "segm"])
def test_100_images_of_coco(shared_data, tmp_path, task, backend):
    """The twelve numbers of cocoapi's val2014_fake_eval_res.txt, to 16 digits in EXPECTED.txt."""
    folder = shared_data / "eval_coco100"
    lines = [line.split() for line in (folder / "EXPECTED.txt").read_text().splitlines()]
    (expected,) = [list(map(float, words[1:])) for words in lines if words[:1] == [task]]
    assert len(expected) == 12 and all(0.2 < value < 0.7 for value in expected)
    truth = {"val": {"annotations": "instances_val2014_100.json"}}
    spec = tmp_path / "coco100.yaml"
    spec.write_text(
        yaml.safe_dump({"name": "coco100", "format": "coco", "root": str(folder), "splits": truth})
    )
    predictions = folder / f"instances_val2014_fake{task}100_results.json"
    dataset = score(spec, predictions, "--backend", backend)
    assert dataset["images"] == 100
    assert [dataset[task][name] / 100 for name in NAMES] == pytest.approx(expected, abs=1e-9)
    assert len(dataset[task]["per_class"]) == 80


def test_panoptic_quality_of_deeplab2(shared_data, tmp_path):
    """deeplab2's panoptic_quality_test.py (four decimals); panopticapi gives 0.6215628666."""
    convert = load_tool("tests/parity/panoptic_pq.py").convert
    source = shared_data / "panoptic_pq" / "evaluation" / "testdata"
    spec, predictions = convert(source, tmp_path / "team")
    scores = score(spec, predictions)["panoptic_seg"]
    assert scores["PQ"] / 100 == pytest.approx(0.62156284, abs=5e-5)
    assert scores["SQ"] / 100 == pytest.approx(0.64664984, abs=5e-5)
    assert scores["RQ"] / 100 == pytest.approx(0.9666667, abs=5e-5)
    assert scores["PQ"] / 100 == pytest.approx(0.6215628666, abs=1e-10)
    assert scores["SQ"] / 100 == pytest.approx(0.6466498693, abs=1e-10)
    # 7 found and 1 missed persons, 1 found bear.
    assert scores["per_class"]["person"]["RQ"] == pytest.approx(100 * 7 / 7.5)
    assert scores["per_class"]["bear"]["RQ"] == 100
