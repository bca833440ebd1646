"""COCO files with bad images, ids or categories, and files that are none."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

import factories
from corpus.case import Case, Place, edit_spec
from corpus.coco_edits import Entry, damaged

NAN = float("nan")


def _image(**fields: Any) -> Callable[[Entry], None]:
    """A change of the first image."""
    return lambda content: content["images"][0].update(fields)


def _image_id_twice(content: Entry) -> None:
    first, second = content["images"]
    for entry in content["annotations"]:
        entry["image_id"] = first["id"]
    second["id"] = first["id"]


def _listed_twice(content: Entry) -> None:
    content["images"][1]["file_name"] = content["images"][0]["file_name"]


def _listed_by_another_name(content: Entry) -> None:
    content["images"][1]["file_name"] = "./" + content["images"][0]["file_name"]


def _name_twice(content: Entry) -> None:
    content["categories"][1]["name"] = content["categories"][0]["name"]


def _category_id_twice(content: Entry) -> None:
    content["categories"][1]["id"] = content["categories"][0]["id"]


def _category_id_text(content: Entry) -> None:
    content["categories"][0]["id"] = "3"


def _category_without_name(content: Entry) -> None:
    del content["categories"][0]["name"]


def _no_categories(content: Entry) -> None:
    content["categories"] = []


def _categories_absent(content: Entry) -> None:
    del content["categories"]


def _other_class(content: Entry) -> None:
    """The second of two classes has another name, as in S12."""
    content["categories"][1]["name"] = "star"


def _class_gone(content: Entry) -> None:
    gone = content["categories"].pop()["id"]
    content["annotations"] = [a for a in content["annotations"] if a["category_id"] != gone]


def _extra_class(content: Entry) -> None:
    content["categories"].append({"id": 9, "name": "star"})


def _other_order(content: Entry) -> None:
    """The same classes under each other's ids."""
    first, second = content["categories"]
    swapped = {first["id"]: second["id"], second["id"]: first["id"]}
    first["id"], second["id"] = second["id"], first["id"]
    for entry in content["annotations"]:
        entry["category_id"] = swapped[entry["category_id"]]


def _untaught(content: Entry) -> None:
    """All objects are of the first class."""
    first = content["categories"][0]["id"]
    content["annotations"] = [a for a in content["annotations"] if a["category_id"] == first]


def _no_annotations(content: Entry) -> None:
    content["annotations"] = []


def _image_without_objects(content: Entry) -> None:
    first = content["images"][0]["id"]
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] != first]


def _no_images(content: Entry) -> None:
    content |= {"images": [], "annotations": []}


def _annotations_object(content: Entry) -> None:
    content["annotations"] = {str(a["id"]): a for a in content["annotations"]}


def _annotation_number(content: Entry) -> None:
    content["annotations"][0] = 7


def _text(content: bytes) -> Callable[[Path], Place]:
    """How to write a data set of which one file holds other bytes."""

    def make(root: Path) -> Place:
        spec = factories.make("coco", root, num_images=2)
        (root / "train.json").write_bytes(content)
        return Place(spec, root / "train.json")

    return make


def _absent(root: Path) -> Place:
    spec = factories.make("coco", root, num_images=2)
    (root / "train.json").unlink()
    return Place(spec, root / "train.json")


def _folder(root: Path) -> Place:
    place = _absent(root)
    place.file.mkdir()
    return place


def _clash(root: Path) -> Place:
    spec = factories.make("coco", root, num_images=2)
    edit_spec(spec, stuff=["square"])
    return Place(spec, spec, split=None)


def _same_stem(root: Path) -> Place:
    """Two images that one label map would belong to."""
    spec = damaged(lambda c: c["images"][1].update(file_name="000.bmp"), labels=True)(root).spec
    folder = root / "images" / "train"
    Image.open(folder / "001.png").save(folder / "000.bmp")
    return Place(spec, folder / "000.bmp")


# name, hazard, rule, split, change
_CHANGES: tuple[tuple[str, str, str, str, Callable[[Entry], None]], ...] = (
    ("image_id_twice", "S17", "image_id_duplicate", "train", _image_id_twice),
    ("image_listed_twice", "S18", "image_listed_twice", "train", _listed_twice),
    ("image_listed_by_another_name", "S18", "image_listed_twice", "train", _listed_by_another_name),
    ("image_name_absent", "start", "file_invalid", "train", _image(file_name=None)),
    ("image_name_number", "start", "file_invalid", "train", _image(file_name=7)),
    ("image_height_zero", "late", "image_size_invalid", "train", _image(height=0)),
    ("image_width_text", "late", "image_size_invalid", "train", _image(width="64")),
    ("image_width_nan", "late", "image_size_invalid", "train", _image(width=NAN)),
    ("image_width_giant", "late", "image_size_invalid", "train", _image(width=10**6)),
    ("image_width_fraction", "late", "image_size_invalid", "train", _image(width=64.5)),
    ("class_name_twice", "S18", "class_duplicate", "train", _name_twice),
    ("class_id_twice", "start", "class_duplicate", "train", _category_id_twice),
    ("class_id_text", "start", "classes_missing", "train", _category_id_text),
    ("class_without_name", "start", "classes_missing", "train", _category_without_name),
    ("no_classes", "start", "classes_missing", "train", _no_categories),
    ("classes_absent", "start", "file_invalid", "train", _categories_absent),
    ("class_renamed", "S12", "class_missing", "val", _other_class),
    ("class_gone", "S12", "class_missing", "val", _class_gone),
    ("class_extra", "S12", "class_missing", "val", _extra_class),
    ("class_order", "S12", "class_order", "val", _other_order),
    ("class_untaught", "S12", "class_untaught", "train", _untaught),
    ("class_unused", "S12", "class_unused", "val", _untaught),
    ("no_objects_to_score", "S21", "split_without_objects", "val", _no_annotations),
    ("image_without_objects", "S21", "images_without_objects", "train", _image_without_objects),
    ("no_images", "start", "file_invalid", "train", _no_images),
    ("annotations_object", "start", "file_invalid", "train", _annotations_object),
    ("annotation_number", "start", "file_invalid", "train", _annotation_number),
)
_MAKES: tuple[tuple[str, str, str, Callable[[Path], Place]], ...] = (
    ("json_cut_off", "start", "file_invalid", _text(b'{"images": [{"id": 1,')),
    ("json_empty", "start", "file_invalid", _text(b"")),
    ("json_list", "start", "file_invalid", _text(b"[1, 2]")),
    ("json_deep", "start", "file_invalid", _text(b"[" * 100_000)),
    ("json_not_utf8", "start", "file_invalid", _text(b'{"images": "\xff\xfe"}')),
    ("json_absent", "start", "file_invalid", _absent),
    ("json_folder", "start", "file_invalid", _folder),
    ("class_clash", "S12", "class_clash", _clash),
    ("same_stem", "S23", "name_clash", _same_stem),
)


def cases() -> list[Case]:
    """All of this file."""
    nameless = {"image_id_absent": _image(id=None), "image_id_bool": _image(id=True)}
    return [
        *(
            Case(name, "start", "coco", "file_invalid", damaged(change), also=("image_unknown",))
            for name, change in nameless.items()
        ),
        Case(
            *("no_objects", "start", "coco", "split_without_objects", damaged(_no_annotations)),
            also=("class_untaught",),
        ),
        *(Case(n, h, "coco", rule, damaged(change, split=s)) for n, h, rule, s, change in _CHANGES),
        *(Case(n, h, "coco", rule, make) for n, h, rule, make in _MAKES),
    ]
