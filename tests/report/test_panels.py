"""Which pictures a scene gives, what they name, and panoptic differences by hand."""

import numpy as np

from project.data.categories import Categories
from project.report.difference import COLOURS, INVENTED, MISSED, RIGHT, WRONG
from project.report.example import Example, Objects, Panoptic, Scene
from project.report.panels import classes_in, comparison, draw_scene

CATEGORIES = Categories(things=("cat", "dog"), stuff=("background", "sky"))
SHAPE = (400, 400)  # shown as it is
IMAGE = np.full((*SHAPE, 3), 100, np.uint8)


def panoptic(*parts: tuple[slice, int, bool]) -> Panoptic:
    """Segments 1, 2, ... over columns, each with a semantic id; what is left is void."""
    ids = np.zeros(SHAPE, np.int32)
    segments = []
    for number, (columns, semantic_id, isthing) in enumerate(parts, start=1):
        ids[:, columns] = number
        segments.append(
            {"id": number, "semantic_id": semantic_id, "isthing": isthing, "iscrowd": 0, "area": 1}
        )
    return Panoptic(ids, segments)


def kind(pixel: np.ndarray) -> int:
    """The code whose colour a pixel of a difference picture has; 0 for grey."""
    if np.ptp(pixel) == 0:
        return 0
    grey = 75
    shares = {code: 0.6 if code == RIGHT else 0.8 for code in COLOURS}
    distances = {
        code: np.abs((1 - share) * grey + share * np.array(COLOURS[code][1]) - pixel).max()
        for code, share in shares.items()
    }
    assert min(distances.values()) <= 0.5
    return min(distances, key=distances.get)


def test_panoptic_difference():
    truth = panoptic(
        (slice(0, 100), 2, True),  # a cat
        (slice(100, 150), 3, True),  # a dog
        (slice(150, 250), 1, False),  # sky
        (slice(250, 350), 0, False),  # background; the rest is void
    )
    found = panoptic(
        (slice(0, 90), 2, True),
        (slice(90, 200), 1, False),
        (slice(200, 300), 0, False),
        (slice(300, 400), 3, True),
    )
    example = Example(
        "best", 1.0, "d", "a", CATEGORIES, IMAGE, Scene(panoptic=truth), Scene(panoptic=found)
    )
    _, (row,) = comparison(example)
    columns = {50: RIGHT, 95: MISSED, 125: MISSED, 175: RIGHT, 225: MISSED, 275: 0}
    columns |= {325: INVENTED, 375: 0}
    assert {x: kind(row.difference[200, x]) for x in columns} == columns


def test_stuff_of_another_class_is_wrong():
    categories = Categories(stuff=("land", "water"))
    maps = np.zeros(SHAPE, np.uint8), np.ones(SHAPE, np.uint8)
    truth, prediction = (Scene(semantic=ids) for ids in maps)
    example = Example("best", 1.0, "d", "a", categories, IMAGE, truth, prediction)
    _, (row,) = comparison(example)
    assert kind(row.difference[0, 0]) == WRONG


def test_a_scene_gives_the_pictures_that_it_has_parts_for():
    mask = np.zeros((1, *SHAPE), bool)
    mask[0, 100:200, 100:200] = True
    objects = Objects(mask, np.array([1]))
    assert list(draw_scene(IMAGE, Scene(), CATEGORIES)) == []
    assert list(draw_scene(IMAGE, Scene(objects=objects), CATEGORIES)) == ["Instances"]
    semantic = np.where(mask[0], 3, 255).astype(np.uint8)
    scene = Scene(semantic, objects, panoptic((slice(0, 9), 1, False)))
    titles = ["Panoptic segments", "Instances", "Semantic map"]
    assert list(draw_scene(IMAGE, scene, CATEGORIES)) == titles
    assert classes_in(scene, CATEGORIES) == {1, 3}


def test_the_only_thing_is_not_named_again_and_again():
    mask = np.zeros((1, *SHAPE), bool)
    mask[0, 100:200, 100:200] = True
    scene = Scene(objects=Objects(mask, np.array([0])))
    changed = {}
    for things in (("cell",), ("cell", "debris")):
        picture = draw_scene(IMAGE, scene, Categories(things=things, stuff=("background",)))
        changed[len(things)] = (picture["Instances"] != IMAGE)[~mask[0]].any()
    assert changed == {1: False, 2: True}
