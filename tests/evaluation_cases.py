"""Data sets and predictions written by hand, for the tests of this folder."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as mask_util
import torch
import yaml
from detectron2.structures import Boxes, BoxMode, Instances
from PIL import Image

import factories
from tool_runner import load_tool

DATASET_IDS = {"cat": 11, "dog": 4}  # neither in order nor from 1
SIZE = (48, 64)


def write_coco(folder: Path, images: Iterable[list[dict[str, Any]]]) -> Path:
    """Writes val.json and its specification.

    Args:
        folder: to write into; gives the data set its name.
        images: objects of each image, {"name", "mask" and any key of a COCO annotation}. Images
            have the ids 100, 99, ..., objects 0, 1, ...

    Returns:
        The path of the specification.
    """
    content: dict[str, Any] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": i, "name": name} for name, i in DATASET_IDS.items()],
    }
    for number, objects in enumerate(images):
        image = {
            "id": 100 - number,
            "file_name": f"{number}.jpg",
            "height": SIZE[0],
            "width": SIZE[1],
        }
        content["images"].append(image)
        content["annotations"] += [annotation(found, image["id"]) for found in objects]
    for number, entry in enumerate(content["annotations"]):
        entry["id"] = number
    (folder / "val.json").write_text(json.dumps(content))
    spec = {"name": folder.name, "format": "coco", "splits": {"val": {"annotations": "val.json"}}}
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump(spec))
    return path


def annotation(found: dict[str, Any], image_id: int) -> dict[str, Any]:
    """An object as a COCO annotation; without a mask it needs a bbox."""
    entry = {"image_id": image_id, "category_id": DATASET_IDS[found["name"]], "iscrowd": 0}
    if "mask" in found:
        rle = mask_util.encode(np.asfortranarray(found["mask"], dtype=np.uint8))
        entry["bbox"] = mask_util.toBbox(rle).tolist()
        entry["area"] = int(mask_util.area(rle))
        entry["segmentation"] = {"size": rle["size"], "counts": rle["counts"].decode()}
    return entry | {key: value for key, value in found.items() if key not in ("name", "mask")}


def rectangle(x: int, y: int, width: int, height: int) -> np.ndarray:
    """(48, 64) bool mask."""
    mask = np.zeros(SIZE, dtype=bool)
    mask[y : y + height, x : x + width] = True
    return mask


def instances(record: dict[str, Any], score: float = 0.9, masks: bool = True) -> Instances:
    """The truth of a record as a model would predict it; crowds are not predicted."""
    from project.data.labels import decode_mask

    found = [a for a in record["annotations"] if not a["iscrowd"]]
    size = (record["height"], record["width"])
    result = Instances(size)
    boxes = [BoxMode.convert(a["bbox"], a["bbox_mode"], BoxMode.XYXY_ABS) for a in found]
    result.pred_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
    result.scores = torch.full((len(found),), score)
    result.pred_classes = torch.tensor([a["category_id"] for a in found], dtype=torch.int64)
    if masks:
        pixels = [decode_mask(a["segmentation"], *size) for a in found]
        result.pred_masks = torch.from_numpy(np.array(pixels, dtype=bool).reshape(-1, *size))
    return result


def panoptic(record: dict[str, Any], name: str) -> tuple[torch.Tensor, list[dict[str, Any]]]:
    """The truth in the form of a model's output; crowds stay void."""
    from project.data.labels import panoptic_truth
    from project.data.register import dataset_info

    info = dataset_info(name)
    ids, segments = panoptic_truth(record, info)
    for segment in segments:
        if segment["iscrowd"]:
            ids[ids == segment["id"]] = 0
    things = info.categories.thing_of_semantic()
    return torch.from_numpy(ids), [
        {
            "id": s["id"],
            "isthing": s["isthing"],
            "category_id": int(things[s["semantic_id"]]) if s["isthing"] else s["semantic_id"],
        }
        for s in segments
        if not s["iscrowd"]
    ]


def score(spec: Path, predictions: Path, *words: str) -> dict[str, Any]:
    """Runs the tool and returns the data set's part of results.json."""
    out = spec.parent / "out.json"
    argv = ["--dataset", spec, "--split", "val", "--predictions", predictions, "--out", out, *words]
    assert load_tool("tools/score.py").main(list(map(str, argv))) == 0
    (dataset,) = json.loads(out.read_text())["datasets"].values()
    return dataset


def erase_unlisted(panoptic: Path) -> None:
    """Makes void of the pixels of segments that the json does not list: crowds."""
    for entry in json.loads(panoptic.read_text())["annotations"]:
        path = panoptic.with_suffix("") / entry["file_name"]
        pixels = np.array(Image.open(path))
        ids = pixels.astype(np.int64) @ [1, 256, 65536]
        pixels[~np.isin(ids, [s["id"] for s in entry["segments_info"]])] = 0
        Image.fromarray(pixels).save(path)


FORMATS: dict[str, Callable[..., Path]] = {
    "polygons": lambda root: factories.make_coco(root, segmentation="polygon"),
    "rle with holes": lambda root: factories.make_coco(root, segmentation="rle", holes=True),
    "crowds": lambda root: factories.make_coco(root, segmentation="mixed", crowd=True),
    "coco with label maps": lambda root: factories.make_coco(root, crowd=True, labels=True),
    "index": lambda root: factories.make_label_map(root, ignore=True, things=True),
    "palette": lambda root: factories.make_label_map(root, encoding="palette", things=True),
    "0 and 255": lambda root: factories.make_label_map(root, encoding="binary_255", things=True),
    "rgb": lambda root: factories.make_label_map(root, encoding="rgb", ignore=True, things=True),
    "hard": lambda root: write_coco(root, HARD),
}
# Touching objects of one class, an object of many parts, one inside another, one of one pixel, and
# a crowd over all of it.
HARD = [
    [
        {"name": "cat", "mask": rectangle(0, 0, 10, 20)},
        {"name": "cat", "mask": rectangle(10, 0, 10, 20)},
        {
            "name": "cat",
            "mask": rectangle(22, 2, 3, 9) | rectangle(30, 30, 8, 8) | rectangle(0, 40, 5, 1),
        },
        {"name": "dog", "mask": rectangle(40, 10, 20, 30) & ~rectangle(45, 15, 10, 20)},
        {"name": "cat", "mask": rectangle(46, 16, 8, 18)},
        {"name": "dog", "mask": rectangle(63, 47, 1, 1)},
        {"name": "dog", "mask": rectangle(20, 5, 30, 40), "iscrowd": 1},
    ],
    [],
]
