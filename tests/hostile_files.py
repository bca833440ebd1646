"""Files made to run code, to lead elsewhere, to fetch or to fill memory, and who opens them.

Each case writes its files below a folder and returns the tool, its words and the file that the tool
must name. Where code is hidden, it would make a marker file.
"""

import json
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml

import factories
from tool_runner import TINY


class Started(NamedTuple):
    """What a case has written.

    Attributes:
        tool: script of tools/.
        words: of its command line.
        names: text that the refusal must hold.
        file: with code in it; None where there is none.
    """

    tool: str
    words: list[str]
    names: str
    file: Path | None = None


@dataclass(frozen=True)
class Place:
    """Where a case writes.

    Attributes:
        root: folder with the sound data set `data`, the sound run `run` and the folder `out`.
        marker: must never be there.
    """

    root: Path
    marker: Path

    @property
    def spec(self) -> Path:
        return next((self.root / "data").glob("*.yaml"))

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def train(self, config: Path, names: str, *opts: str, **more: Any) -> Started:
        words = ["--config-file", str(config), "--dataset", str(self.spec)]
        words += ["OUTPUT_DIR", str(self.root / "out"), *opts]
        return Started("train_net", words, names, **more)

    def predict(self, weights: Path | str, **more: Any) -> Started:
        words = ["--config-file", str(TINY), "--dataset", str(self.spec), "--weights", str(weights)]
        images = self.root / "data" / "images" / "val"
        words += ["--input", str(images), "--output", str(self.root / "out")]
        return Started("predict", words, Path(weights).name, **more)


@dataclass(frozen=True)
class Case:
    """One hostile input.

    Attributes:
        name: unique.
        make: writes it.
        opens: the unsafe way that would run the code of `Started.file`; None where it has none.
    """

    name: str
    make: Callable[[Place], Started]
    opens: Callable[[Path], Any] | None = None

    def __str__(self) -> str:
        return self.name


class Evil:
    """Makes the marker when a pickle of it is read."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


class EvilEval(Evil):
    """The same by another way."""

    def __reduce__(self) -> tuple[Any, ...]:
        return eval, (f"__import__('pathlib').Path({str(self.marker)!r}).touch()",)


def _unsafe_yaml(path: Path) -> None:
    yaml.unsafe_load(path.read_text())


def _unsafe_pickle(path: Path) -> None:
    pickle.loads(path.read_bytes())


def _unsafe_torch(path: Path) -> None:
    torch.load(path, weights_only=False)


def _unsafe_numpy(path: Path) -> None:
    loaded = np.load(path, allow_pickle=True)
    if isinstance(loaded, np.lib.npyio.NpzFile):
        for name in loaded.files:
            loaded[name]


# How YAML says that something is to be called.
_TAGS = {
    "apply": "!!python/object/apply:os.system ['touch {0}']",
    "new": "!!python/object/new:os.system ['touch {0}']",
    "eval": "!!python/object/apply:builtins.eval [\"__import__('os').system('touch {0}')\"]",
    "exec": "!!python/object/apply:builtins.exec [\"import os; os.system('touch {0}')\"]",
    "subprocess": "!!python/object/apply:subprocess.check_call [[touch, '{0}']]",
    "full_tag": "!<tag:yaml.org,2002:python/object/apply:os.system> ['touch {0}']",
}


def _tag(place: Place, kind: str = "apply") -> str:
    return _TAGS[kind].format(place.marker)


def _config(kind: str, place: Place) -> Started:
    path = place.write("evil.yaml", f"OUTPUT_DIR: {_tag(place, kind)}\n")
    return place.train(path, "evil.yaml", file=path)


def _config_key(place: Place) -> Started:
    path = place.write("evil.yaml", f"? {_tag(place)}\n: 1\n")
    return place.train(path, "evil.yaml", file=path)


def _config_anchor(place: Place) -> Started:
    path = place.write("evil.yaml", f"SEED: &a {_tag(place)}\nSOLVER: {{MAX_ITER: *a}}\n")
    return place.train(path, "evil.yaml", file=path)


def _chain(place: Place) -> Started:
    evil = place.write("c.yaml", f"SEED: {_tag(place)}\n")
    place.write("b.yaml", "_BASE_: c.yaml\n")
    return place.train(place.write("a.yaml", "_BASE_: b.yaml\n"), "c.yaml", file=evil)


def _second_base(place: Place) -> Started:
    evil = place.write("c.yaml", f"SEED: {_tag(place)}\n")
    return place.train(place.write("a.yaml", f"_BASE_: [{TINY}, c.yaml]\n"), "c.yaml", file=evil)


def _python_config(place: Place) -> Started:
    path = place.write("lazy.py", f"import os\nos.system('touch {place.marker}')\n")
    return place.train(path, "lazy.py", file=path)


def _python_base(place: Place) -> Started:
    evil = place.write("lazy.py", f"import os\nos.system('touch {place.marker}')\n")
    return place.train(place.write("a.yaml", "_BASE_: lazy.py\n"), "lazy.py", file=evil)


def _unsafe_python(path: Path) -> None:
    exec(compile(path.read_text(), str(path), "exec"), {})  # noqa: S102


def _lazy_target(place: Place) -> Started:
    text = f"MODEL: {{_target_: os.system, command: 'touch {place.marker}'}}\n"
    return place.train(place.write("evil.yaml", text), "evil.yaml")


def _text_config(text: str, place: Place) -> Started:
    """A config without code; {0} is the case's folder."""
    return place.train(place.write("run/a.yaml", text.format(place.root)), "a.yaml")


def _linked_base(place: Place) -> Started:
    place.write("secret.yaml", "SEED: 1\n")
    (place.root / "run" / "base.yaml").symlink_to(place.root / "secret.yaml")
    return place.train(place.write("run/a.yaml", "_BASE_: base.yaml\n"), "a.yaml")


def _bomb(kind: str, place: Place) -> Started:
    first = "a: &a {x: 1}\n" if kind == "merge" else "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    form = "{{<<: [{}]}}" if kind == "merge" else "[{}]"
    rows = [
        f"{new}: &{new} {form.format(','.join([f'*{old}'] * 10))}\n"
        for old, new in zip("abcdefgh", "bcdefghi")
    ]
    text = "MODEL:\n  HUGGING_FACE:\n    CONFIG:\n" + "".join(
        f"      {line}" for line in [first, *rows]
    )
    return place.train(place.write("bomb.yaml", text), "bomb.yaml")


def _bases_without_number(place: Place) -> Started:
    for number in range(30):
        place.write(f"b{number}.yaml", f"_BASE_: [b{number + 1}.yaml, b{number + 1}.yaml]\n")
    place.write("b30.yaml", "SEED: 1\n")
    return place.train(place.root / "b0.yaml", "b30.yaml")


def _opts(key: str, value: str, place: Place) -> Started:
    names = "no such weights file" if key == "MODEL.WEIGHTS" else key
    return place.train(TINY, names, key, value.format(place.marker))


def _with_key(text: str, names: str, place: Place) -> Started:
    """A sound small config with one hostile key."""
    text = f"_BASE_: {TINY}\n{text}"
    return place.train(place.write("a.yaml", text.format(place.root)), names)


def _spec(kind: str, place: Place) -> Started:
    path = place.write("data/evil.yaml", f"name: {_tag(place, kind)}\nformat: coco\n")
    words = [str(path), "--json", str(place.root / "out" / "all.json")]
    return Started("check_dataset", words, "evil.yaml", path)


def _spec_scored(place: Place) -> Started:
    path = place.write("data/evil.yaml", f"splits: {{val: {_tag(place)}}}\n")
    words = ["--dataset", str(path), "--split", "val", "--predictions", str(place.spec)]
    return Started("score", words, "evil.yaml", path)


def _spec_field(names: str, fields: dict[str, Any], place: Place) -> Started:
    content = yaml.safe_load(place.spec.read_text()) | fields
    place.spec.write_text(yaml.safe_dump(content))
    return Started("check_dataset", [str(place.spec)], names)


def _yolo_names(place: Place) -> Started:
    spec = factories.make("yolo", place.root / "yolo", num_images=2)
    path = place.write("yolo/data.yaml", f"names: {_tag(place)}\n")
    return Started("check_dataset", [str(spec)], "data.yaml", path)


def _coco_name(name: str, place: Place) -> Started:
    """The first image of the training split is said to lie elsewhere."""
    secret = place.root / "secret.png"
    (place.root / "data/images/train/000.png").rename(secret)
    path = place.root / "data" / "train.json"
    content = json.loads(path.read_text())
    content["images"][0] |= {"file_name": name.format(place.root)}
    content["images"][0].pop("height")  # so that the reader itself would open it
    path.write_text(json.dumps(content))
    return place.train(TINY, "train.json")


def _coco_link(place: Place) -> Started:
    image = place.root / "data/images/train/000.png"
    image.rename(place.root / "secret.png")
    image.symlink_to(place.root / "secret.png")
    return place.train(TINY, "000.png")


def _linked_folder(form: str, place: Place) -> Started:
    """A folder of labels, or of objects, leads to another place."""
    spec = factories.make(form, place.root / "set", num_images=2)
    folder = next((place.root / "set").rglob("*.png")).parent
    inner = folder / "more"
    (place.root / "secret").mkdir()
    inner.symlink_to(place.root / "secret")
    return Started("check_dataset", [str(spec)], "more")


def _panoptic_name(name: str, place: Place) -> Started:
    spec = factories.make("coco_panoptic", place.root / "set", num_images=2)
    path = next((place.root / "set").glob("*train*.json"))
    content = json.loads(path.read_text())
    content["annotations"][0]["file_name"] = name
    path.write_text(json.dumps(content))
    return Started("check_dataset", [str(spec)], path.name)


def _pickled(marker: Path, kind: type[Evil] = Evil, protocol: int = 2, zoo: bool = False) -> bytes:
    evil: Any = kind(marker)
    content = {"model": {"a": np.zeros(2), "b": evil}, "__author__": "x"} if zoo else evil
    return pickle.dumps(content, protocol=protocol)


def _weights(name: str, place: Place, **how: Any) -> Started:
    path = place.write(f"w/{name}", _pickled(place.marker, **how))
    return place.predict(path, file=path)


def _torch_weights(name: str, place: Place) -> Started:
    path = place.write(f"w/{name}", b"")
    torch.save({"model": {"a": torch.zeros(2), "b": Evil(place.marker)}}, path)
    return place.predict(path, file=path)


def _object_array(place: Place) -> Started:
    array = np.array([Evil(place.marker)], dtype=object)
    path = place.write("w/zoo.pkl", pickle.dumps({"model": {"a": array}, "__author__": "x"}))
    return place.predict(path, file=path)


def _weights_bytes(name: str, content: bytes, place: Place) -> Started:
    return place.predict(place.write(f"w/{name}", content))


def _zipped(content: bytes, kind: int, place: Place) -> Started:
    path = place.write("w/bomb.pth", b"")
    with zipfile.ZipFile(path, "w", kind) as archive:
        archive.writestr("bomb/data.pkl", content)
        archive.writestr("bomb/byteorder", b"little")
        archive.writestr("bomb/version", b"3")
    return place.predict(path)


def hash_bomb(levels: int) -> bytes:
    """A pickle of a dict whose key is a tuple of the same tuple twice, and so on."""
    content = b"\x80\x02})q\x00"  # a dict, and the empty tuple at place 0
    for level in range(levels):
        content += b"0h%ch%c\x86q%c" % (level, level, level + 1)
    return content + b"K\x01s."


# torch reads it: weights without a tensor, and one name of 50 MB.
_LONG_NAME = b"\x80\x02}X\x05\0\0\0model}X" + struct.pack("<I", 50_000_000)
_LONG_NAME += b"a" * 50_000_000 + b"K\x01ss."


def _given(tool: str, name: str, place: Place, **how: Any) -> Started:
    """The same weights to the tools that are no training and no prediction."""
    path = _weights(name, place, **how).file
    assert path is not None
    words = [str(path)]
    if tool == "export_weights":
        words += ["--out", str(place.root / "out"), "--config-file", str(TINY)]
        words += ["--dataset", str(place.spec)]
    return Started(tool, words, name, path)


def _address(url: str, place: Place) -> Started:
    return place.predict(url)


def _timm_weights(place: Place) -> Started:
    path = place.write("evil.pth", _pickled(place.marker))
    text = (
        "MODEL:\n  BACKBONE: {{NAME: build_timm_fpn_backbone}}\n"
        "  FPN: {{IN_FEATURES: [stage2, stage3]}}\n"
        "  SEM_SEG_HEAD: {{IN_FEATURES: [p2, p3]}}\n"
        "  TIMM: {{NAME: mobilenetv3_small_050, WEIGHTS: '{0}/evil.pth'}}\n"
    )
    return _with_key(text, "evil.pth", place)._replace(file=path)


def _timm_argument(place: Place) -> Started:
    path = place.write("evil.pth", _pickled(place.marker))
    text = (
        "MODEL:\n  BACKBONE: {{NAME: build_timm_fpn_backbone}}\n"
        "  TIMM:\n    NAME: mobilenetv3_small_050\n"
        "    ARGUMENTS: [{{checkpoint_path: '{0}/evil.pth'}}]\n"
    )
    return _with_key(text, "checkpoint_path", place)._replace(file=path)


def _hub_folder(place: Place, **files: str | bytes) -> None:
    for name, content in files.items():
        place.write(f"hub/{name.replace('__', '.')}", content)


_HUB = "MODEL:\n  META_ARCHITECTURE: HuggingFaceSegmenter\n  HUGGING_FACE: {{WEIGHTS: '{0}/hub'}}\n"
_SEGFORMER = {"model_type": "segformer", "hidden_sizes": [8, 8, 8, 8], "decoder_hidden_size": 8}


def _hub_pickle(place: Place) -> Started:
    _hub_folder(place, config__json=json.dumps(_SEGFORMER))
    path = place.write("hub/pytorch_model.bin", _pickled(place.marker))
    return _with_key(_HUB, "hub", place)._replace(file=path)


def _hub_code(place: Place) -> Started:
    """A config that says that its class is in a file beside it."""
    auto = {"AutoConfig": "evil.EvilConfig", "AutoModelForSemanticSegmentation": "evil.Evil"}
    config = {"model_type": "evil", "auto_map": auto}
    _hub_folder(place, config__json=json.dumps(config))
    path = place.write("hub/evil.py", f"import os\nos.system('touch {place.marker}')\n")
    return _with_key(_HUB, "hub", place)._replace(file=path)


def _hub_adapter(place: Place) -> Started:
    _hub_folder(
        place,
        config__json=json.dumps(_SEGFORMER),
        adapter_config__json=json.dumps({"base_model_name_or_path": "evil/model"}),
    )
    return _with_key(_HUB, "adapter_config.json", place)


def _hub_name(name: str, place: Place) -> Started:
    return _with_key(_HUB.replace("'{0}/hub'", name), name, place)


def _sam(place: Place, **files: str | bytes) -> Started:
    for name, content in {"config__json": '{"model_type": "sam"}', **files}.items():
        place.write(f"sam/{name.replace('__', '.')}", content)
    place.write("sam/preprocessor_config.json", "{}")
    words = ["--model", str(place.root / "sam"), "--dataset", str(place.spec), "--split", "val"]
    return Started("label_with_sam", [*words, "--out", str(place.root / "out")], "sam")


def _sam_pickle(place: Place) -> Started:
    path = place.write("sam/pytorch_model.bin", _pickled(place.marker))
    return _sam(place)._replace(file=path)


def _tagged(name: str, place: Place) -> Started:
    """A run whose `last_checkpoint` says something else."""
    evil = place.write("evil.pkl", _pickled(place.marker))
    place.write("run/evil.pkl", _pickled(place.marker))
    place.write("run/last_checkpoint", name.format(place.root))
    return _resumed(place)._replace(file=evil)


def _resumed(place: Place) -> Started:
    words = ["--config-file", str(TINY), "--dataset", str(place.spec), "--resume"]
    return Started("train_net", [*words, "OUTPUT_DIR", str(place.root / "run")], "run")


def _tagged_link(place: Place) -> Started:
    evil = place.write("evil.pkl", _pickled(place.marker))
    (place.root / "run" / "model.pkl").symlink_to(evil)
    place.write("run/last_checkpoint", "model.pkl")
    return _resumed(place)._replace(file=evil)


def _tagged_pth(place: Place) -> Started:
    path = place.write("run/model_0000001.pth", _pickled(place.marker))
    place.write("run/last_checkpoint", path.name)
    return _resumed(place)._replace(names=path.name, file=path)


def _proposals(place: Place) -> Started:
    path = place.write("proposals.pkl", _pickled(place.marker))
    text = "MODEL: {{LOAD_PROPOSALS: True}}\n"
    text += "DATASETS: {{PROPOSAL_FILES_TRAIN: ['{0}/proposals.pkl']}}\n"
    return _with_key(text, "LOAD_PROPOSALS", place)._replace(file=path)


def _npy_image(place: Place) -> Started:
    image = place.root / "data/images/train/000.png"
    image.unlink()
    path = image.with_suffix(".npy")
    np.save(path, np.array([[Evil(place.marker)]], dtype=object), allow_pickle=True)
    content = json.loads((place.root / "data/train.json").read_text())
    content["images"][0]["file_name"] = "000.npy"
    place.write("data/train.json", json.dumps(content))
    return Started("check_dataset", [str(place.spec)], "000.npy", path)


def _image(content: bytes, place: Place) -> Started:
    place.write("data/images/train/000.png", content)
    return Started("check_dataset", [str(place.spec)], "000.png")


def _predicted(content: bytes, place: Place) -> Started:
    """One more image for a sound model."""
    place.write("in/evil.png", content)
    started = place.predict(place.root / "run" / "model_final.pth")
    words = started.words[:]
    words[words.index("--input") + 1] = str(place.root / "in")
    return started._replace(words=words, names="evil.png")


def png_bomb(side: int = 20000) -> bytes:
    """A black PNG of a few kilobytes for side x side pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    packer = zlib.compressobj(9)
    row = bytes(1 + -(-side // 8))
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", data) + chunk(b"IEND", b"")


_EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n(x) (w) file\nshowpage\n"


def _score(name: str, content: bytes, place: Place) -> Started:
    path = place.write(name, content)
    words = ["--dataset", str(place.spec), "--split", "val", "--predictions", str(path)]
    return Started("score", [*words, "--out", str(place.root / "out/results.json")], path.name)


def _score_pickle(place: Place) -> Started:
    started = _score("p/found.pkl", _pickled(place.marker), place)
    return started._replace(file=place.root / "p/found.pkl")


def _score_npy(place: Place) -> Started:
    spec = factories.make("label_map", place.root / "maps", num_images=2)
    path = place.root / "p" / "000.npy"
    path.parent.mkdir()
    np.save(path, np.array([[Evil(place.marker)]], dtype=object), allow_pickle=True)
    for name in ("001",):
        np.save(path.with_name(f"{name}.npy"), np.zeros((64, 64), np.uint8))
    words = ["--dataset", str(spec), "--split", "val", "--predictions", str(path.parent)]
    return Started("score", words, "000.npy", path)


def _score_panoptic(name: str, place: Place) -> Started:
    content = json.loads((place.root / "data/val.json").read_text())
    segments = [
        {"image_id": i["id"], "file_name": name, "segments_info": []} for i in content["images"]
    ]
    return _score("p/panoptic.json", json.dumps({"annotations": segments}).encode(), place)


def _compare(place: Place) -> Started:
    path = place.root / "run" / "per_image.npz"
    np.savez(path, index=np.array([Evil(place.marker)], dtype=object))
    return Started("compare", [str(place.root / "run"), str(place.root / "run")], path.name, path)


def _report_config(place: Place) -> Started:
    path = place.write("run/config.yaml", f"SEED: {_tag(place)}\n")
    return _report(place, "w.pth")._replace(names="config.yaml", file=path)


def _report_weights(place: Place) -> Started:
    path = place.write("run/evil.pkl", _pickled(place.marker))
    text = f"_BASE_: {TINY}\nDATASETS: {{SPECS: ['{place.spec}']}}\n"
    place.write("run/config.yaml", text)
    return _report(place, str(path))._replace(names="evil.pkl", file=path)


def _report(place: Place, weights: str) -> Started:
    results = {
        "config": "c",
        "weights": {"path": weights, "sha256": None, "iteration": None},
        "backend": "pycocotools",
        "datasets": {},
    }
    place.write("run/results.json", json.dumps(results))
    return Started("report", [str(place.root / "run")], "run")


def _visualized(place: Place) -> Started:
    path = place.write("evil.yaml", f"SEED: {_tag(place)}\n")
    words = ["--config-file", str(path), "--dataset", str(place.spec)]
    return Started("visualize_data", [*words, "--output", str(place.root / "out")], path.name, path)


def _converted(place: Place) -> Started:
    path = place.write("data/evil.yaml", f"root: {_tag(place)}\n")
    words = [str(path), "--to", "voc", "--out", str(place.root / "out/new")]
    return Started("convert_dataset", words, path.name, path)


def _benchmarked(place: Place) -> Started:
    path = place.write("evil.yaml", f"SEED: {_tag(place)}\n")
    words = ["cost", "--config-file", str(path), "--weights", str(path)]
    return Started("benchmark", words, path.name, path)


_P, _Y, _T = _unsafe_pickle, _unsafe_yaml, _unsafe_torch
READERS = (_P, _T)  # of weights
_ENCODED = b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x03\x00\x00\x00hextR."
_ZIPPED = b"PK\x03\x04" + b"\0" * 60
_LONG_HEADER = struct.pack("<Q", 2**62) + b"{}"
_LYING_HEADER = json.dumps({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}})
_LYING = struct.pack("<Q", len(_LYING_HEADER)) + _LYING_HEADER.encode()

CASES = [
    *(Case(f"config_{kind}", partial(_config, kind), _Y) for kind in _TAGS),
    Case("config_tagged_key", _config_key, _Y),
    Case("config_anchor", _config_anchor, _Y),
    Case("config_chain", _chain, _Y),
    Case("config_second_base", _second_base, _Y),
    Case("config_python", _python_config, _unsafe_python),
    Case("config_python_base", _python_base, _unsafe_python),
    Case("config_lazy_target", _lazy_target),
    *(
        Case(f"base_{name}", partial(_text_config, f"_BASE_: {base}\n"))
        for name, base in {
            "http": "http://host.invalid/a.yaml",
            "https": "https://host.invalid/a.yaml",
            "ftp": "ftp://host.invalid/a.yaml",
            "file": "file:///etc/hostname",
            "zoo": "detectron2://a.yaml",
            "absolute": "/etc/hostname",
            "above": "../../../../../../../../etc/hostname",
            "beside": "../data/evil.yaml",
            "home": "~/.config/a.yaml",
            "itself": "a.yaml",
            "number": "3",
            "null": '"a\\0b"',
            "device": "/dev/zero",
        }.items()
    ),
    Case("base_link", _linked_base),
    Case("base_without_number", _bases_without_number),
    Case("config_alias_bomb", partial(_bomb, "list")),
    Case("config_merge_bomb", partial(_bomb, "merge")),
    Case("config_key_twice", partial(_text_config, "SEED: 1\nSEED: 2\n")),
    *(
        Case(f"opts_{key.lower()}", partial(_opts, key, value))
        for key, value in {
            "MODEL.WEIGHTS": "__import__('os').system('touch {0}')",
            "SOLVER.MAX_ITER": "__import__('os').system('touch {0}')",
            "MODEL.HUGGING_FACE.CONFIG.a": _TAGS["apply"],
            "MODEL.SEM_SEG_HEAD.LOSSES": "[{{name: !!python/object/apply:os.system [touch {0}]}}]",
        }.items()
    ),
    *(Case(f"spec_{kind}", partial(_spec, kind), _Y) for kind in ("apply", "new", "eval")),
    Case("spec_scored", _spec_scored, _Y),
    Case("spec_converted", _converted, _Y),
    Case("spec_name", partial(_spec_field, "name", {"name": "../../evil"})),
    Case("spec_format", partial(_spec_field, "os", {"format": "os"})),
    Case("spec_split", partial(_spec_field, "..", {"splits": {"../../x": {"images": "i"}}})),
    Case("spec_groups", partial(_spec_field, "groups", {"groups": "(?<"})),
    Case("yolo_names", _yolo_names, _Y),
    *(
        Case(f"file_name_{name}", partial(_coco_name, path))
        for name, path in {
            "above": "../../../secret.png",
            "absolute": "{0}/secret.png",
            "http": "http://host.invalid/a.png",
            "file": "file://{0}/secret.png",
            "inside_then_above": "a/../../../../secret.png",
            "null": "\0",
            "null_within": "../a\0b",
        }.items()
    ),
    Case("file_link", _coco_link),
    *(Case(f"folder_link_{form}", partial(_linked_folder, form)) for form in ("label_map", "voc")),
    Case("panoptic_above", partial(_panoptic_name, "../../secret.png")),
    Case("panoptic_long", partial(_panoptic_name, "a" * 5000)),
    *(
        Case(f"weights_{name}", partial(_weights, name), _P)
        for name in ("evil.pkl", "evil.pth", "evil.pt", "evil.pyth", "evil", "evil.safetensors")
    ),
    *(
        Case(f"weights_protocol_{n}", partial(_weights, "evil.pkl", protocol=n), _P)
        for n in (0, 4, 5)
    ),
    Case("weights_eval", partial(_weights, "evil.pkl", kind=EvilEval), _P),
    Case("weights_zoo", partial(_weights, "evil.pkl", zoo=True), _P),
    Case("weights_zoo_objects", _object_array, _P),
    *(
        Case(f"weights_torch_{name}", partial(_torch_weights, name), _T)
        for name in ("evil.pth", "evil.pyth", "evil")
    ),
    Case("weights_place", partial(_weights_bytes, "a.pkl", b"\x80\x02}r\xff\xff\xff\x7f.")),
    Case("weights_encoding", partial(_weights_bytes, "a.pkl", _ENCODED)),
    Case("weights_zip", partial(_weights_bytes, "a.pth", _ZIPPED)),
    Case("weights_zip_bomb", partial(_zipped, b"\0" * 50_000_000, zipfile.ZIP_DEFLATED)),
    Case("weights_unfolding", partial(_zipped, _LONG_NAME, zipfile.ZIP_DEFLATED)),
    Case("weights_hash_bomb", partial(_zipped, hash_bomb(200), zipfile.ZIP_STORED)),
    Case("weights_hash_bomb_zoo", partial(_weights_bytes, "a.pkl", hash_bomb(200))),
    *(
        Case(f"{tool}_{name}", partial(_given, tool, name), _P)
        for tool in ("replay_batch", "export_weights")
        for name in ("evil.pkl", "evil.pth", "evil.pyth")
    ),
    Case("weights_long_header", partial(_weights_bytes, "a.safetensors", _LONG_HEADER)),
    Case("weights_lying_header", partial(_weights_bytes, "a.safetensors", _LYING)),
    Case("weights_garbage", partial(_weights_bytes, "a.safetensors", bytes(range(256)) * 9)),
    Case("weights_deep_pickle", partial(_weights_bytes, "a.pkl", b"(" * 10**6)),
    *(
        Case(f"weights_{url.partition(':')[0]}", partial(_address, url))
        for url in (
            "http://host.invalid/a.pkl",
            "https://host.invalid/a.pkl",
            "ftp://host.invalid/a.pkl",
            "detectron2://a.pkl",
            "catalog://ImageNetPretrained/a.pkl",
            "file:///etc/a.pkl",
        )
    ),
    Case("timm_weights", _timm_weights, _P),
    Case("timm_argument", _timm_argument, _P),
    Case("hub_pickle", _hub_pickle, _P),
    Case("hub_code", _hub_code, _unsafe_python),
    Case("hub_adapter", _hub_adapter),
    Case("hub_model", partial(_hub_name, "evil/model")),
    Case("hub_above", partial(_hub_name, "../../evil")),
    Case("sam_pickle", _sam_pickle, _P),
    Case("sam_long_header", partial(_sam, model__safetensors=_LONG_HEADER)),
    *(
        Case(f"tag_{name}", partial(_tagged, text), _P)
        for name, text in {
            "absolute": "{0}/evil.pkl",
            "above": "../evil.pkl",
            "pickle": "evil.pkl",
            "http": "http://host.invalid/evil.pkl",
        }.items()
    ),
    Case("tag_link", _tagged_link, _P),
    Case("tag_pth", _tagged_pth, _P),
    Case("proposals", _proposals, _P),
    Case("image_objects", _npy_image, _unsafe_numpy),
    Case("image_bomb", lambda place: _image(png_bomb(), place)),
    Case("image_postscript", partial(_image, _EPS)),
    Case("image_pickle", partial(_image, pickle.dumps([1]))),
    Case("predicted_bomb", lambda place: _predicted(png_bomb(), place)),
    Case("predicted_postscript", partial(_predicted, _EPS)),
    Case("scored_pickle", _score_pickle, _P),
    Case("scored_objects", _score_npy, _unsafe_numpy),
    Case("scored_above", partial(_score_panoptic, "../../secret.png")),
    Case("scored_long", partial(_score_panoptic, "a" * 5000)),
    Case("scored_null", partial(_score_panoptic, "a\0b")),
    Case("scored_deep", partial(_score, "p/deep.json", b"[" * 10**6)),
    Case("compared_objects", _compare, _unsafe_numpy),
    Case("report_config", _report_config, _Y),
    Case("report_weights", _report_weights, _P),
    Case("visualized", _visualized, _Y),
    Case("benchmarked", _benchmarked, _Y),
]
