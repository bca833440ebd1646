"""The mapper: image, objects and semantic labels stay on top of each other."""

import numpy as np
import pytest
import torch
from detectron2.data import DatasetMapper, build_detection_train_loader
from detectron2.data import transforms as T
from detectron2.structures import BitMasks, PolygonMasks
from detectron2.utils.env import seed_all_rng
from PIL import Image

import factories
from project.config import get_project_config
from project.data.augment import build_augmentations
from project.data.labels import decode_mask, encode_mask, write_label_map
from project.data.mapper import SegmentationMapper
from project.data.objects import mask_instances, polygon_instances
from project.data.register import dataset_info, dataset_records, register_dataset
from project.errors import ConfigError, DatasetError

BRIGHT = {0: 20, 1: 120, 2: 235}  # grey of background, square and disc


def make_mapper(name: str, **changes) -> SegmentationMapper:
    settings = {
        "is_train": True,
        "augmentations": [],
        "image_format": "RGB",
        "mask_format": "bitmask",
        "instances": True,
        "semantics": True,
        "infos": {name: dataset_info(name)},
    }
    return SegmentationMapper(**(settings | changes))


# numpy 2.4 warns of how pycocotools makes arrays; Detectron2's own mapper calls it.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def own_masks(tmp_path, *, labels: bool = False) -> str:
    """A data set whose images are their own label maps, in greys; 72 x 96 pixels."""
    spec = factories.make_coco(tmp_path, size=(72, 96), labels=True)
    if not labels:
        spec.write_text(spec.read_text().replace("    labels: labels/train\n", ""))
    for label in (tmp_path / "labels" / "train").iterdir():
        ids = np.asarray(Image.open(label))
        Image.fromarray(np.array(list(BRIGHT.values()), np.uint8)[ids]).save(
            tmp_path / "images" / "train" / label.name
        )
    return register_dataset(spec)[0]


def config(**changes):
    cfg = get_project_config()
    cfg.merge_from_list(["INPUT.MIN_SIZE_TRAIN", (0,), "INPUT.RANDOM_FLIP", "none"])
    cfg.merge_from_list([x for key, value in changes.items() for x in (f"INPUT.{key}", value)])
    return cfg


AUGMENTATIONS = {
    "none": {},
    "horizontal": {"RANDOM_FLIP": "horizontal"},
    "vertical": {"RANDOM_FLIP": "vertical"},
    "resize": {"MIN_SIZE_TRAIN": (50, 110), "RANDOM_FLIP": "horizontal"},
    "crop": {"CROP.ENABLED": True, "CROP.TYPE": "relative_range", "CROP.SIZE": [0.4, 0.4]},
    "jitter": {"COLOR_JITTER": 0.1},
    "lsj": {"LSJ.ENABLED": True, "LSJ.SIZE": 80, "LSJ.MIN_SCALE": 0.5, "LSJ.MAX_SCALE": 2.0},
    "all": {
        "CROP.ENABLED": True,
        "CROP.SIZE": [0.7, 0.7],
        "MIN_SIZE_TRAIN": (90,),
        "RANDOM_FLIP": "horizontal",
        "COLOR_JITTER": 0.1,
    },
}


@pytest.mark.parametrize("labels", [False, True], ids=["derived", "label map"])
@pytest.mark.parametrize("mask_format", ["bitmask", "polygon"])
@pytest.mark.parametrize("chosen", AUGMENTATIONS)
def test_an_image_that_is_its_own_mask(tmp_path, chosen, mask_format, labels):
    seed_all_rng(0)
    name = own_masks(tmp_path, labels=labels)
    augmentations = build_augmentations(config(**AUGMENTATIONS[chosen]), is_train=True)
    mapper = make_mapper(name, augmentations=augmentations, mask_format=mask_format)
    exact = chosen in ("none", "horizontal", "vertical", "crop")
    objects = 0
    for record in dataset_records(name) * 3:
        item = mapper(record)
        grey = item["image"][0].numpy().astype(int)
        semantic = item["sem_seg"].numpy()
        seen = semantic != 255
        if chosen != "lsj":
            assert seen.all()
        guessed = np.digitize(grey, [70, 178])
        agree = (guessed == semantic)[seen].mean()
        assert agree == 1 if exact else agree > 0.95, agree
        masks = instance_masks(item["instances"], grey.shape)
        covered = np.zeros(grey.shape, dtype=int)
        for mask, thing in zip(masks, item["instances"].gt_classes.tolist()):
            covered[mask] = 1 + thing
        agree = (covered == np.where(seen, semantic, 0)).mean()
        # Polygons are drawn anew, so the pixels along their outlines may differ.
        assert agree == 1 if mask_format == "bitmask" else agree > 0.94, agree
        check_boxes(item["instances"], masks, tolerance=0 if mask_format == "bitmask" else 1.1)
        objects += len(masks)
    assert objects > 20


def instance_masks(instances, shape) -> np.ndarray:
    """(N, H, W) bool."""
    if isinstance(instances.gt_masks, BitMasks):
        return instances.gt_masks.tensor.numpy()
    assert isinstance(instances.gt_masks, PolygonMasks)
    polygons = instances.gt_masks.polygons
    return np.array([decode_mask([p.tolist() for p in ps], *shape) for ps in polygons], dtype=bool)


def check_boxes(instances, masks: np.ndarray, tolerance: float) -> None:
    height, width = instances.image_size
    for box, mask in zip(instances.gt_boxes.tensor.numpy(), masks):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if min(len(rows), len(columns)) > 3:  # a sliver of a polygon may have no pixel's centre
            tight = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
            np.testing.assert_allclose(box, tight, atol=tolerance)
        assert (box >= 0).all() and (box <= [width, height, width, height]).all()


def test_padding_is_no_object_and_no_class(tmp_path):
    """Detectron2 pads masks with the label to ignore, which is not zero either."""
    name = own_masks(tmp_path)
    settings = {"LSJ.ENABLED": True, "LSJ.SIZE": 100, "LSJ.MIN_SCALE": 0.5, "LSJ.MAX_SCALE": 0.5}
    mapper = make_mapper(name, augmentations=build_augmentations(config(**settings), True))
    item = mapper(dataset_records(name)[0])
    assert item["image"].shape == (3, 100, 100)
    padded = item["sem_seg"] == 255
    assert padded[38:].all() and not padded[:37, :50].any()
    assert (item["image"][:, padded] == 128).all()
    assert len(item["instances"]) >= 2
    assert not item["instances"].gt_masks.tensor[:, padded].any()


def test_objects_that_leave_the_image_are_dropped(tmp_path):
    name = own_masks(tmp_path)
    record = max(dataset_records(name), key=lambda r: len(r["annotations"]))
    left = sum(a["bbox"][0] < 48 for a in record["annotations"])
    assert 0 < left < len(record["annotations"])
    for mask_format in ("bitmask", "polygon"):
        mapper = make_mapper(
            name, augmentations=[T.CropTransform(0, 0, 48, 72)], mask_format=mask_format
        )
        assert len(mapper(record)["instances"]) == left
        nothing = make_mapper(
            name, augmentations=[T.CropTransform(47, 35, 2, 2)], mask_format=mask_format
        )(record)["instances"]
        assert len(nothing) == len(nothing.gt_masks) == len(nothing.gt_boxes) == 0


def crop_both_ways(polygons: list[list[float]], crop: tuple[int, int, int, int]) -> list:
    """(N, 4) boxes, N of 0 or 1, of one object in a cropped image: from polygons, from its mask."""
    annotation = {"category_id": 0, "iscrowd": 0, "segmentation": polygons}
    transforms = T.TransformList([T.CropTransform(*crop)])
    shape = crop[3], crop[2]
    mask = decode_mask(polygons, 120, 140)
    instances = (
        polygon_instances([annotation], transforms, shape),
        mask_instances([annotation], [mask], transforms, shape),
    )
    return [found.gt_boxes.tensor.numpy() for found in instances]


# A C that is open to the left; its right bar is 10 pixels wide, its arms 10 pixels high.
OPEN_LEFT = [30, 20, 100, 20, 100, 110, 30, 110, 30, 100, 90, 100, 90, 30, 30, 30]


@pytest.mark.parametrize(
    ("polygons", "crop", "expected"),
    [
        # The bar is cut away: two arms are left, of which the crop sees one.
        ([OPEN_LEFT], (20, 30, 60, 80), [10, 70, 60, 80]),
        ([OPEN_LEFT], (20, 25, 60, 85), [10, 0, 60, 85]),
        # A second part that lies along the border.
        (
            [[30, 60, 50, 60, 50, 70, 30, 70], [20, 20, 90, 20, 90, 40, 20, 40]],
            (20, 40, 60, 50),
            [10, 20, 30, 30],
        ),
        # ... or that only meets a corner from outside.
        (
            [[30, 60, 50, 60, 50, 70, 30, 70], [0, 0, 40, 0, 0, 60]],
            (20, 40, 60, 50),
            [10, 20, 30, 30],
        ),
    ],
)
def test_boxes_of_clipped_concave_polygons(polygons, crop, expected):
    by_polygon, by_mask = crop_both_ways(polygons, crop)
    np.testing.assert_array_equal(by_mask, [expected])
    np.testing.assert_array_equal(by_polygon, by_mask)


def test_boxes_of_cropped_random_polygons_equal_those_of_the_masks():
    """To a pixel, which is what an outline that is not clipped may be between two centres."""
    rng = np.random.default_rng(1)
    angles = np.arange(12) * np.pi / 6
    spokes = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    clipped = gone = 0
    for _ in range(400):
        star = (rng.uniform(10, 50, (12, 1)) * spokes + rng.uniform(40, 80, 2)).clip(0, [140, 120])
        width, height = rng.integers(20, 60, 2).tolist()
        x, y = int(rng.integers(0, 140 - width)), int(rng.integers(0, 120 - height))
        by_polygon, by_mask = crop_both_ways([star.ravel().tolist()], (x, y, width, height))
        gone += len(by_mask) == 0
        # A corner of a few pixels may hold no pixel's centre when it is drawn anew.
        if len(by_polygon) != len(by_mask):
            (only,) = by_polygon if len(by_polygon) else by_mask
            assert np.prod(only[2:] - only[:2]) <= 2
            continue
        np.testing.assert_allclose(by_polygon, by_mask, atol=1)
        clipped += len(by_mask) and (by_mask[0] != [0, 0, width, height]).any()
    assert gone > 5 and clipped > 100


def test_equals_detectron2_without_crops(tmp_path):
    """Masks and classes as Detectron2's own mapper has them; boxes are tight about the masks."""
    name = register_dataset(factories.make_coco(tmp_path, segmentation="rle", holes=True))[0]
    flip = [T.HFlipTransform(64)]
    reference = DatasetMapper(
        True,
        augmentations=flip,
        image_format="BGR",
        use_instance_mask=True,
        instance_mask_format="bitmask",
        recompute_boxes=True,
    )
    mapper = make_mapper(name, augmentations=flip, image_format="BGR")
    for record in dataset_records(name):
        ours, theirs = mapper(record), reference(record)
        assert torch.equal(ours["image"], theirs["image"])
        a, b = ours["instances"], theirs["instances"]
        assert len(a) > 0
        assert torch.equal(a.gt_masks.tensor, b.gt_masks.tensor.bool())
        assert torch.equal(a.gt_boxes.tensor, b.gt_boxes.tensor)
        assert torch.equal(a.gt_classes, b.gt_classes)
        assert a.gt_boxes.tensor.dtype == torch.float32 and a.gt_classes.dtype == torch.int64


def test_holes_survive(tmp_path):
    name = register_dataset(factories.make_coco(tmp_path, segmentation="rle", holes=True))[0]
    mapper = make_mapper(name, augmentations=[T.VFlipTransform(64), T.HFlipTransform(64)])
    record = dataset_records(name)[0]
    instances = mapper(record)["instances"]
    for annotation, mask in zip(record["annotations"], instances.gt_masks.tensor.numpy()):
        np.testing.assert_array_equal(
            mask[::-1, ::-1], decode_mask(annotation["segmentation"], 64, 64)
        )
    disc = instances[instances.gt_classes == 1]
    x0, y0, x1, y1 = disc.gt_boxes.tensor[0].int().tolist()
    assert not disc.gt_masks.tensor[0, (y0 + y1) // 2, (x0 + x1) // 2]


def test_crowds_are_ignored_not_taught(tmp_path):
    name = register_dataset(factories.make_coco(tmp_path, crowd=True, segmentation="rle"))[0]
    record = dataset_records(name)[0]
    assert sum(a["iscrowd"] for a in record["annotations"]) == 1
    item = make_mapper(name)(record)
    assert len(item["instances"]) == len(record["annotations"]) - 1
    crowd = next(a for a in record["annotations"] if a["iscrowd"])
    mask = decode_mask(crowd["segmentation"], 64, 64)
    np.testing.assert_array_equal(item["sem_seg"].numpy() == 255, mask)


def test_an_image_without_objects(tmp_path):
    name = register_dataset(factories.make_coco(tmp_path))[0]
    record = {**dataset_records(name)[0], "annotations": []}
    for mask_format in ("bitmask", "polygon"):
        item = make_mapper(name, mask_format=mask_format)(record)
        assert len(item["instances"]) == 0 and item["instances"].has("gt_masks")
        assert not item["sem_seg"].any()


def test_objects_with_boxes_only(tmp_path):
    name = register_dataset(factories.make_coco(tmp_path))[0]
    record = dataset_records(name)[0]
    plain = [{k: v for k, v in a.items() if k != "segmentation"} for a in record["annotations"]]
    item = make_mapper(name, augmentations=[T.HFlipTransform(64)])({**record, "annotations": plain})
    assert not item["instances"].has("gt_masks")
    boxes = np.array([a["bbox"] for a in plain])
    flipped = np.stack([64 - boxes[:, 0] - boxes[:, 2], boxes[:, 1]], 1)
    np.testing.assert_allclose(item["instances"].gt_boxes.tensor[:, :2], flipped)


def test_semantics_alone_and_instances_alone(tmp_path):
    name = register_dataset(factories.make_coco(tmp_path))[0]
    record = dataset_records(name)[0]
    assert "instances" not in make_mapper(name, instances=False)(record)
    assert "sem_seg" not in make_mapper(name, semantics=False)(record)


def test_testing_maps_the_image_only(tmp_path):
    name = register_dataset(factories.make_coco(tmp_path, labels=True))[0]
    record = dataset_records(name)[0]
    before = {**record}
    item = make_mapper(name, is_train=False)(record)
    assert set(item) == {"image", "dataset", "file_name", "image_id", "height", "width"}
    assert record == before


def test_sizes_are_checked(tmp_path):
    name = register_dataset(factories.make_coco(tmp_path, labels=True))[0]
    record = dataset_records(name)[0]
    mapper = make_mapper(name)
    with pytest.raises(DatasetError, match=r"000\.png: .* 64 x 64 .*65 x 64.*train\.json"):
        mapper({**record, "height": 65})
    write_label_map(record["sem_seg_file_name"], np.zeros((32, 64), dtype=np.uint8))
    with pytest.raises(DatasetError, match=r"labels.train.000\.png: .* 32 x 64.*images.train.000"):
        mapper(record)


def test_exif_turns_image_and_annotations_are_upright(tmp_path):
    """The stored image is 30 x 20; upright, as the annotation has it, 20 x 30."""
    mask = np.zeros((30, 20), dtype=bool)
    mask[2:10, 3:7] = True
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(np.rot90(np.where(mask, 200, 0).astype(np.uint8))).save(
        tmp_path / "a.png", exif=exif
    )
    name = register_dataset(factories.make_coco(tmp_path / "coco"))[0]
    annotation = {"category_id": 0, "iscrowd": 0, "segmentation": encode_mask(mask)}
    record = {
        **dataset_records(name)[0],
        "file_name": str(tmp_path / "a.png"),
        "height": 30,
        "width": 20,
        "annotations": [annotation],
    }
    item = make_mapper(name)(record)
    np.testing.assert_array_equal(item["image"][0] > 100, item["instances"].gt_masks.tensor[0])


def test_mask_formats_that_do_not_fit(tmp_path):
    name = register_dataset(factories.make_coco(tmp_path, segmentation="rle"))[0]
    with pytest.raises(ConfigError, match=r"INPUT\.MASK_FORMAT.*'auto'"):
        make_mapper(name, mask_format="auto")
    mapper = make_mapper(name, mask_format="polygon")
    with pytest.raises(DatasetError, match=r"000\.png: annotation 1: .* no polygon but RLE"):
        mapper(dataset_records(name)[0])


@pytest.mark.parametrize(
    ("architecture", "parts", "expected"),
    [
        ("MaskUNet", (True, True), (True, True)),
        ("MaskUNet", (True, False), (True, False)),
        ("MaskUNet", (False, True), (False, True)),
        ("GeneralizedRCNN", (True, True), (True, False)),
        ("SemanticSegmentor", (True, True), (False, True)),
    ],
)
def test_from_config(tmp_path, architecture, parts, expected):
    names = register_dataset(factories.make_coco(tmp_path))
    cfg = get_project_config()
    cfg.MODEL.META_ARCHITECTURE = architecture
    cfg.MODEL.MASK_UNET.INSTANCES, cfg.MODEL.MASK_UNET.SEMANTICS = parts
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = (names[0],), (names[1],)
    cfg.INPUT.MASK_FORMAT = "polygon"
    mapper = SegmentationMapper(cfg, is_train=True)
    assert (mapper.instances, mapper.semantics) == expected
    assert mapper.mask_format == "polygon" and set(mapper.infos) == {names[0]}
    assert set(SegmentationMapper(cfg, is_train=False).infos) == {names[1]}


def test_detectron2s_loader_feeds_it(tmp_path):
    """Through worker processes, which get the mapper pickled or forked."""
    name = register_dataset(factories.make_coco(tmp_path))[0]
    loader = build_detection_train_loader(
        dataset_records(name), mapper=make_mapper(name), total_batch_size=2, num_workers=1
    )
    batch = next(iter(loader))
    assert [item["image"].shape for item in batch] == [(3, 64, 64)] * 2
    assert all(len(item["instances"]) > 0 for item in batch)


@pytest.mark.parametrize("channels", [1, 5])
@pytest.mark.parametrize("chosen", ["none", "resize", "crop", "lsj"])
def test_other_channels_are_augmented_like_colours(tmp_path, channels, chosen):
    name = own_masks(tmp_path)
    record = {**dataset_records(name)[0], "file_name": str(tmp_path / "a.npy")}
    grey = np.asarray(Image.open(dataset_records(name)[0]["file_name"]).convert("L"))
    np.save(record["file_name"], np.repeat(grey[:, :, None], channels, axis=2))
    augmentations = build_augmentations(config(**AUGMENTATIONS[chosen]), is_train=True)
    for bits in (8, 16):
        mapper = make_mapper(name, augmentations=augmentations, channels=channels, bits=bits)
        item = mapper(record)
        image, semantic = item["image"].float(), item["sem_seg"]
        assert image.shape == (channels, *semantic.shape)
        assert item["image"].dtype == (torch.uint8 if (channels, bits) == (1, 8) else torch.float32)
        assert (image == image[:1]).all()
        seen = semantic != 255
        guessed = torch.bucketize(image[0].contiguous(), torch.tensor([70.0, 178.0]))
        assert (guessed == semantic)[seen].float().mean() > 0.95
