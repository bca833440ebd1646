"""The report of a run: one HTML file that opens anywhere, offline, without scripts."""

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from project.report import canvas, difference
from project.report.example import CONFIDENCE, Example
from project.report.palette import class_colours
from project.report.panels import classes_in, comparison
from project.report.plots import Curve, curves, plot
from project.report.score_details import score_details
from project.report.stylesheet import page
from project.report.tables import FIRST_SCORES, Scores, interval_text, score_tables

FILE_NAME = "report.html"


def write_report(
    output_dir: Path,
    results: Mapping[str, Any],
    metrics: Sequence[Mapping[str, Any]] = (),
    examples: Sequence[Example] = (),
) -> Path:
    """Writes `report.html` into a run's folder.

    Args:
        output_dir: of the run; its config.yaml is shown where there is one.
        results: the content of results.json.
        metrics: the lines of metrics.json, see `read_metrics`.
        examples: pictures, in the order in which they are shown.

    Returns:
        The path of the file.
    """
    output_dir = Path(output_dir)
    config = output_dir / "config.yaml"
    body = [
        _header(results, datetime.now(), waiting_share(metrics)),
        *(_dataset(name, scores) for name, scores in results["datasets"].items()),
        _curves(curves(metrics)),
        *(
            _pictures(name, [example for example in examples if example.dataset == name])
            for name in dict.fromkeys(example.dataset for example in examples)
        ),
        _config(config.read_text(encoding="utf-8")) if config.is_file() else "",
    ]
    path = output_dir / FILE_NAME
    title = f"{_name(results)} on {', '.join(results['datasets'])}"
    footer = "Scores are from 0 to 100; n/a marks what cannot be computed."
    path.write_text(page(title, "".join(body), footer), encoding="utf-8")
    return path


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.json as Detectron2 writes it; none where there is no such file.

    A line that is cut off, as a killed run or a full disk leaves it, is left out, and so is what a
    run that began anew in the same folder, or went on from an earlier checkpoint, has made void.
    """
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    return _of_last_run([line for line in map(_parsed, whole.splitlines()) if line])


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        values = json.loads(line)
    except ValueError:
        return None
    return values if isinstance(values, dict) else None


def _of_last_run(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without the lines from the iteration on to which a later line falls back.

    Lines of scores alone ("task/metric") are written with the next training step's, and behind it
    although they are older: these say nothing of a new run.
    """
    kept: list[dict[str, Any]] = []
    last = -1
    for line in lines:
        iteration = line.get("iteration", last)
        if any("/" not in name for name in line if name != "iteration"):
            if iteration <= last:
                kept = [known for known in kept if known.get("iteration", -1) < iteration]
            last = iteration
        kept.append(line)
    return kept


def _name(results: Mapping[str, Any]) -> str:
    """The config's name; predictions made elsewhere have none."""
    return Path(results["config"] or "predictions").stem


def waiting_share(metrics: Sequence[Mapping[str, Any]]) -> float | None:
    """Share of a training's steps, 0 to 1, spent waiting for batches; None where it is not known.

    Args:
        metrics: lines with the seconds "data_time" and "time", as Detectron2 writes them.
    """
    waited = total = 0.0
    last = -1
    for line in metrics:
        if line.get("time") and "data_time" in line:
            # A line stands for the steps since the one before it.
            steps = max(1, line.get("iteration", last + 1) - last)
            last = line.get("iteration", last + 1)
            waited += steps * line["data_time"]
            total += steps * line["time"]
    return waited / total if total else None


def _header(results: Mapping[str, Any], when: datetime, waiting: float | None) -> str:
    weights = results["weights"]
    counts = [f"{name}, {scores['images']} images" for name, scores in results["datasets"].items()]
    facts = {
        "Data": "; ".join(counts),
        "Config": results["config"],
        "Weights": weights["path"],
        "Iteration": weights["iteration"],
        "SHA-256 of the weights": str(weights["sha256"] or "")[:16],
        "COCO scores by": results["backend"],
        "Waiting for data": None if waiting is None else f"{100 * waiting:.1f} % of the training",
        "Report written": f"{when:%Y-%m-%d %H:%M}",
    }
    items = "".join(
        f"<div><dt>{name}</dt><dd>{escape(str(value)).replace('/', '/<wbr>')}</dd></div>"
        for name, value in facts.items()
        if value not in (None, "")
    )
    return (
        f'<header><p class="eyebrow">Segmentation report</p><h1>{escape(_name(results))}</h1>'
        f'<dl class="facts">{items}</dl></header>'
    )


def _dataset(name: str, scores: Scores) -> str:
    notes = "".join(f"<li>{escape(note)}</li>" for note in scores.get("notes", []))
    box = f'<aside class="notes"><h3>Notes</h3><ul>{notes}</ul></aside>' if notes else ""
    return (
        f"<section><h2>Scores on {escape(name)}</h2>{_cards(scores)}{_about_intervals(scores)}"
        f"{score_tables(scores)}{score_details(scores)}{box}</section>"
    )


def _cards(scores: Scores) -> str:
    cards = []
    for task, metric, name in FIRST_SCORES:
        value = (scores.get(task) or {}).get(metric)
        if value is not None:
            cards.append(
                f'<li><div class="name">{name}</div><div class="value">{value:.1f}</div>'
                f"{interval_text(scores[task], metric)}"
                f'<div class="gauge" style="--value:{value:.1f}"></div></li>'
            )
    return f'<ul class="cards">{"".join(cards)}</ul>'


def _about_intervals(scores: Scores) -> str:
    if "resamples" not in scores:
        return ""
    return (
        '<p class="meaning">In brackets: 95 % intervals over the images, from'
        f" {scores['resamples']} resamples of them. Another training would change the scores too;"
        " that is not in the intervals.</p>"
    )


def _curves(figures: Sequence[Curve]) -> str:
    if not figures:
        return ""
    parts = "".join(plot(figure) for figure in figures)
    return f'<section><h2>Training</h2><div class="plots">{parts}</div></section>'


def _pictures(dataset: str, examples: Sequence[Example]) -> str:
    return (
        f"<section><h2>Pictures of {escape(dataset)}</h2>"
        "<p>The worst, median and best images by a score of their own: PQ, without panoptics the"
        " mean IoU, and for instances alone F1 at an IoU of 0.5."
        f" Predicted objects are drawn from a confidence of {CONFIDENCE} upwards."
        " Click a picture to enlarge it.</p>"
        f"{_keys(examples)}{''.join(_article(example) for example in examples)}</section>"
    )


def _keys(examples: Sequence[Example]) -> str:
    """What the colours of classes and differences mean."""
    categories = examples[0].categories
    names, colours = categories.semantic, class_colours(categories).tolist()
    scenes = [scene for example in examples for scene in (example.truth, example.prediction)]
    present = sorted(set().union(*(classes_in(scene, categories) for scene in scenes)))
    classes = [(names[i], colours[i]) for i in present]
    return (
        f'<div class="keys">{_legend("Classes", classes)}'
        f"{_legend('Difference', difference.COLOURS.values())}</div>"
    )


def _legend(title: str, entries: Iterable[tuple[str, Sequence[int]]]) -> str:
    items = "".join(
        f'<li><i style="color:rgb({r} {g} {b})"></i><span>{escape(name)}</span></li>'
        for name, (r, g, b) in entries
    )
    return f'<ul class="legend"><li><b>{title}</b></li>{items}</ul>'


def _article(example: Example) -> str:
    """The input beside the first task's pictures; those of the other tasks fold out below."""
    image, rows = comparison(example)
    enlarged = image.shape[0] > example.image.shape[0]
    parts = ["".join(_figure(c, p, enlarged) for c, p in row.pictures()) for row in rows]
    shown, folded = parts[:1], parts[1:]
    more = "".join(f'<div class="pictures offset">{figures}</div>' for figures in folded)
    titles = " and ".join(row.title.lower() for row in rows[1:])
    details = f"<details><summary>{titles}</summary>{more}</details>" if more else ""
    return (
        f'<article><header><span class="rank {example.rank}">{example.rank}</span>'
        f'<span class="score">{example.score:.1f}</span>'
        f'<span class="file">{escape(example.file_name)}</span></header>'
        f'<div class="pictures">{_figure("input", image, enlarged)}{"".join(shown)}</div>'
        f"{details}</article>"
    )


def _figure(caption: str, picture: np.ndarray, enlarged: bool) -> str:
    """Enlarged pixels stay sharp and small in PNG; photographs are far smaller in JPEG."""
    extension, kind = (".png", "png") if enlarged else (".jpg", "jpeg")
    data = base64.b64encode(canvas.encode(picture, extension)).decode("ascii")
    return (
        f'<figure><label><input type="checkbox" aria-label="enlarge {caption}">'
        f'<img alt="{caption}" src="data:image/{kind};base64,{data}"></label>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _config(text: str) -> str:
    return (
        '<section class="config"><h2>Config</h2><details><summary>every key of this run</summary>'
        f"<pre>{escape(text)}</pre></details></section>"
    )
