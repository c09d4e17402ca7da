"""A stage's folder is one job's at a time, and what a killed one has left half-written goes."""

from __future__ import annotations

import errno
import gc
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lib_iclight import cli
from lib_iclight.errors import StageError
from lib_iclight.imaging.outputs import plan_outputs
from lib_iclight.imaging.save import UNLOCKED, clear_parts, part_of
from lib_iclight.stage import FOUR, StageWriter

from .stages import random_codes, save_photos

ROOT = Path(__file__).resolve().parents[2]
WRITE = """
import sys, pathlib, numpy as np
from lib_iclight.imaging.save import part_of
from lib_iclight.stage import FOUR, StageWriter
folder = pathlib.Path(sys.argv[1])
writer = StageWriter(folder, FOUR, seed=7)
writer.add("left", np.zeros((18, 24, 3), np.uint8))
with part_of(folder / "right.png") as part, part_of(folder / "film.webp", ".webp") as film:
    part.write_bytes(b"half")
    print("begun", flush=True)
    sys.stdin.read()
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def killed(tmp_path: Path) -> Any:
    """A folder in which another process writes a stage until the function that is given too is called: kill -9."""
    folder = tmp_path / "set"
    with subprocess.Popen([sys.executable, "-c", WRITE, str(folder)], cwd=ROOT, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "begun\n"

        def kill() -> None:
            other.kill()
            other.wait()

        yield folder, kill
        kill()


def test_a_second_process_is_refused_and_a_dead_one_is_no_obstacle(killed: Any) -> None:
    folder, kill = killed
    before = names(folder)
    assert len([name for name in before if ".part" in name]) == 2
    for seed in (7, 8):
        with pytest.raises(StageError, match="set is being written to by another job"):
            StageWriter(folder, FOUR, seed=seed)
    clear_parts(folder)
    assert names(folder) == before, "what is being written stays"
    kill()
    writer = StageWriter(folder, FOUR, seed=7)
    assert [lamp.name for lamp in writer.missing] == ["right", "bottom", "top", "ambient"]
    writer.close()
    assert names(folder) == ["left.png", "stage.json", "stage.lp"]


def test_two_at_once_make_one_stage(tmp_path: Path) -> None:
    """As of two commands in one new folder, each with a random seed."""
    made: list[StageWriter] = []
    refused: list[str] = []
    together = threading.Barrier(8)

    def begin(seed: int) -> None:
        together.wait()
        try:
            made.append(StageWriter(tmp_path / "set", FOUR, seed=seed))
        except StageError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=begin, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1 and len(refused) == 7 and all("by another job" in one for one in refused)


def test_the_folder_is_free_when_all_is_there_or_nobody_writes(tmp_path: Path) -> None:
    writer = StageWriter(tmp_path, FOUR)
    for number, lamp in enumerate(FOUR):
        assert (tmp_path / ".stage.lock").exists()
        writer.add(lamp.name, random_codes(number))
    assert names(tmp_path) == sorted([*(f"{lamp.name}.png" for lamp in FOUR), "stage.json", "stage.lp"])
    again = StageWriter(tmp_path, FOUR)
    assert again.missing == ()
    writer.add("left", random_codes(9))  # once more, and the folder is taken for it
    assert ".stage.lock" not in names(tmp_path)
    forgotten = StageWriter(tmp_path / "other", FOUR)
    del forgotten
    gc.collect()
    StageWriter(tmp_path / "other", FOUR).close()
    assert names(tmp_path / "other") == []


def test_a_refusal_frees_the_folder(tmp_path: Path) -> None:
    (tmp_path / "left.png").write_text("mine")
    with pytest.raises(StageError, match=r"no stage\.json"):
        StageWriter(tmp_path, FOUR)
    assert names(tmp_path) == ["left.png"]


def test_only_our_own_parts_are_cleared(tmp_path: Path) -> None:
    others = [".0123456789a.part", ".0123456789abcd.part", "0123456789ab.part", ".0123456789ab.parts", "a.png.part",
              ".0123456789aX.part", ".0123456789ab.part.tar.gz"]
    for name in others:
        (tmp_path / name).write_text("mine")
    (tmp_path / ".0123456789ab.part").mkdir()
    (tmp_path / ".ffffffffffff.part").symlink_to(tmp_path / others[0])
    for name in (".0a1b2c3d4e5f.part", ".aaaaaaaaaaaa.part.webp"):
        (tmp_path / name).write_text("left by a killed process")
    with part_of(tmp_path / "a.png") as alive:
        clear_parts(tmp_path)
        assert names(tmp_path) == sorted([*others, ".0123456789ab.part", ".ffffffffffff.part", alive.name])
        alive.write_bytes(b"whole")
    assert (tmp_path / "a.png").read_bytes() == b"whole"
    clear_parts(tmp_path / "nowhere")


def test_without_locks_a_parts_age_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on some network disks."""
    def no_locks(file: object) -> bool:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("lib_iclight.imaging.save.lock", no_locks)
    old, young = tmp_path / ".0a1b2c3d4e5f.part", tmp_path / ".aaaaaaaaaaaa.part"
    for part, age in ((old, UNLOCKED + 60.0), (young, UNLOCKED - 60.0)):
        part.write_text("left by a killed process")
        os.utime(part, (time.time() - age,) * 2)
    with part_of(tmp_path / "a.png") as alive:
        clear_parts(tmp_path)
        assert names(tmp_path) == sorted([young.name, alive.name])


def test_any_commands_next_run_clears_them(tmp_path: Path) -> None:
    (tmp_path / ".0a1b2c3d4e5f.part").write_text("left by a killed process")
    plan_outputs(tmp_path / "out.png", [""])
    assert names(tmp_path) == []


# --- photographs that are brought in --------------------------------------------------------------------------------


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of three photographs and their list."""
    folder = tmp_path / "photos"
    save_photos(folder, ("a.jpg", "b.jpg", "c.jpg"))
    (folder / "stage.lp").write_text("3\na.jpg 1 0 0\nb.jpg 0 1 0\nc.jpg 0 0 1\n")
    return folder


def refused(photos: Path, folder: Path, capsys: pytest.CaptureFixture[str], lp: Path | None = None) -> None:
    before = {path: path.read_bytes() for path in [*photos.rglob("*"), *folder.rglob("*")] if path.is_file()}
    assert cli.main(["stage", "--from-lp", str(lp or photos / "stage.lp"), "-o", str(folder)]) == 2
    assert "lies in the stage's folder" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in [*photos.rglob("*"), *folder.rglob("*")] if path.is_file()} == before


def test_the_sources_own_folder(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(photos, photos, capsys)
    (tmp_path / "link").symlink_to(photos)
    refused(photos, tmp_path / "link", capsys)
    refused(photos, photos, capsys, tmp_path / "link" / "stage.lp")


@pytest.mark.parametrize("how", ["symlink_to", "hardlink_to"])
@pytest.mark.parametrize(("name", "source"), [("stage.lp", "stage.lp"), ("a.png", "a.jpg")])
def test_a_link_to_a_source(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], how: str, name: str,
                            source: str) -> None:
    (tmp_path / "set").mkdir()
    getattr(tmp_path / "set" / name, how)(photos / source)
    refused(photos, tmp_path / "set", capsys)


def test_a_list_of_links_in_the_folder(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The list itself lies in the folder, and all that it names is a link to elsewhere."""
    folder = tmp_path / "set"
    folder.mkdir()
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (folder / name).symlink_to(photos / name)
    (folder / "lamps.lp").write_text((photos / "stage.lp").read_text())
    refused(photos, folder, capsys, folder / "lamps.lp")


def test_a_picture_that_a_stage_is_made_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "set" / "1").mkdir(parents=True)
    photo = tmp_path / "photo.png"
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(photo)
    (tmp_path / "set" / "1" / "left.png").symlink_to(photo)
    assert cli.main(["stage", str(photo), "-o", str(tmp_path / "set"), "--batch", "2"]) == 2
    assert "lies in the stage's folder" in capsys.readouterr().err


def test_a_sound_list_is_brought_in_and_can_be_brought_again(photos: Path, tmp_path: Path) -> None:
    argv = ["stage", "--from-lp", str(photos / "stage.lp"), "-o", str(tmp_path / "set")]
    assert cli.main(argv) == cli.main(argv) == 0
    assert names(tmp_path / "set") == ["a.png", "b.png", "c.png", "stage.json", "stage.lp"]
