"""Models of the library transformers: targets, losses, results and weights."""

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from detectron2.modeling import build_model
from detectron2.structures import PolygonMasks
from detectron2.utils.events import EventStorage

import project.modeling  # noqa: F401
from model_cases import CASES, EOMT, MASK2FORMER, NUM_STUFF, SWIN, hugging_face, make_input
from model_cases import tiny_config as tiny
from project.config import load_config
from project.errors import ConfigError, WeightsError
from project.modeling.hugging_face import library, queries
from project.modeling.hugging_face.completion import complete_hugging_face
from project.modeling.hugging_face.queries import (
    Geometry,
    find_instances,
    find_segments,
    semantic_scores,
)
from project.modeling.hugging_face.targets import build_target
from project.modeling.hugging_face.texts import WordTokenizer, build_tokenizer, class_texts

CPU = torch.device("cpu")
QUERY_CASES = ["joint_mask2former", "instances_maskformer", "joint_oneformer", "instances_eomt"]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


# Targets


def test_targets_of_each_task():
    """Two squares of things 0 and 1 on stuff 0, a row to be ignored, and padding."""
    item = make_input(50, 60)
    frame = (64, 64)
    first, second = item["instances"].gt_masks.tensor

    semantic = build_target(item, "semantic", NUM_STUFF, frame, CPU)
    assert semantic.classes.tolist() == [0, 1, 2]
    assert torch.equal(semantic.masks[1, :50, :60].bool(), first)
    assert semantic.masks.sum() == 49 * 60, "every pixel but those of the ignored row, once"
    assert semantic.ignored.sum() == 64 * 64 - 49 * 60

    instance = build_target(item, "instance", NUM_STUFF, frame, CPU)
    assert instance.classes.tolist() == [0, 1]
    assert torch.equal(instance.masks[1, :50, :60].bool(), second)
    assert instance.ignored.sum() == 64 * 64 - 50 * 60, "only the padding"

    panoptic = build_target(item, "panoptic", NUM_STUFF, frame, CPU)
    assert panoptic.classes.tolist() == [0, 1, 2]
    assert torch.equal(panoptic.masks[0], semantic.masks[0])
    assert torch.equal(panoptic.masks[1:, :50, :60].bool(), torch.stack([first, second]))


def test_pixels_of_a_crowd_are_ignored_in_panoptic_truth():
    item = make_input(40, 40, objects=1)
    item["sem_seg"][30:35, 30:35] = NUM_STUFF  # of thing 0, and of no object
    target = build_target(item, "panoptic", NUM_STUFF, (40, 40), CPU)
    assert target.ignored.sum() == 5 * 5 + 40
    assert target.ignored[30:35, 30:35].all()


def test_image_without_truth_has_no_masks():
    item = make_input(40, 40, objects=0)
    item["sem_seg"][:] = 255
    for task in library.TASKS:
        target = build_target(item, task, NUM_STUFF, (64, 64), CPU)
        assert target.masks.shape == (0, 64, 64) and target.classes.shape == (0,)


def test_polygons_are_rasterised_and_empty_ones_left_out():
    item = make_input(40, 40)
    square = [[4.0, 4.0, 14.0, 4.0, 14.0, 14.0, 4.0, 14.0]]
    item["instances"].gt_masks = PolygonMasks([[[60.0, 60.0, 70.0, 60.0, 70.0, 70.0]], square])
    target = build_target(item, "instance", 0, (40, 40), CPU)
    assert target.classes.tolist() == [1] and target.masks.sum() == 100


# Losses


@pytest.mark.parametrize("name", QUERY_CASES)
def test_losses_by_name_add_up_to_the_librarys(name, monkeypatch):
    model = build_model(tiny(*CASES[name])).train()
    batch = [make_input(64, 64, seed=1), make_input(64, 64, objects=1)]
    for item in batch:
        item["sem_seg"][-1] = 0
    totals = []
    inner = model.network.model.forward
    monkeypatch.setattr(
        model.network.model, "forward", lambda **kw: totals.append(inner(**kw)) or totals[-1]
    )
    with EventStorage():
        losses = model(batch)
    expected = {"loss_cross_entropy", "loss_mask", "loss_dice", "loss_auxiliary"}
    assert losses.keys() == expected | ({"loss_contrastive"} if "oneformer" in name else set())
    assert sum(losses.values()).item() == pytest.approx(totals[0].loss.item(), rel=1e-5)
    assert all(value > 0 for value in losses.values())


def test_ignored_pixels_neither_teach_nor_count():
    """MaskFormer's criterion draws no points, so its losses can be compared."""
    criterion = build_model(tiny(*CASES["instances_maskformer"])).network.model.criterion
    classes, masks = torch.randn(1, 6, 3), torch.randn(1, 6, 16, 16)
    truth = torch.zeros(1, 64, 64)
    truth[0, 8:24, 8:24] = 1
    criterion.ignored = torch.zeros(1, 64, 64, dtype=torch.bool)
    criterion.ignored[:, 32:] = True

    def losses(change: slice) -> torch.Tensor:
        changed = masks.clone()
        changed[:, :, change] += 3 * torch.randn_like(changed[:, :, change])
        found = criterion(changed, classes, [truth], [torch.tensor([1])])
        return torch.stack([found[name] for name in sorted(found)])

    expected = losses(slice(0, 0))
    assert torch.equal(losses(slice(8, 16)), expected)
    assert not torch.allclose(losses(slice(0, 8)), expected)


@pytest.mark.parametrize("name", ["joint_mask2former", "joint_oneformer", "semantics_hf_segformer"])
def test_bfloat16_autocast_trains_and_predicts(name):
    model = build_model(tiny(*CASES[name]))
    batch = [make_input(61, 75, seed=1), make_input(50, 48, objects=0)]
    with torch.autocast("cpu", torch.bfloat16), EventStorage():
        losses = model.train()(copy.deepcopy(batch))
        assert all(torch.isfinite(v) and v.dtype == torch.float32 for v in losses.values())
        sum(losses.values()).backward()
        assert model.eval()(batch)[0]["sem_seg"].dtype == torch.float32


# Results


def scene() -> tuple[torch.Tensor, torch.Tensor]:
    """Six queries at 8 x 8: stuff on the right half, twice; two things; one nothing; one unsure."""
    classes = torch.full((6, 4), -10.0)  # stuff 0, things 0 and 1, nothing
    masks = torch.full((6, 8, 8), -10.0)
    for query, (label, area) in enumerate(
        [
            (0, (slice(0, 8), slice(4, 8))),
            (1, (slice(0, 4), slice(0, 4))),
            (2, (slice(4, 8), slice(0, 4))),
            (3, (slice(0, 8), slice(0, 8))),
            (0, (slice(0, 2), slice(4, 8))),
        ]
    ):
        classes[query, label] = 10.0
        masks[query][area] = 10.0
    masks[4, 0:2, 4:8] = 12.0  # surer than query 0, which keeps three quarters
    classes[5] = torch.tensor([0.0, 0.5, 0.0, 0.0])
    masks[5] = 1.0
    return classes, masks


def test_a_known_scene_at_another_size_without_its_padding():
    classes, masks = scene()
    # The image is the left 24 of 32 columns of the frame, and wanted at half its size.
    geometry = Geometry((32, 32), (32, 24), (16, 12))
    semantic = semantic_scores(classes, masks, geometry).argmax(dim=0)
    expected = torch.zeros(16, 12, dtype=torch.long)
    expected[:8, :8], expected[8:, :8] = 1, 2
    assert torch.equal(semantic, expected)

    found = find_instances(classes, masks, geometry, num_stuff=1, limit=5, score_threshold=0.5)
    found = found[found.pred_classes.argsort()]
    assert found.pred_classes.tolist() == [0, 1]
    torch.testing.assert_close(
        found.pred_boxes.tensor, torch.tensor([[0.0, 0, 8, 8], [0, 8, 8, 16]])
    )
    assert torch.equal(found.pred_masks[1], expected == 2)
    assert (found.scores > 0.9).all()

    rules = {"num_stuff": 1, "overlap_threshold": 0.7}
    ids, segments = find_segments(classes, masks, geometry, **rules)
    assert [(s["isthing"], s["category_id"]) for s in segments] == [
        (False, 0),
        (True, 0),
        (True, 1),
    ], "one segment of stuff of its two queries"
    assert torch.equal(ids, torch.tensor([1, 2, 3], dtype=torch.int32)[expected])


def slow_segments(classes, masks, geometry, num_stuff, score_threshold, overlap_threshold):
    """The loop of Mask2Former's panoptic inference, a query after the other."""
    whole = F.interpolate(masks[None], geometry.frame, mode="bilinear")[0]
    whole = whole[:, : geometry.used[0], : geometry.used[1]]
    probabilities = F.interpolate(whole[None], geometry.wanted, mode="bilinear")[0].sigmoid()
    scores, labels = classes.softmax(-1).max(-1)
    kept = [
        q
        for q in range(len(masks))
        if labels[q] < classes.shape[1] - 1 and scores[q] > score_threshold
    ]
    ids = torch.zeros(geometry.wanted, dtype=torch.int32)
    segments, stuff = [], {}
    if not kept:
        return ids, segments
    winner = torch.stack([scores[q] * probabilities[q] for q in kept]).argmax(0)
    for k, q in enumerate(kept):
        won, mask = winner == k, probabilities[q] >= 0.5
        if not (won & mask).any() or won.sum() < overlap_threshold * mask.sum():
            continue
        label = int(labels[q])
        if label in stuff:
            ids[won & mask] = stuff[label]
            continue
        segments.append((label >= num_stuff, label - num_stuff * (label >= num_stuff)))
        ids[won & mask] = len(segments)
        if label < num_stuff:
            stuff[label] = len(segments)
    return ids, segments


@pytest.mark.parametrize("seed", range(4))
def test_segments_are_those_of_the_published_loop(seed, monkeypatch):
    generator = torch.Generator().manual_seed(seed)
    classes = 3 * torch.randn(60, 5, generator=generator)
    masks = F.interpolate(4 * torch.randn(1, 60, 3, 3, generator=generator) - 4, (8, 8))[0]
    geometry = Geometry((32, 32), (30, 25), (40, 31))
    rules = {"num_stuff": 2, "score_threshold": 0.4, "overlap_threshold": 0.3}
    expected, expected_segments = slow_segments(classes, masks, geometry, **rules)
    assert len(expected_segments) > 2 and (expected == 0).any()
    whole = find_segments(classes, masks, geometry, **rules)
    monkeypatch.setattr(queries, "_ENLARGED", 2 * 40 * 31)  # two masks at a time
    for ids, segments in (whole, find_segments(classes, masks, geometry, **rules)):
        assert torch.equal(ids, expected)
        assert [(s["isthing"], s["category_id"]) for s in segments] == expected_segments


def test_few_masks_are_enlarged_at_a_time(monkeypatch):
    """Otherwise 200 masks of a 4000 x 4000 image would take 13 GB."""
    classes, masks = torch.randn(30, 5), torch.randn(30, 8, 8)
    geometry = Geometry((32, 32), (32, 32), (50, 40))
    semantic = semantic_scores(classes, masks, geometry)
    instances = find_instances(classes, masks, geometry, num_stuff=1, limit=20)
    assert len(instances) > 5
    monkeypatch.setattr(queries, "_ENLARGED", 3 * 50 * 40)
    sizes = [len(logits) for _, logits in geometry.enlarge(masks)]
    assert sizes == [3] * 10
    torch.testing.assert_close(semantic_scores(classes, masks, geometry), semantic)
    again = find_instances(classes, masks, geometry, num_stuff=1, limit=20)
    torch.testing.assert_close(again.scores, instances.scores)
    assert torch.equal(again.pred_masks, instances.pred_masks)


def test_nothing_found():
    classes, masks = torch.zeros(3, 4), torch.full((3, 8, 8), -5.0)
    classes[:, -1] = 9.0
    geometry = Geometry((32, 32), (32, 32), (20, 20))
    ids, segments = find_segments(classes, masks, geometry, num_stuff=1)
    assert not ids.any() and segments == []
    assert len(find_instances(classes, masks, geometry, num_stuff=1, limit=9)) == 0


# Pixels


def test_the_library_sees_rgb():
    bgr = ["INPUT.FORMAT", "BGR", "MODEL.PIXEL_MEAN", [1.0, 2.0, 3.0]]
    rgb = ["INPUT.FORMAT", "RGB", "MODEL.PIXEL_MEAN", [3.0, 2.0, 1.0]]
    case = CASES["semantics_hf_segformer"]
    first, second = (build_model(tiny(*case, *order)).eval() for order in (bgr, rgb))
    second.load_state_dict(first.state_dict())
    item = make_input(40, 50)
    with torch.no_grad():
        (expected,) = first([item])
        (found,) = second([{**item, "image": item["image"].flip(0)}])
        (other,) = second([item])
    assert torch.equal(expected["sem_seg"], found["sem_seg"])
    assert not torch.equal(expected["sem_seg"], other["sem_seg"])


def test_images_of_one_channel():
    keys = ["MODEL.PIXEL_MEAN", [100.0], "MODEL.PIXEL_STD", [50.0], "INPUT.CHANNELS", 1]
    for name in ("semantics_hf_segformer", "joint_mask2former", "instances_eomt"):
        model = build_model(tiny(*CASES[name], *keys)).eval()
        item = make_input(40, 50)
        assert model([{**item, "image": item["image"][:1]}])


@pytest.mark.parametrize("size", [(30, 64), (64, 64), (100, 80)])
def test_models_of_one_size_take_any(size):
    """EoMT's grid is 8 x 8, whatever the image."""
    model = build_model(tiny(*hugging_face("eomt", "semantic", **EOMT))).eval()
    item = make_input(*size)
    with torch.no_grad():
        (output,) = model([item])
    assert output["sem_seg"].shape[1:] == size


# OneFormer's texts


def test_word_tokens():
    tokenizer = WordTokenizer(["a photo with a cat", "a photo with a dog"])
    tokens = tokenizer(["a photo with a dog", "a cat"], 8)
    assert tokens.shape == (2, 8)
    assert tokens.argmax(dim=1).tolist() == [6, 3], "the meaning is read at the end"
    assert tokens[0].tolist() == [6, 1, 4, 5, 1, 3, 7, 0]
    assert tokenizer(["a photo with a dog"], 4).tolist() == [[6, 1, 4, 7]]
    assert int(tokens.max()) == tokenizer.size - 1


def test_queries_are_told_what_is_there():
    model = build_model(tiny(*CASES["joint_oneformer"])).train()
    network = model.network
    texts = class_texts("panoptic", [f"class {i}" for i in range(3)])
    target = build_target(make_input(40, 40), "panoptic", 1, (64, 64), CPU)
    tokens = network.inputs(1, [target])["text_inputs"][0]
    assert tokens.shape == (4, 8), "six queries, two of them without a text"
    table = {tuple(row): text for row, text in zip(network.class_tokens.tolist(), texts)}
    assert [table[tuple(row)] for row in tokens.tolist()] == [
        "a photo with a class 0",
        "a photo with a class 1",
        "a photo with a class 2",
        "an panoptic photo",
    ]
    assert "text_inputs" not in network.inputs(1)


def test_tokenizer_of_a_local_folder(tmp_path):
    from transformers import CLIPTokenizer

    words = ["<|startoftext|>", "<|endoftext|>", "the</w>", "task</w>", "is</w>", "panoptic</w>"]
    letters = sorted({c for w in words[2:] for c in w.removesuffix("</w>")})
    vocabulary = [*letters, *(f"{c}</w>" for c in letters), *words[2:], *words[:2]]
    vocab = {word: i for i, word in enumerate(dict.fromkeys(vocabulary))}
    CLIPTokenizer(vocab=vocab, merges=[]).save_pretrained(tmp_path)
    tokens = build_tokenizer(str(tmp_path), [])(["t i", "i"], 6)
    start, end = vocab["<|startoftext|>"], vocab["<|endoftext|>"]
    assert tokens[0].tolist() == [start, vocab["t</w>"], vocab["i</w>"], end, 0, 0]
    assert tokens[1].tolist() == [start, vocab["i</w>"], end, 0, 0, 0]


def test_texts_need_tokens_and_one_width():
    for changes, message in (
        ({"text_encoder_vocab_size": 9}, "text_encoder_vocab_size is 9"),
        ({"text_encoder_n_ctx": 6}, "have no text"),
        ({"text_encoder_width": 128}, "write one number"),
    ):
        case = list(CASES["joint_oneformer"])
        case[-1] = {**case[-1], **changes}
        with pytest.raises(ConfigError, match=message):
            build_model(tiny(*case))


# Configs and weights


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A small Mask2Former of five classes, as others save it."""
    from transformers import (
        AutoConfig,
        Mask2FormerForUniversalSegmentation,
        SegformerImageProcessor,
    )

    path = tmp_path_factory.mktemp("weights")
    config = AutoConfig.for_model("mask2former", backbone_config=SWIN, **MASK2FORMER)
    config.num_labels = 5
    Mask2FormerForUniversalSegmentation(config).save_pretrained(path)
    SegformerImageProcessor(image_mean=[0.4, 0.5, 0.6], image_std=[0.1, 0.2, 0.3]).save_pretrained(
        path
    )
    return path


def pretrained(folder: Path, *keys: object):
    """A config that names nothing but the weights."""
    words = ["MODEL.META_ARCHITECTURE", "HuggingFaceSegmenter", "MODEL.DEVICE", "cpu"]
    words += ["MODEL.HUGGING_FACE.WEIGHTS", str(folder), "MODEL.HUGGING_FACE.TASK", "panoptic"]
    cfg = load_config(None, [*words, *map(str, keys)])
    cfg.MODEL.ROI_HEADS.NUM_CLASSES, cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 2, 3
    return cfg


def test_weights_of_a_local_folder(folder):
    from transformers import Mask2FormerForUniversalSegmentation

    cfg = pretrained(folder, "MODEL.HUGGING_FACE.CONFIG.num_queries", 4)
    complete_hugging_face(cfg, training=True)
    assert cfg.MODEL.HUGGING_FACE.NAME == "mask2former"
    assert cfg.MODEL.HUGGING_FACE.CONFIG.backbone_config.embed_dim == SWIN["embed_dim"]
    # The files say RGB of 0 to 1; INPUT.FORMAT is BGR.
    for found, expected in (
        (cfg.MODEL.PIXEL_MEAN, [153, 127.5, 102]),
        (cfg.MODEL.PIXEL_STD, [76.5, 51, 25.5]),
    ):
        assert found == pytest.approx(expected)
    model = build_model(cfg).network.model
    given = Mask2FormerForUniversalSegmentation.from_pretrained(folder).state_dict()
    own = model.state_dict()
    name = "model.transformer_module.decoder.layers.0.fc1.weight"
    assert torch.equal(own[name], given[name])
    assert own["class_predictor.weight"].shape[0] == 4, "three classes and none"
    assert own["model.transformer_module.queries_features.weight"].shape[0] == 4


def test_a_completed_config_needs_no_weights_to_predict(folder, tmp_path):
    """It is what a run writes; the weights of the run come from MODEL.WEIGHTS."""
    cfg = pretrained(folder)
    complete_hugging_face(cfg, training=True)
    trained = build_model(cfg)
    (tmp_path / "config.yaml").write_text(cfg.dump())
    again = load_config(tmp_path / "config.yaml", ["MODEL.HUGGING_FACE.WEIGHTS", ""])
    complete_hugging_face(again, training=False)
    other = build_model(again)
    other.load_state_dict(trained.state_dict())
    given = pretrained(folder)
    complete_hugging_face(given, training=False)
    assert given.MODEL.HUGGING_FACE.WEIGHTS == ""


def test_statistics_that_the_config_writes_count(folder):
    cfg = pretrained(folder, "MODEL.PIXEL_MEAN", [1.0, 2.0, 3.0])
    complete_hugging_face(cfg, training=True)
    assert cfg.MODEL.PIXEL_MEAN == [1.0, 2.0, 3.0]


def test_wrong_weights(folder, tmp_path):
    with pytest.raises(WeightsError, match=r"no folder with config\.json"):
        complete_hugging_face(pretrained(tmp_path), training=True)
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    torch.save({}, tmp_path / "pytorch_model.bin")  # a pickle
    cfg = pretrained(tmp_path)
    complete_hugging_face(cfg, training=True)
    with pytest.raises(WeightsError, match=r"config.json and model\.safetensors"):
        build_model(cfg)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (hugging_face("mask3former", "semantic"), "Did you mean maskformer, mask2former"),
        (hugging_face("segformer", "instance"), "labels pixels and finds no objects"),
        (hugging_face("eomt", "instance", num_querys=3), "Did you mean num_queries"),
        (
            hugging_face("maskformer", "semantic", backbone_config={"model_type": "resnett"}),
            "no model 'resnett'",
        ),
        (
            hugging_face(
                "maskformer", "semantic", backbone_config={"model_type": "swin", "depth": [1]}
            ),
            "Did you mean depths",
        ),
        (hugging_face("eomt", "instance", num_queries="many"), "takes no such eomt"),
        ([*CASES["instances_eomt"], "MODEL.MASK_ON", False], "finds objects by their masks"),
    ],
)
def test_wrong_keys(case, message):
    with pytest.raises(ConfigError, match=message):
        complete_hugging_face(tiny(*case), training=True)


def test_what_cannot_be_built_is_told():
    case = hugging_face("mask2former", "semantic", backbone_config=SWIN, feature_size=20)
    with pytest.raises(ConfigError, match="cannot build this mask2former"):
        build_model(tiny(*case))


QUERY_CASES = ["joint_oneformer", "instances_maskformer", "joint_mask2former"]


@pytest.mark.parametrize("name", QUERY_CASES)
def test_queries_of_a_new_model_differ(name):
    """Drawn with the library's deviation of 0.02 they are alike, and OneFormer hardly learns."""
    module = build_model(tiny(*CASES[name])).network.model.model.transformer_module
    assert module.queries_embedder.weight.std().item() == pytest.approx(1.0, abs=0.3)


@pytest.mark.parametrize("name", QUERY_CASES)
def test_layers_of_a_new_model_are_drawn_by_their_width(name):
    """Xavier's rule: bound sqrt(6 / (inputs + outputs)), where the library draws 0.02 for all."""
    model = build_model(tiny(*CASES[name])).network.model
    drawn = [
        parameter
        for layer, parameter in model.named_parameters()
        if layer.endswith((".fc1.weight", ".fc2.weight"))
        and not any(part in layer for part in ("pixel_level_module.encoder", "text_mapper"))
    ]
    assert len(drawn) >= 2
    for parameter in drawn:
        bound = (6 / sum(parameter.shape)) ** 0.5
        assert 0.9 * bound < parameter.abs().max().item() <= bound
        assert parameter.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)
    offsets = [p for n, p in model.named_parameters() if n.endswith("sampling_offsets.weight")]
    assert not any(p.any() for p in offsets) and (name == "instances_maskformer" or offsets)


def test_convolutions_of_a_new_segformer_are_drawn_by_their_outputs():
    """Deviation sqrt(2 / outputs): of a 3 x 3 convolution of single channels, sqrt(2 / 9)."""
    model = build_model(tiny(*CASES["semantics_hf_segformer"])).network.model
    found = [
        m for m in model.modules() if isinstance(m, torch.nn.Conv2d) and m.groups == m.in_channels
    ]
    assert found and all(m.kernel_size == (3, 3) for m in found)
    for convolution in found:
        assert convolution.weight.std().item() == pytest.approx((2 / 9) ** 0.5, rel=0.2)
