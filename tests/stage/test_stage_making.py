"""Making a light stage and what the command line does with one: on the pocket model, small and with few steps."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lib_iclight import cli, imaging
from lib_iclight.effects import start_of
from lib_iclight.errors import SettingsError, StageError
from lib_iclight.frame import Frame
from lib_iclight.generation import Generation
from lib_iclight.imaging import read_text
from lib_iclight.infotext import read
from lib_iclight.job import LatentCache, Relight
from lib_iclight.lights import light_map
from lib_iclight.matting import Cutter
from lib_iclight.session import RAW_GONE, Session
from lib_iclight.settings import STAGES, Settings, from_infotext
from lib_iclight.stage import (
    EIGHT,
    FOUR,
    StageWriter,
    from_names,
    load,
    mix_codes,
    normals,
    rig,
    to_colors,
    weights_of,
)
from lib_iclight.stage.files import read as read_codes

pytestmark = pytest.mark.usefixtures("one_thread")
QUICK = ["--width", "64", "--height", "64", "--steps", "1", "--device", "cpu", "--cfg", "1"]
SMALL = Generation(width=64, height=64, steps=1, cfg=1.0, seed=5)


def photo_pixels() -> NDArray[Any]:
    """A 48 x 40 picture with a transparent left half."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 48, 4), dtype=np.uint8)
    pixels[..., 3] = 255
    pixels[:, :24, 3] = 0
    return pixels


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(photo_pixels()).save(path)
    return path


@pytest.fixture(scope="module")
def session() -> Session:
    """On the pocket model, which is loaded once."""
    return Session.open(device="cpu")


@pytest.fixture
def made(session: Session, tmp_path: Path) -> Path:
    """A stage of the four sides and ambient."""
    folder = tmp_path / "made"
    session.stage(Settings(mode="fbc", foreground=photo_pixels()), SMALL, folder, "4")
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def listed(folder: Path) -> list[str]:
    return [entry["name"] for entry in json.loads((folder / "stage.json").read_text())["pictures"]]


def test_the_rigs_are_those_of_the_setting() -> None:
    assert (rig(STAGES["4"]), rig(STAGES["8"]), STAGES["off"]) == (FOUR, EIGHT, ())


# --- the session --------------------------------------------------------------------------------------------------


def test_every_picture_is_the_relight_under_its_light(session: Session, made: Path) -> None:
    stage = load(made)
    assert stage.names == STAGES["4"] and stage.seed == 5
    settings = Settings(mode="fbc", foreground=photo_pixels())
    assert stage.alpha is not None and stage.alpha.shape == (64, 64)
    assert stage.alpha[:, :20].max() == 0 and stage.alpha[:, 40:].min() == 1
    for number, light in enumerate(STAGES["4"]):
        alone = session.relight(settings.replace(light=light), SMALL).pictures[0]
        assert np.array_equal(stage.codes(number), np.asarray(alone))
        found = from_infotext(read(read_text(made / f"{light}.png")))
        assert (found["light"], found["stage"], found["mode"]) == (light, "4", "fbc")
        assert read(read_text(made / f"{light}.png"))["Seed"] == "5"


def test_interrupted_it_goes_on_where_it_was(session: Session, made: Path, tmp_path: Path) -> None:
    settings, folder = Settings(mode="fbc", foreground=photo_pixels(), light="left"), tmp_path / "set"
    seen: list[tuple[int, int]] = []

    def stop_in_the_third(what: str, done: int, total: int) -> None:
        if what == "sampling":
            seen.append((done, total))
            if done == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        session.stage(settings, SMALL, folder, "4", stop_in_the_third)
    assert seen == [(1, 5), (2, 5), (3, 5)]
    assert listed(folder) == ["left", "right"]
    assert names(folder) == ["alpha.png", "left.png", "right.png", "stage.json", "stage.lp"]
    before = (folder / "left.png").stat().st_mtime_ns
    seen.clear()
    staged = session.stage(settings, SMALL, folder, "4", lambda what, done, total: seen.append((done, total))
                           if what == "sampling" else None)
    assert (staged.made, seen) == (3, [(1, 3), (2, 3), (3, 3)])
    assert (folder / "left.png").stat().st_mtime_ns == before
    assert [load(folder).codes(n).tobytes() for n in range(5)] == [load(made).codes(n).tobytes() for n in range(5)]
    again = session.stage(settings.replace(outputs=["raw"]), SMALL, folder, "4")
    assert (again.made, again.extras) == (0, ()) and RAW_GONE in again.warnings


@pytest.mark.parametrize(("settings", "generation", "lights"), [
    ({}, {"seed": 6}, "4"), ({}, {"prompt": "a cat"}, "4"), ({}, {}, "8"), ({"preserve_color": 0.5}, {}, "4"),
    ({"foreground": photo_pixels()[::-1].copy()}, {}, "4"), ({"mode": "fc"}, {}, "4")])
def test_another_stages_folder_is_refused(session: Session, made: Path, settings: dict[str, Any],
                                          generation: dict[str, Any], lights: str) -> None:
    before = {path.name: path.read_bytes() for path in made.iterdir()}
    given = Settings(**{"mode": "fbc", "foreground": photo_pixels(), **settings})
    with pytest.raises(StageError, match="holds another stage"):
        session.stage(given, Generation(**{"width": 64, "height": 64, "steps": 1, "cfg": 1.0, "seed": 5, **generation}),
                      made, lights)
    assert {path.name: path.read_bytes() for path in made.iterdir()} == before


def test_a_batch_makes_a_stage_for_each_seed(session: Session, made: Path, tmp_path: Path) -> None:
    settings = Settings(mode="fbc", foreground=photo_pixels(), outputs=("raw", "mask"))
    generation = Generation(width=64, height=64, steps=1, cfg=1.0, seed=4, batch=2)
    staged = session.stage(settings, generation, tmp_path / "two", "4")
    assert [folder.name for folder in staged.folders] == ["1", "2"]
    assert [load(folder).seed for folder in staged.folders] == [4, 5]
    assert load(staged.folders[1]).codes(0).tobytes() == load(made).codes(0).tobytes()
    assert [(extra.name, extra.number) for extra in staged.extras] == [
        *((f"{light}-raw", number) for number in (1, 2) for light in STAGES["4"]), ("mask", 0)]


def test_what_is_preserved_is_so_in_every_picture(session: Session, tmp_path: Path) -> None:
    """And the set is as large as the pictures that are cut back to the photo's own shape."""
    wide = photo_pixels()[:20]
    settings = Settings(mode="fbc", foreground=wide, fit="contain", preserve_color=1.0, outputs=("normals", "albedo"))
    staged = session.stage(settings, SMALL, tmp_path / "set", "4")
    stage = load(tmp_path / "set")
    alone = session.relight(settings.replace(light="top", outputs=()), SMALL).pictures[0]
    assert (stage.width, stage.height) == alone.size == (64, 27)
    assert np.array_equal(stage.codes(stage.index("top")), np.asarray(alone))
    found = {extra.name: np.asarray(extra.picture) for extra in staged.extras}
    assert set(found) == {"normals", "albedo"}
    assert np.array_equal(found["normals"], to_colors(normals(stage)))


def test_a_whole_picture_is_all_subject(session: Session, tmp_path: Path) -> None:
    settings = Settings(mode="fbc", foreground=photo_pixels()[..., :3].copy(), matting="none")
    session.stage(settings, SMALL, tmp_path / "set", "4")
    assert load(tmp_path / "set").alpha is None


def test_one_picture_of_a_stage_is_no_relight(session: Session, tmp_path: Path) -> None:
    settings = Settings(mode="fbc", foreground=photo_pixels(), stage="4")
    with pytest.raises(SettingsError, match="Session.stage"):
        session.relight(settings, SMALL)
    with pytest.raises(SettingsError, match="needs lights"):
        session.stage(settings, SMALL, tmp_path / "set", "off")


def test_each_extra_picture_is_tried(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "set"
    for name in ("left-raw.png", "normals.png"):
        (folder / name).mkdir(parents=True)  # so they cannot be written
    code = cli.main(["stage", str(photo), "-o", str(folder), "--rig", "4", "--outputs", "raw,normals,albedo,cutout",
                     *QUICK])
    captured = capsys.readouterr()
    assert code == 2
    told = [line for line in captured.err.splitlines() if "cannot be written" in line]
    assert len(told) == 2 and "left-raw.png" in told[0] and told[1].startswith("IC-Light: ImageError: ")
    saved = [Path(line).name for line in captured.out.splitlines() if line.endswith(".png")]
    assert sorted(saved) == ["albedo.png", "ambient-raw.png", "bottom-raw.png", "cutout.png", "right-raw.png",
                             "top-raw.png"]
    assert all((folder / name).is_file() for name in saved) and load(folder).names == STAGES["4"]


# --- the job ------------------------------------------------------------------------------------------------------


def job(**settings: Any) -> Relight:
    values: dict[str, Any] = {"foreground": photo_pixels(), "stage": "4"} | settings
    return Relight(Settings(**values), cutter=Cutter([]),
                   latents=LatentCache())


def test_the_light_is_drawn_over_a_background_picture() -> None:
    background = np.full((32, 64, 3), (200, 100, 50), np.uint8)
    given = job(mode="fbc", background=background)
    frame = Frame(64, 32)
    for single, light in zip(given.singles, STAGES["4"], strict=True):
        drawn = light_map(light, 64, 32, "fbc")
        assert drawn is not None
        behind = single._backdrop(background, frame)
        assert np.array_equal(behind, imaging.under_light(background, drawn, 224))
    left, right, bottom, top, ambient = (single._backdrop(background, frame) for single in given.singles)
    assert left[0, 0].tolist() == [200, 100, 50] == right[0, -1].tolist()  # at the light it is as it was
    assert left[0, -1, 0] < 40 and np.array_equal(left[:, ::-1], right)
    assert top[0, 0].tolist() == [200, 100, 50] == bottom[-1, 0].tolist()
    assert len(np.unique(ambient.reshape(-1, 3), axis=0)) == 1 and ambient[0, 0, 0] < 100
    assert np.array_equal(given._backdrop(background, frame), background)


def test_under_light_multiplies_linear_light() -> None:
    picture = np.array([[[255, 188, 0]], [[255, 188, 99]], [[255, 188, 99]]], np.uint8)
    light = np.array([[[224, 224, 224]], [[0, 0, 0]], [[164, 164, 255]]], np.uint8)
    lit = imaging.under_light(picture, light, 224)
    assert lit[0].tolist() == [[255, 188, 0]] and lit[1].tolist() == [[0, 0, 0]]
    # 164 is half the light of 224 and 188 half that of 255; 255 under the white 224 is 1.34 times the light.
    assert np.abs(lit[2, 0].astype(int) - [188, 137, 114]).max() <= 1


def test_light_settings_are_told_to_be_idle_and_not_claimed() -> None:
    given = job(mode="fbc", light="top", light_map=photo_pixels(), light_map_blur=0.1)
    assert given.warnings == ["The light is not used: each picture of a light stage has a light of its own."]
    assert "IC-Light light" not in given.infotext()
    texts = [single.infotext() for single in given.singles]
    assert [text["IC-Light light"] for text in texts] == list(STAGES["4"])
    assert all(text["IC-Light stage"] == "4" and "IC-Light light map blur" not in text for text in texts)


@pytest.mark.parametrize("start", ["noise", "image", "background"])
def test_a_stage_of_equal_pictures_is_refused(start: str) -> None:
    with pytest.raises(SettingsError, match="shows none of it"):
        job(mode="fc", start=start)
    assert job(mode="fbc", start=start).start == start
    assert start_of(Settings(mode="fc", stage="4"), "img2img") == "light"


def test_normals_need_a_stage() -> None:
    [told] = job(stage="off", light="left", outputs=["normals"]).warnings
    assert "made of a light stage" in told
    assert job(mode="fbc", outputs=["normals"]).warnings == []


# --- the command line ---------------------------------------------------------------------------------------------


def test_the_stage_command(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "set"
    argv = ["stage", str(photo), "-o", str(folder), "--rig", "4", *QUICK]
    assert cli.main([*argv, "--light", "left"]) == 2 and not folder.exists(), "it has lights of its own"
    assert "--light left" in capsys.readouterr().err
    assert cli.main([*argv, "--outputs", "normals,lightmap"]) == 0
    assert str(folder) in capsys.readouterr().out.splitlines()
    assert listed(folder) == list(STAGES["4"]) and json.loads((folder / "stage.json").read_text())["settings"][
        "mode"] == "fbc"
    assert {"normals.png", "left-lightmap.png", "ambient-lightmap.png", "stage.lp"} <= set(names(folder))
    # Without a seed it goes on with the stage's.
    (folder / "top.png").unlink()
    assert cli.main(argv) == 0
    assert (folder / "top.png").exists()
    assert cli.main([*argv, "--seed", "1"]) == 2
    assert "holds another stage" in capsys.readouterr().err
    assert cli.main(["stage", str(photo), "-o", str(tmp_path / "fc"), "--mode", "fc", "--rig", "4", *QUICK]) == 0


def test_photographs_of_an_lp_file_become_a_stage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lamps = tmp_path / "lamps"
    lamps.mkdir()
    rng = np.random.default_rng(3)
    pictures = [rng.integers(0, 256, (20, 24, 3), np.uint8) for _ in range(3)]
    lines = ["3"]
    for number, (picture, place) in enumerate(zip(pictures, ("1 0 1", "-1 0 1", "0 1 1"), strict=True)):
        Image.fromarray(picture).save(lamps / f"{number}.png")
        lines.append(f"{number}.png {place}")
    (lamps / "dome.lp").write_text("\n".join(lines))
    folder = tmp_path / "set"
    assert cli.main(["stage", "--from-lp", str(lamps / "dome.lp"), "-o", str(folder)]) == 0
    stage = load(folder)
    assert stage.names == ("0", "1", "2") and all(lamp.true for lamp in stage.lamps)
    assert all(np.array_equal(stage.codes(number), picture) for number, picture in enumerate(pictures))
    assert cli.main(["stage", "--from-lp", str(lamps / "dome.lp"), "-o", str(lamps)]) == 2
    assert cli.main(["stage", "--from-lp", str(lamps / "dome.lp"), "-o", str(folder), "--steps", "4"]) == 2
    errors = capsys.readouterr().err
    assert "lies in the stage's folder" in errors and "--steps does not go with --from-lp" in errors
    assert cli.main(["normals", str(lamps / "dome.lp"), "-o", str(tmp_path / "n.png"), "--relief", "0.3"]) == 0
    assert "relief is not used" in capsys.readouterr().err


def test_mixtures_are_written(made: Path, tmp_path: Path) -> None:
    stage = load(made)
    out = tmp_path / "out"
    out.mkdir()

    def mixed(*argv: str) -> NDArray[Any]:
        assert cli.main(["mix", str(made), "-o", str(out / "m.png"), *argv]) == 0
        return np.asarray(Image.open(out / "m.png"))

    weights = weights_of("rim", stage.lamps, 1.0)
    assert np.array_equal(mixed("--light", "rim"), mix_codes(stage, weights))
    assert read_text(out / "m.png").startswith("IC-Light mix: {")
    plain = mixed("--weights", '{"left": 1}', "--exposure", "0")
    assert np.array_equal(plain, stage.codes(0))
    assert mixed("--weights", '{"left": 1}', "--exposure", "-2").mean() < plain.mean() / 1.5
    saved = tmp_path / "saved é.json"
    saved.write_text('{"version": 1, "light": "rim", "exposure": "auto"}', encoding="utf-8")
    assert np.array_equal(mixed("--mix", str(saved)), mix_codes(stage, weights))
    saved.write_text('{"version": 1, "weights": {"left": [1, 0.5, 0]}, "exposure": -1.5}', encoding="utf-8")
    assert np.array_equal(mixed("--mix", str(saved)), mix_codes(stage, from_names({"left": [1, 0.5, 0]}, stage.lamps),
                                                                -1.5))
    assert "exposure -1.5" in read_text(out / "m.png")
    Image.new("RGB", (80, 80), (1, 200, 3)).save(tmp_path / "green.png")
    before = mixed("--weights", '{"left": 1}', "--exposure", "0", "--background", str(tmp_path / "green.png"))
    assert before[0, 0].tolist() == [1, 200, 3] and np.array_equal(before[:, 40:], plain[:, 40:])
    turned = [mixed("--environment", "sunset", "--rotate", angle) for angle in ("0", "180")]
    assert not np.array_equal(turned[0], turned[1])
    assert names(out) == ["m.png"]


def test_what_a_stage_says_of_its_subject_is_written(made: Path, tmp_path: Path) -> None:
    stage = load(made)
    for command, *flags in (["normals"], ["normals", "--method", "reference"], ["albedo"], ["depth"]):
        path = tmp_path / "out.png"
        assert cli.main([command, str(made), "-o", str(path), *flags]) == 0
        codes, _ = read_codes(path)
        assert codes.shape == (64, 64, 3)
        assert codes.dtype == (np.uint16 if command == "depth" else np.uint8)
    assert codes.max() == 65535 and codes[:, :20].max() == 0
    assert cli.main(["normals", str(made), "-o", str(tmp_path / "n.png"), "--relief", "0.2"]) == 0
    assert np.array_equal(read_codes(tmp_path / "n.png")[0], to_colors(normals(stage, "pairs", 0.2)))


@pytest.mark.parametrize("light", [["--orbit"], ["--path", "[[0, 0.5], [1, 0.5]]"], ["--environment", "clear noon"]])
def test_light_is_animated(made: Path, tmp_path: Path, light: list[str]) -> None:
    path = tmp_path / "moving.webp"
    assert cli.main(["animate", str(made), "-o", str(path), *light, "--seconds", "0.5", "--fps", "8"]) == 0
    with Image.open(path) as picture:
        assert (picture.n_frames, picture.size) == (4, (64, 64))


MIX = ["mix", "{made}", "-o", "{out}/m.png"]
ANIMATE = ["animate", "{made}", "-o", "{out}/a.webp"]
MISTAKES: list[tuple[list[str], str, str]] = [
    (["mix", "{out}", "-o", "{out}/m.png", "--light", "left"], "StageError", "no stage.json"),
    (["mix", "{lost}", "-o", "{out}/m.png", "--light", "left"], "StageError", "top.png is missing"),
    (["mix", "{uneven}", "-o", "{out}/m.png", "--light", "left"], "StageError", "must have one size"),
    ([*MIX, "--weights", '{"lfet": 1}'], "StageError", "'left'"),
    ([*MIX, "--weights", '{"left": NaN}'], "StageError", "left must be one number or three"),
    ([*MIX, "--weights", '{"left": [1, 2]}'], "StageError", "left must be one number or three"),
    ([*MIX, "--weights", '{"left": 0}'], "StageError", "all weights are 0"),
    ([*MIX, "--weights", "{"], "StageError", "not valid JSON"),
    ([*MIX, "--light", "left", "--exposure", "-100"], "StageError", "-20 to 20"),
    ([*MIX, "--light", "left", "--exposure", "nan"], "StageError", "-20 to 20"),
    ([*MIX, "--light", "left", "--exposure", "bright"], "StageError", "auto or a number"),
    ([*MIX, "--light", "none"], "StageError", "none is no light"),
    ([*MIX, "--light", "lfet"], "LightError", "left"),
    ([*MIX], "SettingsError", "--light"),
    ([*MIX, "--light", "left", "--weights", "{}"], "SettingsError", "not allowed with"),
    ([*MIX, "--light", "left", "--rotate", "9"], "SettingsError", "--environment"),
    ([*MIX, "--mix", "{mix}", "--light", "left"], "SettingsError", "not allowed with"),
    ([*MIX, "--mix", "{mix}", "--weights", "{}"], "SettingsError", "not allowed with"),
    ([*MIX, "--mix", "{mix}", "--environment", "sunset"], "SettingsError", "not allowed with"),
    ([*MIX, "--mix", "{mix}", "--exposure", "auto"], "SettingsError", "its own exposure"),
    ([*MIX, "--mix", "{mix}", "--rotate", "9"], "SettingsError", "--environment"),
    ([*MIX, "--mix", "{out}/no.json"], "StageError", "no.json cannot be read"),
    ([*MIX, "--mix", "{photo}"], "StageError", "photo.png cannot be read (it is no text)"),
    ([*MIX, "--mix", "{made}/stage.json"], "StageError", "either a \"light\" or \"weights\""),
    (["mix", "{made}", "-o", "{mix}", "--mix", "{mix}"], "ImageError", "must be one of"),
    ([*MIX, "--environment", "{cut}"], "StageError", "cut short"),
    ([*MIX, "--environment", "{exr}"], "StageError", "OpenEXR"),
    ([*MIX, "--environment", "{out}/no.hdr"], "StageError", "cannot be read"),
    ([*MIX, "--environment", "sunset", "--rotate", "nan"], "StageError", "finite angle"),
    ([*MIX, "--light", "left", "--background", "{out}/no.png"], "ImageError", "no.png"),
    (["mix", "{made}", "-o", "{made}/left.png", "--light", "top"], "ImageError", "one of the pictures to read"),
    (["mix", "{made}", "-o", "{made}/alpha.png", "--light", "top"], "ImageError", "one of the pictures to read"),
    (["normals", "{made}", "-o", "{out}/n.png", "--relief", "2"], "StageError", "relief must be"),
    (["normals", "{made}", "-o", "{out}/n.png", "--method", "magic"], "StageError", "'magic'"),
    (["normals", "{made}", "-o", "{out}/n.png", "--method", "lambert"], "StageError", ""),
    (["depth", "{made}", "-o", "{out}/d.jpg"], "ImageError", "must be one of .png"),
    ([*ANIMATE, "--orbit", "--seconds", "0"], "StageError", "seconds"),
    ([*ANIMATE, "--orbit", "--seconds", "100000", "--fps", "10"], "StageError", "at most 3600 frames"),
    ([*ANIMATE, "--orbit", "--fps", "nan"], "StageError", "fps"),
    ([*ANIMATE, "--path", "[[0, 0]]"], "StageError", "two or more points"),
    ([*ANIMATE, "--path", "left"], "StageError", "not valid JSON"),
    ([*ANIMATE], "SettingsError", "--orbit"),
    (["animate", "{made}", "-o", "{out}/a.gif", "--orbit"], "StageError", ".webp or .mp4"),
    (["animate", "{made}", "-o", "{out}/no/a.webp", "--orbit"], "ImageError", "no folder"),
    (["desk", "{made}", "-o", "{out}/desk.png"], "ImageError", ".html"),
    (["desk", "{out}", "-o", "{out}/desk.html"], "StageError", "no stage.json"),
    (["stage", "{photo}"], "SettingsError", "--output"),
    (["stage", "-o", "{out}/set"], "SettingsError", "neither a photo nor --from-lp"),
    (["stage", "{photo}", "-o", "{out}/set", "--rig", "6"], "SettingsError", "4 or 8"),
    (["stage", "{photo}", "-o", "{out}/set", "--mode", "fc", "--start", "noise"], "SettingsError", "start 'noise'"),
    (["stage", "{photo}", "-o", "{photo}/set", "--rig", "4"], "StageError", "cannot be made"),
    (["stage", "{out}/no.png", "-o", "{out}/set"], "ImageError", "no.png"),
    (["stage", "--from-lp", "{out}/no.lp", "-o", "{out}/set"], "StageError", "cannot be read"),
    (["stage", "--from-lp", "{photo}", "-o", "{out}/set"], "StageError", "number of its pictures"),
    (["stage", "{photo}", "--from-lp", "a.lp", "-o", "{out}/set"], "SettingsError", "PHOTO does not go with --from-lp"),
    (["relight", "{photo}", "-o", "{out}/r.png", "--stage", "8"], "SettingsError", "--stage"),
]


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A sound stage, one without a picture, one with another size; and environments that cannot be read."""
    folder = tmp_path_factory.mktemp("sets")
    rng = np.random.default_rng(1)
    for name in ("made", "lost", "uneven"):
        writer = StageWriter(folder / name, FOUR, np.ones((32, 40), np.float32))
        for lamp in FOUR:
            writer.add(lamp.name, rng.integers(0, 256, (32, 40, 3), np.uint8))
    (folder / "lost" / "top.png").unlink()
    Image.new("RGB", (41, 32)).save(folder / "uneven" / "top.png")
    (folder / "cut.hdr").write_bytes(b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 8 +X 16\n" + bytes(7))
    (folder / "sky.exr").write_bytes(b"\x76\x2f\x31\x01" + bytes(64))
    Image.fromarray(photo_pixels()).save(folder / "photo.png")
    (folder / "mix.json").write_text('{"version": 1, "light": "left", "exposure": -1}', encoding="utf-8")
    return {"made": folder / "made", "lost": folder / "lost", "uneven": folder / "uneven", "cut": folder / "cut.hdr",
            "exr": folder / "sky.exr", "mix": folder / "mix.json", "photo": folder / "photo.png"}


@pytest.mark.parametrize(("argv", "kind", "message"), MISTAKES, ids=[" ".join(argv) for argv, *_ in MISTAKES])
def test_a_mistake_is_one_line_and_no_file(sets: dict[str, Path], tmp_path: Path,
                                           capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
                                           argv: list[str], kind: str, message: str) -> None:
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    before = {path: path.read_bytes() for path in sets["made"].iterdir()}
    for name, path in {**sets, "out": tmp_path}.items():
        argv = [word.replace("{" + name + "}", str(path)) for word in argv]
    assert cli.main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1, captured.err
    assert captured.err.startswith(f"IC-Light: {kind}: ") and message in captured.err
    assert names(tmp_path) == [] and {path: path.read_bytes() for path in sets["made"].iterdir()} == before


