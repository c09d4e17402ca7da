"""The pictures in the panel: what their files tell before a job, and the preview of the cut-out."""

from __future__ import annotations

import base64
import html
import io
import json
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from .. import imaging
from ..cache import LRU
from ..errors import ImageError
from ..imaging.address import picture_address
from ..preview import FoundLight, light_of, shape_of
from . import texts

PREVIEW_SIDE = 512
SHAPE_SIDE = 320
"""Longer side of the normal map for sketches; it is smooth."""
HEADERS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
"""formats whose header tells the picture's size: a TIFF is turned when Pillow decodes it"""

ORIENTATION_TAG = 0x0112
LYING = range(5, 9)
"""EXIF orientations that swap width and height"""

PictureValue = Path | str | None
"""what a picture widget gives to a function; see `gradio_host.PictureFile`"""


class TabPicture(NamedTuple):
    """The img2img tab's picture as the browser handed it over."""

    picture: Image.Image
    """scaled down: enough for a preview"""
    width: int
    """of the whole picture"""
    height: int


class ForegroundInfo(NamedTuple):
    """What is known of the foreground that lies in the panel."""

    width: int
    height: int
    transparent: bool
    """it brings its own alpha"""
    of_tab: bool = False
    """it is the img2img tab's own picture"""
    standing: float | None = None
    """once it is cut out, the height of a person who may stand there; see `hints.standing_height`"""
    fault: str = ""
    """why it cannot be used, as a sentence; its size is 0 x 0 then"""


class Backgrounds:
    """The light of background pictures, each looked at once. (A person's changes ask for it again and again.)"""

    def __init__(self) -> None:
        self._found: LRU[FoundLight | str] = LRU(8)

    def light(self, background: Path | str, flipped: bool) -> FoundLight | str:
        """The light that a background picture shows; a sentence where the picture cannot be used."""
        def look() -> FoundLight | str:
            try:
                rgb = imaging.load_plain(background, "background", enough=(PREVIEW_SIDE, PREVIEW_SIDE))
            except ImageError as error:
                return str(error)
            assert rgb is not None
            return light_of(np.ascontiguousarray(rgb[:, ::-1]) if flipped else rgb)

        return self._found.get((str(background), flipped), look)


def measure(foreground: PictureValue, tab_picture: TabPicture | None = None) -> ForegroundInfo | None:
    """What the foreground's file tells; the tab's picture where the panel has none, None without either.

    Pixels are decoded only of pictures that may be transparent. A broken picture has a `fault`.
    """
    if foreground is not None:
        try:
            return _from_header(foreground) or _from_pixels(imaging.load_image(foreground, "foreground"))
        except ImageError as error:
            return ForegroundInfo(0, 0, False, fault=str(error))
    if tab_picture is not None:
        return _from_pixels(tab_picture.picture)._replace(
            width=tab_picture.width, height=tab_picture.height, of_tab=True)
    return None


def handed_over(text: str) -> TabPicture | None:
    """What javascript/ says of the img2img tab's picture, as JSON; empty for none."""
    if not text:
        return None
    given = json.loads(text)
    return TabPicture(imaging.load_image(given["picture"], "img2img picture"), given["width"], given["height"])


def preview(pictures: Iterable[tuple[str, str, Image.Image]]) -> str:
    """Small pictures side by side, as HTML. pictures: each with its name in style.css and its caption."""
    figures = "".join(
        f'<figure class="iclight-{name}"><img src="{_data_uri(picture)}" alt="{html.escape(caption)}">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>" for name, caption, picture in pictures)
    return f'<div class="iclight-preview">{figures}</div>'


def cutout_preview(cutout: Image.Image, mask: Image.Image, size: tuple[int, int]) -> str:
    """The foreground's cut-out and its mask, as HTML, with the shape for the page's 25-sketch.js, which is not seen.

    cutout: RGBA. size: width and height of the whole foreground, by which the page knows whose shape it is.
    """
    seen = preview((("cutout", texts.CUTOUT_PREVIEW, cutout), ("mask", texts.MASK_PREVIEW, mask)))
    small = cutout.copy()
    small.thumbnail((SHAPE_SIDE, SHAPE_SIDE))
    rgb, alpha = imaging.split_alpha(small)
    shape = shape_of(rgb, np.ones(rgb.shape[:2], np.float32) if alpha is None else alpha)
    normals = Image.fromarray(np.rint(shape.normals * 127.5 + 127.5).astype(np.uint8))
    return (f'{seen}<img class="iclight-normals" alt="" data-size="{size[0]}x{size[1]}" '
            f'data-own="{shape.own[0]:.5f},{shape.own[1]:.5f}" src="{_data_uri(normals, SHAPE_SIDE)}">')


def _from_header(foreground: Path | str) -> ForegroundInfo | None:
    """What the header tells of an opaque picture; None where the pixels have to be looked at, or judged."""
    try:
        source = foreground if isinstance(foreground, Path) else io.BytesIO(base64.b64decode(foreground.split(",")[-1]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of pictures that are large but not too large for us
            with Image.open(source, formats=HEADERS) as picture:
                if picture.mode == "P" or picture.getbands()[-1] in ("A", "a") or "transparency" in picture.info:
                    return None
                width, height = picture.size
                # Asked for its EXIF, a PNG that has none in its header is decoded to the end.
                if "exif" in picture.info and picture.getexif().get(ORIENTATION_TAG, 1) in LYING:
                    width, height = height, width
    except Exception:  # decoders raise anything on damaged headers; `load_image` has sentences for it
        return None
    usable = min(width, height) >= imaging.MIN_SIDE and width * height <= imaging.MAX_PIXELS
    return ForegroundInfo(width, height, transparent=False) if usable else None


def _from_pixels(picture: Image.Image) -> ForegroundInfo:
    """picture: one from `imaging.load_image`."""
    return ForegroundInfo(picture.width, picture.height, imaging.split_alpha(picture)[1] is not None)


def _data_uri(picture: Image.Image, side: int = PREVIEW_SIDE) -> str:
    small = picture.copy()
    small.thumbnail((side, side))
    return picture_address(small)
