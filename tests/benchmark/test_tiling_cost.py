"""The benchmark of tiles, on an image that is not large."""

from project.benchmark.tiling import CONFIGS, measure
from tool_runner import load_tool


def test_memory_and_time_of_an_image():
    found = measure(CONFIGS[0], side=300, tile=128, overlap=32, threads=1)
    assert 0 < found.predict_seconds < found.total_seconds
    assert 100 < found.peak_mb < 100_000
    assert f"{CONFIGS[0]}: 300 x 300 in tiles of 128" in str(found)


def test_the_tool_asks_for_both_models(monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(
        "project.benchmark.tiling.measure_all",
        lambda *words, **more: asked.append((words, more)) or ["one line"],
    )
    assert load_tool("tools/benchmark.py").main(["tiling", "--side", "500"]) == 0
    assert asked == [((500, 1024, 128), {"threads": 1, "only": ""})]
    assert capsys.readouterr().out == "one line\n"
