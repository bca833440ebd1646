import pytest
import torch
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.structures import Boxes, pairwise_iou
from torchvision.ops import nms

from project.layers.boxes import batched_iou, box_deltas, draw, pad_boxes
from project.layers.nms import greedy_keep


def random_boxes(generator: torch.Generator, *shape: int, extent: float = 100.0) -> torch.Tensor:
    corners = extent * torch.rand(*shape, 2, generator=generator)
    return torch.cat([corners, corners + 1 + 40 * torch.rand(*shape, 2, generator=generator)], -1)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_boxes_are_padded_to_the_most(generator):
    lists = [random_boxes(generator, count) for count in (3, 0, 5)]
    padded, valid = pad_boxes(lists)
    assert padded.shape == (3, 5, 4) and valid.sum(dim=1).tolist() == [3, 0, 5]
    for own, row, real in zip(lists, padded, valid):
        assert torch.equal(row[real], own) and not row[~real].any()
    assert pad_boxes(lists[1:2])[0].shape == (1, 1, 4)


def test_overlaps_are_detectron2s(generator):
    first, second = random_boxes(generator, 2, 6), random_boxes(generator, 2, 50)
    first[0, 0] = 0.0  # an empty box
    found = batched_iou(first, second)
    assert 0.05 < (found > 0).float().mean() < 0.95
    for one, other, own in zip(first, second, found):
        torch.testing.assert_close(own, pairwise_iou(Boxes(one), Boxes(other)))
    torch.testing.assert_close(
        batched_iou(first, second[0])[1], batched_iou(first[1:], second[:1])[0]
    )


def test_deltas_are_detectron2s(generator):
    source, target = random_boxes(generator, 2, 9), random_boxes(generator, 2, 9)
    weights = (10.0, 10.0, 5.0, 5.0)
    expected = Box2BoxTransform(weights).get_deltas(source.flatten(0, 1), target.flatten(0, 1))
    torch.testing.assert_close(box_deltas(source, target, weights).flatten(0, 1), expected)


class TestDraw:
    def test_what_is_chosen_is_drawn_once(self):
        torch.manual_seed(0)
        chosen = torch.zeros(3, 40, dtype=torch.bool)
        chosen[0, ::2] = True  # 20
        chosen[1, 5] = True
        places, drawn = draw(chosen, 8)
        assert drawn.sum(dim=1).tolist() == [8, 1, 0]
        assert set(places[0].tolist()) <= set(range(0, 40, 2)) and len(set(places[0].tolist())) == 8
        assert places[1, 0] == 5 and drawn[1].tolist() == [True] + 7 * [False]

    def test_rows_have_their_own_limits(self):
        _, drawn = draw(torch.ones(2, 10, dtype=torch.bool), 6, torch.tensor([0, 4]))
        assert drawn.tolist() == [6 * [False], 4 * [True] + 2 * [False]]

    def test_all_are_drawn_alike(self):
        torch.manual_seed(0)
        chosen = (torch.arange(10) % 3 > 0).expand(20000, -1)  # 6 of 10
        places, drawn = draw(chosen, 2)
        assert drawn.all()
        counts = places.flatten().bincount(minlength=10)
        expected = 20000 * 2 / 6  # each; five deviations of a binomial are 380
        assert (counts[chosen[0]] - expected).abs().max() < 400 and not counts[~chosen[0]].any()


@pytest.mark.parametrize("threshold", [0.3, 0.7])
@pytest.mark.parametrize("extent", [30.0, 300.0])  # crowded and loose
@pytest.mark.parametrize("pairs", [2**29, 2 * 400**2])
def test_suppression_is_torchvisions(generator, threshold, extent, pairs, monkeypatch):
    monkeypatch.setattr("project.layers.nms._PAIRS", pairs)
    boxes = random_boxes(generator, 6, 400, extent=extent)
    boxes[0, 100:200] = boxes[0, :100]  # equal ones
    valid = torch.rand(6, 400, generator=generator) < 0.9
    valid[5] = False
    keep = greedy_keep(boxes, valid, threshold)
    shares = []
    for own, real, kept in zip(boxes, valid, keep):
        places = real.nonzero()[:, 0]
        scores = torch.arange(len(places), 0, -1).float()
        expected = torch.zeros(400, dtype=torch.bool)
        expected[places[nms(own[places], scores, threshold)]] = True
        assert torch.equal(kept, expected)
        shares.append(float(kept.sum() / max(1, real.sum())))
    assert 0 < shares[0] < 0.95 and shares[5] == 0


def test_a_long_chain_of_overlaps_ends_right():
    """Each overlaps the next alone: every second one stays, which takes as many steps."""
    starts = torch.arange(100.0) * 4
    boxes = torch.stack([starts, torch.zeros(100), starts + 10, torch.full((100,), 10.0)], dim=1)
    keep = greedy_keep(boxes[None], torch.ones(1, 100, dtype=torch.bool), 0.4)[0]
    assert keep.tolist() == 50 * [True, False]


def test_nothing_is_kept_of_nothing():
    assert greedy_keep(torch.zeros(2, 0, 4), torch.zeros(2, 0, dtype=torch.bool), 0.5).shape == (
        2,
        0,
    )
