"""Every config key that this project adds, and the safe way to read config files."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode, get_cfg

from project.errors import ConfigError, nearest
from project.model_keys import add_roi_keys, add_semantic_head_keys, add_timm_keys
from project.safe_yaml import parse_yaml, read_yaml

BASE_KEY = "_BASE_"
_WHOLE = re.compile(r"\s*[+-]?\d+\s*$")  # as a command line has it


def add_project_config(cfg: CfgNode) -> None:
    """Adds this project's keys and defaults to a Detectron2 config, in place."""
    _add_data_keys(cfg)
    _add_model_keys(cfg)
    add_semantic_head_keys(cfg)
    add_timm_keys(cfg)
    add_roi_keys(cfg)
    _add_hugging_face_keys(cfg)
    _add_solver_keys(cfg)
    _add_evaluation_keys(cfg)


def _add_data_keys(cfg: CfgNode) -> None:
    # Specification files (datasets/*.yaml) to register; `--dataset D.yaml` sets this.
    cfg.DATASETS.SPECS = ()
    # The check of the data at the start of a training: "full" decodes every file, "quick" a few of
    # each split, "auto" all where that takes about five seconds at most.
    cfg.DATASETS.CHECK = "auto"
    # Channels of the images: 1 (grey), 3 (in the order of FORMAT) or those of your TIFF and NumPy
    # files, in the files' order. MODEL.PIXEL_MEAN and PIXEL_STD have one number for each.
    cfg.INPUT.CHANNELS = 3
    # 8: of 16-bit images the upper eight bits are fed. 16: all of them, 65535 as 255.0.
    cfg.INPUT.BITS = 8
    # How object masks are held: "polygon", "bitmask", or "auto": polygon where all are polygons.
    cfg.INPUT.MASK_FORMAT = "auto"
    # Largest change of brightness, contrast and saturation in training; 0.2 draws 0.8 to 1.2.
    cfg.INPUT.COLOR_JITTER = 0.0
    # Large-scale jitter (Ghiasi et al. 2021): resize by a random factor of SIZE, then crop or pad
    # to SIZE x SIZE. Takes the place of MIN_SIZE_TRAIN and CROP.
    cfg.INPUT.LSJ = CfgNode({"ENABLED": False, "SIZE": 1024, "MIN_SCALE": 0.1, "MAX_SCALE": 2.0})
    # Random changes in training, in their order: [{name: flip, prob: 0.5}, {name: blur}, ...], see
    # docs/augmentations.md. Takes the place of all other keys of INPUT that change training
    # images, wherever they are set; the log names those.
    cfg.INPUT.AUGMENTATIONS = []
    # Images without objects for each image with objects in training, a random choice (by SEED) of
    # those there are; 0: none. Negative: FILTER_EMPTY_ANNOTATIONS says whether all or none.
    cfg.DATALOADER.EMPTY_RATIO = -1.0


def _add_model_keys(cfg: CfgNode) -> None:
    # "auto": the GPU where there is one, otherwise the CPU.
    cfg.MODEL.DEVICE = "auto"
    # Memory layout NHWC: faster convolutions on CPUs with bf16 and on tensor cores.
    cfg.MODEL.CHANNELS_LAST = False
    # How an image is normalised before the backbone: "fixed" by PIXEL_MEAN and PIXEL_STD, or
    # "image" by its own mean and deviation of each channel, against changes of light and colour.
    cfg.MODEL.PIXEL_NORMALIZATION = "fixed"
    # 0: counted from the data set. Another number must agree with the data set.
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = 0
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 0

    # Parts of META_ARCHITECTURE "MaskUNet"; with both, panoptic segments are merged from them.
    cfg.MODEL.MASK_UNET = CfgNode({"INSTANCES": True, "SEMANTICS": True})
    # Instances with masks; False: with boxes alone, and then nothing is merged.
    cfg.MODEL.MASK_ON = True
    # Stuff of fewer pixels becomes void in the merge. 4096 suits images of COCO's size.
    cfg.MODEL.PANOPTIC_FPN.COMBINE.STUFF_AREA_LIMIT = 0

    # The U-Net encoder (BACKBONE.NAME "build_unet_backbone" or "build_unet_fpn_backbone").
    cfg.MODEL.UNET = CfgNode()
    # Channels of stage1, stage2, ...; each stage halves the size of the one before.
    cfg.MODEL.UNET.WIDTHS = [64, 128, 256, 512, 1024]
    # Stride of stage1: 1 as published (Ronneberger et al. 2015), 2 for speed on large images.
    cfg.MODEL.UNET.STEM_STRIDE = 1
    # "double_conv" as published, or "residual" (He et al. 2016: basic blocks on a stem of one
    # convolution).
    cfg.MODEL.UNET.BLOCK = "double_conv"
    # Blocks of each stage; empty: one each, as published.
    cfg.MODEL.UNET.NUM_BLOCKS = []
    # Between stages: "max_pool" or "strided_conv".
    cfg.MODEL.UNET.DOWNSAMPLE = "max_pool"
    # Normalisation: any name that Detectron2's get_norm takes; "" for none.
    cfg.MODEL.UNET.NORM = "BN"
    # Stages that feed the FPN of "build_unet_fpn_backbone"; its channels are FPN.OUT_CHANNELS.
    cfg.MODEL.UNET.FPN_IN_FEATURES = ["stage3", "stage4", "stage5"]

    # The U-Net head (SEM_SEG_HEAD.NAME "UNetHead") on SEM_SEG_HEAD.IN_FEATURES, in any order.
    # Decoder channels a level, finest first, none for the coarsest feature, where the decoder
    # starts; empty: those of the features.
    cfg.MODEL.SEM_SEG_HEAD.WIDTHS = []
    # How an encoder feature joins the decoder: "concat", "add" or "none".
    cfg.MODEL.SEM_SEG_HEAD.SKIP = "concat"
    # From one level to the next: "transposed", "bilinear", "bilinear_conv" or "pixel_shuffle".
    cfg.MODEL.SEM_SEG_HEAD.UPSAMPLE = "transposed"
    # From the finest feature to the image's size: "bilinear" or "pixel_shuffle".
    cfg.MODEL.SEM_SEG_HEAD.FINAL_UPSAMPLE = "bilinear"
    # Convolutions a decoder level.
    cfg.MODEL.SEM_SEG_HEAD.NUM_CONVS = 2
    # Losses that are summed, each times its weight (1 unless it says so): cross_entropy, focal,
    # ohem, dice, tversky, lovasz and boundary, e.g. [{name: focal, gamma: 2.0}, {name: dice,
    # weight: 0.5}]; see docs/training.md. LOSS_WEIGHT scales the sum.
    cfg.MODEL.SEM_SEG_HEAD.LOSSES = [{"name": "cross_entropy"}, {"name": "dice"}]
    # Class weights of cross_entropy, focal and ohem: "none", "inverse_frequency" (counted from the
    # training data once, then kept in CLASS_WEIGHTS) or "given" (CLASS_WEIGHTS in the order of the
    # classes).
    cfg.MODEL.SEM_SEG_HEAD.CLASS_WEIGHTING = "none"
    cfg.MODEL.SEM_SEG_HEAD.CLASS_WEIGHTS = []


def _add_hugging_face_keys(cfg: CfgNode) -> None:
    # A model of the library transformers (META_ARCHITECTURE "HuggingFaceSegmenter"), see
    # docs/transformers.md.
    cfg.MODEL.HUGGING_FACE = node = CfgNode()
    # Which: "mask2former", "maskformer", "oneformer", "eomt", or for TASK semantic also
    # "segformer", "upernet", "dpt", "beit" and others. WEIGHTS, if given, decides in its place.
    node.NAME = "mask2former"
    # "semantic", "instance" or "panoptic". Models that label pixels alone do the first.
    node.TASK = "semantic"
    # Pretrained weights to start from: a local folder with config.json and model.safetensors, or
    # a name on the hub; "": random ones. Where PIXEL_MEAN and PIXEL_STD are not written, they
    # follow from its preprocessor_config.json. Weights of our own go into MODEL.WEIGHTS.
    node.WEIGHTS = ""
    # What differs from the library's defaults, or from the config of WEIGHTS: {num_queries: 50,
    # backbone_config: {model_type: swin, depths: [2, 2, 2, 2], ...}}.
    node.CONFIG = CfgNode(new_allowed=True)
    # Panoptic: queries whose class probability is not above it are left out, and those that win
    # less than this share of their mask.
    node.OBJECT_THRESHOLD = 0.8
    node.OVERLAP_THRESHOLD = 0.8


def _add_solver_keys(cfg: CfgNode) -> None:
    # "SGD" or "AdamW". MOMENTUM and NESTEROV are SGD's.
    cfg.SOLVER.OPTIMIZER = "SGD"
    # SOLVER.LR_SCHEDULER_NAME also takes "WarmupPolyLR": (1 - progress) ** POLY_POWER, down to
    # BASE_LR_END.
    cfg.SOLVER.POLY_POWER = 0.9
    # "WarmupCosineLR" and "WarmupPolyLR" hold BASE_LR until this share of MAX_ITER.
    cfg.SOLVER.DECAY_START = 0.0
    # Number format of mixed precision (SOLVER.AMP.ENABLED): "bf16", "fp16" (GPU only) or
    # "auto": fp16 on a GPU, bf16 on a CPU that is quick with it, none on any other CPU.
    cfg.SOLVER.AMP.DTYPE = "auto"
    # Averaged weights: scored and saved in place of the last ones. DECAY 0 is the plain mean since
    # START (share of MAX_ITER); otherwise average = DECAY * average + (1 - DECAY) * weights.
    cfg.SOLVER.EMA = CfgNode({"ENABLED": False, "DECAY": 0.999, "START": 0.0})
    # Iterations between two lines of progress.
    cfg.SOLVER.LOG_PERIOD = 20


def _add_evaluation_keys(cfg: CfgNode) -> None:
    # Who computes COCO's numbers: "faster-coco-eval" or "pycocotools"; they agree to 1e-9.
    cfg.TEST.COCO_BACKEND = "faster-coco-eval"
    # Detections an image that are scored; COCO's own numbers are defined with 100.
    cfg.TEST.COCO_MAX_DETECTIONS = 100
    # The score whose best checkpoint is kept as model_best.pth, as "task/metric" in results.json,
    # e.g. "segm/AP". "auto": the first there of panoptic_seg/PQ, segm/AP, sem_seg/mIoU, bbox/AP.
    cfg.TEST.BEST_METRIC = "auto"
    # Scores the masks' boundaries too (Boundary IoU, Cheng et al. 2021), as task "boundary".
    cfg.TEST.BOUNDARY = False
    # Scores instances pasted into a label map as "sem_seg_from_instances", and the regions of a
    # label map as instances, "segm_from_sem_seg": Mask R-CNN and U-Net in one table.
    cfg.TEST.CROSS_TASKS = False
    # Confusion matrix of instances: a pair fits from this IoU on, a detection counts from this
    # score on. From that score on instances are also pasted into label maps.
    cfg.TEST.CONFUSION_IOU = 0.5
    cfg.TEST.CONFIDENCE = 0.5
    # The class of label maps whose connected regions are segments, e.g. the inside of cells that
    # membranes part: adds the Rand scores VRand and ARE to "sem_seg". "": none.
    cfg.TEST.RAND_FOREGROUND = ""
    # Resamples of the images for the 95 % intervals of the final scores; 0: no intervals.
    cfg.TEST.BOOTSTRAP = 1000
    # Images in the report for each of worst, median and best; 0: no pictures.
    cfg.TEST.REPORT_IMAGES = 3


def get_project_config() -> CfgNode:
    """A fresh config with Detectron2's and this project's keys."""
    cfg = get_cfg()
    add_project_config(cfg)
    return cfg


def load_config(path: str | Path | None = None, overrides: list[str] | None = None) -> CfgNode:
    """Reads a config file, with the files it is based on, and applies KEY VALUE pairs.

    No YAML tag runs code and nothing is fetched from a network.

    Raises:
        ConfigError: unreadable or unsafe YAML, duplicate or unknown keys, a value of another type,
            a circle of `_BASE_`.
    """
    cfg = get_project_config()
    if path:
        merge_config_file(cfg, path)
    if overrides:
        _merge_overrides(cfg, overrides)
    return cfg


def merge_config_file(cfg: CfgNode, path: str | Path) -> None:
    """Merges a config file and its `_BASE_` files into `cfg`, in place; see `load_config`."""
    values = _read_with_base(Path(path), seen=())
    _check_keys(values, cfg, str(path))
    try:
        cfg.merge_from_other_cfg(CfgNode(values))
    except (ValueError, KeyError, AssertionError) as error:
        raise ConfigError(f"{path}: {_text(error)}") from error


def _read_with_base(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    resolved = path.resolve()
    if resolved in seen:
        circle = " -> ".join(str(p) for p in (*seen, resolved))
        raise ConfigError(f"{path}: {BASE_KEY} goes in a circle: {circle}")
    values = read_yaml(path)
    bases = values.pop(BASE_KEY, [])
    merged: dict[str, Any] = {}
    for base in bases if isinstance(bases, list) else [bases]:
        if not isinstance(base, str) or "://" in base:
            raise ConfigError(f"{path}: {BASE_KEY} must name a local file, found {base!r}")
        base_path = path.parent / Path(base).expanduser()
        _merge_dicts(_read_with_base(base_path, (*seen, resolved)), merged)
    _merge_dicts(values, merged)
    return merged


def _merge_dicts(source: dict[str, Any], target: dict[str, Any]) -> None:
    for key, value in source.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            _merge_dicts(value, target[key])
        else:
            target[key] = value


def _check_keys(values: dict[str, Any], cfg: CfgNode, where: str, prefix: str = "") -> None:
    """Refuses unknown keys, and gives values in `values` the type that is meant."""
    for key, value in values.items():
        full = f"{prefix}{key}"
        if key not in cfg and cfg.is_new_allowed():
            continue  # its reader knows its keys
        if key not in cfg:
            raise ConfigError(f"{where}: there is no config key {full}.{_nearest_key(full, cfg)}")
        known = cfg[key]
        if isinstance(known, CfgNode) != isinstance(value, dict):
            expected = "a group of keys" if isinstance(known, CfgNode) else "one value"
            raise ConfigError(f"{where}: {full} is {expected}, found {value!r}")
        if isinstance(known, CfgNode):
            _check_keys(value, known, where, f"{full}.")
        else:
            values[key] = _as_meant(value, known)


def _as_meant(value: Any, known: Any) -> Any:
    """A single name for a list stands for a list of one, and a whole number for a float."""
    if isinstance(known, (list, tuple)):
        if isinstance(value, str) and value.lstrip().startswith("[") and "{" in value:
            return parse_yaml(value)  # a list of groups, from a command line
        is_name = isinstance(value, str) and value.strip()[:1] not in ("(", "[", "")
        return [value] if is_name else value
    if isinstance(known, float) and not isinstance(value, bool):
        is_whole = isinstance(value, int) or (isinstance(value, str) and _WHOLE.match(value))
        return float(value) if is_whole else value
    return value


def _nearest_key(full: str, cfg: CfgNode) -> str:
    """Nearest keys of the same group, or, where none is near, of the whole config."""
    *groups, name = str(full).split(".")
    here = nearest(name, cfg)
    if here.startswith(" Did"):
        prefix = "".join(f"{g}." for g in groups)
        close = here.removeprefix(" Did you mean ").removesuffix("?").split(", ")
        return f" Did you mean {', '.join(prefix + c for c in close)}?"
    paths = list(_key_paths(get_project_config()))
    same_name = [p for p in paths if p.rsplit(".", 1)[-1] == name]
    if same_name:
        return f" Did you mean {', '.join(same_name[:3])}?"
    return nearest(full, paths) if nearest(full, paths).startswith(" Did") else here


def _key_paths(cfg: CfgNode, prefix: str = "") -> Iterator[str]:
    for key, value in cfg.items():
        yield f"{prefix}{key}"
        if isinstance(value, CfgNode):
            yield from _key_paths(value, f"{prefix}{key}.")


def _merge_overrides(cfg: CfgNode, overrides: list[str]) -> None:
    """Applies `KEY VALUE KEY VALUE ...` from a command line."""
    for word in overrides[0::2]:
        if word.startswith("-"):
            raise ConfigError(f"command line: {word} is no config key; flags stand before all keys")
        if "=" in word:
            raise ConfigError(f"command line: {word}: write KEY VALUE, with a space between them")
    if len(overrides) % 2:
        raise ConfigError(f"command line: the key {overrides[-1]} has no value")
    for full, value in zip(overrides[0::2], overrides[1::2]):
        node: Any = cfg
        *groups, name = full.split(".")
        is_open = False  # takes keys that are not there; its reader knows them
        for group in groups:
            node = node.get(group) if isinstance(node, CfgNode) else None
            is_open |= isinstance(node, CfgNode) and node.is_new_allowed()
        if is_open and isinstance(node, CfgNode) and name not in node:
            read = parse_yaml(value)
            node[name] = CfgNode(read) if isinstance(read, dict) else read
            continue
        if not isinstance(node, CfgNode) or name not in node:
            within = node if isinstance(node, CfgNode) else cfg
            raise ConfigError(
                f"command line: there is no config key {full}.{_nearest_key(full, within)}"
            )
        try:
            cfg.merge_from_list([full, _as_meant(value, node[name])])
        except (ValueError, AssertionError) as error:
            raise ConfigError(f"command line: {full}: {_text(error)}") from error


def _text(error: Exception) -> str:
    return " ".join(str(error.args[0] if error.args else error).split())
