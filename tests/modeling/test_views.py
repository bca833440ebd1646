"""Averages over views, by hand and where they must change nothing."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from detectron2.structures import Boxes, Instances
from torch import nn

from model_cases import tiny_config
from project.data.mask_crops import MaskCrop, MaskCrops
from project.modeling.panoptic import merge_panoptic
from project.modeling.views import AugmentedModel, View, fuse_instances, mean_shape, views_of
from toy_models import Blobs, draw_objects, smooth_noise

ALL_FLIPS = [View(0, h, v) for h in (False, True) for v in (False, True)]


def merge(instances, sem_seg):
    return merge_panoptic(instances, sem_seg, num_stuff=1)


def disc(radius: int, x: int = 40, y: int = 40) -> np.ndarray:
    rows, columns = np.indices((80, 80))
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def test_views_follow_the_config():
    sizes = ["TEST.AUG.MIN_SIZES", (0, 400)]
    assert views_of(tiny_config(*sizes)) == [View(0), View(400), View(0, True), View(400, True)]
    both = views_of(tiny_config("TEST.AUG.FLIP_VERTICAL", True))
    assert both == [View(0), View(0, False, True), View(0, True, False), View(0, True, True)]
    assert views_of(tiny_config(*sizes, "TEST.AUG.FLIP", False)) == [View(0), View(400)]


def test_flips_change_nothing_for_a_model_to_which_they_mean_nothing():
    image = draw_objects(200, 240, count=12)
    model = Blobs(panoptic=True)
    plain = model([{"image": image}])[0]
    (output,) = AugmentedModel(model, views=ALL_FLIPS, merge=merge)([{"image": image}])
    assert len(plain["instances"]) == 14
    torch.testing.assert_close(output["sem_seg"].exp(), plain["sem_seg"].softmax(dim=0))
    found, expected = output["instances"], plain["instances"]
    torch.testing.assert_close(found.scores, expected.scores)
    codes = MaskCrops.of(expected.pred_masks).counts()
    order = [codes.index(code) for code in found.pred_masks.counts()]
    assert sorted(order) == list(range(14))
    torch.testing.assert_close(found.pred_boxes.tensor, expected.pred_boxes.tensor[order])
    assert torch.equal(found.pred_classes, expected.pred_classes[order])
    assert len(output["panoptic_seg"][1]) == len(plain["panoptic_seg"][1])


def test_probabilities_are_averaged():
    """A model that believes in class 1 on the left of whatever it sees."""

    class Biased(nn.Module):
        def forward(self, batch):
            logits = torch.zeros(2, *batch[0]["image"].shape[1:])
            logits[1, :, :3] = 2.0
            return [{"sem_seg": logits}]

    image = torch.zeros(3, 4, 10, dtype=torch.uint8)
    views = [View(), View(horizontal=True)]
    (output,) = AugmentedModel(Biased(), views=views, merge=merge)([{"image": image}])
    sure = float(1 / (1 + np.exp(-2.0)))
    expected = torch.tensor([(sure + 0.5) / 2] * 3 + [0.5] * 4 + [(sure + 0.5) / 2] * 3)
    torch.testing.assert_close(output["sem_seg"].exp()[1, 0], expected)


def test_sizes_are_averaged_at_the_size_of_the_image():
    class Seen(nn.Module):
        """The image's own values as probabilities; remembers what it was shown."""

        sizes: list[tuple[int, int]] = []  # noqa: RUF012

        def forward(self, batch):
            (x,) = batch
            self.sizes.append(tuple(x["image"].shape[1:]))
            own = F.interpolate(x["image"][None, :2].float() / 255, (x["height"], x["width"]))
            return [{"sem_seg": (own[0] + 0.01).log()}]

    image = smooth_noise(60, 90)
    model = AugmentedModel(Seen(), views=[View(), View(30), View(120)], merge=merge, max_size=150)
    (output,) = model([{"image": image, "height": 60, "width": 90}])
    assert Seen.sizes == [(60, 90), (30, 45), (100, 150)]
    plain = Seen()([{"image": image, "height": 60, "width": 90}])[0]["sem_seg"].softmax(dim=0)
    assert 0.005 < float((output["sem_seg"].exp() - plain).abs().mean()) < 0.1
    torch.testing.assert_close(output["sem_seg"].exp().sum(dim=0), torch.ones(60, 90))


def instances(*objects: tuple[list[float], float, int]) -> Instances:
    result = Instances((80, 80))
    result.pred_boxes = Boxes(torch.tensor([box for box, _, _ in objects]).reshape(-1, 4))
    result.scores = torch.tensor([score for _, score, _ in objects])
    result.pred_classes = torch.tensor([label for _, _, label in objects], dtype=torch.long)
    return result


def test_objects_of_several_views_are_averaged():
    """Boxes by score, scores over all views, where a view that lacks the object gives 0."""
    first = instances(([10.0, 10, 30, 30], 0.9, 0), ([50.0, 50, 70, 70], 0.8, 0))
    second = instances(([14.0, 10, 34, 30], 0.3, 0), ([10.0, 10, 30, 30], 0.6, 1))
    fused = fuse_instances([first, second], 0.5, limit=100)
    expected = [[11.0, 10, 31, 30], [50, 50, 70, 70], [10, 10, 30, 30]]
    torch.testing.assert_close(fused.pred_boxes.tensor, torch.tensor(expected))
    torch.testing.assert_close(fused.scores, torch.tensor([0.6, 0.4, 0.3]))
    assert fused.pred_classes.tolist() == [0, 0, 1] and not fused.has("pred_masks")
    assert len(fuse_instances([first, second], 0.5, limit=2)) == 2
    assert len(fuse_instances([instances(), instances()], 0.5, limit=2)) == 0


def test_the_mean_shape_of_circles_is_the_circle_between():
    masks = [MaskCrop.of(disc(10)), MaskCrop.of(disc(20))]
    even, uneven = (mean_shape(masks, np.array(w)) for w in ([1.0, 1.0], [3.0, 1.0]))
    assert even.area == pytest.approx(np.pi * 15**2, rel=0.03)
    assert uneven.area == pytest.approx(np.pi * 12.5**2, rel=0.04)
    apart = mean_shape([MaskCrop.of(disc(12, 38)), MaskCrop.of(disc(12, 42))], np.ones(2))
    assert (apart.left + apart.width / 2) == pytest.approx(40.5, abs=0.6)
    assert apart.area == pytest.approx(np.pi * 12**2, rel=0.06)
    assert mean_shape([masks[0], masks[0]], np.array([0.9, 0.2])) == masks[0]
