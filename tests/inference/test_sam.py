"""Segment Anything against the library's own way from image and prompts to masks."""

import json

import numpy as np
import pytest
import torch

from project.errors import WeightsError
from project.inference import sam as sam_module
from project.inference.sam import Sam, check_sam, clean_mask, load_sam
from sam_models import SAVE

IMAGE = np.random.default_rng(0).integers(0, 255, (50, 80, 3), dtype=np.uint8)
BOXES = np.array([[5, 5, 20, 20], [30, 10, 70, 45.5], [0, 0, 80, 50]])
POINTS = [np.array([[5, 5], [6.5, 9]]), np.array([[30, 20]]), np.array([[79, 49]])]


@pytest.fixture(scope="module", params=SAVE)
def model(request, tmp_path_factory) -> Sam:
    return load_sam(SAVE[request.param](tmp_path_factory.mktemp(request.param)))


def library_masks(model: Sam, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    inputs = model.processor(images=IMAGE, input_boxes=[boxes.tolist()], return_tensors="pt")
    sizes = {"original_sizes": inputs.pop("original_sizes")}
    if "reshaped_input_sizes" in inputs:
        sizes["reshaped_input_sizes"] = inputs.pop("reshaped_input_sizes")
    inputs["input_boxes"] = inputs["input_boxes"].float()
    with torch.no_grad():
        output = model.model(**inputs, multimask_output=False)
    (masks,) = model.processor.post_process_masks(output.pred_masks, **sizes)
    return masks[:, 0].numpy(), output.iou_scores[0, :, 0].numpy()


def test_boxes_give_what_the_library_gives(model):
    expected, expected_scores = library_masks(model, BOXES)
    assert 0.05 < expected.mean() < 0.95
    assert (expected[0] != expected[1]).any(), "an answer that no box changes proves nothing"
    masks, scores = model(IMAGE, boxes=BOXES)
    np.testing.assert_array_equal(masks, expected)
    np.testing.assert_allclose(scores, expected_scores, atol=1e-6)


@pytest.mark.parametrize("prompts", [{"boxes": BOXES}, {"points": POINTS}, {"boxes", "points"}])
def test_many_prompts_are_answered_in_parts_and_in_order(model, prompts, monkeypatch):
    if isinstance(prompts, set):
        prompts = {"boxes": BOXES, "points": POINTS}
    masks, scores = model(IMAGE, **prompts)
    assert masks.shape == (3, 50, 80) and masks.dtype == bool
    encoded = []
    encode = model.model.get_image_embeddings
    monkeypatch.setattr(
        model.model, "get_image_embeddings", lambda x: encoded.append(1) or encode(x)
    )
    monkeypatch.setattr(sam_module, "_MOST_PROMPTS", 2)
    turned = {key: value[::-1] for key, value in prompts.items()}
    parts, part_scores = model(IMAGE, **turned)
    assert encoded == [1], "once an image"
    np.testing.assert_array_equal(parts[::-1], masks)
    np.testing.assert_allclose(part_scores[::-1], scores, atol=1e-6)


def test_image_without_prompts(model):
    masks, scores = model(IMAGE, boxes=np.zeros((0, 4)))
    assert masks.shape == (0, 50, 80) and scores.shape == (0,)


def test_holes_and_islands():
    mask = np.zeros((12, 12), dtype=bool)
    mask[1:8, 1:8] = True
    mask[3, 3] = mask[5, 5:7] = False  # holes of 1 and 2 pixels
    mask[10, 10] = True  # an island
    mask[0, 0] = True  # touches the rest by a corner
    assert np.array_equal(clean_mask(mask), mask)
    filled = clean_mask(mask, hole_area=2)
    assert filled[3, 3] and not filled[5, 5] and not filled[9, 2]
    kept = clean_mask(mask, island_area=2)
    assert not kept[10, 10] and kept[0, 0] and kept.sum() == mask.sum() - 1
    assert np.array_equal(clean_mask(mask, island_area=1000), kept), "the largest part stays"
    assert not clean_mask(np.zeros((4, 4), dtype=bool), hole_area=99, island_area=9).any()
    assert clean_mask(np.ones((4, 4), dtype=bool), hole_area=99, island_area=9).all()


def test_wrong_folders_are_told_before_weights_are_read(tmp_path):
    with pytest.raises(WeightsError, match="no folder with config"):
        check_sam(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mask2former"}))
    with pytest.raises(WeightsError, match="'mask2former'; expected one of sam, sam2"):
        check_sam(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "sam"}))
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(WeightsError, match="may run code"):
        check_sam(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(WeightsError, match="how images are fed"):
        check_sam(tmp_path)
    (tmp_path / "processor_config.json").write_text("{}")
    assert check_sam(tmp_path) == "sam"
