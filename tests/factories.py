"""Tiny data sets in every format, and perfect predictions for them, made where a test wants them.

Every image shows red squares and blue discs on grey, so that a small model can learn them within
seconds. Shapes stand in the cells of a 2 x 2 grid and never overlap.
"""

import importlib
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pycocotools.mask as mask_util
import yaml
from PIL import Image

if TYPE_CHECKING:
    from corpus import Case

SPLITS = ("train", "val")
DATASET_IDS = {"square": 3, "disc": 7}  # with gaps, as real files have them
COLOURS = {"square": (200, 40, 40), "disc": (40, 60, 210)}  # RGB
LABEL_COLOURS = {"background": "#000000", "square": "#FF0000", "disc": "#0000FF"}
IGNORE_COLOUR = "#FFFFFF"
_names = itertools.count()


def make(format: str, root: Path, **keywords: Any) -> Path:
    """Writes a data set in any format; the keywords are those of its `make_<format>`."""
    if format in ("coco", "label_map"):
        return globals()[f"make_{format}"](root, **keywords)
    module = importlib.import_module(f"factories_{format}")
    return getattr(module, f"make_{format}")(root, **keywords)


def bad_cases() -> "list[Case]":
    """Every kind of bad data in every format in which it can occur."""
    from corpus import BAD

    return BAD


def make_coco(
    root: Path,
    *,
    num_images: int = 6,
    size: tuple[int, int] = (64, 64),
    segmentation: str = "polygon",
    holes: bool = False,
    crowd: bool = False,
    labels: bool = False,
    seed: int = 0,
    name: str | None = None,
) -> Path:
    """Writes a COCO data set with the splits train and val.

    Args:
        root: folder to write into; made if needed.
        num_images: images in each split.
        size: (height, width) of every image, pixels.
        segmentation: "polygon", "rle", "uncompressed_rle", or "mixed": the three by turns.
        holes: discs become rings, in RLE, since polygons hold no holes.
        crowd: adds a crowd region of the class square to every image.
        labels: also writes label maps (background 0, square 1, disc 2, crowd 255).
        seed: of positions, sizes and noise.
        name: of the data set; unique where it is not given.

    Returns:
        The path of the specification file.
    """
    if holes and segmentation == "polygon":
        raise ValueError("polygons hold no holes; ask for another segmentation")
    rng = np.random.default_rng(seed)
    spec = {"name": name or f"shapes{next(_names)}", "format": "coco", "splits": {}}
    for split in SPLITS:
        scenes = [_scene(rng, size, holes, crowd) for _ in range(num_images)]
        _write_images(root / "images" / split, [image for image, _ in scenes])
        content = _coco_content([shapes for _, shapes in scenes], size, segmentation)
        (root / f"{split}.json").write_text(json.dumps(content))
        spec["splits"][split] = {"images": f"images/{split}", "annotations": f"{split}.json"}
        if labels:
            maps = [_label_ids(shapes, size) for _, shapes in scenes]
            _write_labels(root / "labels" / split, maps, Image.fromarray)
            spec["splits"][split]["labels"] = f"labels/{split}"
    return _write_spec(root, spec)


def make_label_map(
    root: Path,
    *,
    num_images: int = 6,
    size: tuple[int, int] = (64, 64),
    encoding: str = "index",
    ignore: bool = False,
    things: bool = False,
    seed: int = 0,
    name: str | None = None,
) -> Path:
    """Writes a data set of label maps with the splits train and val.

    Its classes are background, square and disc; with "binary_255" background and shape.

    Args:
        root: folder to write into; made if needed.
        num_images: images in each split.
        size: (height, width) of every image, pixels.
        encoding: "index", "palette", "binary_255" (0 and 255) or "rgb" (colour codes).
        ignore: the lowest eighth of every label map is to be ignored (255; 128 with "binary_255").
        things: all classes but the background are countable, by connected components.
        seed: of positions, sizes and noise.
        name: of the data set; unique where it is not given.

    Returns:
        The path of the specification file.
    """
    rng = np.random.default_rng(seed)
    classes, ignored, draw = _LABEL_ENCODINGS[encoding]
    spec = {"name": name or f"maps{next(_names)}", "format": "label_map", "classes": classes}
    if ignore:
        spec["ignore"] = [ignored]
    if things:
        spec |= {"things": list(classes)[1:], "instances": "connected_components"}
    spec["splits"] = {s: {"images": f"images/{s}", "labels": f"labels/{s}"} for s in SPLITS}
    for split in SPLITS:
        scenes = [_scene(rng, size, holes=False, crowd=False) for _ in range(num_images)]
        maps = [_label_ids(shapes, size) for _, shapes in scenes]
        for label_map in maps if ignore else ():
            label_map[-(size[0] // 8) :] = 255
        _write_images(root / "images" / split, [image for image, _ in scenes])
        _write_labels(root / "labels" / split, maps, draw)
    return _write_spec(root, spec)


def write_perfect_predictions(spec_path: Path, split: str, out_dir: Path) -> dict[str, Path]:
    """Writes the truth of a split, in the three forms that predictions come in.

    Returns:
        "coco": a COCO results json (boxes and masks, dataset ids as category ids);
        "label_map": a folder of `<image stem>.png` with semantic ids;
        "panoptic": a COCO panoptic json, whose `categories` name its ids;
        "panoptic_folder": the folder of its PNG files.
    """
    from project.data.labels import panoptic_truth, read_semantic, write_label_map
    from project.data.register import dataset_info, dataset_records, register_dataset

    register_dataset(spec_path)
    spec_name = yaml.safe_load(Path(spec_path).read_text())["name"]
    info = dataset_info(f"{spec_name}_{split}")
    out = {
        "coco": out_dir / "coco.json",
        "label_map": out_dir / "labels",
        "panoptic": out_dir / "panoptic.json",
        "panoptic_folder": out_dir / "panoptic",
    }
    for key in ("label_map", "panoptic_folder"):
        out[key].mkdir(parents=True)
    ids = _panoptic_category_ids(info.categories)
    results, annotations = [], []
    for record in dataset_records(info.name):
        stem = Path(record["file_name"]).stem
        results += _coco_results(record, info.categories)
        write_label_map(out["label_map"] / f"{stem}.png", read_semantic(record, info))
        segment_ids, segments = panoptic_truth(record, info)
        Image.fromarray(_id_to_rgb(segment_ids)).save(out["panoptic_folder"] / f"{stem}.png")
        entry = {"image_id": record["image_id"], "file_name": f"{stem}.png"}
        annotations.append({**entry, "segments_info": _segments_info(segments, ids, info)})
    things = set(info.categories.things)
    categories = [{"id": i, "name": n, "isthing": int(n in things)} for n, i in ids.items()]
    out["coco"].write_text(json.dumps(results))
    out["panoptic"].write_text(json.dumps({"annotations": annotations, "categories": categories}))
    return out


def _scene(
    rng: np.random.Generator, size: tuple[int, int], holes: bool, crowd: bool
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """One (H, W, 3) uint8 RGB image and its shapes: class, polygon or None, mask, iscrowd."""
    height, width = size
    cells = [(0, 0), (0, 1), (1, 0), (1, 1)]
    rng.shuffle(cells)
    count = int(rng.integers(2, 4 if crowd else 5))
    image = rng.normal(128, 6, (height, width, 3))
    shapes = []
    for index, (row, column) in enumerate(cells[:count]):
        kind = "square" if index % 2 == 0 else "disc"
        radius = min(height, width) / 4 * rng.uniform(0.6, 0.85)
        centre = np.array([(column + 0.5) * width / 2, (row + 0.5) * height / 2])
        polygon = _outline(kind, centre, radius)
        mask = _polygon_mask(polygon, size)
        if holes and kind == "disc":
            mask &= ~_polygon_mask(_outline("disc", centre, radius / 2), size)
            polygon = None
        image[mask] += np.array(COLOURS[kind]) - 128
        shapes.append({"kind": kind, "polygon": polygon, "mask": mask, "iscrowd": 0})
    if crowd:
        row, column = cells[count]
        mask = np.zeros(size, dtype=bool)
        mask[row * height // 2 :, column * width // 2 :][: height // 2 - 2, : width // 2 - 2] = True
        image[mask] += np.array(COLOURS["square"]) / 2
        shapes.append({"kind": "square", "polygon": None, "mask": mask, "iscrowd": 1})
    return image.clip(0, 255).astype(np.uint8), shapes


def _outline(kind: str, centre: np.ndarray, radius: float) -> list[float]:
    """Polygon [x0, y0, x1, y1, ...] of a square or a 24-sided disc."""
    if kind == "square":
        corners = centre + radius * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
        return np.round(corners, 2).ravel().tolist()
    angles = np.arange(24) * (2 * np.pi / 24)
    points = centre + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return np.round(points, 2).ravel().tolist()


def _polygon_mask(polygon: list[float], size: tuple[int, int]) -> np.ndarray:
    from project.data.masks import decode_mask

    return decode_mask([polygon], *size)


def _coco_content(
    scenes: list[list[dict[str, Any]]], size: tuple[int, int], segmentation: str
) -> dict[str, Any]:
    forms = itertools.cycle(_SEGMENTATIONS if segmentation == "mixed" else [segmentation])
    images, annotations = [], []
    for index, shapes in enumerate(scenes):
        image_id = 10 + index
        images.append(
            {"id": image_id, "file_name": f"{index:03}.png", "height": size[0], "width": size[1]}
        )
        for shape in shapes:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": DATASET_IDS[shape["kind"]],
                    "bbox": _bbox(shape["mask"]),
                    "area": int(shape["mask"].sum()),
                    "iscrowd": shape["iscrowd"],
                    "segmentation": _segmentation(shape, next(forms)),
                }
            )
    categories = [{"id": i, "name": name} for name, i in DATASET_IDS.items()]
    return {"images": images, "annotations": annotations, "categories": categories}


def _segmentation(shape: dict[str, Any], form: str) -> list[list[float]] | dict[str, Any]:
    if shape["iscrowd"]:
        form = "uncompressed_rle"
    elif form == "polygon" and shape["polygon"] is None:
        form = "rle"
    return _SEGMENTATIONS[form](shape)


def _rle(shape: dict[str, Any]) -> dict[str, Any]:
    rle = mask_util.encode(np.asfortranarray(shape["mask"].astype(np.uint8)))
    return {"size": rle["size"], "counts": rle["counts"].decode("ascii")}


def _uncompressed_rle(shape: dict[str, Any]) -> dict[str, Any]:
    flat = shape["mask"].ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff(np.r_[0, edges, flat.size]).tolist()
    return {"size": list(shape["mask"].shape), "counts": [0, *counts] if flat[0] else counts}


_SEGMENTATIONS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "polygon": lambda shape: [shape["polygon"]],
    "rle": _rle,
    "uncompressed_rle": _uncompressed_rle,
}


def _bbox(mask: np.ndarray) -> list[float]:
    """[x, y, width, height] of the pixels of a mask."""
    return [float(v) for v in cv2.boundingRect(mask.astype(np.uint8))]


def _label_ids(shapes: list[dict[str, Any]], size: tuple[int, int]) -> np.ndarray:
    """(H, W) uint8: background 0, square 1, disc 2, crowd 255."""
    ids = np.zeros(size, dtype=np.uint8)
    for shape in shapes:
        ids[shape["mask"]] = 255 if shape["iscrowd"] else 1 + list(DATASET_IDS).index(shape["kind"])
    return ids


def _palette_image(ids: np.ndarray) -> Image.Image:
    image = Image.fromarray(ids)
    palette = np.random.default_rng(1).integers(0, 256, (256, 3), dtype=np.uint8)
    image.putpalette(palette.tobytes())
    return image


def _binary_image(ids: np.ndarray) -> Image.Image:
    values = np.where(ids == 255, 128, np.where(ids > 0, 255, 0))
    return Image.fromarray(values.astype(np.uint8))


def _rgb_image(ids: np.ndarray) -> Image.Image:
    table = np.zeros((256, 3), dtype=np.uint8)
    codes = [*LABEL_COLOURS.values(), IGNORE_COLOUR]
    for index, code in zip([0, 1, 2, 255], codes):
        table[index] = list(bytes.fromhex(code[1:]))
    return Image.fromarray(table[ids])


# name -> (classes of the specification, value to ignore, how (H, W) ids become an image)
_LABEL_ENCODINGS: dict[str, tuple[Any, Any, Callable[[np.ndarray], Image.Image]]] = {
    "index": (["background", "square", "disc"], 255, Image.fromarray),
    "palette": (["background", "square", "disc"], 255, _palette_image),
    "binary_255": ({"background": 0, "shape": 255}, 128, _binary_image),
    "rgb": (LABEL_COLOURS, IGNORE_COLOUR, _rgb_image),
}


def _write_images(folder: Path, images: list[np.ndarray]) -> None:
    folder.mkdir(parents=True)
    for index, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{index:03}.png")


def _write_labels(
    folder: Path, maps: list[np.ndarray], draw: Callable[[np.ndarray], Image.Image]
) -> None:
    folder.mkdir(parents=True)
    for index, ids in enumerate(maps):
        draw(ids).save(folder / f"{index:03}.png")


def _write_spec(root: Path, spec: dict[str, Any]) -> Path:
    path = root / f"{spec['name']}.yaml"
    path.write_text(yaml.safe_dump(spec, sort_keys=False))
    return path


def _coco_results(record: dict[str, Any], categories: Any) -> list[dict[str, Any]]:
    from project.data.labels import decode_mask, encode_mask

    results = []
    for annotation in record.get("annotations", []):
        if annotation["iscrowd"]:
            continue
        mask = decode_mask(annotation["segmentation"], record["height"], record["width"])
        results.append(
            {
                "image_id": record["image_id"],
                "category_id": categories.thing_dataset_ids[annotation["category_id"]],
                "bbox": annotation["bbox"],
                "segmentation": encode_mask(mask),
                "score": 0.9,
            }
        )
    return results


def _segments_info(segments: Any, ids: dict[str, int], info: Any) -> list[dict[str, int]]:
    names = info.categories.semantic
    return [
        {"id": s["id"], "category_id": ids[names[s["semantic_id"]]]}
        for s in segments
        if not s["iscrowd"]
    ]


def _panoptic_category_ids(categories: Any) -> dict[str, int]:
    """Class name -> id: the data set's own for things, the next free ones for stuff."""
    start = max(categories.thing_dataset_ids, default=0) + 1
    return dict(zip(categories.things, categories.thing_dataset_ids)) | {
        name: start + i for i, name in enumerate(categories.stuff)
    }


def _id_to_rgb(ids: np.ndarray) -> np.ndarray:
    """Segment ids as COCO's panoptic PNG holds them: id = R + 256 G + 65536 B."""
    return np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)
