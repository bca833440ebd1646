"""Image files and label maps: every file looked at, every finding with its file."""

import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import factories
from project.data.checks.headers import Resizing
from project.data.checks.legend import check_legend, classes_block
from project.data.checks.looks import Look, thumbnail
from project.data.checks.pixels import check_pixels
from project.data.dataset import read_info, read_records
from project.data.label_maps import LabelEncoding
from project.data.problems import Problem, Problems
from project.data.spec import parse_spec, read_spec
from project.data.validate import check_dataset


def look_at(spec: Path, *, quick: bool = False, **options) -> tuple[list[Problem], list[Look]]:
    """What is found in the training split, and what was decoded."""
    info = read_info(read_spec(spec), "train")
    records = read_records(info, Problems(strict=True))
    problems = Problems()
    looks, _ = check_pixels(info, records, problems, quick=quick, **options)
    check_legend([info], looks, problems)
    return problems.found, looks


def images(spec: Path) -> Path:
    return spec.parent / "images" / "train"


def with_exif(path: Path, orientation: int) -> None:
    image = Image.open(path)
    exif = Image.Exif()
    exif[274] = orientation
    image.save(path, exif=exif)


@pytest.mark.parametrize("mode", ["auto", "apply", "ignore"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(48, 64), (64, 64)])
def test_orientations(tmp_path, mode, orientation, size):
    """Stored as annotated; only a quarter turn of what is not square shows in the size."""
    spec = factories.make_coco(tmp_path, num_images=2, size=size)
    spec.write_text(f"{spec.read_text()}exif: {mode}\n")
    with_exif(images(spec) / "000.png", orientation)
    found, _ = look_at(spec)
    shows = orientation >= 5 and size == (48, 64)
    expected = []
    if shows and mode == "apply":
        expected = ["size_turned"]
    elif mode == "auto" and orientation > 1 and not shows:
        expected = ["exif_ambiguous"]
    assert [p.rule for p in found] == expected
    assert all(p.file == str(images(spec) / "000.png") and p.image == 10 for p in found)
    if shows and mode == "apply":
        assert "write `exif: auto` or `exif: ignore`" in found[0].repair


def test_sides_that_the_annotation_file_exchanges(tmp_path):
    """No EXIF orientation is at fault, so that none is spoken of."""
    spec = factories.make_coco(tmp_path, num_images=2, size=(48, 64))
    Image.new("RGB", (48, 64)).save(images(spec) / "000.png")
    (one,) = look_at(spec)[0]
    assert one.rule == "size_turned" and "exif" not in one.repair
    assert f"exchanged in {tmp_path / 'train.json'}: correct them there" in one.repair


def test_every_missing_file_is_a_finding_and_a_missing_folder_is_one(tmp_path):
    spec = factories.make_coco(tmp_path)
    (images(spec) / "001.png").unlink()
    (images(spec) / "002.png").rename(images(spec) / "002.PNG")
    found, looks = look_at(spec)
    assert [(p.rule, Path(p.file).name) for p in found] == [
        ("image_missing", "001.png"),
        ("image_missing", "002.png"),
    ]
    assert "though 002.PNG does" in found[1].found
    assert [seen.digest is None for seen in looks] == [False, True, True, False, False, False]
    shutil.rmtree(images(spec))
    (one,), _ = look_at(spec)
    assert (one.rule, one.file) == ("image_missing", str(images(spec)))
    assert "Did you mean" in one.found or "Known" in one.found


def test_a_flipped_byte_in_a_png(tmp_path):
    """Pillow decodes it to other pixels; the chunk's checksum tells."""
    spec = factories.make_coco(tmp_path, num_images=2)
    path = images(spec) / "000.png"
    content = bytearray(path.read_bytes())
    start = content.index(b"IDAT")
    length = int.from_bytes(content[start - 4 : start], "big")
    pixels = bytearray(zlib.decompress(content[start + 4 : start + 4 + length]))
    pixels[100] ^= 8
    squeezed = zlib.compress(pixels)  # a stream that is whole, under the old checksum
    chunk = len(squeezed).to_bytes(4, "big") + b"IDAT" + squeezed
    path.write_bytes(content[: start - 4] + chunk + content[start + 4 + length :])
    assert np.asarray(Image.open(path)).shape == (64, 64, 3), "Pillow has no objection"
    (one,), _ = look_at(spec)
    assert (one.rule, one.file) == ("image_unreadable", str(path))


def test_alpha_counts_where_it_is_used(tmp_path):
    spec = factories.make_coco(tmp_path, num_images=2)
    opaque, other = (images(spec) / f"00{i}.png" for i in range(2))
    for path in (opaque, other):
        Image.open(path).convert("RGBA").save(path)
    assert look_at(spec)[0] == []
    image = Image.open(other)
    alpha = np.full((64, 64), 255, np.uint8)
    alpha[:16] = 100
    image.putalpha(Image.fromarray(alpha))
    image.save(other)
    (one,), _ = look_at(spec)
    assert (one.rule, one.file) == ("alpha_used", str(other))
    assert "25.0% of its pixels" in one.found


def test_resizing_that_leaves_nothing(tmp_path):
    spec = factories.make_label_map(tmp_path, num_images=2)
    for folder in ("images", "labels"):
        pixels = np.arange(8000, dtype=np.uint8)[None] % 3
        Image.fromarray(pixels).save(tmp_path / folder / "train" / "000.png")
    assert look_at(spec)[0] == [], "nobody resizes"
    (one,), _ = look_at(spec, resizing=[Resizing(10, 100_000), Resizing(800, 1333)])
    assert (one.rule, Path(one.file).name) == ("image_shape", "000.png")


def test_the_quick_check_reads_all_headers_and_decodes_some(tmp_path):
    spec = factories.make_coco(tmp_path, num_images=40)
    Image.new("RGB", (10, 20)).save(images(spec) / "007.png")
    found, looks = look_at(spec, quick=True)
    assert [p.rule for p in found] == ["size_mismatch"]
    names = [Path(seen.record["file_name"]).stem for seen in looks]
    assert len(names) == 8 and names[0] == "000" and names[-1] == "039"


def test_shares_are_those_of_the_whole_split(tmp_path):
    """Two maps of 64 x 64: one all red, one half red and half green; blue is in neither."""
    spec = factories.make_label_map(tmp_path, encoding="rgb", num_images=2)
    classes = {"background": "#00FF00", "square": "#0000FF", "disc": "#123456"}
    fields = yaml.safe_load(spec.read_text()) | {"classes": classes}
    spec.write_text(yaml.safe_dump(fields))
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[..., 0] = 255
    Image.fromarray(pixels).save(tmp_path / "labels/train/000.png")
    pixels[32:] = (0, 255, 0)
    Image.fromarray(pixels).save(tmp_path / "labels/train/001.png")
    *files, summary = [p for p in look_at(spec)[0] if p.rule == "label_unexplained"]
    assert summary.file == str(spec) and len(files) == 2
    assert "#FF0000 (75.0%, unexplained), #00FF00 (25.0%, background)" in summary.found
    assert "nowhere found: #123456 (disc), #0000FF (square)" in summary.found
    assert "#FF0000 (100.0%)" in files[0].found and "#FF0000 (50.0%)" in files[1].found
    block = summary.repair.split("\n", 1)[1]
    pasted = yaml.safe_load(block)
    assert pasted == {"classes": {"name_of_FF0000": "#FF0000", "background": "#00FF00"}}
    parse_spec(fields | pasted)


def test_one_block_for_all_splits(tmp_path):
    """A class that only `val` shows is found; one that no split shows is listed once."""
    spec = factories.make_label_map(tmp_path, num_images=2)
    classes = {"background": 0, "square": 1, "ghost": 9}
    spec.write_text(yaml.safe_dump(yaml.safe_load(spec.read_text()) | {"classes": classes}))
    for split, value in (("train", 2), ("val", 3)):
        for path in (tmp_path / "labels" / split).iterdir():
            values = np.zeros((64, 64), np.uint8)
            values[:32] = value
            values[0] = split == "val"
            Image.fromarray(values).save(path)
    found = check_dataset(read_spec(spec)).problems.by_rule()["label_unexplained"]
    summary, *files = found
    assert (summary.split, summary.file) == (None, str(spec)) and len(files) == 4
    assert all(p.file != str(spec) for p in files)
    assert "over all 4 label maps" in summary.found
    assert summary.found.endswith("listed and nowhere found: 9 (ghost)")
    pasted = yaml.safe_load(summary.repair.split("\n", 1)[1])["classes"]
    assert sorted(pasted.values()) == [0, 1, 2, 3]


def test_what_is_ignored_is_listed_so():
    encoding = LabelEncoding(False, {0: 0, 9: 255}, ("cell",), "spec: classes")
    block = yaml.safe_load(classes_block({0: 5, 9: 1, 300: 2}, encoding))
    assert block == {"classes": {"cell": 0, "name_of_300": 300}, "ignore": [9]}


def test_the_real_wrong_legend(shared_data, tmp_path):
    """The colours of shared/data/README.md, of which the legend that comes along names one."""
    real = {"#8429F6", "#E2A929", "#3C1098", "#FEDD3A", "#6EC1E4", "#9B9B9B"}
    masks = sorted((shared_data / "dubai_aerial").glob("Tile [24]/masks/*.png"))
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
    for mask in masks:
        name = f"{mask.parent.parent.name}_{mask.name}"
        (tmp_path / "labels" / name).symlink_to(mask)
        photo = mask.parent.parent / "images" / f"{mask.stem}.jpg"
        (tmp_path / "images" / name).with_suffix(".jpg").symlink_to(photo)
    spec = tmp_path / "d.yaml"
    fields = {
        "name": "dubai",
        "format": "label_map",
        "splits": {"train": {"images": "images", "labels": "labels"}},
        "classes": {"water": "#50E3C2", "unlabelled": "#9B9B9B"},
        "roots": [str(shared_data)],
    }
    spec.write_text(yaml.safe_dump(fields))
    found, looks = look_at(spec)
    assert len(looks) == len(masks) == 18
    colours = yaml.safe_load(found[-1].repair.split("\n", 1)[1])["classes"].values()
    assert real <= set(colours) <= real | {"#000000"}
    assert "nowhere found: #50E3C2 (water)" in found[-1].found
    classes = {f"c{colour[1:]}": colour for colour in real}
    spec.write_text(yaml.safe_dump(fields | {"classes": classes, "ignore": ["#000000"]}))
    assert look_at(spec)[0] == []


def test_thumbnails_are_means():
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[:, 48:] = (30, 60, 90)
    small = thumbnail(pixels)
    assert small.shape == (32, 32)
    np.testing.assert_allclose(small[:, 16:], 60)
    np.testing.assert_allclose(small[:, :16], 0)
    many = np.random.default_rng(0).random((300, 200, 6)).astype(np.float32)
    np.testing.assert_allclose(thumbnail(many).mean(), many.mean(), rtol=1e-3)
