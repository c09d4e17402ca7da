"""What one picture is to become: by flags, a file of settings, and rules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lib_iclight.batch.order import Models, Order
from lib_iclight.batch.recipe import KNOWN, Recipe, check_all, from_json, load_json
from lib_iclight.batch.rules import read_rules
from lib_iclight.errors import ICLightError, ImageError, SettingsError
from lib_iclight.folders import Folders
from lib_iclight.settings import FIELDS

from .folders import data

NAMES = ["a.png", "shoes/b.png", "shoes/c[1].png"]


def rules(folder: Path, text: str) -> Path:
    path = folder / "rules.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_setting_can_be_asked_for() -> None:
    assert set(KNOWN) >= {field.name for field in FIELDS} - {"enabled", "foreground"}
    assert {"prompt", "negative_prompt", "width", "height", "steps", "cfg", "seed", "sampler", "hires_scale",
            "hires_denoise", "batch"} <= set(KNOWN)


def test_a_recipe_makes_settings_and_generation(tmp_path: Path) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "wall.png")
    values = from_json({"enabled": True, "mode": "fbc", "background": "wall.png", "prompt": "a wall", "seed": 4},
                       tmp_path, "settings.json")
    recipe = Recipe(values)
    settings = recipe.settings(b"photo", lambda path, what: f"{path.name} {what}".encode())
    assert (settings.mode, settings.background, settings.foreground) == ("fbc", b"wall.png background", b"photo")
    generation = recipe.generation(settings.mode, picture=data(width=60))
    assert (generation.prompt, generation.seed, generation.steps, generation.cfg) == ("a wall", 4, 20, 7.0)
    assert generation.width > generation.height
    assert recipe.updated({"width": 64}).generation("fc", picture=b"no picture").width == 64, "it is not looked at"
    recipe.check()


@pytest.mark.parametrize(("values", "told"), [
    ([], "one JSON object"), ({"ligth": "left"}, "Did you mean 'light'"), ({"foreground": "x"}, "foreground away"),
    ({"enabled": False}, "unknown setting 'enabled'"), ({"background": 3}, "path of a picture")],
    ids=lambda value: str(value)[:20])
def test_a_file_of_settings_that_cannot_be_meant(tmp_path: Path, values: Any, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        from_json(values, tmp_path, "settings.json")


def test_what_is_no_json(tmp_path: Path) -> None:
    for raw in (b"{", b"\xff\xfe\xfd", b"[" * 100_000):
        (tmp_path / "x.json").write_bytes(raw)
        with pytest.raises(SettingsError, match=r"x\.json (cannot be read|is not valid JSON)"):
            load_json(tmp_path / "x.json", "the settings")


@pytest.mark.parametrize("values", [
    {"light": "lefd"}, {"mode": "fbc"}, {"start": "light"}, {"light": "from background"}, {"harmonise": 1},
    {"steps": 0}, {"width": 65}, {"sampler": "no"}, {"preserve_color": 2}, {"background": Path("missing.png")},
    {"mask": Path(__file__)}], ids=lambda values: next(iter(values)))
def test_what_no_picture_could_become_is_refused_before_the_first(values: dict[str, Any]) -> None:
    with pytest.raises(ICLightError):
        Recipe(values).check()


def test_settings_that_the_results_cannot_carry(tmp_path: Path) -> None:
    long = Recipe({"prompt": "a vase " * 8000})
    long.check(ending=".png")
    with pytest.raises(ImageError, match="Shorten the prompt"):
        long.check(ending=".jpg")


def test_rules_change_single_files_and_the_later_row_wins(tmp_path: Path) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "disc.png")
    table = rules(tmp_path, "file,light,prompt,steps,mask,keep_background,outputs\n"
                            "shoes/*,top,\"a shoe, red\",,,true,\"mask,raw\"\n\n"
                            "shoes/c[1].png,,,7,disc.png,false,\n")
    made = read_rules(table)
    base = Recipe({"light": "left", "seed": 1})
    assert made.recipe("a.png", base) == base
    assert made.recipe("shoes/b.png", base).values == {
        "light": "top", "seed": 1, "prompt": "a shoe, red", "keep_background": True, "outputs": ["mask", "raw"]}
    assert made.recipe("shoes/c[1].png", base).values == {
        "light": "top", "seed": 1, "prompt": "a shoe, red", "keep_background": False, "outputs": ["mask", "raw"],
        "steps": 7, "mask": tmp_path / "disc.png"}
    check_all(made.recipes(base, NAMES))


@pytest.mark.parametrize("text", ["file;light\na.png;top\n", "file\tlight\r\na.png\ttop\r\n",
                                  "\ufefflight,file\ntop,a.png"], ids=["semicolon", "tab", "mark and order"])
def test_tables_as_spreadsheets_write_them(tmp_path: Path, text: str) -> None:
    assert read_rules(rules(tmp_path, text)).recipe("a.png", Recipe()).values == {"light": "top"}


@pytest.mark.parametrize(("text", "told"), [
    ("", "are empty"), ("light\ntop\n", "line 1: .* file among them"), ("file,file\n", "each once"),
    ("file,ligth\na.png,top\n", "line 1: unknown setting 'ligth'"), ("file,light\na.png,top,3\n", "line 2 has 3 cells"),
    ("file,light\n,top\n", "line 2 names no file"), ("file,steps\na.png,many\n", "line 2: steps cannot be 'many'"),
    ("file,keep_background\na.png,yes\n", "true or false"), ('file,light\n"a.png,top\n', "no CSV"),
    ("file,foreground\na.png,b.png\n", "foreground away")], ids=lambda value: repr(value)[:24])
def test_rules_that_cannot_be_read(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        read_rules(rules(tmp_path, text))


@pytest.mark.parametrize(("row", "told", "kind"), [
    ("d.png,top,", "line 2: no picture of the batch is called 'd.png'", SettingsError),
    ("x/*,top,", "line 2: no picture", SettingsError), ("a.png,lefd,", "line 2: .*lefd", ICLightError),
    ("a.png,,missing.png", "line 2: the mask .*missing.png cannot be read", ImageError)],
    ids=["name", "pattern", "value", "picture"])
def test_every_rule_is_tried_before_the_first_picture(tmp_path: Path, row: str, told: str,
                                                      kind: type[ICLightError]) -> None:
    made = read_rules(rules(tmp_path, f"file,light,mask\n{row}\n"))
    with pytest.raises(kind, match=told):
        check_all(made.recipes(Recipe(), NAMES))


def test_the_text_tells_two_recipes_apart() -> None:
    texts = {Recipe(values).text() for values in (
        {}, {"light": "left"}, {"light": "right"}, {"mask": Path("a")}, {"mask": Path("b")}, {"outputs": ["mask"]})}
    assert len(texts) == 6 and all(json.loads(text) is not None for text in texts)


def test_an_order_for_other_processes_has_whole_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    models = Models("model.safetensors", (("l.safetensors", 0.5),), Folders((Path("w"),), (Path("m"),)))
    made = Order(Path("in"), Path("out"), models=models).absolute()
    assert (made.source, made.out, made.models.checkpoint) == (tmp_path / "in", tmp_path / "out",
                                                               str(tmp_path / "model.safetensors"))
    assert made.models.loras == ((str(tmp_path / "l.safetensors"), 0.5),)
    assert made.models.folders == Folders((tmp_path / "w",), (tmp_path / "m",))
    assert Order(Path("in"), Path("out")).absolute().models.checkpoint == "pocket"
