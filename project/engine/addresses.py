"""Weights that are named by an address: Detectron2 reaches the network through ours alone.

Its own way fetches by http too, keeps no digest, calls files of two hosts by one name and writes
outside of its cache where an address holds "..".
"""

from typing import Any, ClassVar
from urllib.parse import urlparse

from detectron2.config import CfgNode
from detectron2.utils.file_io import PathHandler, PathManager

from project.engine.timm_inputs import BACKBONES
from project.errors import NetworkError, WeightsError
from project.modeling.timm_models import pretrained_file
from project.network import fetch


class _FetchHandler(PathHandler):
    """Whatever Detectron2 opens by an address."""

    # The last is one of its handlers for a file service, which would be taken as the longer one.
    PREFIXES: ClassVar = ["http://", "https://", "ftp://", "https://1drv.ms/u/s!"]

    def _get_supported_prefixes(self) -> list[str]:
        return self.PREFIXES

    def _get_local_path(self, path: str, force: bool = False, **kwargs: Any) -> str:
        del force, kwargs
        return str(fetch(path))

    def _open(self, path: str, mode: str = "r", buffering: int = -1, **kwargs: Any) -> Any:
        if mode not in ("r", "rb"):
            raise NetworkError(f"{path}: an address can be read only, not opened with mode {mode}")
        return open(fetch(path), mode, buffering)


_SCHEMES = ("https", "detectron2", "catalog")
PathManager.register_handler(_FetchHandler(), allow_override=True)


def check_kind(path: str) -> None:
    """Passes for a file, and for an address of a kind that may be fetched; fetches nothing.

    Raises:
        WeightsError: another kind of address.
    """
    scheme, is_address, _ = path.partition("://")
    if is_address and scheme not in _SCHEMES:
        raise WeightsError(
            f"MODEL.WEIGHTS {path}: expected a file, or an address that begins with one of"
            f" {', '.join(f'{name}://' for name in _SCHEMES)}"
        )


def fetch_weights(cfg: CfgNode) -> None:
    """Fetches the weights that a training starts from: once, before it has several ranks.

    Raises:
        WeightsError: they are not here, and cannot or may not be fetched.
    """
    local_weights(cfg.MODEL.WEIGHTS)
    timm = cfg.MODEL.TIMM
    if cfg.MODEL.BACKBONE.NAME in BACKBONES and timm.PRETRAINED and not timm.WEIGHTS:
        pretrained_file(timm.NAME)


def local_weights(path: str) -> str:
    """The local file of weights, which may be named by an address.

    Args:
        path: a file, https://HOST/PATH, or detectron2://PATH or catalog://NAME of the model zoo;
            what follows a "?" in an address says how it is read.

    Raises:
        WeightsError: see `project.network.fetch`.
    """
    if "://" not in path:
        return path
    check_kind(path)
    try:
        return PathManager.get_local_path(urlparse(path)._replace(query="").geturl())
    except (LookupError, RuntimeError) as error:
        raise WeightsError(
            f"MODEL.WEIGHTS {path}: Detectron2's catalog has no such weights; name a file, or their"
            " whole address"
        ) from error
    except NetworkError as error:
        raise WeightsError(
            f'MODEL.WEIGHTS {error}; or train from random weights with MODEL.WEIGHTS "" (slower'
            ' to learn, MODEL.RESNETS.NORM "GN" and MODEL.BACKBONE.FREEZE_AT 0 help)'
        ) from error
