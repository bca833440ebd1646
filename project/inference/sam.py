"""Segment Anything as a function of one image and its prompts, by the library transformers.

SAM: Kirillov et al. 2023, arXiv:2304.02643. SAM 2: Ravi et al. 2024, arXiv:2408.00714.

N objects, P points an object, M masks that the model offers for each, H x W pixels of the image.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from project.errors import WeightsError
from project.modeling.hugging_face.pretrained import import_library

# model_type of config.json -> names of the classes of model and processor. On the hub SAM 2 bears
# the name of its model for videos, which holds the one for images.
_KINDS = {
    "sam": ("SamModel", "SamProcessor"),
    "sam2": ("Sam2Model", "Sam2Processor"),
    "sam2_video": ("Sam2Model", "Sam2Processor"),
}
_PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
_FILES = ("config.json", " or ".join(_PROCESSOR_FILES), "model.safetensors")
_MOST_PROMPTS = 64  # of one image that are answered at a time
_MOST_PIXELS = 2**26  # of masks that are enlarged at a time; 256 MB


class Sam:
    """Finds the object that a box, or some points, mean."""

    def __init__(self, model: Any, processor: Any, device: str = "cpu") -> None:
        """Keeps what it is given.

        Args:
            model: the library's `SamModel` or `Sam2Model`.
            processor: what makes the model's input of images, and masks of its output.
            device: to compute on.
        """
        self.model = model.to(device).eval()
        self.processor = processor
        self.device = device

    @torch.no_grad()
    def __call__(
        self,
        image: np.ndarray,
        *,
        boxes: np.ndarray | None = None,
        points: list[np.ndarray] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Answers the prompts of one image, which is encoded once.

        Args:
            image: (H, W, 3) uint8 RGB.
            boxes: (N, 4) XYXY, pixels; or None.
            points: N arrays (P, 2) of x and y within each object, pixels; or None. With boxes, both
                count.

        Returns:
            (N, H, W) bool masks in the order of the prompts, and (N,) float the IoU with the truth
            that the model expects of each.
        """
        count = len(boxes) if boxes is not None else len(points or ())
        size = image.shape[:2]
        masks = np.zeros((count, *size), dtype=bool)
        scores = np.zeros(count)
        if not count:
            return masks, scores
        inputs = self.processor(images=image, return_tensors="pt").to(self.device)
        embeddings = self.model.get_image_embeddings(inputs["pixel_values"])
        prompts = self._prompts(inputs, size, boxes, points)
        # A box is clear; what one point means is not, and then the best of several masks is taken.
        several = boxes is None
        step = max(min(_MOST_PROMPTS, _MOST_PIXELS // (size[0] * size[1])), 1)
        for chosen in _chunks(count, step):
            output = self.model(
                image_embeddings=embeddings,
                multimask_output=several,
                **{key: value[:, chosen] for key, value in prompts.items()},
            )
            logits, scores[chosen] = _best(output.pred_masks[0], output.iou_scores[0])
            masks[chosen] = self._enlarge(logits, inputs, size)
        return masks, scores

    def _prompts(
        self,
        inputs: Any,
        size: tuple[int, int],
        boxes: np.ndarray | None,
        points: list[np.ndarray] | None,
    ) -> dict[str, Tensor]:
        """The model's prompts, in pixels of the image as it is fed; one image, then its objects."""
        height, width = self._fed_size(inputs)
        scale = np.array([width / size[1], height / size[0]])  # x, y
        prompts = {}
        if boxes is not None:
            prompts["input_boxes"] = self._tensor(boxes.reshape(-1, 2, 2) * scale).view(1, -1, 4)
        if points is not None:
            coordinates, labels = _pad_points(points)
            prompts["input_points"] = self._tensor(coordinates * scale)[None]  # (1, N, P, 2)
            prompts["input_labels"] = torch.from_numpy(labels).to(self.device)[None]
        return prompts

    def _fed_size(self, inputs: Any) -> tuple[int, int]:
        """Height and width of the image as it is fed: padded to a square, or stretched (SAM 2)."""
        if "reshaped_input_sizes" in inputs:
            height, width = inputs["reshaped_input_sizes"][0].tolist()
            return height, width
        return inputs["pixel_values"].shape[-2], inputs["pixel_values"].shape[-1]

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values.astype(np.float32)).to(self.device)

    def _enlarge(self, logits: Tensor, inputs: Any, size: tuple[int, int]) -> np.ndarray:
        """(n, h, w) logits -> (n, H, W) bool."""
        keywords = {"original_sizes": [size]}
        if "reshaped_input_sizes" in inputs:
            keywords["reshaped_input_sizes"] = inputs["reshaped_input_sizes"].tolist()
        (masks,) = self.processor.post_process_masks([logits[:, None]], **keywords)
        return masks[:, 0].cpu().numpy()


def load_sam(folder: str | Path, device: str = "cpu") -> Sam:
    """Reads a model of the library.

    Args:
        folder: a local folder, see `check_sam`.
        device: to compute on.

    Raises:
        WeightsError: see `check_sam`; or its weights cannot be read.
    """
    kind = check_sam(folder)
    from safetensors import SafetensorError

    transformers = import_library()
    model_class, processor_class = (getattr(transformers, name) for name in _KINDS[kind])
    try:
        model = model_class.from_pretrained(
            folder, use_safetensors=True, local_files_only=True, dtype=torch.float32
        )
        processor = processor_class.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, TypeError, LookupError, SafetensorError) as error:
        first = str(error).strip().split("\n")[0]
        raise WeightsError(f"{folder}: the model cannot be read: {first}") from error
    return Sam(model, processor, device)


def check_sam(folder: str | Path) -> str:
    """Looks whether a folder holds a model of Segment Anything, without reading its weights.

    Returns:
        Its kind, "sam", "sam2" or "sam2_video".

    Raises:
        WeightsError: no such folder, a file is missing, or it is another model.
    """
    folder = Path(folder)
    path = folder / "config.json"
    if not path.is_file():
        raise WeightsError(
            f"{folder}: no folder with {', '.join(_FILES)}; download one where there is internet,"
            " such as facebook/sam-vit-base or facebook/sam2.1-hiera-tiny, and name its folder"
        )
    try:
        kind = json.loads(path.read_text(encoding="utf-8")).get("model_type")
    except (ValueError, AttributeError) as error:
        raise WeightsError(f"{path}: not JSON of a model ({error})") from error
    if kind not in _KINDS:
        raise WeightsError(f"{path}: model_type is {kind!r}; expected one of {', '.join(_KINDS)}")
    if not any(folder.glob("*.safetensors")):
        raise WeightsError(
            f"{folder}: it holds no *.safetensors, and weights in other files may run code;"
            " download or save the model anew in that form"
        )
    if not any((folder / name).is_file() for name in _PROCESSOR_FILES):
        raise WeightsError(
            f"{folder}: it holds neither preprocessor_config.json nor processor_config.json, which"
            " say how images are fed; download it from where the weights come from"
        )
    return kind


def clean_mask(mask: np.ndarray, *, hole_area: int = 0, island_area: int = 0) -> np.ndarray:
    """Fills small holes, then takes away small islands, but never the largest part.

    Args:
        mask: (H, W) bool.
        hole_area: holes of fewer pixels are filled; they touch no border of the image.
        island_area: parts of fewer pixels are taken away.

    Returns:
        (H, W) bool.
    """
    if hole_area:
        labels, areas, outer = _parts(~mask, connectivity=4)
        is_hole = (areas < hole_area) & ~outer
        is_hole[0] = False
        mask = mask | is_hole[labels]
    if island_area:
        labels, areas, _ = _parts(mask, connectivity=8)
        is_kept = areas >= island_area
        is_kept[0] = False
        if len(areas) > 1:
            is_kept[1 + areas[1:].argmax()] = True
        mask = is_kept[labels]
    return mask


def _parts(mask: np.ndarray, connectivity: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(H, W) numbers of the connected parts, 0 outside; areas; whether they touch a border."""
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(
        mask.view(np.uint8), connectivity=connectivity
    )
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    outer = np.zeros(len(statistics), dtype=bool)
    outer[border] = True
    return labels, statistics[:, cv2.CC_STAT_AREA], outer


def _best(masks: Tensor, scores: Tensor) -> tuple[Tensor, np.ndarray]:
    """Of (n, M, h, w) logits and (n, M) scores, those of the best mask of each object."""
    best, index = scores.float().max(dim=1)
    return masks[torch.arange(len(masks)), index].float(), best.cpu().numpy()


def _pad_points(points: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(N, P, 2) points and (N, P) labels: 1 for a point of the object, -10 for none at all."""
    most = max(len(own) for own in points)
    coordinates = np.zeros((len(points), most, 2))
    labels = np.full((len(points), most), -10)
    for i, own in enumerate(points):
        coordinates[i, : len(own)] = own
        labels[i, : len(own)] = 1
    return coordinates, labels


def _chunks(count: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, count, size))
