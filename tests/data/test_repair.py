import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

import factories
from conversions import objects, read, semantics
from project.data.repair import Repair, repair_text, write_fixed
from project.data.rules import RULES
from project.data.spec import read_spec
from project.data.validate import check_dataset
from project.errors import DatasetError
from tool_runner import load_tool


def repaired(spec: Path, out: Path) -> Repair:
    return write_fixed(check_dataset(read_spec(spec)), out)


def rules(spec: Path) -> dict[str, int]:
    return check_dataset(read_spec(spec)).problems.counts()


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def edit(path: Path) -> Any:
    """The content of a json file, to be changed and then written by `path.write_text`."""
    return json.loads(path.read_text())


def damage(root: Path) -> Path:
    """Thirteen kinds of faults in one COCO data set with label maps."""
    spec = factories.make_coco(
        root, num_images=12, segmentation="mixed", labels=True, name="faulty"
    )
    path = root / "train.json"
    content = edit(path)
    entries = content["annotations"]
    of_image = {image["id"]: image for image in content["images"]}
    of_image[10]["height"] = "high"
    path_of = {i: root / "images" / "train" / image["file_name"] for i, image in of_image.items()}
    path_of[11].unlink()
    path_of[12].write_bytes(path_of[12].read_bytes()[:200])
    shutil.copy(path_of[13], root / "images" / "val" / "000.png")
    shutil.copy(path_of[14], path_of[15])
    # Of each further image one object, so that none loses all.
    own = list({entry["image_id"]: entry for entry in entries if entry["image_id"] >= 16}.values())
    own[0]["segmentation"] = {"size": [64, 64], "counts": [10, 20]}
    own[1]["segmentation"] = [[1e9, 0, 5, 5, 0, 5]]
    own[2]["bbox"] = [own[2]["bbox"][0] + 4, *own[2]["bbox"][1:]]
    own[3]["category_id"] = 99
    entries.append({**own[4], "id": 1000})
    entries.append({**own[4], "id": 1001, "image_id": 777})
    own[4]["area"] = 5
    path.write_text(json.dumps(content))
    label = root / "labels" / "val" / "003.png"
    values = np.asarray(Image.open(label)).copy()
    values[:6, :6] = 77
    Image.fromarray(values).save(label)
    return spec


KINDS = {
    *("image_size_invalid", "image_missing", "image_unreadable", "leak_exact", "image_copied"),
    *("rle_damaged", "polygon_hostile", "box_not_mask", "class_unknown", "annotation_copied"),
    *("image_unknown", "area_not_mask", "label_unexplained"),
}


def test_many_faults_are_mended_and_listed(tmp_path: Path):
    spec = damage(tmp_path / "source")
    before = hashes(tmp_path / "source")
    found = rules(spec)
    assert found.keys() >= KINDS and len(KINDS) == 13
    repair = repaired(spec, tmp_path / "out")
    assert hashes(tmp_path / "source") == before
    assert rules(repair.spec) == {}
    assert {change.rule for change in repair.changes} == set(found)
    assert not repair.left
    written = json.loads((tmp_path / "out" / "changes.json").read_text())
    assert len(written["changes"]) == len(repair.changes)
    assert written["counts"].keys() == found.keys()
    rle = next(change for change in written["changes"] if change["rule"] == "rle_damaged")
    assert rle["change"] == "object left out"
    assert Path(rle["file"]).name == "train.json" and rle["annotation"] and rle["split"] == "train"
    text = repair_text(repair)
    assert "changed: image left out of 'train', as 'val' has it [leak_exact]: 1" in text
    assert str(repair.spec) in text


def test_through_the_tool(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    spec = damage(tmp_path / "source")
    main = load_tool("tools/check_dataset.py").main
    assert main([str(spec), "--fix", str(tmp_path / "out")]) == 1
    printed = capsys.readouterr().out
    assert "changed: object left out [rle_damaged]: 1" in printed
    assert f"corrected copy: {tmp_path / 'out' / 'faulty_fixed.yaml'}" in printed
    assert main([str(tmp_path / "out" / "faulty_fixed.yaml")]) == 0


def test_what_is_sound_stays_as_it_was(tmp_path: Path):
    clean = read(factories.make_coco(tmp_path / "clean", segmentation="mixed", labels=True))
    spec = factories.make_coco(tmp_path / "s", segmentation="mixed", labels=True)
    content = edit(tmp_path / "s" / "val.json")
    lost = content["annotations"][0]
    lost["iscrowd"] = 7
    (tmp_path / "s" / "val.json").write_text(json.dumps(content))
    fixed = read(repaired(spec, tmp_path / "out").spec)
    expected = objects(clean)
    [gone] = (expected["val", "000"] - objects(fixed)["val", "000"]).elements()
    assert gone[0] in ("square", "disc")
    expected["val", "000"][gone] -= 1
    assert objects(fixed) == {key: +counted for key, counted in expected.items()}
    assert semantics(fixed) == semantics(clean)


def test_pixels_without_a_meaning_are_ignored(tmp_path: Path):
    spec = factories.make_label_map(tmp_path / "s", encoding="rgb")
    label = tmp_path / "s" / "labels" / "train" / "001.png"
    pixels = np.asarray(Image.open(label)).copy()
    pixels[:4, :4] = (1, 2, 3)
    Image.fromarray(pixels).save(label)
    repair = repaired(spec, tmp_path / "out")
    assert rules(repair.spec) == {}
    fixed = semantics(read(repair.spec))["train", "001"]
    assert fixed.count(255) == 16
    assert np.frombuffer(fixed, dtype=np.uint8).reshape(64, 64)[:4, :4].min() == 255


def test_black_and_white_of_two_classes(tmp_path: Path):
    spec = factories.make_label_map(tmp_path / "s", encoding="binary_255")
    expected = semantics(read(spec))
    fields = yaml.safe_load(spec.read_text())
    spec.write_text(yaml.safe_dump({**fields, "classes": ["background", "shape"]}))
    assert "label_two_values" in rules(spec)
    repair = repaired(spec, tmp_path / "out")
    assert rules(repair.spec) == {}
    assert semantics(read(repair.spec)) == expected


def test_training_loses_what_is_scored_wherever_it_stands(tmp_path: Path):
    """Val is listed first, and has two images of train."""
    spec = factories.make_coco(tmp_path / "s", num_images=4)
    fields = yaml.safe_load(spec.read_text())
    fields["splits"] = {name: fields["splits"][name] for name in ("val", "train")}
    spec.write_text(yaml.safe_dump(fields, sort_keys=False))
    images = tmp_path / "s" / "images"
    for number in ("001", "002"):
        shutil.copy(images / "val" / f"{number}.png", images / "train" / f"{number}.png")
    repair = repaired(spec, tmp_path / "out")
    assert {split: len(records) for split, (_, records) in read(repair.spec).items()} == {
        "val": 4,
        "train": 2,
    }
    assert [change.split for change in repair.changes] == ["train", "train"]


def test_boxes_elsewhere_than_their_masks_are_not_guessed(tmp_path: Path):
    spec = factories.make_coco(tmp_path / "s")
    content = edit(tmp_path / "s" / "train.json")
    near, far = content["annotations"][:2]
    near["bbox"][2] += 5
    far["bbox"][0] = (far["bbox"][0] + 32) % 40
    (tmp_path / "s" / "train.json").write_text(json.dumps(content))
    repair = repaired(spec, tmp_path / "out")
    assert {change.annotation: change.change for change in repair.changes} == {
        near["id"]: "box measured from the mask",
        far["id"]: "object left out, whose box and mask are in different places",
    }
    assert rules(repair.spec) == {}


def test_what_a_person_must_decide_is_left(tmp_path: Path):
    spec = factories.make_coco(tmp_path / "s")
    content = edit(tmp_path / "s" / "train.json")
    whole = {"size": [64, 64], "counts": [0, 64 * 64]}
    content["annotations"][0] |= {"segmentation": whole, "bbox": [0, 0, 64, 64], "area": 4096}
    (tmp_path / "s" / "train.json").write_text(json.dumps(content))
    repair = repaired(spec, tmp_path / "out")
    assert [problem.rule for problem in repair.left] == ["mask_whole_image"]
    assert "left: a mask that covers its whole image [mask_whole_image]: 1" in repair_text(repair)
    [left] = json.loads((tmp_path / "out" / "changes.json").read_text())["left"]
    assert left["rule"] == "mask_whole_image" and left["repair"]


def test_nothing_is_written_where_nothing_can_be_read(tmp_path: Path):
    spec = factories.make_coco(tmp_path / "s")
    for split in ("train", "val"):
        (tmp_path / "s" / f"{split}.json").write_text("{")
    with pytest.raises(DatasetError, match="nothing of the data set could be read"):
        repaired(spec, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_image_that_loses_all_its_objects_goes_with_them(tmp_path: Path):
    """Else it would teach that there is nothing to see."""
    spec = factories.make_coco(tmp_path / "s")
    content = edit(tmp_path / "s" / "train.json")
    first = [entry for entry in content["annotations"] if entry["image_id"] == 10]
    assert len(first) >= 2
    for entry in first:
        entry["segmentation"] = [[0, 1, 2]]
    (tmp_path / "s" / "train.json").write_text(json.dumps(content))
    repair = repaired(spec, tmp_path / "out")
    assert [change.change for change in repair.changes] == [
        *["object left out"] * len(first),
        "image left out, as none of its objects is left",
    ]
    assert len(read(repair.spec)["train"][1]) == 5
    assert rules(repair.spec) == {}


CASES = (
    *("coco/boxes_as_corners", "coco/class_order", "coco_panoptic/image_cut_off"),
    *("voc/label_number", "yolo/image_in_two_splits", "labelme/image_bomb"),
    *("label_map/label_jpeg", "mask_folder/image_copied", "cityscapes/label_other_size"),
)


@pytest.mark.parametrize("name", CASES)
def test_every_format_is_mended(tmp_path: Path, name: str):
    [case] = [c for c in factories.bad_cases() if f"{c.format}/{c.name}" == name]
    place = case.make(tmp_path / "s")
    assert case.rule in rules(place.spec)
    repair = repaired(place.spec, tmp_path / "out")
    assert case.rule in {change.rule for change in repair.changes}
    assert not {rule for rule in rules(repair.spec) if RULES[rule].level == "error"}
