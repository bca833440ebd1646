"""Counts of pixels, against a plain count of the files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import factories
from project.data.register import register_dataset
from project.data.statistics import count_pixels


def counted(folder: Path) -> np.ndarray:
    values = [np.asarray(Image.open(path)).ravel() for path in folder.iterdir()]
    return np.bincount(np.concatenate(values), minlength=256)


@pytest.mark.parametrize("ignore", [False, True])
def test_pixels_of_label_maps(tmp_path, ignore):
    name = register_dataset(factories.make_label_map(tmp_path, ignore=ignore))[0]
    expected = counted(tmp_path / "labels" / "train")
    assert (expected[255] > 0) == ignore and (expected[:3] > 0).all()
    np.testing.assert_array_equal(count_pixels(name), expected[:3])


def test_pixels_of_derived_labels(tmp_path):
    spec = factories.make_coco(tmp_path, labels=True)
    expected = counted(tmp_path / "labels" / "val")[:3]
    text = spec.read_text()
    spec.write_text("\n".join(line for line in text.splitlines() if "labels" not in line))
    np.testing.assert_array_equal(count_pixels(register_dataset(spec)[1]), expected)
