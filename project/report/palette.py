"""Class colours that also colour-blind people tell apart, the same in every picture of a run."""

from functools import lru_cache

import cv2
import numpy as np

from project.data.categories import Categories

# Okabe & Ito (2008), "Color Universal Design", without black and yellow (too pale on photographs).
_FIRST = [
    (0, 114, 178),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (213, 94, 0),
    (86, 180, 233),
]
# Machado et al. (2009), "A Physiologically-based Model for Simulation of Color Vision Deficiency",
# severity 1, on linear RGB: protanopia and deuteranopia.
_PROTAN = [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
]
_DEUTAN = [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.011820, 0.042940, 0.968881],
]
BACKGROUND = (110, 116, 124)  # neutral: what is nothing in particular shall not draw the eye
MAX_COLOURS = 255


def palette(n: int) -> np.ndarray:
    """Colours of `n` classes; colour i is the same whatever `n` is.

    After the first six, each colour is the one farthest from all before it, in CIELAB, as seen
    with normal, protanopic and deuteranopic eyes.

    Returns:
        (n, 3) uint8 RGB; beyond 255 classes they repeat.
    """
    return _all_colours()[np.arange(n) % MAX_COLOURS]


def class_colours(categories: Categories) -> np.ndarray:
    """(K, 3) uint8 RGB by semantic id; a stuff class "background" is grey and takes no colour."""
    plain = np.zeros(len(categories.semantic), bool)
    plain[: len(categories.stuff)] = [is_background(name) for name in categories.stuff]
    colours = np.empty((len(plain), 3), np.uint8)
    colours[plain] = BACKGROUND
    colours[~plain] = palette(int((~plain).sum()))
    return colours


def is_background(name: str) -> bool:
    """Whether a stuff class by its name stands for everything that is no class."""
    return name.strip().lower() in {"background", "bg", "_background_"}


@lru_cache(maxsize=1)
def _all_colours() -> np.ndarray:
    levels = np.linspace(30, 245, 10).astype(np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1).reshape(-1, 3)
    lab = _lab(grid / 255.0)
    chroma = np.hypot(lab[:, 1], lab[:, 2])
    grid = grid[(lab[:, 0] > 38) & (lab[:, 0] < 82) & (chroma > 28)]

    colours = np.array(_FIRST, np.uint8)
    seen = _as_seen(grid)  # (3, C, 3): kinds of eyes, candidates, Lab
    nearest = np.full(len(grid), np.inf)
    for colour in colours:
        nearest = np.minimum(nearest, _distance(seen, colour))
    while len(colours) < MAX_COLOURS:
        best = grid[nearest.argmax()]
        colours = np.vstack([colours, best])
        nearest = np.minimum(nearest, _distance(seen, best))
    return colours


def _distance(seen: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """(C,) Lab distance for the eyes that tell the two apart worst.

    Most readers see all colours, and theirs are larger distances: halved, they count as well.
    """
    distances = np.linalg.norm(seen - _as_seen(colour[None]), axis=-1)
    return (distances * [[0.5], [1.0], [1.0]]).min(axis=0)


def _as_seen(colours: np.ndarray) -> np.ndarray:
    """(C, 3) uint8 RGB -> (3, C, 3) Lab for normal, protanopic and deuteranopic eyes."""
    srgb = colours / 255.0
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    views = []
    for matrix in (np.eye(3), _PROTAN, _DEUTAN):
        simulated = np.clip(linear @ np.asarray(matrix).T, 0, 1)
        curved = 1.055 * simulated ** (1 / 2.4) - 0.055
        views.append(_lab(np.where(simulated <= 0.0031308, simulated * 12.92, curved)))
    return np.stack(views)


def _lab(srgb: np.ndarray) -> np.ndarray:
    """(C, 3) sRGB in 0..1 -> (C, 3) CIELAB."""
    return cv2.cvtColor(srgb.astype(np.float32)[None], cv2.COLOR_RGB2Lab)[0]
