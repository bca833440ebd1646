"""Masks as crops, against pycocotools on whole masks and against dense arrays."""

import numpy as np
import pycocotools.mask as mask_util
import pytest
import torch

from project.data.mask_crops import MaskCrop, MaskCrops, SampledMasks
from project.report.canvas import sampled, scale_labels

SIZE = (23, 31)


def make_masks() -> np.ndarray:
    """(N, 23, 31): random ones, none, all, full columns, the first and the last pixel."""
    rng = np.random.default_rng(0)
    masks = np.zeros((9, *SIZE), dtype=bool)
    masks[0, 3:15, 4:20] = rng.random((12, 16)) < 0.5
    masks[1] = rng.random(SIZE) < 0.3
    masks[3] = True
    masks[4, :, 7:12] = True
    masks[5, 0, 0] = True
    masks[6, -1, -1] = True
    masks[7, 5:, 30] = True
    masks[8, :, 3], masks[8, :9, 4] = True, True  # a run from one column into the next
    return masks


def test_codes_are_those_of_the_whole_masks():
    masks = make_masks()
    expected = mask_util.encode(np.asfortranarray(masks.transpose(1, 2, 0), dtype=np.uint8))
    crops = MaskCrops.of(torch.from_numpy(masks))
    assert crops.counts() == [code["counts"] for code in expected]
    assert [crop.area for crop in crops.crops] == masks.sum(axis=(1, 2)).tolist()
    np.testing.assert_array_equal(crops.dense().numpy(), masks)


def test_a_crop_holds_its_window_alone():
    mask = np.zeros((3000, 4000), dtype=bool)
    mask[1000:1010, 20:25] = True
    crop = MaskCrop.of(mask, top=500, left=7000)
    assert (crop.top, crop.left, crop.height, crop.width) == (1500, 7020, 10, 5)
    assert len(crop.counts) < 10 and crop.pixels.all() and crop.area == 50


def test_it_is_a_field_of_instances():
    masks = make_masks()
    crops = MaskCrops.of(torch.from_numpy(masks))
    chosen = masks.any(axis=(1, 2))
    assert 0 < chosen.sum() < len(masks)
    for item, expected in (
        (torch.from_numpy(chosen), masks[chosen]),
        (torch.tensor([4, 0]), masks[[4, 0]]),
        (slice(2, 5), masks[2:5]),
        (3, masks[3:4]),
        (torch.zeros(9, dtype=torch.bool), masks[:0]),
    ):
        np.testing.assert_array_equal(crops[item].to("cpu").dense().numpy(), expected)


def test_shifted_masks_lie_in_the_larger_image():
    masks = make_masks()
    larger = np.zeros((9, 60, 70), dtype=bool)
    larger[:, 11:34, 5:36] = masks
    moved = MaskCrops.of(torch.from_numpy(masks)).shifted(11, 5, (60, 70))
    np.testing.assert_array_equal(
        moved.dense()[masks.any(axis=(1, 2))], larger[[0, 1, 3, 4, 5, 6, 7, 8]]
    )


@pytest.mark.parametrize("scale", [0.4, 1.0, 2.0])
def test_sampled_masks_are_the_scaled_ones(scale):
    masks = make_masks()
    small = SampledMasks(MaskCrops.of(torch.from_numpy(masks)), *sampled(SIZE, scale))
    expected = scale_labels(masks.transpose(1, 2, 0), scale).transpose(2, 0, 1)
    assert expected.any() and not expected.all()
    assert small.shape == expected.shape
    np.testing.assert_array_equal(np.asarray(small), expected)
