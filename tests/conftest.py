"""Fixtures that all tests share."""

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

# Several processes of tests share the cores; before torch counts these.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

import factories

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data that lies beside the repository, on machines that have it."""
    default = REPOSITORY.parent / "shared" / "data"
    folder = Path(os.environ.get("MASKUNET_SHARED_DATA", default))
    if not folder.is_dir():
        pytest.skip("real data is not on this machine (set MASKUNET_SHARED_DATA to its folder)")
    return folder


@pytest.fixture(autouse=True)
def forget_datasets() -> Iterator[None]:
    """Takes what a test registers out of Detectron2's catalogs when it ends."""
    from detectron2.data import DatasetCatalog

    from project.data.register import unregister_dataset

    before = set(DatasetCatalog)
    yield
    unregister_dataset(*(set(DatasetCatalog) - before))


@pytest.fixture(autouse=True)
def forget_logs() -> Iterator[None]:
    """Takes away the logs that a tool opened within a test: they write to what pytest closes."""
    from detectron2.utils.logger import setup_logger

    loggers = [logging.getLogger(name) for name in ("detectron2", "fvcore", "project")]
    before = [(logger, list(logger.handlers), logger.propagate) for logger in loggers]
    yield
    for logger, handlers, propagate in before:
        logger.handlers[:], logger.propagate = handlers, propagate
    setup_logger.cache_clear()


@pytest.fixture(autouse=True)
def decide_downloads_anew() -> Iterator[None]:
    """Takes back what a tool that ran within a test has decided of the network."""
    from project.network import set_downloads

    yield
    set_downloads(None)


@pytest.fixture
def registered() -> Callable[[Path], list[str]]:
    """Registers a specification for the length of one test; returns the registered names."""
    from project.data.register import register_dataset

    return register_dataset


@pytest.fixture
def coco_spec(tmp_path: Path, registered: Callable[[Path], list[str]]) -> Path:
    """A registered COCO data set of polygons, whose semantic truth is derived."""
    path = factories.make_coco(tmp_path / "coco")
    registered(path)
    return path


@pytest.fixture
def label_map_spec(tmp_path: Path, registered: Callable[[Path], list[str]]) -> Path:
    """A registered data set of index label maps."""
    path = factories.make_label_map(tmp_path / "label_map")
    registered(path)
    return path
