"""Makes the built-in data set: small colour images, each with two handwritten digits.

    python datasets/prepare_double_digits.py

The digits are the 1,797 that scikit-learn ships (UCI ML hand-written digits, 8 x 8 pixels); train
and val images show disjoint sets of them. The same seed gives the same bytes. val.json is written
last: where it is, the data set is complete.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
from tqdm import tqdm

from project.cli import run_tool
from project.errors import DatasetError

SIZE = 64  # pixels, both sides of an image
NUM_CLASSES = 10
VAL_SHARE = 0.2  # of the source digits
SCALES = (2.5, 3.5)  # a source digit of 8 pixels becomes 20 to 28 pixels tall
ASPECTS = (0.85, 1.15)  # width over height, against the source
INK = 0.35  # share of full ink from which a pixel belongs to a digit
EDGE = 0.1  # ink from INK - EDGE to INK + EDGE fades from background to digit
MAX_BOX_OVERLAP = 0.3  # of the smaller box: digits may touch and overlap, and stay readable
MIN_VISIBLE = 0.5  # share of a digit's pixels
CONTRAST = 110  # least distance of a digit's colour from the background's, of 442
CONTRAST_OF_DIGITS = 60  # the same between the two digits


class Digit(NamedTuple):
    """A digit placed in an image.

    Attributes:
        label: 0 to 9.
        ink: (SIZE, SIZE) float, 0 to 1.
    """

    label: int
    ink: np.ndarray

    @property
    def mask(self) -> np.ndarray:
        """(SIZE, SIZE) bool, before another digit covers it."""
        return self.ink > INK


def main(arguments: list[str] | None = None) -> int:
    """Writes images, label maps and annotation files; see --help."""
    args = parse_arguments(arguments)
    args.output.mkdir(parents=True, exist_ok=True)
    sources = split_sources(args.seed)
    for index, (split, count) in enumerate({"train": args.train, "val": args.val}.items()):
        rng = np.random.default_rng([args.seed, index])
        write_split(args.output, split, count, *sources[split], rng)
    print(f"{args.train} train and {args.val} val images in {args.output}")
    return 0


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """The command's words."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = Path(__file__).resolve().parent / "double_digits"
    parser.add_argument("--output", type=Path, default=default, help="folder to write into")
    parser.add_argument("--train", type=positive, default=4000, help="number of train images")
    parser.add_argument("--val", type=positive, default=200, help="number of val images")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def positive(text: str) -> int:
    """A whole number of 1 or more, for argparse."""
    if int(text) < 1:
        raise ValueError(text)
    return int(text)


def split_sources(seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Source digits of each split: (N, 8, 8) float ink of 0 to 1, and (N,) labels.

    Raises:
        DatasetError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise DatasetError(
            "the digits come from scikit-learn, which is not installed; run"
            " `pip install scikit-learn`"
        ) from error
    digits = load_digits()
    train, val = train_test_split(
        np.arange(len(digits.target)),
        test_size=VAL_SHARE,
        stratify=digits.target,
        random_state=seed,
    )
    ink = digits.images / digits.images.max()
    return {
        split: (ink[chosen], digits.target[chosen])
        for split, chosen in (("train", train), ("val", val))
    }


def write_split(
    output: Path,
    split: str,
    count: int,
    sources: np.ndarray,
    labels: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Writes the images, label maps and annotation file of one split.

    Args:
        output: folder of the data set.
        split: its name.
        count: number of images.
        sources: (N, 8, 8) float ink of 0 to 1.
        labels: (N,) digit of each source.
        rng: draws everything.
    """
    folders = [output / kind / split for kind in ("images", "labels")]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    # Imported here so that --help need not wait for torch.
    from project.data.labels import write_label_map

    content = coco_header()
    noises = rng.permutation(np.arange(count) % len(NOISES))
    for index in tqdm(range(count), split, disable=None):
        digits = draw_digits(sources, labels, rng)
        image = NOISES[noises[index]](paint(digits, rng), rng)
        name = f"{index:05}.png"
        cv2.imwrite(str(folders[0] / name), np.rint(image).clip(0, 255).astype(np.uint8))
        semantic = np.zeros((SIZE, SIZE), dtype=np.uint8)
        content["images"].append(image_entry(index + 1, name))
        for digit, visible in zip(digits, visible_masks(digits)):
            semantic[visible] = digit.label + 1
            number = len(content["annotations"]) + 1
            content["annotations"].append(annotation(number, index + 1, digit.label, visible))
        write_label_map(folders[1] / name, semantic)
    (output / f"{split}.json").write_text(json.dumps(content))


def coco_header() -> dict[str, list]:
    """A COCO file without images."""
    categories = [{"id": label + 1, "name": str(label)} for label in range(NUM_CLASSES)]
    return {"images": [], "annotations": [], "categories": categories}


def image_entry(image_id: int, name: str) -> dict:
    """The COCO entry of an image."""
    return {"id": image_id, "file_name": name, "height": SIZE, "width": SIZE}


def annotation(number: int, image_id: int, label: int, visible: np.ndarray) -> dict:
    """The COCO entry of a digit with the (SIZE, SIZE) bool mask `visible`."""
    from project.data.labels import encode_mask

    return {
        "id": number,
        "image_id": image_id,
        "category_id": label + 1,
        "bbox": list(cv2.boundingRect(visible.astype(np.uint8))),
        "area": int(visible.sum()),
        "iscrowd": 0,
        "segmentation": encode_mask(visible),
    }


def draw_digits(sources: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> list[Digit]:
    """Two digits, placed so that both can be seen; the second is in front."""
    while True:
        digits = [
            Digit(int(labels[index]), place(enlarge(sources[index], rng), rng))
            for index in rng.integers(len(sources), size=2)
        ]
        behind, front = digits
        visible = (behind.mask & ~front.mask).sum()
        if box_overlap(behind.mask, front.mask) <= MAX_BOX_OVERLAP and (
            visible >= MIN_VISIBLE * behind.mask.sum()
        ):
            return digits


def enlarge(source: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(8, 8) ink to (height, width) ink of a random size."""
    scale = rng.uniform(*SCALES)
    height, width = len(source) * scale, len(source) * scale * rng.uniform(*ASPECTS)
    # The margin lets strokes at the border of the source end round.
    padded = np.pad(source, 1)
    size = (round(width * 1.25), round(height * 1.25))
    return cv2.resize(padded, size, interpolation=cv2.INTER_CUBIC)


def place(ink: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Ink at a random place of an empty (SIZE, SIZE) image, with all of the digit inside."""
    x, y, width, height = cv2.boundingRect((ink > INK - EDGE).astype(np.uint8))
    left, top = rng.integers(SIZE - width + 1), rng.integers(SIZE - height + 1)
    canvas = np.zeros((SIZE, SIZE))
    canvas[top : top + height, left : left + width] = ink[y : y + height, x : x + width]
    return canvas


def box_overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Common part of two masks' boxes, as a share of the smaller box."""
    boxes = [cv2.boundingRect(mask.astype(np.uint8)) for mask in (first, second)]
    (x1, y1, w1, h1), (x2, y2, w2, h2) = boxes
    width = min(x1 + w1, x2 + w2) - max(x1, x2)
    height = min(y1 + h1, y2 + h2) - max(y1, y2)
    return max(width, 0) * max(height, 0) / min(w1 * h1, w2 * h2)


def visible_masks(digits: list[Digit]) -> list[np.ndarray]:
    """What is seen of each digit, the last in front."""
    behind, front = digits
    return [behind.mask & ~front.mask, front.mask]


def paint(digits: list[Digit], rng: np.random.Generator) -> np.ndarray:
    """(SIZE, SIZE, 3) float colours of 0 to 255."""
    colours = draw_colours(rng)
    image = np.broadcast_to(colours[0], (SIZE, SIZE, 3))
    for digit, colour in zip(digits, colours[1:]):
        cover = ((digit.ink - INK + EDGE) / (2 * EDGE)).clip(0, 1)[:, :, None]
        image = image * (1 - cover) + colour * cover
    return image


def draw_colours(rng: np.random.Generator) -> np.ndarray:
    """(3, 3) float: colours of background and digits that can be told apart."""
    while True:
        colours = rng.uniform(0, 255, (3, 3))
        background, behind, front = colours
        if (
            np.linalg.norm(background - behind) >= CONTRAST
            and np.linalg.norm(background - front) >= CONTRAST
            and np.linalg.norm(behind - front) >= CONTRAST_OF_DIGITS
        ):
            return colours


def no_noise(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The image as it is."""
    del rng
    return image


def gaussian_noise(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Normal noise in every channel."""
    return image + rng.normal(0, 25, image.shape)


def uniform_noise(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Even noise in every channel."""
    return image + rng.uniform(-40, 40, image.shape)


def impulse_noise(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One pixel in 25 becomes black or white."""
    hit = rng.random(image.shape[:2]) < 0.04
    noisy = image.copy()
    noisy[hit] = 255 * rng.integers(0, 2, (hit.sum(), 1))
    return noisy


NOISES: tuple[Callable[[np.ndarray, np.random.Generator], np.ndarray], ...] = (
    no_noise,
    gaussian_noise,
    uniform_noise,
    impulse_noise,
)

if __name__ == "__main__":
    run_tool(main)
