"""The pictures of a folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lib_iclight.batch.listing import pictures
from lib_iclight.errors import BatchError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    top = tmp_path / "photos"
    for name in ("b.JPG", "a.png", "notes.txt", ".hidden.png", "shoes/c.webp", "shoes/low/d.tiff", ".trash/e.png",
                 "raw.cr2"):
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    (top / "dead.png").symlink_to("nowhere")
    (top / "folder.png").mkdir()
    return top


def test_pictures_by_their_endings(folder: Path, tmp_path: Path) -> None:
    found = pictures(folder, tmp_path / "out")
    assert found.names == ("a.png", "b.JPG", "dead.png")
    assert found.notes == ("Passed over: 2 files without a picture's ending.",
                           "Passed over: 2 folders inside; --recursive goes into them.")


def test_folders_inside(folder: Path, tmp_path: Path) -> None:
    found = pictures(folder, tmp_path / "out", recursive=True)
    assert found.names == ("a.png", "b.JPG", "dead.png", "shoes/c.webp", "shoes/low/d.tiff")


@pytest.mark.parametrize(("patterns", "names"), [
    (["*.jpg"], ["b.JPG"]), (["*.txt", "a*"], ["a.png", "notes.txt"]), (["shoes/*"], ["shoes/c.webp",
     "shoes/low/d.tiff"]), (["d.*"], ["shoes/low/d.tiff"])], ids=["case", "two", "path", "name"])
def test_patterns(folder: Path, tmp_path: Path, patterns: list[str], names: list[str]) -> None:
    assert pictures(folder, tmp_path / "out", patterns, recursive=True).names == tuple(names)


def test_results_are_no_pictures(folder: Path) -> None:
    (folder / "shoes" / "out").mkdir()
    (folder / "shoes" / "out" / "result.png").write_bytes(b"")
    found = pictures(folder, folder / "shoes" / "out", recursive=True)
    assert not [name for name in found.names if "result" in name]
    with pytest.raises(BatchError, match="another output folder"):
        pictures(folder, folder / "shoes" / "..")


def test_circles_end(folder: Path, tmp_path: Path) -> None:
    (folder / "shoes" / "again").symlink_to(folder, target_is_directory=True)
    names = pictures(folder, tmp_path / "out", recursive=True).names
    assert len(names) == 5


def test_what_is_no_folder(folder: Path, tmp_path: Path) -> None:
    for path in (tmp_path / "none", folder / "a.png"):
        with pytest.raises(BatchError, match="no folder of pictures"):
            pictures(path, tmp_path / "out")


@pytest.mark.skipif(os.name == "nt", reason="Windows' names are text")
def test_names_that_are_no_text(folder: Path, tmp_path: Path) -> None:
    (folder / os.fsdecode(b"\xff.png")).write_bytes(b"")
    assert os.fsdecode(b"\xff.png") in pictures(folder, tmp_path / "out").names
