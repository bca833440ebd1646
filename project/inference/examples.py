"""The pictures of a report: worst, median and best images of a data set."""

from collections.abc import Mapping
from pathlib import Path

from project.data.depth import picture
from project.data.register import dataset_info, dataset_records
from project.engine.evaluate import evaluate
from project.engine.setup import prepare_config
from project.evaluation.results import Results
from project.inference.predictor import Predictor
from project.inference.scenes import predicted_scene, true_scene
from project.report.canvas import display_scale, scale_image
from project.report.example import Example

ImageId = int | str


def collect_examples(
    predictor: Predictor, dataset_name: str, image_scores: Mapping[ImageId, float], count: int
) -> list[Example]:
    """Runs the model on the images that a report shows, and on no others.

    Args:
        predictor: of the model that was scored.
        dataset_name: a registered data set.
        image_scores: 0 to 100 by image id, as an evaluator keeps them.
        count: images of each of worst, median and best; fewer in small data sets.
    """
    info = dataset_info(dataset_name)
    records = {record["image_id"]: record for record in dataset_records(dataset_name)}
    examples = []
    for rank, image_id in choose(image_scores, count):
        record = records[image_id]
        image = predictor.read(record["file_name"], record)
        shown = picture(image, "RGB")
        # At once as small as on the page: of large images there is no room for more.
        scale = min(1.0, display_scale(image.shape[:2]))
        output = predictor(image, "RGB")
        prediction = predicted_scene(output, info.categories, scale=scale)
        examples.append(
            Example(
                rank=rank,
                score=image_scores[image_id],
                dataset=dataset_name,
                file_name=_short_name(record["file_name"], str(info.spec.root)),
                categories=info.categories,
                image=scale_image(shown, scale),
                truth=true_scene(record, info, like=prediction, scale=scale),
                prediction=prediction,
            )
        )
    return examples


def examples_of_run(run_dir: Path, results: Results, count: int | None = None) -> list[Example]:
    """Scores the model of a finished run once more, to find the pictures of its report.

    Args:
        run_dir: holds the config.yaml that the run wrote, and its weights.
        results: of the run.
        count: see `collect_examples`; TEST.REPORT_IMAGES where it is None.

    Raises:
        UserError: the config, the weights or the data are not there any more.
    """
    weights = Path(results["weights"]["path"] or "")
    beside = run_dir / weights.name  # where the run's folder has been moved
    overrides = ["MODEL.WEIGHTS", str(beside if beside.is_file() else weights)]
    cfg = prepare_config(run_dir / "config.yaml", None, overrides)
    predictor = Predictor(cfg)
    return [
        example
        for name, evaluation in evaluate(cfg, predictor.model).items()
        for example in collect_examples(
            predictor,
            name,
            evaluation.image_scores,
            cfg.TEST.REPORT_IMAGES if count is None else count,
        )
    ]


def choose(image_scores: Mapping[ImageId, float], count: int) -> list[tuple[str, ImageId]]:
    """(rank, image id) of the images to show; no image twice.

    The worst come with the lowest first, the best with the highest first.
    """
    order = sorted(image_scores, key=lambda image_id: (image_scores[image_id], str(image_id)))
    count = min(count, -(-len(order) // 3))
    middle = (len(order) - count) // 2
    ranks = {
        "worst": order[:count],
        "best": order[::-1][:count],
        "median": order[middle : middle + count],
    }
    chosen: dict[ImageId, str] = {}
    for rank, ids in ranks.items():
        for image_id in ids:
            chosen.setdefault(image_id, rank)
    return [
        (rank, image_id)
        for rank in ("worst", "median", "best")
        for image_id in ranks[rank]
        if chosen[image_id] == rank
    ]


def _short_name(file_name: str, root: str) -> str:
    """The file's path from the data set's root."""
    return file_name.removeprefix(root).lstrip("/\\")
