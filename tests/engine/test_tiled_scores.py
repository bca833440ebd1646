"""Scores of tiles and views, through the same evaluators as those of whole images."""

from detectron2.modeling import build_model

import factories
from project.engine.evaluate import evaluate
from project.engine.setup import prepare_config
from tool_runner import TINY


def test_all_tasks_are_scored_in_tiles(tmp_path):
    """Random weights in the same place: the scores of tiles are near those of whole images."""
    import torch

    spec = factories.make_coco(tmp_path / "data", num_images=2, size=(120, 150))
    scores = {}
    for name, words in {
        "whole": [],
        "tiled": ["TEST.TILE.SIZE", "96", "TEST.TILE.OVERLAP", "64"],
        "views": ["TEST.AUG.ENABLED", "True"],
    }.items():
        cfg = prepare_config(TINY, spec, words)
        torch.manual_seed(0)
        evaluation = evaluate(cfg, build_model(cfg).eval())[cfg.DATASETS.TEST[0]]
        scores[name] = evaluation.results
    for results in scores.values():
        assert results.keys() >= {"bbox", "segm", "sem_seg", "panoptic_seg"}
        assert results["images"] == 2 and 0 < results["sem_seg"]["mIoU"] < 100
    assert scores["tiled"]["sem_seg"] != scores["whole"]["sem_seg"] != scores["views"]["sem_seg"]
