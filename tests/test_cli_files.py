"""The command line and people's files: what is read is never written over, and no work is lost, whatever goes wrong."""

from __future__ import annotations

import errno
import io
import os
import re
import signal
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lib_iclight import cli, infotext
from lib_iclight.imaging import read_text, save_picture

ROOT = Path(__file__).resolve().parent.parent
QUICK = ["--width", "64", "--height", "64", "--steps", "1", "--device", "cpu", "--seed", "5", "--matting", "none"]
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a photo, a mask of its shape and a light map."""
    here = tmp_path / "pictures"
    here.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(here / "photo.png")
    mask = np.zeros((40, 48), np.uint8)
    mask[8:32, 12:36] = 255
    Image.fromarray(mask).save(here / "mask.png")
    Image.linear_gradient("L").resize((48, 40)).save(here / "lm.png")
    return here


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that is the temporary one."""
    there = tmp_path / "elsewhere"
    there.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(there))
    return there


@pytest.fixture
def default_sigint() -> Iterator[None]:
    """Ctrl+C raises, also where a shell runs the tests in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def content(folder: Path) -> dict[str, bytes]:
    """name -> the bytes of each file."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def relight(folder: Path, foreground: str, out: str, *more: str) -> int:
    """The command in that folder; words of `more` that name one of its files are given with their path."""
    there = os.listdir(folder)
    given = [str(folder / word) if word in there else word for word in more]
    return cli.main(["relight", str(folder / foreground), "-o", str(folder / out), *QUICK, *given])


def no_work(*args: Any, **options: Any) -> Any:
    """Stands for what must not begin."""
    raise AssertionError("work was begun")


# --- what is read -------------------------------------------------------------------------------------------------

OVERWRITING: list[tuple[str, str, str, list[str]]] = [
    ("photo.png", "out-1.png", "out.png", ["{0}", "--batch", "2"]),
    ("photo.png", "out-2.png", "out.png", ["{0}", "--batch", "2"]),
    ("photo.png", "out-1-raw.png", "out.png", ["{0}", "--batch", "2", "--outputs", "raw"]),
    ("photo.png", "out-cutout.png", "out.jpg", ["{0}", "--outputs", "cutout"]),
    ("photo.png", "out-raw.webp", "out.webp", ["{0}", "--outputs", "raw"]),
    ("mask.png", "out-mask.png", "out.png", ["photo.png", "--mask", "{0}", "--outputs", "mask"]),
    ("mask.png", "out.png", "out.png", ["photo.png", "--mask", "{0}"]),
    ("lm.png", "lm2.png", "lm2.png", ["photo.png", "--light-map", "{0}"]),
    ("lm.png", "out-lightmap.png", "out.png", ["photo.png", "--light-map", "{0}", "--outputs", "lightmap"]),
    ("photo.png", "out-1.png", "out.png", ["photo.png", "--mode", "fbc", "--background", "{0}", "--batch", "2"]),
]
"""a picture, its name in the way of an output, -o, the other words"""


@pytest.mark.parametrize("how", ["itself", "link", "hard link", "linked to"])
@pytest.mark.parametrize(("source", "name", "out", "words"), OVERWRITING, ids=[one[1] for one in OVERWRITING])
def test_no_picture_that_is_read_is_written_over(folder: Path, capsys: pytest.CaptureFixture[str], source: str,
                                                 name: str, out: str, words: list[str], how: str,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    given = name
    if how == "link":  # the output's name is a link to what is read
        (folder / name).symlink_to(source)
        given = source
    elif how == "hard link":
        os.link(folder / source, folder / name)
        given = source
    elif how == "linked to":  # what is read is a link to the output's name
        (folder / name).write_bytes((folder / source).read_bytes())
        given = "a link.png"
        (folder / given).symlink_to(name)
    else:
        (folder / name).write_bytes((folder / source).read_bytes())
    before = content(folder)
    monkeypatch.setattr("lib_iclight.session.Session.relight", no_work)
    foreground, *more = [word.format(given) for word in words]
    assert relight(folder, foreground, out, *more) == 2
    assert f"{name} is one of the pictures to read" in capsys.readouterr().err
    assert content(folder) == before


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_cut_out_goes_over_neither_picture_nor_mask(folder: Path, capsys: pytest.CaptureFixture[str],
                                                      link: Any) -> None:
    for read in ("photo.png", "mask.png"):
        link(folder / read, folder / f"link of {read}")
        before = content(folder)
        for out in (read, f"link of {read}"):
            assert cli.main(["cutout", str(folder / "photo.png"), "-o", str(folder / out),
                             "--mask", str(folder / "mask.png")]) == 2
            assert "pictures to read" in capsys.readouterr().err
        assert content(folder) == before


def test_an_output_that_is_a_link_becomes_a_file(folder: Path) -> None:
    """What the link led to is another picture, that nobody asked to be written over."""
    Image.new("RGB", (9, 9), "red").save(folder / "other.png")
    before = content(folder)
    (folder / "out.png").symlink_to("other.png")
    assert relight(folder, "photo.png", "out.png") == 0
    after = content(folder)
    assert not (folder / "out.png").is_symlink() and after.pop("out.png") != before["other.png"]
    assert after == before


def test_an_older_output_is_replaced(folder: Path) -> None:
    """As with -o of other programs."""
    (folder / "out.png").write_text("an older one")
    assert relight(folder, "photo.png", "out.png") == 0
    with Image.open(folder / "out.png") as picture:
        assert picture.size == (64, 64)


# --- what can be told beforehand ----------------------------------------------------------------------------------


def test_names_as_long_as_names_can_be(folder: Path, capsys: pytest.CaptureFixture[str],
                                       monkeypatch: pytest.MonkeyPatch) -> None:
    name = "x" * 250 + ".png"
    assert relight(folder, "photo.png", name) == 0
    assert name in content(folder)
    before = content(folder)
    monkeypatch.setattr("lib_iclight.session.Session.relight", no_work)
    for words in (["--batch", "2"], ["--outputs", "mask"]):
        assert relight(folder, "photo.png", name, *words) == 2
        assert "File name too long" in capsys.readouterr().err
    assert content(folder) == before


@pytest.mark.parametrize("ending", [".png", ".jpg", ".webp"])
def test_bytes_that_are_no_text(folder: Path, ending: str) -> None:
    """What a shell makes of $'\\xff', in both prompts and in the name."""
    assert relight(folder, "photo.png", f"out\udcff{ending}", "--prompt", "a \udcff cat", "--negative-prompt", "\udcfe",
                   "--cfg", "3") == 0
    text = read_text(folder / f"out\udcff{ending}")
    assert text.startswith("a ? cat\nNegative prompt: ?\n")  # and whole behind it
    assert infotext.read(text)["Prompt"] == "a \udcff cat"


def test_more_pixels_than_the_format_takes(folder: Path, capsys: pytest.CaptureFixture[str],
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lib_iclight.session.Session.relight", no_work)
    before = content(folder)
    code = cli.main(["relight", str(folder / "photo.png"), "-o", str(folder / "out.webp"), "--width", "4096",
                     "--height", "64", "--hires-scale", "4"])
    assert code == 2
    assert "16384 x 256 pixels, and a .webp has at most 16383" in capsys.readouterr().err
    assert content(folder) == before


@pytest.mark.parametrize("command", ["relight", "cutout"])
def test_a_cut_out_of_more_pixels_than_the_format_takes(folder: Path, capsys: pytest.CaptureFixture[str], command: str,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    """It is as large as its picture, which is known."""
    Image.new("RGB", (16400, 40), "teal").save(folder / "wide.png")
    Image.new("L", (16400, 40), 255).save(folder / "wide mask.png")
    before = content(folder)
    monkeypatch.setattr("lib_iclight.session.Session.relight", no_work)
    monkeypatch.setattr("lib_iclight.subject.Subject.cutout", no_work)
    words = ["--mask", str(folder / "wide mask.png")]
    if command == "relight":
        words += ["--outputs", "cutout", *QUICK]
    assert cli.main([command, str(folder / "wide.png"), "-o", str(folder / "out.webp"), *words]) == 2
    assert "16400 x 40 pixels, and a .webp has at most 16383" in capsys.readouterr().err
    assert content(folder) == before


def test_a_prompt_longer_than_the_format_takes(folder: Path, capsys: pytest.CaptureFixture[str],
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lib_iclight.session.Session.relight", no_work)
    assert relight(folder, "photo.png", "out.jpg", "--prompt", "cat " * 9000) == 2
    assert "Shorten the prompt, or write a .png" in capsys.readouterr().err


# --- what a picture tells -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".png", ".jpg", ".webp"])
@pytest.mark.parametrize("side", [1, 8, 15, 16])
def test_a_small_picture_tells_as_much_as_any_other(folder: Path, capsys: pytest.CaptureFixture[str], side: int,
                                                    ending: str) -> None:
    path = folder / f"small{ending}"
    save_picture(Image.new("RGB", (side, side)), path, "a cat\nSteps: 5")
    assert cli.main(["info", str(path)]) == 0 and "Steps: 5" in capsys.readouterr().out
    save_picture(Image.new("RGB", (side, side)), path)
    assert cli.main(["info", str(path)]) == 2
    told = capsys.readouterr().err
    assert "tells nothing of its making" in told and "small" not in told.replace(path.name, "")


def test_a_picture_that_is_not_read_to_its_end_says_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    (folder / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk
                                      + struct.pack(">I", zlib.crc32(chunk)) + struct.pack(">I", 5)
                                      + b"IDAT" + bytes(9))
    assert cli.main(["info", str(folder / "huge.png")]) == 2
    assert "too large to be read to its end" in capsys.readouterr().err


# --- consoles -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_consoles_that_know_few_letters(folder: Path, encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict") for _ in range(2))
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    (folder / "photo.png").rename(folder / "猫.png")
    name = "光\udcff.png"
    assert relight(folder, "猫.png", name, "--prompt", "猫", "--light", "top", "--background-tint", "0.5") == 0
    assert cli.main(["info", str(folder / name)]) == 0
    assert relight(folder, "没有.png", "光.png") == 2
    out.flush()
    err.flush()
    said, told = (stream.buffer.getvalue().decode(encoding) for stream in (out, err))
    assert "\\u5149\\udcff.png" in said and "\\u732b\n" in said.replace("\r", "")
    assert "warning: " in told and "\\u6ca1\\u6709.png" in told


# --- what fails after the work ------------------------------------------------------------------------------------


def test_of_two_jobs_to_one_file_one_stays_whole(folder: Path) -> None:
    alone = {}
    for seed in ("1", "2"):
        assert relight(folder, "photo.png", f"alone-{seed}.png", "--seed", seed) == 0
        alone[seed] = (folder / f"alone-{seed}.png").read_bytes()
    command = [sys.executable, "-m", "lib_iclight", "relight", str(folder / "photo.png"), "-o",
               str(folder / "out.png"), *QUICK, "--seed"]
    jobs = [subprocess.Popen([*command, seed], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                             env={**os.environ, "OMP_NUM_THREADS": "1"}) for seed in alone]
    assert [job.wait(300) for job in jobs] == [0, 0]
    after = content(folder)
    assert after["out.png"] in alone.values()
    assert not [name for name in after if name.endswith(".part")]


@pytest.mark.parametrize("at", ["fsync", "replace"])
@pytest.mark.parametrize("number", [1, 2])
def test_ctrl_c_while_writing(folder: Path, capsys: pytest.CaptureFixture[str], at: str, number: int,
                              default_sigint: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole pictures or the old ones, and nothing beside them."""
    for name in ("out-1.png", "out-2.png"):
        (folder / name).write_bytes(b"old")
    own, calls, before = getattr(os, at), [], content(folder)

    def interrupted(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == number:
            os.kill(os.getpid(), signal.SIGINT)
        return own(*args)

    monkeypatch.setattr(os, at, interrupted)
    assert relight(folder, "photo.png", "out.png", "--batch", "2") == 130
    assert capsys.readouterr().err.splitlines()[-1] == "interrupted"
    after = content(folder)
    assert sorted(after) == sorted(before)
    assert after["out-2.png"] == b"old"
    assert (after["out-1.png"] == b"old") == (number == 1)


@pytest.mark.parametrize("outputs", [[], ["--outputs", "raw,mask"]])
def test_a_disk_that_is_full_after_the_work(folder: Path, elsewhere: Path, capsys: pytest.CaptureFixture[str],
                                            outputs: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every picture lies elsewhere then, and the error says where."""
    before, own = content(folder), os.replace

    def full(source: Any, target: Any) -> None:
        if Path(target).parent == folder:
            raise OSError(errno.ENOSPC, "No space left on device")
        own(source, target)

    monkeypatch.setattr(os, "replace", full)
    assert relight(folder, "photo.png", "out.png", "--batch", "3", *outputs) == 2
    error = capsys.readouterr().err
    assert "No space left on device" in error and "Traceback" not in error
    assert content(folder) == before
    saved = sorted(elsewhere.glob("*/*"))
    wanted = ["out-1.png", "out-2.png", "out-3.png"]
    if outputs:
        wanted += ["out-1-raw.png", "out-2-raw.png", "out-3-raw.png", "out-mask.png"]
    assert sorted(path.name for path in saved) == sorted(wanted)
    for path in saved:
        assert str(path) in error
        with Image.open(path) as picture:
            picture.load()
    assert "Seed: 6" in read_text(next(path for path in saved if path.name == "out-2.png"))


def test_one_picture_that_cannot_be_written_keeps_no_other_from_it(
        folder: Path, elsewhere: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    own = os.replace

    def full(source: Any, target: Any) -> None:
        if Path(target) == folder / "out-1.png":
            raise OSError(errno.ENOSPC, "No space left on device")
        own(source, target)

    monkeypatch.setattr(os, "replace", full)
    assert relight(folder, "photo.png", "out.png", "--batch", "2") == 2
    captured = capsys.readouterr()
    [saved] = elsewhere.glob("*/*")
    assert saved.name == "out-1.png" and str(saved) in captured.err
    assert captured.out.splitlines()[-1] == str(folder / "out-2.png")
    assert "out-2.png" in content(folder)


def test_a_folder_that_is_gone_after_the_work(folder: Path, elsewhere: Path, capsys: pytest.CaptureFixture[str],
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    from lib_iclight.session import Session

    target = folder / "new"
    target.mkdir()
    own = Session.relight

    def gone(*args: Any, **options: Any) -> Any:
        made = own(*args, **options)
        target.rmdir()
        return made

    monkeypatch.setattr(Session, "relight", gone)
    assert relight(folder, "photo.png", "new/out.png") == 2
    [saved] = elsewhere.glob("*/*")
    assert re.search(f"No such file.*saved as {re.escape(str(saved))}", capsys.readouterr().err)


def test_a_console_that_is_gone_costs_no_picture(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `| head -n 0` or a closed window leaves it."""
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr(sys, "stdout", Gone())
    assert relight(folder, "photo.png", "out.png", "--batch", "2") != 0
    assert {"out-1.png", "out-2.png"} <= set(content(folder))
