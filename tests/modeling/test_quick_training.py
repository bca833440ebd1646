"""The ways of `quicken` for GPUs, on the CPU beside Detectron2's, with the same results."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.config import get_cfg
from detectron2.modeling import build_model
from detectron2.modeling.matcher import Matcher
from detectron2.structures import Boxes, Instances, PolygonMasks, pairwise_iou
from detectron2.utils.events import EventStorage
from torch import nn

from project.benchmark import train
from project.modeling import anchors, matching
from project.modeling.anchors import CachedAnchors, cache_anchors
from project.modeling.mask_heads import mask_targets
from project.modeling.polygon_views import PolygonView, share_polygons
from project.modeling.quick_mask_head import QuickMaskHead, quicken_mask_heads
from project.modeling.quick_roi_heads import QuickOutputLayers, QuickROIHeads, quicken_roi_heads
from project.modeling.quick_rpn import QuickRPN, quicken_rpn

# All anchors and regions are sampled, so that both ways train on the same.
ALL: list[Any] = ["MODEL.RPN.BATCH_SIZE_PER_IMAGE", 10**6]
ALL += ["MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", 10**6]
SMALL: list[Any] = ["MODEL.FPN.OUT_CHANNELS", 16, "MODEL.ROI_BOX_HEAD.FC_DIM", 32]
SMALL += ["MODEL.ROI_MASK_HEAD.CONV_DIM", 16, "MODEL.RPN.POST_NMS_TOPK_TRAIN", 50]
SMALL += ["MODEL.ROI_MASK_HEAD.NUM_CONV", 1]


NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")
DEVICES = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=NEEDS_GPU)])


def build(*words: Any, device: str = "cpu") -> tuple[nn.Module, nn.Module]:
    """Stock's model, and the same made quick as for a GPU."""
    cfg = get_cfg()
    cfg.merge_from_file(str(train.BASE))
    cfg.merge_from_list([*train.KEYS, *SMALL, *words, "MODEL.DEVICE", device])
    torch.manual_seed(0)
    stock = build_model(cfg).train()
    ours = copy.deepcopy(stock)
    for change in (cache_anchors, quicken_rpn, quicken_roi_heads, quicken_mask_heads):
        change(ours)
    return stock, ours


@pytest.fixture
def batch(monkeypatch) -> list[dict[str, Any]]:
    monkeypatch.setattr(train, "BATCH", 3)
    images = train.make_batch(0)
    empty = images[1]["instances"]  # an image without objects
    images[1]["instances"] = empty[torch.zeros(0, dtype=torch.int64)]
    return images


def losses(model: nn.Module, batch: list[dict[str, Any]]) -> tuple[dict[str, Any], EventStorage]:
    model.zero_grad()
    torch.manual_seed(1)
    with EventStorage() as storage:
        found = model(batch)
    sum(found.values()).backward()
    return found, storage


class TestLosses:
    @DEVICES
    @pytest.mark.parametrize("words", [[], ["MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG", True]])
    def test_losses_gradients_and_statistics_are_stocks(self, batch, words, device):
        torch.backends.cudnn.allow_tf32 = False
        stock, ours = build(*ALL, *words, device=device)
        kinds = [type(m) for m in ours.modules()]
        assert {CachedAnchors, QuickRPN, QuickROIHeads, QuickOutputLayers, QuickMaskHead} <= {
            *kinds
        }
        (expected, said), (found, said_by_ours) = losses(stock, batch), losses(ours, batch)
        assert all(value > 1e-7 for value in expected.values())  # over 10**6 anchors
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-9, msg=name)
        for (name, theirs), own in zip(stock.named_parameters(), ours.parameters(), strict=True):
            assert theirs.grad is not None, name
            scale = float(theirs.grad.abs().max())
            torch.testing.assert_close(
                own.grad, theirs.grad, rtol=1e-3, atol=1e-4 * max(scale, 1e-3), msg=name
            )
        expected_words = {k: v for k, (v, _) in said.latest().items()}
        assert len(expected_words) >= 9
        own_words = {k: v for k, (v, _) in said_by_ours.latest().items()}
        assert own_words == pytest.approx(expected_words, rel=1e-4, abs=1e-6)

    def test_a_batch_without_objects(self, batch):
        for image in batch:
            image["instances"] = batch[1]["instances"]
        stock, ours = build(*ALL)
        (expected, _), (found, _) = losses(stock, batch), losses(ours, batch)
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-9, msg=name)

    @pytest.mark.parametrize("agnostic", [True, False])
    def test_no_region_at_all(self, batch, agnostic):
        for image in batch:
            image["instances"] = batch[1]["instances"]
        words = ["MODEL.PROPOSAL_GENERATOR.MIN_SIZE", 1000, "MODEL.ROI_HEADS.PROPOSAL_APPEND_GT"]
        stock, ours = build(*words, False, "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG", agnostic)
        (expected, _), (found, _) = losses(stock, batch), losses(ours, batch)
        assert found["loss_box_reg"] == expected["loss_box_reg"] == 0
        assert found["loss_cls"] == expected["loss_cls"] == 0

    def test_labels_of_fast_rcnn(self, batch):
        """Where an IoU of 0 is ignored, all is background still in an image without objects."""
        words = ["MODEL.ROI_HEADS.IOU_THRESHOLDS", [0.1, 0.5]]
        stock, ours = build(*ALL, *words, "MODEL.ROI_HEADS.IOU_LABELS", [-1, 0, 1])
        (expected, _), (found, _) = losses(stock, batch), losses(ours, batch)
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-9, msg=name)

    def test_samples_are_as_many_as_asked_for(self, batch):
        words = ["MODEL.RPN.BATCH_SIZE_PER_IMAGE", 16, "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", 12]
        stock, ours = build(*words)
        (_, said), (_, said_by_ours) = losses(stock, batch), losses(ours, batch)
        for name in ("rpn/num_pos_anchors", "rpn/num_neg_anchors", "roi_head/num_fg_samples"):
            assert said.latest()[name][0] > 0
            assert said_by_ours.latest()[name][0] == pytest.approx(said.latest()[name][0]), name


class TestProposals:
    @pytest.mark.parametrize("training", [True, False])
    def test_they_are_stocks(self, batch, training):
        stock, ours = build("MODEL.RPN.PRE_NMS_TOPK_TEST", 30, "MODEL.RPN.NMS_THRESH", 0.5)
        found = []
        for model in (stock, ours):
            rpn = model.proposal_generator
            images = model.preprocess_image(batch)
            with torch.no_grad(), EventStorage():
                features = list(model.backbone(images.tensor).values())
                anchors = rpn.anchor_generator(features)
                scores, deltas = rpn.rpn_head(features)
                scores = [10 * s.permute(0, 2, 3, 1).flatten(1) for s in scores]
                deltas = [
                    20 * d.view(len(d), -1, 4, *d.shape[-2:]).permute(0, 3, 4, 1, 2).flatten(1, -2)
                    for d in deltas
                ]
                rpn.training = training
                found.append(rpn.predict_proposals(anchors, scores, deltas, images.image_sizes))
        for theirs, own in zip(*found, strict=True):
            assert len(theirs) > 5 and len(own) == len(theirs)
            torch.testing.assert_close(own.proposal_boxes.tensor, theirs.proposal_boxes.tensor)
            torch.testing.assert_close(own.objectness_logits, theirs.objectness_logits)
            assert own.image_size == theirs.image_size

    def test_numbers_that_are_not_finite_end_a_training_and_no_prediction(self):
        _, ours = build()
        rpn = ours.proposal_generator
        anchors = [Boxes(torch.tensor([[0.0, 0, 9, 9], [20, 20, 30, 30]]))]
        words = ([torch.tensor([[1.0, 2.0]])], [torch.full((1, 2, 4), 0.0)], [(40, 40)])
        words[1][0][0, 1, 0] = torch.nan
        with pytest.raises(FloatingPointError, match="diverged"):
            rpn.predict_proposals(anchors, *words)
        rpn.training = False
        (found,) = rpn.predict_proposals(anchors, *words)
        assert found.proposal_boxes.tensor.tolist() == [[0, 0, 9, 9]]


@pytest.mark.parametrize("low_quality", [True, False])
@pytest.mark.parametrize("pairs", [2**25, 150, 1])  # all images at once, some, each by itself
@pytest.mark.parametrize("most", [2**28, 100])  # the second leaves images of many to Detectron2
def test_labels_are_detectron2s(low_quality, pairs, most, monkeypatch):
    monkeypatch.setattr(matching, "_PAIRS", pairs)
    monkeypatch.setattr(matching, "_MOST_PAIRS", most)
    generator = torch.Generator().manual_seed(0)
    corners = 60 * torch.rand(4, 40, 2, generator=generator)
    sizes = 5 + 20 * torch.rand(4, 40, 2, generator=generator)
    boxes = torch.cat([corners, corners + sizes], dim=2)
    far = torch.tensor([[200.0, 200, 210, 210]])
    truth = [boxes[0, :4] + 0.5, boxes[1, :0], far, boxes[3, 5:7] + 3]
    matcher = Matcher([0.3, 0.7], [0, -1, 1], allow_low_quality_matches=low_quality)
    for own_boxes in (boxes, boxes[0]):
        found = matching.match_all(truth, own_boxes, matcher)
        seen = set()
        every = own_boxes if own_boxes.dim() == 3 else own_boxes.expand(4, -1, -1)
        for own, those, match, label in zip(truth, every, *found, strict=True):
            expected, expected_labels = matcher(pairwise_iou(Boxes(own), Boxes(those)))
            assert torch.equal(label, expected_labels)
            if len(own):
                assert torch.equal(match[label == 1], expected[label == 1])
            seen |= set(label.tolist())
        assert seen == {-1, 0, 1}


def test_anchors_are_made_once(monkeypatch):
    stock, ours = build()
    generators = [m.proposal_generator.anchor_generator for m in (stock, ours)]
    for size in (8, 12, 8):
        maps = [torch.zeros(1, 1, size // 2**level + 1, size) for level in range(5)]
        theirs, own = (generator(maps) for generator in generators)
        for one, other in zip(theirs, own, strict=True):
            assert torch.equal(one.tensor, other.tensor)
    stock_anchors, ours = generators
    assert len(ours._known) == 2 and ours(maps)[0] is ours(maps)[0]
    assert copy.deepcopy(ours)._known is None
    small = [torch.zeros(1, 1, 2, 2)] * 5
    numbers = [sum(b.tensor.numel() for b in boxes) for boxes in (own, stock_anchors(small))]
    monkeypatch.setattr(anchors, "MOST_NUMBERS", sum(numbers))
    ours(small)  # that of 12, asked for longest ago, makes room
    assert len(ours._known) == 2
    ours([torch.zeros(1, 1, 40, 40)] * 5)  # too large for any other beside it
    assert len(ours._known) == 1
    with torch.inference_mode():
        ours([torch.zeros(1, 1, 5, 5)] * 5)
    assert len(ours._known) == 1


def test_views_of_outlines_are_detectron2s_masks():
    rng = np.random.default_rng(0)
    targets = []
    for count in (3, 0, 2):
        target = Instances((60, 60))
        outlines = [[30 + 20 * rng.standard_normal(8)] for _ in range(count)]
        target.gt_masks = PolygonMasks(outlines)
        target.proposal_boxes = Boxes(torch.tensor([[5.0, 5, 45, 50]]).expand(count, -1))
        targets.append(target)
    views = share_polygons(targets, torch.device("cpu"))
    assert all(type(own.gt_masks) is PolygonView for own in views)
    expected = mask_targets(targets, 14)
    assert 0.02 < expected.mean() < 0.98
    assert torch.equal(mask_targets(views, 14), expected)
    chosen = torch.tensor([2, 0, 2])
    assert torch.equal(
        views[0].gt_masks[chosen].crop_and_resize(targets[0].proposal_boxes.tensor, 14),
        targets[0].gt_masks[chosen].crop_and_resize(targets[0].proposal_boxes.tensor, 14),
    )
    torch.testing.assert_close(views[0].gt_masks.area(), targets[0].gt_masks.area().float())
    targets[1].remove("gt_masks")
    assert type(share_polygons(targets, torch.device("cpu"))[0].gt_masks) is PolygonMasks
