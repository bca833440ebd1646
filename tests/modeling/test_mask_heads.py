"""RoI heads of MaskUNet: poolers, mask losses, mask scores, boundaries and points."""

import pytest
import torch
from detectron2.config import get_cfg
from detectron2.layers import ROIAlign, ShapeSpec
from detectron2.modeling import build_model
from detectron2.modeling.roi_heads.mask_head import MaskRCNNConvUpsampleHead, mask_rcnn_loss
from detectron2.projects.point_rend import add_pointrend_config
from detectron2.structures import BitMasks, Boxes, Instances, PolygonMasks
from detectron2.utils.events import EventStorage
from torchvision.ops import RoIPool as TorchvisionRoIPool

from model_cases import CASES, NUM_THINGS, ROI_POOL, make_input, tiny_config
from project.config import get_project_config
from project.engine.setup import prepare_config
from project.errors import ConfigError
from project.layers.roi_align import RoIAlign
from project.layers.roi_pool import RoIPool
from project.modeling.mask_heads import ConvMaskHead
from project.modeling.mask_scoring import MaskIoUHead, MaskScoringHead, full_areas
from tool_runner import TINY

SHAPE = ShapeSpec(channels=6, height=5, width=5)
SIZES = {"num_classes": NUM_THINGS, "conv_dims": [8, 8]}


def make_objects(count: int = 4) -> Instances:
    """RoIs beside objects of both classes."""
    generator = torch.Generator().manual_seed(1)
    masks = torch.zeros(count, 40, 40, dtype=torch.bool)
    objects = Instances((40, 40))
    for i in range(count):
        masks[i, 5 + i : 20 + i, 8 : 18 + 2 * i] = True
    objects.gt_masks = BitMasks(masks)
    boxes = objects.gt_masks.get_bounding_boxes().tensor
    objects.proposal_boxes = Boxes(boxes + 3 * torch.randn(count, 4, generator=generator))
    objects.gt_classes = torch.arange(count) % NUM_THINGS
    return objects


def test_one_key_sets_all_poolers():
    """The comparison of the course: the same model, pooled otherwise."""
    align = build_model(tiny_config(*CASES["instances"]))
    pool = build_model(tiny_config(*CASES["instances"], *ROI_POOL))

    def kinds(model: torch.nn.Module) -> dict[type, int]:
        every = [type(module) for module in model.modules()]
        known = (RoIAlign, RoIPool, ROIAlign, TorchvisionRoIPool)
        return {kind: every.count(kind) for kind in known if kind in every}

    assert kinds(align) == {RoIAlign: 6}  # boxes and masks on three levels
    assert kinds(pool) == {RoIPool: 6}
    assert align.state_dict().keys() == pool.state_dict().keys()
    boundary = build_model(tiny_config(*CASES["instances_boundary_agnostic"]))
    assert kinds(boundary) == {RoIPool: 7}  # and boundaries on the finest
    shifted = build_model(tiny_config(*CASES["instances"], "MODEL.ROI_POOLER", "ROIAlign"))
    assert not any(m.aligned for m in shifted.modules() if isinstance(m, RoIAlign))


def test_cross_entropy_is_detectron2s():
    torch.manual_seed(0)
    ours, theirs = ConvMaskHead(SHAPE, **SIZES), MaskRCNNConvUpsampleHead(SHAPE, **SIZES)
    torch.nn.init.normal_(ours.predictor.weight)
    theirs.load_state_dict(ours.state_dict())
    objects, x = [make_objects(3), make_objects(0), make_objects(2)], torch.randn(5, 6, 5, 5)
    with EventStorage():
        expected = mask_rcnn_loss(theirs.layers(x), objects)
    assert expected > 0.5
    assert ours(x, objects)["loss_mask"].item() == pytest.approx(expected.item(), abs=1e-6)


@pytest.mark.parametrize("names", [["bce"], ["dice"], ["bce", "dice"]])
def test_losses_are_those_of_the_key(names):
    head = ConvMaskHead(SHAPE, losses=names, **SIZES)
    losses = head(torch.randn(4, 6, 5, 5), [make_objects()])
    keys = {"bce": "loss_mask", "dice": "loss_mask_dice"}
    assert set(losses) == {keys[name] for name in names}


@pytest.mark.parametrize("case", ["instances_dice", "instances_scoring", "instances_boundary"])
def test_masks_are_class_agnostic_or_not(case):
    for agnostic in (True, False):
        key = ["MODEL.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK", agnostic]
        state = build_model(tiny_config(*CASES[case], *key)).roi_heads.mask_head.state_dict()
        outputs = {k: len(v) for k, v in state.items() if k.endswith("predictor.weight")}
        assert outputs and set(outputs.values()) == {1 if agnostic else NUM_THINGS}


def test_mask_scores_are_class_scores_times_mask_ious():
    model = build_model(tiny_config(*CASES["instances_scoring"])).eval()
    with torch.no_grad():
        found = model([make_input(61, 75)])[0]["instances"]
    assert len(found) > 10
    assert found.mask_ious.min() >= 0 and found.mask_ious.max() <= 1
    assert found.mask_ious.std() > 0
    assert torch.allclose(found.scores, found.class_scores * found.mask_ious)
    assert torch.equal(found.scores, found.scores.sort(descending=True).values)


def test_mask_ious_are_learnt():
    """The same masks, which the head cannot change, are judged better and better."""
    torch.manual_seed(0)
    iou_head = MaskIoUHead(SHAPE, num_classes=NUM_THINGS, num_conv=1, conv_dim=8, fc_dim=16)
    head = MaskScoringHead(SHAPE, iou_head=iou_head, **SIZES)
    optimizer = torch.optim.Adam(iou_head.parameters(), lr=0.01)
    x, objects, values = torch.randn(4, 6, 5, 5), [make_objects()], []
    for _ in range(30):
        loss = head(x, objects)["loss_mask_iou"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert all(p.grad is None for p in head.predictor.parameters())
    assert values[0] > 0.01 and values[-1] < values[0] / 10


def test_areas_of_objects_are_on_the_grid_of_their_boxes():
    """A square of 10 x 10 pixels, in a box of 20 x 10 of which 28 x 28 cells are made."""
    objects = Instances((40, 40))
    objects.proposal_boxes = Boxes([[5.0, 5.0, 25.0, 15.0]])
    mask = torch.zeros(1, 40, 40, dtype=torch.bool)
    mask[0, 5:15, 5:15] = True
    polygons = PolygonMasks([[torch.tensor([5, 5, 15, 5, 15, 15, 5, 15.0]).numpy()]])
    for masks in (BitMasks(mask), polygons):
        objects.gt_masks = masks
        assert full_areas([objects], 28).tolist() == [28 * 28 / 2]
    assert full_areas([Instances((4, 4), proposal_boxes=Boxes([]))], 28).shape == (0,)


def test_boundary_features_reach_the_masks():
    model = build_model(tiny_config(*CASES["instances_boundary"]))
    head = model.roi_heads.mask_head
    assert head.in_features == ["p2", "p3", "p4"]
    assert head.boundary_pooler.level_poolers[0].spatial_scale == 1 / 4
    assert head.boundary_pooler.output_size == (28, 28)
    torch.nn.init.normal_(head.mask_predictor.weight)
    with EventStorage():
        losses = model([make_input(61, 75)])
    assert {"loss_mask", "loss_mask_boundary"} <= set(losses)
    losses["loss_mask"].backward()
    assert head.to_half[0].weight.grad.abs().sum() > 0
    assert head.boundary_predictor.weight.grad is None


def test_point_rend_has_detectron2s_keys_and_defaults():
    theirs, ours = get_cfg(), get_project_config()
    add_pointrend_config(theirs)
    differ = {"NUM_CLASSES", "CLS_AGNOSTIC_MASK"}  # follow from those of the heads
    differ |= {"COARSE_SEM_SEG_HEAD_NAME"}  # of semantic segmentation
    point = {k: v for k, v in theirs.MODEL.POINT_HEAD.items() if k not in differ}
    assert len(point) > 8
    assert point == ours.MODEL.POINT_HEAD
    mask = dict(theirs.MODEL.ROI_MASK_HEAD, POINT_HEAD_ON=True)  # it is what the head is for
    assert {key: ours.MODEL.ROI_MASK_HEAD[key] for key in mask} == mask


def test_points_refine_masks():
    """Coarse masks of 7 x 7 become 28 x 28; in bfloat16 too."""
    model = build_model(tiny_config(*CASES["instances_point_rend"]))
    sides = []
    model.roi_heads.mask_head.register_forward_hook(
        lambda head, _, found: sides.append(None if head.training else found[0].pred_masks.shape)
    )
    with torch.autocast("cpu", torch.bfloat16):
        with EventStorage():
            for batch in ([make_input(61, 75)], [make_input(61, 75, objects=0)]):
                losses = model.train()(batch)
                assert {"loss_mask", "loss_mask_point"} <= set(losses)
                sum(losses.values()).backward()
        with torch.no_grad():
            model.eval()([make_input(61, 75)])
    assert sides[-1][1:] == (1, 28, 28)


RES4 = [*CASES["instances_c4"], "MODEL.RPN.IN_FEATURES", ["res4"]]
RES4 += ["MODEL.ROI_HEADS.IN_FEATURES", ["res4"]]
RES3 = ["MODEL.RESNETS.OUT_FEATURES", ["res3"], "MODEL.RPN.IN_FEATURES", ["res3"]]
RES3 += ["MODEL.ROI_HEADS.IN_FEATURES", ["res3"]]
POINT_REND = CASES["instances_point_rend"]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["MODEL.ROI_POOLER", "RoIPool"], "'RoIPool' is no MODEL.ROI_POOLER.*Did you mean ROIPool"),
        (["MODEL.ROI_HEADS.NAME", "StandartROIHeads"], "Did you mean StandardROIHeads"),
        (["MODEL.ROI_HEADS.NAME", "CascadeROIHeads"], "CLS_AGNOSTIC_BBOX_REG True"),
        (["MODEL.ROI_MASK_HEAD.NAME", "ConvMask"], "Did you mean ConvMaskHead"),
        (["MODEL.ROI_MASK_HEAD.NAME", "PointRendMaskHead"], "write PointRendHead"),
        (["MODEL.ROI_MASK_HEAD.LOSSES", ["dice"]], "has its own loss.*ConvMaskHead"),
        (["MODEL.ROI_MASK_HEAD.LOSSES", ["dise"]], "Did you mean dice"),
        (["MODEL.ROI_MASK_HEAD.LOSSES", []], "expected bce or dice or both"),
        ([*RES4, "MODEL.ROI_MASK_HEAD.NAME", "BoundaryMaskHead"], "StandardROIHeads"),
        ([*RES4, *RES3], "one feature of 64 channels.*res3 of 32"),
        ([*POINT_REND, "INPUT.MASK_FORMAT", "polygon"], "MASK_FORMAT polygon: PointRendHead"),
        ([*POINT_REND, "MODEL.ROI_MASK_HEAD.CONV_DIM", 32], "CONV_DIM is 32.*have 16 channels"),
        ([*POINT_REND, "MODEL.POINT_HEAD.IN_FEATURES", ["p1"]], "POINT_HEAD.IN_FEATURES names"),
    ],
)
def test_mistakes_are_answered(overrides, words):
    with pytest.raises(ConfigError, match=words):
        build_model(tiny_config(*CASES["instances"], *overrides))


def test_mistakes_are_answered_before_anything_is_built():
    def prepare(*keys: str) -> None:
        prepare_config(TINY, None, keys, purpose="predict")

    with pytest.raises(ConfigError, match="Did you mean ROIPool"):
        prepare("MODEL.ROI_POOLER", "ROIPoll")
    with pytest.raises(ConfigError, match="read by MaskUNet alone"):
        prepare("MODEL.ROI_POOLER", "ROIPool", "MODEL.META_ARCHITECTURE", "GeneralizedRCNN")


def test_points_are_learnt_from_pixels(coco_spec):
    """Where other heads take the polygons that the data has."""
    for head, expected in (("ConvMaskHead", "polygon"), ("PointRendHead", "bitmask")):
        keys = ["MODEL.ROI_MASK_HEAD.NAME", head]
        cfg = prepare_config(TINY, coco_spec, keys, purpose="train")
        assert expected == cfg.INPUT.MASK_FORMAT
