"""Networks of the library timm as they are made: names, arguments, weights, and what they are fed.

The library is imported where it is used: it takes seconds, and only its backbones need it.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from project.errors import ConfigError, NetworkError, WeightsError, nearest
from project.network import fetch, hub_folder
from project.pickle_scan import check_torch_file

logger = logging.getLogger(__name__)

_HUB_FILE = "model.safetensors"
ENDINGS = (".safetensors", ".pth", ".pt", ".bin")
# What makes a network of one image size take any: today's word for it, and the one before.
_ANY_SIZE: tuple[dict[str, bool], ...] = ({"dynamic_img_size": True}, {"strict_img_size": False})
_OWN_KEYS = {
    "features_only": "it is always on",
    "pretrained": "use MODEL.TIMM.PRETRAINED",
    "in_chans": "use INPUT.CHANNELS",
    "out_indices": "use MODEL.TIMM.OUT_FEATURES",
    "drop_path_rate": "use MODEL.TIMM.DROP_PATH",
    # timm would read them its own way, which is not ours: pickles, and whatever an address names.
    "checkpoint_path": "use MODEL.TIMM.WEIGHTS",
    "pretrained_cfg": "use MODEL.TIMM.WEIGHTS",
    "pretrained_cfg_overlay": "use MODEL.TIMM.WEIGHTS",
    "cache_dir": "set HF_HOME",
}


def import_timm() -> ModuleType:
    """The library.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import timm
    except ImportError as error:
        raise ConfigError(
            f"MODEL.BACKBONE.NAME: networks of timm need that library, which is not there"
            f" ({error}); install it with: pip install -e '.[zoo]'"
        ) from error
    return timm


def check_name(name: str) -> None:
    """Passes for a network of timm, with or without the tag of its weights.

    Raises:
        ConfigError: no such network, or no such weights of it.
    """
    timm = import_timm()
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        close = nearest(architecture, timm.list_models())
        known = close if close.startswith(" Did") else " See timm.list_models()."
        raise ConfigError(f"MODEL.TIMM.NAME {name!r} is no network of timm.{known}")
    with_weights = timm.list_pretrained(f"{architecture}.*")
    if tag and name not in with_weights:
        raise ConfigError(
            f"MODEL.TIMM.NAME {name!r}: timm has no such weights of {architecture}."
            f"{nearest(name, with_weights)}"
        )


def check_pretrained(name: str) -> None:
    """Passes where timm offers weights of a network.

    Raises:
        ConfigError: it offers none.
    """
    if not import_timm().list_pretrained(f"{name.partition('.')[0]}.*"):
        raise ConfigError(
            f"MODEL.TIMM.PRETRAINED: timm has no weights of {name}; name a file of your own in"
            " MODEL.TIMM.WEIGHTS, or set PRETRAINED False"
        )


def pretrained_file(name: str) -> str:
    """The file of a network's weights that timm offers, fetched where that is allowed.

    Raises:
        ConfigError: it offers none.
        WeightsError: see `project.network`.
    """
    check_pretrained(name)
    described = import_timm().get_pretrained_cfg(name)
    try:
        if described.hf_hub_id:
            return str(hub_folder(described.hf_hub_id, [_HUB_FILE]) / _HUB_FILE)
        return str(fetch(described.url))
    except NetworkError as error:
        raise WeightsError(
            f"MODEL.TIMM.PRETRAINED: the weights of {name}: {error}; then set MODEL.TIMM.WEIGHTS to"
            " the file, or train from random weights with PRETRAINED False"
        ) from error


def input_statistics(name: str) -> tuple[list[float], list[float]]:
    """Mean and deviation of red, green and blue, 0 to 255, that a network was trained with."""
    described = import_timm().get_pretrained_cfg(name)
    return [255 * m for m in described.mean], [255 * s for s in described.std]


def merge_arguments(groups: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """MODEL.TIMM.ARGUMENTS as keyword arguments.

    Raises:
        ConfigError: not `name: value`, or an argument that has a key of its own.
    """
    merged: dict[str, Any] = {}
    for group in groups:
        if not isinstance(group, Mapping):
            raise ConfigError(
                f"MODEL.TIMM.ARGUMENTS: expected [{{name: value}}, ...], found {group!r}"
            )
        merged.update(group)
    for name in merged.keys() & _OWN_KEYS.keys():
        raise ConfigError(f"MODEL.TIMM.ARGUMENTS: {name}: {_OWN_KEYS[name]}")
    return merged


def create_network(
    name: str,
    *,
    in_channels: int = 3,
    out_indices: Sequence[int] = (),
    pretrained: bool = False,
    weights: str = "",
    arguments: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Makes a network that yields a list of features, at any image size where it can.

    Args:
        name: of timm, with or without the tag of its weights.
        in_channels: of the images; weights for others are adapted by timm.
        out_indices: of the features; empty: those that timm yields by itself.
        pretrained: fetch timm's weights.
        weights: a file of weights of this network; takes the place of `pretrained`.
        arguments: further ones of the network.

    Raises:
        ConfigError: no such network, feature or argument.
        WeightsError: weights that cannot be fetched or read, or are another network's.
    """
    timm = import_timm()
    check_name(name)
    options: dict[str, Any] = {"features_only": True, "in_chans": in_channels, **(arguments or {})}
    if out_indices:
        options["out_indices"] = tuple(out_indices)
    file = weights or (pretrained_file(name) if pretrained else "")
    state = read_weights(file) if file else {}
    if state:
        options.update(pretrained=True, pretrained_cfg_overlay={"state_dict": state})
    is_fixed = timm.get_pretrained_cfg(name.partition(".")[0]).fixed_input_size
    try:
        network = _first_that_works(name, options, _ANY_SIZE if is_fixed else ({},))
    except _LoadError as error:
        raise _other_network(file, state, str(error)) from error
    if weights:
        _check_fit(network, state, weights)
    if state:
        # timm keeps the description, and with it a second copy of the weights.
        getattr(network, "pretrained_cfg", {}).pop("state_dict", None)
    return network


class _LoadError(Exception):
    """Weights whose shapes are not the network's."""


def _first_that_works(
    name: str, options: Mapping[str, Any], variants: Sequence[Mapping[str, Any]]
) -> nn.Module:
    timm = import_timm()
    for variant in variants:
        try:
            return timm.create_model(name, **{**variant, **options})
        except TypeError as error:
            reason: Exception = error
            if not any(word in str(error) for word in variant):
                break
        except (RuntimeError, ValueError, KeyError, IndexError, AssertionError) as error:
            if "loading state_dict" in str(error):
                raise _LoadError(" ".join(str(error).split())[:200]) from error
            reason = error
            break
    raise ConfigError(
        f"MODEL.TIMM: {name} cannot be a backbone with these keys ({reason}); see ARGUMENTS and"
        " OUT_FEATURES, or choose another NAME, e.g. convnext_tiny, swin_tiny_patch4_window7_224"
    ) from reason


def read_weights(path: str) -> dict[str, Tensor]:
    """Reads tensors by name; nothing in the file can run code.

    Raises:
        WeightsError: the file is missing, of another kind, or holds no weights.
    """
    check_weights_file(path)
    try:
        if path.endswith(".safetensors"):
            from safetensors.torch import load_file

            content: Any = load_file(path)
        else:
            check_torch_file(path)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # each library has its own; all mean a file that is of no use
        first = str(error).strip().split("\n")[0]
        raise WeightsError(f"MODEL.TIMM.WEIGHTS {path}: cannot be read ({first})") from error
    for group in ("state_dict_ema", "model_ema", "state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(group), dict):
            content = content[group]
            break
    state = {str(k).removeprefix("module."): v for k, v in dict(content).items()}
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"MODEL.TIMM.WEIGHTS {path}: holds no tensors by name")
    return state


def check_weights_file(path: str) -> None:
    """Passes for a weights file that is there.

    Raises:
        WeightsError: it is not, or is of another kind.
    """
    if not path.endswith(ENDINGS):
        raise WeightsError(f"MODEL.TIMM.WEIGHTS {path}: expected a file {' or '.join(ENDINGS)}")
    if not Path(path).is_file():
        beside = [p.name for p in Path(path).parent.glob("*") if p.suffix in ENDINGS]
        raise WeightsError(
            f"MODEL.TIMM.WEIGHTS {path}: no such file.{nearest(Path(path).name, beside)}"
        )


def _check_fit(network: nn.Module, state: Mapping[str, Tensor], path: str) -> None:
    """Refuses weights of another network, which timm passes over in silence.

    Values are compared, not names: timm translates names of older files.
    """
    known = {_fingerprint(value) for value in state.values()}
    own = [p for p in network.parameters() if p.dim() > 1]
    found = sum(_fingerprint(p.detach()) in known for p in own)
    if 2 * found < len(own):
        raise _other_network(path, state, f"only {found} of {len(own)} weights are in the file")
    if found < len(own):
        logger.warning("%s: %d of %d weights start anew", path, len(own) - found, len(own))


def _other_network(path: str, state: Mapping[str, Tensor], found: str) -> WeightsError:
    return WeightsError(
        f"MODEL.TIMM.WEIGHTS {path}: {found}; it was made for another network (it has e.g."
        f" {sorted(state)[:3]}), or MODEL.TIMM.ARGUMENTS change this one"
    )


def _fingerprint(value: Tensor) -> tuple[int, float]:
    return value.numel(), float(value.double().sum())
