"""RoIAlign as two products against torchvision's operator, and where each of them is used."""

from typing import NamedTuple

import pytest
import torch
from detectron2.layers import ROIAlign
from detectron2.modeling.poolers import ROIPooler
from detectron2.structures import Boxes
from torch import Tensor, nn
from torchvision.ops import roi_align

from project.layers import roi_align as module
from project.layers import separable
from project.layers.roi_align import RoIAlign, replace_roi_align
from project.layers.separable import separable_roi_align

STRIDE = 4


def random_features(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


def random_rois(count: int, images: int, height: int, width: int) -> Tensor:
    """(count, 5) in pixels: within, across and outside the image, inverted, and of no size."""
    generator = torch.Generator().manual_seed(1)
    size = torch.tensor([width, height]) * STRIDE
    corners = (torch.rand(count, 2, 2, generator=generator) * 1.6 - 0.3) * size
    corners[: 3 * count // 4] = corners[: 3 * count // 4].sort(dim=1).values
    corners[1] = corners[1, 0]
    corners[2] += 2 * size
    image = torch.randint(images, (count, 1), generator=generator)
    return torch.cat([image, corners.flatten(1)], dim=1)


def pool_and_grad(pool, features: Tensor) -> tuple[Tensor, Tensor]:
    """The pooled RoIs, and the gradient of a random weighting of them."""
    features = features.detach().requires_grad_()
    pooled = pool(features)
    weights = torch.randn(pooled.shape, generator=torch.Generator().manual_seed(2))
    pooled.backward(weights.to(pooled.dtype))
    assert features.grad is not None
    return pooled.detach(), features.grad


@pytest.mark.parametrize("samples", [1, 2, 3])
@pytest.mark.parametrize("bins", [(7, 7), (14, 14), (2, 5), (1, 1)])
@pytest.mark.parametrize("size", [(4, 4), (8, 8), (16, 16), (7, 24)])
def test_equals_torchvision_forwards_and_backwards(size, bins, samples):
    features = random_features(5, 6, *size)
    rois = random_rois(40, 4, *size)  # the last of the 5 images has none
    theirs, their_grad = pool_and_grad(
        lambda x: roi_align(x, rois, bins, 1 / STRIDE, samples, aligned=True), features
    )
    ours, our_grad = pool_and_grad(
        lambda x: separable_roi_align(x, rois, bins, 1 / STRIDE, samples), features
    )

    zero = theirs.flatten(1).eq(0).all(dim=1)
    assert 1 <= zero.sum() <= 20 and theirs.std() > 0.1
    assert (rois[:, 0].diff() < 0).any()
    assert their_grad[4].eq(0).all() and their_grad[:4].abs().amax() > 0.3
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    # A cell of the 4x4 map sums thousands of terms: torchvision's own float32 is 6e-5 off there.
    largest = max(1.0, their_grad.abs().amax().item())
    torch.testing.assert_close(our_grad, their_grad, atol=1e-5 * largest, rtol=0)


def test_samples_exactly_on_the_limits_count_as_in_torchvision():
    """At coordinate -1 and `size` a sample counts in full, any further it is zero."""
    features = torch.ones(1, 1, 4, 4)

    def pool(corners: list[list[float]], function) -> Tensor:
        rois = torch.tensor([[0, x, x, x, x] for (x,) in corners])
        return function(features, rois, (1, 1), 1.0, 1).flatten()

    # A box of no size at x has its one sample at x - 0.5.
    edges = [[-0.5], [-0.500001], [4.5], [4.500001]]
    theirs = pool(edges, lambda *words: roi_align(*words, aligned=True))
    assert theirs.tolist() == [1, 0, 1, 0]
    assert torch.equal(pool(edges, separable_roi_align), theirs)


def test_steps_that_land_on_a_limit_round_as_in_torchvision():
    """Samples reach the limit by start + bin * size + offset, whose rounding decides: 1 or 0."""
    features = torch.ones(1, 1, 6, 6)
    starts = -1 - torch.arange(1, 400) / 37
    # The first sample of bin 3 of 7 (S = 1) would be at -1 exactly: start + 3.5 * bin = -1.
    ends = starts + (-1 - starts) * 2
    corners = torch.stack([starts, starts, ends, ends], dim=1) + 0.5
    rois = torch.cat([torch.zeros(len(starts), 1), corners], dim=1)
    theirs = roi_align(features, rois, (7, 7), 1.0, 1, aligned=True)
    assert 0 < theirs[:, 0, 3, 3].mean() < 1
    torch.testing.assert_close(
        separable_roi_align(features, rois, (7, 7), 1.0, 1), theirs, atol=1e-5, rtol=0
    )


def test_one_bin_over_the_whole_map_is_its_centre():
    """Bilinear at the centre of 2 x 2 cells: (1 + 2 + 3 + 6) / 4."""
    features = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])
    rois = torch.tensor([[0, 0, 0, 8.0, 8.0]])
    assert separable_roi_align(features, rois, (1, 1), 1 / STRIDE, 1).item() == 3.0


def test_gradcheck():
    features = random_features(2, 2, 4, 5, dtype=torch.float64).requires_grad_()
    rois = random_rois(5, 2, 4, 5).double()
    assert torch.autograd.gradcheck(
        lambda x: separable_roi_align(x, rois, (2, 3), 1 / STRIDE, 2), (features,)
    )


@pytest.mark.parametrize("elements", [1, 2000, 5000])
def test_blocks_do_not_change_the_result(monkeypatch, elements):
    """1: a block for each RoI; 2000: for several RoIs of an image; 5000: for several images."""
    features, rois = random_features(4, 6, 8, 8), random_rois(40, 4, 8, 8)

    def pool(x: Tensor) -> Tensor:
        return separable_roi_align(x, rois, (7, 7), 1 / STRIDE, 2)

    whole, whole_grad = pool_and_grad(pool, features)
    monkeypatch.setattr(separable, "BLOCK_ELEMENTS", elements)
    parts, parts_grad = pool_and_grad(pool, features)
    torch.testing.assert_close(parts, whole, atol=1e-6, rtol=0)
    torch.testing.assert_close(parts_grad, whole_grad, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("images", [0, 2])
def test_no_rois(images):
    features = random_features(images, 6, 8, 8)
    pooled, grad = pool_and_grad(
        lambda x: separable_roi_align(x, torch.zeros(0, 5), (7, 7), 1 / STRIDE, 2), features
    )
    assert pooled.shape == (0, 6, 7, 7)
    assert grad.shape == features.shape and grad.eq(0).all()


@pytest.mark.parametrize("image", [-1, 2])
def test_an_image_outside_the_batch_is_refused(image):
    rois = torch.tensor([[0, 0, 0, 8, 8], [image, 0, 0, 8, 8]]).float()
    with pytest.raises(IndexError, match=f"{image}.* batch of 2"):
        separable_roi_align(random_features(2, 6, 8, 8), rois, (7, 7), 1 / STRIDE, 2)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_result_is_channels_last(layout):
    features = random_features(2, 6, 8, 8).contiguous(memory_format=layout)
    rois = random_rois(12, 2, 8, 8)
    pooled = separable_roi_align(features, rois, (7, 7), 1 / STRIDE, 2)
    assert pooled.is_contiguous(memory_format=torch.channels_last)
    expected = roi_align(features, rois, 7, 1 / STRIDE, 2, aligned=True)
    torch.testing.assert_close(pooled, expected, atol=1e-5, rtol=0)


def test_bfloat16_is_off_by_its_rounding_only():
    """At 400 pixels bfloat16 is spaced by 2: RoIs that were rounded would be far off."""
    features = random_features(3, 16, 8, 8).bfloat16()
    rois = random_rois(40, 3, 8, 8)
    rois[:, 1:] *= 12
    scale = 1 / STRIDE / 12
    pooler = RoIAlign(7, scale, 2)
    expected, expected_grad = pool_and_grad(
        lambda x: roi_align(x, rois, 7, scale, 2, aligned=True), features.float()
    )
    rounded = roi_align(features.float(), rois.bfloat16().float(), 7, scale, 2, aligned=True)
    with torch.autocast("cpu", torch.bfloat16):
        ours, our_grad = pool_and_grad(lambda x: pooler(x, rois), features)

    largest = features.float().abs().amax()
    assert (rounded - expected).abs().amax() > 0.1 * largest
    assert ours.dtype == our_grad.dtype == torch.bfloat16
    assert 0 < (ours - expected).abs().amax() < largest * 2**-7
    assert (our_grad - expected_grad).abs().amax() < expected_grad.abs().amax() * 2**-7


def test_autocast_leaves_float32_features_exact():
    features, rois = random_features(2, 6, 8, 8), random_rois(12, 2, 8, 8)

    def pool(x: Tensor) -> Tensor:
        return separable_roi_align(x, rois, (7, 7), 1 / STRIDE, 2)

    plain, plain_grad = pool_and_grad(pool, features)
    with torch.autocast("cpu", torch.bfloat16):
        pooled, grad = pool_and_grad(pool, features)
    assert torch.equal(pooled, plain) and torch.equal(grad, plain_grad)


@pytest.mark.parametrize(
    ("words", "features", "expected"),
    [
        ({}, torch.empty(1, 1, 4, 4), "products"),
        ({}, torch.empty(1, 1, 4, 4, dtype=torch.bfloat16), "products"),
        ({}, torch.empty(1, 1, 4, 5), "bags"),
        ({}, torch.empty(1, 1, 24, 24, requires_grad=True), "products"),
        ({}, torch.empty(1, 1, 25, 24, requires_grad=True), "bags"),
        ({"sampling_ratio": 0}, torch.empty(1, 1, 4, 4), "products"),
        ({"sampling_ratio": 0}, torch.empty(1, 1, 8, 8), "bags"),
        ({}, torch.empty(1, 2, 80, 80), "torchvision"),  # one RoI is not worth turning the map
        ({}, torch.empty(1, 2, 80, 80).to(memory_format=torch.channels_last), "bags"),
        ({"sampling_ratio": 0, "spatial_scale": 1e4}, torch.empty(1, 1, 8, 8), "torchvision"),
        ({"aligned": False}, torch.empty(1, 1, 8, 8), "torchvision"),
    ],
)
def test_where_each_way_is_used(monkeypatch, words, features, expected):
    pooler = RoIAlign(**{"output_size": 7, "spatial_scale": 0.25, "sampling_ratio": 2, **words})
    names = {"separable_roi_align": "products", "bag_roi_align": "bags", "roi_align": "torchvision"}
    for name, way in names.items():
        monkeypatch.setattr(module, name, lambda *_, way=way: Named(way))
    assert pooler(features, torch.tensor([[0, 1.0, 1, 9, 9]])).name == expected


class Named(NamedTuple):
    """In place of pooled RoIs."""

    name: str

    def to(self, _: object) -> "Named":
        return self


@pytest.mark.parametrize("bins", [(7, 7), (2, 5)])
@pytest.mark.parametrize("size", [(4, 4), (7, 24)])
def test_adaptive_samples_equal_torchvisions(size, bins):
    """Sides of up to 1.6 maps make 0 to 20 samples; torchvision refuses sides below 0."""
    features, rois = random_features(5, 6, *size), random_rois(40, 4, *size)
    rois[:, 1:] = rois[:, 1:].view(-1, 2, 2).sort(dim=1).values.flatten(1)
    theirs, their_grad = pool_and_grad(
        lambda x: roi_align(x, rois, bins, 1 / STRIDE, 0, aligned=True), features
    )
    ours, our_grad = pool_and_grad(
        lambda x: separable_roi_align(x, rois, bins, 1 / STRIDE, 0), features
    )
    fixed = roi_align(features, rois, bins, 1 / STRIDE, 2, aligned=True)
    assert (theirs - fixed).abs().amax() > 0.1
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    largest = max(1.0, their_grad.abs().amax().item())
    torch.testing.assert_close(our_grad, their_grad, atol=1e-5 * largest, rtol=0)


@pytest.mark.parametrize(("sampling_ratio", "aligned"), [(0, True), (2, False), (2, True)])
def test_module_equals_detectron2s(sampling_ratio, aligned):
    words = ((7, 5), 1 / STRIDE, sampling_ratio, aligned)
    features, rois = random_features(2, 6, 8, 8), random_rois(12, 2, 8, 8)
    expected = ROIAlign(*words)(features, rois)
    torch.testing.assert_close(RoIAlign(*words)(features, rois), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("sampling_ratio", [0, 2])
def test_low_precision_without_a_quick_product_is_rounded_once(monkeypatch, dtype, sampling_ratio):
    monkeypatch.setattr(separable, "PRODUCT_DTYPES", {torch.float32})
    features, rois = random_features(2, 6, 8, 8).to(dtype), random_rois(12, 2, 8, 8)
    pooled = RoIAlign(7, 1 / STRIDE, sampling_ratio)(features, rois)
    expected = roi_align(features.float(), rois, 7, 1 / STRIDE, sampling_ratio, aligned=True)
    torch.testing.assert_close(pooled, expected.to(dtype), atol=1e-5, rtol=torch.finfo(dtype).eps)


def test_exported_graphs_hold_torchvisions_operator():
    example = (random_features(2, 6, 8, 8), random_rois(12, 2, 8, 8))
    exported = torch.export.export(RoIAlign(7, 1 / STRIDE, 2), example)
    called = [str(node.target) for node in exported.graph.nodes]
    assert "torchvision.roi_align.default" in called


def test_replace_swaps_detectron2s_poolers_in_place():
    class Special(ROIAlign):
        pass

    torch.manual_seed(0)
    pooler = ROIPooler(7, [1 / 4, 1 / 8, 1 / 16], 2, "ROIAlignV2", 16, 3)
    features = [random_features(2, 6, size, size) for size in (16, 8, 4)]
    sides = torch.tensor([4.0, 12.0, 18.0, 28.0, 40.0])
    boxes = [Boxes(torch.stack([s, s, s + sides, s + sides], dim=1)) for s in torch.rand(2, 5) * 20]
    expected = pooler(features, boxes)
    head = nn.ModuleDict({"pooler": pooler, "special": Special(7, 1 / 4, 2)})
    replace_roi_align(head)

    assert [type(level) for level in pooler.level_poolers] == [RoIAlign] * 3
    assert [level.spatial_scale for level in pooler.level_poolers] == [1 / 4, 1 / 8, 1 / 16]
    assert type(head["special"]) is Special
    torch.testing.assert_close(pooler(features, boxes), expected, atol=1e-5, rtol=0)
