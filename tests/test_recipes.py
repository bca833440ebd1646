"""The public benchmarks in their own folder trees, and the recipes for them."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage

import project.modeling  # noqa: F401
from factories_benchmarks import NUM_IMAGES, make_benchmarks
from project.config import load_config
from project.data.architectures import model_parts
from project.engine.loader import build_train_loader
from project.engine.setup import prepare_config
from test_configs import load, opening_comment
from tool_runner import REPOSITORY, load_tool

CONFIGS = REPOSITORY / "configs"
FOLDERS = ("coco", "cityscapes", "voc")
RECIPES = sorted(
    path.relative_to(CONFIGS).as_posix()
    for folder in FOLDERS
    for path in (CONFIGS / folder).glob("[!B]*.yaml")
)
# Recipe -> the published numbers that it aims at, none where there is no number of this model.
# Box AP and mask AP of val2017 in Detectron2's MODEL_ZOO.md; mIoU in the README files of
# mmsegmentation's configs, R-50 and single scale.
AIMS: dict[str, tuple[str, ...]] = {
    "coco/mask_rcnn_R_50_C4_3x.yaml": ("39.8", "34.4"),
    "coco/mask_rcnn_R_50_DC5_3x.yaml": ("40.0", "35.9"),
    "coco/mask_rcnn_R_50_FPN_1x.yaml": ("38.6", "35.2"),
    "coco/mask_rcnn_R_50_FPN_3x.yaml": ("41.0", "37.2"),
    "coco/mask_rcnn_R_101_FPN_3x.yaml": ("42.9", "38.6"),
    "coco/mask_rcnn_X_101_32x8d_FPN_3x.yaml": ("44.3", "39.5"),
    "coco/cascade_mask_rcnn_R_50_FPN_3x.yaml": ("44.3", "38.5"),
    "coco/mask_rcnn_R_50_FPN_LSJ.yaml": ("44.6", "40.3"),
    "coco/panoptic_unet_R_50_FPN_1x.yaml": ("39.4", "34.7"),
    "cityscapes/mask_rcnn_R_50_FPN.yaml": ("36.5",),
    "cityscapes/panoptic_unet_R_50_FPN.yaml": (),
    "cityscapes/unet.yaml": ("69.10",),
    "cityscapes/fcn_8s_R_50.yaml": ("73.61",),
    "cityscapes/pspnet_R_50_D8.yaml": ("78.55",),
    "cityscapes/deeplabv3_R_50_D8.yaml": ("79.32",),
    "cityscapes/deeplabv3plus_R_50_D8.yaml": ("80.09",),
    "cityscapes/upernet_R_50.yaml": ("78.19",),
    "cityscapes/hrnet_w18.yaml": ("78.65",),
    "cityscapes/point_rend_R_50_FPN.yaml": ("35.9",),
    "coco/point_rend_R_50_FPN_1x.yaml": ("36.2",),
    "coco/point_rend_R_50_FPN_3x.yaml": ("38.3",),
    "voc/fcn_8s_R_50.yaml": ("66.97", "62.2"),
    "voc/pspnet_R_50_D8.yaml": ("77.29",),
    "voc/deeplabv3_R_50_D8.yaml": ("77.68",),
    "voc/deeplabv3plus_R_50_D8.yaml": ("76.81",),
    "voc/upernet_R_50.yaml": ("75.92",),
    "voc/hrnet_w18.yaml": ("72.90",),
    "cityscapes/bottom_up_R_50.yaml": ("60.3", "78.2", "33.2"),
    "cityscapes/segformer_b0.yaml": ("76.54",),
    "cityscapes/segformer_b2.yaml": ("81.08",),
    "cityscapes/mask2former_swin_tiny.yaml": ("63.9", "39.1", "80.5"),
    "coco/mask2former_swin_tiny.yaml": ("45.0",),
    "voc/segformer_b2.yaml": (),
    "voc/unet_R_50.yaml": (),
}
# Specification -> (things, stuff).
CLASSES = {
    "coco2017": (80, 1),
    "coco2017_panoptic": (80, 53),
    "cityscapes": (8, 11),
    "voc2012": (20, 1),
    "voc2012_aug": (0, 21),
}
# Small images and few proposals make a step quick; sizes are not what a recipe's test is about.
SMALL = [
    *["MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", "", "SOLVER.IMS_PER_BATCH", "2"],
    *["DATALOADER.NUM_WORKERS", "0", "SOLVER.AMP.ENABLED", "False"],
    *["INPUT.MIN_SIZE_TRAIN", "(64,)", "INPUT.LSJ.SIZE", "64"],
    *["MODEL.RPN.PRE_NMS_TOPK_TRAIN", "50", "MODEL.RPN.POST_NMS_TOPK_TRAIN", "20"],
    *["MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", "8", "MODEL.TIMM.PRETRAINED", "False"],
    *["MODEL.HUGGING_FACE.WEIGHTS", ""],
]


@pytest.fixture(scope="module")
def benchmarks(tmp_path_factory) -> Path:
    return make_benchmarks(tmp_path_factory.mktemp("benchmarks"))


@pytest.fixture(autouse=True)
def _where_data_is(benchmarks, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(benchmarks))


@pytest.mark.parametrize("name", CLASSES)
def test_specification_reads_its_tree(name, registered: Callable[[Path], list[str]]):
    from project.data.register import dataset_info, dataset_records

    names = registered(REPOSITORY / "datasets" / f"{name}.yaml")
    assert names == [f"{name}_train", f"{name}_val"]
    for split in names:
        categories = dataset_info(split).categories
        assert (len(categories.things), len(categories.stuff)) == CLASSES[name]
        records = dataset_records(split)
        assert len(records) == NUM_IMAGES
        assert all(record.get("annotations", []) for record in records) == (CLASSES[name][0] > 0)


@pytest.mark.parametrize("name", CLASSES)
def test_check_passes(name, capsys):
    """Tiny data teaches few of the classes, which is worth a warning and no error."""
    assert load_tool("tools/check_dataset.py").main([f"datasets/{name}.yaml"]) == 0
    assert "0 errors" in capsys.readouterr().out


def test_classes_are_the_benchmarks_own(registered):
    from project.data.register import dataset_info

    for name in CLASSES:
        registered(REPOSITORY / "datasets" / f"{name}.yaml")
    names = {name: dataset_info(f"{name}_val").categories.semantic for name in CLASSES}
    assert names["voc2012"] == names["voc2012_aug"]
    assert [names["voc2012"][i] for i in (0, 1, 15, 20)] == [
        *("background", "aeroplane", "person", "tvmonitor")
    ]
    # https://github.com/mcordts/cityscapesScripts: train ids 0, 10, 11 and 18.
    assert [names["cityscapes"][i] for i in (0, 10, 11, 18)] == ["road", "sky", "person", "bicycle"]
    assert names["coco2017"][1:] == names["coco2017_panoptic"][53:]
    assert names["coco2017"][1] == "person" and names["coco2017"][80] == "toothbrush"


def test_every_recipe_has_its_aim():
    assert set(AIMS) == set(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_says_command_and_aim(name):
    comment = opening_comment(CONFIGS / name)
    assert f"--config-file configs/{name}" in comment
    assert "--num-gpus 8" in comment and "One GPU" in comment
    if AIMS[name]:
        assert "Aims at " in comment
        assert all(aim in comment for aim in AIMS[name])
    else:
        assert "No published result of this model" in comment


def shrunk(name: str) -> CfgNode:
    """A recipe as it is trained, on small crops."""
    steps = [dict(step) for step in load_config(CONFIGS / name).INPUT.AUGMENTATIONS]
    for step in steps:
        if "size" in step:
            step["size"] = [64, 64]
    overrides = [*SMALL, "INPUT.AUGMENTATIONS", str(steps)] if steps else SMALL
    return prepare_config(CONFIGS / name, overrides=overrides, purpose="train")


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_makes_a_step(name):
    torch.manual_seed(0)
    cfg = shrunk(name)
    model = build_model(cfg)
    parts = model_parts(cfg)
    categories = CLASSES[Path(cfg.DATASETS.SPECS[0]).stem]
    assert not parts.instances or categories[0] == cfg.MODEL.ROI_HEADS.NUM_CLASSES
    assert not parts.semantics or sum(categories) == cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES
    with EventStorage():
        losses = model.train()(next(iter(build_train_loader(cfg, seed=0))))
    assert losses and all(torch.isfinite(value) for value in losses.values())
    sum(losses.values()).backward()
    learnt = [p for p in model.parameters() if p.requires_grad]
    assert len(learnt) > 10 and all(p.grad is not None for p in learnt)


def test_settings_are_detectron2s():
    """Against the configs that lie in the Detectron2 package: the keys that it has too."""
    zoo = Path(pytest.importorskip("detectron2").__file__).parent / "model_zoo" / "configs"
    if not zoo.is_dir():
        pytest.skip("this Detectron2 has no configs in its package")
    pairs = {
        "coco/mask_rcnn_R_50_C4_3x": "COCO-InstanceSegmentation/mask_rcnn_R_50_C4_3x",
        "coco/mask_rcnn_R_50_DC5_3x": "COCO-InstanceSegmentation/mask_rcnn_R_50_DC5_3x",
        "coco/mask_rcnn_R_50_FPN_1x": "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x",
        "coco/mask_rcnn_R_50_FPN_3x": "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x",
        "coco/mask_rcnn_R_101_FPN_3x": "COCO-InstanceSegmentation/mask_rcnn_R_101_FPN_3x",
        "coco/mask_rcnn_X_101_32x8d_FPN_3x": (
            "COCO-InstanceSegmentation/mask_rcnn_X_101_32x8d_FPN_3x"
        ),
        "coco/cascade_mask_rcnn_R_50_FPN_3x": "Misc/cascade_mask_rcnn_R_50_FPN_3x",
        "cityscapes/mask_rcnn_R_50_FPN": "Cityscapes/mask_rcnn_R_50_FPN",
    }
    for ours, theirs in pairs.items():
        found = load(CONFIGS / f"{ours}.yaml")
        expected = load_config(zoo / f"{theirs}.yaml")
        for cfg in (found, expected):
            cfg.MODEL.META_ARCHITECTURE = ""
            cfg.MODEL.DEVICE = "cpu"
            cfg.MODEL.ROI_HEADS.NUM_CLASSES = cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 0
            cfg.MODEL.MASK_UNET.SEMANTICS = False
            cfg.DATASETS.clear()
            cfg.OUTPUT_DIR = ""
        assert expected.SOLVER.MAX_ITER in (24000, 90000, 270000)
        assert found == expected, ours
