"""The joint architecture: parts, padding, and what its config may say."""

import copy

import pytest
import torch
from detectron2.layers import ROIAlign
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage

from model_cases import CASES, INSTANCES, SEMANTICS, UNET_FPN, make_input, tiny_config
from project.errors import ConfigError
from project.modeling import MaskUNet, SemSegLoss, UNetEncoder, UNetHead


def test_is_built_from_parts_without_a_config():
    encoder = UNetEncoder(widths=[4, 8])
    head = UNetHead(encoder.output_shape(), num_classes=2, loss=SemSegLoss(num_classes=2))
    model = MaskUNet(
        backbone=encoder, sem_seg_head=head, pixel_mean=[128.0] * 3, pixel_std=[64.0] * 3
    )
    (output,) = model.eval()([{"image": make_input(61, 75)["image"]}])
    assert set(output) == {"sem_seg"}
    assert output["sem_seg"].shape == (2, 61, 75)


def test_losses_are_named_by_part():
    def names(case: str) -> set[str]:
        with EventStorage():
            return set(build_model(tiny_config(*CASES[case]))([make_input(61, 75)]))

    semantic = {"loss_sem_seg_ce", "loss_sem_seg_dice"}
    instance = {"loss_rpn_cls", "loss_rpn_loc", "loss_cls", "loss_box_reg", "loss_mask"}
    assert names("joint") == semantic | instance
    assert names("semantics") == semantic
    assert names("instances") == instance


def test_padding_teaches_nothing():
    """The losses of a small image do not change with the class that padding would have."""
    model = build_model(tiny_config(*CASES["semantics"]))
    big, small = make_input(80, 80), make_input(61, 75)
    seen = []
    model.sem_seg_head.register_forward_pre_hook(lambda _, args: seen.append(args[1]))
    model([big, small])
    assert seen[0].shape == (2, 80, 80)
    assert (seen[0][1, 61:] == 255).all() and (seen[0][1, :, 75:] == 255).all()
    assert torch.equal(seen[0][1, :61, :75], small["sem_seg"])


def test_an_image_is_judged_alike_alone_and_in_a_batch():
    """In a batch images are padded to the largest; the borders alone may differ."""
    torch.manual_seed(0)
    model = build_model(tiny_config(*CASES["semantics"])).eval()
    small, big = make_input(96, 96), make_input(192, 192)
    with torch.no_grad():
        alone = model([small])[0]["sem_seg"]
        together = model([small, big])[0]["sem_seg"]
    assert not torch.equal(alone, together)
    assert torch.allclose(alone[:, :8, :8], together[:, :8, :8], atol=1e-5)


def test_channels_last_changes_the_layout_alone():
    plain = build_model(tiny_config(*CASES["joint"])).eval()
    fast = build_model(tiny_config(*CASES["joint_channels_last"])).eval()
    fast.load_state_dict(plain.state_dict())
    weight = fast.backbone.encoder.stages["stage2"][0].convs[0][0].weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not weight.is_contiguous()
    with torch.no_grad():
        x, y = plain([make_input(61, 75)])[0], fast([make_input(61, 75)])[0]
    assert torch.allclose(x["sem_seg"], y["sem_seg"], atol=1e-4)
    assert torch.allclose(x["instances"].scores, y["instances"].scores, atol=1e-4)


def test_roi_align_is_replaced():
    model = build_model(tiny_config(*CASES["joint"]))
    assert not any(type(module) is ROIAlign for module in model.modules())


def test_inputs_are_not_changed():
    model = build_model(tiny_config(*CASES["joint"]))
    batch = [make_input(61, 75)]
    before = copy.deepcopy(batch)
    with EventStorage():
        model(batch)
    assert torch.equal(batch[0]["image"], before[0]["image"])
    assert torch.equal(batch[0]["sem_seg"], before[0]["sem_seg"])
    boxes = (batch[0]["instances"].gt_boxes.tensor, before[0]["instances"].gt_boxes.tensor)
    assert torch.equal(*boxes)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ([*SEMANTICS, *INSTANCES], "both off"),
        (["MODEL.ROI_HEADS.NUM_CLASSES", 0], "ROI_HEADS.NUM_CLASSES is 0"),
        (["MODEL.SEM_SEG_HEAD.NUM_CLASSES", 0], "SEM_SEG_HEAD.NUM_CLASSES is 0"),
        (["MODEL.SEM_SEG_HEAD.NUM_CLASSES", 1], "2 things"),
        (["MODEL.RPN.IN_FEATURES", ["p2", "p7"]], "MODEL.RPN.IN_FEATURES names 'p7'"),
        (["MODEL.ROI_HEADS.IN_FEATURES", ["p_2"]], "names 'p_2'.*Did you mean p2"),
        (["MODEL.PROPOSAL_GENERATOR.NAME", "PrecomputedProposals"], "own proposals"),
    ],
)
def test_mistakes_are_answered(overrides, words):
    with pytest.raises(ConfigError, match=words):
        build_model(tiny_config(*UNET_FPN, *overrides))


def test_absent_parts_need_no_class_count():
    things = ["MODEL.ROI_HEADS.NUM_CLASSES", 0]
    model = build_model(tiny_config(*CASES["semantics"], *things))
    assert model.roi_heads is None
