"""BottomUpPanoptic and WatershedUNet beyond the contract: losses, sizes, scores, wrong keys."""

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model
from torch import Tensor

import project.modeling  # noqa: F401
from dense_scenes import same_objects, touching_discs
from model_cases import CASES, make_input, tiny_config
from project.errors import ConfigError, DatasetError
from project.modeling.bottom_up import CentreGrouping
from project.modeling.centres import centres_of_mass, heatmap_target, offset_targets
from project.modeling.watershed import border_target, depth_target
from project.modeling.watershed_unet import WatershedGrouping

NUMBERS = torch.from_numpy(touching_discs())


def centre_maps(numbers: Tensor) -> Tensor:
    centres = centres_of_mass(numbers)
    heat = heatmap_target(numbers, centres, 3.0)
    return torch.cat([heat[None], offset_targets(numbers, centres)])


def watershed_maps(numbers: Tensor) -> Tensor:
    each = numbers.numpy()
    shares = np.stack([depth_target(each), border_target(each, 1).astype(np.float32)])
    return torch.from_numpy(shares).logit(eps=1e-6)


GROUPINGS = {
    "bottom_up": (CentreGrouping(num_stuff=1, sigma=3.0), centre_maps),
    "watershed": (WatershedGrouping(num_stuff=1, border_width=1, smoothing=0.5), watershed_maps),
}


def probabilities(numbers: Tensor) -> Tensor:
    """(3, H, W) of one stuff class and two things: object 1 is the second, the others the first."""
    probs = torch.full((3, *numbers.shape), 0.05)
    probs[0][numbers == 0] = 0.9
    probs[1][numbers > 1] = 0.9
    probs[2][numbers == 1] = 0.9
    return probs


@pytest.mark.parametrize("name", GROUPINGS)
def test_right_maps_cost_little_and_give_the_objects_back(name):
    grouping, ideal = GROUPINGS[name]
    maps = ideal(NUMBERS)
    assert len(maps) == grouping.num_maps
    taught = torch.ones(1, *NUMBERS.shape, dtype=torch.bool)
    right = grouping.losses(maps[None], NUMBERS[None], taught)
    wrong = grouping.losses(maps[None].flip(3), NUMBERS[None], taught)
    assert right.keys() == wrong.keys() and len(right) == 2
    assert all(right[key] < wrong[key] / 2 for key in right)
    found, factors = grouping.group(probabilities(NUMBERS), maps, 1.0)
    assert len(factors) == 4 and (factors == 1).all()
    differ = (found > 0) != (NUMBERS > 0)
    assert not differ.any()
    if name == "bottom_up":
        assert same_objects(found.numpy(), NUMBERS.numpy())


@pytest.mark.parametrize("name", GROUPINGS)
def test_what_is_not_taught_costs_nothing(name):
    grouping, ideal = GROUPINGS[name]
    maps = ideal(NUMBERS)[None]
    taught = (NUMBERS > 0)[None]
    noisy = torch.where(taught[:, None], maps, torch.randn(maps.shape))
    right, same = (grouping.losses(m, NUMBERS[None], taught) for m in (maps, noisy))
    assert all(torch.equal(right[key], same[key]) for key in right)
    nothing = grouping.losses(maps, NUMBERS[None] * 0, taught & False)
    assert all(value == 0 for value in nothing.values())


@pytest.mark.parametrize("name", GROUPINGS)
def test_enlarged_maps_give_enlarged_objects(name):
    """As where results are wanted three times as large as what the network was fed."""
    grouping, ideal = GROUPINGS[name]
    apart = torch.where((NUMBERS == 1) | (NUMBERS == 3), NUMBERS, 0)
    large = torch.nn.functional.interpolate(ideal(apart)[None], scale_factor=3, mode="bilinear")[0]
    numbers = apart.repeat_interleave(3, 0).repeat_interleave(3, 1)
    found, factors = grouping.group(probabilities(numbers), large, 3.0)
    assert len(factors) == 2
    assert same_objects(found.numpy(), numbers.numpy())


@pytest.mark.parametrize("name", ["joint_bottom_up", "joint_watershed"])
def test_scores_of_a_model(name):
    """The mean probability of the class, for centres times their height; classes are things."""
    torch.manual_seed(0)
    model = build_model(tiny_config(*CASES[name])).eval()
    probs, maps = probabilities(NUMBERS), GROUPINGS[name.removeprefix("joint_")][1](NUMBERS)
    if name == "joint_bottom_up":
        maps[0] *= 0.5
    output = model._predict(probs.log(), maps, (40, 60), (40, 60))
    found = output["instances"]
    assert found.pred_classes.sort().values.tolist() == [0, 0, 0, 1]
    height = 0.5 if name == "joint_bottom_up" else 1.0
    assert torch.allclose(found.scores, torch.tensor(0.9 * height), atol=0.01)
    assert torch.allclose(output["sem_seg"], probs.log(), atol=1e-5)
    ids, segments = output["panoptic_seg"]
    assert len(segments) == 5 and torch.equal(ids > 4, NUMBERS == 0)


def test_boxes_are_no_truth():
    model = build_model(tiny_config(*CASES["joint_bottom_up"])).train()
    item = make_input(61, 75)
    item["instances"].remove("gt_masks")
    with pytest.raises(DatasetError, match="boxes only"):
        model([item])


@pytest.mark.parametrize(
    ("name", "key", "value", "words"),
    [
        ("joint_bottom_up", "MODEL.BOTTOM_UP.CENTER_SIGMA", 0.0, "CENTER_SIGMA must be above 0"),
        ("joint_bottom_up", "MODEL.BOTTOM_UP.NMS_KERNEL", 4, "NMS_KERNEL must be odd"),
        ("joint_watershed", "MODEL.WATERSHED.SEED_THRESHOLD", 1.0, "between 0 and 1, found 1.0"),
        ("joint_watershed", "MODEL.WATERSHED.MIN_AREA", -1, "at least 0"),
        ("joint_watershed", "MODEL.WATERSHED.BORDER_WIDTH", 0, "BORDER_WIDTH must be above 0"),
        ("joint_watershed", "MODEL.ROI_HEADS.NUM_CLASSES", 0, "WatershedUNet has nothing to learn"),
    ],
)
def test_wrong_keys_are_told(name, key, value, words):
    with pytest.raises(ConfigError, match=words):
        build_model(tiny_config(*CASES[name], key, value))


def test_a_missing_library_is_told_before_the_training(monkeypatch):
    monkeypatch.setattr("project.modeling.watershed.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"scikit-image.*\[zoo\]"):
        build_model(tiny_config(*CASES["joint_watershed"]))
