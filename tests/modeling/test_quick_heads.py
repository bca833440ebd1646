"""Heads as they predict in a quick copy, against Detectron2's."""

import copy
from typing import Any

import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling.roi_heads import FastRCNNConvFCHead, MaskRCNNConvUpsampleHead
from detectron2.structures import Instances
from torch import nn

from project.modeling.mask_heads import ConvMaskHead
from project.modeling.quick_heads import quicken_heads

SHAPE = ShapeSpec(channels=6, height=7, width=5)


class Heads(nn.Module):
    """As much of Detectron2's RoI heads as is looked at."""

    def __init__(self, box_head: nn.Module) -> None:
        super().__init__()
        self.box_pooler = nn.Identity()
        self.box_pooler.output_size = (7, 5)
        self.box_head = box_head


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("num_rois", [0, 1, 30])
@pytest.mark.parametrize("convs", [0, 2])
@pytest.mark.parametrize("cascade", [False, True])
def test_box_heads(cascade, convs, num_rois, layout):
    torch.manual_seed(0)
    head = FastRCNNConvFCHead(SHAPE, conv_dims=[6] * convs, fc_dims=[16, 8])
    heads = Heads(nn.ModuleList([head, copy.deepcopy(head)]) if cascade else head).eval()
    x = torch.randn(num_rois, 6, 7, 5).to(memory_format=layout)
    with torch.no_grad():
        expected = head(x)
        for _ in range(2):  # a second time changes nothing
            quicken_heads(heads)
        assert not any(isinstance(m, nn.Linear) for m in head.fcs[:1])
        assert not any(isinstance(m, nn.Linear) and m.in_features > 16 for m in heads.modules())
        for found in (h(x) for h in (heads.box_head if cascade else [heads.box_head])):
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert num_rois == 0 or expected.std() > 0.1


def test_box_heads_without_such_a_layer_stay():
    heads = Heads(FastRCNNConvFCHead(SHAPE, conv_dims=[6], fc_dims=[])).eval()
    x = torch.randn(3, 6, 7, 5)
    expected = heads.box_head(x)
    quicken_heads(heads)
    assert torch.equal(heads.box_head(x), expected)


def found(counts: list[int], num_classes: int) -> list[Instances]:
    generator = torch.Generator().manual_seed(1)
    classes = [torch.randint(num_classes, (n,), generator=generator) for n in counts]
    return [Instances((40, 50), pred_classes=each) for each in classes]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("agnostic", [False, True])
@pytest.mark.parametrize("counts", [[4, 0, 9], [0], [0, 0], [1]])
@pytest.mark.parametrize("kind", [MaskRCNNConvUpsampleHead, ConvMaskHead])
def test_mask_heads(kind, counts, agnostic, dtype):
    torch.manual_seed(0)
    shape = ShapeSpec(channels=6, height=7, width=7)
    head: Any = kind(shape, num_classes=1 if agnostic else 5, conv_dims=[8, 8, 12])
    nn.init.normal_(head.predictor.weight)
    nn.init.normal_(head.predictor.bias)
    head = head.eval().to(dtype)
    x = torch.randn(sum(counts), 6, 7, 7).to(dtype)
    theirs, ours = found(counts, 5), found(counts, 5)
    with torch.no_grad():
        head(x, theirs)
        quicken_heads(head)
        assert head(x, ours) is ours
    bound = 1e-5 if dtype == torch.float32 else 0.02
    for first, second in zip(theirs, ours, strict=True):
        assert second.pred_masks.shape == (len(second), 1, 14, 14)
        assert len(first) < 2 or first.pred_masks.std() > 0.05
        torch.testing.assert_close(second.pred_masks, first.pred_masks, atol=bound, rtol=0)


def test_in_training_a_mask_head_is_as_it_was(monkeypatch):
    head: Any = MaskRCNNConvUpsampleHead(
        ShapeSpec(channels=6, height=7, width=7), num_classes=5, conv_dims=[8, 8]
    )
    quicken_heads(head)
    monkeypatch.setattr(MaskRCNNConvUpsampleHead, "forward", lambda *_: "losses")
    assert head.train()(torch.zeros(1, 6, 7, 7), found([1], 5)) == "losses"
