"""What tiles give, against the same model on the whole image."""

from itertools import pairwise, product

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model
from torch import nn

import project.modeling  # noqa: F401
from model_cases import CASES, make_input, tiny_config
from project.data.mask_crops import MaskCrops
from project.errors import ConfigError
from project.evaluation.confusion import confusion_matrix
from project.modeling.panoptic import merge_panoptic
from project.modeling.testing import build_test_model
from project.modeling.tiles import ALIGNMENT, gaussian_weights, overlapping, spans, tile_rows
from project.modeling.tiling import TiledModel, pixel_statistics
from toy_models import Blobs, Convolution, draw_objects, smooth_noise


def merge(instances, stuff):
    return merge_panoptic(instances, stuff, num_stuff=1)


def tiled(model: nn.Module, size: int, overlap: int) -> TiledModel:
    return TiledModel(model, size=size, overlap=overlap, num_stuff=1, merge=merge)


def miou(a: torch.Tensor, b: torch.Tensor, num_classes: int) -> float:
    """Mean intersection over union of two label maps, 0 to 100."""
    matrix = confusion_matrix(a.numpy().astype(np.uint8), b.numpy().astype(np.uint8), num_classes)
    hits = np.diag(matrix)
    union = matrix.sum(axis=1) + matrix[:, :-1].sum(axis=0) - hits
    assert (union > 0).all()
    return float(100 * (hits / union).mean())


@pytest.mark.parametrize(("length", "size", "overlap"), [(1000, 256, 64), (257, 256, 1), (5, 9, 2)])
def test_spans_cover_a_side_and_overlap(length, size, overlap):
    found = spans(length, size, overlap)
    assert found[0][0] == 0 and found[-1][1] == length
    assert all(end - first <= size for first, end in found)
    assert all(before[1] - after[0] >= overlap for before, after in pairwise(found))
    assert all(first % ALIGNMENT == 0 for first, _ in found)
    assert len(found) == {1000: 5, 257: 2, 5: 1}[length]


def test_which_tiles_overlap():
    tiles = [tile for row in tile_rows(400, 300, 128, 32) for tile in row]
    pixels = [
        {(y, x) for y in range(t.top, t.bottom, 4) for x in range(t.left, t.right, 4)}
        for t in tiles
    ]
    expected = [(i, j) for i, j in product(range(len(tiles)), repeat=2) if i < j]
    expected = [(i, j) for i, j in expected if pixels[i] & pixels[j]]
    assert len(tiles) < len(expected) < len(tiles) ** 2 / 2
    assert overlapping(tiles) == expected


def test_weights_are_a_gaussian_around_the_centre():
    weights = gaussian_weights(64, 80)
    assert weights.shape == (64, 80)
    torch.testing.assert_close(weights, weights.flip(0, 1))
    # One deviation, 8 rows, from the centre at 31.5: exp(-0.5) of what is there.
    ratio = weights[31 + 8, 0] * weights[31 - 8, 0] / weights[31, 0] / weights[31, 0]
    assert float(ratio) == pytest.approx(np.exp(-1.0), rel=0.02)
    assert weights.min() > 0


def test_semantics_agree_where_the_overlap_is_the_receptive_field():
    """And clearly not where it is much smaller: the case is not trivial."""
    model, image = Convolution(reach=36), smooth_noise(300, 420)
    whole = model([{"image": image}])[0]["sem_seg"].argmax(dim=0)
    assert len(whole.unique()) == 4
    (output,) = tiled(model, 128, 36)([{"image": image}])
    assert output["sem_seg"].dtype == torch.uint8 and output["sem_seg"].shape == (300, 420)
    assert miou(output["sem_seg"], whole, 4) >= 99.5
    wide = Convolution(reach=92)
    whole = wide([{"image": image}])[0]["sem_seg"].argmax(dim=0)
    (scant,) = tiled(wide, 128, 1)([{"image": image}])
    assert miou(scant["sem_seg"], whole, 4) < 99


def test_an_image_of_one_tile_goes_to_the_model_as_it_is():
    model, image = Convolution(), smooth_noise(128, 100)
    (output,) = tiled(model, 128, 32)([{"image": image}])
    assert torch.equal(output["sem_seg"], model([{"image": image}])[0]["sem_seg"])


def test_instances_are_those_of_the_whole_image():
    """Discs whole in some tile, and bars of many tiles' length: none twice, none cut."""
    image = draw_objects(400, 520, count=40)
    whole = Blobs()([{"image": image}])[0]["instances"]
    (output,) = tiled(Blobs(), 128, 48)([{"image": image}])
    found = output["instances"]
    assert isinstance(found.pred_masks, MaskCrops) and len(whole) == 42
    assert len(found) == 42
    assert _by_mask(found) == _by_mask(whole)
    torch.testing.assert_close(found.scores, torch.full((42,), 0.9))


def _by_mask(instances):
    masks = MaskCrops.of(instances.pred_masks)
    boxes = instances.pred_boxes.tensor.tolist()
    return {
        code: (int(label), box)
        for code, label, box in zip(masks.counts(), instances.pred_classes, boxes)
    }


def test_panoptic_segments_are_those_of_the_whole_image():
    image = draw_objects(300, 420, count=20)
    model = Blobs(panoptic=True)
    expected, _ = model([{"image": image}])[0]["panoptic_seg"]
    ids, segments = tiled(model, 128, 48)([{"image": image}])[0]["panoptic_seg"]
    assert ids.dtype == torch.int32 and len(segments) == 23
    pairs = torch.stack([ids.ravel(), expected.ravel()]).unique(dim=1)
    assert pairs.shape[1] == len(ids.unique()) == len(expected.unique()) == 23


def test_panoptic_segments_without_their_parts_are_refused():
    class Segments(nn.Module):
        def forward(self, batch):
            size = batch[0]["image"].shape[1:]
            return [{"panoptic_seg": (torch.zeros(size, dtype=torch.int32), [])}]

    with pytest.raises(ConfigError, match=r"TEST\.TILE.*yields only segments"):
        tiled(Segments(), 128, 32)([{"image": smooth_noise(200, 200)}])


def test_statistics_are_those_of_the_whole_image():
    image = smooth_noise(1100, 90)
    deviation, mean = torch.std_mean(image.float(), dim=(1, 2), keepdim=True)
    found = pixel_statistics(image)
    torch.testing.assert_close(found[0], mean)
    torch.testing.assert_close(found[1], deviation)


def test_tiles_are_normalised_by_the_whole_image():
    """A dark half and a bright half, which would look alike each by its own statistics."""
    cfg = tiny_config(*CASES["semantics"], "MODEL.PIXEL_NORMALIZATION", "image")
    model = build_model(cfg).eval()
    image = smooth_noise(64, 128) // 3
    image[:, :, 64:] += 150
    right = image[:, :, 64:]
    whole = model._normalize({"image": image})[:, :, 64:]
    given = model._normalize({"image": right, "pixel_statistics": pixel_statistics(image)})
    torch.testing.assert_close(given, whole)
    assert (model._normalize({"image": right}) - whole).abs().mean() > 0.5


@pytest.mark.parametrize(
    "name",
    ["joint", "joint_boxes_only", "joint_bottom_up", "joint_watershed", "instances", "semantics"],
)
def test_every_kind_of_model_in_tiles_and_views(name):
    torch.manual_seed(0)
    words = ["TEST.TILE.SIZE", 96, "TEST.TILE.OVERLAP", 64, "INPUT.MIN_SIZE_TEST", 0]
    cfg = tiny_config(*CASES[name], *words, "TEST.AUG.ENABLED", True)
    model = build_model(cfg).eval()
    item = {"image": make_input(110, 70)["image"], "height": 110, "width": 70, "file_name": "a.png"}
    with torch.no_grad():
        plain, (output,) = model([item])[0], build_test_model(cfg, model)([item])
    assert output.keys() == plain.keys()
    if "sem_seg" in output:
        assert output["sem_seg"].shape == (110, 70) and output["sem_seg"].dtype == torch.uint8
    if "instances" in output:
        assert output["instances"].image_size == (110, 70) and len(output["instances"]) > 0
        assert output["instances"].has("pred_masks") == plain["instances"].has("pred_masks")
        assert output["instances"].scores.diff().max() <= 0
    if "panoptic_seg" in output:
        ids, segments = output["panoptic_seg"]
        assert set(ids.unique().tolist()) - {0} == {s["id"] for s in segments}
