"""INPUT.AUGMENTATIONS: what a list may say, and that every mistake in it is named."""

import re
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import transforms as T
from detectron2.utils.env import seed_all_rng

from project.config import load_config
from project.data.augment import build_augmentations, check_augmentations, log_replaced
from project.data.transforms.listed import read_steps
from project.data.transforms.table import AUGMENTATIONS
from project.engine.setup import portable, prepare_config
from project.errors import ConfigError
from tool_runner import TINY

REPOSITORY = Path(__file__).resolve().parents[2]
EVERY = (
    "[{name: random_resized_crop, scale: [0.5, 2.0], size: [512, 512]}, {name: lsj, size: [9, 9]},"
    " {name: resize_shortest_edge, sizes: [60, 80], style: range}, {name: flip, prob: 1},"
    " {name: rotation, degrees: [-10, 10]}, {name: elastic}, {name: colour_jitter, hue: 0.1},"
    " {name: lighting}, {name: blur}, {name: noise}, {name: copy_paste}]"
)


def built(text: str, *words: str) -> list:
    cfg = load_config(None, ["INPUT.AUGMENTATIONS", text, *words])
    check_augmentations(cfg, instances=True)
    return build_augmentations(cfg, is_train=True)


def test_every_kind_by_its_name():
    steps = read_steps(load_config(None, ["INPUT.AUGMENTATIONS", EVERY]).INPUT.AUGMENTATIONS)
    assert sorted(step.name for step in steps) == sorted(AUGMENTATIONS)
    names = [type(augmentation).__name__ for augmentation in built(EVERY)]
    crops = ["RandomScale", "FixedSizeCrop", "ResizeScale", "FixedSizeCrop"]
    colours = ["RandomBrightness", "RandomContrast", "RandomHue", "RandomLighting"]
    shapes = [*crops, "ResizeShortestEdge", "RandomFlip", "RandomRotation"]
    half = "RandomApply"  # elastic, blur and noise
    assert names == [*shapes, half, *colours, half, half]


def test_testing_never_draws():
    cfg = load_config(None, ["INPUT.AUGMENTATIONS", EVERY])
    names = [type(a).__name__ for a in build_augmentations(cfg, is_train=False)]
    assert names == ["ResizeShortestEdge"]


def test_an_empty_list_leaves_the_keys():
    assert [type(a).__name__ for a in built("[]")] == ["ResizeShortestEdge", "RandomFlip"]


def test_files_command_lines_and_written_configs_agree(tmp_path, coco_spec):
    file = tmp_path / "c.yaml"
    file.write_text(f"_BASE_: {TINY}\nINPUT:\n  AUGMENTATIONS: {EVERY}\n")
    literal = str(load_config(file).INPUT.AUGMENTATIONS)  # as Python writes it
    assert literal.startswith("[{'name'")
    configs = [
        prepare_config(file, coco_spec, purpose="train"),
        prepare_config(TINY, coco_spec, ["INPUT.AUGMENTATIONS", EVERY], purpose="train"),
        prepare_config(TINY, coco_spec, ["INPUT.AUGMENTATIONS", literal], purpose="train"),
    ]
    written = tmp_path / "config.yaml"
    written.write_text(portable(configs[0]).dump())
    configs.append(load_config(written))
    lists = [cfg.INPUT.AUGMENTATIONS for cfg in configs]
    assert len(lists[0]) == 11 and lists[0][0]["size"] == [512, 512]
    assert all(entries == lists[0] for entries in lists)
    assert load_config(file, ["INPUT.AUGMENTATIONS", "[]"]).INPUT.AUGMENTATIONS == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("['flip']", r"\[0\]: expected \{name: NAME.*found 'flip'"),
        ("[{prob: 1}]", r"\[0\]: expected \{name: NAME"),
        ("[{name: flip}, {name: rotate}]", r"\[1\]: .*'rotate'. Did you mean rotation\?"),
        ("[{name: 3}]", r"there is no augmentation 3\. Known: blur, "),
        ("[{name: flip, probability: 1}]", r"flip has no argument 'probability'.*prob"),
        ("[{name: flip, direction: sideways}]", r"direction: expected horizontal or vertical, fou"),
        ("[{name: flip, prob: 2}]", r"prob: expected a number from 0 to 1, found 2"),
        ("[{name: flip, prob: true}]", r"prob: expected a number from 0 to 1, found True"),
        ("[{name: flip, prob: .nan}]", r"prob: expected a number .* found nan"),
        ("[{name: rotation, degrees: 10}]", r"degrees: expected \[smallest, largest\].*found 10"),
        ("[{name: rotation, degrees: [9, -9]}]", r"degrees: .*-180 to 180, found \[9, -9\]"),
        ("[{name: lsj, size: 1024}]", r"size: expected \[height, width\].*found 1024"),
        ("[{name: lsj, size: [0, 9]}]", r"size: expected \[height, width\]"),
        ("[{name: lsj, scale: [0, 2]}]", r"scale: .* from 0.01 to 100, found \[0, 2\]"),
        ("[{name: elastic, grid: 1}]", r"grid: expected a whole number from 2 to 32, found 1"),
        ("[{name: elastic, grid: 2.5}]", r"grid: expected a whole number"),
        ("[{name: resize_shortest_edge}]", r"needs the argument 'sizes'"),
        ("[{name: resize_shortest_edge, sizes: []}]", r"sizes: expected a list of whole numbers"),
        ("[{name: noise, std: [0, .inf]}]", r"std: expected \[smallest, largest\]"),
        ("[{name: copy_paste}, {name: blur}]", r"copy_paste .* can only stand last"),
        ("[{name: blur, name: flip}]", r"'name' stands twice"),
        ("[{name: !!python/name:os.system x}]", r"not plain YAML"),
    ],
)
def test_mistakes(text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        built(text)
    assert "INPUT.AUGMENTATIONS" in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "crops"),
    [
        ("INPUT.CROP.ENABLED", "True", True),
        ("INPUT.LSJ.ENABLED", "True", True),
        ("INPUT.MIN_SIZE_TRAIN", "(640, 700)", False),
        ("INPUT.RANDOM_FLIP", "vertical", False),
        ("INPUT.COLOR_JITTER", "0.2", False),
    ],
)
def test_keys_that_a_list_takes_the_place_of_are_named(key, value, crops, caplog):
    def said(augmentations: str, *words: str) -> str:
        caplog.clear()
        with caplog.at_level("INFO", logger="project"):
            log_replaced(load_config(TINY, ["INPUT.AUGMENTATIONS", augmentations, *words]))
        return caplog.text

    log = said("[{name: flip}]", key, value)
    assert f"{key} " in log and "is not used" in log
    assert ("images are fed whole" in log) == crops
    with_crop = said("[{name: lsj, size: [64, 64]}]", key, value)
    assert f"{key} " in with_crop and "images are fed whole" not in with_crop
    assert key not in said("[]", key, value)
    assert key not in said("[{name: flip}]")


def test_grey_images_have_no_saturation():
    grey = ("INPUT.CHANNELS", "1")
    assert built("[{name: colour_jitter}]", *grey)
    with pytest.raises(ConfigError, match=r"saturation and hue need 3 channels.* is 1"):
        built("[{name: colour_jitter, saturation: 0.1, hue: 0.1}]", *grey)
    with pytest.raises(ConfigError, match=r"lighting: std need 3 channels.* is 1"):
        built("[{name: lighting}]", *grey)


def test_the_order_of_channels_reaches_the_colours():
    for order in ("BGR", "RGB"):
        jitter = built("[{name: colour_jitter, saturation: 0.2}]", "INPUT.FORMAT", order)
        assert jitter[-1].image_format == order


def test_elastic_needs_pixels():
    with pytest.raises(ConfigError, match=r"elastic cannot .* polygon.* bends the lines"):
        built("[{name: elastic}]", "INPUT.MASK_FORMAT", "polygon")


def test_mistakes_are_found_before_data_is_read(tmp_path):
    missing = tmp_path / "none.yaml"
    words = ["INPUT.AUGMENTATIONS", "[{name: flop}]"]
    with pytest.raises(ConfigError, match=r"flop.* Did you mean flip"):
        prepare_config(TINY, missing, words, purpose="train")


def test_defaults_are_among_the_values_they_may_have():
    """What a reader gives back for its own default, written as a list, is the default."""
    for name, kind in AUGMENTATIONS.items():
        for key, argument in kind.arguments.items():
            if (name, key) == ("resize_shortest_edge", "sizes"):
                continue
            assert argument.read(argument.default) == argument.default, (name, key)


def test_the_documentation_has_every_argument():
    """Rows `| `name` | argument | default |` of docs/augmentations.md."""
    text = (REPOSITORY / "docs" / "augmentations.md").read_text(encoding="utf-8")
    rows = {tuple(re.findall(r"`([^`]*)`", row)[:3]) for row in text.splitlines() if "|" in row}
    for name, kind in AUGMENTATIONS.items():
        for key, argument in kind.arguments.items():
            default = argument.default
            if (name, key) == ("resize_shortest_edge", "sizes"):
                assert any(row[:2] == (name, key) for row in rows)
                continue
            shown = str(list(default) if isinstance(default, tuple) else default)
            assert (name, key, shown) in rows, (name, key, shown)


def test_one_seed_repeats_all():
    text = EVERY.replace("512, 512", "80, 80").replace("[9, 9]", "[70, 70]")
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    results = []
    for seed in (1, 1, 2):
        seed_all_rng(seed)
        data = T.AugInput(image)
        T.AugmentationList(built(text))(data)
        results.append(data.image)
    assert np.array_equal(results[0], results[1])
    assert results[0].shape != results[2].shape or not np.array_equal(results[0], results[2])
