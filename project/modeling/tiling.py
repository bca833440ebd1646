"""Large images in tiles, around any model: its output for the whole image, in a compact form.

It stands here and not in `project/inference`, since training scores with it too.
"""

import sys
from itertools import accumulate
from typing import Any

import torch
from detectron2.structures import Instances
from detectron2.utils import comm
from torch import Tensor, nn
from tqdm import tqdm

from project.data.mask_crops import MaskCrops
from project.errors import ConfigError
from project.modeling.panoptic import Merge
from project.modeling.seams import merge_seams
from project.modeling.tiles import BlendedLabels, Tile, tile_rows

_ROWS = 512  # of an image that are float at a time
_PATIENCE = 5.0  # seconds without a bar of progress


class TiledModel(nn.Module):
    """A model that looks at images larger than a tile in tiles that overlap.

    Images of up to a tile go to the model as they are. Of others, each item's output has the same
    keys and another form, which evaluators and writers take too:

    "sem_seg"       (H, W) uint8 labels, in place of (K, H, W) logits
    "instances"     `pred_masks` are `MaskCrops`; there is no limit for the whole image
    "panoptic_seg"  merged from the two as for one image, ids (H, W) int32

    All of it is on the CPU. Other fields of the instances are left out.
    """

    def __init__(
        self, model: nn.Module, *, size: int, overlap: int, num_stuff: int = 0, merge: Merge
    ) -> None:
        """Keeps what it is given.

        Args:
            model: any of Detectron2's kind.
            size: side of a tile, pixels.
            overlap: of neighbouring tiles, pixels; up to `size - ALIGNMENT`.
            num_stuff: semantic classes that are stuff, for the merge.
            merge: (instances, stuff labels) of an image -> panoptic segments.
        """
        super().__init__()
        self.model = model
        self.size = size
        self.overlap = overlap
        self.num_stuff = num_stuff
        self.merge = merge

    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The outputs of the images.

        Args:
            batched_inputs: as in testing; images at the size at which results are wanted.
        """
        return [self._predict(x) for x in batched_inputs]

    def _predict(self, x: dict[str, Any]) -> dict[str, Any]:
        height, width = x["image"].shape[-2:]
        if max(height, width) <= self.size:
            return self.model([x])[0]
        assert (x.get("height", height), x.get("width", width)) == (height, width)
        rows = tile_rows(height, width, self.size, self.overlap)
        tiles = [tile for row in rows for tile in row]
        # Rows of the image that are done after each row of tiles.
        finished = [*(row[0].top for row in rows[1:]), height]
        last_of_row = dict(zip(accumulate(map(len, rows)), finished))
        labels = BlendedLabels(height, width, self.num_stuff)
        found: list[Instances] = []
        item = {**x, "pixel_statistics": pixel_statistics(x["image"])}
        for number, tile in enumerate(_with_progress(tiles, x), start=1):
            output = self._predict_tile(item, tile)
            if "sem_seg" in output:
                labels.add(output["sem_seg"], tile)
                if number in last_of_row:
                    labels.finish(last_of_row[number])
            if "instances" in output:
                found.append(output["instances"].to("cpu"))
        result: dict[str, Any] = {}
        if found:
            result["instances"] = merge_seams(found, tiles, (height, width))
        if "sem_seg" in output:
            result["sem_seg"] = labels.labels
        if "panoptic_seg" in output:
            result["panoptic_seg"] = self._merge(result, labels)
        return result

    def _predict_tile(self, item: dict[str, Any], tile: Tile) -> dict[str, Any]:
        pixels = item["image"][:, tile.top : tile.bottom, tile.left : tile.right]
        height, width = tile.size
        output = self.model([{**item, "image": pixels, "height": height, "width": width}])[0]
        if "instances" in output:
            output["instances"] = _compact(output["instances"])
        return output

    def _merge(self, result: dict[str, Any], labels: BlendedLabels) -> Any:
        if not {"instances", "sem_seg"} <= result.keys():
            raise ConfigError(
                "TEST.TILE: panoptic segments of tiles are merged from instances and semantics, but"
                f" this model yields only {', '.join(result) or 'segments'}; set TEST.TILE.SIZE 0"
            )
        stuff = labels.labels if labels.stuff is None else labels.stuff
        return self.merge(result["instances"], stuff)


def pixel_statistics(image: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each channel of a whole image, for models that normalise by them.

    Args:
        image: (C, H, W) of 0 to 255.

    Returns:
        Each (C, 1, 1) float32.
    """
    count = image.shape[1] * image.shape[2]
    strips = image.split(_ROWS, dim=1)
    mean = sum(strip.sum(dim=(1, 2), dtype=torch.float64) for strip in strips) / count
    mean = torch.as_tensor(mean).view(-1, 1, 1)
    squares = sum(((strip - mean) ** 2).sum(dim=(1, 2)) for strip in strips)
    deviation = (torch.as_tensor(squares) / max(count - 1, 1)).sqrt().view(-1, 1, 1)
    return mean.float(), deviation.float()


def _compact(instances: Instances) -> Instances:
    """Without fields that cannot be merged, and with masks as crops."""
    kept = Instances(instances.image_size)
    for name in ("pred_boxes", "scores", "pred_classes"):
        kept.set(name, instances.get(name))
    if instances.has("pred_masks"):
        kept.pred_masks = MaskCrops.of(instances.pred_masks)
    return kept


def _with_progress(tiles: list[Tile], x: dict[str, Any]) -> "tqdm[Tile]":
    """The tiles with a bar and the time left, in a log every half minute."""
    name = str(x.get("file_name", "image")).rsplit("/", 1)[-1]
    return tqdm(
        tiles,
        f"{name}, tiles",
        leave=False,
        delay=_PATIENCE,
        mininterval=0.1 if sys.stderr.isatty() else 30.0,
        disable=not comm.is_main_process(),
    )
