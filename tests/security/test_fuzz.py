"""Damaged files are read or refused by a `UserError`, soon, and readers keep nothing of them."""

import gc
import io
import itertools
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import factories
from fuzzing import Outcome, Target, run_target
from project.config import load_config
from project.data.checks.objects import check_objects
from project.data.dataset import read_info, read_records
from project.data.formats.coco_file import _category_ids, _parse
from project.data.images import read_image
from project.data.labels import label_encoding, read_label_map
from project.data.problems import Problems
from project.data.spec import read_spec
from project.engine import checkpoint_files
from project.engine.weights_files import read_weights_file
from project.evaluation.per_image import read_per_image
from project.evaluation.prediction_files import read_json
from project.evaluation.results import read_results
from project.network import set_downloads
from tool_runner import REPOSITORY, TINY

QUICK, MANY = 2_200, 110_000
MOST_GROWTH = 50e6  # bytes
_times = itertools.count(1)


def _config(root: Path) -> Target:
    files = [TINY, *sorted((REPOSITORY / "configs").rglob("*.yaml"))[:12]]
    seeds = [path.read_bytes().replace(b"_BASE_", b"# ") for path in files]
    return Target("config", seeds, load_config, root / "c.yaml", "yaml")


def _spec(root: Path) -> Target:
    made = [factories.make(form, root / form, num_images=1) for form in ("coco", "label_map")]
    files = [*made, *(REPOSITORY / "datasets").glob("*.yaml")]
    return Target("spec", [path.read_bytes() for path in files], read_spec, root / "s.yaml", "yaml")


def _records(form: str, pattern: str, root: Path) -> Target:
    """One annotation file of a data set, read with its objects."""
    spec_path = factories.make(form, root / form, num_images=2)
    file = sorted((root / form).glob(pattern))[0]

    def read(path: Path) -> None:
        # Files are parsed once, unless their time or size is another; a clock may be slow.
        os.utime(path, ns=(0, next(_times)))
        spec = read_spec(spec_path)
        info, problems = read_info(spec, "train"), Problems()
        check_objects(info, read_records(info, problems), problems, quick=False)
        for problem in problems.errors[:1]:
            raise problem.error()

    seeds = [file.read_bytes()]
    return Target(form, seeds, read, file, "" if form == "yolo" else "json")


def _label_map(root: Path) -> Target:
    seeds = []
    spec_path = factories.make("label_map", root / "maps", num_images=1)
    spec = read_spec(spec_path)
    encoding = label_encoding(spec, read_info(spec, "train").categories)
    values = np.random.default_rng(0).integers(0, 3, (12, 14), dtype=np.uint8)
    for kind, mode in (("PNG", "L"), ("PNG", "P"), ("TIFF", "L"), ("BMP", "L"), ("GIF", "L")):
        image = Image.fromarray(values).convert(mode)
        image.save(buffer := io.BytesIO(), kind)
        seeds.append(buffer.getvalue())
    return Target("label_map", seeds, lambda p: read_label_map(p, encoding), root / "l.png")


def _image(root: Path) -> Target:
    seeds = []
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (9, 11, 3), dtype=np.uint8))
    for kind in ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "JPEG2000", "PPM"):
        exif = Image.Exif()
        exif[274] = 6
        more = {"exif": exif} if kind in ("PNG", "JPEG", "WEBP", "TIFF") else {}
        picture.save(buffer := io.BytesIO(), kind, **more)
        seeds.append(buffer.getvalue())
    return Target("image", seeds, lambda path: read_image(path, "RGB"), root / "i.png")


def _npy(root: Path) -> Target:
    np.save(buffer := io.BytesIO(), np.zeros((5, 6, 3), np.uint8))
    read = lambda path: read_image(path, "RGB")  # noqa: E731
    return Target("npy", [buffer.getvalue()], read, root / "i.npy")


def _tag(root: Path) -> Target:
    """The index of a run's checkpoints."""
    folder = root / "run"
    folder.mkdir()
    for number in (1, 2):
        path = folder / f"model_{number:07}.pth"
        checkpoint_files.write_checkpoint(path, lambda file: file.write(b"weights"))
    seeds = [b"model_0000002.pth", b"model_0000001.pth\n", b"../model.pth"]
    read = lambda path: checkpoint_files.last_whole(path.parent)  # noqa: E731
    return Target("tag", seeds, read, folder / checkpoint_files.LAST)


def _digest(root: Path) -> Target:
    target = _tag(root)
    path = target.file.with_name("model_0000002.pth.sha256")
    target.file.write_text("model_0000002.pth")
    return Target("digest", [path.read_bytes()], target.read, path)


def _zoo(root: Path) -> Target:
    weights = {"a": np.arange(4.0), "c": np.zeros((2, 2), np.float16)}
    content = {"model": weights, "__author__": "x", "score": np.float64(3)}
    seeds = [pickle.dumps(content, protocol=protocol) for protocol in (2, 4, 5)]
    return Target("zoo", seeds, lambda p: read_weights_file(str(p)), root / "w.pkl")


def _torch(root: Path) -> Target:
    seeds = []
    for zipped in (True, False):
        content = {"model": {"a": torch.arange(4.0)}, "iteration": 3}
        torch.save(content, buffer := io.BytesIO(), _use_new_zipfile_serialization=zipped)
        seeds.append(buffer.getvalue())
    return Target("torch", seeds, lambda p: read_weights_file(str(p)), root / "w.pth")


def _results(root: Path) -> Target:
    content = {
        "config": "c",
        "weights": {"path": "w", "sha256": None, "iteration": 1},
        "backend": "b",
        "datasets": {"d": {"images": 2, "segm": {"AP": 3.0}, "notes": []}},
    }
    return Target("results", [json.dumps(content).encode()], read_results, root / "r.json", "json")


def _predictions(root: Path) -> Target:
    seeds = [b'[{"image_id": 1, "category_id": 2, "bbox": [1, 2, 3, 4], "score": 0.5}]']
    return Target("predictions", seeds, read_json, root / "p.json", "json")


def _statistics(root: Path) -> Target:
    index = {"version": 1, "datasets": {"d": {"images": [1], "tasks": {}}}}
    np.savez(buffer := io.BytesIO(), index=np.array(json.dumps(index)))
    return Target("per_image", [buffer.getvalue()], read_per_image, root / "per_image.npz")


# Name -> (how it is made, its share of the inputs).
TARGETS: dict[str, tuple[Callable[[Path], Target], float]] = {
    "config": (_config, 0.15),
    "spec": (_spec, 0.1),
    "coco": (lambda root: _records("coco", "train.json", root), 0.2),
    "coco_panoptic": (lambda root: _records("coco_panoptic", "*train*.json", root), 0.05),
    "labelme": (lambda root: _records("labelme", "train/000.json", root), 0.03),
    "yolo": (lambda root: _records("yolo", "labels/train/000.txt", root), 0.03),
    "label_map": (_label_map, 0.12),
    "image": (_image, 0.08),
    "npy": (_npy, 0.02),
    "tag": (_tag, 0.05),
    "digest": (_digest, 0.03),
    "zoo": (_zoo, 0.05),
    "torch": (_torch, 0.04),
    "results": (_results, 0.02),
    "predictions": (_predictions, 0.02),
    "per_image": (_statistics, 0.01),
}


def fuzz(name: str, root: Path, seed: int, total: int) -> Outcome:
    make, share = TARGETS[name]
    target = make(root)
    for data in target.seeds[:1]:  # a reader that refuses everything would prove nothing
        target.file.write_bytes(data)
        target.read(target.file)
    set_downloads(False)
    return run_target(target, seed, round(share * total))


@pytest.mark.parametrize("name", TARGETS)
def test_a_few(name: str, tmp_path: Path):
    outcome = fuzz(name, tmp_path, 0, QUICK)
    assert not outcome.crashes, outcome.text
    if name != "digest":  # a wrong one only means that the checkpoint before it is taken
        assert outcome.refused > 0.1 * (outcome.read + outcome.refused)


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_many(name: str, tmp_path: Path):
    outcome = fuzz(name, tmp_path, 1, MANY)
    print(f"{name}: {outcome.read} read, {outcome.refused} refused, {dict(outcome.counts)}")
    assert not outcome.crashes, outcome.text


def test_there_are_enough():
    assert sum(share for _, share in TARGETS.values()) == pytest.approx(1)
    assert MANY * sum(share for _, share in TARGETS.values()) > 100_000


@pytest.mark.parametrize("name", ["config", "coco", "label_map", "tag"])
def test_nothing_is_kept(name: str, tmp_path: Path):
    """After a warm-up, memory stays where it was."""
    for folder in ("warm", "again"):
        (tmp_path / folder).mkdir()
    fuzz(name, tmp_path / "warm", 2, 1000)
    before = _memory()
    fuzz(name, tmp_path / "again", 3, 2000)
    assert _memory() - before < MOST_GROWTH


def _memory() -> int:
    """Bytes of this process that lie in memory."""
    _parse.cache_clear()
    _category_ids.cache_clear()
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_the_alarm_finds_a_hang(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("fuzzing.LIMIT_S", 1)

    def spin(path: Path) -> Any:
        while True:
            yaml.safe_load("a: 1")

    outcome = run_target(Target("spin", [b"a"], spin, tmp_path / "a"), 0, 1)
    assert outcome.counts.total() == 1 and "Hang" in outcome.text
