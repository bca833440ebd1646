"""The labels of Cityscapes: which are taught, which are objects, which are ignored.

The ids, the train ids and which labels have instances are those of the data set's own scripts:
https://github.com/mcordts/cityscapesScripts/blob/master/cityscapesscripts/helpers/labels.py
"""

from project.data.categories import IGNORE_LABEL

# Name -> the id that `_labelIds.png` files hold. The classes come in the order of their train ids.
STUFF = {
    "road": 7,
    "sidewalk": 8,
    "building": 11,
    "wall": 12,
    "fence": 13,
    "pole": 17,
    "traffic light": 19,
    "traffic sign": 20,
    "vegetation": 21,
    "terrain": 22,
    "sky": 23,
}
THINGS = {
    "person": 24,
    "rider": 25,
    "car": 26,
    "truck": 27,
    "bus": 28,
    "train": 31,
    "motorcycle": 32,
    "bicycle": 33,
}
IGNORED = {
    "unlabeled": 0,
    "ego vehicle": 1,
    "rectification border": 2,
    "out of roi": 3,
    "static": 4,
    "dynamic": 5,
    "ground": 6,
    "parking": 9,
    "rail track": 10,
    "guard rail": 14,
    "bridge": 15,
    "tunnel": 16,
    "polegroup": 18,
    "caravan": 29,
    "trailer": 30,
}
# Neither painted nor taught: what is beneath it counts. Its id, -1, is 255 where 8 bits hold it.
UNPAINTED = {"license plate": IGNORE_LABEL}
ALL = {**STUFF, **THINGS, **IGNORED, **UNPAINTED}

_GROUP = "group"
_HAVE_GROUPS = {*THINGS, "caravan", "trailer"}


def single_name(label: str) -> tuple[str, bool]:
    """The label of one of a group, such as "car" of "cargroup", and whether it is a group."""
    name = label.removesuffix(_GROUP)
    if label not in ALL and label.endswith(_GROUP) and name in _HAVE_GROUPS:
        return name, True
    return label, False
