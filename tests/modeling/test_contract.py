"""What every architecture, backbone and head must do; `model_cases.CASES` lists them."""

import copy

import pytest
import torch
from detectron2.modeling import (
    BACKBONE_REGISTRY,
    META_ARCH_REGISTRY,
    ROI_MASK_HEAD_REGISTRY,
    SEM_SEG_HEADS_REGISTRY,
    build_model,
)
from detectron2.utils.events import EventStorage
from torch import nn

import project.modeling  # noqa: F401
from model_cases import CASES, NUM_STUFF, NUM_THINGS, make_input, tiny_config

BATCH = [make_input(61, 75, seed=1), make_input(56, 64, seed=2), make_input(50, 48, objects=0)]
NEGATIVES = [make_input(61, 75, objects=0), make_input(40, 33, objects=0, seed=3)]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def build(name: str) -> nn.Module:
    return build_model(tiny_config(*CASES[name]))


def losses_of(model: nn.Module, batch: list[dict]) -> dict[str, torch.Tensor]:
    with EventStorage():
        return model.train()(copy.deepcopy(batch))


def outputs_of(model: nn.Module, batch: list[dict]) -> list[dict]:
    with torch.no_grad():
        return model.eval()(copy.deepcopy(batch))


def test_every_part_of_ours_has_a_case():
    used = {str(value) for overrides in CASES.values() for value in overrides}
    used |= {"MaskUNet", "UNetHead"}  # the defaults of tiny_config
    for registry in (
        META_ARCH_REGISTRY,
        BACKBONE_REGISTRY,
        SEM_SEG_HEADS_REGISTRY,
        ROI_MASK_HEAD_REGISTRY,
    ):
        ours = {name for name, part in registry if part.__module__.startswith("project.")}
        assert ours, registry
        assert ours <= used


@pytest.mark.parametrize("name", CASES)
def test_training(name):
    """Odd and different sizes, an image without objects; the loss falls; all parameters learn."""
    model = build(name)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    totals = []
    for _ in range(12):
        losses = losses_of(model, BATCH)
        assert all(torch.isfinite(value) and value.dim() == 0 for value in losses.values())
        total = sum(losses.values())
        optimizer.zero_grad()
        total.backward()
        missing = [key for key, p in model.named_parameters() if p.grad is None]
        assert not missing
        optimizer.step()
        totals.append(float(total.detach()))
    assert sum(totals[-2:]) < 0.95 * sum(totals[:2]), totals


@pytest.mark.parametrize("name", CASES)
def test_batch_of_negatives_reaches_every_parameter(name):
    """Distributed training without a search for unused parameters hangs otherwise."""
    model = build(name)
    losses = losses_of(model, NEGATIVES)
    assert all(torch.isfinite(value) for value in losses.values())
    sum(losses.values()).backward()
    assert [key for key, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("name", CASES)
def test_outputs_have_the_size_that_was_asked_for(name):
    model = build(name)
    batch = copy.deepcopy(BATCH)
    batch[1].update(height=90, width=31)
    for x in batch:
        del x["instances"], x["sem_seg"]
    outputs = outputs_of(model, batch)
    assert len(outputs) == len(batch)
    for x, output in zip(batch, outputs):
        size = (x["height"], x["width"])
        if "semantics" not in name and name != "library_segmentor":
            assert output["instances"].image_size == size
            assert set(output["instances"].pred_classes.tolist()) <= set(range(NUM_THINGS))
        if "instances" in output and name != "joint_boxes_only":
            assert output["instances"].pred_masks.shape[1:] == size
            assert output["instances"].pred_masks.dtype == torch.bool
        if not name.startswith("instances"):
            assert output["sem_seg"].shape == (NUM_STUFF + NUM_THINGS, *size)
        assert ("panoptic_seg" in output) == (
            name.startswith(("joint", "library_panoptic")) and name != "joint_boxes_only"
        )
        if "panoptic_seg" in output:
            ids, segments = output["panoptic_seg"]
            assert ids.shape == size and ids.dtype == torch.int32
            assert set(ids.unique().tolist()) - {0} <= {s["id"] for s in segments}


@pytest.mark.parametrize("name", CASES)
def test_state_dict_carries_the_whole_model(name, tmp_path):
    model = build(name)
    losses_of(model, BATCH)  # moves the running means of normalisation
    torch.save(model.state_dict(), tmp_path / "model.pth")
    other = build(name)
    before = outputs_of(other, BATCH)
    other.load_state_dict(torch.load(tmp_path / "model.pth", weights_only=True))
    expected, found = outputs_of(model, BATCH), outputs_of(other, BATCH)
    assert not all(map(_equal, expected, before))  # the fresh model differs
    assert all(map(_equal, expected, found))


def _equal(a: dict, b: dict) -> bool:
    same = torch.equal(a["sem_seg"], b["sem_seg"]) if "sem_seg" in a else True
    if "instances" in a:
        x, y = a["instances"], b["instances"]
        same &= torch.equal(x.pred_boxes.tensor, y.pred_boxes.tensor)
        same &= torch.equal(x.scores, y.scores)
        same &= not x.has("pred_masks") or torch.equal(x.pred_masks, y.pred_masks)
    return same


@pytest.mark.parametrize(("things", "stuff"), [(1, 0), (1, 1), (30, 7)])
def test_any_number_of_classes(things, stuff):
    counts = ["MODEL.ROI_HEADS.NUM_CLASSES", things]
    counts += ["MODEL.SEM_SEG_HEAD.NUM_CLASSES", stuff + things]
    model = build_model(tiny_config(*CASES["joint"], *counts))
    batch = [make_input(61, 75)]
    batch[0]["instances"].gt_classes.clamp_(max=things - 1)
    batch[0]["sem_seg"].clamp_(max=255 if stuff + things > 2 else stuff + things - 1)
    sum(losses_of(model, batch).values()).backward()
    (output,) = outputs_of(model, batch)
    assert output["sem_seg"].shape[0] == stuff + things
    _, segments = output["panoptic_seg"]
    assert segments
    assert all(s["isthing"] or s["category_id"] < stuff for s in segments)


@pytest.mark.parametrize("name", ["joint", "joint_shuffle", "joint_bottom_up", "joint_watershed"])
def test_bfloat16_autocast_trains_and_predicts(name):
    model = build(name)
    with torch.autocast("cpu", torch.bfloat16):
        for batch in (BATCH, NEGATIVES):
            losses = losses_of(model, batch)
            assert all(torch.isfinite(value) for value in losses.values())
            assert losses["loss_sem_seg_ce"].dtype == torch.float32
            sum(losses.values()).backward()
        outputs = outputs_of(model, BATCH)
    assert outputs[0]["sem_seg"].dtype == outputs[0]["instances"].scores.dtype == torch.float32
