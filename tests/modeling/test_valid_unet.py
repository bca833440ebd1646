"""The U-Net as published: its sizes, its surroundings, and that nothing sees a padded zero."""

from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.modeling import build_backbone, build_model, build_sem_seg_head
from torch import nn

from model_cases import CASES, SEMANTICS, STAGES, UNET, UNET_FPN, VALID, make_input, tiny_config
from project.config import load_config
from project.errors import ConfigError
from project.modeling.unet_backbone import ValidUNetEncoder
from project.modeling.unet_head import UNetHead

REPOSITORY = Path(__file__).resolve().parents[2]
PUBLISHED = [*UNET, *STAGES, *SEMANTICS, *VALID]
DEPTH_5 = [*PUBLISHED, "MODEL.UNET.WIDTHS", [2, 3, 4, 5, 6]]
DEPTH_5 += ["MODEL.SEM_SEG_HEAD.IN_FEATURES", [f"stage{i}" for i in range(1, 6)]]


def build(*overrides) -> tuple[ValidUNetEncoder, UNetHead]:
    torch.manual_seed(0)
    cfg = tiny_config(*overrides)
    encoder = build_backbone(cfg)
    return encoder.eval(), build_sem_seg_head(cfg, encoder.output_shape()).eval()


def recorded(module: nn.Module, sizes: list[int]) -> None:
    module.register_forward_hook(lambda module, inputs, out: sizes.append(out.shape[-1]))


def test_figure_1_of_the_paper():
    """572 x 572 in, every map of the figure on the way, 388 x 388 out."""
    encoder, head = build(*DEPTH_5)
    sizes: list[int] = []
    for module in [*encoder.modules(), *head.modules()]:
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            recorded(module, sizes)
    with torch.no_grad():
        logits = head.layers(encoder.encode(torch.randn(1, 3, 572, 572)))
    down = [570, 568, 282, 280, 138, 136, 66, 64, 30, 28]
    up = [56, 54, 52, 104, 102, 100, 200, 198, 196, 392, 390, 388]
    assert sizes == [*down, *up, 388]
    assert logits.shape == (1, 3, 388, 388)
    convs = [m for part in (encoder, head) for m in part.modules() if isinstance(m, nn.Conv2d)]
    assert len(convs) == 19 and not any(any(conv.padding) for conv in convs)


def test_number_of_weights_is_the_papers():
    """31.03 million for one channel and two classes."""
    cfg = load_config(REPOSITORY / "configs" / "unet" / "unet_valid.yaml")
    cfg.MODEL.DEVICE, cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = "cpu", 2
    cfg.INPUT.CHANNELS, cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD = 1, [0.0], [1.0]
    count = sum(p.numel() for p in build_model(cfg).parameters())
    assert count == 31_030_658


@pytest.mark.parametrize("size", [(388, 388), (61, 75), (64, 64), (3, 5), (1, 1)])
def test_the_surroundings_are_the_image_in_a_mirror(size):
    """92 pixels at depth 5, for images that are smaller than that too."""
    encoder, head = build(*DEPTH_5)
    x = torch.randn(1, 3, *size)
    surrounded = encoder.surround(x)
    after = [total - 92 - own for total, own in zip(surrounded.shape[-2:], size)]
    assert min(after) >= 92 and max(after) < 92 + 16
    beside = [(0, 0), (0, 0), (92, after[0]), (92, after[1])]
    assert np.array_equal(surrounded.numpy(), np.pad(x.numpy(), beside, mode="reflect"))
    with torch.no_grad():
        logits = head.layers(encoder(x))
    assert all(0 <= found - own < 16 for found, own in zip(logits.shape[-2:], size))


def test_no_pixel_sees_a_padded_zero():
    """Every patch of a large image gives the very logits that the whole image has there.

    A padded convolution would change them near the patch's border; the mirror does not, where it
    shows what is really there.
    """
    encoder, head = build(*PUBLISHED)
    whole = torch.randn(1, 3, 188, 188)  # a multiple of 8, and 4 cells more
    with torch.no_grad():
        expected = head.layers(encoder.encode(whole))
        margin = (188 - expected.shape[-1]) // 2
        assert margin == 44
        patch = whole[..., 8:164, 16:172]  # 156 in, 68 out
        found = head.layers(encoder.encode(patch))
    assert found.shape[-2:] == (68, 68) and found.std() > 1e-3
    torch.testing.assert_close(found, expected[..., 8:76, 16:84])


def test_logits_lie_on_their_pixels():
    """A change of one pixel moves the logits there most: nothing is shifted."""
    encoder, head = build(*PUBLISHED)
    x = torch.zeros(1, 3, 40, 56)
    with torch.no_grad():
        before = head.layers(encoder(x))
        for row, column in ((0, 0), (17, 30), (39, 55)):
            other = x.clone()
            other[..., row, column] = 20.0
            change = (head.layers(encoder(other)) - before).abs().sum(dim=1)[0, :40, :56]
            assert change.max() > 0
            peak = divmod(int(change.argmax()), 56)
            assert abs(peak[0] - row) <= 2 and abs(peak[1] - column) <= 2


def test_levels_that_teach_lie_on_their_pixels_too():
    encoder, head = build(*CASES["semantics_valid"])
    for teacher in head.teachers:
        for parameter in teacher.parameters():
            nn.init.constant_(parameter, 0.1)
    x = torch.zeros(1, 3, 40, 56)
    other = x.clone()
    other[..., 20:24, 28:32] = 20.0
    with torch.no_grad():
        pairs = zip(head.judged(encoder(x)).items(), head.judged(encoder(other)).values())
        for (suffix, (logits, _)), (moved, _) in pairs:
            assert logits.shape[-2] >= 40 and logits.shape[-1] >= 56, suffix
            change = (moved - logits).abs().sum(dim=1)[0, :40, :56]
            rows, columns = torch.meshgrid(torch.arange(40.0), torch.arange(56.0), indexing="ij")
            centre = [(change * at).sum() / change.sum() for at in (rows, columns)]
            assert abs(centre[0] - 21.5) < 3 and abs(centre[1] - 29.5) < 3, suffix


def test_a_model_of_it_predicts_images_of_any_size():
    model = build_model(tiny_config(*CASES["semantics_valid"])).eval()
    for size in ((9, 100), (64, 64)):
        with torch.no_grad():
            (output,) = model([make_input(*size, objects=0)])
        assert output["sem_seg"].shape == (3, *size)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ([*PUBLISHED, "MODEL.UNET.PADDING", "valdi"], "Did you mean valid"),
        ([*PUBLISHED, "MODEL.UNET.BLOCK", "residual"], "BLOCK double_conv"),
        ([*PUBLISHED, "MODEL.UNET.STEM_STRIDE", 2], "STEM_STRIDE 1; found 2"),
        ([*PUBLISHED, "MODEL.SEM_SEG_HEAD.NAME", "FCNHead"], "found FCNHead"),
        ([*PUBLISHED, "MODEL.SEM_SEG_HEAD.UPSAMPLE", "bilinear"], "found bilinear"),
        ([*PUBLISHED, "MODEL.SEM_SEG_HEAD.IN_FEATURES", ["stage1"]], "IN_FEATURES.*stage4"),
        ([*PUBLISHED, "MODEL.MASK_UNET.INSTANCES", True], "INSTANCES False; found True"),
        ([*UNET_FPN, *SEMANTICS, *VALID], "BACKBONE.NAME build_unet_backbone"),
    ],
)
def test_what_the_paper_does_not_have_is_refused(overrides, words):
    with pytest.raises(ConfigError, match=words):
        build(*overrides)
