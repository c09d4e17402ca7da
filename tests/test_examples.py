"""The recipes and the notebook of examples/, run on the pocket model at few steps: what comes out, and from where the
light falls in it."""

from __future__ import annotations

import ast
import json
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from miniature import Miniature
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from lib_iclight import Session
from lib_iclight.color import srgb_to_linear
from lib_iclight.hosts.standalone.pocket import SIDE
from lib_iclight.stage import load

pytestmark = pytest.mark.usefixtures("one_thread", "offline")

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
RECIPES: dict[str, tuple[tuple[object, ...], str]] = {
    "four_sides": (("photos/mine.png",), "left.png"),
    "product_set": (("photos", "--background", EXAMPLES / "rendered-wall.png"), "mine-??????????.png"),
    "portrait_stage": (("photos/mine.png", "--rig", "4"), "sunset.png"),
}
"""script -> what a person gives it, a photo or its folder first, and the file of a picture that then comes out"""
OTHER_SCRIPTS = ("api",)
"""what is no recipe: it needs a running WebUI"""
NOTEBOOKS = sorted(path.name for path in EXAMPLES.glob("*.ipynb"))
STEPS = 6


def run(name: str, words: Sequence[object], monkeypatch: pytest.MonkeyPatch) -> object:
    """A recipe as `python -m` runs it, in this process; returns its exit code, or the sentence that it ends with."""
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, words)])
    try:
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    except SystemExit as end:
        return end.code
    return 0


def pixels(path: Path) -> NDArray[np.float32]:
    """A picture in linear light, [H, W, 3]."""
    with Image.open(path) as picture:
        return srgb_to_linear(np.asarray(picture.convert("RGB"), np.float32) / 255.0)


def subject(photo: Path, side: int) -> NDArray[np.bool_]:
    """Where the photo's own cut-out is solid, [side, side]."""
    with Image.open(photo) as picture:
        return np.asarray(picture.getchannel("A").resize((side, side))) > 250


def lean(picture: NDArray[np.float32], inside: NDArray[np.bool_], axis: int) -> float:
    """How much brighter the subject's far half along an axis is than its near half, -1..1."""
    light = picture.mean(-1)
    place = np.indices(light.shape)[axis]
    middle = np.median(place[inside])
    far, near = light[inside & (place > middle)].mean(), light[inside & (place < middle)].mean()
    return float((far - near) / (far + near))


# --- the recipes --------------------------------------------------------------------------------------------------


def test_every_recipe_is_tested_and_told() -> None:
    scripts = {path.stem for path in EXAMPLES.glob("*.py")} - set(OTHER_SCRIPTS)
    assert scripts == set(RECIPES), "RECIPES has each script of examples/ that is a recipe, and no other"
    told = (ROOT / "docs" / "recipes.md").read_text("utf-8")
    assert not [name for name in (*RECIPES, *OTHER_SCRIPTS) if f"`examples/{name}.py`" not in told], "docs/recipes.md"


def test_four_sides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("four_sides", ["--out", tmp_path / "out", "--steps", STEPS], monkeypatch) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "left.png", "right.png", "top.png", "bottom.png", "sheet.png"}
    pictures = {side: pixels(tmp_path / "out" / f"{side}.png") for side in ("left", "right", "top", "bottom")}
    assert {one.shape for one in pictures.values()} == {(SIDE, SIDE, 3)}
    inside = subject(EXAMPLES / "rendered-vase.png", SIDE)
    assert lean(pictures["right"], inside, 1) - lean(pictures["left"], inside, 1) > 0.1
    assert lean(pictures["bottom"], inside, 0) - lean(pictures["top"], inside, 0) > 0.1
    with Image.open(tmp_path / "out" / "sheet.png") as sheet:
        assert sheet.size == (5 * SIDE, SIDE + 20)
        for number, side in enumerate(pictures, 1):
            cell = sheet.crop((number * SIDE, 20, (number + 1) * SIDE, SIDE + 20))
            with Image.open(tmp_path / "out" / f"{side}.png") as picture:
                assert cell.tobytes() == picture.convert("RGB").tobytes(), side
    assert "pocket model" in capsys.readouterr().out


def test_product_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run("product_set", ["--out", out, "--steps", STEPS], monkeypatch) == 0
    rows = [json.loads(line) for line in (out / "report.jsonl").read_text("utf-8").splitlines()]
    photos = sorted((EXAMPLES / "products").glob("*.png"))
    assert len(photos) == 3
    assert sorted((row["input"], row["state"]) for row in rows) == [(photo.name, "made") for photo in photos]
    wall = pixels(EXAMPLES / "rendered-wall.png")
    for photo in photos:
        [result] = [path for path in out.glob(f"{photo.stem}-*.png") if "cutout" not in path.name]
        made, inside = pixels(result), subject(photo, SIDE)
        assert made.shape == (SIDE, SIDE, 3)
        # On the one wall, whose light is warm and comes from the right.
        corner = np.abs(made[:32, -32:] - wall[:32, -32:]).mean()
        assert corner < 0.1, photo.name
        assert lean(made, inside, 1) > 0.0, photo.name
        with Image.open(out / f"{result.stem}-cutout.png") as cutout:
            assert cutout.mode == "RGBA" and cutout.getchannel("A").getextrema() == (0, 255)
    # The command that it tells is the one that it ran, and nothing is made twice.
    [told] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("iclight ")]
    files = {path: path.stat().st_mtime_ns for path in out.glob("*.png")}
    assert run("product_set", ["--out", out, "--steps", STEPS], monkeypatch) == 0
    assert {path: path.stat().st_mtime_ns for path in out.glob("*.png")} == files
    assert shlex.split(told)[1:3] == ["batch", str(EXAMPLES / "products")]


def test_portrait_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    assert run("portrait_stage", ["--out", out, "--steps", STEPS, "--rig", "4"], monkeypatch) == 0
    assert {path.name for path in out.iterdir()} == {"stage", "normals.png", "sunset.png", "lamps.png", "orbit.webp",
                                                     "desk.html"}
    stage = load(out / "stage")
    assert stage.names == ("left", "right", "bottom", "top", "ambient") and (stage.width, stage.height) == (SIDE, SIDE)
    inside = subject(EXAMPLES / "rendered-bust.png", SIDE)
    lit = {name: pixels(out / "stage" / f"{name}.png") for name in stage.names}
    assert lean(lit["right"], inside, 1) - lean(lit["left"], inside, 1) > 0.2
    # The sun is at the right and warm; of the two lamps the warm one is at the left and the blue one at the right.
    sunset, lamps = pixels(out / "sunset.png"), pixels(out / "lamps.png")
    assert sunset[..., 0].mean() > 1.5 * sunset[..., 2].mean()
    assert lean(sunset, inside, 1) > 0.0 > lean(lamps, inside, 1)
    assert lamps[:, :80, 0].mean() > lamps[:, :80, 2].mean() and lamps[:, -80:, 2].mean() > lamps[:, -80:, 0].mean()
    normals = np.asarray(Image.open(out / "normals.png"), np.int32)[inside]
    columns = np.indices(inside.shape)[1][inside]
    assert np.corrcoef(normals[:, 0], columns)[0, 1] > 0.3, "red is how far the surface turns to the right"
    with Image.open(out / "orbit.webp") as moving:
        frames = [np.asarray(frame.convert("RGB"), np.float32) for frame in ImageSequence.Iterator(moving)]
    assert len(frames) == 36 and frames[0].shape == (SIDE, SIDE, 3)
    # From the top clockwise: a quarter on the lamp is at the right, at three quarters at the left.
    assert lean(frames[9], inside, 1) - lean(frames[27], inside, 1) > 0.1
    page = (out / "desk.html").read_text("utf-8")
    assert "<title>Portrait</title>" in page and page.count("data:image/png;base64,") >= len(stage.names)


@pytest.mark.parametrize("name", RECIPES)
def test_a_persons_own_checkpoint_and_photo(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checkpoint is the one that is named, and a photo's shape decides on the size, not the pocket model's."""
    opened: list[object] = []

    def own(checkpoint: object, **more: Any) -> Session:
        opened.append(str(checkpoint))
        return Session(Miniature, folders=more.get("folders"), device="cpu")

    monkeypatch.setattr(Session, "open", own)
    monkeypatch.chdir(tmp_path)
    Path("mine.safetensors").write_bytes(b"a batch's key is made of it")
    photos = tmp_path / "photos"
    photos.mkdir()
    shade = np.random.default_rng(0).integers(0, 256, (90, 60, 4), np.uint8)
    shade[..., 3] = 255
    shade[:20, :, 3] = 0
    Image.fromarray(shade).save(photos / "mine.png")
    given, made = RECIPES[name]
    assert run(name, [*given, "--out", tmp_path / "out", "--steps", 1, "--checkpoint", "mine.safetensors",
                      "--prompt", "a thing"], monkeypatch) == 0
    assert opened and set(opened) == {"mine.safetensors"}
    [result] = list((tmp_path / "out").glob(made))
    with Image.open(result) as picture:
        assert picture.width * picture.height > 0.9 * 512 * 512
        assert picture.width / picture.height == pytest.approx(2 / 3, rel=0.1)


@pytest.mark.parametrize("name", RECIPES)
def test_a_mistake_is_a_sentence(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                 capsys: pytest.CaptureFixture[str]) -> None:
    code = run(name, ["--out", tmp_path / "out", "--checkpoint", tmp_path / "nowhere.safetensors"], monkeypatch)
    said = f"{'' if isinstance(code, int) else code}{capsys.readouterr().err}"
    assert code not in (0, None) and "nowhere.safetensors" in said and "Traceback" not in said


@pytest.mark.parametrize("name", RECIPES)
def test_the_first_lines_say_how_to_run_it(name: str, monkeypatch: pytest.MonkeyPatch,
                                           capsys: pytest.CaptureFixture[str]) -> None:
    text = ast.get_docstring(ast.parse((EXAMPLES / f"{name}.py").read_text("utf-8"))) or ""
    lines = [line.split("#")[0].split() for line in text.splitlines() if "python -m" in line]
    assert len(lines) == 2 and all(line[:3] == ["python", "-m", f"examples.{name}"] for line in lines)
    assert len(lines[0]) == 3, "without anything it runs on what is here"
    assert "--checkpoint" in lines[1]
    assert run(name, ["--help"], monkeypatch) == 0
    flags = set(re.findall(r"--[a-z-]+", " ".join(lines[1])))
    assert flags <= set(re.findall(r"--[a-z-]+", capsys.readouterr().out))


def test_a_recipe_runs_from_this_folder_without_installing() -> None:
    told = subprocess.run([sys.executable, "-m", "examples.four_sides", "--help"], cwd=ROOT, check=True,
                          capture_output=True, text=True).stdout
    assert "--checkpoint FILE" in told


# --- the notebook -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_valid_and_holds_no_output(name: str) -> None:
    notebook = nbformat.read(EXAMPLES / name, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not cell.outputs and cell.execution_count is None
            assert not re.search(r"^\s*[%!]", cell.source, re.MULTILINE), "Python only: it is run by the next test"


@pytest.mark.parametrize("name", NOTEBOOKS)
@pytest.mark.parametrize("place", [ROOT, EXAMPLES], ids=["from the top", "from its folder"])
def test_a_notebook_runs_from_top_to_bottom(name: str, place: Path, monkeypatch: pytest.MonkeyPatch,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    """Its cells in one namespace, as a kernel runs them; of each the value of its last line is what it shows."""
    if place == EXAMPLES:
        monkeypatch.setattr(Session, "relight", _no_relight)  # what it reads is found from there, too
    monkeypatch.chdir(place)
    space: dict[str, Any] = {"__name__": "__main__"}
    shown = []
    cells = [cell.source for cell in nbformat.read(EXAMPLES / name, as_version=4).cells if cell.cell_type == "code"]
    try:
        for cell in cells:
            shown.append(_value(cell.replace("steps=15", f"steps={STEPS}"), space))
    except _ReachedError:
        assert place == EXAMPLES
        return
    pictures = [one for one in shown if isinstance(one, Image.Image)]
    assert [one.size for one in pictures] == [(160 * count, 160) for count in (3, 4, 5, 3, 5, 5)]
    assert all(len(one.getcolors(1 << 24) or ()) > 50 for one in pictures), "none is an even surface"
    assert space["ratios"]["left"] > 1.1 * space["ratios"]["right"]
    told = capsys.readouterr().out
    assert "unknown light 'lft'" in told and "radius and mode are not used" in told
    assert not Path(space["folder"].name).exists()


class _ReachedError(Exception):
    """The notebook got as far as it is followed."""


def _no_relight(*args: Any, **more: Any) -> None:
    raise _ReachedError


def _value(source: str, space: dict[str, Any]) -> object:
    """Run a cell; the value of the expression that it ends with, None where it ends with something else."""
    tree = ast.parse(source)
    last = tree.body[-1]
    if not isinstance(last, ast.Expr):
        exec(compile(tree, "cell", "exec"), space)
        return None
    exec(compile(ast.Module(tree.body[:-1], []), "cell", "exec"), space)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), space)


def test_the_products_table_names_the_products() -> None:
    rows = (EXAMPLES / "products.csv").read_text("utf-8").splitlines()[1:]
    assert sorted(row.partition(",")[0] for row in rows) == sorted(
        path.name for path in (EXAMPLES / "products").iterdir())
