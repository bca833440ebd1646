"""report.html: whole, offline, escaped, and with every score or the reason why there is none."""

import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from detectron2.utils.events import EventStorage, JSONWriter

from project.data.categories import Categories
from project.report.example import Example, Objects, Panoptic, Scene
from project.report.page import read_metrics, waiting_share, write_report
from project.report.plots import read_series

VOID = {"meta", "img", "input", "br", "hr", "wbr", "link"}
REASON = "segm: APl and ARl are not defined: the truth has no large objects"
EVIL = "<script>alert('x')</script>"


class Page(HTMLParser):
    """Collects tags, attributes and text, and checks that every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"<{tag}> closes another element"

    def handle_data(self, data):
        self.texts.append(data.strip())

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


def results(**tasks) -> dict:
    return {
        "config": "configs/shapes/joint.yaml",
        "weights": {"path": "out/model_final.pth", "sha256": "0f" * 32, "iteration": 826},
        "backend": "faster-coco-eval",
        "datasets": {"shapes_val": {"images": 31, **tasks, "notes": [REASON]}},
    }


TASKS = {
    "bbox": {"AP": 11.11, "AP50": 12.22, "per_class": {"square": {"AP": 13.33, "AP50": 14.44}}},
    "segm": {
        "AP": 21.11,
        "AP50": 22.22,
        "APl": None,
        "AR100": 23.33,
        "per_class": {"square": {"AP": 24.44, "AP50": 25.55}, EVIL: {"AP": 26.66, "AP50": None}},
    },
    "sem_seg": {
        "mIoU": 31.11,
        "mDice": 32.22,
        "per_class": {"ground": {"IoU": 33.33, "Dice": 34.44, "ACC": 35.55}},
    },
    "panoptic_seg": {
        "PQ": 41.11,
        "SQ": 42.22,
        "RQ": 43.33,
        "PQ_th": 44.44,
        "PQ_st": 45.55,
        "per_class": {"square": {"PQ": 46.66, "SQ": 47.77, "RQ": 48.88}},
    },
}


def numbers(value) -> list[str]:
    """Every score below `value`, as the page writes it."""
    if isinstance(value, dict):
        return [number for part in value.values() for number in numbers(part)]
    return [] if value is None else [f"{value:.1f}"]


@pytest.fixture
def example() -> Example:
    truth, found = np.zeros((2, 1, 20, 30), bool)
    truth[0, 2:12, 2:12] = True
    found[0, 3:12, 2:12] = True
    scenes = []
    for mask in (truth, found):
        segments = [
            {"id": 1, "semantic_id": 0, "isthing": False, "iscrowd": 0, "area": 500},
            {"id": 2, "semantic_id": 1, "isthing": True, "iscrowd": 0, "area": 100},
        ]
        ids = np.where(mask[0], 2, 1)
        objects = Objects(mask, np.array([0]), np.array([0.8]))
        scenes.append(Scene(mask[0].astype(np.uint8), objects, Panoptic(ids, segments)))
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    categories = Categories(things=(EVIL,), stuff=("background",))
    return Example("worst", 12.34, "shapes_val", f"a{EVIL}.png", categories, image, *scenes)


def write(folder: Path, content: dict, *parts) -> tuple[str, Page]:
    text = write_report(folder, content, *parts).read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == [], "an element is never closed"
    return text, page


def test_every_score_is_there(tmp_path):
    wanted = numbers(TASKS)
    assert len(wanted) == len(set(wanted)) > 20, "each number stands for itself"
    _, page = write(tmp_path, results(**TASKS))
    assert [number for number in wanted if number not in page.texts] == []
    assert {"826", "faster-coco-eval", "shapes_val, 31 images"} <= set(page.texts)


def test_what_cannot_be_computed_is_explained(tmp_path):
    _, page = write(tmp_path, results(**TASKS))
    reasons = [attributes["title"] for attributes in page.all("abbr")]
    # APl, then what the class EVIL lacks: mask AP50, and box AP and AP50.
    assert reasons == [REASON, "see the notes", "see the notes", "see the notes"]
    assert page.texts.count("n/a") == 4
    assert REASON in page.texts


def test_a_task_that_was_not_scored_is_explained(tmp_path):
    content = results(segm=None)
    why = "segm: not scored: the data set has no countable classes"
    content["datasets"]["shapes_val"]["notes"] = [why]
    _, page = write(tmp_path, content)
    assert {attributes["title"] for attributes in page.all("abbr")} == {why}
    assert page.texts.count("n/a") == 6


def test_no_text_of_the_user_becomes_markup(tmp_path, example):
    content = results(**TASKS)
    content["config"] = content["weights"]["path"] = f"{EVIL}.yaml"
    content["datasets"] = {EVIL: content["datasets"]["shapes_val"]}
    content["datasets"][EVIL]["notes"] = [f"segm: {EVIL}"]
    (tmp_path / "config.yaml").write_text(f"OUTPUT_DIR: {EVIL}\n")
    metrics = [{"iteration": i, f"loss_{EVIL}": 1.0} for i in range(2)]
    text, _ = write(tmp_path, content, metrics, [replace(example, dataset=EVIL)])
    assert "<script" not in text.lower()
    assert text.count("&lt;script&gt;") > 8


def test_the_file_needs_nothing_from_outside(tmp_path, example):
    metrics = [{"iteration": i, "total_loss": 2.0 - i, "segm/AP": i} for i in range(2)]
    text, page = write(tmp_path, results(**TASKS), metrics, [example])
    assert list(tmp_path.iterdir()) == [tmp_path / "report.html"]
    links = [a[k] for _, a in page.tags for k in ("src", "href", "srcset", "data") if k in a]
    assert links and all(link.startswith("data:image/") for link in links)
    assert not re.search(r"https?:|//\w|@import|url\(", re.sub(r'src="[^"]*"', "", text))
    assert not page.all("script") and not page.all("link")


def test_pictures_are_images_of_one_size(tmp_path, example):
    _, page = write(tmp_path, results(**TASKS), [], [example])
    sources = [attributes["src"] for attributes in page.all("img")]
    data = [base64.b64decode(source.split(",")[1]) for source in sources]
    pictures = [cv2.imdecode(np.frombuffer(d, np.uint8), cv2.IMREAD_COLOR) for d in data]
    assert len(pictures) == 10, "the input once, and truth, prediction, difference of three tasks"
    assert {picture.shape for picture in pictures} == {(240, 360, 3)}
    enlarged = example.image.repeat(12, axis=0).repeat(12, axis=1)
    np.testing.assert_array_equal(pictures[0][:, :, ::-1], enlarged)
    assert "12.3" in page.texts and "worst" in page.texts


def test_pictures_need_truth_and_prediction(tmp_path, example):
    lonely = replace(example, truth=Scene(semantic=example.truth.semantic))
    _, page = write(tmp_path, results(**TASKS), [], [lonely])
    assert len(page.all("img")) == 4
    _, page = write(tmp_path, results(**TASKS), [], [replace(example, truth=Scene())])
    assert len(page.all("img")) == 1


def test_photographs_are_reduced_and_in_jpeg(tmp_path, example):
    image = np.zeros((900, 1440, 3), np.uint8)
    ids = np.zeros((900, 1440), np.uint8)
    photo = replace(example, image=image, truth=Scene(ids), prediction=Scene(ids))
    _, page = write(tmp_path, results(**TASKS), [], [photo])
    source = page.all("img")[0]["src"]
    assert source.startswith("data:image/jpeg;base64,")
    data = np.frombuffer(base64.b64decode(source.split(",")[1]), np.uint8)
    assert cv2.imdecode(data, cv2.IMREAD_COLOR).shape == (450, 720, 3)


def test_predictions_made_elsewhere_have_no_config_and_no_weights(tmp_path):
    content = results(**TASKS)
    content["config"] = None
    content["weights"] = dict.fromkeys(content["weights"])
    _, page = write(tmp_path, content)
    assert "predictions" in page.texts and "Weights" not in page.texts


def test_config_is_shown_where_there_is_one(tmp_path):
    (tmp_path / "config.yaml").write_text("SEED: 4711\n")
    _, page = write(tmp_path, results(**TASKS))
    assert "SEED: 4711" in page.texts


def test_metrics_of_a_killed_run_are_read_up_to_the_last_whole_line(tmp_path):
    path = tmp_path / "metrics.json"
    assert read_metrics(path) == []
    path.write_text('{"iteration": 1, "lr": 0.5}\n{"iteration": 2, "l')
    assert read_metrics(path) == [{"iteration": 1, "lr": 0.5}]


def test_lines_that_a_full_disk_has_cut_are_left_out(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text(
        '{"iteration": 1}\n{"iteration": 2, "l{"iteration": 3}\n[4]\n{"iteration": 5}\n'
    )
    assert [line["iteration"] for line in read_metrics(path)] == [1, 5]


def metrics_file(folder: Path, *lines: dict) -> Path:
    path = folder / "metrics.json"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_metrics_of_an_earlier_run_in_the_same_folder_are_left_out(tmp_path):
    earlier = [{"iteration": i, "lr": 0.5, "loss_mask": 1.0, "segm/AP": 9.0} for i in (19, 39, 59)]
    later = [{"iteration": i, "lr": 0.1} for i in (19, 39)]
    assert read_metrics(metrics_file(tmp_path, *earlier, *later)) == later


def test_metrics_of_a_resumed_run_go_on_from_its_checkpoint(tmp_path):
    lines = [{"iteration": i, "lr": 0.5, "loss_cls": 1.0} for i in (9, 19, 29, 39)]
    resumed = [{"iteration": i, "lr": 0.1} for i in (29, 39, 49)]
    again = [{"iteration": 49, "lr": 0.2}]
    found = read_metrics(metrics_file(tmp_path, *lines, *resumed, *again))
    assert found == [*lines[:2], *resumed[:2], *again]


def test_scores_written_behind_the_next_step_are_of_the_same_run(tmp_path):
    """As Detectron2 writes them: the scores of step 49 with the losses of step 59."""
    lines = [
        {"iteration": 39, "lr": 0.5, "roi_head/num_fg_samples": 4.0},
        {"iteration": 59, "lr": 0.4},
        {"iteration": 49, "shapes_val/segm/AP": 10.0},
        {"iteration": 79, "lr": 0.3},
        {"iteration": 80, "shapes_val/segm/AP": 20.0},
    ]
    assert read_metrics(metrics_file(tmp_path, *lines)) == lines
    anew = {"iteration": 45, "lr": 0.2}
    assert read_metrics(metrics_file(tmp_path, *lines, anew)) == [lines[0], anew]


def test_detectron2s_writer_is_understood(tmp_path):
    """Two runs into one folder, the second shorter; scores every 5 steps, lines every 4."""
    for steps, value in ((20, 1.0), (8, 2.0)):
        with EventStorage() as storage:
            writer = JSONWriter(str(tmp_path / "metrics.json"))
            for step in range(steps):
                storage.iter = step
                storage.put_scalars(total_loss=value, lr=value)
                if step % 5 == 4:
                    storage.put_scalar("segm/AP", value, smoothing_hint=False)
                if step % 4 == 3:
                    writer.write()
            writer.close()
    series = read_series(read_metrics(tmp_path / "metrics.json"))
    assert series["lr"].tolist() == [[3, 2], [7, 2]]
    assert series["segm/AP"].tolist() == [[4, 2]]


def test_the_share_of_waiting_for_data(tmp_path):
    """2 s of 8 s; lines of scores alone, and those before Detectron2 measures, say nothing."""
    lines = [
        {"iteration": 0, "data_time": 5.0},
        {"iteration": 4, "data_time": 0.5, "time": 2.0},
        {"iteration": 8, "data_time": 1.5, "time": 6.0},
        {"iteration": 8, "bbox/AP": 50.0},
    ]
    assert waiting_share(lines) == 0.25 and waiting_share(lines[:1]) is None
    uneven = [{"iteration": i, "time": 1.0, "data_time": d} for i, d in ((4, 0.9), (99, 0.1))]
    assert waiting_share(uneven) == pytest.approx((5 * 0.9 + 95 * 0.1) / 100)
    text = write_report(tmp_path, results(), lines).read_text(encoding="utf-8")
    assert "Waiting for data" in text and "25.0 % of the training" in text
    assert "Waiting for data" not in write_report(tmp_path, results()).read_text(encoding="utf-8")
