"""The panel's pictures: the file itself reaches the job, what its header tells, and what is no picture."""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from lib_iclight import imaging
from lib_iclight.errors import ImageError
from lib_iclight.folders import Folders
from lib_iclight.panel import pictures, wiring
from lib_iclight.panel.gradio_host import GRADIO_4, PictureFile, image, uploaded
from lib_iclight.panel.panel import Panel
from lib_iclight.panel.pictures import ForegroundInfo, TabPicture, measure
from lib_iclight.panel.status import describe
from lib_iclight.session import Session
from lib_iclight.settings import Settings
from lib_iclight.studio.page import always_open

OPAQUE = Image.new("RGB", (40, 20), "red")
HALF = Image.fromarray(np.dstack([np.full((20, 40, 3), 9, np.uint8),
                                  np.repeat(np.array([[0] * 20 + [255] * 20], np.uint8), 20, axis=0)]), "RGBA")
GREY_16 = Image.fromarray(np.full((20, 40), 30000, np.uint16))
LYING = Image.Exif()
LYING[0x0112] = 6


def saved(folder: Path, name: str, picture: Image.Image, **options: Any) -> Path:
    path = folder / name
    picture.save(path, **options)
    return path


def as_uri(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A widget, and what functions get of it for a file that somebody uploaded."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    with gr.Blocks():
        widget = image("Foreground", "foreground", 240)

    def preprocess(path: Path) -> Any:
        if not GRADIO_4:
            return widget.preprocess(as_uri(path))
        return widget.preprocess(widget.data_model(path=str(path), orig_name=path.name))

    return preprocess


@pytest.mark.parametrize(("name", "picture", "options"), [
    ("a.png", OPAQUE, {}), ("a.png", GREY_16, {}), ("a.jpg", OPAQUE.convert("CMYK"), {}), ("a.tiff", GREY_16, {}),
    ("a.jpg", OPAQUE, {"exif": LYING}), ("a.png", HALF, {}), ("a.svg.png", OPAQUE, {})])
def test_the_file_itself_is_handed_over(given: Any, tmp_path: Path, name: str, picture: Image.Image,
                                        options: dict[str, Any]) -> None:
    file = saved(tmp_path, name, picture, **options)
    before = file.read_bytes()
    value = given(file)
    if GRADIO_4:
        assert isinstance(value, Path) and value.read_bytes() == before
    else:
        assert base64.b64decode(value.split(",")[1]) == before
    expected = imaging.load_image(file)
    np.testing.assert_array_equal(np.asarray(imaging.load_image(value)), np.asarray(expected))
    assert Settings(foreground=value).foreground == value


def test_no_file_beside_the_uploaded_ones_is_read(tmp_path: Path) -> None:
    folder, secret = tmp_path / "uploads", tmp_path / "secret.png"
    (folder / "abc").mkdir(parents=True)
    OPAQUE.save(secret)
    mine = saved(folder / "abc", "mine.png", OPAQUE)
    assert uploaded(str(mine), str(folder)) == mine.resolve()
    link = folder / "link.png"
    link.symlink_to(secret)
    sibling = tmp_path / "uploads-of-others"
    sibling.mkdir()
    for path in (str(secret), f"{folder}/../secret.png", f"{folder}/abc/../../secret.png", str(link),
                 str(saved(sibling, "a.png", OPAQUE)), os.path.relpath(secret), "", "/", "https://a.example/b.png"):
        with pytest.raises(ImageError, match="none that was uploaded") as caught:
            uploaded(path, str(folder))
        assert str(tmp_path) not in str(caught.value)
    for gone in (folder, folder / "abc", folder / "gone.png"):
        with pytest.raises(ImageError, match="no longer on the server"):
            uploaded(str(gone), str(folder))


@pytest.mark.skipif(not GRADIO_4, reason="Gradio 3 has no file of it on the server")
def test_a_made_up_path_is_refused_by_the_widget(given: Any, tmp_path: Path,
                                                 tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(gr.Error, match="none that was uploaded"):
        given(saved(tmp_path_factory.mktemp("elsewhere"), "a.png", OPAQUE))
    with pytest.raises(gr.Error, match="no longer"):
        given(tmp_path / "gone.png")


def test_a_string_from_the_api_is_never_a_path(tmp_path: Path) -> None:
    file = saved(tmp_path, "a.png", OPAQUE)
    with pytest.raises(ImageError, match="file names and web addresses are not read"):
        imaging.load_image(Settings(foreground=str(file)).foreground, "foreground")


def test_the_widget_is_a_picture_to_the_page_and_leaves_no_file_behind() -> None:
    import lib_iclight.panel.gradio_host as module

    with gr.Blocks():
        assert image("Foreground", "foreground", 240).get_block_name() == "image"
    assert issubclass(PictureFile, gr.Image)
    assert not Path(str(module.__file__)).with_suffix(".pyi").exists()


@pytest.mark.parametrize("as_value", [lambda path: path, as_uri], ids=["path", "data URI"])
@pytest.mark.parametrize(("name", "picture", "options", "size"), [
    ("a.png", OPAQUE, {}, (40, 20)), ("a.jpg", OPAQUE, {"exif": LYING}, (20, 40)),
    ("a.png", OPAQUE, {"exif": LYING}, (20, 40)), ("a.webp", OPAQUE, {"exif": LYING}, (20, 40)),
    ("a.tiff", GREY_16, {}, (40, 20)), ("a.gif", OPAQUE, {}, (40, 20))])
def test_the_size_is_that_of_the_upright_picture(tmp_path: Path, as_value: Any, name: str, picture: Image.Image,
                                                 options: dict[str, Any], size: tuple[int, int]) -> None:
    info = measure(as_value(saved(tmp_path, name, picture, **options)))
    assert info == ForegroundInfo(*size, transparent=False)
    assert info.fault == ""


def test_transparency_is_told_by_the_pixels(tmp_path: Path) -> None:
    assert measure(saved(tmp_path, "half.png", HALF)) == ForegroundInfo(40, 20, True)
    assert measure(saved(tmp_path, "full.png", OPAQUE.convert("RGBA"))) == ForegroundInfo(40, 20, False)
    palette = OPAQUE.convert("P")
    assert measure(saved(tmp_path, "key.png", palette, transparency=palette.getpixel((0, 0)))) == ForegroundInfo(
        40, 20, True)


def test_opaque_pictures_are_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [saved(tmp_path, "a.png", OPAQUE), saved(tmp_path, "a.jpg", OPAQUE, exif=LYING),
             saved(tmp_path, "b.jpg", OPAQUE.convert("CMYK"))]
    monkeypatch.setattr(imaging, "load_image", lambda *args: pytest.fail("decoded"))
    for file in files:
        assert measure(file) is not None


@pytest.mark.parametrize(("content", "sentence"), [
    (b"no picture at all", "in no picture format"), (b"", "in no picture format"),
    (b"\x89PNG\r\n\x1a\n", "the foreground is "), ((5, 40), "too small")])
def test_what_is_no_picture_is_told_in_the_status(tmp_path: Path, content: Any, sentence: str) -> None:
    file = tmp_path / "a.png"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        Image.new("RGB", content).save(file)
    info = measure(file)
    assert info is not None and sentence in info.fault
    status = describe(Settings(), tab="txt2img", foreground=info, has_background=False, has_light_map=False,
                      weights_ready=True)
    assert status.warnings == (info.fault,)
    assert "0×0" not in " ".join(status.parts)


def test_the_tabs_picture_counts_where_the_panel_has_none(tmp_path: Path) -> None:
    tab = TabPicture(imaging.load_image(HALF), 4000, 2000)
    assert measure(None, tab) == ForegroundInfo(4000, 2000, True, of_tab=True)
    assert measure(saved(tmp_path, "a.png", OPAQUE), tab) == ForegroundInfo(40, 20, False)
    assert measure(None) is None and measure(None, None) is None


def test_the_browser_hands_the_tabs_picture_over() -> None:
    buffer = io.BytesIO()
    OPAQUE.save(buffer, "PNG")
    uri = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
    taken = pictures.handed_over(f'{{"width": 400, "height": 200, "picture": "{uri}"}}')
    assert taken is not None and (taken.width, taken.height, taken.picture.size) == (400, 200, (40, 20))
    assert pictures.handed_over("") is None


def dependency(page: gr.Blocks, name: str) -> Any:
    """The function of an event by its name."""
    functions = page.fns.values() if isinstance(page.fns, dict) else page.fns
    return next(found.fn for found in functions if getattr(found.fn, "__name__", "") == name)


def test_a_broken_foreground_has_no_preview_and_stops_nothing(tmp_path: Path) -> None:
    broken = tmp_path / "a.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    with gr.Blocks() as page:
        Panel("txt2img", Session(folders=Folders.under(tmp_path)), always_open).connect({})
    cut_out = dependency(page, "cut_out")
    defaults = [getattr(Settings(), name) for name in wiring.CUT_FIELDS]
    shown, info = cut_out(*defaults, broken)
    assert shown == "" and info.fault
    shown, info = cut_out(*defaults, saved(tmp_path, "half.png", HALF))
    # The cut-out, the mask, and the shape for the sketch.
    assert shown.count("<img") == 3 and info == ForegroundInfo(40, 20, True, standing=info.standing)
    assert cut_out(*defaults, None) == ("", None)
    index = wiring.CUT_FIELDS.index("mask")
    shown, info = cut_out(*defaults[:index], broken, *defaults[index + 1:], saved(tmp_path, "b.png", HALF))
    assert "the mask is " in shown and 'role="alert"' in shown and info.fault == ""
