"""An image's masks, from the cells that a mask head yields to the codes that are scored."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from detectron2.evaluation.coco_evaluation import instances_to_coco_json
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Boxes, Instances
from torch import Tensor
from torch.nn.functional import interpolate

from project.benchmark.timing import Comparison, Pair, Run
from project.evaluation.detections import from_instances
from project.modeling.mask_paste import WindowedMasks

SIZE = (480, 640)
CELLS = 28
_SMALLEST, _LARGEST = 4.0, 8.0  # sides are powers of 2, to these

Code = Callable[[Instances], list[bytes]]


def pairs(device: str = "cpu") -> Iterator[Pair]:
    """Both steps, then the second alone on maps of the image's size, as other models have them."""
    words = f"masks of {SIZE[1]}x{SIZE[0]} to RLE"
    goal = 10 if device == "cpu" else None
    yield Pair(f"75 {words}, from boxes", partial(_build, 75, _stock, _ours, device), goal=goal)
    maps = partial(_build, 75, _stock_codes, _our_codes, device, whole=True)
    yield Pair(f"75 {words}, from maps", maps)
    yield Pair(f"3 {words}, from boxes", partial(_build, 3, _stock, _ours, device))


def conclusion(comparisons: Sequence[Comparison]) -> str:
    """What was checked."""
    return f"the codes of the {len(comparisons)} comparisons are the same, byte by byte"


def detections(number: int, seed: int = 0) -> Instances:
    """Detections as a box head and a mask head leave them; masks are blobs with wavy outlines."""
    generator = torch.Generator().manual_seed(seed)
    found = Instances(SIZE)
    sides = 2 ** (_SMALLEST + (_LARGEST - _SMALLEST) * torch.rand(number, 2, generator=generator))
    centres = torch.rand(number, 2, generator=generator) * torch.tensor(SIZE[::-1])
    found.pred_boxes = Boxes(torch.cat([centres - sides / 2, centres + sides / 2], dim=1))
    found.pred_boxes.clip(SIZE)
    found.scores = torch.rand(number, generator=generator)
    found.pred_classes = torch.randint(80, (number,), generator=generator)
    at = torch.linspace(-1, 1, CELLS)
    inside = 1 - at[:, None] ** 2 - at**2
    waves = torch.randn(number, 1, 5, 5, generator=generator)
    waves = interpolate(waves, size=(CELLS, CELLS), mode="bicubic", align_corners=False)
    found.pred_masks = (6 * inside + waves).sigmoid()
    return found


def _stock(found: Instances) -> list[bytes]:
    return _stock_codes(detector_postprocess(_fresh(found), *SIZE))


def _stock_codes(found: Instances) -> list[bytes]:
    found = found.to("cpu")  # as its evaluator does
    return [r["segmentation"]["counts"].encode() for r in instances_to_coco_json(found, 1)]


def _ours(found: Instances) -> list[bytes]:
    fresh = _fresh(found)
    fresh.pred_masks = WindowedMasks(fresh.pred_masks[:, 0])
    return _our_codes(detector_postprocess(fresh, *SIZE))


def _our_codes(found: Instances) -> list[bytes]:
    masks = from_instances(found).masks
    assert masks is not None
    return masks


def _fresh(found: Instances) -> Instances:
    """With boxes of its own, since `detector_postprocess` changes them in place."""
    boxes: Tensor = found.pred_boxes.tensor
    return Instances(found.image_size, **{**found.get_fields(), "pred_boxes": Boxes(boxes.clone())})


def _build(
    number: int, theirs: Code, ours: Code, device: str = "cpu", *, whole: bool = False
) -> tuple[Run, Run]:
    found = detections(number).to(device)
    if whole:
        found = detector_postprocess(_fresh(found), *SIZE)
    expected, codes = theirs(found), ours(found)
    assert sum(map(len, expected)) > 20 * number, "the masks are too simple to prove anything"
    assert codes == expected, "the codes of the masks differ"
    return partial(theirs, found), partial(ours, found)
