"""tools/visualize_data.py, and that its pictures show what the loader feeds."""

import numpy as np
import pytest
from detectron2.utils.env import seed_all_rng
from PIL import Image

import factories
from project.data.labels import decode_masks, read_semantic
from project.data.register import dataset_info, dataset_records
from project.engine.setup import prepare_config
from project.inference.feed import fed_images
from project.inference.scenes import fed_scene
from tool_runner import TINY, load_tool

WORDS = ["--config-file", str(TINY), "--dataset"]


@pytest.mark.parametrize(("segmentation", "held"), [("polygon", "polygon"), ("rle", "bitmask")])
def test_raw_items_are_the_truth(tmp_path, segmentation, held):
    spec = factories.make_coco(tmp_path, segmentation=segmentation)
    cfg = prepare_config(TINY, spec, purpose="train")
    assert held == cfg.INPUT.MASK_FORMAT
    info = dataset_info(cfg.DATASETS.TRAIN[0])
    records = {r["image_id"]: r for r in dataset_records(info.name)}
    items = [fed.before for fed in fed_images(cfg, "train", 99, draws=0)]
    assert len(items) == len(records) > 1
    for item in items:
        record, scene = records[item["image_id"]], fed_scene(item)
        np.testing.assert_array_equal(scene.semantic, read_semantic(record, info))
        masks = decode_masks(record["annotations"], 64, 64)
        np.testing.assert_array_equal(scene.objects.masks, masks)
        # The smallest frame around the pixels, but for the rounding of polygons.
        rows, columns = np.nonzero(masks[0])
        frame = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert np.abs(scene.objects.boxes[0] - frame).max() < 1.5


def test_training_items_are_changed_and_test_items_resized(coco_spec):
    overrides = ["INPUT.MIN_SIZE_TRAIN", "[80]", "INPUT.MIN_SIZE_TEST", "96"]
    cfg = prepare_config(TINY, coco_spec, overrides, purpose="train")
    for split, size in (("train", 80), ("val", 96)):
        (fed,) = fed_images(cfg, split, 1, draws=2)
        assert fed.before["image"].shape == (3, 64, 64)
        assert [item["image"].shape for item in fed.after] == [(3, size, size)] * 2


def test_draws_differ_and_show_the_same_image(coco_spec):
    jitter = ["INPUT.AUGMENTATIONS", "[{name: noise, std: [5, 5], prob: 1}]"]
    cfg = prepare_config(TINY, coco_spec, jitter, purpose="train")
    seed_all_rng(0)
    for fed in fed_images(cfg, "train", 3, draws=3):
        before = fed.before["image"].float()
        changes = [item["image"].float() - before for item in fed.after]
        assert all(4 < change.std() < 6 for change in changes)
        assert not changes[0].equal(changes[1])
        assert {item["image_id"] for item in fed.after} == {fed.before["image_id"]}


def test_pasted_objects_are_shown(coco_spec):
    paste = ["INPUT.AUGMENTATIONS", "[{name: copy_paste, prob: 1, object_prob: 1}]"]
    cfg = prepare_config(TINY, coco_spec, paste, purpose="train")
    seed_all_rng(0)
    images = list(fed_images(cfg, "train", 6, draws=3))
    pairs = [(fed.before["image"], item["image"]) for fed in images for item in fed.after]
    # An image may be drawn to be pasted onto itself.
    assert sum(not before.equal(after) for before, after in pairs) > 9


def test_tool_writes_pictures_and_a_sheet(coco_spec, tmp_path, capsys):
    argv = [*WORDS, str(coco_spec), "--count", "3", "--output", str(tmp_path / "out")]
    assert load_tool("tools/visualize_data.py").main(argv) == 0
    files = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert len(files) == 4 and files[0] == "contact.png"
    # Before and two draws, each with image, objects and label map of 480 pixels, and gaps.
    picture = Image.open(tmp_path / "out" / files[1])
    assert picture.width == 3 * 480 + 2 * 8 and picture.height > 3 * 480 + 2 * 8
    assert Image.open(tmp_path / "out" / "contact.png").width == 2 * 900 + 24
    assert str(tmp_path / "out" / "contact.png") in capsys.readouterr().out


def test_tool_repeats_itself_with_a_seed(coco_spec, tmp_path):
    jitter = ["INPUT.COLOR_JITTER", "0.5"]
    pictures = []
    for name, seed in (("a", "7"), ("b", "7"), ("c", "8")):
        argv = [*WORDS, str(coco_spec), "--count", "2", "--output", str(tmp_path / name)]
        load_tool("tools/visualize_data.py").main([*argv, *jitter, "SEED", seed])
        pictures.append((tmp_path / name / "contact.png").read_bytes())
    assert pictures[0] == pictures[1] != pictures[2]


def test_tool_draws_label_maps_alone(label_map_spec, tmp_path):
    argv = [
        *WORDS,
        str(label_map_spec),
        "--split",
        "val",
        "--draws",
        "0",
        "--output",
        str(tmp_path),
    ]
    words = ["MODEL.MASK_UNET.INSTANCES", "False"]
    assert load_tool("tools/visualize_data.py").main([*argv, *words]) == 0
    assert len(list(tmp_path.glob("fed_0*.png"))) == 6
