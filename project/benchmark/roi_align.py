"""Our RoIAlign against Detectron2's, which is torchvision's operator, on CPU.

Legend: N images, C channels, R RoIs, S x S the feature map, B x B the output bins.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import torch
from detectron2.modeling.poolers import ROIPooler
from detectron2.structures import Boxes
from torch import Tensor
from torchvision.ops import roi_align

from project.benchmark.timing import Comparison, Pair, Run
from project.layers.roi_align import MAX_CELLS_FORWARD, MAX_CELLS_TRAINING, replace_roi_align
from project.layers.separable import separable_roi_align
from project.modeling.pooler import replace_poolers

STRIDE = 4
SAMPLES = 2

Pool = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Case:
    """One size of the problem; `rois` counts those of one image."""

    side: int
    channels: int
    images: int
    rois: int
    bins: int

    def __str__(self) -> str:
        return (
            f"{self.side}x{self.side}x{self.channels} "
            f"{self.images}x{self.rois} RoIs {self.bins}x{self.bins}"
        )


# The demo's levels for boxes and masks, and a wider one.
SMALL = (
    Case(4, 64, 16, 24, 7),
    Case(8, 64, 16, 24, 7),
    Case(16, 64, 16, 24, 7),
    Case(16, 64, 16, 8, 14),
    Case(24, 96, 16, 24, 7),
)
# Where the constants of `project.layers.roi_align` come from.
GROWING = tuple(
    Case(side, channels, images, rois, 7)
    for side in (24, 32, 48, 64, 80)
    for channels, images, rois in ((64, 16, 24), (256, 2, 128))
)


# An image of 480x640 pixels in a pyramid of 256 channels; RoIs as its proposals would be.
IMAGE, CHANNELS, ROIS = (480, 640), 256, 1000
GOALS = {False: 5.0, True: 3.0}  # by whether it trains
ATOL = 1e-4  # between the two, relative to the largest number where that is above 1


def pairs() -> Iterator[Pair]:
    """All comparisons: those with a goal first, then small ones."""
    steps = (True, False)
    for levels, train in product((1, 4), (False, True)):
        yield Pair(
            f"{_large_words(levels)}, {'forward+backward' if train else 'forward'}",
            partial(_large, levels, train),
            goal=GOALS[train],
        )
    for case, bfloat16, last, train in product(SMALL, (False, True), (True, False), steps):
        yield _pair(case, bfloat16, last, train)
    for bfloat16 in (False, True):
        yield Pair(
            f"ROIPooler, 3 levels {_words(bfloat16, True, True)}", partial(_pooler, bfloat16)
        )
    for case, bfloat16, train in product(GROWING, (False, True), steps):
        yield _pair(case, bfloat16, True, train)


def conclusion(comparisons: Sequence[Comparison]) -> str:
    """Says where our ways are slower, and which of them a model takes."""
    slower = [comparison.name for comparison in comparisons if comparison.ratio < 1]
    return (
        "Single maps are timed with the two matrix products, wherever they are; a model takes"
        f" them on maps of up to {MAX_CELLS_TRAINING} cells in training and {MAX_CELLS_FORWARD} in"
        " prediction, and sums over bags of cells on larger ones (project/layers/roi_align.py)."
        f" torchvision's was quicker in: {', '.join(slower) or 'none'}"
    )


def _words(bfloat16: bool, channels_last: bool, train: bool) -> str:
    return " ".join(
        (
            "bfloat16" if bfloat16 else "float32",
            "channels_last" if channels_last else "contiguous",
            "forward+backward" if train else "forward",
        )
    )


def _large_words(levels: int) -> str:
    height, width = (side // STRIDE for side in IMAGE)
    what = f"RoIAlign, {height}x{width}x{CHANNELS}" if levels == 1 else "pooler of 4 FPN levels"
    return f"{what}, {ROIS:,} RoIs 7x7"


def _large(levels: int, train: bool) -> tuple[Run, Run]:
    """Detectron2's pooler as it is and with `replace_poolers`, each in its models' layout.

    One level has two samples a bin and axis; several have as many as the RoI's size asks for, which
    is Detectron2's default.
    """
    generator = torch.Generator().manual_seed(0)
    sizes = [tuple(side // STRIDE >> level for side in IMAGE) for level in range(levels)]
    features = [torch.randn(1, CHANNELS, *size, generator=generator) for size in sizes]
    ours_features = [level.to(memory_format=torch.channels_last) for level in features]
    boxes = [Boxes(_proposals(generator, levels))]
    scales = [1 / STRIDE / 2**level for level in range(levels)]
    samples = SAMPLES if levels == 1 else 0
    theirs, ours = (ROIPooler(7, scales, samples, "ROIAlignV2") for _ in range(2))
    replace_poolers(ours)
    runs = [
        partial(_step, lambda *x, pooler=pooler: pooler(list(x), boxes), maps, train)
        for pooler, maps in ((theirs, features), (ours, ours_features))
    ]
    for stock, own in zip(*(run() for run in runs), strict=True):
        torch.testing.assert_close(own, stock, atol=ATOL * max(1, stock.abs().max()), rtol=0)
    return runs[0], runs[1]


def _proposals(generator: torch.Generator, levels: int) -> Tensor:
    """(ROIS, 4) boxes within the image, with sides of 16 pixels to half of it."""
    size = torch.tensor(IMAGE[::-1])
    sides = 16 * (size / 32) ** torch.rand(ROIS, 2, generator=generator)
    if levels == 1:  # the finest level alone is given the small ones
        sides = sides.clamp(max=224)
    corners = (size - sides) * torch.rand(ROIS, 2, generator=generator)
    return torch.cat([corners, corners + sides], dim=1)


def _pair(case: Case, bfloat16: bool, channels_last: bool, train: bool) -> Pair:
    name = f"{case} {_words(bfloat16, channels_last, train)}"
    return Pair(name, partial(_build, case, bfloat16, channels_last, train))


def _build(case: Case, bfloat16: bool, channels_last: bool, train: bool) -> tuple[Run, Run]:
    generator = torch.Generator().manual_seed(0)
    features = _features(case, bfloat16, channels_last, generator)
    boxes = [_boxes(case, generator) for _ in range(case.images)]
    rois = torch.cat([torch.nn.functional.pad(b, (1, 0), value=i) for i, b in enumerate(boxes)])
    size, scale = (case.bins, case.bins), 1 / STRIDE
    pools: tuple[Pool, Pool] = (
        lambda x: roi_align(x, rois, size, scale, SAMPLES, aligned=True),
        lambda x: separable_roi_align(x, rois, size, scale, SAMPLES),
    )
    theirs, ours = (partial(_step, pool, [features], train) for pool in pools)
    return theirs, ours


def _pooler(bfloat16: bool) -> tuple[Run, Run]:
    """Detectron2's pooler as it is and with `replace_roi_align`."""
    generator = torch.Generator().manual_seed(0)
    cases = [Case(side, 64, 16, 24, 7) for side in (16, 8, 4)]
    features = [_features(case, bfloat16, True, generator) for case in cases]
    boxes = [Boxes(_boxes(cases[0], generator)) for _ in range(cases[0].images)]
    runs = []
    for replace in (False, True):
        scales = [1 / STRIDE, 1 / STRIDE / 2, 1 / STRIDE / 4]
        # A box of 16 pixels, a quarter of the image, is the smallest of the second level.
        pooler = ROIPooler(7, scales, SAMPLES, "ROIAlignV2", 16, 3)
        if replace:
            replace_roi_align(pooler)
        runs.append(
            partial(_step, lambda *x, pooler=pooler: pooler(list(x), boxes), features, True)
        )
    return runs[0], runs[1]


def _features(case: Case, bfloat16: bool, last: bool, generator: torch.Generator) -> Tensor:
    features = torch.randn(case.images, case.channels, case.side, case.side, generator=generator)
    layout = torch.channels_last if last else torch.contiguous_format
    return features.to(torch.bfloat16 if bfloat16 else torch.float32, memory_format=layout)


def _boxes(case: Case, generator: torch.Generator) -> Tensor:
    """(rois, 4) boxes with sides of 1/8 to 1/2 of the image; some reach over its edge."""
    image = case.side * STRIDE
    sides = image * (torch.rand(case.rois, 2, generator=generator) * 3 + 1) / 8
    centres = image * torch.rand(case.rois, 2, generator=generator)
    return torch.cat([centres - sides / 2, centres + sides / 2], dim=1)


def _step(pool: Callable[..., Tensor], features: list[Tensor], train: bool) -> list[Tensor]:
    """One pooling, as in training if `train`; bfloat16 features under autocast.

    Returns:
        What was pooled and the gradients of the features.
    """
    features = [level.detach().requires_grad_(train) for level in features]
    with torch.autocast("cpu", torch.bfloat16, enabled=features[0].dtype == torch.bfloat16):
        pooled = pool(*features)
    if train:
        pooled.backward(pooled.detach())
    return [pooled.detach(), *(level.grad for level in features if level.grad is not None)]
