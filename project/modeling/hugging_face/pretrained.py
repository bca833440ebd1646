"""Weights of the library transformers: a local folder, or the hub's files in a folder of the cache.

No code comes with weights, none of them is a pickle, and the library itself fetches nothing.
"""

import logging
from pathlib import Path
from typing import Any

from project.errors import ConfigError, NetworkError, WeightsError
from project.network import hub_folder

logger = logging.getLogger(__name__)

KEY = "MODEL.HUGGING_FACE"
_STATISTICS_FILE = "preprocessor_config.json"
# With it the library would take another model's weights, from wherever it says.
_ADAPTER_FILE = "adapter_config.json"


def import_library() -> Any:
    """The package transformers.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise ConfigError(
            "MODEL.META_ARCHITECTURE HuggingFaceSegmenter needs the package transformers, which is"
            " not installed: pip install -e '.[zoo]'"
        ) from error
    return transformers


def local_folder(weights: str, *patterns: str) -> Path:
    """Where the files of weights lie.

    Args:
        weights: a local folder, or a name on the hub.
        patterns: of the files that are needed; see `project.network.hub_folder`.

    Raises:
        WeightsError: they are not here and cannot or may not be fetched, or are an adapter's.
    """
    try:
        folder = hub_folder(weights, *([patterns] if patterns else []))
    except NetworkError as error:
        raise WeightsError(f"{KEY}.WEIGHTS {error}; or leave the key empty") from error
    if (folder / _ADAPTER_FILE).exists():
        raise WeightsError(
            f"{KEY}.WEIGHTS {folder / _ADAPTER_FILE}: adapters are not read, since they name the"
            " weights of another place; merge it into its model, and save that"
        )
    return folder


def read_folder(weights: str) -> tuple[Any, dict[str, Any]]:
    """The config that goes with pretrained weights, and what they expect of pixels.

    Args:
        weights: a local folder, or a name on the hub.

    Returns:
        The library's config, and the content of preprocessor_config.json; empty without one.

    Raises:
        WeightsError: see `local_folder`; or the config cannot be read.
    """
    transformers = import_library()
    folder = local_folder(weights, "*.json", "*.txt")
    local = {"local_files_only": True}
    try:
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False, **local)
    except Exception as error:  # the library's validation has classes of its own
        raise _unreadable(weights, error) from error
    try:
        pixels, _ = transformers.ImageProcessingMixin.get_image_processor_dict(folder, **local)
    except OSError:
        logger.info("%s has no %s; MODEL.PIXEL_MEAN and PIXEL_STD count", weights, _STATISTICS_FILE)
        pixels = {}
    return config, pixels


def load_network(auto: Any, config: Any, weights: str) -> Any:
    """A model with pretrained weights; what does not fit starts anew.

    Args:
        auto: the library's class for models of its kind.
        config: of the library.
        weights: see `local_folder`.

    Raises:
        WeightsError: see `local_folder`; or they cannot be read, are pickles, or none fits.
    """
    import torch
    from safetensors import SafetensorError

    folder = local_folder(weights)
    try:
        network, report = auto.from_pretrained(
            folder,
            config=config,
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            dtype=torch.float32,
            local_files_only=True,
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise _unreadable(weights, error) from error
    anew = {*report["missing_keys"], *(entry[0] for entry in report["mismatched_keys"])}
    own = {name for name, _ in network.named_parameters()}
    if own <= anew:
        raise WeightsError(
            f"{KEY}.WEIGHTS {weights}: none of its weights fits a {config.model_type}; see"
            f" `model_type` in its config.json, and set {KEY}.NAME to it"
        )
    logger.info("%s: %d of %d weights start anew", weights, len(own & anew), len(own))
    return network


def _unreadable(weights: str, error: Exception) -> WeightsError:
    first = (str(error).strip() or type(error).__name__).split("\n")[0]
    return WeightsError(
        f"{KEY}.WEIGHTS {weights}: no folder with config.json and model.safetensors that can be"
        f" read ({first}); download it anew, or leave the key empty for random weights"
    )
