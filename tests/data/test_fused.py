"""Augmentations as few passes give what each on its own gives, and draw the same numbers."""

import numpy as np
import pytest
from detectron2.data import transforms as T
from detectron2.utils.env import seed_all_rng

from photographs import photograph
from project.data.transforms import shapes
from project.data.transforms.fused import Augmenter
from project.data.transforms.listed import read_steps

SIZES = [(96, 128), (97, 61), (1, 1), (2, 150), (40, 2)]
SHAPES = {
    "enlarge": {"name": "resize_shortest_edge", "sizes": [160], "max_size": 400},
    "shrink": {"name": "resize_shortest_edge", "sizes": [37]},
    "crop": {"name": "random_resized_crop", "size": [80, 90]},
    "lsj": {"name": "lsj", "scale": [0.5, 2.0], "size": [110, 110]},
    "horizontal": {"name": "flip", "prob": 0.5},
    "vertical": {"name": "flip", "direction": "vertical"},
}
ROTATION = {"name": "rotation"}
COLOURS = {
    "jitter": {"name": "colour_jitter", "saturation": 0.2},
    "rarely": {"name": "colour_jitter", "brightness": 0.3, "contrast": 0.0, "prob": 0.5},
    "lighting": {"name": "lighting", "std": 0.3},
}
OTHERS = {
    "hue": {"name": "colour_jitter", "hue": 0.1},
    "elastic": {"name": "elastic", "std": 3},
    "blur": {"name": "blur"},
    "noise": {"name": "noise"},
}


def both(entries: list[dict], image: np.ndarray, labels: np.ndarray, seed: int, order="BGR"):
    """Images as few passes and one by one, after all else has been compared."""
    built = [a for step in read_steps(entries) for a in step.build(order)]
    before, points = image.copy(), np.random.default_rng(seed).uniform(0, 90, (20, 2))
    found, next_numbers = [], []
    for exact in (False, True):
        seed_all_rng(seed)
        found.append(Augmenter(built, exact=exact)(image, labels))
        next_numbers.append(np.random.uniform())  # noqa: NPY002
        np.testing.assert_array_equal(image, before)
    (ours, our_labels, our_changes), (theirs, their_labels, their_changes) = found
    assert next_numbers[0] == next_numbers[1]
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
    np.testing.assert_array_equal(our_labels, their_labels)
    moved = [changes.apply_coords(points.copy()) for changes in (our_changes, their_changes)]
    np.testing.assert_array_equal(*moved)
    return ours.astype(float), theirs.astype(float)


def labels_of(rng, image: np.ndarray) -> np.ndarray:
    return rng.integers(0, 5, image.shape[:2], dtype=np.uint8)


@pytest.mark.parametrize("size", SIZES)
def test_shapes_are_within_a_level_a_resize(size):
    rng = np.random.default_rng(0)
    changed = 0
    for seed in range(40):
        chosen = rng.choice(list(SHAPES), size=rng.integers(1, 4), replace=False)
        image = photograph(rng, size)
        entries = [SHAPES[name] for name in chosen]
        ours, theirs = both(entries, image, labels_of(rng, image), seed)
        resizes = sum(name not in ("horizontal", "vertical") for name in chosen)
        assert np.abs(ours - theirs).max(initial=0) <= resizes, chosen
        changed += theirs.shape != image.shape or not np.array_equal(theirs, image)
    assert changed > 20 or size == (1, 1)


def test_a_rotation_within_a_chain_is_sharper_but_in_place():
    """One interpolation in place of two: of fine noise more is left, the rest is the same."""
    rng = np.random.default_rng(1)
    for seed in range(20):
        image = photograph(rng, (96, 128), 60, 200)
        entries = [SHAPES["enlarge"], SHAPES["horizontal"], ROTATION, SHAPES["vertical"]]
        ours, theirs = both(entries, image, labels_of(rng, image), seed)
        within = (theirs != 128).any(axis=2) & (ours != 128).any(axis=2)
        assert within.mean() > 0.75
        difference = np.abs(ours - theirs)[within]
        assert difference.mean() < 1.5 and np.percentile(difference, 99) < 12
        # Shifted by a pixel or half of one, they would differ by more.
        inner = (slice(50, -50), slice(60, -60))
        apart = np.abs(ours[inner] - theirs[inner]).mean()
        for axis in (0, 1):
            shifted = (np.roll(theirs, 1, axis) + theirs) / 2
            assert np.abs(ours[inner] - shifted[inner]).mean() > apart


def test_the_passes_that_are_made(monkeypatch):
    """One warp for a resize, a flip, a rotation and a flip; without the resize where it shrinks."""
    warped = []
    monkeypatch.setattr(
        shapes,
        "_warp",
        lambda image, steps, warp=shapes._warp: warped.append(steps) or warp(image, steps),
    )
    image = photograph(np.random.default_rng(0), (96, 128))
    for first, count in (("enlarge", 4), ("shrink", 3)):
        warped.clear()
        both(
            [
                SHAPES[first],
                SHAPES["vertical"] | {"prob": 1},
                ROTATION,
                SHAPES["vertical"] | {"prob": 1},
            ],
            image,
            image[:, :, 0],
            seed=0,
        )
        assert [len(steps) for steps in warped] == [count]


@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_colours_within_their_range_lose_fractions_alone(order):
    """Each step on its own cuts off up to one level, which later steps enlarge a little."""
    rng = np.random.default_rng(2)
    moved = 0.0
    for seed in range(30):
        image = photograph(rng, (48, 64), 90, 160)
        chosen = rng.permutation(list(COLOURS))[: rng.integers(1, 4)]
        entries = [SHAPES["horizontal"], *(COLOURS[name] for name in chosen)]
        ours, theirs = both(entries, image, labels_of(rng, image), seed, order)
        difference = ours - theirs
        assert difference.min() > -0.6 and difference.max() < 8, chosen
        assert difference.mean() < 4
        moved = max(moved, np.abs(theirs - image).mean())
    assert moved > 10


def test_random_chains_of_all_kinds():
    rng = np.random.default_rng(3)
    every = SHAPES | COLOURS | OTHERS | {"rotation": ROTATION}
    means = []
    for seed in range(150):
        chosen = rng.choice(list(every), size=rng.integers(2, 7), replace=False).tolist()
        image = photograph(rng, SIZES[rng.integers(2)])
        ours, theirs = both([every[name] for name in chosen], image, labels_of(rng, image), seed)
        assert ours.min() >= 0 and ours.max() <= 255
        means.append(np.abs(ours - theirs).mean())
        assert means[-1] < 12, (chosen, means[-1])
    assert 0 < np.median(means) < 3


@pytest.mark.parametrize(("channels", "dtype"), [(1, np.uint8), (5, np.float32), (3, np.float32)])
def test_other_images_are_changed_step_by_step(channels, dtype):
    rng = np.random.default_rng(4)
    image = rng.uniform(0, 255, (60, 80, channels)).astype(dtype)
    entries = [SHAPES["enlarge"], SHAPES["horizontal"], ROTATION, COLOURS["jitter"]]
    ours, theirs = both(entries, image, labels_of(rng, image), seed=0)
    np.testing.assert_array_equal(ours, theirs)


class Darker(T.Augmentation):
    """A user's own, which makes floats of the pixels, and looks at them."""

    def get_transform(self, image):
        assert isinstance(image, np.ndarray) and image.std() > 5
        return T.ColorTransform(lambda pixels: pixels.astype(np.float32) / 2)


def test_a_users_own_augmentation_gets_the_pixels_and_may_change_their_type():
    rng = np.random.default_rng(5)
    image = photograph(rng, (60, 80))
    steps = [T.ResizeShortestEdge([90], 200, "choice"), T.RandomFlip(), Darker(), T.RandomFlip()]
    found = []
    for exact in (False, True):
        seed_all_rng(0)
        found.append(Augmenter(steps, exact=exact)(image)[0])
    assert found[0].dtype == np.float32
    np.testing.assert_allclose(*found, atol=0.5)


def test_transforms_that_are_no_augmentations_and_none_at_all():
    image = photograph(np.random.default_rng(6), (60, 80))
    cropped = Augmenter([T.CropTransform(5, 6, 30, 20)])(image)[0]
    np.testing.assert_array_equal(cropped, image[6:26, 5:35])
    same, labels, changes = Augmenter([])(image)
    assert same is image and labels is None and len(changes) == 0
