"""Our mapper of training images beside Detectron2's: a JPEG file and its objects, ready to learn.

Both decode 640 x 480 pixels, enlarge them to a shortest edge of 800, flip half of them and change
the 7 objects along. H x W pixels of an image as it is fed.
"""

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from detectron2.data import DatasetMapper
from detectron2.data import transforms as T
from detectron2.structures import BitMasks, Instances
from detectron2.structures.masks import polygons_to_bitmask
from PIL import Image

from project.benchmark.timing import Comparison, Pair, Run
from project.data.dataset import DatasetInfo, read_info, read_records
from project.data.mapper import SegmentationMapper
from project.data.problems import Problems
from project.data.records import Record
from project.data.spec import parse_spec
from project.data.transforms.listed import read_steps

IMAGES = 8
SIZE = (480, 640)
OBJECTS, POINTS = 7, 40
GOALS = {"polygon": 4.5, "bitmask": 8.0}
GOAL_OF_ALL = 8.0
ANGLE, FACTOR, LIGHTING = 10.0, 0.2, 0.1

# How far the two may be apart. Masks of pixels are the same to the last bit; of boxes ours are
# about the pixels, theirs about the corners of the annotated ones.
BOX_PIXELS = 2.0
MASK_IOU = 0.99
LEVEL = 1  # of 255, of a resized pixel
# Of a rotated image the middle, which no rotation by 10 degrees turns out, is compared by its mean:
# theirs is interpolated twice, loses fractions and what is out of range at each of four steps, and
# pads with black, which counts for the contrast, where ours has grey.
MEAN_LEVELS = 4.0

Mapper = Callable[[Record], dict[str, Any]]


@dataclass(frozen=True)
class Made:
    """A split on disk.

    Attributes:
        info: of it.
        records: its images.
        folder: is deleted when the process ends.
    """

    info: DatasetInfo
    records: list[Record]
    folder: "tempfile.TemporaryDirectory[str]"


def pairs() -> Iterator[Pair]:
    """Both forms of masks, with few augmentations and with many."""
    for changes, mask_format in product((False, True), GOALS):
        words = "rotation, 3 colours, lighting" if changes else "resize, flip"
        yield Pair(
            f"{IMAGES} JPEGs of {SIZE[1]}x{SIZE[0]}, {OBJECTS} {mask_format}s, {words}",
            partial(_build, mask_format, changes),
            GOAL_OF_ALL if changes else GOALS[mask_format],
        )


def conclusion(comparisons: Sequence[Comparison]) -> str:
    """Milliseconds an image."""
    return "\n".join(
        f"{c.name}: {c.baseline / IMAGES:.2f} and {c.candidate / IMAGES:.2f} ms an image"
        for c in comparisons
    )


def _build(mask_format: str, changes: bool) -> tuple[Run, Run]:
    made = _make()
    theirs, ours = _stock(mask_format, changes), _ours(made.info, mask_format, changes)
    for seed, record in enumerate(made.records):
        _check(_seeded(theirs, record, seed), _seeded(ours, record, seed), changes)
    return partial(_map_all, theirs, made.records), partial(_map_all, ours, made.records)


def _map_all(mapper: Mapper, records: Sequence[Record]) -> None:
    with _as_in_a_worker():
        for seed, record in enumerate(records):
            _seeded(mapper, record, seed)


@contextmanager
def _as_in_a_worker() -> Iterator[None]:
    """One thread, as the workers of a loader have, which share the cores with the training."""
    threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads[0])
        cv2.setNumThreads(threads[1])


def _seeded(mapper: Mapper, record: Record, seed: int) -> dict[str, Any]:
    np.random.seed(seed)  # noqa: NPY002  (the state that Detectron2 draws from)
    return mapper(record)


def _stock(mask_format: str, changes: bool) -> Mapper:
    low, high = 1 - FACTOR, 1 + FACTOR
    more = [
        T.RandomRotation([-ANGLE, ANGLE], expand=False),
        T.RandomBrightness(low, high),
        T.RandomContrast(low, high),
        T.RandomSaturation(low, high),
        T.RandomLighting(LIGHTING * 255),  # its deviations are for colours up to 1
    ]
    return DatasetMapper(
        is_train=True,
        augmentations=[
            T.ResizeShortestEdge([800], 1333, "choice"),
            T.RandomFlip(),
            *(more * changes),
        ],
        image_format="RGB",  # which its saturation and lighting take for granted
        use_instance_mask=True,
        instance_mask_format=mask_format,
    )


def _ours(info: DatasetInfo, mask_format: str, changes: bool) -> Mapper:
    more: list[dict[str, Any]] = [
        {"name": "rotation", "degrees": [-ANGLE, ANGLE]},
        {
            "name": "colour_jitter",
            **dict.fromkeys(("brightness", "contrast", "saturation"), FACTOR),
        },
        {"name": "lighting", "std": LIGHTING},
    ]
    resize = [{"name": "resize_shortest_edge", "sizes": [800]}]
    # A flip by its name, with a `prob`, would draw another number than theirs.
    augmentations = [*_built(resize), T.RandomFlip(), *_built(more * changes)]
    return SegmentationMapper(
        is_train=True,
        augmentations=augmentations,
        image_format="RGB",
        mask_format=mask_format,
        instances=True,
        semantics=False,
        infos={info.name: info},
    )


def _built(steps: list[dict[str, Any]]) -> list[T.Augmentation]:
    return [built for step in read_steps(steps) for built in step.build("RGB")]


def _check(theirs: dict[str, Any], ours: dict[str, Any], changes: bool) -> None:
    """Raises unless two mapped images agree."""
    assert theirs["image"].shape == ours["image"].shape, (
        theirs["image"].shape,
        ours["image"].shape,
    )
    shape = tuple(theirs["image"].shape[1:])
    difference = np.abs(theirs["image"].numpy().astype(int) - ours["image"].numpy())
    if changes:
        rows, columns = (slice(side // 10, side - side // 10) for side in shape)
        mean = difference[:, rows, columns].mean()
        assert mean <= MEAN_LEVELS, f"pixels differ by {mean} levels on average"
    else:
        assert difference.max() <= LEVEL, f"a pixel differs by {difference.max()} levels"
    first, second = theirs["instances"], ours["instances"]
    assert len(first) == OBJECTS and first.gt_classes.tolist() == second.gt_classes.tolist()
    _check_boxes(first.gt_boxes.tensor.numpy(), second.gt_boxes.tensor.numpy(), changes)
    masks = [_masks(instances, shape) for instances in (first, second)]
    assert masks[0].any(axis=(1, 2)).all()
    overlap = (masks[0] & masks[1]).sum((1, 2)) / (masks[0] | masks[1]).sum((1, 2))
    # Of polygons ours are cut off at the image's border, where they round to other pixels.
    least = 1.0 if isinstance(first.gt_masks, BitMasks) else MASK_IOU
    assert overlap.min() >= least, f"the IoU of two masks is {overlap.min()}"


def _check_boxes(theirs: np.ndarray, ours: np.ndarray, rotated: bool) -> None:
    """Theirs after a rotation are about the corners of the annotated ones, and larger."""
    grown = np.array([-1, -1, 1, 1])
    outside = ((ours - theirs) * grown).max()
    inside = 0 if rotated else ((theirs - ours) * grown).max()
    assert max(outside, inside) <= BOX_PIXELS, f"boxes differ by {outside} and {inside} pixels"


def _masks(instances: Instances, shape: tuple[int, int]) -> np.ndarray:
    """(N, H, W) bool."""
    masks = instances.gt_masks
    if isinstance(masks, BitMasks):
        return masks.tensor.numpy()
    return np.stack([polygons_to_bitmask(parts, *shape) for parts in masks.polygons])


@cache
def _make() -> Made:
    """Photograph-like JPEGs, with objects as COCO has them, in a temporary folder."""
    temporary = tempfile.TemporaryDirectory()
    folder, rng = Path(temporary.name), np.random.default_rng(0)
    (folder / "images").mkdir()
    content: dict[str, list[dict[str, Any]]] = {
        "categories": [{"id": number, "name": f"class{number}"} for number in range(1, 5)],
        "images": [],
        "annotations": [],
    }
    for number in range(IMAGES):
        name = f"{number:03}.jpg"
        Image.fromarray(_photograph(rng)).save(folder / "images" / name, quality=90)
        image = {"id": number, "file_name": name, "height": SIZE[0], "width": SIZE[1]}
        content["images"].append(image)
        content["annotations"] += [
            {"id": number * OBJECTS + index, "image_id": number, "iscrowd": 0, **_object(rng)}
            for index in range(OBJECTS)
        ]
    (folder / "train.json").write_text(json.dumps(content))
    fields = {
        "name": "benchmark_mapper",
        "format": "coco",
        "splits": {"train": {"images": "images", "annotations": "train.json"}},
    }
    info = read_info(parse_spec(fields, folder / "benchmark.yaml"), "train")
    records = read_records(info, Problems(strict=True))
    for record in records:
        record["dataset"] = info.name
    return Made(info, records, temporary)


def _photograph(rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) uint8: blotches of colour under fine noise; 110 kB as a JPEG of quality 90."""
    small = Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8))
    smooth = np.asarray(small.resize(SIZE[::-1], Image.Resampling.BICUBIC)).astype(int)
    return (smooth + rng.integers(-6, 7, smooth.shape)).clip(0, 255).astype(np.uint8)


def _object(rng: np.random.Generator) -> dict[str, Any]:
    """A star about a point, of 40 to 160 pixels across."""
    height, width = SIZE
    largest = rng.uniform(20, 80)
    centre = rng.uniform([largest, largest], [width - largest, height - largest])
    angles = np.linspace(0, 2 * np.pi, POINTS, endpoint=False)
    radii = largest * rng.uniform(0.7, 1, POINTS)
    points = centre + np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii[:, None]
    points = points.round(2).clip(0, [width, height])
    low, high = points.min(axis=0), points.max(axis=0)
    return {
        "category_id": int(rng.integers(1, 5)),
        "segmentation": [points.ravel().tolist()],
        "bbox": [*low.tolist(), *(high - low).tolist()],
        "area": float((high - low).prod()),
    }
