"""What a camera writes beside the pixels: kept, but for what no longer holds and for where the photo was taken."""

from __future__ import annotations

import contextlib
from typing import Any

from PIL import Image

EXIF_IFD, GPS_IFD, INTEROP_IFD = 0x8769, 0x8825, 0xA005
ORIENTATION, USER_COMMENT, COLOR_SPACE, WIDE, TALL = 0x0112, 0x9286, 0xA001, 0xA002, 0xA003
SRGB, UNCALIBRATED = 1, 0xFFFF
"""values of EXIF's colour space"""
TOLD = (0x010D, 0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298)
"""tags of the first directory that tell of the photo: document name, description, make, model, software, date, artist,
copyright. The others tell how the pixels lie in a file, which is the writer's business"""


def exif_of(image: Image.Image) -> bytes:
    """An opened picture's EXIF that is worth keeping, from the TIFF header on, GPS included and orientation left out;
    empty where there is none, or it is damaged."""
    try:
        found = image.getexif()
        kept = Image.Exif()
        for tag in TOLD:
            if tag in found:
                kept[tag] = found[tag]
        for directory in (EXIF_IFD, GPS_IFD):
            values = _directory(found, directory)
            if values:
                kept[directory] = values
        return _bytes(kept) if len(kept) else b""
    except Exception:  # damaged EXIF raises anything
        return b""


def written(exif: bytes, size: tuple[int, int], comment: bytes = b"", *, gps: bool = False,
            srgb: bool = True) -> bytes:
    """EXIF for a file of `size`: what `exif_of` kept, from the TIFF header on; empty for nothing.

    comment: the UserComment that takes the place of the photo's, with its head. gps: whether it tells where the photo
    was taken. srgb: whether the colours are sRGB.
    """
    kept = Image.Exif()
    own: dict[int, Any] = {}
    if exif:
        found = Image.Exif()
        with contextlib.suppress(Exception):  # it was written by `exif_of`, perhaps by another Pillow
            found.load(b"Exif\0\0" + exif)
            for tag in TOLD:
                if tag in found:
                    kept[tag] = found[tag]
            own = _directory(found, EXIF_IFD)
            place = _directory(found, GPS_IFD)
            if gps and place:
                kept[GPS_IFD] = place
            own.update({COLOR_SPACE: SRGB if srgb else UNCALIBRATED, WIDE: size[0], TALL: size[1]})
            if srgb:
                own.pop(INTEROP_IFD, None)
    if comment:
        own[USER_COMMENT] = comment
    if own:
        kept[EXIF_IFD] = own
    return _bytes(kept) if len(kept) else b""


def has_gps(exif: bytes) -> bool:
    """Whether EXIF of `exif_of`'s tells where the photo was taken."""
    if not exif:
        return False
    found = Image.Exif()
    with contextlib.suppress(Exception):
        found.load(b"Exif\0\0" + exif)
        return bool(_directory(found, GPS_IFD))
    return False


def _directory(exif: Image.Exif, tag: int) -> dict[int, Any]:
    """One of EXIF's directories below the first, and what it holds as values."""
    with contextlib.suppress(Exception):
        values = dict(exif.get_ifd(tag))
        if tag == EXIF_IFD and INTEROP_IFD in values and not isinstance(values[INTEROP_IFD], dict):
            inner = dict(exif.get_ifd(INTEROP_IFD))
            values.pop(INTEROP_IFD)
            if inner:
                values[INTEROP_IFD] = inner
        return values
    return {}


def _bytes(exif: Image.Exif) -> bytes:
    """From the TIFF header on."""
    data: bytes = exif.tobytes()
    return data.removeprefix(b"Exif\0\0")
