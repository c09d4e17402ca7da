"""A stage and what is made of it never write over what is somebody's own."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lib_iclight import cli
from lib_iclight.errors import StageError
from lib_iclight.stage import EIGHT, StageWriter, rig


def made(folder: Path, alpha: str | None = "mask.png") -> Path:
    """A stage of two lights, whose alpha has a name of its own."""
    folder.mkdir()
    random = np.random.default_rng(3)
    for name in ("left", "right"):
        Image.fromarray(random.integers(0, 256, (24, 32, 3), np.uint8)).save(folder / f"{name}.png")
    if alpha:
        Image.fromarray(np.full((24, 32), 200, np.uint8)).save(folder / alpha)
    pictures = [{"name": name, "file": f"{name}.png", "light": name} for name in ("left", "right")]
    (folder / "stage.json").write_text(json.dumps({"version": 1, "alpha": alpha, "pictures": pictures}))
    return folder


def test_the_alpha_is_a_picture_that_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stage = made(tmp_path / "set")
    before = (stage / "mask.png").read_bytes()
    for command in (["mix", "--light", "left"], ["normals"], ["albedo"], ["depth"]):
        assert cli.main([command[0], str(stage), "-o", str(stage / "mask.png"), *command[1:]]) == 2
        assert "one of the pictures to read" in capsys.readouterr().err
    assert (stage / "mask.png").read_bytes() == before


@pytest.mark.parametrize(("command", "out", "bystander"), [
    (["animate", "--orbit", "--seconds", "1", "--fps", "4"], "clip.webp", "clip.part.webp"),
    (["desk"], "page.html", "page.html.part")])
def test_bystanders_stay(tmp_path: Path, command: list[str], out: str, bystander: str) -> None:
    stage = made(tmp_path / "set")
    (tmp_path / bystander).write_text("mine")
    assert cli.main([command[0], str(stage), "-o", str(tmp_path / out), *command[1:]]) == 0
    assert (tmp_path / bystander).read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["set", out, bystander])


@pytest.mark.parametrize("own", ["left.png", "alpha.png", "stage.lp"])
def test_a_folder_of_a_persons_own_is_no_stage(tmp_path: Path, own: str) -> None:
    (tmp_path / own).write_text("mine")
    with pytest.raises(StageError, match=f"holds {own} and no stage.json"):
        StageWriter(tmp_path, rig(["left", "right"]), np.ones((24, 32), np.float32))
    assert (tmp_path / own).read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == [own]


def test_a_run_that_ended_before_its_first_picture_goes_on(tmp_path: Path) -> None:
    alpha = np.linspace(0, 1, 24 * 32, dtype=np.float32).reshape(24, 32)
    StageWriter(tmp_path, EIGHT, alpha)
    assert len(StageWriter(tmp_path, EIGHT, alpha).missing) == len(EIGHT)
    with pytest.raises(StageError, match="no stage"):
        StageWriter(tmp_path, EIGHT, 1 - alpha)


def test_a_pipe_is_no_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stage = made(tmp_path / "set")
    (stage / "left.png").unlink()
    os.mkfifo(stage / "left.png")
    assert cli.main(["mix", str(stage), "-o", str(tmp_path / "a.png"), "--light", "left"]) == 2
    assert "no regular file" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_mix_is_read_of_a_regular_file(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    stage, mix = made(tmp_path / "set"), tmp_path / "mix.json"
    os.mkfifo(mix) if kind == "pipe" else mix.symlink_to("/dev/zero")
    assert cli.main(["mix", str(stage), "-o", str(tmp_path / "a.png"), "--mix", str(mix)]) == 2
    assert "no regular file" in capsys.readouterr().err


def test_a_background_without_an_alpha_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stage = made(tmp_path / "set", alpha=None)
    argv = ["mix", str(stage), "-o", str(tmp_path / "a.png"), "--light", "left", "--background",
            str(stage / "right.png")]
    assert cli.main(argv) == 2
    assert "this stage has no alpha" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--exposure=--", "--weights=--", "--output=--"])
def test_dashes_are_no_value(tmp_path: Path, capsys: pytest.CaptureFixture[str], flag: str) -> None:
    assert cli.main(["mix", str(tmp_path), "-o", str(tmp_path / "a.png"), "--light", "left", flag]) == 2
    assert "is given -- as its value" in capsys.readouterr().err
