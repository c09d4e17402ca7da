"""The command line: what it writes, says and returns, and that a mistake is one line and no file."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lib_iclight import cli
from lib_iclight.cli.options import lora, size_of
from lib_iclight.generation import comfortable_size
from lib_iclight.hosts.standalone.checkpoint import StableDiffusion15
from lib_iclight.hosts.standalone.loras import Lora
from lib_iclight.hosts.standalone.pocket import SIDE
from lib_iclight.lights import light_map
from lib_iclight.settings import FIELDS, Settings, from_infotext, schema
from lib_iclight.weights.keys import shapes

ROOT = Path(__file__).resolve().parent.parent
QUICK = ["--width", "64", "--height", "64", "--steps", "1", "--device", "cpu"]
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A 48 x 40 picture with a transparent left half."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 48, 4), dtype=np.uint8)
    pixels[..., 3] = 255
    pixels[:, :24, 3] = 0
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An empty folder."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def weights_file(path: Path, inputs: int) -> Path:
    """Sound fp8 weights of zeros that take no room on the disk."""
    header, end = {}, 0
    for key, shape in shapes("ldm", inputs).items():
        begin, end = end, end + math.prod(shape)
        header[key] = {"dtype": "F8_E4M3", "shape": list(shape), "data_offsets": [begin, end]}
    raw = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(raw).to_bytes(8, "little") + raw)
        file.truncate(8 + len(raw) + end)
    return path


# --- relight ------------------------------------------------------------------------------------------------------


def test_relight_writes_a_picture_that_says_how_it_was_made(
        photo: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = cli.main(["relight", str(photo), "-o", str(out / "relit.png"), "--light", "left",
                     "--prompt", "a cat: sunset", "--seed", "7", "--light-denoise", "0.8", "--mask-feather", "2",
                     *QUICK])
    captured = capsys.readouterr()
    assert code == 0
    assert names(out) == ["relit.png"]
    assert "note: this is the pocket model" in captured.err
    assert captured.out.splitlines() == [str(out / "relit.png")]
    assert "sampling" in captured.err
    with Image.open(out / "relit.png") as picture:
        assert (picture.mode, picture.size) == ("RGB", (64, 64))
        prompt, negative, values = picture.info["parameters"].split("\n")
    assert prompt == "a cat: sunset"
    assert negative == "Negative prompt: lowres, bad anatomy, bad hands, cropped, worst quality"
    assert values.startswith("Steps: 1, Sampler: Euler, CFG scale: 3, Seed: 7, Size: 64x64, "
                             "Model: pocket, ")
    read = from_infotext(dict(re.findall(r"(IC-Light[^:]*): ([^,]+)", values)))
    assert {name: read[name] for name in ("mode", "light", "light_denoise", "mask_feather")} == {
        "mode": "fc", "light": "left", "light_denoise": 0.8, "mask_feather": 2.0}


def test_several_pictures_and_extras_lie_side_by_side(
        photo: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = '{"lights": [{"kind": "directional", "angle": 90}]}'
    code = cli.main(["relight", str(photo), "-o", str(out / "relit.jpg"), "--batch", "2", "--light", spec,
                     "--seed", "3", "--outputs", "cutout,mask,lightmap,raw", "--hires-scale", "2", *QUICK])
    assert code == 0
    assert names(out) == ["relit-1-raw.jpg", "relit-1.jpg", "relit-2-raw.jpg", "relit-2.jpg", "relit-cutout.png",
                          "relit-lightmap.jpg", "relit-mask.jpg"]
    said = capsys.readouterr().out.splitlines()
    assert sorted(said) == sorted(str(out / name) for name in names(out))
    with Image.open(out / "relit-2.jpg") as picture, Image.open(out / "relit-cutout.png") as cutout:
        assert (picture.format, picture.size) == ("JPEG", (128, 128))
        assert np.array_equal(np.asarray(cutout), np.asarray(Image.open(photo)))


def test_the_same_seed_gives_the_same_picture_in_a_batch_and_alone(photo: Path, out: Path) -> None:
    assert cli.main(["relight", str(photo), "-o", str(out / "a.png"), "--seed", "4", "--batch", "2", *QUICK]) == 0
    assert cli.main(["relight", str(photo), "-o", str(out / "b.png"), "--seed", "5", *QUICK]) == 0
    assert Image.open(out / "a-2.png").tobytes() == Image.open(out / "b.png").tobytes()
    assert Image.open(out / "a-1.png").tobytes() != Image.open(out / "b.png").tobytes()


def test_fbc_takes_its_own_defaults(photo: Path, out: Path, tmp_path: Path) -> None:
    Image.new("RGB", (80, 60), "navy").save(tmp_path / "sea.webp")
    code = cli.main(["relight", str(photo), "-o", str(out / "relit.png"), "--mode", "fbc", "--background",
                     str(tmp_path / "sea.webp"), "--width", "64", "--height", "64", "--device", "cpu"])
    assert code == 0
    with Image.open(out / "relit.png") as picture:
        assert re.search(r"Steps: 3, Sampler: Euler, CFG scale: 1, .*IC-Light mode: fbc", picture.info["parameters"])


def test_what_has_no_effect_is_told_and_not_claimed(photo: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = cli.main(["relight", str(photo), "-o", str(out / "relit.png"), "--background-tint", "0.5", "--light", "top",
                     "--hires-denoise", "0.3", "--negative-prompt", "fog", "--cfg", "1", *QUICK])
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert code == 0 and len(told) == 3
    for part, line in zip(("hires pass's denoise", "negative prompt", "background's tint"), told, strict=True):
        assert part in line
    with Image.open(out / "relit.png") as picture:
        assert "IC-Light light: top" in picture.info["parameters"]
        assert "tint" not in picture.info["parameters"]


@pytest.mark.parametrize("form", ["JPEG", "TIFF", "PNG", "WEBP"])
def test_the_size_is_that_of_the_upright_picture(form: str) -> None:
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.new("RGB", (60, 30), "teal").save(file, form, exif=exif)
    assert size_of(Settings(foreground=file.getvalue())) == (30, 60)


@pytest.mark.parametrize("size", [(60, 30), (30, 60), (50, 50)])
def test_the_size_follows_the_foreground(out: Path, tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("RGB", size, "teal").save(tmp_path / "photo.png")
    argv = ["relight", str(tmp_path / "photo.png"), "-o", str(out / "relit.png"), "--matting", "none", "--steps", "1",
            "--device", "cpu"]
    assert cli.main(argv) == 0
    with Image.open(out / "relit.png") as picture:
        assert picture.size == comfortable_size(*size, native=SIDE)
        assert picture.width * size[1] == picture.height * size[0]
    assert cli.main([*argv, "--width", "64"]) == 0
    with Image.open(out / "relit.png") as picture:
        assert picture.size == (64, SIDE)


@pytest.mark.parametrize(("text", "file", "strength"), [
    ("a.safetensors", "a.safetensors", 1.0), ("a.safetensors:0.5", "a.safetensors", 0.5),
    ("C:\\loras\\a.safetensors", "C:\\loras\\a.safetensors", 1.0),
    ("C:\\loras\\a.safetensors:-0.8", "C:\\loras\\a.safetensors", -0.8),
    ("a:b.safetensors", "a:b.safetensors", 1.0),
])
def test_loras_and_their_strength(monkeypatch: pytest.MonkeyPatch, text: str, file: str, strength: float) -> None:
    monkeypatch.setattr(Lora, "__post_init__", lambda self: None)
    assert lora(text) == Lora(Path(file), strength)


def test_every_setting_has_a_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main(["relight", "--help"])
    help_text = capsys.readouterr().out
    flags = {f"--{field.name.replace('_', '-')}" for field in FIELDS}
    listed = set(re.findall(r"--[a-z-]+", help_text))
    assert flags - listed == {"--enabled", "--foreground", "--stage"}
    assert {"--prompt", "--negative-prompt", "--width", "--height", "--steps", "--cfg", "--seed", "--sampler", "--lora",
            "--checkpoint", "--hires-scale", "--hires-denoise", "--batch", "--weights-dir", "--matting-dir",
            "--no-keep-background"} <= listed


# --- the other commands -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["fc", "fbc"])
def test_lightmap(out: Path, mode: str) -> None:
    assert cli.main(["lightmap", "-o", str(out / "map.png"), "--light", "top", "--mode", mode, "--width", "64",
                     "--height", "96"]) == 0
    assert np.array_equal(np.asarray(Image.open(out / "map.png")), light_map("top", 64, 96, mode))  # type: ignore[arg-type]


def test_cutout_keeps_colour_and_transparency(photo: Path, out: Path) -> None:
    assert cli.main(["cutout", str(photo), "-o", str(out / "cut.png")]) == 0
    assert np.array_equal(np.asarray(Image.open(out / "cut.png")), np.asarray(Image.open(photo)))


def test_cutout_takes_a_mask_and_refines_it(photo: Path, out: Path, tmp_path: Path) -> None:
    mask = np.zeros((40, 48), np.uint8)
    mask[:, 36:] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    assert cli.main(["cutout", str(photo), "-o", str(out / "cut.png"), "--mask", str(tmp_path / "mask.png"),
                     "--mask-invert", "--matting-device", "gpu"]) == 0
    alpha = np.asarray(Image.open(out / "cut.png"))[..., 3]
    # The picture's own left half is transparent, and the mask's right quarter is turned round.
    assert np.array_equal(alpha, np.where((np.arange(48) >= 24) & (np.arange(48) < 36), 255, 0)[None].repeat(40, 0))


def test_weights_tells_what_a_file_is(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                      monkeypatch: pytest.MonkeyPatch) -> None:
    path = weights_file(tmp_path / "relight.safetensors", 12)
    digest = "0" * 64
    # a gigabyte need not be hashed here; hashing has its own tests
    monkeypatch.setattr("lib_iclight.weights.hashed", lambda file, progress: dataclasses.replace(file, sha256=digest))
    assert cli.main(["weights", str(path)]) == 0
    said = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert said == {"file:": "relight.safetensors", "kind:": "fbc", "inputs:": "12", "layout:": "ldm",
                    "dtype:": "fp8_e4m3", "keys:": "686", "size:": f"{path.stat().st_size} bytes", "sha256:": digest,
                    "official:": "no, its hash is not a published one"}
    digest = "bb8ccedaa4944b16cfa8356afcbc2c2174cc4c4af57de19124ae0cddd0d96947"
    assert cli.main(["weights", str(path)]) == 0
    assert "yes, iclight_sd15_fbc.safetensors" in capsys.readouterr().out


def test_settings_prints_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["settings"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(schema()))


# --- mistakes -----------------------------------------------------------------------------------------------------


def assert_one_line(error: str, kind: str, message: str) -> None:
    assert error.count("\n") == 1
    assert error.startswith(f"IC-Light: {kind}: ")
    assert message in error


RELIGHT = ["relight", "{photo}", "-o", "{out}/relit.png", *QUICK]
MISTAKES: list[tuple[list[str], str, str]] = [
    ([], "SettingsError", "COMMAND"),
    (["relihgt"], "SettingsError", "relihgt"),
    (["relight", "{photo}"], "SettingsError", "--output"),
    (["relight", "-o", "{out}/relit.png"], "SettingsError", "FOREGROUND"),
    ([*RELIGHT, "--colour", "red"], "SettingsError", "--colour"),
    ([*RELIGHT, "--steps", "many"], "SettingsError", "--steps"),
    (["relight", "{photo}", "-o", "{out}/relit.png", "--steps", "0"], "SettingsError", "steps"),
    (["relight", "{photo}", "-o", "{out}/relit.png", "--width", "100"], "SettingsError", "multiple of 8"),
    ([*RELIGHT, "--seed", "-2"], "SettingsError", "seed"),
    ([*RELIGHT, "--cfg", "nan"], "SettingsError", "cfg"),
    ([*RELIGHT, "--light-denoise", "nan"], "SettingsError", "light_denoise"),
    ([*RELIGHT, "--light-denoise", "2"], "SettingsError", "light_denoise"),
    ([*RELIGHT, "--mode", "sdxl"], "SettingsError", "fc, fcon, fbc"),
    ([*RELIGHT, "--sampler", "Magic"], "SettingsError", "DPM++ 2M SDE Karras"),
    ([*RELIGHT, "--outputs", "cutout,all"], "SettingsError", "'all'"),
    ([*RELIGHT, "--light", "lfet"], "LightError", "left"),
    ([*RELIGHT, "--light", '{"lights": ['], "LightError", ""),
    ([*RELIGHT, "--start", "light"], "SettingsError", "there is no light"),
    ([*RELIGHT, "--mode", "fbc"], "ImageError", "background"),
    ([*RELIGHT, "--background", "{out}/missing.png"], "ImageError", "missing.png"),
    (["relight", "{photo}", "-o", "{out}/relit.png", "--device", "tpu"], "HostError", "there is no device"),
    ([*RELIGHT, "--weights", "../secret.safetensors"], "SettingsError", "never a path"),
    ([*RELIGHT, "--weights", "other.safetensors"], "SettingsError", "pocket model"),
    ([*RELIGHT, "--checkpoint", "{out}/missing.safetensors"], "CheckpointError", "missing.safetensors"),
    ([*RELIGHT, "--checkpoint", "{photo}"], "CheckpointError", "photo.png"),
    ([*RELIGHT, "--checkpoint", "{out}"], "CheckpointError", "not a diffusers folder"),
    ([*RELIGHT, "--lora", "{out}/missing.safetensors:0.5"], "WeightsError", "missing.safetensors"),
    ([*RELIGHT, "--matting", "no-such-model", "--matting-dir", "{out}"], "MattingError", "no-such-model"),
    (["relight", "{out}/missing.png", "-o", "{out}/relit.png"], "ImageError", "missing.png"),
    (["relight", "{out}", "-o", "{out}/relit.png"], "ImageError", "{out}"),
    (["relight", "{text}", "-o", "{out}/relit.png"], "ImageError", "PNG, JPEG"),
    (["relight", "{clear}", "-o", "{out}/relit.png"], "ImageError", "fully transparent"),
    (["relight", "{dot}", "-o", "{out}/relit.png"], "ImageError", "too small"),
    (["relight", "{photo}", "-o", "{out}/relit.bmp"], "ImageError", ".png, .jpg"),
    (["relight", "{photo}", "-o", "{out}/relit"], "ImageError", ".png, .jpg"),
    (["relight", "{photo}", "-o", "{out}/none/relit.png"], "ImageError", "no folder"),
    (["relight", "{photo}", "-o", "{text}/relit.png"], "ImageError", "no folder"),
    (["relight", "{photo}", "-o", "{photo}"], "ImageError", "one of the pictures to read"),
    (["lightmap", "-o", "{out}/map.png"], "LightError", "--light left"),
    (["lightmap", "-o", "{out}/map.png", "--light", "left", "--width", "9"], "SettingsError", "width"),
    (["cutout", "{photo}", "-o", "{out}/cut.jpg"], "ImageError", ".png, .webp"),
    (["cutout", "{out}/missing.png", "-o", "{out}/cut.png"], "ImageError", "missing.png"),
    (["cutout", "{photo}", "-o", "{out}/cut.png", "--mask", "{out}/missing.png"], "ImageError", "the mask"),
    (["cutout", "{photo}", "-o", "{out}/cut.png", "--mask", "{dot}"], "ImageError", "the mask is 1 x 1"),
    (["cutout", "{photo}", "-o", "{out}/cut.png", "--mask-grow", "65"], "SettingsError", "mask_grow"),
    (["cutout", "{photo}", "-o", "{out}/cut.png", "--matting-device", "tpu"], "SettingsError", "cpu or gpu"),
    (["weights", "{out}/missing.safetensors"], "WeightsError", "missing.safetensors"),
    (["weights", "{text}"], "WeightsError", "notes.txt"),
    (["settings", "now"], "SettingsError", "now"),
]


@pytest.mark.parametrize(("argv", "kind", "message"), MISTAKES,
                         ids=[" ".join(argv) or "nothing" for argv, *_ in MISTAKES])
def test_a_mistake_is_one_line_and_no_file(photo: Path, out: Path, capsys: pytest.CaptureFixture[str],
                                           argv: list[str], kind: str, message: str) -> None:
    places = {"photo": photo, "out": out, "text": photo.with_name("notes.txt"), "clear": photo.with_name("clear.png"),
              "dot": photo.with_name("dot.png")}
    places["text"].write_text("no picture")
    Image.new("RGBA", (32, 32)).save(places["clear"])
    Image.new("RGB", (1, 1)).save(places["dot"])
    before = names(photo.parent)

    def filled(text: str) -> str:
        for name, path in places.items():
            text = text.replace("{" + name + "}", str(path))
        return text

    assert cli.main([filled(word) for word in argv]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert_one_line(captured.err, kind, filled(message))
    assert (names(out), names(photo.parent)) == ([], before)


def test_missing_weights_offline_name_the_file_and_the_folder(
        photo: Path, out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("ICLIGHT_HOME", str(photo.parent / "home"))

    class Stub(StableDiffusion15):
        name = "stub"

    monkeypatch.setattr("lib_iclight.hosts.standalone.checkpoint.open_checkpoint", lambda path: Stub())
    assert cli.main(["relight", str(photo), "-o", str(out / "relit.png"), "--checkpoint", "sd15.safetensors"]) == 2
    error = capsys.readouterr().err
    assert_one_line(error, "DownloadError", "iclight_sd15_fc.safetensors")
    assert f"put it into models/ic-light. [{photo.parent}" in error
    assert names(out) == []


def test_a_picture_that_cannot_be_written_leaves_nothing(
        photo: Path, out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert cli.main(["lightmap", "-o", str(out / "map.png"), "--light", "left"]) == 2
    assert_one_line(capsys.readouterr().err, "ImageError", "No space left on device")
    assert names(out) == []


def test_as_a_program(photo: Path, out: Path) -> None:
    """The mistake's exit code and line, then an interrupt in the middle of the sampling."""
    command = [sys.executable, "-m", "lib_iclight", "relight", str(photo), "-o", str(out / "relit.png")]
    wrong = subprocess.run([*command, "--mode", "sdxl"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert_one_line(wrong.stderr, "SettingsError", "mode")

    process = subprocess.Popen([*command, "--steps", "900", "--device", "cpu"], cwd=ROOT, stderr=subprocess.PIPE,
                               stdout=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"},
                               # A shell that runs us in the background has us ignore interrupts.
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    assert process.stderr is not None
    seen, until = b"", time.monotonic() + 120
    while b"sampling" not in seen and process.poll() is None and time.monotonic() < until:
        seen += os.read(process.stderr.fileno(), 4096)
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130, (seen + rest).decode()
    assert b"Traceback" not in seen + rest
    assert names(out) == []
