"""Models whose output is known by construction, for the tests of tiles and views."""

from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from detectron2.structures import BitMasks, Instances
from torch import Tensor, nn

from project.modeling.panoptic import merge_panoptic


class Blobs(nn.Module):
    """Each connected region that is bright in channel 0 (class 0) or 1 (class 1) is an object.

    Yields instances, and semantics (background, class 0, class 1) that see one pixel alone.
    """

    def __init__(self, score: float = 0.9, panoptic: bool = False) -> None:
        super().__init__()
        self.score, self.panoptic = score, panoptic

    def forward(self, batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [self._predict(x["image"].float()) for x in batch]

    def _predict(self, image: Tensor) -> dict[str, Any]:
        masks, classes = [], []
        for label in (0, 1):
            bright = (image[label] > 128).numpy().astype(np.uint8)
            count, regions = cv2.connectedComponents(bright, connectivity=8)
            masks += [torch.from_numpy(regions == n) for n in range(1, count)]
            classes += [label] * (count - 1)
        found = Instances(tuple(image.shape[1:]))
        found.pred_masks = torch.stack(masks) if masks else torch.zeros(0, *image.shape[1:]).bool()
        found.pred_boxes = BitMasks(found.pred_masks).get_bounding_boxes()
        found.scores = torch.full((len(masks),), self.score)
        found.pred_classes = torch.tensor(classes, dtype=torch.long)
        background = torch.full(image.shape[1:], 128.0)
        sem_seg = torch.stack([background, image[0], image[1]]) / 32
        output = {"instances": found, "sem_seg": sem_seg}
        if self.panoptic:
            output["panoptic_seg"] = merge_panoptic(found, sem_seg, num_stuff=1)
        return output


class Convolution(nn.Module):
    """Semantics of one random convolution with a receptive field of `reach` x `reach` pixels.

    It works on a quarter of the size, so that where a tile starts matters as in usual networks.
    """

    def __init__(self, reach: int = 36, classes: int = 4) -> None:
        super().__init__()
        torch.manual_seed(0)
        cells = reach // 4
        self.layer = nn.Conv2d(3, classes, cells, padding=cells // 2)

    def forward(self, batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{"sem_seg": self._scores(x["image"].float() / 255)} for x in batch]

    def _scores(self, image: Tensor) -> Tensor:
        height, width = image.shape[1:]
        padded = F.pad(image[None], (0, -width % 4, 0, -height % 4))
        scores = 20 * self.layer(F.avg_pool2d(padded, 4) - 0.5)
        return F.interpolate(scores, scale_factor=4, mode="nearest")[0, :, :height, :width]


def smooth_noise(height: int, width: int, seed: int = 0) -> Tensor:
    """(3, height, width) uint8 image with structures of about twenty pixels."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, height // 10 + 1, width // 10 + 1, generator=generator)
    fine = F.interpolate(coarse, (height, width), mode="bicubic", align_corners=False)[0]
    return (fine.clamp(0, 1) * 255).to(torch.uint8)


def draw_objects(height: int, width: int, count: int, seed: int = 0) -> Tensor:
    """(3, height, width) uint8 image: discs of two classes that do not touch, and two long bars.

    The bars, one of each class, cross most of the image; discs have a radius of 4 to 16 pixels.
    """
    rng = np.random.default_rng(seed)
    image = np.zeros((2, height, width), dtype=np.uint8)
    cv2.line(image[0], (20, 20), (width - 30, height // 2), 255, 12)
    cv2.line(image[1], (30, height - 20), (width - 20, height // 2 + 40), 255, 14)
    drawn = 0
    while drawn < count:
        radius, label = int(rng.integers(4, 17)), int(rng.integers(2))
        centre = tuple(int(rng.integers(radius + 1, side - radius - 1)) for side in (width, height))
        disc = np.zeros((height, width), dtype=np.uint8)
        cv2.circle(disc, centre, radius, 255, -1)
        if not (cv2.dilate(disc, np.ones((5, 5), np.uint8)) & image.max(axis=0)).any():
            image[label] |= disc
            drawn += 1
    return torch.from_numpy(np.concatenate([image, image[:1] * 0]))
