"""The training's own losses on images that it does not learn from."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.utils import comm
from detectron2.utils.events import EventStorage
from torch import nn

from project.data.augment import build_augmentations
from project.data.mapper import SegmentationMapper
from project.data.randomness import Stream, derived_seed, random_states
from project.data.register import dataset_info, dataset_records

VALIDATION_LOSS = "validation/total_loss"


class ValidationLosses:
    """Measures losses as in training, on images as in testing, and leaves no trace in the model.

    Statistics of batch normalisation are those that scoring uses, nothing is dropped out, and the
    random numbers (of sampled regions, say) are the same each time. Each rank takes its share.
    """

    def __init__(self, cfg: CfgNode, dtype: torch.dtype | None = None) -> None:
        """Chooses the images.

        Args:
            cfg: complete; the first of DATASETS.TEST is measured.
            dtype: of mixed precision, as in training; None for none.
        """
        self.dtype = dtype
        self.device_type = torch.device(cfg.MODEL.DEVICE).type
        name = cfg.DATASETS.TEST[0]
        records = dataset_records(name)
        count = min(cfg.TEST.VALIDATION_LOSS_IMAGES, len(records))
        chosen = np.unique(np.linspace(0, len(records) - 1, count, dtype=int))
        self.records = [records[i] for i in chosen]
        parts = SegmentationMapper.from_config(cfg, is_train=True)
        self.mapper = SegmentationMapper(
            **{
                **parts,
                "augmentations": build_augmentations(cfg, is_train=False),
                "infos": {name: dataset_info(name)},
                "mask_format": "bitmask",
            }
        )
        self.batch_size = max(1, cfg.SOLVER.IMS_PER_BATCH // comm.get_world_size())
        self.seed = max(0, cfg.SEED)

    def measure(self, model: nn.Module) -> dict[str, float]:
        """Mean of each loss over the images, and "total_loss"; the same on all ranks."""
        own = self.records[comm.get_rank() :: comm.get_world_size()]
        sums: dict[str, float] = {}
        with _as_in_training(model), random_states(derived_seed(self.seed, Stream.SCORING)):
            for start in range(0, len(own), self.batch_size):
                batch = [self.mapper(record) for record in own[start : start + self.batch_size]]
                with torch.autocast(self.device_type, self.dtype, enabled=self.dtype is not None):
                    losses = model(batch)
                for key, value in losses.items():
                    sums[key] = sums.get(key, 0.0) + float(value) * len(batch)
        return _means(comm.all_gather((sums, len(own))))


def _means(shares: list[tuple[dict[str, float], int]]) -> dict[str, float]:
    count = sum(number for _, number in shares)
    keys = dict.fromkeys(key for sums, _ in shares for key in sums)
    means = {key: sum(sums.get(key, 0.0) for sums, _ in shares) / count for key in keys}
    return {"total_loss": sum(means.values()), **means}


@contextmanager
def _as_in_training(model: nn.Module) -> Iterator[None]:
    """Within, a model returns losses, but its layers normalise and drop nothing, as in scoring.

    Layers are modules without modules of their own: normalisation, dropout, stochastic depth.
    """
    modes: dict[nn.Module, Any] = {module: module.training for module in model.modules()}
    model.train()
    for module in model.modules():
        if not any(True for _ in module.children()):
            module.eval()
    devices = {p.device for p in model.parameters() if p.device.type == "cuda"}
    try:
        # Detectron2's heads write statistics into the storage that is open.
        with EventStorage(), torch.no_grad(), torch.random.fork_rng(list(devices)):
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
