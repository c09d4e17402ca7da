"""No flag is dropped in silence: each of every command changes what comes out, or is refused, or told of by name.

What settings change in a relight test_sensitivity.py shows; here is every other flag, and that none is left out.
"""

from __future__ import annotations

import argparse
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image
from tiny_onnx import pixelwise

from lib_iclight import cli
from lib_iclight.cli import COMMANDS, parser_of_all
from lib_iclight.imaging.save import read_text
from lib_iclight.settings import FIELDS
from lib_iclight.stage import FOUR, StageWriter

pytestmark = pytest.mark.usefixtures("one_thread", "offline")
QUICK = ("--width", "64", "--height", "64", "--steps", "1", "--device", "cpu", "--seed", "5")
BASES: dict[str, tuple[str, ...]] = {
    "relight": ("photo.png", "-o", "out/a.png", *QUICK), "stage": ("photo.png", "-o", "out/set", "--rig", "4", *QUICK),
    "preview": ("photo.png", "-o", "out/a.png", "--light", "top-left"), "mix": ("set", "-o", "out/a.png"),
    "normals": ("set", "-o", "out/a.png"), "albedo": ("set", "-o", "out/a.png"), "depth": ("set", "-o", "out/a.png"),
    "animate": ("set", "-o", "out/a.webp", "--seconds", "1", "--fps", "4"), "desk": ("set", "-o", "out/a.html"),
    "lightmap": ("-o", "out/a.png", "--light", "left", "--width", "64", "--height", "64"),
    "lightfrom": ("photo.png",), "cutout": ("photo.png", "-o", "out/a.png"), "info": ("made.png",),
    "weights": ("no.safetensors",), "settings": (), "doctor": (), "batch": ("no", "-o", "out")}
"""the words of a run that succeeds, but of `weights`"""
CHANGES = "changes"


class Case(NamedTuple):
    """A flag of a command: what it does where the words `beside` are given too."""

    command: str
    flag: str
    values: tuple[str, ...] = ()
    does: str = CHANGES
    """or what is said in refusing it, or in warning of it"""
    beside: tuple[str, ...] = ()


UNUSED_MODEL = "{flag} is not used: nothing was to be cut out by a model"
MODEL = ("--matting", "mine", "--matting-dir", "models")
CASES = [
    *(Case(command, "--output", ("out/b" + ending,)) for command, ending in (
        ("relight", ".png"), ("stage", "set2"), ("preview", ".png"), ("normals", ".png"), ("albedo", ".png"),
        ("depth", ".png"), ("desk", ".html"), ("lightmap", ".png"), ("cutout", ".png"))),
    Case("mix", "--output", ("out/b.png",), beside=("--light", "top")),
    Case("animate", "--output", ("out/b.webp",), beside=("--orbit",)),
    *(Case("relight", flag, values, does, beside) for flag, values, does, beside in (
        ("--prompt", ("a red ball",), CHANGES, ()), ("--negative-prompt", ("fog",), CHANGES, ()),
        ("--negative-prompt", ("fog",), "negative prompt is not used", ("--cfg", "1")),
        ("--width", ("128",), CHANGES, ()), ("--height", ("128",), CHANGES, ()), ("--steps", ("2",), CHANGES, ()),
        ("--cfg", ("4",), CHANGES, ()), ("--seed", ("6",), CHANGES, ()), ("--sampler", ("DDIM",), CHANGES, ()),
        ("--sampler", ("euler A",), "Did you mean 'Euler a'", ()), ("--hires-scale", ("2",), CHANGES, ()),
        ("--hires-denoise", ("0.9",), CHANGES, ("--hires-scale", "2")),
        ("--hires-denoise", ("0.9",), "hires pass's denoise is not used", ()), ("--batch", ("2",), CHANGES, ()),
        ("--checkpoint", ("missing",), "missing", ()), ("--lora", ("missing.safetensors",), "missing", ()),
        ("--device", ("cuda:99",), "cuda", ()), ("--weights-dir", ("models",), "{flag} is not used: the pocket", ()))),
    *(Case("stage", flag, values, does) for flag, values, does in (
        ("--rig", ("8",), CHANGES), ("--from-lp", ("set/stage.lp",), "PHOTO does not go with --from-lp"),
        ("--to-lp", ("set",), "PHOTO does not go with --to-lp"),
        ("--light", ("left",), "unrecognized arguments"), ("--prompt", ("a red ball",), CHANGES),
        ("--negative-prompt", ("fog",), CHANGES), ("--width", ("128",), CHANGES), ("--height", ("128",), CHANGES),
        ("--steps", ("2",), CHANGES), ("--cfg", ("4",), CHANGES), ("--seed", ("6",), CHANGES),
        ("--sampler", ("DDIM",), CHANGES), ("--hires-scale", ("2",), CHANGES),
        ("--hires-denoise", ("0.9",), "hires pass's denoise is not used"), ("--batch", ("2",), CHANGES),
        ("--checkpoint", ("missing",), "missing"), ("--lora", ("missing.safetensors",), "missing"),
        ("--device", ("cuda:99",), "cuda"), ("--weights-dir", ("models",), "{flag} is not used: the pocket"))),
    *(Case(command, flag, (value,), does, beside) for command in ("relight", "stage", "preview", "cutout")
      for flag, value, does, beside in (
        ("--matting-dir", "models", CHANGES, ("--matting", "mine")),
        ("--matting-dir", "models", UNUSED_MODEL, ()),  # the picture is transparent
        ("--matting-dir", "models", UNUSED_MODEL, ("--mask", "mask.png")),
        ("--matting-dir", "models", UNUSED_MODEL, ("--matting", "none")),
        ("--matting-device", "gpu", UNUSED_MODEL, ()), ("--matting-device", "gpu", "the GPU failed", MODEL),
        ("--matting-device", "tpu", "cpu or gpu", ()))),
    Case("lightfrom", "--matting-dir", ("models",), UNUSED_MODEL),
    Case("lightfrom", "--matting-dir", ("models",), CHANGES, ("--matting", "mine")),
    Case("lightfrom", "--matting-device", ("gpu",), UNUSED_MODEL),
    Case("lightfrom", "--matting-device", ("gpu",), "the GPU failed", MODEL),
    Case("lightfrom", "--matting", ("auto",)), Case("lightfrom", "--mask", ("mask.png",)),
    Case("lightfrom", "--matting", ("mine",), "cut-out that was chosen is not used", ("--mask", "mask.png")),
    *(Case(command, flag, values, does, beside) for command in ("preview", "cutout") for flag, values, does, beside in (
        ("--matting", ("none",), CHANGES, ()), ("--mask", ("mask.png",), CHANGES, ()),
        ("--matting", ("none",), "cut-out that was chosen is not used", ("--mask", "mask.png")),
        ("--mask-contrast", ("1",), CHANGES, ()), ("--mask-threshold", ("0.9",), CHANGES, ("--mask-contrast", "1")),
        ("--mask-threshold", ("0.9",), "threshold is not used", ()), ("--mask-grow", ("30",), CHANGES, ()),
        ("--mask-feather", ("30",), CHANGES, ()), ("--mask-largest", (), CHANGES, ("--mask", "spots.png")),
        ("--mask-invert", (), CHANGES, ()),
        *((flag, values, "changes to the cut-out are not used", ("--matting", "none")) for flag, values in (
            ("--mask-contrast", ("1",)), ("--mask-grow", ("3",)), ("--mask-feather", ("3",)), ("--mask-largest", ()),
            ("--mask-invert", ()))))),
    *(Case("preview", flag, values, does, beside) for flag, values, does, beside in (
        ("--light", ("top",), CHANGES, ()), ("--background", ("sea.png",), CHANGES, ()),
        ("--background-flip", (), CHANGES, ("--background", "sea.png")),
        ("--background-flip", (), "flip is not used", ()), ("--normals", ("normals.png",), CHANGES, ()),
        ("--convention", ("directx",), CHANGES, ("--normals", "normals.png")),
        ("--convention", ("directx",), "convention is not used", ()), ("--size", ("20",), CHANGES, ()))),
    *(Case("mix", flag, values, does, beside) for flag, values, does, beside in (
        ("--light", ("left",), CHANGES, ()), ("--weights", ('{"top": 1}',), CHANGES, ()),
        ("--environment", ("sunset",), CHANGES, ()), ("--mix", ("mix.json",), CHANGES, ()),
        ("--exposure", ("1",), "a saved mix has its own exposure", ("--mix", "mix.json")),
        ("--light", ("left",), "not allowed with", ("--weights", '{"top": 1}')),
        ("--rotate", ("90",), CHANGES, ("--environment", "sunset")),
        ("--rotate", ("90",), "--rotate turns an environment", ("--light", "left")),
        ("--exposure", ("1",), CHANGES, ("--light", "left")),
        ("--background", ("sea.png",), CHANGES, ("--light", "left")))),
    *(Case("animate", flag, values, does, beside) for flag, values, does, beside in (
        ("--orbit", (), CHANGES, ()), ("--path", ("[[0, 0], [1, 1]]",), CHANGES, ()),
        ("--environment", ("sunset",), CHANGES, ()), ("--seconds", ("2",), CHANGES, ("--orbit",)),
        ("--fps", ("5",), CHANGES, ("--orbit",)), ("--path", ("[[0, 0], [1, 1]]",), "not allowed with", ("--orbit",)))),
    Case("normals", "--relief", ("0.2",)), Case("normals", "--method", ("reference",)),
    Case("normals", "--relief", ("0.2",), "relief is not used", ("--method", "reference")),
    Case("lightmap", "--light", ("top",)), Case("lightmap", "--mode", ("fbc",)), Case("lightmap", "--width", ("80",)),
    Case("lightmap", "--height", ("80",)),
]
SETTINGS_OF = {(command, "--" + field.name.replace("_", "-")) for command in ("relight", "stage") for field in FIELDS}
"""settings of a relight: test_sensitivity.py"""
ELSEWHERE = {(command, flag) for command, flags in {
    "doctor": ("--photo", "--checkpoint", "--device", "--weights-dir", "--matting-dir", "--matting-device", "--compile",
               "--memory"),
    "relight": ("--compile", "--memory", "--controlnet", "--embeddings-dir", "--lora-dir", "--guidance-end",
                "--prompt-syntax", "--depth", "--gps", "--profile"),
    "stage": ("--compile", "--memory", "--controlnet", "--embeddings-dir", "--lora-dir", "--guidance-end",
              "--prompt-syntax", "--depth"),
    "preview": ("--mask-solid",), "cutout": ("--mask-solid",)}.items() for flag in flags} | SETTINGS_OF
"""test_doctor.py has its flags; of the others test_prompts.py, test_controlnet.py, test_standalone.py and test_save.py
show that they act. Whether each is told where it does not, has not been tried."""


def parsers() -> dict[str, argparse.ArgumentParser]:
    [commands] = [action for action in parser_of_all()._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(commands.choices)


def flags_of(parser: argparse.ArgumentParser) -> set[str]:
    """Each by its long name."""
    return {next(name for name in action.option_strings if name.startswith("--")) for action in parser._actions
            if action.option_strings and not isinstance(action, argparse._HelpAction)}


def test_every_flag_of_every_command_has_a_case() -> None:
    there = {(name, flag) for name, parser in parsers().items() for flag in flags_of(parser)}
    tried = {(case.command, case.flag) for case in CASES}
    assert set(parsers()) == set(COMMANDS) == set(BASES)
    assert {one for one in there - tried - ELSEWHERE if one[0] != "batch"} == set(), "tests/batch has those of batch"
    assert tried - there == {("stage", "--light")}, "which is refused"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures, a stage and a cut-out model."""
    folder = tmp_path_factory.mktemp("home")
    random = np.random.default_rng(0)
    y, x = np.mgrid[:60, :80]
    disc = (300 - 0.5 * (np.hypot(y - 30, x - 40) * 4) ** 1.2).clip(0, 255).astype(np.uint8)
    photo = np.dstack([(random.integers(0, 60, (60, 80, 3)) + 2 * x[..., None] + 20).astype(np.uint8), disc])
    spots = np.where((y < 12) & (x < 12), 255, disc // 128 * 255).astype(np.uint8)
    slopes = np.dstack([127 + 90 * np.cos(x / 12), 127 + 90 * np.sin(y / 9), 200 + 0 * x]).astype(np.uint8)
    for name, pixels in (("photo", photo), ("mask", np.roll(disc, 9, 1)), ("spots", spots), ("normals", slopes),
                         ("sea", np.roll(photo[..., [2, 0, 1]], 20, 0))):
        Image.fromarray(pixels).save(folder / f"{name}.png")
    writer = StageWriter(folder / "set", FOUR, (disc / 255).astype(np.float32))
    for lamp in FOUR:
        writer.add(lamp.name, random.integers(0, 200, (60, 80, 3), np.uint8))
    (folder / "mix.json").write_text('{"version": 1, "light": "top"}')
    (folder / "models").mkdir()
    (folder / "models" / "mine.onnx").write_bytes(pixelwise([1.0, 0.5, 0.0], -0.2))
    return folder


def outcome(home: Path, out: Path, argv: Sequence[str], capsys: pytest.CaptureFixture[str],
            caplog: pytest.LogCaptureFixture) -> tuple[Any, str]:
    """What came out of a run, files with their pixels and texts included; and what was said."""
    placed = [str(out / word[4:]) if word.startswith("out/") else str(home / word) if (home / word).exists() else word
              for word in argv]
    out.mkdir()
    caplog.clear()
    code = cli.main(placed)
    captured = capsys.readouterr()
    files = {str(path.relative_to(out)): (Image.open(path).convert("RGBA").tobytes(), re.sub(
        "Seed: .*", "", read_text(path))) if path.suffix in (".png", ".jpg") else path.read_bytes()
        for path in sorted(out.rglob("*")) if path.is_file()}
    said = captured.err + "".join(record.getMessage() for record in caplog.records)
    return (code, files, captured.out.replace(str(out), "")), said


def without(words: Sequence[str], flag: str) -> list[str]:
    """The words of a run, a flag and its value left out."""
    names = {flag, "-o"} if flag == "--output" else {flag}
    kept, skip = [], 0
    for word in words:
        skip = 2 if word in names else max(skip - 1, 0)
        if not skip:
            kept.append(word)
    return kept


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join([case.command, case.flag, *case.values, *case.beside])
                         )
def test_no_flag_is_dropped_in_silence(case: Case, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                       caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "iclight")
    base = [case.command, *BASES[case.command], *case.beside]
    argv = [*without(base, case.flag), case.flag, *case.values]
    found, said = outcome(home, tmp_path / "with", argv, capsys, caplog)
    if case.does != CHANGES:
        assert case.does.format(flag=case.flag) in said
        return
    assert found[0] == 0, said
    plain, _ = outcome(home, tmp_path / "without", base, capsys, caplog)
    assert found != plain


# --- twice ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [
    ["relight", "a.png", "-o", "b.png", "--light", "left", "--light", "right"],
    ["relight", "a.png", "-o", "b.png", "--output", "c.png"], ["relight", "a.png", "-o", "b.png", "-oc.png"],
    ["relight", "a.png", "-o", "b.png", "--mask-invert", "--no-mask-invert"],
    ["mix", "set", "-o", "a.png", "--light", "left", "--light=left"],
    ["animate", "set", "-o", "a.webp", "--orbit", "--orbit"],
    ["lightmap", "-o", "a.png", "--light", "left", "--width", "64", "--width", "128"],
    ["normals", "set", "-o", "a.png", "--relief", "0.1", "--relief", "0.2"],
])
def test_of_a_flag_that_is_given_twice_it_is_told_which_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                               capsys: pytest.CaptureFixture[str],
                                                               words: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    cli.main(words)
    assert re.match("warning: --[a-z-]+ is given twice: the last one counts", capsys.readouterr().err)


def test_what_may_be_given_several_times(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["cutout", str(home / "photo.png"), "-o", str(tmp_path / "a.png"), "--matting-dir", "no", "--matting-dir",
            str(home / "models"), "--matting", "mine"]
    assert cli.main(argv) == 0
    assert "twice" not in capsys.readouterr().err


def test_defaults_that_are_given_are_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--rig", "8"], ["--mode", "fbc"], ["--device", "auto"], ["--no-mask-invert"], ["--seed", "-1"]):
        assert cli.main(["stage", "--from-lp", "a.lp", "-o", str(tmp_path / "set"), *words]) == 2
        assert f"{words[0].replace('no-', '')} does not go with --from-lp" in capsys.readouterr().err


# --- help -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_help_speaks_of_the_command_line(command: str) -> None:
    text = " ".join(parsers()[command].format_help().split())
    if command != "batch":  # which can hand its work to a WebUI
        assert not re.search(r"img2img|txt2img|\btabs?\b|\bpanel\b|forge|A1111", text, re.IGNORECASE)
