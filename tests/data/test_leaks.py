"""Images in two splits: the same, nearly the same, or of one group; and no false alarms."""

import io
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import factories
from project.data.checks.looks import thumbnail
from project.data.checks.near import near_pairs
from project.data.problems import Problem
from project.data.spec import read_spec
from project.data.validate import check_dataset
from tool_runner import load_tool

LEAKS = ("leak_exact", "leak_near", "leak_group", "image_copied", "split_reused", "groups_unused")


def leaks(spec: Path, *, quick: bool = False) -> list[Problem]:
    report = check_dataset(read_spec(spec), quick=quick)
    return [problem for problem in report.problems.found if problem.rule in LEAKS]


@pytest.fixture
def spec(tmp_path):
    path = factories.make_coco(tmp_path, num_images=4)
    assert leaks(path) == leaks(path, quick=True) == []
    return path


def image(spec: Path, split: str, number: int) -> Path:
    return spec.parent / "images" / split / f"00{number}.png"


def test_the_same_pixels_in_another_file_format(spec):
    shown = Image.open(image(spec, "train", 1))
    shown.save(image(spec, "val", 2), "BMP")
    (one,) = leaks(spec)
    assert (one.rule, one.split, one.file) == ("leak_exact", "val", str(image(spec, "val", 2)))
    assert str(image(spec, "train", 1)) in one.found
    assert leaks(spec, quick=True) == [], "the files differ"


@pytest.mark.parametrize("quick", [False, True])
def test_copied_files(spec, quick):
    shutil.copy(image(spec, "train", 1), image(spec, "train", 3))
    shutil.copy(image(spec, "train", 0), image(spec, "val", 0))
    found = {(p.rule, p.split, p.file) for p in leaks(spec, quick=quick)}
    assert found == {
        ("image_copied", "train", str(image(spec, "train", 3))),
        ("leak_exact", "val", str(image(spec, "val", 0))),
    }


@pytest.mark.parametrize("quick", [False, True])
def test_plain_images_say_nothing(spec, quick):
    for path in (image(spec, "train", 0), image(spec, "val", 0), image(spec, "val", 1)):
        Image.new("RGB", (64, 64), (9, 9, 9)).save(path)
    assert leaks(spec, quick=quick) == []


def test_a_split_that_is_used_twice_is_one_warning(spec):
    fields = yaml.safe_load(spec.read_text())
    fields["splits"]["val"] = fields["splits"]["train"]
    spec.write_text(yaml.safe_dump(fields))
    (one,) = leaks(spec)
    assert (one.rule, one.split, one.level) == ("split_reused", "val", "warning")


def test_groups(spec):
    grouped = spec.read_text() + "groups: 'film(\\d)'\n"
    for split, names in (("train", "1122"), ("val", "2333")):
        json = spec.parent / f"{split}.json"
        for number, film in enumerate(names):
            old, new = f"00{number}.png", f"film{film}_{number}.png"
            image(spec, split, number).rename(image(spec, split, 0).with_name(new))
            json.write_text(json.read_text().replace(old, new))
    assert leaks(spec) == []
    spec.write_text(grouped)
    (one,) = leaks(spec)
    assert (one.rule, one.split, Path(one.file).name) == ("leak_group", "val", "film2_0.png")
    assert "its group '2' has 1 images here and 2 in split 'train'" in one.found
    spec.write_text(grouped.replace("film", "reel"))
    assert [p.rule for p in leaks(spec)] == ["groups_unused"]


def recompressed(image: Image.Image, quality: int = 50) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


VARIANTS = {
    "recompressed": recompressed,
    "halved": lambda image: image.resize((image.width // 2, image.height // 2)),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "turned": lambda image: recompressed(image.transpose(Image.Transpose.ROTATE_90)),
    "darker": lambda image: image.point(lambda value: value * 0.7),
    "all": lambda image: recompressed(
        image.resize((int(image.width * 1.3), int(image.height * 1.3))).transpose(
            Image.Transpose.TRANSVERSE
        )
    ),
}


def photographs(shared_data: Path) -> list[Image.Image]:
    files = [
        *sorted((shared_data / "nuclei" / "train").iterdir())[:12],
        *sorted((shared_data / "isbi2012" / "images" / "train").iterdir())[:4],
        *sorted((shared_data / "dubai_aerial").glob("Tile 1/images/*"))[:4],
    ]
    return [Image.open(file).convert("RGB") for file in files]


def test_changed_copies_of_real_images_are_found(shared_data):
    originals = photographs(shared_data)
    thumbnails = [thumbnail(np.asarray(image)) for image in originals]
    assert len(thumbnails) == 20
    for name, change in VARIANTS.items():
        copies = [thumbnail(np.asarray(change(image))) for image in originals]
        pairs = [(one, other) for one, other, _ in near_pairs(thumbnails, copies)]
        assert pairs == [(i, i) for i in range(20)], name


def folder_thumbnails(folder: Path) -> list[np.ndarray]:
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".png", ".jpg"))
    return [thumbnail(np.asarray(Image.open(f).convert("RGB"))) for f in files[:60]]


def test_neighbours_are_no_copies(shared_data, tmp_path):
    """Slices one after the other, tiles of one town, cells of one plate, digits."""
    digits = ["--output", str(tmp_path / "digits"), "--train", "100", "--val", "50"]
    load_tool("datasets/prepare_double_digits.py").main(digits)
    aerial = shared_data / "dubai_aerial"
    pairs = [
        (tmp_path / "digits/images/train", tmp_path / "digits/images/val"),
        (shared_data / "isbi2012/images/train", shared_data / "isbi2012/images/val"),
        (aerial / "Tile 1/images", aerial / "Tile 2/images"),
        (shared_data / "nuclei/train", shared_data / "nuclei/val"),
    ]
    for folders in pairs:
        first, second = map(folder_thumbnails, folders)
        assert len(first) > 3 and len(second) > 3
        assert list(near_pairs(first, second)) == [], folders


def test_many_images_take_seconds():
    """A fifth of 10,000 against 2,000 either way."""
    rng = np.random.default_rng(0)
    first, second = ([rng.random((32, 32)) * 255 for _ in range(n)] for n in (2000, 400))
    second[7] = first[1234][::-1] + rng.normal(0, 2, (32, 32))
    start = time.process_time()
    assert [pair[:2] for pair in near_pairs(first, second)] == [(1234, 7)]
    assert time.process_time() - start < 10
