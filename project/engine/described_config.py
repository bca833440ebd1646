"""The config of a run: of a file, or where none is given, of the weights themselves."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode

from project.config import config_of, load_config, merge_overrides
from project.engine.checkpoint import check_weights_exist
from project.engine.checkpoint_files import damage
from project.engine.description import Description, read_description
from project.errors import ConfigError, WeightsError
from project.safe_yaml import parse_yaml

# What is read, written and run on is for the user to say: a file from elsewhere chooses no path
# here, and that this machine has no GPU is no mistake.
_NOT_TAKEN = (
    *("DATASETS", "OUTPUT_DIR", "MODEL.DEVICE", "MODEL.WEIGHTS"),
    *("MODEL.TIMM.WEIGHTS", "MODEL.HUGGING_FACE.WEIGHTS"),
)
_DATA = {"DATASETS.SPECS", "DATASETS.TRAIN", "DATASETS.TEST"}
# Counted anew where data is named: then classes are compared by their names.
_COUNTED = ("MODEL.ROI_HEADS.NUM_CLASSES", "MODEL.SEM_SEG_HEAD.NUM_CLASSES")


def choose_config(config_file: str | Path | None, overrides: Sequence[str]) -> CfgNode:
    """The config of a file, or else the one that the weights were trained with.

    The latter names no data, and its OUTPUT_DIR is the path of the weights without its ending.

    Args:
        config_file: a YAML file; where it is None, MODEL.WEIGHTS is among `overrides`.
        overrides: KEY VALUE KEY VALUE ...

    Raises:
        ConfigError: a wrong key or value, or neither a file nor weights are named.
        WeightsError: the weights do not describe themselves, or by keys that there are no longer.
    """
    if config_file is not None:
        return load_config(config_file, list(overrides))
    path = _named_weights(overrides)
    not_taken = [*_NOT_TAKEN, *(_COUNTED if _DATA & {*overrides[0::2]} else ())]
    cfg = _described_config(path, not_taken)
    cfg.OUTPUT_DIR = str(Path(path).with_suffix(""))
    merge_overrides(cfg, list(overrides))
    return cfg


def require_description(path: str) -> Description:
    """What a weights file says of itself.

    Raises:
        WeightsError: it is not there, cannot be read, or says nothing.
    """
    check_weights_exist(path)
    if "://" in path:
        raise WeightsError(
            f"{path} is an address, of which no config is read; download the file and name that,"
            " or give the config with --config-file"
        )
    description = read_description(path)
    if description is None:
        fault = damage(Path(path))
        raise WeightsError(
            f"{path} does not say which config it was trained with:"
            f" {f'it {fault}' if fault else 'it was made elsewhere, or by an earlier version'};"
            " give that config with --config-file (tools/export_weights.py writes it into a copy)"
        )
    return description


def _named_weights(overrides: Sequence[str]) -> str:
    named = dict(zip(overrides[0::2], overrides[1::2])).get("MODEL.WEIGHTS")
    if not named:
        raise ConfigError(
            "there is no config: give one with --config-file, or after all flags MODEL.WEIGHTS and"
            " a file of weights that describe themselves"
        )
    return named


def written_config(text: str, not_taken: Collection[str] = _NOT_TAKEN) -> CfgNode:
    """A config that lies in a file of weights or of a batch.

    Args:
        text: YAML.
        not_taken: keys and groups that are left as they are by default.

    Raises:
        ConfigError: it is no config of this version.
    """
    values = parse_yaml(text)
    if not isinstance(values, dict):
        raise ConfigError(f"expected 'KEY: value' lines, found a {type(values).__name__}")
    return config_of(_without(values, not_taken), "it")


def _described_config(path: str, not_taken: Collection[str]) -> CfgNode:
    description = require_description(path)
    try:
        return written_config(description["config"], not_taken)
    except ConfigError as error:
        raise WeightsError(
            f"{path}: the config in it cannot be used: {error} It was written by version"
            f" {description['versions'].get('project')} of this project; give a config of this"
            " version with --config-file, or use that version"
        ) from error


def _without(values: dict[str, Any], keys: Collection[str], prefix: str = "") -> dict[str, Any]:
    """A copy of a tree without some of its keys, as `MODEL.DEVICE`."""
    return {
        key: _without(value, keys, f"{prefix}{key}.") if isinstance(value, dict) else value
        for key, value in values.items()
        if f"{prefix}{key}" not in keys
    }
