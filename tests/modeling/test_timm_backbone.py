"""Networks of timm as backbones: features, weights, what is frozen, what they are fed."""

import pickle
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_model
from safetensors.torch import save_file

from model_cases import CASES, TIMM, tiny_config
from project.engine.addresses import fetch_weights
from project.engine.setup import prepare_config
from project.errors import ConfigError, WeightsError
from project.modeling import TimmBackbone, build_timm_backbone
from project.modeling.timm_models import merge_arguments
from project.network import set_downloads
from tool_runner import TINY

NAME = "mobilenetv3_small_050"
SWIN = "swin_tiny_patch4_window7_224"
SMALL_SWIN = {"embed_dim": 16, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2]}
KEYS = ["MODEL.BACKBONE.NAME", "build_timm_backbone", "MODEL.TIMM.NAME"]


def features_of(backbone: TimmBackbone, channels: int = 3) -> dict[str, torch.Tensor]:
    image = torch.randn(1, channels, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return backbone.eval()(image)


@pytest.fixture(scope="module")
def full_network() -> torch.nn.Module:
    """The classifier, whose weights are what people have in files."""
    torch.manual_seed(3)
    return timm.create_model(NAME)


@pytest.mark.parametrize(
    ("name", "arguments", "strides"),
    [
        (NAME, {}, [2, 4, 8, 16, 32]),
        (SWIN, SMALL_SWIN, [4, 8, 16, 32]),  # made for images of 224, yields NHWC
        ("hrnet_w18_small", {"feature_location": ""}, [2, 4, 8, 16, 32]),
    ],
)
def test_features_are_as_they_say(name, arguments, strides):
    backbone = TimmBackbone(name, arguments=arguments)
    shapes = backbone.output_shape()
    assert [s.stride for s in shapes.values()] == strides
    assert list(shapes) == [f"stage{k + 1}" for k in range(len(strides))]
    for key, feature in features_of(backbone).items():
        stride = shapes[key].stride
        assert feature.shape == (1, shapes[key].channels, 64 // stride, 96 // stride)
    assert backbone.size_divisibility == 32


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
def test_weights_of_a_file_are_taken(tmp_path, full_network, ending):
    path = str(tmp_path / f"weights{ending}")
    if ending == ".pth":
        torch.save({"state_dict": full_network.state_dict()}, path)
    else:
        save_file(full_network.state_dict(), path)
    backbone = TimmBackbone(NAME, weights=path)
    reference = timm.create_model(NAME, features_only=True)
    timm.models.load_checkpoint(reference, path, strict=False)
    with torch.no_grad():
        image = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
        expected = reference.eval()(image)
    found = list(features_of(backbone).values())
    assert all(f.std() > 0 for f in found)
    assert all(map(torch.equal, found, expected))
    fresh = list(features_of(TimmBackbone(NAME)).values())
    assert not any(map(torch.equal, found, fresh))
    grey = TimmBackbone(NAME, weights=path, in_channels=1)
    assert torch.equal(
        grey.network.blocks[1][0].conv_pw.weight, full_network.blocks[1][0].conv_pw.weight
    )
    assert features_of(grey, 1)["stage1"].shape == found[0].shape


def test_weights_that_are_of_no_use_are_refused(tmp_path, full_network):
    def expect(name: str, words: str) -> None:
        with pytest.raises(WeightsError, match=words):
            TimmBackbone(NAME, weights=str(tmp_path / name))

    expect("none.pth", "no such file")
    torch.save(full_network.state_dict(), tmp_path / "some.pth")
    expect("sone.pth", "Did you mean some.pth")
    expect("some.onnx", "expected a file .safetensors or .pth")
    (tmp_path / "code.pth").write_bytes(pickle.dumps(print))
    expect("code.pth", "cannot be read")
    torch.save({"a": 1}, tmp_path / "numbers.pth")
    expect("numbers.pth", "no tensors")
    torch.save(timm.create_model("resnet10t").state_dict(), tmp_path / "other.pth")
    expect("other.pth", "size mismatch.* made for another network")
    save_file({"a": torch.zeros(3)}, tmp_path / "none.safetensors")
    expect("none.safetensors", "only 0 of .* weights are in the file; it was made for another")


def test_weights_that_cannot_be_fetched_are_told(monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with pytest.raises(WeightsError, match=r"--allow-download.*MODEL\.TIMM\.WEIGHTS"):
        TimmBackbone(NAME, pretrained=True)
    set_downloads(True)
    with pytest.raises(WeightsError, match=r"no route to host.*MODEL\.TIMM\.WEIGHTS"):
        TimmBackbone(NAME, pretrained=True)


@pytest.mark.parametrize("weights", ["hub", "address"])
def test_fetched_weights_are_the_networks_own(weights, monkeypatch, tmp_path):
    """What timm offers is read by our reader from a file of the cache."""
    torch.manual_seed(0)
    state = timm.create_model(NAME).state_dict()
    save_file(state, tmp_path / "model.safetensors")
    described = replace(timm.get_pretrained_cfg(NAME), url="https://host.invalid/model.safetensors")
    if weights == "address":
        described = replace(described, hf_hub_id=None)
    monkeypatch.setattr(timm, "get_pretrained_cfg", lambda name: described)
    monkeypatch.setattr("project.modeling.timm_models.hub_folder", lambda *_: tmp_path)
    monkeypatch.setattr("project.modeling.timm_models.fetch", lambda url: tmp_path / Path(url).name)
    found = TimmBackbone(NAME, pretrained=True).network.state_dict()
    assert len(found) > 50 and all(torch.equal(found[key], state[key]) for key in found)


def test_frozen_stages_stay_as_they_are():
    torch.manual_seed(0)
    backbone = TimmBackbone(NAME, freeze=2).train()
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    frozen = {k for k, p in backbone.named_parameters() if not p.requires_grad}
    learning = [p for p in backbone.parameters() if p.requires_grad]
    assert 5 < len(frozen) < 20 and len(learning) > 50
    optimizer = torch.optim.SGD(learning, lr=0.1)
    sum(f.square().mean() for f in backbone(torch.randn(2, 3, 64, 64)).values()).backward()
    optimizer.step()
    after = backbone.state_dict()
    same = {k for k in before if torch.equal(before[k], after[k])}
    assert {k for k in same if k in dict(backbone.named_parameters())} >= frozen
    # Statistics of a frozen and of a learning layer.
    assert "network.bn1.running_mean" in same
    assert "network.blocks.3.0.bn1.running_mean" not in same


def test_what_no_feature_needs_does_not_learn():
    """Distributed training would wait for its gradients."""
    backbone = TimmBackbone(NAME, out_features=["stage2", "stage3"])
    sum(f.sum() for f in backbone(torch.randn(2, 3, 64, 64)).values()).backward()
    idle = {k for k, p in backbone.named_parameters() if p.grad is None}
    assert idle and idle == {k for k, p in backbone.named_parameters() if not p.requires_grad}


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"name": "mobilenetv3_smal_050"}, "Did you mean mobilenetv3_small_050"),
        ({"name": "quite_another"}, "no network of timm. See"),
        ({"name": "resnet50.a1_in2k"}, "no such weights of resnet50. Did you mean"),
        ({"name": NAME, "out_features": ["layer1"]}, "called stage1.*'layer1'"),
        ({"name": NAME, "out_features": ["stage9"]}, "cannot be a backbone"),
        ({"name": NAME, "freeze": 9}, "FREEZE is 9"),
        ({"name": "hrnet_w18_small", "drop_path": 0.1}, "drop_path_rate"),
        ({"name": "maxvit_tiny_tf_224"}, "cannot be a backbone"),  # of one image size
    ],
)
def test_mistakes_are_answered(keys, words):
    with pytest.raises(ConfigError, match=words):
        TimmBackbone(**keys)


def test_arguments_have_one_place_each():
    assert merge_arguments([{"a": 1}, {"b": [2]}]) == {"a": 1, "b": [2]}
    with pytest.raises(ConfigError, match=r"in_chans: use INPUT\.CHANNELS"):
        merge_arguments([{"in_chans": 1}])
    with pytest.raises(ConfigError, match="expected"):
        merge_arguments(["patch_size"])


def test_library_is_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ConfigError, match=r"pip install -e '\.\[zoo\]'"):
        TimmBackbone(NAME)


def test_images_are_fed_as_timm_says():
    def prepare(name: str, *more: str, purpose: str = "predict"):
        return prepare_config(TINY, None, [*KEYS, name, *more], purpose=purpose)

    cfg = prepare(NAME)  # ImageNet's numbers
    assert cfg.INPUT.FORMAT == "RGB"
    assert pytest.approx([123.675, 116.28, 103.53]) == cfg.MODEL.PIXEL_MEAN
    assert pytest.approx([58.395, 57.12, 57.375]) == cfg.MODEL.PIXEL_STD
    assert prepare("tf_efficientnet_lite0").MODEL.PIXEL_MEAN == [127.5] * 3
    grey = prepare(NAME, "INPUT.CHANNELS", "1")
    assert pytest.approx([(123.675 + 116.28 + 103.53) / 3]) == grey.MODEL.PIXEL_MEAN
    with pytest.raises(ConfigError, match="give one number for each"):
        prepare(NAME, "INPUT.CHANNELS", "5")
    with pytest.raises(ConfigError, match="Did you mean mobilenetv3_small_050"):
        prepare("mobilenetv3_smal_050")
    with pytest.raises(ConfigError, match=r"MODEL\.TIMM\.NAME is empty"):
        prepare("")


def test_weights_are_fetched_to_train_alone(coco_spec, monkeypatch):
    asked = []
    monkeypatch.setattr("project.engine.addresses.pretrained_file", asked.append)
    keys = [*KEYS, NAME, "MODEL.TIMM.PRETRAINED", "True", "MODEL.BACKBONE.NAME"]
    keys += ["build_timm_fpn_backbone", "MODEL.FPN.IN_FEATURES", "['stage2', 'stage3']"]

    def pretrained(purpose: str) -> bool:
        cfg = prepare_config(TINY, coco_spec, keys, purpose=purpose)
        assert not asked  # a config alone, to look at data for example, needs none
        return cfg.MODEL.TIMM.PRETRAINED

    assert pretrained("train")
    assert not pretrained("score") and not pretrained("predict")
    fetch_weights(prepare_config(TINY, coco_spec, keys, purpose="score"))
    assert not asked
    fetch_weights(prepare_config(TINY, coco_spec, keys, purpose="train"))
    assert asked == [NAME]


def test_a_pyramid_names_its_key():
    cfg = tiny_config(*CASES["instances_timm"], "MODEL.FPN.IN_FEATURES", ["stage2", "stage4"])
    with pytest.raises(ConfigError, match="must halve"):
        build_model(cfg)
    cfg = tiny_config(*CASES["instances_timm"], "MODEL.FPN.IN_FEATURES", ["res2"])
    with pytest.raises(ConfigError, match=r"MODEL\.FPN\.IN_FEATURES names 'res2'"):
        build_model(cfg)


def test_five_channels():
    cfg = tiny_config(*TIMM)
    backbone = build_timm_backbone(cfg, ShapeSpec(channels=5))
    assert features_of(backbone, 5)["stage1"].shape[1] == 16
