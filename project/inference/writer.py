"""Predictions as files: pictures to look at, and the forms that tools/score.py takes."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from project.data.categories import Categories
from project.data.labels import write_label_map
from project.errors import ConfigError
from project.evaluation.detections import coco_results, from_instances
from project.inference.scenes import predicted_panoptic, predicted_scene, predicted_semantic
from project.report.canvas import display_scale, encode, scale_image, stack
from project.report.captions import legend
from project.report.example import CONFIDENCE, Panoptic, Scene
from project.report.palette import class_colours
from project.report.panels import classes_in, draw_scene

ImageId = int | str
_LARGEST = 3072  # pixels of the longer side of a picture; the maps keep the image's size


# What a writer leaves in its folder.
_LEFT = ("overlays", "label_maps", "panoptic", "predictions.json", "panoptic.json")


def check_unused(folder: Path, *, overwrite: bool) -> None:
    """Checks that no earlier results would be mixed with those to come.

    Args:
        folder: of the results; need not be there.
        overwrite: earlier results are deleted instead, by their names.

    Raises:
        ConfigError: there are some; or files of these names that no writer has left, since it
            always leaves overlays: such as a data set's own label maps.
    """
    found = [folder / name for name in _LEFT if os.path.lexists(folder / name)]
    if found and not overwrite:
        raise ConfigError(
            f"--output {folder} holds results already ({', '.join(path.name for path in found)}):"
            " --overwrite deletes them, and another folder leaves them as they are"
        )
    if found and found[0].name != _LEFT[0]:
        raise ConfigError(
            f"--output {folder} holds {', '.join(path.name for path in found)} and no overlays, so"
            " they are not the results of a prediction: give another folder"
        )
    for path in found:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


class PredictionWriter:
    """Writes what a model yields for image after image into a folder.

    overlays/KEY.jpg         the image with what was found, up to 3072 pixels a side; .png where it
                             had to be enlarged
    predictions.json         instances, as COCO results
    label_maps/KEY.png       semantic ids, with a palette to look at
    panoptic/KEY.png         segment ids, and panoptic.json, in COCO's panoptic form
    """

    def __init__(
        self, folder: Path, categories: Categories, *, confidence: float = CONFIDENCE
    ) -> None:
        """Writes nothing yet.

        Args:
            folder: is made where it does not exist.
            categories: of the data set whose ids the results carry.
            confidence: score from which objects are drawn; the result files hold all.
        """
        self.folder = Path(folder)
        self.categories = categories
        self.confidence = confidence
        self._parts: set[str] = set()  # keys of the outputs seen
        self.found = self.drawn = 0  # objects, and those among them that are sure enough
        self._instances: list[dict[str, Any]] = []
        self._panoptic: list[dict[str, Any]] = []

    def add(self, key: str, image_id: ImageId, image: np.ndarray, output: dict[str, Any]) -> None:
        """Writes the pictures and maps of one image, and keeps what `close` writes.

        Args:
            key: name of the results, with "/" for subfolders.
            image_id: for the json files.
            image: (H, W, 3) uint8 RGB.
            output: of a `Predictor`.
        """
        scale = display_scale(image.shape[:2], largest=_LARGEST)
        scene = predicted_scene(output, self.categories, self.confidence, scale)
        self._write_overlay(key, scale_image(image, scale), scene, enlarged=scale > 1)
        self._parts |= output.keys()
        if "instances" in output:
            detections = from_instances(output["instances"])
            self._instances += coco_results(image_id, detections, self.categories)
            self.found += len(detections.scores)
            self.drawn += int((detections.scores >= self.confidence).sum())
        semantic = predicted_semantic(output)
        if semantic is not None:
            write_label_map(self._path("label_maps", f"{key}.png"), semantic)
        panoptic = predicted_panoptic(output, self.categories)
        if panoptic is not None:
            entry = self._write_segments(key, panoptic)
            self._panoptic.append({"image_id": image_id, **entry})

    def close(self) -> list[Path]:
        """Writes the json files.

        Returns:
            What there is to score: files, and the folder of label maps.
        """
        written = []
        if "instances" in self._parts:
            written.append(self._write_json("predictions.json", self._instances))
        if "sem_seg" in self._parts:
            written.append(self.folder / "label_maps")
        if "panoptic_seg" in self._parts:
            content = {"annotations": self._panoptic, "categories": self._panoptic_categories()}
            written.append(self._write_json("panoptic.json", content))
        return written

    def _write_overlay(self, key: str, image: np.ndarray, scene: Scene, enlarged: bool) -> None:
        picture = next(iter(draw_scene(image, scene, self.categories).values()))
        names, colours = self.categories.semantic, class_colours(self.categories).tolist()
        present = [(names[i], colours[i]) for i in sorted(classes_in(scene, self.categories))]
        picture = stack([picture, legend(picture.shape[1], present)], gap=0)
        extension = ".png" if enlarged else ".jpg"
        self._path("overlays", f"{key}{extension}").write_bytes(encode(picture, extension))

    def _write_segments(self, key: str, panoptic: Panoptic) -> dict[str, Any]:
        ids = panoptic.ids
        rgb = np.empty((*ids.shape, 3), np.uint8)
        for channel in range(3):  # the lowest byte first; large maps have no room for three more
            rgb[:, :, channel] = ids >> 8 * channel & 255
        self._path("panoptic", f"{key}.png").write_bytes(encode(rgb, ".png"))
        numbers = self._panoptic_ids()
        return {
            "file_name": f"{key}.png",
            "segments_info": [
                {
                    "id": segment["id"],
                    "category_id": numbers[segment["semantic_id"]],
                    "area": segment["area"],
                }
                for segment in panoptic.segments
            ],
        }

    def _panoptic_ids(self) -> list[int]:
        """By semantic id: the data set's own ids; the next free numbers for stuff without any."""
        start = max(self.categories.thing_dataset_ids, default=0) + 1
        free = range(start, start + len(self.categories.stuff))
        return [*(self.categories.stuff_dataset_ids or free), *self.categories.thing_dataset_ids]

    def _panoptic_categories(self) -> list[dict[str, Any]]:
        named = zip(self._panoptic_ids(), self.categories.semantic)
        return [
            {"id": number, "name": name, "isthing": int(self.categories.is_thing(i))}
            for i, (number, name) in enumerate(named)
        ]

    def _path(self, part: str, name: str) -> Path:
        path = self.folder / part / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _write_json(self, name: str, content: Any) -> Path:
        path = self.folder / name
        path.write_text(json.dumps(content), encoding="utf-8")
        return path
