"""What makes models quick, against the same without it."""

from typing import Any

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.modeling.poolers import ROIPooler
from detectron2.structures import Boxes
from detectron2.utils.events import EventStorage
from torch import nn

from model_cases import CASES, make_input, tiny_config
from project.benchmark import train
from project.layers import winograd
from project.layers.cpu import has_fast_bfloat16
from project.layers.winograd import convolve
from project.modeling.pooler import Pooler, replace_poolers
from project.modeling.precision import arrange, takes_channels_last
from project.modeling.quick import quick_copy, quicken

FLOAT32 = ["SOLVER.AMP.ENABLED", False]
SMALL: list[Any] = ["MODEL.FPN.OUT_CHANNELS", 16, "MODEL.ROI_BOX_HEAD.FC_DIM", 32]
SMALL += ["MODEL.ROI_MASK_HEAD.CONV_DIM", 16, "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", 16]
SMALL += ["MODEL.RPN.POST_NMS_TOPK_TRAIN", 100]


def build(name: str, *overrides: Any) -> tuple[Any, nn.Module]:
    torch.manual_seed(0)
    cfg = tiny_config(*CASES[name], *overrides)
    model = build_model(cfg)
    batch = [make_input(64, 64, seed=seed) for seed in range(2)]
    with EventStorage(), torch.no_grad():
        for _ in range(3):  # running statistics that are not those of the start
            model(batch)
    return cfg, model.eval()


def predict(model: nn.Module) -> dict[str, Any]:
    with torch.no_grad():
        return model([make_input(64, 80, seed=5)])[0]


@pytest.mark.parametrize("name", ["joint", "joint_resnet", "joint_channels_last", "instances_c4"])
@pytest.mark.parametrize("least", [128, 1])
def test_in_float32_a_copy_predicts_the_same(least, name, monkeypatch):
    called = []
    monkeypatch.setattr(winograd, "_LEAST_CHANNELS", least)
    monkeypatch.setattr(winograd, "_MEASURED", (torch.backends.cpu.get_cpu_capability(),))
    monkeypatch.setattr(winograd, "is_quicker", lambda threads: True)
    monkeypatch.setattr(winograd, "convolve", lambda *a, **k: called.append(1) or convolve(*a, **k))
    cfg, model = build(name, *FLOAT32)
    expected = predict(model)
    assert not called
    found = predict(quick_copy(cfg, model))
    assert called or least > 1
    theirs, ours = expected["instances"], found["instances"]
    assert len(theirs) > 3 and len(ours) == len(theirs)
    torch.testing.assert_close(ours.scores, theirs.scores, atol=1e-4, rtol=0)
    torch.testing.assert_close(ours.pred_boxes.tensor, theirs.pred_boxes.tensor, atol=1e-2, rtol=0)
    assert (ours.pred_masks == theirs.pred_masks).float().mean() > 0.999
    if "sem_seg" in expected:
        torch.testing.assert_close(found["sem_seg"], expected["sem_seg"], atol=1e-4, rtol=1e-4)


@pytest.mark.skipif(not has_fast_bfloat16(), reason="this CPU is slow with bfloat16")
@pytest.mark.parametrize("name", [n for n in CASES if "timm" not in n])
def test_in_bfloat16_every_architecture_predicts_float32(name):
    cfg, model = build(name)
    copied = quick_copy(cfg, model)
    assert any(p.dtype == torch.bfloat16 for p in copied.parameters())
    expected, found = predict(model), predict(copied)
    assert found.keys() == expected.keys()
    if "sem_seg" in found:
        logits, own = expected["sem_seg"], found["sem_seg"]
        assert own.dtype == logits.dtype == torch.float32 and own.shape == logits.shape
        assert (own - logits).abs().mean() < 0.05 * logits.abs().mean().clamp(min=0.1)
    if "instances" in found:
        fields = found["instances"].get_fields()
        assert fields.keys() == expected["instances"].get_fields().keys()
        tensors = [getattr(value, "tensor", value) for value in fields.values()]
        assert not any(t.dtype in (torch.bfloat16, torch.float16) for t in tensors)


def test_the_model_and_what_is_saved_of_it_stay_and_it_goes_on_training():
    cfg, model = build("joint_resnet")
    model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    copied = quick_copy(cfg, model)
    assert copied is not model and copied.training
    predict(copied.eval())
    assert model.training and before.keys() == model.state_dict().keys()
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    with EventStorage():
        sum(model([make_input(64, 64)]).values()).backward()
    gradients = [p.grad is not None for p in model.parameters() if p.requires_grad]
    assert all(gradients) and len(gradients) > 50


def test_exact_and_compiled_models_are_not_touched():
    cfg, model = build("joint", "EXACT", True)
    assert quick_copy(cfg, model) is model
    assert not any(isinstance(m, Pooler) for m in model.modules())
    assert quick_copy(tiny_config(*CASES["joint"], "MODEL.COMPILE", True), model) is model


@pytest.mark.parametrize("architecture", ["GeneralizedRCNN", "MaskUNet"])
def test_exact_losses_are_stock_detectron2s(monkeypatch, architecture):
    """Same weights, batch and random state; the quick way's differ by more than the bound."""
    monkeypatch.setattr(train, "BATCH", 2)
    monkeypatch.setattr(train, "KEYS", [*train.KEYS, *SMALL])
    batch = train.make_batch(0)
    stock = train.make_stock("cpu", [batch]).model
    words = ["MODEL.META_ARCHITECTURE", architecture, "MODEL.MASK_UNET.SEMANTICS", False]
    losses = {}
    for exact in (True, False):
        trainer = train.make_ours("cpu", [batch], [*words, "EXACT", exact])
        trainer.model.load_state_dict(stock.state_dict())
        losses[exact] = losses_of(trainer.model, batch, trainer.dtype)
    expected = losses_of(stock, batch, None)
    assert expected.keys() >= {"loss_mask", "loss_box_reg", "loss_rpn_cls"}
    assert all(value > 1e-4 for value in expected.values())
    assert losses[True] == pytest.approx(expected, abs=1e-5)
    if has_fast_bfloat16():
        assert losses[False] != pytest.approx(expected, abs=1e-5)


def losses_of(model: nn.Module, batch: list[Any], dtype: torch.dtype | None) -> dict[str, float]:
    torch.manual_seed(3)
    with EventStorage(), torch.autocast("cpu", dtype, enabled=dtype is not None):
        return {name: float(value) for name, value in model(batch).items()}


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("counts", [(40, 25), (0, 3), (0, 0)])
def test_pooler_equals_detectron2s(counts, layout):
    generator = torch.Generator().manual_seed(0)
    features = [torch.randn(2, 6, side, side, generator=generator) for side in (64, 32, 16, 8)]
    boxes = []
    for count in counts:
        sides = 8 * 32 ** torch.rand(count, 2, generator=generator)
        corners = 256 * torch.rand(count, 2, generator=generator) - 20
        boxes.append(Boxes(torch.cat([corners, corners + sides], dim=1)))
    words = (7, [1 / 4, 1 / 8, 1 / 16, 1 / 32], 0, "ROIAlignV2", 64, 4)
    stock, ours = ROIPooler(*words), ROIPooler(*words)
    replace_poolers(ours)
    assert type(ours) is Pooler
    results = []
    for pooler in (stock, ours):
        maps = [
            f.contiguous(memory_format=layout).requires_grad_() for f in map(torch.clone, features)
        ]
        pooled = pooler(maps, boxes)
        (pooled * pooled.detach()).sum().backward()
        results.append([pooled, *(m.grad for m in maps)])
    for theirs, own in zip(*results, strict=True):
        assert own.shape == theirs.shape
        torch.testing.assert_close(own, theirs, atol=1e-4, rtol=1e-4)


def test_strided_convolutions_of_few_channels_keep_the_usual_layout():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 32, 1, stride=2))
    assert not takes_channels_last(model) and takes_channels_last(model[0])
    arrange(model, torch.channels_last)
    assert not model[0].weight.is_contiguous(memory_format=torch.channels_last)


def test_stock_architectures_are_quickened_in_place():
    cfg = tiny_config(*CASES["joint_resnet"], "MODEL.META_ARCHITECTURE", "GeneralizedRCNN")
    model = build_model(cfg)
    names = list(model.state_dict())
    quicken(cfg, model)
    assert list(model.state_dict()) == names
    assert any(isinstance(m, Pooler) for m in model.modules())
    assert model.backbone.bottom_up.res2[0].conv1.weight.is_contiguous(
        memory_format=torch.channels_last
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")
def test_a_copy_predicts_float32_on_a_gpu():
    cfg, model = build("joint", "MODEL.DEVICE", "cuda")
    found = predict(quick_copy(cfg, model))
    assert found["sem_seg"].dtype == found["instances"].scores.dtype == torch.float32
