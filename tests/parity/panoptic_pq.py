"""Turns deeplab2's panoptic quality fixture into a data set and predictions for tools/score.py.

    python tests/parity/panoptic_pq.py SOURCE FOLDER
    python tools/score.py --dataset FOLDER/team.yaml --split val --predictions FOLDER/panoptic.json

SOURCE holds team_gt_instance.png and so on: google-research/deeplab2 at 64bc1c1a,
evaluation/testdata. Its panoptic_quality_test.py expects PQ 0.62156284, SQ 0.64664984 and
RQ 0.9666667.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pycocotools.mask as mask_util
import yaml
from PIL import Image

THINGS = {"person": 1, "bear": 2}
STUFF = {"tree": 3, "sky": 5}  # of the fixture's other images; the spec wants at least one
VOID = 0
# Grey level of the instance in the truth -> class.
TRUTH = dict.fromkeys((47, 97, 133, 150, 174, 215, 244, 255), 1) | {198: 2}
PREDICTED_COLOURS = {(0, 0, 255): 1, (255, 0, 0): 2}


def convert(source: Path, folder: Path) -> tuple[Path, Path]:
    """Writes the truth as COCO json with label maps, the prediction as COCO panoptic.

    Returns:
        The paths of the specification and of the panoptic json.
    """
    folder.mkdir(parents=True, exist_ok=True)
    instances = _read(source / "team_gt_instance.png")[:, :, 0]
    (folder / "labels").mkdir()
    labels = np.full_like(instances, VOID)
    for level, number in TRUTH.items():
        labels[instances == level] = number
    Image.fromarray(labels).save(folder / "labels" / "team.png")
    (folder / "val.json").write_text(json.dumps(_coco_truth(instances)))
    spec = {
        "name": "team",
        "format": "coco",
        "things": list(THINGS),
        "stuff": list(STUFF),
        "classes": THINGS | STUFF,
        "ignore": [VOID],
        "splits": {"val": {"annotations": "val.json", "labels": "labels"}},
    }
    (folder / "team.yaml").write_text(yaml.safe_dump(spec))
    _write_prediction(source, folder)
    return folder / "team.yaml", folder / "panoptic.json"


def _coco_truth(instances: np.ndarray) -> dict:
    """COCO content of the objects in an (H, W) map of grey levels."""
    annotations = []
    for number, (level, category) in enumerate(TRUTH.items(), start=1):
        rle = mask_util.encode(np.asfortranarray(instances == level, dtype=np.uint8))
        annotations.append(
            {
                "id": number,
                "image_id": 1,
                "category_id": category,
                "iscrowd": 0,
                "area": int(mask_util.area(rle)),
                "bbox": mask_util.toBbox(rle).tolist(),
                "segmentation": {"size": rle["size"], "counts": rle["counts"].decode("ascii")},
            }
        )
    height, width = instances.shape
    image = {"id": 1, "file_name": "team.jpg", "height": height, "width": width}
    categories = [{"id": number, "name": name} for name, number in THINGS.items()]
    return {"images": [image], "annotations": annotations, "categories": categories}


def _write_prediction(source: Path, folder: Path) -> None:
    """Writes panoptic.json and panoptic/team.png; its classes are numbered in their own way."""
    levels = _read(source / "team_pred_instance.png")[:, :, 0]
    colours = _read(source / "team_pred_class.png")[:, :, :3]
    ids = np.zeros(levels.shape, dtype=np.int64)
    segments = []
    for colour, category in PREDICTED_COLOURS.items():
        of_class = (colours == colour).all(axis=2)
        for level in np.unique(levels[of_class]):
            segment = {"id": 1000 * (len(segments) + 1), "category_id": 100 + category}
            ids[of_class & (levels == level)] = segment["id"]
            segments.append(segment)
    (folder / "panoptic").mkdir()
    rgb = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=2).astype(np.uint8)
    Image.fromarray(rgb).save(folder / "panoptic" / "team.png")
    image = {"image_id": 1, "file_name": "team.png", "segments_info": segments}
    categories = [{"id": 100 + number, "name": name} for name, number in THINGS.items()]
    (folder / "panoptic.json").write_text(
        json.dumps({"annotations": [image], "categories": categories})
    )


def _read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    for written in convert(arguments.source, arguments.folder):
        print(written)
