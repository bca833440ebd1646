"""Scores of a label map from a model's logits: stock's evaluator against ours."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import SemSegEvaluator
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from project.benchmark.quiet import quietly
from project.benchmark.timing import Comparison, Pair, Run
from project.data.register import register_dataset
from project.evaluation.semantic import SemanticEvaluator

CLASSES, IGNORE = 19, 255
_METRICS = ("mIoU", "fwIoU", "mACC", "pACC")
_TOLERANCE = 1e-9


class Street:
    """One image's truth, registered for both sides, and logits for it.

    Attributes:
        ours: its data set's name for our evaluators.
        stock: that for Detectron2's.
        logits: (K, H, W).
        inputs: what goes into `process` beside them.
    """

    def __init__(self, size: tuple[int, int], bfloat16: bool, device: str) -> None:
        """Makes and registers it; the logits are right at about two pixels of three."""
        generator = torch.Generator().manual_seed(0)
        coarse = torch.randn(1, CLASSES, 16, 32, generator=generator)
        self.logits = interpolate(coarse, size=size, mode="bilinear")[0]
        truth = self._truth(generator)
        self.logits += 0.3 * torch.randn(self.logits.shape, generator=generator)
        self.logits = self.logits.to(device, torch.bfloat16 if bfloat16 else torch.float32)
        self._temporary = tempfile.TemporaryDirectory()
        folder = Path(self._temporary.name)
        label, image = folder / "labels" / "a.png", folder / "images" / "a.jpg"
        for path in (label, image):
            path.parent.mkdir()
        Image.fromarray(truth).save(label)
        Image.new("RGB", size[::-1]).save(image)
        name = folder.name.replace("-", "_")
        self.ours = self._register(name, folder)
        self.stock = self._register_stock(f"{name}_stock", image, label)
        self.inputs: list[dict[str, Any]] = [
            {
                "image_id": "a",
                "file_name": str(image),
                "height": size[0],
                "width": size[1],
            }
        ]

    def _truth(self, generator: torch.Generator) -> np.ndarray:
        """(H, W) uint8: the best class, with a part that is another and one to be ignored."""
        size = self.logits.shape[1:]
        wrong, ignored = (
            interpolate(torch.rand(1, 1, 24, 48, generator=generator), size=size)[0, 0] < share
            for share in (0.2, 0.1)
        )
        labels = self.logits.max(dim=0).indices
        labels[wrong] = (labels[wrong] + 1) % CLASSES
        labels[ignored] = IGNORE
        return labels.to(torch.uint8).numpy()

    def _register(self, name: str, folder: Path) -> str:
        classes = {_name(number): number for number in range(CLASSES)}
        splits = {"val": {"images": str(folder / "images"), "labels": str(folder / "labels")}}
        fields: dict[str, Any] = {
            "format": "label_map",
            "classes": classes,
            "ignore": [IGNORE],
            "splits": splits,
        }
        (registered,) = register_dataset(name=name, **fields)
        return registered

    def _register_stock(self, name: str, image: Path, label: Path) -> str:
        record = {"file_name": str(image), "sem_seg_file_name": str(label)}
        DatasetCatalog.register(name, lambda: [record])
        classes = [_name(number) for number in range(CLASSES)]
        MetadataCatalog.get(name).set(stuff_classes=classes, ignore_label=IGNORE)
        return name


def pairs(device: str = "cpu") -> Iterator[Pair]:
    """One image; then what only explains it."""
    street = f"1024x2048, {CLASSES} classes"
    large = partial(_build, (1024, 2048), device=device)
    goal = 10 if device == "cpu" else None
    yield Pair(f"semantic scores of {street}", partial(large, _stock), goal=goal)
    yield Pair(f"semantic scores of {street}, bfloat16", partial(large, _stock, bfloat16=True))
    yield Pair(
        f"semantic scores of {street}, stock keeps no RLE",
        partial(large, _without_codes),
    )
    yield Pair("semantic scores of 128x256", partial(_build, (128, 256), _stock, device=device))


def conclusion(comparisons: Sequence[Comparison]) -> str:
    """What was checked, and what was not."""
    return (
        f"mIoU, fwIoU, mACC, pACC and each class's IoU of the {len(comparisons)} comparisons agree"
        f" to {_TOLERANCE:g}; boundaries are defined differently and both computed"
    )


def _name(number: int) -> str:
    return f"class {number:02}"


class _WithoutCodes(SemSegEvaluator):
    """Detectron2's evaluator without the RLEs that it keeps for a file."""

    def encode_json_sem_seg(self, sem_seg: np.ndarray, input_file_name: str) -> list[Any]:
        return []


def _load(path: str, dtype: Any) -> np.ndarray:
    """As the evaluator's own, whose `copy=False` NumPy 2 refuses."""
    return np.array(Image.open(path), dtype=dtype)


def _stock(street: Street, kind: type[SemSegEvaluator] = SemSegEvaluator) -> dict[str, Any]:
    with quietly():
        scores = _scored(kind(street.stock, sem_seg_loading_fn=_load), street)
    classes = {name[4:]: {"IoU": s} for name, s in scores.items() if name.startswith("IoU-")}
    return {**scores, "per_class": classes}


def _without_codes(street: Street) -> dict[str, Any]:
    return _stock(street, _WithoutCodes)


def _ours(street: Street) -> dict[str, Any]:
    return _scored(SemanticEvaluator(street.ours), street)


def _scored(evaluator: Any, street: Street) -> dict[str, Any]:
    evaluator.reset()
    logits: Tensor = street.logits
    evaluator.process(street.inputs, [{"sem_seg": logits}])
    return evaluator.evaluate()["sem_seg"]


def _build(
    size: tuple[int, int],
    theirs: Callable[[Street], dict[str, Any]],
    *,
    bfloat16: bool = False,
    device: str = "cpu",
) -> tuple[Run, Run]:
    street = Street(size, bfloat16, device)
    check(theirs(street), _ours(street))
    return partial(theirs, street), partial(_ours, street)


def check(expected: dict[str, Any], found: dict[str, Any]) -> None:
    """Compares the scores.

    Raises:
        AssertionError: they are trivial, or one differs.
    """
    assert 20 < expected["mIoU"] < 95, f"mIoU {expected['mIoU']} proves nothing"
    numbers = {m: (expected[m], found[m]) for m in _METRICS}
    for name, of in expected["per_class"].items():
        numbers[name] = of["IoU"], found["per_class"][name]["IoU"]
    for name, (theirs, ours) in numbers.items():
        same = ours is not None and abs(theirs - ours) <= _TOLERANCE
        assert same, f"{name}: {theirs} by the other side, {ours} by ours"
