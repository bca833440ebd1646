"""The predictor against the model fed by the test loader."""

import numpy as np
import pytest
import torch
from PIL import Image

from project.data.images import read_image
from project.data.mapper import SegmentationMapper
from project.data.register import dataset_records
from project.engine.setup import prepare_config
from project.errors import ConfigError, WeightsError
from project.inference.predictor import Predictor
from project.modeling.testing import build_test_model
from tool_runner import TINY


def same(a: dict, b: dict) -> None:
    """Asserts that two outputs of a joint model are equal to the last bit."""
    assert a.keys() == b.keys() == {"instances", "sem_seg", "panoptic_seg"}
    assert torch.equal(a["sem_seg"], b["sem_seg"])
    assert torch.equal(a["panoptic_seg"][0], b["panoptic_seg"][0])
    assert a["panoptic_seg"][1] == b["panoptic_seg"][1]
    for name, value in a["instances"].get_fields().items():
        other = b["instances"].get(name)
        tensors = (getattr(v, "tensor", v) for v in (value, other))
        assert torch.equal(*tensors), name


@pytest.mark.parametrize("size", ["0", "96"])
def test_it_predicts_what_the_evaluation_sees(trained, size):
    cfg = prepare_config(TINY, trained.spec, ["INPUT.MIN_SIZE_TEST", size])
    predictor = Predictor(cfg, trained.weights)
    record = dataset_records(cfg.DATASETS.TEST[0])[0]
    item = SegmentationMapper(cfg, is_train=False)(record)
    assert item["image"].shape[-1] == (64 if size == "0" else 96)
    with torch.no_grad():
        expected = build_test_model(cfg, predictor.model).eval()([item])[0]
    assert len(expected["instances"]) > 0 and len(expected["panoptic_seg"][1]) > 0
    same(predictor(read_image(record["file_name"], "BGR")), expected)
    same(predictor(read_image(record["file_name"], "RGB"), "RGB"), expected)


def test_results_have_the_images_own_size_and_the_model_goes_on_training(trained):
    cfg = prepare_config(TINY, trained.spec, ["INPUT.MIN_SIZE_TEST", "40"])
    model = Predictor(cfg, trained.weights).model.train()
    image = torch.randint(0, 255, (50, 71, 3), dtype=torch.uint8).numpy()
    output = Predictor(cfg, model=model)(image)
    assert output["sem_seg"].shape == (3, 50, 71)
    assert output["instances"].image_size == (50, 71)
    assert output["panoptic_seg"][0].shape == (50, 71)
    assert model.training
    assert not output["sem_seg"].requires_grad


def test_photographs_of_a_data_set_are_read_as_the_loader_reads_them(trained, tmp_path):
    """This one was annotated as it is stored, lying on its side."""
    cfg = prepare_config(TINY, trained.spec)
    stored = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[274] = 6
    path = tmp_path / "a.png"
    Image.fromarray(stored).save(path, exif=exif)
    template = dataset_records(cfg.DATASETS.TEST[0])[0]
    record = {**template, "file_name": str(path), "height": 20, "width": 30}
    predictor = Predictor(cfg, trained.weights)
    np.testing.assert_array_equal(predictor.read(path, record), stored)
    fed = SegmentationMapper(cfg, is_train=False)(record)["image"].numpy()
    np.testing.assert_array_equal(fed.transpose(1, 2, 0)[:, :, ::-1], stored)
    np.testing.assert_array_equal(predictor.read(path), np.rot90(stored, -1))


def test_mistakes(trained):
    cfg = prepare_config(TINY, trained.spec)
    with pytest.raises(WeightsError, match="no weights"):
        Predictor(cfg)
    predictor = Predictor(cfg, trained.weights)
    with pytest.raises(ConfigError, match="'RGBA'"):
        predictor(torch.zeros(8, 8, 3, dtype=torch.uint8).numpy(), "RGBA")
    with pytest.raises(ConfigError, match=r"\(8, 8, 1\); expected \(height, width, 3\)"):
        predictor(np.zeros((8, 8, 1), np.uint8))
