"""A photo under a light at once, the light of backgrounds, and the start that is a sketch: settings to pictures."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from fastapi import FastAPI
from numpy.typing import NDArray
from PIL import Image

from lib_iclight import cli
from lib_iclight.errors import ICLightError
from lib_iclight.folders import Folders
from lib_iclight.frame import Frame
from lib_iclight.instant import NO_LIGHT, UNSURE
from lib_iclight.job import Encoder, LatentCache, Relight
from lib_iclight.lights import Directional, LightSpec, light_map
from lib_iclight.preview import shape_of, sketch
from lib_iclight.session import Session
from lib_iclight.settings import Settings
from lib_iclight.webui.api import add_routes

Y, X = np.mgrid[0:60, 0:80]
BALL = (np.hypot(X - 39.5, Y - 29.5) < 22).astype(np.float32)
GREY = np.full((60, 80, 3), 120, np.uint8)
CUT = np.dstack([GREY, np.rint(255 * BALL).astype(np.uint8)])
LIT_RIGHT = np.dstack([(20 + 2.5 * X).astype(np.uint8)] * 3)
"""a wall with its light on the right"""
LIT_TOP = np.dstack([(200 - 3 * Y).astype(np.uint8)] * 3)


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """Without any model."""
    return Session(folders=Folders.under(tmp_path))


def sides(picture: Image.Image) -> float:
    """How much brighter the ball is on its right."""
    pixels = np.asarray(picture.convert("L")).astype(float)
    half = pixels.shape[1] // 2
    middle = slice(pixels.shape[0] // 2 - 5, pixels.shape[0] // 2 + 5)
    reach = pixels.shape[1] // 5
    return float(pixels[middle, half:half + reach].mean() - pixels[middle, half - reach:half].mean())


def test_it_is_the_sketch_at_the_photos_own_size(session: Session) -> None:
    made = session.preview(Settings(foreground=CUT, light="left", background=LIT_TOP))
    alpha = BALL
    expected = sketch(GREY, alpha, shape_of(GREY, alpha), "left", LIT_TOP)
    assert made.picture.size == (80, 60) and made.light == "left" and made.notes == ()
    assert np.abs(np.asarray(made.picture).astype(int) - expected).max() <= 1
    assert sides(made.picture) < -20 < 20 < sides(session.preview(Settings(foreground=CUT, light="right")).picture)


def test_a_cut_out_comes_back_as_one(session: Session) -> None:
    """Transparent as it was, its soft edge in its own colour under the light, whatever colour was hidden."""
    alpha = (1.0 - np.hypot(X - 39.5, Y - 29.5) / 30).clip(0, 1).astype(np.float32)
    codes = np.rint(255 * alpha).astype(np.uint8)
    for hidden in (0, 255):
        photo = np.where(codes[..., None] > 0, GREY, np.uint8(hidden))
        made = np.asarray(session.preview(Settings(foreground=np.dstack([photo, codes]), light="left")).picture)
        assert made.shape == (60, 80, 4) and np.array_equal(made[..., 3], codes)
        expected = sketch(GREY, np.ones_like(alpha), shape_of(photo, codes / np.float32(255)), "left")
        there = codes > 8
        assert np.abs(made[there, :3].astype(int) - expected[there]).max() <= 2
    before = np.asarray(session.preview(Settings(foreground=CUT, light="left", background=LIT_TOP)).picture)
    assert before.shape == (60, 80, 3), "a background is one"
    whole = session.preview(Settings(foreground=CUT, light="left", matting="none")).picture
    assert whole.mode == "RGB", "matting none uses the picture whole"


def test_a_grown_cut_out_shows_beyond_its_edge(session: Session) -> None:
    made = session.preview(Settings(foreground=CUT, light="ambient", mask_grow=40.0)).picture
    alpha = np.asarray(made)[..., 3]
    assert (alpha[BALL > 0] == 255).all() and (alpha > 0).sum() > 1.2 * BALL.sum()
    assert np.ptp(np.asarray(made)[alpha > 128][:, 0]) < 40, "of the ball's own colour, not of what was hidden"


@pytest.mark.parametrize(("ending", "mode"), [(".png", "RGBA"), (".webp", "RGBA"), (".jpg", "RGB")])
def test_a_cut_outs_preview_as_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str,
                                      mode: str) -> None:
    Image.fromarray(CUT).save(tmp_path / "cut.png")
    out = tmp_path / f"out{ending}"
    assert cli.main(["preview", str(tmp_path / "cut.png"), "-o", str(out), "--light", "left"]) == 0
    with Image.open(out) as picture:
        assert picture.mode == mode
        if mode == "RGB":
            assert all(abs(value - 127) <= 2 for value in picture.getpixel((2, 2)))
    assert ("note: The cut-out lies on grey" in capsys.readouterr().err) == (mode == "RGB")


def test_what_was_found_is_no_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(CUT).save(tmp_path / "cut.png")
    Image.fromarray(LIT_RIGHT).save(tmp_path / "wall.png")
    argv = [str(tmp_path / "cut.png"), "--background", str(tmp_path / "wall.png"), "--light", "from background"]
    assert cli.main(["preview", *argv, "-o", str(tmp_path / "a.png")]) == 0
    assert "note: Light from the right" in capsys.readouterr().err
    quick = ["--width", "64", "--height", "64", "--steps", "1", "--device", "cpu", "--background-tint", "0.5"]
    assert cli.main(["relight", *argv, "-o", str(tmp_path / "a.png"), *quick]) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith(("note: ", "warning: "))]
    assert [line.partition(" ")[0] for line in sorted(told)] == ["note:", "note:", "warning:"]
    assert "note: Light from the right" in sorted(told)[0] and "tint" in sorted(told)[2]
    assert "note: this is the pocket model" in sorted(told)[1]


def test_a_sketch_does_not_hang_on_a_background_that_is_not_shown(session: Session) -> None:
    """In fc a background tells at most where the light comes from."""
    latents = LatentCache()
    encoder = Encoder("mean", lambda pixels: torch.from_numpy(pixels.mean((0, 1)))[None, :, None, None])
    made = [Relight(Settings(foreground=CUT, light="left", start="sketch", background=wall, mode=mode),
                    cutter=session.cutter, latents=latents) for mode in ("fc", "fbc") for wall in (LIT_TOP, LIT_RIGHT)]
    first, second, third, fourth = (one.initial(encoder, Frame(48, 32)) for one in made)
    assert first is not None and second is not None and torch.equal(first, second)
    assert third is not None and fourth is not None and not torch.equal(third, fourth)
    assert len(latents) == 3


def test_the_size_is_the_longer_sides_and_never_more_than_the_photos(session: Session) -> None:
    settings = Settings(foreground=CUT, light="left")
    assert session.preview(settings, side=40).picture.size == (40, 30)
    assert session.preview(settings, side=500).picture.size == (80, 60)


def test_a_normal_map_gives_the_shape(session: Session) -> None:
    """A wall that leans to the right shines under light from there, whatever the outline says."""
    leaning = np.zeros((30, 40, 3), np.uint8)
    leaning[:] = np.rint(np.array([0.7, 0.0, 0.714]) * 127.5 + 127.5)
    photo = Settings(foreground=GREY, matting="none", light="right")
    lit, unlit = (session.preview(photo.replace(light=light), normals=leaning, convention="opengl").picture
                  for light in ("right", "left"))
    assert np.asarray(lit).mean() > np.asarray(unlit).mean() + 30
    assert session.preview(photo, normals=leaning).notes == (UNSURE,)
    with pytest.raises(ICLightError, match="other proportions"):
        session.preview(photo, normals=leaning[:, :20])
    with pytest.raises(ICLightError, match="convention"):
        session.preview(photo, normals=leaning, convention="blender")  # type: ignore[arg-type]


@pytest.mark.parametrize(("flip", "angle"), [(False, 0.0), (True, 180.0)])
def test_the_light_of_the_background(session: Session, flip: bool, angle: float) -> None:
    made = session.preview(Settings(foreground=CUT, light="from background", background=LIT_RIGHT,
                                    background_flip=flip))
    assert isinstance(made.light, LightSpec)
    [light] = made.light.lights
    assert isinstance(light, Directional)
    assert abs((light.angle - angle + 180) % 360 - 180) < 3
    assert "% clear" in made.notes[0]
    assert sides(made.picture) * (-1 if flip else 1) > 20


def test_the_subject_is_masked_out_of_its_own_picture_only(session: Session) -> None:
    """A dark ball at the right of a wall that is lit from the right: with it the left would look brighter."""
    ball = np.hypot(X - 60, Y - 30) < 19
    photo = np.where(ball[..., None], 2, LIT_RIGHT).astype(np.uint8)
    mask = (255 * ball).astype(np.uint8)

    def found(background: NDArray[Any], **more: Any) -> Any:
        made = session.preview(Settings(foreground=photo, mask=mask, light="from background", background=background,
                                        **more)).light
        assert isinstance(made, LightSpec)
        return made

    own, flipped, other = found(photo), found(photo, background_flip=True), found(photo // 2)
    assert abs((own.lights[0].angle + 180) % 360 - 180) < 8
    assert abs(flipped.lights[0].angle - 180) < 8
    assert other != own


@pytest.mark.parametrize(("values", "sentence"), [
    ({"light": "none"}, NO_LIGHT), ({"light": "from background"}, "no background picture"),
    ({"light": "left", "foreground": None}, "no foreground")])
def test_what_is_missing_is_named(session: Session, values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ICLightError, match=sentence):
        session.preview(Settings(**{"foreground": CUT} | values))


# --- jobs ---------------------------------------------------------------------------------------------------------


class Seen(Encoder):
    """Remembers the pictures that it is given."""

    def __init__(self, pictures: list[NDArray[Any]]) -> None:
        def encode(pixels: NDArray[Any]) -> torch.Tensor:
            pictures.append(pixels)
            return torch.zeros(1, 4, pixels.shape[0] // 8, pixels.shape[1] // 8)

        super().__init__("seen", encode)


def job(session: Session, **values: Any) -> Relight:
    return Relight(Settings(**{"foreground": CUT} | values), cutter=session.cutter, latents=LatentCache())


def test_the_found_spec_goes_into_the_infotext(session: Session) -> None:
    made = job(session, light="from background", background=LIT_TOP)
    text = str(made.infotext()["IC-Light light"])
    [light] = json.loads(text)["lights"]
    assert abs(light["angle"] - 90) < 3
    assert made.start == "light" and any("Light from the top (" in told for told in made.warnings)
    again = job(session, light=json.loads(text))
    pictures: list[NDArray[Any]] = []
    made.initial(Seen(pictures), Frame(80, 64))
    again.initial(Seen(pictures), Frame(80, 64))
    assert np.array_equal(pictures[0], pictures[1])


def test_no_clear_side_is_told_and_gives_ambient(session: Session) -> None:
    made = job(session, light="from background", background=np.full((40, 40, 3), 100, np.uint8))
    assert json.loads(str(made.infotext()["IC-Light light"])) == {"ambient": "#646464", "lights": []}
    assert any("No direction of light is clear" in told for told in made.warnings)


def test_where_it_is_not_used_nothing_is_claimed(session: Session) -> None:
    made = job(session, mode="fbc", light="from background", background=LIT_TOP)
    assert "IC-Light light" not in made.infotext()
    assert any("The light is not used" in told for told in made.warnings)
    assert not any("Light from the" in told for told in made.warnings)
    with pytest.raises(ICLightError, match="no background picture"):
        job(session, light="from background")


@pytest.mark.parametrize("fit", ["cover", "contain"])
def test_start_sketch_is_the_sketch_over_the_light_map(session: Session, fit: str) -> None:
    pictures: list[NDArray[Any]] = []
    made = job(session, light="right", start="sketch", fit=fit)
    latent = made.initial(Seen(pictures), Frame(80, 64), batch=2)
    assert latent is not None and latent.shape == (2, 4, 8, 10)
    [start] = pictures  # of two alike one is encoded
    ramp = light_map("right", 80, 64)
    assert ramp is not None
    assert np.abs(start[:, :6].astype(int) - ramp[:, :6]).max() <= 2
    alpha = BALL if fit == "contain" else np.asarray(Image.fromarray(BALL).resize((85, 64)))[:, 2:82]
    top = 2 if fit == "contain" else 0
    inside = start[top:top + alpha.shape[0]][alpha == 1]
    assert np.abs(inside.astype(int) - ramp[top:top + alpha.shape[0]][alpha == 1]).mean() > 10
    assert sides(Image.fromarray(start)) > 20


def test_start_sketch_in_fbc_lies_over_the_background(session: Session) -> None:
    pictures: list[NDArray[Any]] = []
    made = job(session, mode="fbc", light="right", start="sketch", background=LIT_TOP)
    made.initial(Seen(pictures), Frame(80, 64))
    assert np.abs(pictures[0][30, :6].astype(int) - LIT_TOP[28, :6]).max() < 12
    assert made.warnings == []


@pytest.mark.parametrize("values", [{}, {"light": "left", "light_map": LIT_TOP}])
def test_start_sketch_needs_lamps(session: Session, values: dict[str, Any]) -> None:
    with pytest.raises(ICLightError, match="start is 'sketch'"):
        job(session, start="sketch", **values)


# --- the command line and the API ---------------------------------------------------------------------------------


def written(path: Path, pixels: NDArray[Any]) -> str:
    Image.fromarray(pixels).save(path)
    return str(path)


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo, wall = written(tmp_path / "photo.png", CUT), written(tmp_path / "wall.png", LIT_RIGHT)
    out = tmp_path / "out.jpg"
    assert cli.main(["preview", photo, "--light", "from background", "--background", wall, "--size", "40",
                     "-o", str(out)]) == 0
    said = capsys.readouterr()
    assert said.out.strip() == str(out) and "note: Light from the right" in said.err
    assert Image.open(out).size == (40, 30)
    assert cli.main(["lightfrom", wall]) == 0
    said = capsys.readouterr()
    spec = LightSpec.from_dict(json.loads(said.out))
    assert spec.lights and "Light from the right" in said.err
    for arguments, sentence in (
            (["preview", photo, "-o", str(tmp_path / "x.png")], "there is no light to show"),
            (["preview", photo, "--light", "left", "-o", photo], "one of the pictures to read"),
            (["preview", photo, "--light", "left", "--size", "huge", "-o", str(tmp_path / "x.png")], "no size"),
            (["lightmap", "--light", "from background", "-o", str(tmp_path / "x.png")], "lightfrom"),
            (["lightfrom", str(tmp_path / "none.png")], "none.png")):
        assert cli.main(arguments) == 2
        assert sentence in capsys.readouterr().err
    assert not (tmp_path / "x.png").exists()


def test_lightfrom_leaves_what_is_transparent_or_masked_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ball = np.hypot(X - 60, Y - 30) < 19
    photo = np.where(ball[..., None], 2, LIT_RIGHT).astype(np.uint8)
    alpha = np.where(ball, 0, 255).astype(np.uint8)
    pierced = written(tmp_path / "pierced.png", np.dstack([photo, alpha]))
    whole, mask = written(tmp_path / "whole.png", photo), written(tmp_path / "mask.png", 255 - alpha)
    for arguments in ([pierced], [whole, "--mask", mask]):
        assert cli.main(["lightfrom", *arguments]) == 0
        [light] = json.loads(capsys.readouterr().out)["lights"]
        assert abs((light["angle"] + 180) % 360 - 180) < 8


Post = Callable[[Any], httpx.Response]


@pytest.fixture
def post(session: Session) -> Post:
    """Asks a server for a preview."""
    app = FastAPI()
    add_routes(app, session)

    async def answered(given: Any) -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            return await client.post("/iclight/v1/preview", json=given)

    return lambda given: asyncio.run(answered(given))


def test_what_nobody_foresaw_is_told_without_the_servers_folders(
        post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise PermissionError(13, "Permission denied", "/srv/people/photo.png")

    monkeypatch.setattr(Session, "preview", fail)
    answer = post({})
    assert (answer.status_code, answer.json()) == (500, {"detail": "IC-Light: PermissionError: Permission denied"})


def encoded(pixels: NDArray[Any]) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_the_api(post: Post, session: Session) -> None:
    answer = post({
        "foreground": encoded(CUT), "light": "from background", "background": encoded(LIT_RIGHT), "size": 64})
    assert answer.status_code == 200
    made = answer.json()
    picture = Image.open(io.BytesIO(base64.b64decode(made["image"])))
    assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (64, 48))
    assert LightSpec.from_dict(made["light"]).lights and "Light from the right" in made["notes"][0]
    expected = session.preview(Settings(foreground=CUT, light="from background", background=LIT_RIGHT), side=64)
    assert np.array_equal(np.asarray(picture), np.asarray(expected.picture))


@pytest.mark.parametrize(("given", "sentence"), [
    ([], "one JSON object"), ("left", "one JSON object"), ({"lihgt": "left"}, "unknown key 'lihgt'"),
    ({"mode": "fbc"}, "unknown key 'mode'"), ({"light": "lfet"}, "Did you mean 'left'"), ({}, "no light to show"),
    ({"light": "left", "size": 63}, "64 to 4096"), ({"light": "left", "size": 4097}, "64 to 4096"),
    ({"light": "left", "size": "big"}, "size must be"), ({"light": "left", "size": True}, "size must be"),
    ({"light": "left", "normals": "/etc/passwd"}, "normal map"), ({"light": "left", "normals": {}}, "normals must be"),
    ({"light": "left", "normals": encoded(GREY), "convention": ["x"]}, "convention"),
    ({"light": "left", "foreground": "/etc/passwd"}, "foreground"), ({"light": "left", "foreground": ""}, "foreground"),
])
def test_the_api_refuses_with_a_sentence(post: Post, given: Any, sentence: str) -> None:
    whole = {"foreground": encoded(CUT)} | given if isinstance(given, dict) else given
    answer = post(whole)
    assert answer.status_code == 422
    assert isinstance(answer.json()["detail"], str) and sentence in answer.json()["detail"]
