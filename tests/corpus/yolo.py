"""Bad lines, files and names of YOLO segmentation."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import yaml

import factories
from corpus.case import Case, Place, first_file, path_of, records_of

Make = Callable[[Path], Place]
SQUARE = "0.2 0.2 0.4 0.2 0.4 0.4 0.2 0.4"

# name, hazard, rule, what stands in the place of the first line
LINES: tuple[tuple[str, str, str, str], ...] = (
    ("class_unknown", "start", "class_unknown", f"99 {SQUARE}"),
    ("class_negative", "start", "class_unknown", f"-1 {SQUARE}"),
    ("class_text", "start", "class_unknown", f"square {SQUARE}"),
    ("class_fraction", "S21", "class_unknown", f"0.7 {SQUARE}"),
    ("class_nan", "S21", "class_unknown", f"nan {SQUARE}"),
    ("coordinate_nan", "late", "polygon_hostile", "0 nan 0.2 0.4 0.2 0.4 0.4"),
    ("coordinate_infinite", "late", "polygon_hostile", "0 inf 0.2 0.4 0.2 0.4 0.4"),
    ("coordinate_1e9", "late", "polygon_hostile", "0 1e9 0.2 0.4 0.2 0.4 0.4"),
    ("coordinate_overflow", "late", "polygon_hostile", "0 1e999 0.2 0.4 0.2 0.4 0.4"),
    ("coordinates_in_pixels", "S16", "polygon_normalised", "0 12 12 25 12 25 25"),
    ("coordinates_outside", "S16", "polygon_normalised", "0 1.2 0.2 1.4 0.2 1.4 0.4"),
    ("coordinates_odd", "late", "segmentation_invalid", "0 0.2 0.2 0.4 0.2 0.4 0.4 0.2"),
    ("coordinates_text", "late", "segmentation_invalid", "0 0.2 0.2 0.4 x 0.4 0.4"),
    ("comma", "late", "segmentation_invalid", "0 0,2 0,2 0,4 0,2 0,4 0,4"),
    ("polygon_crossing", "S16", "polygon_crossing", "0 0.2 0.2 0.4 0.2 0.2 0.4 0.4 0.4"),
    ("polygon_flat", "late", "polygon_flat", "0 0.2 0.2"),
    ("polygon_without_pixel", "S16", "mask_empty", "0 0.2 0.2 0.2 0.2 0.2 0.2"),
    ("box_beside_polygons", "late", "segmentation_missing", "0 0.3 0.3 0.2 0.2"),
    ("box_flat", "S15", "box_invalid", "0 0.3 0.3 0.0 0.2"),
    ("whole_image", "S22", "mask_whole_image", "0 0 0 1 0 1 1 0 1"),
)


def _line(root: Path, text: str) -> Place:
    spec = factories.make("yolo", root, num_images=2)
    file = first_file(spec, "labels", "*.txt")
    file.write_text("\n".join([text, *file.read_text().splitlines()[1:]]))
    return Place(spec, file, 1)


def _copied(root: Path) -> Place:
    spec = factories.make("yolo", root, num_images=2)
    file = first_file(spec, "labels", "*.txt")
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines, lines[0]]))
    return Place(spec, file, len(lines) + 1)


def _not_text(root: Path) -> Place:
    spec = factories.make("yolo", root, num_images=2)
    file = first_file(spec, "labels", "*.txt")
    file.write_bytes(b"\xff\xfe0 0.2")
    return Place(spec, file)


def _no_image(root: Path) -> Place:
    spec = factories.make("yolo", root, num_images=2)
    Path(records_of(spec)[0]["file_name"]).unlink()
    return Place(spec, first_file(spec, "labels", "*.txt"))


def _image_in_pieces(root: Path) -> Place:
    """Two images for one text file."""
    spec = factories.make("yolo", root, num_images=2)
    image = Path(records_of(spec)[0]["file_name"])
    second = image.with_suffix(".webp")
    second.write_bytes(image.read_bytes())
    return Place(spec, second)


def _empty(split: str) -> Make:
    """How to write a data set of which one split has no objects."""

    def make(root: Path) -> Place:
        spec = factories.make("yolo", root, num_images=2)
        for file in path_of(spec, "labels", split).rglob("*.txt"):
            file.write_text("")
        file = sorted(path_of(spec, "labels", split).rglob("*.txt"))[0]
        return Place(spec, file, split=split)

    return make


def _one_empty(root: Path) -> Place:
    spec = factories.make("yolo", root, num_images=2)
    file = first_file(spec, "labels", "*.txt")
    file.write_text("")
    return Place(spec, file)


def _untaught(root: Path) -> Place:
    """The training split has no object of the second class."""
    spec = factories.make("yolo", root, num_images=2)
    folder = path_of(spec, "labels")
    for file in folder.rglob("*.txt"):
        lines = file.read_text().splitlines()
        file.write_text("\n".join(line for line in lines if line.startswith("0 ")))
    return Place(spec, folder)


def _names(names: object) -> Make:
    """How to write a data set with other names in its data.yaml."""

    def make(root: Path) -> Place:
        spec = factories.make("yolo", root, num_images=2)
        file = root / "data.yaml"
        fields = yaml.safe_load(file.read_text())
        file.write_text(yaml.safe_dump({**fields, "names": names}))
        return Place(spec, file, split=None)

    return make


def _no_names(root: Path) -> Place:
    place = _names(None)(root)
    place.file.unlink()
    return place


def cases() -> list[Case]:
    """All of this file."""
    kinds: tuple[tuple[str, str, str, Make], ...] = (
        *((name, hazard, rule, partial(_line, text=text)) for name, hazard, rule, text in LINES),
        ("annotation_copied", "S18", "annotation_copied", _copied),
        ("not_text", "start", "file_invalid", _not_text),
        ("no_image", "S7", "unpaired", _no_image),
        ("two_images", "S23", "name_clash", _image_in_pieces),
        ("no_objects_to_score", "S21", "split_without_objects", _empty("val")),
        ("image_without_objects", "S21", "images_without_objects", _one_empty),
        ("class_untaught", "S12", "class_untaught", _untaught),
        ("no_names", "start", "classes_missing", _no_names),
        ("names_null", "start", "classes_missing", _names(None)),
        ("names_twice", "S18", "class_duplicate", _names(["square", "square"])),
        ("names_no_text", "start", "class_unknown", _names(["square", False])),
    )
    return [
        *(Case(name, hazard, "yolo", rule, make) for name, hazard, rule, make in kinds),
        Case(
            *("no_objects", "start", "yolo", "split_without_objects", _empty("train")),
            also=("class_untaught",),
        ),
    ]
