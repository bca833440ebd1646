"""Two CPU ranks score as one, also where the images do not divide evenly."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

import factories
from evaluation_cases import instances
from project.data.labels import panoptic_truth, read_semantic
from project.data.register import dataset_info, dataset_records, register_dataset
from project.engine import launch
from project.evaluation.build import Evaluators
from project.evaluation.instance import InstanceEvaluator
from project.evaluation.panoptic import PanopticEvaluator
from project.evaluation.semantic import SemanticEvaluator

NAME = "ranks_val"
# Images of the two ranks: uneven; not in the order of the images; a rank without any.
SHARES = [[[0, 1, 2], [3, 4]], [[3, 1], [4, 0, 2]], [[], [0, 1, 2, 3, 4]]]


def blurred_predictions(record: dict[str, Any]) -> dict[str, Any]:
    """The truth, moved by a few pixels; the same for the same image."""
    info = dataset_info(NAME)
    rng = np.random.default_rng(record["image_id"])
    move = int(rng.integers(0, 6))
    found = instances(record)
    found.scores = torch.from_numpy(rng.random(len(found)).round(1))
    found.pred_masks = found.pred_masks.roll(move, dims=2)
    found.pred_boxes.tensor[:, ::2] += move
    ids, segments = panoptic_truth(record, info)
    return {
        "instances": found,
        "sem_seg": torch.from_numpy(np.roll(read_semantic(record, info), move, axis=0)),
        "panoptic_seg": (
            torch.from_numpy(np.roll(ids, move, axis=1)),
            [{"id": s["id"], "isthing": False, "category_id": s["semantic_id"]} for s in segments],
        ),
    }


def score(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Scores of the images of this rank, joined with the others'; and all image scores."""
    evaluators = [InstanceEvaluator(NAME), SemanticEvaluator(NAME), PanopticEvaluator(NAME)]
    whole = Evaluators(evaluators)
    for record in records:
        whole.process([record], [blurred_predictions(record)])
    scores = whole.evaluate()
    image_scores = [dict(sorted(e.image_scores.items())) for e in evaluators]
    return {"scores": scores, "image_scores": image_scores if scores else []}


def run_rank(rank: int, spec: Path, out: Path) -> None:
    """Entry of a process: scores its share of the images in each of the `SHARES`."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{out}/meet", rank=rank, world_size=2
    )
    register_dataset(spec)
    records = dataset_records(NAME)
    results = [score([records[i] for i in shares[rank]]) for shares in SHARES]
    (out / f"rank{rank}.json").write_text(json.dumps(results))
    torch.distributed.barrier()
    launch._leave()  # a group that outlives this may abort the process while it ends


def test_two_ranks_score_as_one(tmp_path, registered):
    spec = factories.make_coco(tmp_path / "data", num_images=5, segmentation="rle", name="ranks")
    registered(spec)
    expected = json.loads(json.dumps(score(dataset_records(NAME))))
    headlines = [expected["scores"][t][m] for t, m in (("segm", "AP"), ("sem_seg", "mIoU"))]
    headlines.append(expected["scores"]["panoptic_seg"]["SQ"])
    assert all(5 < value < 95 for value in headlines), (
        "an all-right or all-wrong case proves nothing"
    )
    torch.multiprocessing.spawn(run_rank, (spec, tmp_path), nprocs=2)
    main, other = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2))
    assert main == [expected] * len(SHARES)
    assert other == [{"scores": {}, "image_scores": []}] * len(SHARES)
