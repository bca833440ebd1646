"""The library's decoders: fed as its own models feed them, on any features, and mistakes."""

import ast
import sys
from pathlib import Path

import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_model

from model_cases import ALL, CASES, SEMANTICS, UNET, smp, tiny_config
from project.errors import ConfigError
from project.modeling.sem_seg_loss import SemSegLoss
from project.modeling.smp_decoders import DECODERS
from project.modeling.smp_head import SMPHead

REPOSITORY = Path(__file__).resolve().parents[2]
library = pytest.importorskip("segmentation_models_pytorch")

MODELS = {  # the library's own models, and the places of its features that we hand over
    "pspnet": (library.PSPNet, {"encoder_depth": 3}, [3]),
    "deeplabv3": (library.DeepLabV3, {}, [5]),
    "deeplabv3plus": (library.DeepLabV3Plus, {}, [2, 5]),
    "segformer": (library.Segformer, {"encoder_name": "mit_b0"}, [2, 3, 4, 5]),
    "upernet": (library.UPerNet, {}, [2, 3, 4, 5]),
    "fpn": (library.FPN, {}, [2, 3, 4, 5]),
    "pan": (library.PAN, {}, [2, 3, 4, 5]),
    "unet": (library.Unet, {}, [1, 2, 3, 4, 5]),
    "unetplusplus": (library.UnetPlusPlus, {}, [1, 2, 3, 4, 5]),
    "manet": (library.MAnet, {}, [1, 2, 3, 4, 5]),
    "linknet": (library.Linknet, {}, [1, 2, 3, 4, 5]),
}


def head_on(shapes: dict[str, ShapeSpec], decoder: str, **arguments) -> SMPHead:
    torch.manual_seed(0)
    loss = SemSegLoss(num_classes=3)
    return SMPHead(shapes, num_classes=3, decoder=decoder, arguments=arguments, loss=loss).eval()


def shapes_of(strides: list[int], channels: int = 8) -> dict[str, ShapeSpec]:
    return {f"s{i}": ShapeSpec(channels=channels, stride=s) for i, s in enumerate(strides)}


def features_of(shapes: dict[str, ShapeSpec], height: int, width: int, images: int = 1):
    torch.manual_seed(1)
    return {
        name: torch.randn(images, s.channels, -(-height // s.stride), -(-width // s.stride))
        for name, s in shapes.items()
    }


@pytest.mark.parametrize("name", MODELS)
def test_decodes_as_the_librarys_model(name):
    """With its weights, on its encoder's features, all values before the enlargement are equal."""
    build, arguments, places = MODELS[name]
    torch.manual_seed(0)
    arguments = {"encoder_name": "resnet18", **arguments}
    model = build(encoder_weights=None, classes=3, **arguments).eval()
    with torch.no_grad():
        features = model.encoder(torch.randn(1, 3, 128, 128))
        chosen = [features[i] for i in places]
        shapes = {
            f"s{i}": ShapeSpec(channels=x.shape[1], stride=128 // x.shape[-1])
            for i, x in enumerate(chosen)
        }
        head = head_on(shapes, name)
        head.decoder.load_state_dict(model.decoder.state_dict())
        head.predictor.load_state_dict(model.segmentation_head[0].state_dict())
        recorded: list[torch.Tensor] = []
        head.predictor.register_forward_hook(lambda module, inputs, out: recorded.append(out))
        logits = head.layers({f"s{i}": x for i, x in enumerate(chosen)})
        expected = model.segmentation_head[0](model.decoder(list(features)))
    assert expected.std() > 1e-4
    assert torch.equal(recorded[0], expected)
    assert logits.shape == (1, 3, 128, 128)


def test_dpt_decodes_as_the_librarys_model():
    """On four features of a plain transformer, without its class token."""
    from segmentation_models_pytorch.decoders.dpt.decoder import DPTDecoder

    torch.manual_seed(0)
    decoder = DPTDecoder((8,) * 4, (16,) * 4, False, "ignore", (6, 7, 8, 9), 4).eval()
    shapes = shapes_of([16, 16, 16, 16])
    thin = {"intermediate_channels": (6, 7, 8, 9), "fusion_channels": 4}
    head = head_on(shapes, "dpt", **thin)
    head.decoder.load_state_dict(decoder.state_dict())
    x = features_of(shapes, 64, 96)
    with torch.no_grad():
        expected = decoder(list(x.values()), [None] * 4)
        logits = head.layers(x)
    assert expected.shape == (1, 4, 32, 48) and logits.shape == (1, 3, 64, 96)
    torch.testing.assert_close(logits, head.to_pixels(head.predictor(expected)))


@pytest.mark.parametrize("name", [name for name, kind in DECODERS.items() if kind.by_size])
def test_dilated_backbones(name):
    """Features of which some have one size, or a quarter of the one before."""
    for strides in ([4, 16, 16], [2, 8, 8, 16]):
        if name == "deeplabv3plus":
            strides = strides[:2]
        shapes = shapes_of(strides)
        assert head_on(shapes, name).layers(features_of(shapes, 61, 75)).shape[-2] in (64, 128)


THIN_OF = {
    "dpt": {"intermediate_channels": (8, 8, 8, 8), "fusion_channels": 8},
    "upernet": {"decoder_channels": 8},
    "deeplabv3": {"out_channels": 8},
}


def strides_for(name: str) -> list[int]:
    return [2 * 2**i for i in range(min(DECODERS[name].most, 4))]


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("size", [(61, 75), (9, 9)])
def test_any_size_and_a_batch_of_one_trains(name, size):
    """Pyramids are pooled to one cell, which has no deviation; odd sizes do not halve."""
    shapes = shapes_of(strides_for(name))
    head = head_on(shapes, name, **THIN_OF.get(name, {}))
    x = features_of(shapes, *size)
    logits = head.layers(x)
    assert all(found >= own for found, own in zip(logits.shape[-2:], size))
    _, losses = head.train()(x, torch.randint(0, 3, (1, *size)))
    sum(losses.values()).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in head.parameters())


def test_it_is_imported_when_it_is_asked_for():
    """The start of every other training does not wait for it."""
    files = sorted((REPOSITORY / "project" / "modeling").glob("*.py"))
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in files]
    names = [
        name
        for tree in trees
        for node in tree.body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in [getattr(node, "module", None), *(alias.name for alias in node.names)]
    ]
    assert "detectron2.modeling" in names
    heavy = ("segmentation_models_pytorch", "timm")
    assert [name for name in names if str(name).split(".")[0] in heavy] == []


def test_its_absence_is_told(monkeypatch):
    for name in list(sys.modules):
        if name.startswith("segmentation_models_pytorch"):
            monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=r"pip install -e '\.\[zoo\]'"):
        head_on(shapes_of([4]), "pspnet")


@pytest.mark.parametrize(
    ("decoder", "strides", "channels", "arguments", "words"),
    [
        ("pspnt", [4], 8, {}, "Did you mean pspnet"),
        ("pspnet", [4, 8], 8, {}, "takes 1 of IN_FEATURES, found 2: s0 at stride 4"),
        ("pspnet", [4], 6, {}, "multiple of 4 channels, found 6"),
        ("pspnet", [4], 8, {"dropot": 0.1}, "found 'dropot'. Did you mean dropout"),
        ("fpn", [4, 8, 16], 8, {}, "takes 4 of IN_FEATURES"),
        ("fpn", [2, 4, 8, 16], 8, {"segmentation_channels": 40}, "does not build FPNDecoder"),
        ("segformer", [4], 8, {}, "takes 2 to 5"),
        ("fpn", [2, 4, 8, 8], 8, {}, "halve in size one by one; found s0 at stride 2"),
        ("segformer", [4, 6], 8, {}, "each divides the next; found s0 at stride 4"),
        ("unet", [1, 2, 4], 8, {}, "finer than the image; leave out s0"),
        ("dpt", [2, 2, 2, 2], 8, {}, "finer than the image"),
        ("deeplabv3plus", [4, 32], 8, {}, "8 apart; DeepLabHead takes any"),
        ("unet", [2, 4], 8, {"encoder_channels": [1]}, "takes decoder_channels"),
        ("unet", [2, 4], 8, {"decoder_channels": [8]}, "does not build UnetDecoder"),
    ],
)
def test_mistakes_are_answered(decoder, strides, channels, arguments, words):
    with pytest.raises(ConfigError, match=words):
        head_on(shapes_of(strides, channels), decoder, **arguments)


def test_arguments_of_a_config():
    model = build_model(tiny_config(*CASES["semantics_fpn"]))
    assert model.sem_seg_head.predictor.in_channels == 32
    wide = smp("fpn", ALL, segmentation_channels=32, merge_policy="cat")
    model = build_model(tiny_config(*UNET, *SEMANTICS, *wide))
    assert model.sem_seg_head.predictor.in_channels == 128
    key = ["MODEL.SEM_SEG_HEAD.DECODER_ARGUMENTS", ["dropout"]]
    with pytest.raises(ConfigError, match=r"such as \[{dropout: 0.1}\]"):
        build_model(tiny_config(*CASES["semantics_fpn"], *key))
