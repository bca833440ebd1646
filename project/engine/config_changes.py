"""What a run that goes on would do otherwise than it began."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode

from project.engine.checkpoint_files import last_whole
from project.engine.describe import describe
from project.engine.description import read_description
from project.errors import ConfigError
from project.safe_yaml import parse_yaml, read_yaml

# Groups and keys that change nothing of what is learnt: where, how fast, how often saved or scored.
_FREE = (
    "CUDNN_BENCHMARK",
    "DATALOADER.NUM_WORKERS",
    # The names of the training data count, wherever it lies.
    "DATASETS.SPECS",
    "MODEL.COMPILE",
    "MODEL.DEVICE",
    "MODEL.GRADIENT_CHECKPOINTING",
    # Where the run began; it goes on from its own.
    "MODEL.WEIGHTS",
    "OUTPUT_DIR",
    "PREFLIGHT",
    "SOLVER.CHECKPOINTS_KEPT",
    "SOLVER.CHECKPOINT_PERIOD",
    "SOLVER.EARLY_STOPPING",
    "SOLVER.LOG_PERIOD",
    "TEST",
    "VIS_PERIOD",
)
# Nodes whose keys are no others' than a config's own.
_OPEN = ("MODEL.HUGGING_FACE.CONFIG.",)
_OF_SCORING = "TEST"  # how the names of keys end that training does not read
_SHOWN = 20


def check_unchanged(cfg: CfgNode, output_dir: str, *, accept: bool) -> list[str]:
    """Compares a config and its training data with those that its run began with.

    Args:
        cfg: as a run writes it; its data sets are registered.
        output_dir: of the run. Where it holds no config.yaml, or the checkpoint says nothing of the
            data, there is nothing to compare.
        accept: go on with what has changed.

    Returns:
        The changes that are accepted, each as "KEY: old -> new".

    Raises:
        ConfigError: what has changed, where that is not accepted.
        WeightsError: there is no checkpoint that is not damaged.
    """
    config_file = Path(output_dir) / "config.yaml"
    found = []
    if config_file.is_file():
        found += changes(read_yaml(config_file), parse_yaml(cfg.dump()))
    description = read_description(str(last_whole(Path(output_dir))))
    if description:
        found += data_changes(description["data"], describe(cfg, cfg.DATASETS.TRAIN)["data"])
    if found and not accept:
        listed = "; ".join(found[:_SHOWN])
        more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise ConfigError(
            f"--resume: {config_file} is the config that this run began with, and what is given now"
            f" differs in what is learnt: {listed}{more}. Give the old values, --accept-changes to"
            " go on with the new ones, or another OUTPUT_DIR to start a run of its own"
        )
    return found


def changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """The keys that differ and matter, as "KEY: old -> new".

    Keys of one alone are those of another version, which nobody has changed, but where a config
    may have any keys.
    """
    before, after = dict(_flat(old)), dict(_flat(new))
    shared = before.keys() & after.keys()
    open_keys = {key for key in before.keys() | after.keys() if key.startswith(_OPEN)}
    found = []
    for key in sorted(shared | open_keys):
        values = [repr(side[key]) if key in side else "not given" for side in (before, after)]
        if values[0] != values[1] and not _is_free(key):
            found.append(f"{key}: {values[0]} -> {values[1]}")
    return found


def data_changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """The data sets of both whose content differs."""
    return [
        f"content of {name}: {old[name]['images']} images -> {new[name]['images']} images"
        for name in sorted(old.keys() & new.keys())
        if old[name]["sha256"] != new[name]["sha256"]
    ]


def _is_free(key: str) -> bool:
    return key.endswith(_OF_SCORING) or any(
        key == name or key.startswith(f"{name}.") for name in _FREE
    )


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
