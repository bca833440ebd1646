"""Which files are found below a folder."""

import os
from pathlib import Path

from project.data.files import files_by_stem


def test_folders_behind_symbolic_links_are_looked_into(tmp_path: Path):
    here, there = tmp_path / "here", tmp_path / "there"
    (there / "deep").mkdir(parents=True)
    (there / "deep" / "b.png").touch()
    here.mkdir()
    (here / "a.jpg").touch()
    (here / "no.txt").touch()
    (here / "folder.png").mkdir()
    os.symlink(there, here / "linked")
    os.symlink(here, there / "deep" / "back")
    os.symlink(here / "itself", here / "itself")
    found = files_by_stem(here)
    assert list(found) == ["a", "linked/deep/b"]
    assert found["linked/deep/b"] == here / "linked" / "deep" / "b.png"
