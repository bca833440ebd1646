"""Merging to panoptic segments, on maps made by hand and against a plain implementation."""

import time

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances

from project.modeling.panoptic import merge_panoptic


def parse(*rows: str) -> torch.Tensor:
    """Digits to an integer map."""
    return torch.tensor([[int(c) for c in row] for row in rows])


def make_instances(masks: list[torch.Tensor], scores: list[float], classes: list[int], size):
    instances = Instances(size)
    instances.pred_masks = torch.stack(masks).bool() if masks else torch.zeros(0, *size).bool()
    instances.scores = torch.tensor(scores)
    instances.pred_classes = torch.tensor(classes, dtype=torch.long)
    instances.pred_boxes = Boxes(torch.zeros(len(masks), 4))
    return instances


def logits_of(labels: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Logits (K, H, W) whose best class is `labels`."""
    return torch.nn.functional.one_hot(labels, num_classes).permute(2, 0, 1).float()


SEMANTIC = parse("000111", "000111", "000111", "000111")  # stuff 0 left, stuff 1 right
LEFT = parse("110000", "110000", "110000", "000000")
WIDE = parse("011110", "011110", "000000", "000000")
RULES = {"num_stuff": 2, "overlap_threshold": 0.5, "stuff_area_limit": 1, "score_threshold": 0.5}


def merge(masks, scores, classes, labels=SEMANTIC, **rules):
    instances = make_instances(masks, scores, classes, tuple(labels.shape))
    return merge_panoptic(instances, logits_of(labels, 4), **{**RULES, **rules})


def test_instances_by_score_then_stuff():
    """WIDE loses 2 of its 8 pixels to LEFT, which scores higher though it comes second."""
    ids, segments = merge([WIDE, LEFT], [0.6, 0.9], [1, 0])
    assert torch.equal(ids, parse("112224", "112224", "113444", "333444").int())
    assert segments == [
        {"id": 1, "isthing": True, "category_id": 0, "score": pytest.approx(0.9)},
        {"id": 2, "isthing": True, "category_id": 1, "score": pytest.approx(0.6)},
        {"id": 3, "isthing": False, "category_id": 0},
        {"id": 4, "isthing": False, "category_id": 1},
    ]


def test_overlap_drops_an_instance_only_above_the_threshold():
    """2 of 8 pixels are a share of 0.25."""
    assert len(merge([WIDE, LEFT], [0.6, 0.9], [1, 0], overlap_threshold=0.25)[1]) == 4
    ids, segments = merge([WIDE, LEFT], [0.6, 0.9], [1, 0], overlap_threshold=0.24)
    assert torch.equal(ids, parse("112333", "112333", "112333", "222333").int())
    assert [s["category_id"] for s in segments] == [0, 0, 1]


def test_a_dropped_instance_covers_nothing():
    """Were the dropped WIDE painted, the last one, inside it, would go too."""
    inside = parse("000110", "000110", "000000", "000000")
    ids, segments = merge([LEFT, WIDE, inside], [0.9, 0.8, 0.7], [0, 1, 1], overlap_threshold=0.1)
    assert [s.get("score") for s in segments[:2]] == pytest.approx([0.9, 0.7])
    assert torch.equal(ids == 2, inside.bool())


def test_hidden_and_empty_instances_leave_no_segment():
    empty = torch.zeros(4, 6)
    _, segments = merge([LEFT, LEFT, empty], [0.9, 0.8, 0.7], [0, 1, 1], overlap_threshold=1.0)
    assert [s["isthing"] for s in segments] == [True, False, False]


def test_unsure_instances_are_left_out():
    _, segments = merge([WIDE, LEFT], [0.6, 0.49], [1, 0])
    assert [s["category_id"] for s in segments if s["isthing"]] == [1]
    _, segments = merge([WIDE, LEFT], [0.6, 0.5], [1, 0])
    assert [s["category_id"] for s in segments if s["isthing"]] == [1, 0]


def test_small_stuff_becomes_void():
    """With LEFT at the front stuff 0 keeps 6 pixels and stuff 1 its 12."""
    ids, segments = merge([LEFT], [0.9], [0], stuff_area_limit=7)
    assert torch.equal(ids, parse("110222", "110222", "110222", "000222").int())
    assert [s["id"] for s in segments] == [1, 2]
    assert len(merge([LEFT], [0.9], [0], stuff_area_limit=6)[1]) == 3


def test_things_without_instance_become_the_likeliest_stuff():
    logits = logits_of(SEMANTIC, 4)
    logits[3, :2] = 5.0  # the upper half is a thing, says the semantic head
    ids, _ = merge_panoptic(make_instances([], [], [], (4, 6)), logits, **RULES)
    assert torch.equal(ids, SEMANTIC.int() + 1)


def test_no_stuff_and_no_instances():
    ids, segments = merge([], [], [], num_stuff=0)
    assert not ids.any() and segments == []
    assert ids.dtype == torch.int32


def plain_merge(instances: Instances, sem_seg: torch.Tensor, **rules):
    """The same rules, pixel sets and no windows."""
    height, width = sem_seg.shape[1:]
    owner: dict[int, int] = {}
    segments = []
    order = sorted(range(len(instances)), key=lambda i: -instances.scores[i].item())
    for i in order:
        pixels = set(np.flatnonzero(instances.pred_masks[i].numpy()).tolist())
        free = pixels - owner.keys()
        enough = len(pixels) - len(free) <= rules["overlap_threshold"] * len(pixels)
        if instances.scores[i] >= rules["score_threshold"] and free and enough:
            segments.append((True, instances.pred_classes[i].item()))
            owner |= dict.fromkeys(free, len(segments))
    best = sem_seg[: rules["num_stuff"]].argmax(0).flatten().tolist()
    for k in range(rules["num_stuff"]):
        pixels = {p for p, label in enumerate(best) if label == k} - owner.keys()
        if pixels and len(pixels) >= rules["stuff_area_limit"]:
            segments.append((False, k))
            owner |= dict.fromkeys(pixels, len(segments))
    ids = [owner.get(p, 0) for p in range(height * width)]
    return torch.tensor(ids).view(height, width), segments


@pytest.mark.parametrize("seed", range(6))
def test_random_scenes(seed):
    generator = torch.Generator().manual_seed(seed)
    height, width, count = 23, 31, 12
    masks = torch.zeros(count, height, width)
    for mask in masks:
        top, left = (int(v) for v in torch.randint(-4, 20, (2,), generator=generator))
        mask[max(top, 0) : top + 12, max(left, 0) : left + 14] = 1
    masks *= torch.rand(masks.shape, generator=generator) < 0.8
    scores = torch.rand(count, generator=generator).tolist()
    instances = make_instances(list(masks), scores, [i % 3 for i in range(count)], (height, width))
    sem_seg = torch.randn(5, height, width, generator=generator)
    rules = {**RULES, "stuff_area_limit": 100, "score_threshold": 0.2}
    expected, expected_segments = plain_merge(instances, sem_seg, **rules)
    ids, segments = merge_panoptic(instances, sem_seg, **rules)
    kept = sum(isthing for isthing, _ in expected_segments)
    assert 1 < kept < count  # some were dropped
    assert torch.equal(ids.long(), expected)
    assert [(s["isthing"], s["category_id"]) for s in segments] == expected_segments


def test_is_quick():
    """A few milliseconds for 50 instances at 480 x 640, well inside a bound for busy machines."""
    generator = torch.Generator().manual_seed(0)
    masks = torch.zeros(50, 480, 640, dtype=torch.bool)
    for mask in masks:
        top, left = (int(v) for v in torch.randint(0, 380, (2,), generator=generator))
        mask[top : top + 100, left : left + 150] = True
    scores = torch.rand(50, generator=generator).tolist()
    instances = make_instances(list(masks), scores, [0] * 50, (480, 640))
    sem_seg = torch.randn(12, 480, 640, generator=generator)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        _, segments = merge_panoptic(instances, sem_seg, **RULES)
        seconds.append(time.perf_counter() - start)
    assert len(segments) > 10
    assert min(seconds) < 0.1
