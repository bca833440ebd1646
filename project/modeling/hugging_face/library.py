"""The models of the library transformers: which there are, and their configs.

The library is imported when a model is built, since that takes seconds.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog

from project.data.register import dataset_info
from project.errors import ConfigError, UserError, nearest
from project.modeling.hugging_face.drawing import draw_as_published
from project.modeling.hugging_face.pretrained import KEY, import_library, load_network

logger = logging.getLogger(__name__)

TASKS = ("semantic", "instance", "panoptic")
# Queries that each have a class and a mask; all others of the library label pixels alone.
QUERY_MODELS = ("mask2former", "maskformer", "oneformer", "eomt")
# Models whose position embeddings, or grids, are made for one size: that of their `image_size`.
_FIXED_SIZE = ("eomt", "beit", "data2vec-vision", "dpt")
# Class of a backbone -> its layer after the last feature, whose result the segmenters leave aside.
_UNUSED_LAYERS = {
    "SwinBackbone": "swin.layernorm",
    "MaskFormerSwinBackbone": "model.layernorm",
    "MobileNetV2Model": "conv_1x1",
}


def check_name(name: str, task: str) -> None:
    """Checks that the library has such a model, and that it does the task.

    Raises:
        ConfigError: it has not, or does not.
    """
    known = [*QUERY_MODELS, *_semantic_models()]
    if name not in known:
        raise ConfigError(f"{KEY}.NAME {name!r} is not known.{nearest(name, known)}")
    if name not in QUERY_MODELS and task != "semantic":
        raise ConfigError(
            f"{KEY}.TASK is {task}, but {name} labels pixels and finds no objects; take one of"
            f" {', '.join(QUERY_MODELS)}, or TASK semantic"
        )


def _semantic_models() -> list[str]:
    import_library()
    from transformers.models.auto import modeling_auto

    return list(modeling_auto.MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES)


def build_config(name: str, overrides: Mapping[str, Any]) -> Any:
    """The library's config of a model.

    Args:
        name: of the model.
        overrides: values that are not the library's defaults, with groups such as
            `backbone_config`, which names its own `model_type`.

    Raises:
        ConfigError: a key that this model does not have, or a value that it does not take.
    """
    transformers = import_library()
    values = as_dict(overrides)
    for where, key, group in _groups(values):
        kind = group.get("model_type", name if not key else "")
        _check_keys(where, kind, group)
    try:
        return transformers.AutoConfig.for_model(name, **values)
    except Exception as error:  # the library's validation has classes of its own
        reason = " ".join(str(error).split())
        raise ConfigError(f"{KEY}.CONFIG: transformers takes no such {name}: {reason}") from error


def as_dict(node: Mapping[str, Any]) -> dict[str, Any]:
    """A config node as plain nested dicts."""
    return {k: as_dict(v) if isinstance(v, Mapping) else v for k, v in node.items()}


def _groups(values: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """The overrides themselves, and the configs in them of which the model consists."""
    inner = [(f"{KEY}.CONFIG.{k}", k, v) for k, v in values.items() if k.endswith("_config") and v]
    return [(f"{KEY}.CONFIG", "", values), *inner]


def _check_keys(where: str, kind: str, group: dict[str, Any]) -> None:
    """The library would take a misspelt key in silence."""
    transformers = import_library()
    try:
        known = transformers.AutoConfig.for_model(kind).to_dict()
    except ValueError as error:
        raise ConfigError(
            f"{where}.model_type: transformers {transformers.__version__} has no model {kind!r}"
        ) from error
    for key in group:
        if key not in known:
            raise ConfigError(f"{where}: {kind} has no key '{key}'.{nearest(key, known)}")


def build_network(config: Any, weights: str, labels: Sequence[str], *, channels: int = 3) -> Any:
    """A model of the library, with random or pretrained weights.

    Args:
        config: see `build_config`.
        weights: see `pretrained.read_folder`; "" for random ones. What does not fit, such as the
            weights of other classes, starts anew.
        labels: names of the classes, in the order of their numbers.
        channels: of the images.

    Raises:
        WeightsError: see `pretrained.load_network`.
    """
    transformers = import_library()
    is_query = config.model_type in QUERY_MODELS
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: i for i, label in config.id2label.items()}
    parts: list[Any] = [config, getattr(config, "backbone_config", None)]
    for part in parts:
        if hasattr(part, "num_channels"):
            part.num_channels = channels
    if hasattr(config, "use_auxiliary_head"):
        config.use_auxiliary_head = False  # its loss is computed within the library alone
    kind = "UniversalSegmentation" if is_query else "SemanticSegmentation"
    auto = getattr(transformers, f"AutoModelFor{kind}")
    try:
        network = load_network(auto, config, weights) if weights else auto.from_config(config)
    except UserError:
        raise
    except (ValueError, AssertionError, LookupError, TypeError) as error:
        raise ConfigError(
            f"{KEY}.CONFIG: transformers cannot build this {config.model_type}: {error}"
        ) from error
    if not weights:
        draw_as_published(network)
    _take_out_unused(network)
    return network


def _take_out_unused(network: Any) -> None:
    """Removes layers of backbones that no loss reaches.

    Training in several processes waits for the gradient of each parameter.
    """
    from torch import nn

    for module in network.modules():
        name = _UNUSED_LAYERS.get(type(module).__name__)
        if name is not None:
            parent, _, attribute = name.rpartition(".")
            setattr(module.get_submodule(parent), attribute, nn.Identity())


def class_labels(cfg: CfgNode) -> list[str]:
    """Names of the classes that a model of this config tells apart, in the order of its numbers.

    They are the data set's where one is registered, numbered ones otherwise.
    """
    is_instance = cfg.MODEL.HUGGING_FACE.TASK == "instance"
    part = "ROI_HEADS" if is_instance else "SEM_SEG_HEAD"
    count = cfg.MODEL[part].NUM_CLASSES
    for name in (*cfg.DATASETS.TEST, *cfg.DATASETS.TRAIN):
        if name in DatasetCatalog:
            categories = dataset_info(name).categories
            labels = categories.things if is_instance else categories.semantic
            if len(labels) == count:
                return list(labels)
    return [f"class {i}" for i in range(count)]


def fixed_size(config: Any) -> int | None:
    """The side of the square images that a model is made for; None where it takes any."""
    return int(config.image_size) if config.model_type in _FIXED_SIZE else None


def plain_config(config: Any) -> CfgNode:
    """What of a library's config `build_config` needs to make the same anew."""
    keys = type(config)().to_dict()
    values = {k: v for k, v in config.to_dict().items() if k in keys and k not in _NOT_KEPT}
    for key, value in values.items():
        if isinstance(value, dict):
            values[key] = {k: v for k, v in value.items() if k not in _NOT_KEPT - {"model_type"}}
    return CfgNode(values)


def is_plain(name: str, values: Mapping[str, Any]) -> bool:
    """Whether a config is all of `plain_config`, as a run writes it, so that no file is needed."""
    if name not in [*QUERY_MODELS, *_semantic_models()]:
        return False
    known = import_library().AutoConfig.for_model(name).to_dict()
    return set(known) - _NOT_KEPT <= set(values)


# Labels follow from the data; the rest is about files and the library's version.
_NOT_KEPT = {
    *("id2label", "label2id", "architectures", "transformers_version", "_name_or_path"),
    *("model_type", "dtype", "num_labels", "torch_dtype"),
}
