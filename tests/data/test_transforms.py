"""Every augmentation moves image, masks, polygons and labels together, whatever the channels."""

import cv2
import numpy as np
import pytest
import torch
from detectron2.data import transforms as T
from detectron2.utils.env import seed_all_rng
from torchvision.transforms.v2 import functional

from project.data.masks import decode_mask
from project.data.transforms import draws
from project.data.transforms.elastic import ElasticTransform, RandomElastic
from project.data.transforms.geometry import FixedSizeCrop, Resize, ResizeShortestEdge
from project.data.transforms.listed import read_steps
from project.data.transforms.photometric import RandomHue, RandomLighting, RandomSaturation

OUTSIDE, INSIDE, IGNORE = 40, 215, 255
SQUARE = np.float64([[20, 15], [70, 15], [70, 60], [20, 60]])
MOVING = {
    "resize": {"name": "resize_shortest_edge", "sizes": [60, 130]},
    "crop": {"name": "random_resized_crop", "size": [80, 90]},
    "lsj": {"name": "lsj", "scale": [0.5, 2.0], "size": [110, 110]},
    "horizontal": {"name": "flip", "prob": 1},
    "vertical": {"name": "flip", "direction": "vertical", "prob": 1},
    "rotation": {"name": "rotation"},
    "elastic": {"name": "elastic", "std": 6, "prob": 1},
}
STILL = {
    "colour": {"name": "colour_jitter"},
    "blur": {"name": "blur", "sigma": [0.5, 1.0], "prob": 1},
    "noise": {"name": "noise", "std": [5, 10], "prob": 1},
}
EVERY = MOVING | STILL


def own_mask(channels: int = 3, dtype: type = np.uint8) -> tuple[np.ndarray, np.ndarray]:
    """An image of a square and a ring that is its own mask, and the (96, 128) mask."""
    mask = np.zeros((96, 128), np.uint8)
    mask[15:60, 20:70] = 1
    cv2.circle(mask, (95, 60), 22, 1, thickness=10)
    assert 0.2 < mask.mean() < 0.5
    image = np.where(mask, INSIDE, OUTSIDE).astype(dtype)
    return np.repeat(image[:, :, None], channels, axis=2), mask


def apply(entries: list[dict], image: np.ndarray, mask: np.ndarray) -> tuple:
    """The image, the label map and the transforms that changed them."""
    built = [a for step in read_steps(entries) for a in step.build("BGR")]
    data = T.AugInput(image, sem_seg=mask)
    transforms = T.AugmentationList(built)(data)
    return data.image, data.sem_seg, transforms


def differing(image: np.ndarray, labels: np.ndarray, border: int) -> float:
    """Share of the pixels where image and labels disagree; those near an edge do not count."""
    assert image.shape[:2] == labels.shape
    assert set(np.unique(labels)) <= {0, 1, IGNORE}
    kernel = np.ones((2 * border + 1, 2 * border + 1), np.uint8)
    sure = cv2.dilate(labels, kernel) == cv2.erode(labels, kernel)
    sure &= labels != IGNORE
    assert sure.mean() > 0.1
    guess = image.mean(axis=2) > (INSIDE + OUTSIDE) / 2
    return float((guess != labels)[sure].mean())


def overlap(image: np.ndarray, labels: np.ndarray) -> float:
    """IoU of the bright pixels and the mask where neither is padding."""
    seen = labels != IGNORE
    guess = (image.mean(axis=2) > (INSIDE + OUTSIDE) / 2) & seen
    return (guess & (labels == 1)).sum() / max(1, (guess | (labels == 1)).sum())


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("chosen", EVERY)
def test_an_image_that_is_its_own_mask(chosen, dtype, channels):
    seed_all_rng(3)
    changed = 0
    for _ in range(4):
        image, mask = own_mask(channels, dtype)
        moved, labels, transforms = apply([EVERY[chosen]], image, mask)
        assert moved.dtype == dtype and moved.shape[2] == channels
        assert moved.min() >= 0 and moved.max() < 256
        assert differing(moved, labels, border=1) == 0
        assert overlap(moved, labels) > 0.93
        np.testing.assert_array_equal(transforms.apply_segmentation(mask), labels)
        changed += moved.shape != image.shape or not np.array_equal(moved, image)
        assert (chosen in MOVING) or np.array_equal(labels, mask)
    assert changed == 4


def test_random_chains():
    """Nearest labels and linear images drift apart by half a pixel a step at most."""
    rng = np.random.default_rng(0)
    lowest = 1.0
    for seed in range(50):
        seed_all_rng(seed)
        chosen = rng.choice(list(EVERY), size=rng.integers(2, 6), replace=False).tolist()
        image, mask = own_mask(int(rng.choice([1, 3, 5])), rng.choice([np.uint8, np.float32]))
        moved, labels, transforms = apply([EVERY[name] for name in chosen], image, mask)
        assert differing(moved, labels, border=3) < 1e-3, (seed, chosen)
        lowest = min(lowest, overlap(moved, labels))
        np.testing.assert_array_equal(transforms.apply_segmentation(mask), labels)
    assert 0.85 < lowest < 1


@pytest.mark.parametrize("chosen", [name for name in MOVING if name != "elastic"])
def test_polygons_move_with_the_pixels(chosen):
    seed_all_rng(5)
    for _ in range(5):
        mask = decode_mask([SQUARE.ravel().tolist()], 96, 128).astype(np.uint8)
        _, labels, transforms = apply([MOVING[chosen]], own_mask()[0], mask)
        points = transforms.apply_coords(SQUARE.copy())
        drawn = decode_mask([points.ravel().tolist()], *labels.shape)
        seen = labels != IGNORE
        union = (drawn | (labels == 1)) & seen
        assert union.sum() > 300
        assert (drawn & (labels == 1)).sum() / union.sum() > 0.92


def test_padding_is_grey_and_ignored():
    seed_all_rng(0)
    for entry in (
        {"name": "rotation", "degrees": [10, 10]},
        {"name": "elastic", "std": 8, "prob": 1},
        {"name": "lsj", "scale": [0.5, 0.5], "size": [100, 100]},
    ):
        for channels in (1, 3, 5):
            image, mask = own_mask(channels)
            moved, labels, _ = apply([entry], image, mask)
            outside = cv2.erode((labels == IGNORE).astype(np.uint8), np.ones((3, 3))) == 1
            assert 0 < outside.mean() < 0.9
            assert (moved[outside] == 128).all()


def test_elastic_coordinates_are_the_inverse_of_the_field():
    """A point that the image fetches for q comes to lie at q."""
    seed_all_rng(1)
    largest = 0.0
    for _ in range(20):
        image, _ = own_mask()
        transform = RandomElastic(std=12.0, grid=4).get_transform(image)
        assert isinstance(transform, ElasticTransform)
        rows, columns = np.mgrid[8:88:10, 8:120:10]
        at = np.stack([columns.ravel(), rows.ravel()], axis=1)
        shift = transform.field[at[:, 1], at[:, 0]]
        back = transform.apply_coords(at + 0.5 + shift)
        np.testing.assert_allclose(back, at + 0.5, atol=0.1)
        largest = max(largest, float(np.abs(shift).max()))
    assert largest > 4
    assert transform.apply_coords(np.zeros((0, 2))).shape == (0, 2)


@pytest.mark.parametrize("size", [(31, 47), (200, 151)])
def test_resizing_floats_equals_resizing_bytes(size):
    """Within the rounding of bytes; also with channels that Pillow has no mode for."""
    image = np.random.default_rng(0).integers(0, 256, (90, 120, 5), np.uint8)
    transform = Resize(90, 120, *size)
    bytewise, exact = transform.apply_image(image), transform.apply_image(image.astype(np.float32))
    assert bytewise.shape == exact.shape == (*size, 5)
    assert np.abs(bytewise - exact).max() <= 1
    theirs = T.ResizeTransform(90, 120, *size).apply_image(np.ascontiguousarray(image[:, :, :3]))
    np.testing.assert_array_equal(bytewise[:, :, :3], theirs)


def test_four_channels_are_not_taken_for_transparency():
    """Pillow weighs colours by a fourth channel when it resizes; ours is a channel like others."""
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 4), np.uint8)
    image[:, :, 3] = 0
    assert Resize(40, 40, 20, 20).apply_image(image)[:, :, :3].std() > 10


def test_no_side_becomes_zero():
    image = np.zeros((1, 8000, 3), np.uint8)
    transform = ResizeShortestEdge((800,), 1333, "choice").get_transform(image)
    assert transform.apply_image(image).shape == (1, 1333, 3)


def test_crops_lie_anywhere():
    """Detectron2's FixedSizeCrop draws them on the diagonal."""
    seed_all_rng(0)
    image = np.zeros((100, 100, 3), np.uint8)
    crops = [FixedSizeCrop((50, 50)).get_transform(image)[0] for _ in range(200)]
    x, y = np.array([(crop.x0, crop.y0) for crop in crops]).T
    assert x.min() <= 2 and x.max() >= 48 and y.min() <= 2 and y.max() >= 48
    assert abs(np.corrcoef(x, y)[0, 1]) < 0.2


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_colours_are_those_of_the_order_of_channels(dtype):
    """The same picture in both orders stays the same picture."""
    rgb = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(dtype)
    bgr = np.ascontiguousarray(rgb[:, :, ::-1])
    for kind, arguments in ((RandomSaturation, (0.2, 0.5)), (RandomHue, (0.4,))):
        changed = []
        for image, order in ((rgb, "RGB"), (bgr, "BGR")):
            seed_all_rng(2)
            changed.append(kind(*arguments, order).get_transform(image).apply_image(image))
        assert changed[0].dtype == dtype
        assert np.abs(changed[0].astype(float) - rgb).mean() > 5
        np.testing.assert_allclose(changed[0], changed[1][:, :, ::-1], atol=1e-3)


@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_lighting_is_detectron2s_with_red_where_it_is(order):
    """Whose deviations are for colours up to 1, which makes 0.1 of 255 a change of nothing."""
    image = np.full((2, 3, 3), 128, np.uint8)
    for seed in range(10):
        seed_all_rng(seed)
        ours = RandomLighting(0.1, order).get_transform(image).src_image
        seed_all_rng(seed)
        theirs = T.RandomLighting(25.5).get_transform(image).src_image
        np.testing.assert_allclose(ours if order == "RGB" else ours[::-1], theirs)
        assert np.abs(theirs).max() > 0.1


def test_hue_is_torchvisions():
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    seed_all_rng(4)
    turned = RandomHue(0.5, "RGB").get_transform(image).apply_image(image)
    seed_all_rng(4)
    turn = draws.uniform(-0.5, 0.5)
    expected = functional.adjust_hue(torch.from_numpy(image.transpose(2, 0, 1)), turn)
    np.testing.assert_array_equal(turned, expected.numpy().transpose(1, 2, 0))
    real = image.astype(np.float32)
    seed_all_rng(4)
    exact = RandomHue(0.5, "RGB").get_transform(real).apply_image(real)
    assert np.abs(exact - turned).max() < 2


def test_grey_has_no_colours():
    grey = own_mask(channels=1)[0]
    for augmentation in (RandomSaturation(0.2, 0.5, "BGR"), RandomHue(0.4, "BGR")):
        np.testing.assert_array_equal(augmentation.get_transform(grey).apply_image(grey), grey)


def test_the_strength_of_blur_and_noise():
    image = np.zeros((101, 101, 1), np.float32)
    image[50, 50] = 255
    seed_all_rng(0)
    blurred = apply([{"name": "blur", "sigma": [2, 2], "prob": 1}], image, image[:, :, 0] > 0)[0]
    spread = (blurred[:, :, 0].sum(axis=0) * (np.arange(101) - 50) ** 2).sum() / blurred.sum()
    assert spread == pytest.approx(2**2, rel=0.05)
    flat = np.full((200, 200, 3), 100, np.uint8)
    noisy = apply([{"name": "noise", "std": [10, 10], "prob": 1}], flat, flat[:, :, 0])[0]
    assert noisy.mean() == pytest.approx(100, abs=0.2)
    assert noisy.std() == pytest.approx(10, rel=0.02)


def test_probability():
    seed_all_rng(0)
    image, mask = own_mask()
    entry = {"name": "blur", "prob": 0.25}
    changed = [not np.array_equal(apply([entry], image, mask)[0], image) for _ in range(200)]
    assert 30 < sum(changed) < 70
