"""A photo as its file has it: every pixel, every bit, its own colours, and what else it tells of itself."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import ImageError
from . import decode
from .coding import Codes, Coding
from .convert import bands, low_bytes, meaning, orientation_of, to_srgb
from .load import from_base64, load_image, split_alpha
from .metadata import exif_of
from .profiles import Encoding

DEEP_PIXELS = 120_000_000
"""up to here both bytes of 16-bit colour are kept; larger photos count by their upper bytes"""
_LEFT_AS_THEY_ARE = ("RGB", "RGBA", "RGBX")


@dataclass(frozen=True, eq=False)
class Photo:
    """A picture's pixels, upright, in its own colours."""

    codes: Codes
    """uint8 or uint16 [H, W, 3]"""
    alpha: Codes | None = None
    """of its own, at full range, [H, W]; None: opaque"""
    encoding: Encoding | None = None
    """what the codes stand for; None: sRGB"""
    profile: bytes | None = None
    """the ICC profile that says so, to be written into files"""
    exif: bytes = field(default=b"", repr=False)
    """EXIF from the TIFF header on, with all that the file had, orientation reset"""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.codes.shape[1], self.codes.shape[0]

    @property
    def bits(self) -> int:
        """8 or 16, of each value."""
        return 8 * self.codes.dtype.itemsize

    @cached_property
    def coding(self) -> Coding:
        """The way between the codes and linear light."""
        return Coding(self.encoding, self.bits)

    def share(self) -> NDArray[np.float32] | None:
        """Its own alpha as float32 [H, W] in 0..1; None where it is opaque."""
        if self.alpha is None:
            return None
        shares = self.alpha.astype(np.float32)
        shares /= np.float32(np.iinfo(self.alpha.dtype).max)
        return shares

    def image(self) -> Image.Image:
        """The picture as 8-bit sRGB, "RGB"."""
        return Image.fromarray(self.in_srgb(8).codes)

    def in_srgb(self, bits: int) -> Photo:
        """The same in sRGB with so many bits, 8 or 16; itself where it is that already."""
        return self if self.encoding is None and self.bits == bits else self._recoded(Coding(None, bits), None, None)

    def with_bits(self, bits: int) -> Photo:
        """The same in its own colours with so many bits, 8 or 16; itself where it has them."""
        if self.bits == bits:
            return self
        return self._recoded(Coding(self.encoding, bits), self.encoding, self.profile)

    def _recoded(self, coding: Coding, encoding: Encoding | None, profile: bytes | None) -> Photo:
        kind = np.uint8 if coding.bits == 8 else np.uint16
        made = np.empty(self.codes.shape, kind)
        turn = self.encoding is not encoding and self.encoding is not None and self.encoding.matrix is not None
        for rows in bands(*self.size):
            if self.encoding is encoding:  # a change of depth alone: exact both ways
                codes = self.codes[rows]
                made[rows] = (codes.astype(np.uint16) * 257 if coding.bits == 16
                              else (codes.astype(np.uint32) + 128) // 257)
                continue
            planes = self.coding.linear(self.codes[rows])
            if turn:
                assert self.encoding is not None and self.encoding.matrix is not None
                planes = (self.encoding.matrix @ planes.reshape(3, -1)).reshape(planes.shape)
            coding.write(planes, made[rows])
        return replace(self, codes=made, encoding=encoding, profile=profile)


def load_photo(source: object, what: str) -> Photo:
    """Any picture form (see `load_image`) as a photo with its own depth and colours.

    8 and 16 bits of RGB and grey stay as they are; what has no such form of its own (palettes, CMYK, profiles of
    tables, floats) comes as 8-bit sRGB. At most some 10 bytes a pixel are held at once. Raises ImageError.
    """
    if isinstance(source, np.ndarray):
        return _of_array(source, what)
    if isinstance(source, Image.Image):
        decode.check_size(source.width, source.height, what)
        try:
            source.load()
        except Exception as error:  # decoders raise anything
            raise decode.damaged(what) from error
        return _of_image(source, what, None)
    if isinstance(source, Path):
        with decode.opened(source, what) as file:
            return _of_file(file, what)
    data = from_base64(source, what) if isinstance(source, str) else source
    if not isinstance(data, bytes | bytearray | memoryview):
        return _plain(load_image(source, what))  # which has the words for it
    return _of_file(io.BytesIO(data), what)


def _of_array(array: NDArray[np.generic], what: str) -> Photo:
    if array.dtype != np.uint16 or array.ndim != 3 or array.shape[2] not in (3, 4):
        return _plain(load_image(array, what))
    decode.check_size(array.shape[1], array.shape[0], what)
    values = np.ascontiguousarray(array)
    return Photo(np.ascontiguousarray(values[..., :3]), _if_any(values[..., 3]) if array.shape[2] == 4 else None)


def _of_file(file: BinaryIO, what: str) -> Photo:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's complaints give way to ours
            with decode.open_plain(cast("BinaryIO", _Unclosed(file)), what) as image:
                decode.check_size(image.width, image.height, what)
                decode.check_kind(image, what)
                cicp = decode.cicp_of(file) if image.format == "PNG" else None
                tiles = low_bytes(image, what)
                image.load()
                if tiles and "transparency" not in image.info and image.width * image.height <= DEEP_PIXELS:
                    deep = _deep(image, tiles, file, what, cicp)
                    if deep is not None:
                        return deep
                return _of_image(image, what, cicp)
    except ImageError:
        raise
    except Exception as error:  # as above
        raise decode.damaged(what) from error


class _Unclosed(io.RawIOBase):
    """An open file that Pillow may close without closing it: it is read once more for the lower bytes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        return self._file.read(-1 if size is None else size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def _deep(image: Image.Image, tiles: list[object], file: BinaryIO, what: str, cicp: bytes | None) -> Photo | None:
    """16-bit colour: upper bytes, which are there, and lower ones; None where only colour management knows it."""
    meant = meaning(image, cicp)
    if meant.profile is not None:
        return None
    exif, icc, turned = exif_of(image), image.info.get("icc_profile"), orientation_of(image)
    count = 4 if image.mode == "RGBA" else 3
    codes = np.empty((image.height, image.width, count), np.uint16)
    for rows in bands(image.width, image.height):
        codes[rows] = _rows(image, rows)[..., :count]
        codes[rows] *= 256
    size = image.size
    image.close()
    file.seek(0)
    with decode.open_plain(file, what) as low:
        low.tile = tiles
        low.load()
        for rows in bands(*size):
            codes[rows] += _rows(low, rows)[..., :count]
    alpha = None
    if count == 4:
        alpha, codes = _if_any(codes[..., 3]), np.ascontiguousarray(codes[..., :3])
    return Photo(_upright(codes, turned), None if alpha is None else _upright(alpha, turned), meant.encoding,
                 icc if meant.encoding is not None else None, exif)


def _of_image(image: Image.Image, what: str, cicp: bytes | None) -> Photo:
    """A loaded picture of Pillow's modes."""
    exif, meant = exif_of(image), meaning(image, cicp)
    turned = orientation_of(image)
    if image.mode in ("I;16", "I;16B", "I;16L", "I") and meant.encoding is None and meant.profile is None \
            and image.format == "PNG" and "transparency" not in image.info:
        grey = np.asarray(image)
        if int(grey.min()) >= 0 and int(grey.max()) <= 65535:
            return Photo(_upright(np.repeat(grey.astype(np.uint16)[..., None], 3, 2), turned), exif=exif)
    if image.mode not in _LEFT_AS_THEY_ARE or meant.profile is not None or "transparency" in image.info:
        made = decode.converted(lambda: to_srgb(image, meant, what), image.mode, what)
        return replace(_plain(made), exif=exif)
    codes = np.empty((image.height, image.width, 3), np.uint8)
    alpha = np.empty(codes.shape[:2], np.uint8) if image.mode == "RGBA" else None
    for rows in bands(image.width, image.height):
        values = _rows(image, rows)
        codes[rows] = values[..., :3]
        if alpha is not None:
            alpha[rows] = values[..., 3]
    icc = image.info.get("icc_profile")
    alpha = None if alpha is None else _if_any(alpha)
    return Photo(_upright(codes, turned), None if alpha is None else _upright(alpha, turned), meant.encoding,
                 icc if meant.encoding is not None else None, exif)


def _plain(image: Image.Image) -> Photo:
    """A picture of `load_image`'s."""
    rgb, alpha = split_alpha(image)
    return Photo(rgb, None if alpha is None else np.rint(alpha * 255).astype(np.uint8))


def _rows(image: Image.Image, rows: slice) -> NDArray[np.uint8]:
    return np.asarray(image.crop((0, rows.start, image.width, rows.stop)))


def _if_any(alpha: Codes) -> Codes | None:
    """An alpha that is not opaque everywhere."""
    return None if int(alpha.min()) == np.iinfo(alpha.dtype).max else np.ascontiguousarray(alpha)


def _upright(values: Codes, orientation: int) -> Codes:
    """Values [H, W, ...] turned as EXIF's orientation 1 to 8 says."""
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    if orientation in (2, 6, 7, 3):
        values = values[:, ::-1]
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    return np.ascontiguousarray(values)
