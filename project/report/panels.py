"""Pictures of a scene, task by task: what was predicted, what is true, and how they differ."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from project.data.categories import IGNORE_LABEL, Categories
from project.report import difference
from project.report.canvas import display_scale
from project.report.example import Example, Objects, Panoptic, Scene
from project.report.overlays import draw_instances, draw_panoptic, draw_semantic
from project.report.palette import class_colours, is_background


@dataclass(frozen=True)
class Row:
    """The pictures (H, W, 3) of one task for one image."""

    title: str
    truth: np.ndarray
    prediction: np.ndarray
    difference: np.ndarray

    def pictures(self) -> list[tuple[str, np.ndarray]]:
        """(caption, picture) in reading order."""
        kind = self.title.lower()
        return [
            (f"truth, {kind}", self.truth),
            (f"prediction, {kind}", self.prediction),
            ("difference", self.difference),
        ]


def draw_scene(image: np.ndarray, scene: Scene, categories: Categories) -> dict[str, np.ndarray]:
    """Draws each part that a scene has.

    Returns:
        Title -> (H, W, 3) uint8 RGB; what says most comes first.
    """
    return {
        title: draw(image, part, categories)
        for title, field, draw, _ in _TASKS
        if (part := getattr(scene, field)) is not None
    }


def classes_in(scene: Scene, categories: Categories) -> set[int]:
    """Semantic ids of all that a scene holds; ignored pixels have none."""
    found: set[int] = set()
    if scene.panoptic is not None:
        found |= {segment["semantic_id"] for segment in scene.panoptic.segments}
    if scene.objects is not None:
        found |= {categories.semantic_of_thing(int(c)) for c in scene.objects.classes}
    if scene.semantic is not None:
        found |= set(np.unique(scene.semantic).tolist()) - {IGNORE_LABEL}
    return found


def comparison(example: Example) -> tuple[np.ndarray, list[Row]]:
    """The image and, for each task that truth and prediction have, its pictures, at page size."""
    example = example.scaled(display_scale(example.image.shape[:2]))
    truths = draw_scene(example.image, example.truth, example.categories)
    predictions = draw_scene(example.image, example.prediction, example.categories)
    rows = []
    for title, field, _, compare in _TASKS:
        if title in truths and title in predictions:
            parts = getattr(example.truth, field), getattr(example.prediction, field)
            codes = compare(*parts, example.categories)
            drawn = difference.draw_difference(example.image, codes)
            rows.append(Row(title, truths[title], predictions[title], drawn))
    return example.image, rows


def _draw_objects(image: np.ndarray, objects: Objects, categories: Categories) -> np.ndarray:
    return draw_instances(
        image,
        objects.masks,
        objects.classes,
        objects.scores,
        _spoken_names(categories)[len(categories.stuff) :],
        class_colours(categories)[len(categories.stuff) :],
        objects.boxes,
    )


def _draw_panoptic(image: np.ndarray, panoptic: Panoptic, categories: Categories) -> np.ndarray:
    colours = class_colours(categories)
    names = _spoken_names(categories)
    return draw_panoptic(image, panoptic.ids, panoptic.segments, names, colours)


def _draw_semantic(image: np.ndarray, semantic: np.ndarray, categories: Categories) -> np.ndarray:
    return draw_semantic(image, semantic, class_colours(categories), IGNORE_LABEL)


def _compare_objects(truth: Objects, prediction: Objects, _: Categories) -> np.ndarray:
    return difference.instance_difference(
        np.asarray(truth.masks),
        truth.classes,
        np.asarray(prediction.masks),
        prediction.classes,
        truth.crowd,
    )


def _compare_semantic(
    truth: np.ndarray, prediction: np.ndarray, categories: Categories
) -> np.ndarray:
    return difference.semantic_difference(
        truth, prediction, ignore=IGNORE_LABEL, background=_background(categories)
    )


def _compare_panoptic(truth: Panoptic, prediction: Panoptic, categories: Categories) -> np.ndarray:
    """Things as objects; stuff by class, as in label maps, where neither side has a thing."""
    things = _things(truth, categories), _things(prediction, categories)
    codes = _compare_objects(*things, categories)
    stuff = _compare_semantic(_semantic_of(truth), _semantic_of(prediction), categories)
    free = codes == difference.NOTHING
    codes[free] = stuff[free]
    codes[truth.ids == 0] = difference.NOTHING
    return codes


def _things(panoptic: Panoptic, categories: Categories) -> Objects:
    segments = [s for s in panoptic.segments if s["isthing"]]
    masks = [panoptic.ids == s["id"] for s in segments]
    return Objects(
        np.array(masks, bool).reshape(-1, *panoptic.ids.shape),
        np.array([s["semantic_id"] - len(categories.stuff) for s in segments], int),
        crowd=np.array([s["iscrowd"] for s in segments], bool),
    )


def _semantic_of(panoptic: Panoptic) -> np.ndarray:
    semantic = np.full(panoptic.ids.shape, IGNORE_LABEL, np.uint8)
    for segment in panoptic.segments:
        semantic[panoptic.ids == segment["id"]] = segment["semantic_id"]
    return semantic


def _spoken_names(categories: Categories) -> list[str]:
    """Names by semantic id, "" for the only thing: the legend says it once, pictures need not."""
    alone = len(categories.things) == 1
    return [*categories.stuff, *([""] if alone else categories.things)]


def _background(categories: Categories) -> int | None:
    """Semantic id of the stuff class that stands for nothing, None where there is no such class."""
    return next((i for i, name in enumerate(categories.stuff) if is_background(name)), None)


# title, field of `Scene`, how it is drawn, how it is compared
_TASKS: list[tuple[str, str, Callable[..., np.ndarray], Callable[..., np.ndarray]]] = [
    ("Panoptic segments", "panoptic", _draw_panoptic, _compare_panoptic),
    ("Instances", "objects", _draw_objects, _compare_objects),
    ("Semantic map", "semantic", _draw_semantic, _compare_semantic),
]
