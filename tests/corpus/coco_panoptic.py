"""Bad panoptic maps and their lists of segments."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import factories
from corpus.case import ANY, Case, Id, Place, edit_json, first_file, path_of
from corpus.coco_edits import Entry
from corpus.pixels import cut_off, flip_byte, narrowed, rewritten, turned

Make = Callable[[Path], Place]


def _json(change: Callable[[Entry], Id | None]) -> Make:
    """How to write a data set of which the training json is changed."""

    def make(root: Path) -> Place:
        spec = factories.make("coco_panoptic", root, num_images=2)
        file = path_of(spec, "annotations")
        return Place(spec, file, edit_json(file, change))

    return make


def _map(damage: Callable[[Path], object], annotation: Id | None = None) -> Make:
    """How to write a data set of which the first panoptic PNG is damaged."""

    def make(root: Path) -> Place:
        spec = factories.make("coco_panoptic", root, num_images=2, size=(48, 64))
        file = first_file(spec, "panoptic", "*.png")
        damage(file)
        return Place(spec, file, annotation)

    return make


def _unlisted(pixels: np.ndarray) -> np.ndarray:
    pixels[:6, :6] = (9, 9, 9)
    return pixels


def _segment(**fields: Any) -> Callable[[Entry], Id]:
    """Sets fields of the first countable segment."""

    def change(content: Entry) -> Id:
        things = {c["id"] for c in content["categories"] if c["isthing"]}
        segments = content["annotations"][0]["segments_info"]
        segment = next(s for s in segments if s["category_id"] in things)
        segment |= fields
        return segment["id"]

    return change


def _segment_twice(content: Entry) -> str:
    segments = content["annotations"][0]["segments_info"]
    segments.append(dict(segments[0]))
    return ANY


def _image_gone(content: Entry) -> str:
    content["images"].pop(0)
    return ANY


def _annotation_gone(content: Entry) -> None:
    content["annotations"].pop(0)


def _annotation_twice(content: Entry) -> str:
    content["annotations"].append(content["annotations"][0])
    return ANY


def _image_twice(content: Entry) -> None:
    content["images"].append(content["images"][0])


def _without(key: str) -> Callable[[Entry], str]:
    """The first annotation, which is that of an image, lacks a key."""

    def change(content: Entry) -> str:
        del content["annotations"][0][key]
        return ANY

    return change


def _name_twice(content: Entry) -> None:
    content["categories"][1]["name"] = content["categories"][0]["name"]


def _no_isthing(content: Entry) -> None:
    del content["categories"][0]["isthing"]


def _clash(root: Path) -> Place:
    """Classes are countable in one split and not in the other."""
    spec = factories.make("coco_panoptic", root, num_images=2)
    file = path_of(spec, "annotations", "val")
    edit_json(file, lambda content: [c.update(isthing=0) for c in content["categories"]])
    return Place(spec, file, split=None)


def _map_absent(root: Path) -> Place:
    spec = factories.make("coco_panoptic", root, num_images=2)
    first_file(spec, "panoptic", "*.png").unlink()
    return Place(spec, path_of(spec, "annotations"), ANY)


def _list(change: Callable[[list[Entry]], Id | None]) -> Make:
    """How to write a data set of which one list of segments disagrees with its map."""

    def make(root: Path) -> Place:
        spec = factories.make("coco_panoptic", root, num_images=2)
        file = path_of(spec, "annotations")
        named = edit_json(file, lambda c: change(c["annotations"][0]["segments_info"]))
        return Place(spec, first_file(spec, "panoptic", "*.png"), named)

    return make


def _listed_only(segments: list[Entry]) -> Id:
    segments.append({**segments[0], "id": 12345})
    return 12345


def _not_listed(segments: list[Entry]) -> None:
    segments.pop()


def cases() -> list[Case]:
    """All of this file."""
    kinds: tuple[tuple[str, str, str, Make], ...] = (
        ("segment_unlisted", "S9", "segments_mismatch", _map(rewritten(_unlisted), ANY)),
        ("map_other_size", "late", "size_mismatch", _map(rewritten(narrowed))),
        ("map_turned", "S10", "size_turned", _map(rewritten(turned))),
        ("map_grey", "S3", "label_kind", _map(rewritten(lambda p: p[:, :, 0]))),
        ("map_jpeg", "S6", "label_lossy", _map(rewritten(format="JPEG"))),
        ("map_cut_off", "late", "image_unreadable", _map(cut_off)),
        ("map_flipped_byte", "S20", "image_unreadable", _map(flip_byte)),
        ("map_absent", "late", "unpaired", _map_absent),
        ("segment_listed_only", "S9", "segments_mismatch", _list(_listed_only)),
        ("segment_not_listed", "S9", "segments_mismatch", _list(_not_listed)),
        ("segment_twice", "start", "annotation_id_duplicate", _json(_segment_twice)),
        ("segment_class_unknown", "start", "class_unknown", _json(_segment(category_id=99))),
        ("segment_class_fraction", "S21", "class_unknown", _json(_segment(category_id=1.7))),
        ("segment_area_wrong", "late", "area_not_mask", _json(_segment(area=1))),
        ("segment_box_wrong", "S15", "box_not_mask", _json(_segment(bbox=[0, 0, 2, 2]))),
        ("segments_absent", "start", "file_invalid", _json(_without("segments_info"))),
        ("file_name_absent", "start", "file_invalid", _json(_without("file_name"))),
        ("image_unknown", "S18", "image_unknown", _json(_image_gone)),
        ("annotation_absent", "S7", "unpaired", _json(_annotation_gone)),
        ("annotation_twice", "S17", "image_listed_twice", _json(_annotation_twice)),
        ("image_id_twice", "S17", "image_id_duplicate", _json(_image_twice)),
        ("class_name_twice", "S18", "class_duplicate", _json(_name_twice)),
        ("isthing_absent", "start", "class_clash", _json(_no_isthing)),
        ("class_clash", "S12", "class_clash", _clash),
    )
    return [Case(name, hazard, "coco_panoptic", rule, make) for name, hazard, rule, make in kinds]
