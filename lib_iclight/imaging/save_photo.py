"""Photos out: with their own colours, depth and EXIF, in any of the formats; 16 bits in PNG and TIFF.

Pillow (9.5 to 12) cannot write colour of 16 bits, so that is done here, a band of rows at a time.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from ..errors import ImageError
from .convert import bands
from .metadata import has_gps, written
from .photo import Photo
from .save import JPEG_SEGMENT, comment_of, encodable, encoded, format_of, rescued, write_whole

DEPTHS = (8, 16)
PROFILES = ("keep", "srgb")
DEEP = ("PNG", "TIFF")
"""Pillow's names of the formats that hold 16 bits"""
GPS_LEFT_OUT = "The photo tells where it was taken; the result does not. Give --gps to keep that."
TOO_LONG = "The photo's EXIF and the settings together are more than a JPEG holds: only the settings are written."


@dataclass(frozen=True)
class PhotoForm:
    """How photos are written. Raises ImageError for what cannot be meant."""

    depth: int = 8
    """bits of a value"""
    profile: str = "keep"
    """keep: in the photo's own colours, with its profile; srgb: converted"""
    gps: bool = False
    """whether the file tells where the photo was taken"""

    def __post_init__(self) -> None:
        if self.depth not in DEPTHS:
            raise ImageError(f"depth must be 8 or 16, not {self.depth!r}.")
        if self.profile not in PROFILES:
            raise ImageError(f"profile must be keep or srgb, not {self.profile!r}.")

    def check(self, suffix: str) -> None:
        """Raise ImageError for a file's ending whose format does not hold so many bits."""
        form = format_of(suffix)
        if self.depth == 16 and form not in DEEP:
            raise ImageError(f"a {suffix} holds 8 bits a value. For 16 write a .png or a .tif.")


def save_photo(photo: Photo, path: Path, text: str = "", form: PhotoForm | None = None) -> tuple[str, ...]:
    """Write a photo, in the format of the path's ending, whole or not at all. Returns notes, in sentences.

    text: its infotext; it takes the place of the photo's own UserComment where the format keeps it in EXIF. The EXIF is
    the photo's but for orientation, thumbnail and, unless `form` asks for it, GPS. Raises ImageError.
    """
    form = form or PhotoForm()
    form.check(path.suffix)
    notes = [GPS_LEFT_OUT] if not form.gps and has_gps(photo.exif) else []
    done = photo.in_srgb(form.depth) if form.profile == "srgb" else photo.with_bits(form.depth)
    kind = format_of(path.suffix)
    comment = b"" if kind == "PNG" else comment_of(text)
    exif = written(photo.exif, photo.size, comment, gps=form.gps, srgb=done.encoding is None)
    if kind == "JPEG" and len(exif) + 6 > JPEG_SEGMENT:
        exif = written(b"", photo.size, comment)
        notes.append(TOO_LONG)
    try:
        if kind == "TIFF":
            write_whole(path, lambda file: write_tiff(file, done, exif))
        elif form.depth == 8:
            write_whole(path, encoded(Image.fromarray(done.codes), path.suffix, text, exif=exif, profile=done.profile))
        else:
            write_whole(path, lambda file: write_png16(file, done, encodable(text), exif))
    except ImageError:
        raise
    except Exception as error:  # encoders raise anything
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"{path} cannot be written ({reason}). {rescued(photo.image(), path, text)}") from error
    return tuple(notes)


def write_png16(file: BinaryIO, photo: Photo, text: str = "", exif: bytes = b"") -> None:
    """A 16-bit PNG. Rows are stored as their differences from the row above (filter 2 of the PNG specification)."""
    width, height = photo.size
    file.write(b"\x89PNG\r\n\x1a\n")
    _chunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0))
    if photo.profile:
        _chunk(file, b"iCCP", b"profile\0\0" + zlib.compress(photo.profile))
    elif photo.encoding is None:
        _chunk(file, b"sRGB", b"\0")
    if exif:
        _chunk(file, b"eXIf", exif)
    if text:
        _chunk(file, b"iTXt", b"parameters\0\0\0\0\0" + text.encode())
    for data in _deflated(photo, ">u2", above=True):
        _chunk(file, b"IDAT", data)
    _chunk(file, b"IEND", b"")


def write_tiff(file: BinaryIO, photo: Photo, exif: bytes = b"") -> None:
    """A TIFF of one strip, deflated after differences from the pixel to the left (predictor 2)."""
    directory = ImageFileDirectory_v2()
    if exif:
        found = Image.Exif()
        found.load(b"Exif\0\0" + exif)
        for tag, value in found.items():
            directory[tag] = dict(found.get_ifd(tag)) if tag in (0x8769, 0x8825) else value
    width, height = photo.size
    directory.update({256: width, 257: height, 258: (photo.bits,) * 3, 259: 8, 262: 2, 277: 3, 278: height, 284: 1,
                      317: 2})
    if photo.profile:
        directory[34675] = photo.profile
    directory[273], directory[279] = 0, 2**31
    head = b"II*\0" + struct.pack("<I", 8)
    first = len(head + directory.tobytes(8))
    file.write(bytes(first))
    size = 0
    for data in _deflated(photo, f"<u{photo.bits // 8}", above=False):
        file.write(data)
        size += len(data)
    directory[279] = size
    file.seek(0)
    file.write(head + directory.tobytes(8))
    if file.tell() != first:
        raise ImageError("the TIFF's directory changed its length.")


def _deflated(photo: Photo, order: str, above: bool) -> Iterator[bytes]:
    """The codes as differences, from the row above with a PNG's filter byte or from the left, compressed."""
    packer = zlib.compressobj(4)
    before = np.zeros(0, np.uint8)
    for rows in bands(*photo.size):
        codes = photo.codes[rows]
        if above:
            values = np.ascontiguousarray(codes, order).view(np.uint8).reshape(len(codes), -1)
            if not before.size:
                before = np.zeros(values.shape[1], np.uint8)
            lines = np.empty((len(values), 1 + values.shape[1]), np.uint8)
            lines[:, 0] = 2
            np.subtract(values, np.concatenate([before[None], values[:-1]]), out=lines[:, 1:])
            before = values[-1]
            data = packer.compress(lines.tobytes())
        else:
            apart = codes.copy()
            apart[:, 1:] -= codes[:, :-1]
            data = packer.compress(np.ascontiguousarray(apart, order).tobytes())
        if data:
            yield data
    yield packer.flush()


def _chunk(file: BinaryIO, kind: bytes, data: bytes) -> None:
    file.write(struct.pack(">I", len(data)) + kind)
    file.write(data)
    file.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))
