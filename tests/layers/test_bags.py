"""RoIAlign as sums over bags of cells against torchvision's operator."""

import pytest
import torch
from torch import Tensor
from torchvision.ops import roi_align

from project.layers import bags
from project.layers.bags import bag_roi_align
from project.layers.roi_align import RoIAlign
from project.layers.separable import Grid

SCALE = 1 / 4
ATOL = 1e-4  # what issue and docs promise in float32


def random_rois(count: int, images: int, height: int, width: int) -> Tensor:
    """(count, 5) in pixels: within, across and outside the image, inverted, tiny, huge, empty."""
    generator = torch.Generator().manual_seed(1)
    size = torch.tensor([width, height]) / SCALE
    corners = (torch.rand(count, 2, 2, generator=generator) * 1.6 - 0.3) * size
    corners[: 3 * count // 4] = corners[: 3 * count // 4].sort(dim=1).values
    corners[1] = corners[1, 0]
    corners[2] += 3 * size
    corners[3, 1] = corners[3, 0] + 1e-3
    corners[4] = torch.tensor([[-5.0], [6.0]]) * size
    image = torch.randint(images, (count, 1), generator=generator)
    return torch.cat([image, corners.flatten(1)], dim=1)


def upright(rois: Tensor) -> Tensor:
    """Sides below 0, of which torchvision with adaptive samples makes an error, turned over."""
    corners = rois[:, 1:].view(-1, 2, 2).sort(dim=1).values
    return torch.cat([rois[:, :1], corners.flatten(1)], dim=1)


def random_features(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


def pool_and_grad(pool, features: Tensor) -> tuple[Tensor, Tensor]:
    """The pooled RoIs, and the gradient of a random weighting of them."""
    features = features.detach().requires_grad_()
    pooled = pool(features)
    weights = torch.randn(pooled.shape, generator=torch.Generator().manual_seed(2))
    pooled.backward(weights.to(pooled.dtype))
    assert features.grad is not None
    return pooled.detach(), features.grad


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("samples", [0, 1, 2, 3])
@pytest.mark.parametrize("bins", [(7, 7), (14, 14), (2, 5), (1, 1)])
@pytest.mark.parametrize("size", [(60, 80), (7, 24), (1, 1)])
def test_equals_torchvision_forwards_and_backwards(size, bins, samples, layout):
    features = random_features(5, 8, *size).contiguous(memory_format=layout)
    rois = random_rois(40, 4, *size)  # the last of the 5 images has none
    if samples == 0:
        rois = upright(rois)
    theirs, their_grad = pool_and_grad(
        lambda x: roi_align(x, rois, bins, SCALE, samples, aligned=True), features
    )
    ours, our_grad = pool_and_grad(
        lambda x: bag_roi_align(x, rois, Grid(bins, SCALE, samples)), features
    )
    zero = theirs.flatten(1).eq(0).all(dim=1)
    assert 1 <= zero.sum() <= 25 and theirs.std() > 0.05
    assert their_grad[4].eq(0).all() and their_grad[:4].abs().amax() > 0.3
    torch.testing.assert_close(ours, theirs, atol=ATOL, rtol=0)
    # The one cell of a 1 x 1 map sums thousands of terms.
    largest = max(1.0, their_grad.abs().amax().item())
    torch.testing.assert_close(our_grad, their_grad, atol=ATOL * largest, rtol=0)
    assert ours.is_contiguous(memory_format=torch.channels_last)


def test_gradcheck():
    features = random_features(2, 2, 6, 5, dtype=torch.float64).requires_grad_()
    rois = random_rois(8, 2, 6, 5).double()
    for samples in (0, 2):
        grid = Grid((2, 3), SCALE, samples)
        assert torch.autograd.gradcheck(lambda x, g=grid: bag_roi_align(x, rois, g), (features,))


@pytest.mark.parametrize("samples", [0, 2])
@pytest.mark.parametrize("pairs", [1, 500, 5000])
def test_parts_do_not_change_the_result(monkeypatch, pairs, samples):
    """1: each RoI alone."""
    features, rois = random_features(4, 6, 32, 32), random_rois(40, 4, 32, 32)

    def pool(x: Tensor) -> Tensor:
        return bag_roi_align(x, rois, Grid((7, 7), SCALE, samples))

    whole, whole_grad = pool_and_grad(pool, features)
    monkeypatch.setattr(bags, "MOST_PAIRS", pairs)
    parts, parts_grad = pool_and_grad(pool, features)
    assert torch.equal(parts, whole)
    torch.testing.assert_close(parts_grad, whole_grad, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("images", [0, 2])
def test_no_rois(images):
    pooled, grad = pool_and_grad(
        lambda x: bag_roi_align(x, torch.zeros(0, 5), Grid((7, 7), SCALE, 0)),
        random_features(images, 6, 30, 40),
    )
    assert pooled.shape == (0, 6, 7, 7)
    assert grad.shape == (images, 6, 30, 40) and grad.eq(0).all()


def test_adaptive_samples_of_inverted_rois_are_none():
    features = random_features(1, 3, 20, 20)
    rois = torch.tensor([[0, 30.0, 10, 20, 40], [0, 20, 10, 30, 40]])
    pooled = bag_roi_align(features, rois, Grid((2, 2), SCALE, 0))
    assert pooled[0].eq(0).all() and pooled[1].ne(0).all()


@pytest.mark.parametrize("image", [-1, 2])
def test_an_image_outside_the_batch_is_refused(image):
    rois = torch.tensor([[0, 0, 0, 8, 8], [image, 0, 0, 8, 8]]).float()
    with pytest.raises(IndexError, match=f"{image}.* batch of 2"):
        bag_roi_align(random_features(2, 6, 8, 8), rois, Grid((7, 7), SCALE, 2))


def test_gradients_are_the_same_every_time():
    """To the last bit, as a run that is resumed needs them."""
    features, rois = random_features(2, 16, 60, 80), random_rois(300, 2, 60, 80)
    grid = Grid((7, 7), SCALE, 2)
    first, second = (
        pool_and_grad(lambda x: bag_roi_align(x, rois, grid), features) for _ in range(2)
    )
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])


@pytest.mark.parametrize("samples", [0, 2])
def test_bfloat16_is_off_by_its_rounding_only(samples):
    """At 400 pixels bfloat16 is spaced by 2: RoIs that were rounded would be far off."""
    features, rois = random_features(3, 16, 32, 32).bfloat16(), random_rois(40, 3, 32, 32)
    rois = upright(rois)
    rois[:, 1:] *= 12
    scale = SCALE / 12
    expected, expected_grad = pool_and_grad(
        lambda x: roi_align(x, rois, 7, scale, samples, aligned=True), features.float()
    )
    pooler = RoIAlign(7, scale, samples)
    assert pooler.is_bagged(features, len(rois))
    with torch.autocast("cpu", torch.bfloat16):
        ours, our_grad = pool_and_grad(lambda x: pooler(x, rois), features)
    largest = features.float().abs().amax()
    assert ours.dtype == our_grad.dtype == torch.bfloat16
    assert 0 < (ours - expected).abs().amax() < largest * 2**-7
    assert (our_grad - expected_grad).abs().amax() < expected_grad.abs().amax() * 2**-7


def test_autocast_leaves_float32_features_exact():
    features, rois = random_features(2, 6, 30, 30), random_rois(12, 2, 30, 30)

    def pool(x: Tensor) -> Tensor:
        return bag_roi_align(x, rois, Grid((7, 7), SCALE, 2))

    plain, plain_grad = pool_and_grad(pool, features)
    with torch.autocast("cpu", torch.bfloat16):
        pooled, grad = pool_and_grad(pool, features)
    assert torch.equal(pooled, plain) and torch.equal(grad, plain_grad)
