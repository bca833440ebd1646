import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import factories
from conversions import read
from project.data.files import group_of, path_from_root, relative_name
from project.data.splitting import _classes_present, split_dataset
from project.data.stratification import stratify
from project.errors import DatasetError

SHARES = (0.7, 0.2, 0.1)


def draw(seed: int, images: int, groups: int, classes: int) -> tuple[np.ndarray, list[str]]:
    """Presence (N, K) of classes of very different frequency, and a group for each image."""
    rng = np.random.default_rng(seed)
    frequency = np.geomspace(0.9, 2 / images, classes)
    present = rng.random((images, classes)) < frequency
    return present, [f"g{g}" for g in rng.integers(0, groups, images)]


sets = st.builds(
    draw,
    st.integers(0, 10_000),
    images=st.integers(20, 80),
    groups=st.integers(4, 60),
    classes=st.integers(1, 6),
)


@settings(deadline=None, max_examples=60)
@given(sets, st.integers(0, 5))
def test_groups_stay_whole_and_shares_are_met(drawn: tuple[np.ndarray, list[str]], seed: int):
    present, groups = drawn
    if len(set(groups)) < 3:
        return
    assigned = stratify(present, groups, SHARES, seed)
    assert assigned.shape == (len(groups),)
    assert set(assigned.tolist()) == {0, 1, 2}
    splits_of = {}
    for group, split in zip(groups, assigned.tolist(), strict=True):
        splits_of.setdefault(group, set()).add(split)
    assert {len(splits) for splits in splits_of.values()} == {1}
    largest = max(map(groups.count, set(groups)))
    sizes = np.bincount(assigned, minlength=3)
    # A split may take one group too many, and exchanges move less than another: so in the end.
    assert np.abs(sizes - np.array(SHARES) * len(groups)).max() <= 2 * largest + 1


@settings(deadline=None, max_examples=30)
@given(sets, st.integers(0, 5), st.randoms(use_true_random=False))
def test_the_order_of_images_does_not_matter(drawn, seed: int, random):
    present, groups = drawn
    if len(set(groups)) < 3:
        return
    order = list(range(len(groups)))
    random.shuffle(order)
    shuffled = stratify(present[order], [groups[i] for i in order], SHARES, seed)
    np.testing.assert_array_equal(shuffled, stratify(present, groups, SHARES, seed)[order])


def test_another_seed_is_another_split():
    present, _ = draw(0, 60, 60, 4)
    names = [str(i) for i in range(60)]
    splits = {tuple(stratify(present, names, SHARES, seed)) for seed in range(5)}
    assert len(splits) == 5


def test_every_class_with_groups_enough_is_everywhere():
    """Ten classes, the rarest in exactly three images: one for each split, of which two are of 6.

    Without exchanges nearly every second of these sets leaves some split without some class.
    """
    for seed in range(60):
        rng = np.random.default_rng(seed)
        present = np.zeros((60, 10), dtype=bool)
        for label in range(10):
            present[rng.choice(60, 3 + label, replace=False), label] = True
        assigned = stratify(present, [str(i) for i in range(60)], (0.8, 0.1, 0.1), seed)
        counts = np.stack([present[assigned == split].sum(axis=0) for split in range(3)])
        assert counts.min() >= 1, counts
        assert np.abs(np.bincount(assigned) - [48, 6, 6]).max() <= 2


def test_shares_of_classes_are_nearer_than_by_chance():
    """Worst deviation of a class's share, over classes and splits, and over ten data sets."""
    ours, chance = [], []
    for seed in range(10):
        present, _ = draw(seed, 200, 200, 5)
        names = [str(i) for i in range(200)]
        by_chance = np.random.default_rng(seed).permutation(np.repeat([0, 1, 2], [140, 40, 20]))
        for assigned, errors in (
            (stratify(present, names, SHARES, seed), ours),
            (by_chance, chance),
        ):
            counts = np.stack([present[assigned == split].sum(axis=0) for split in range(3)])
            wanted = np.array(SHARES)[:, None] * present.sum(axis=0)
            errors.append(np.abs(counts - wanted).max())
    assert min(chance) > 1
    assert np.mean(ours) < np.mean(chance) / 3
    assert max(ours) <= 2.5


def test_few_groups_fill_every_split():
    """Three groups of 30 images: each split gets one, though two shares are smaller than that."""
    groups = [name for name in "abc" for _ in range(30)]
    assigned = stratify(np.ones((90, 1), dtype=bool), groups, (0.8, 0.1, 0.1), 0)
    assert sorted(np.bincount(assigned)) == [30, 30, 30]
    with pytest.raises(DatasetError, match="2 groups of images cannot fill 3 splits"):
        stratify(np.ones((60, 1), dtype=bool), groups[:60], (0.8, 0.1, 0.1), 0)


def test_groups_are_sought_from_the_root(tmp_path: Path):
    """One split a folder, as tiles come: the pattern sees which; and images within a folder."""
    sources = list(read(factories.make("coco", tmp_path / "s", num_images=4)).values())
    shares = {"train": 0.5, "val": 0.5}
    split = split_dataset(sources, shares, seed=0, pattern=r"images/(\w+)/")
    folders = [{Path(r["file_name"]).parent.name for r in rs} for _, rs in split.dataset.values()]
    assert sorted(map(sorted, folders)) == [["train"], ["val"]]
    split = split_dataset(sources, shares, seed=0, pattern=r"00\d")
    numbers = [{Path(r["file_name"]).stem for r in rs} for _, rs in split.dataset.values()]
    assert [len(own) for own in numbers] == [2, 2] and not set.intersection(*numbers)
    with pytest.raises(DatasetError, match=r"any of the 8 paths, such as images/train/000\.png"):
        split_dataset(sources, shares, seed=0, pattern="film")


def test_a_group_that_is_not_found_is_one_of_its_own(tmp_path: Path):
    spec = factories.make("coco", tmp_path / "s", num_images=4)
    (info, records), _ = read(spec).values()
    assert path_from_root(records[0], info) == "images/train/000.png"
    assert [group_of(r, info, "00[01]|02") for r in records] == ["000", "001", "02", None]
    assert group_of(records[0], info, "(00)1|000") is None
    assert group_of(records[0], info, "train/(0+)") == "000"


def test_crowds_are_no_objects(tmp_path: Path):
    spec = factories.make_coco(tmp_path / "s", num_images=4)
    path = tmp_path / "s" / "train.json"
    content = json.loads(path.read_text())
    for number, entry in enumerate(content["annotations"]):
        entry["iscrowd"] = int(entry["category_id"] == 7)
        entry["category_id"] = 3 if number == 0 else entry["category_id"]
    assert sum(entry["iscrowd"] for entry in content["annotations"]) > 2
    path.write_text(json.dumps(content))
    [train, _] = read(spec).values()
    discs = [
        _classes_present(record, train[0])[train[0].categories.semantic.index("disc")]
        for record in train[1]
    ]
    assert not any(discs)


@pytest.mark.parametrize("format", ["coco", "label_map"])
def test_a_data_set_is_divided_by_its_classes(tmp_path: Path, format: str):
    sources = list(read(factories.make(format, tmp_path / "s", num_images=10)).values())
    split = split_dataset(sources, {"train": 0.8, "val": 0.1, "test": 0.1}, seed=3)
    names = {
        name: [(r["dataset"], relative_name(r, info)) for r in records]
        for name, (info, records) in split.dataset.items()
    }
    assert [len(n) for n in names.values()] == [16, 2, 2]
    assert len({name for of_split in names.values() for name in of_split}) == 20
    again = split_dataset(sources[::-1], {"train": 0.8, "val": 0.1, "test": 0.1}, seed=3)
    assert {n: {r["file_name"] for r in records} for n, (_, records) in again.dataset.items()} == {
        n: {r["file_name"] for r in records} for n, (_, records) in split.dataset.items()
    }
    assert not split.notes


def test_a_class_of_one_image_is_said(tmp_path: Path):
    spec = factories.make_coco(tmp_path / "s", num_images=6)
    path = tmp_path / "s" / "train.json"
    content = json.loads(path.read_text())
    content["annotations"] = [
        a for a in content["annotations"] if a["category_id"] == 3 or a["image_id"] == 12
    ]
    assert sum(a["category_id"] == 7 for a in content["annotations"]) >= 1
    path.write_text(json.dumps(content))
    [train, _] = read(spec).values()
    split = split_dataset([train], {"train": 0.5, "val": 0.5}, seed=0)
    assert split.notes == ["disc is in 1 group of images, none of them in val"]
