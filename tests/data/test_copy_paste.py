"""Copy-paste: what is pasted covers what is below, in masks, boxes, classes and labels alike."""

import numpy as np
import pytest
import torch
from detectron2.structures import BitMasks, Boxes, Instances
from detectron2.utils.env import seed_all_rng

import factories
from project.data.categories import Categories
from project.data.copy_paste import CopyPaste, check_sources, paste
from project.data.register import dataset_info, dataset_records, register_dataset
from project.engine.loader import training_mapper, training_records
from project.engine.setup import prepare_config
from project.errors import ConfigError
from tool_runner import TINY

CATEGORIES = Categories(things=("square", "disc"), stuff=("background", "sky"))
LIST = "[{name: lsj, size: [64, 64], scale: [0.8, 1.5]}, {name: flip}, {name: copy_paste, prob: 1}]"


def objects(*boxes: tuple[int, ...], size: tuple[int, int] = (20, 30)) -> Instances:
    """Filled boxes (class, x0, y0, x1, y1)."""
    masks = torch.zeros(len(boxes), *size, dtype=torch.bool)
    for mask, (_, x0, y0, x1, y1) in zip(masks, boxes):
        mask[y0:y1, x0:x1] = True
    found = Instances(size)
    found.gt_classes = torch.tensor([box[0] for box in boxes], dtype=torch.int64)
    found.gt_masks = BitMasks(masks)
    corners = [box[1:] for box in boxes]
    found.gt_boxes = Boxes(torch.tensor(corners, dtype=torch.float32).reshape(-1, 4))
    return found


def make_item(instances: Instances, level: int = 10) -> dict:
    height, width = instances.image_size
    return {
        "image": torch.full((3, height, width), level, dtype=torch.uint8),
        "instances": instances,
        "sem_seg": torch.ones(height, width, dtype=torch.int64),
    }


def test_by_hand():
    """One object is half covered, one wholly, one not; the smaller pasted one is in front."""
    item = make_item(objects((0, 0, 0, 10, 10), (1, 22, 2, 26, 6), (1, 0, 15, 5, 20)))
    item["sem_seg"][:, 29] = 255
    above = objects((1, 5, 0, 15, 10), (0, 6, 1, 8, 3), (0, 20, 0, 30, 10))
    paste(item, torch.full((3, 20, 30), 200, dtype=torch.uint8), above, CATEGORIES)

    found = item["instances"]
    assert found.gt_classes.tolist() == [0, 1, 1, 0, 0]
    expected = [[0, 0, 5, 10], [0, 15, 5, 20], [5, 0, 15, 10], [6, 1, 8, 3], [20, 0, 30, 10]]
    assert found.gt_boxes.tensor.tolist() == expected
    assert found.gt_masks.tensor.flatten(1).sum(1).tolist() == [50, 25, 100, 4, 100]
    covered = above.gt_masks.tensor.any(0)
    assert (item["image"][:, covered] == 200).all() and (item["image"][:, ~covered] == 10).all()
    labels = torch.ones(20, 30, dtype=torch.int64)
    labels[:, 29] = 255
    labels[0:10, 5:15], labels[0:10, 20:30] = 3, 2
    labels[1:3, 6:8] = 2
    assert torch.equal(item["sem_seg"], labels)


def test_without_objects_nothing_changes():
    item = make_item(objects((0, 0, 0, 10, 10)))
    before = item["instances"]
    paste(item, torch.zeros(3, 20, 30, dtype=torch.uint8), objects(), CATEGORIES)
    assert item["instances"] is before and (item["image"] == 10).all()


def test_onto_an_image_without_objects():
    item = make_item(objects())
    paste(item, torch.zeros(3, 20, 30), objects((1, 2, 3, 8, 9)), CATEGORIES)
    assert item["instances"].gt_boxes.tensor.tolist() == [[2, 3, 8, 9]]
    assert item["instances"].gt_boxes.tensor.dtype == torch.float32


@pytest.mark.parametrize("part", ["instances", "sem_seg"])
def test_one_kind_of_truth_alone(part):
    item = make_item(objects((0, 0, 0, 10, 10)))
    del item[part]
    paste(item, torch.zeros(3, 20, 30, dtype=torch.uint8), objects((1, 2, 3, 8, 9)), CATEGORIES)
    assert part not in item and (item["image"][:, 3:9, 2:8] == 0).all()


@pytest.mark.parametrize("size", [(12, 40), (40, 12), (50, 60), (8, 9)])
def test_an_image_of_another_size_moves_as_a_whole(size):
    """Its object is a bright square, so that the picture says where its mask should be."""
    seed_all_rng(0)
    places = set()
    for _ in range(30):
        item = make_item(objects())
        y, x = size[0] // 2, size[1] // 2
        above = objects((1, x - 3, y - 2, x + 3, y + 2), size=size)
        image = above.gt_masks.tensor.expand(3, -1, -1).to(torch.uint8) * 200
        paste(item, image, above, CATEGORIES)
        bright = item["image"][0] == 200
        assert torch.equal(item["sem_seg"] == 3, bright)
        assert len(item["instances"]) == bool(bright.any())
        if bright.any():
            assert torch.equal(item["instances"].gt_masks.tensor[0], bright)
            places.add(tuple(item["instances"].gt_boxes.tensor[0].tolist()))
    assert len(places) > 5


def config(spec, *words: str):
    return prepare_config(TINY, spec, ["INPUT.AUGMENTATIONS", LIST, *words], purpose="train")


def mapper_of(cfg):
    from project.data.mapper import SegmentationMapper

    mapper = SegmentationMapper(cfg, is_train=True)
    records = training_records(cfg, mapper)
    return training_mapper(cfg, mapper, records), records


PARTS = {
    "joint": (),
    "instances": ("MODEL.MASK_UNET.SEMANTICS", "False"),
    "semantics": ("MODEL.MASK_UNET.INSTANCES", "False"),
}


@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("labels", [False, True], ids=["derived", "label map"])
def test_pictures_and_truth_agree(tmp_path, parts, labels):
    """Squares are red and discs blue: the truth is read off the picture."""
    cfg = config(factories.make_coco(tmp_path, labels=labels), *PARTS[parts])
    mapper, records = mapper_of(cfg)
    assert isinstance(mapper, CopyPaste)
    seed_all_rng(0)
    counts = []
    for record in records * 2:
        item = mapper(record)
        blue, _, red = item["image"].numpy().astype(int)
        guess = np.select([red - blue > 60, blue - red > 60], [1, 2], 0)
        counts.append((guess > 0).sum())
        if "sem_seg" in item:
            truth = item["sem_seg"].numpy()
            seen = truth != 255
            assert (guess == truth)[seen].mean() > 0.96
        if "instances" in item:
            found = item["instances"]
            for mask, box in zip(found.gt_masks.tensor, found.gt_boxes.tensor.tolist()):
                rows, columns = torch.nonzero(mask, as_tuple=True)
                tight = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
                assert box == [float(side) for side in tight]
            union = found.gt_masks.tensor.any(0).numpy()
            assert (union == (guess > 0)).mean() > 0.96
    assert min(counts) > 50


def test_more_objects_than_the_image_has(tmp_path):
    mapper, records = mapper_of(config(factories.make_coco(tmp_path)))
    seed_all_rng(0)
    plain = [len(mapper.mapper(record)["instances"]) for record in records * 4]
    joined = [len(mapper(record)["instances"]) for record in records * 4]
    assert np.mean(joined) > np.mean(plain) + 0.5


def test_repeats_with_a_seed(tmp_path):
    mapper, records = mapper_of(config(factories.make_coco(tmp_path)))
    images = []
    for seed in (1, 1, 2):
        seed_all_rng(seed)
        images.append(torch.stack([mapper(record)["image"] for record in records]))
    assert torch.equal(images[0], images[1]) and not torch.equal(images[0], images[2])


def test_crowds_are_not_pasted(tmp_path):
    spec = factories.make_coco(tmp_path, crowd=True, segmentation="rle")
    mapper, records = mapper_of(config(spec))
    index = next(i for i, r in enumerate(records) if any(a["iscrowd"] for a in r["annotations"]))
    source = mapper.source_mapper(records[index])
    assert len(source["instances"]) <= len(records[index]["annotations"]) - 1


def test_masks_are_held_as_pixels(coco_spec):
    assert prepare_config(TINY, coco_spec, purpose="train").INPUT.MASK_FORMAT == "polygon"
    assert config(coco_spec).INPUT.MASK_FORMAT == "bitmask"
    with pytest.raises(ConfigError, match=r"copy_paste cannot .* polygon.*auto or bitmask"):
        config(coco_spec, "INPUT.MASK_FORMAT", "polygon")
    alone = ("MODEL.MASK_UNET.INSTANCES", "False", "INPUT.MASK_FORMAT", "polygon")
    assert config(coco_spec, *alone).is_frozen()


def test_data_that_has_nothing_to_paste(tmp_path):
    name = register_dataset(factories.make_label_map(tmp_path / "maps"))[0]
    assert dataset_info(name).categories.things == ()
    with pytest.raises(ConfigError, match=r"copy_paste pastes objects.*`things:`"):
        check_sources(dataset_records(name))
    records = dataset_records(register_dataset(factories.make_coco(tmp_path / "coco"))[0])
    empty = {**records[0], "annotations": []}
    assert check_sources([empty, *records[:2]]) == [1, 2]
    plain = [{k: v for k, v in a.items() if k != "segmentation"} for a in records[0]["annotations"]]
    with pytest.raises(ConfigError, match="boxes only"):
        check_sources([{**records[0], "annotations": plain}])
