"""Checkpoints are whole, or not there; a damaged one is found, and the one before it is used."""

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path

import pytest
import torch

from project.engine import checkpoint_files as files
from project.errors import StorageError, WeightsError

WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from project.engine.checkpoint_files import prune, tag_last, write_checkpoint
folder = Path({folder!r})
for number in range(10**6):
    content = (b"%09d" % number) * 20_000
    path = folder / f"model_{{number:07}}.pth"
    write_checkpoint(path, lambda file: file.write(content))
    tag_last(path)
    write_checkpoint(folder / "model_best.pth", lambda file: file.write(content))
    prune(folder, 2)
    print(number, flush=True)
"""


def write(folder: Path, number: int, content: bytes = b"weights") -> Path:
    path = folder / f"model_{number:07}.pth"
    files.write_checkpoint(path, lambda file: file.write(content + str(number).encode()))
    files.tag_last(path)
    return path


def test_the_digest_is_what_sha256sum_says(tmp_path):
    path = write(tmp_path, 1)
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", f"{path.name}.sha256"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and done.stdout == f"{path.name}: OK\n"


@pytest.mark.parametrize("position", [0, 3, -1])
def test_one_flipped_bit_is_found_and_the_one_before_is_used(tmp_path, position, caplog):
    good, bad = write(tmp_path, 1), write(tmp_path, 2)
    assert files.last_whole(tmp_path) == bad
    content = bytearray(bad.read_bytes())
    content[position] ^= 1
    bad.write_bytes(content)
    assert files.last_whole(tmp_path) == good
    assert f"{bad} is damaged" in caplog.text and f"going on from {good}" in caplog.text


@pytest.mark.parametrize("change", ["gone", "short", "tag_gone", "tag_empty"])
def test_what_else_may_happen_to_the_newest(tmp_path, change):
    good, bad = write(tmp_path, 1), write(tmp_path, 2)
    tag = tmp_path / files.LAST
    expected = good
    if change == "gone":
        bad.unlink()
    elif change == "short":
        bad.write_bytes(bad.read_bytes()[:-1])
    else:
        expected = bad  # the newest, whoever says so
        {
            "tag_gone": lambda: tag.unlink(),
            "tag_empty": lambda: tag.write_text(""),
        }[change]()
    assert files.last_whole(tmp_path) == expected


@pytest.mark.parametrize("name", ["../elsewhere.pth", "/elsewhere.pth", "a/b.pth", "link.pth"])
def test_a_tag_that_leads_out_of_the_folder_is_refused(tmp_path, name):
    run = tmp_path / "run"
    run.mkdir()
    write(run, 1)
    (tmp_path / "elsewhere.pth").write_bytes(b"evil")
    (run / "link.pth").symlink_to(tmp_path / "elsewhere.pth")
    (run / files.LAST).write_text(name)
    for ask in (files.has_checkpoint, files.last_whole):
        with pytest.raises(WeightsError, match=f"last_checkpoint: it names '{name}'"):
            ask(run)


def test_a_link_is_no_checkpoint_and_nothing_is_written_through_one(tmp_path):
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere.pth"
    run.mkdir()
    elsewhere.write_bytes(b"precious")
    (run / "model_0000005.pth").symlink_to(elsewhere)
    with pytest.raises(WeightsError, match="none is there"):
        files.last_whole(run)
    for name in ("model_0000001.pth.partial", "model_0000001.pth.sha256.partial"):
        (run / name).symlink_to(elsewhere)
    path = write(run, 1)
    assert files.last_whole(run) == path and not path.is_symlink()
    assert elsewhere.read_bytes() == b"precious"


def test_a_digest_that_is_empty_is_none(tmp_path):
    good, bad = write(tmp_path, 1), write(tmp_path, 2)
    bad.with_name(f"{bad.name}.sha256").write_text("")
    assert files.last_whole(tmp_path) == good
    # Checkpoints of Detectron2 have none.
    good.with_name(f"{good.name}.sha256").unlink()
    assert files.last_whole(tmp_path) == good


def test_a_file_without_a_digest_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "config.yaml"
    files.write_whole(path, lambda file: file.write(b"old"))

    def fail(file):
        file.write(b"ne")
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        files.write_whole(path, fail)
    assert path.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["config.yaml"]


def test_none_that_is_whole(tmp_path):
    assert not files.has_checkpoint(tmp_path)
    with pytest.raises(WeightsError, match="none is there"):
        files.last_whole(tmp_path)
    write(tmp_path, 1).write_bytes(b"")
    with pytest.raises(WeightsError, match=r"model_0000001\.pth is damaged.*start anew"):
        files.last_whole(tmp_path)


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = write(tmp_path, 1)
    before = path.read_bytes()

    def fail(file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        files.write_checkpoint(path, fail)
    assert path.read_bytes() == before and files.damage(path) is None
    assert {p.name for p in tmp_path.iterdir()} == {path.name, f"{path.name}.sha256", files.LAST}


@pytest.mark.parametrize("limit", [0, 1000, 150_000])
def test_a_full_disk_is_told_plainly(tmp_path, limit):
    """A limit on the length of files stands for it: any user can have that."""
    last = write(tmp_path, 1)
    best = tmp_path / "model_best.pth"
    files.write_checkpoint(best, lambda file: file.write(b"best"))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    data = {"weights": torch.zeros(50_000)}
    with limited_files(limit), pytest.raises(StorageError) as told:
        files.write_checkpoint(tmp_path / "model_0000002.pth", partial(torch.save, data))
    with limited_files(limit), pytest.raises(StorageError):
        files.write_checkpoint(best, partial(torch.save, data))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert files.last_whole(tmp_path) == last
    (found,) = re.findall(r"needs ([\d,]+) bytes, and its disk has ([\d,]+)", str(told.value))
    needed, free = (int(number.replace(",", "")) for number in found)
    torch.save(data, whole := BytesIO())
    assert needed == len(whole.getvalue())
    assert free == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.1)
    assert str(tmp_path / "model_0000002.pth") in str(told.value)


def test_a_full_disk_leaves_the_tag(tmp_path):
    last, other = write(tmp_path, 1), tmp_path / "model_0000002.pth"
    with limited_files(3), pytest.raises(StorageError, match=r"last_checkpoint could not be"):
        files.tag_last(other)
    assert files.last_whole(tmp_path) == last


@contextmanager
def limited_files(length: int) -> Iterator[None]:
    """Within, a file of this process cannot become longer."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (length, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_a_kill_leaves_is_swept(tmp_path):
    path = write(tmp_path, 1)
    before = sorted(tmp_path.iterdir())
    for name in ("model_0000002.pth.partial", "model_0000000.pth.sha256", f"{files.LAST}.partial"):
        (tmp_path / name).write_text("left")
    (tmp_path / "notes.txt.sha256").write_text("somebody's own")
    files.sweep(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / "notes.txt.sha256"])
    assert files.damage(path) is None


def test_pruning_keeps_the_newest_and_the_tagged(tmp_path):
    paths = [write(tmp_path, number) for number in (9, 99, 999, 12345678)]
    files.tag_last(paths[0])
    (tmp_path / "model_best.pth").write_bytes(b"best")
    files.prune(tmp_path, 0)
    assert all(path.exists() for path in paths)
    files.prune(tmp_path, 2)
    kept = {path.name for path in tmp_path.glob("*.pth")}
    assert kept == {
        "model_0000009.pth",
        "model_0000999.pth",
        "model_12345678.pth",
        "model_best.pth",
    }
    assert len(list(tmp_path.glob("*.sha256"))) == 3


@pytest.mark.parametrize("moment", range(10))
def test_kill_at_any_moment(tmp_path, moment):
    """After kill -9 every file under a final name is whole, and at most one save is lost."""
    root = str(Path(__file__).resolve().parents[2])
    writer = WRITER.format(root=root, folder=str(tmp_path))
    with subprocess.Popen(
        [sys.executable, "-c", writer], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.003 * moment)
        os.kill(process.pid, signal.SIGKILL)
        done = [0, *map(int, process.stdout.read().split())][-1]
    last = files.last_whole(tmp_path)
    assert int(last.stem.removeprefix("model_")) >= done
    assert all(files.damage(path) is None for path in tmp_path.glob("*.pth"))
    assert all(path.stat().st_size == 180_000 for path in tmp_path.glob("*.pth"))
