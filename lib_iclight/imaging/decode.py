"""Files of pictures: told by their first bytes, opened by decoders that read pixels and run nothing else."""

from __future__ import annotations

import importlib
import io
import logging
import os
import stat
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from ..errors import ImageError
from ..files import shown_name
from .convert import Meaning, low_bytes, meaning, orientation_of, to_srgb

MIN_SIDE = 16
MAX_PIXELS = 220_000_000
"""a little above the 200 megapixels of today's largest sensors; four bytes for each while it is decoded"""
MAX_BYTES = 1_500_000_000
"""of a picture's file: 200 megapixels of 16-bit colour, uncompressed"""

# Only decoders that know their files by a signature (Pillow's EPS reader, for one, starts Ghostscript instead).
# AVIF, HEIF and JXL count where Pillow or a plugin of the host's has them.
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "HEIF", "JXL")
_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_PREFIX = 32
"""bytes that tell a picture's kind"""

_DEEP_PIXELS = 64_000_000
"""up to here 16-bit colour is read twice, for both bytes of its values; larger pictures count by their upper bytes"""

_log = logging.getLogger("iclight")


def opened(path: Path, what: str, named: str = "") -> BinaryIO:
    """A picture's file, told to be one by its first bytes, from its start. Raises ImageError.

    Only regular files: a pipe would wait for ever, and a device never end.
    named: the file as errors name it; by itself without its folders, for errors go to pages.
    """
    named = f"the {what} {named or shown_name(path)}"
    try:
        state = os.stat(path)
        if stat.S_ISREG(state.st_mode):
            file = path.open("rb")
            try:
                _kind(file.read(_PREFIX), what, named)
                file.seek(0)
            except BaseException:
                file.close()
                raise
            return file
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"{named} cannot be read ({reason}). Check the file's name.", path=path) from error
    kind = "a folder" if stat.S_ISDIR(state.st_mode) else "no regular file"
    raise ImageError(f"{named} cannot be read (it is {kind}). Give the name of a picture's file.", path=path)


def read_picture(path: Path, what: str) -> bytes:
    """The bytes of a picture's file, undecoded. Raises ImageError for what is no picture's file, or over MAX_BYTES.

    what: how errors name the picture ("foreground"). They tell the path as it is given, for whoever typed it.
    """
    with opened(path, what, str(path)) as file:
        try:
            data = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise ImageError(f"the {what} {path} cannot be read ({error.strerror or error}).") from error
    if len(data) > MAX_BYTES:
        raise ImageError(f"the {what} {path} is larger than {MAX_BYTES // 10**6} million bytes. Save it as a JPEG.")
    return data


def decoded(file: BinaryIO, what: str, enough: tuple[int, int] | None = None) -> Image.Image:
    """The picture in an open file that can seek, as `convert.to_srgb` makes it. Raises ImageError."""
    name = _kind(file.read(_PREFIX), what)
    try:
        # Pillow's own complaints give way to ours; without this they reach the console, or raise.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with _open(name, file, what) as image:
                check_size(image.width, image.height, what)
                check_kind(image, what)
                cicp = cicp_of(file) if image.format == "PNG" else None
                if enough is not None and image.format in ("JPEG", "MPO"):
                    turned = orientation_of(image) >= 5
                    image.draft(None, (max(enough[turned], 1), max(enough[not turned], 1)))
                tiles = low_bytes(image, what)
                image.load()  # a PNG may tell its EXIF after its pixels
                meant = meaning(image, cicp)
                low = None
                if tiles and _needs_low_bytes(image, meant, what):
                    low = _open(name, file, what)
                    low.tile = tiles
                    low.load()
                return converted(lambda: to_srgb(image, meant, what, low, enough, own=True), image.mode, what)
    except ImageError:
        raise
    except Exception as error:  # decoders raise anything from IndexError to zlib.error on damaged headers
        raise damaged(what) from error


def _needs_low_bytes(image: Image.Image, meant: Meaning, what: str) -> bool:
    """Whether 16-bit colour has to be read twice, for both bytes of its values. Raises ImageError if it is too large.

    8 bits do for colours that are sRGB, to within a level; not for linear light's shadows, nor to find one colour.
    """
    keyed = image.mode == "RGB" and "transparency" in image.info
    small = image.width * image.height <= _DEEP_PIXELS
    if keyed and not small:
        raise ImageError(f"the {what} has 16-bit colour, one of them transparent, and more than "
                         f"{_DEEP_PIXELS // 10**6} million pixels. Save it with an alpha channel, or scale it down.")
    if meant.encoding is not None and not small:
        _log.warning("a picture's 16-bit colour is read as 8 bits: it has more than %d pixels", _DEEP_PIXELS)
    return small and (keyed or meant.encoding is not None)


def normalised(image: Image.Image, what: str, enough: tuple[int, int] | None = None) -> Image.Image:
    """Somebody's PIL image of any mode as `convert.to_srgb` makes it; it is left as it was. Raises ImageError."""
    check_size(image.width, image.height, what)
    try:
        image.load()
    except Exception as error:
        raise damaged(what) from error
    return converted(lambda: to_srgb(image, meaning(image), what, enough=enough), image.mode, what)


def converted(make: Callable[[], Image.Image], mode: str, what: str) -> Image.Image:
    """What `make` gives; its ValueErrors, Pillow's for modes that it cannot convert, as ImageError."""
    try:
        return make()
    except ValueError as error:
        raise ImageError(f"the {what} has colours of kind {mode}, which cannot be read. "
                         "Save it as an RGB PNG or JPEG.") from error


def check_size(width: int, height: int, what: str) -> None:
    """Raises ImageError for a picture smaller than MIN_SIDE or larger than MAX_PIXELS."""
    if width * height > MAX_PIXELS:
        raise ImageError(f"the {what} is too large: at most {MAX_PIXELS // 10**6} million pixels can be used. "
                         "Scale it down and try again.")
    if min(width, height) < MIN_SIDE:
        raise ImageError(f"the {what} is {width} x {height} pixels, too small to work with. "
                         f"Use one with at least {MIN_SIDE} pixels on each side.")


def damaged(what: str) -> ImageError:
    return ImageError(f"the {what} is damaged or cut short. Open it in a picture editor, save it anew and try again.")


def open_plain(file: BinaryIO, what: str) -> Image.Image:
    """A picture's file opened and not decoded, for what else it carries. Raises ImageError."""
    name = _kind(file.read(_PREFIX), what)
    try:
        return _open(name, file, what)
    except ImageError:
        raise
    except Exception as error:
        raise damaged(what) from error


def _kind(prefix: bytes, what: str, named: str = "") -> str:
    """Pillow's name of the format that a file's first bytes tell. Raises ImageError, `named` or else by `what`."""
    Image.init()  # registers the decoders, so that those a host lacks can be left out
    named = named or f"the {what}"
    brand = prefix[8:12] if prefix[4:8] == b"ftyp" else b""
    if brand and (b"avif" in prefix[8:] or b"avis" in prefix[8:]):  # a general brand first, or its own
        if "AVIF" not in Image.OPEN:
            _import_avif()
        if "AVIF" not in Image.OPEN:
            raise ImageError(f"{named} is an AVIF, which this Pillow cannot read. Install pillow-avif-plugin, "
                             "or save the picture as a JPEG or PNG.")
    elif brand in _HEIC_BRANDS and "HEIF" not in Image.OPEN:
        raise ImageError(f"{named} is a HEIC, which Pillow cannot read without the plugin pillow-heif. "
                         "Save the picture as a JPEG or PNG.")
    elif prefix.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")) and "JXL" not in Image.OPEN:
        raise ImageError(f"{named} is a JPEG XL, which Pillow cannot read without the plugin pillow-jxl-plugin. "
                         "Save the picture as a JPEG or PNG.")
    for name in _FORMATS:
        if name in Image.OPEN:
            accept = Image.OPEN[name][1]
            accepted = accept is not None and accept(prefix)
            if accepted and not isinstance(accepted, str):  # a text says why this Pillow cannot
                return name
    raise ImageError(f"{named} is in no picture format that can be read. "
                     "Give the whole file of a PNG, JPEG, WebP, GIF, BMP or TIFF.")


def _import_avif() -> None:
    """Let pillow-avif-plugin, if it is installed, add itself to Pillow."""
    try:
        importlib.import_module("pillow_avif")
    except ImportError:
        _log.debug("no pillow-avif-plugin")


def can_write_avif() -> bool:
    """Whether Pillow, or the plugin, writes AVIF."""
    Image.init()
    if "AVIF" not in Image.SAVE:
        _import_avif()
    return "AVIF" in Image.SAVE


def _open(name: str, file: BinaryIO, what: str) -> Image.Image:
    """An opened picture. Raises ImageError for a TIFF of a kind that Pillow does not know, else what Pillow raises.

    `Image.open` would apply Pillow's own limit of pixels, which is below ours and global."""
    file.seek(0)
    try:
        image: Image.Image = Image.OPEN[name][0](file, "")
    except SyntaxError as error:
        if name == "TIFF" and "unknown pixel mode" in str(error):
            raise ImageError(f"the {what} is a TIFF of a kind that cannot be read, such as floating-point colour. "
                             "Save it with 8 or 16 bits a channel.") from error
        raise
    return image


def check_kind(image: Image.Image, what: str) -> None:
    """Raises ImageError for a TIFF whose first picture is a preview: so camera raw files begin."""
    if image.format == "TIFF" and int(getattr(image, "tag_v2", {}).get(254, 0)) & 1:
        raise ImageError(f"the {what} is a camera's raw file, or holds a preview first. "
                         "Develop it and give a JPEG, PNG or TIFF.")


def cicp_of(file: BinaryIO) -> bytes | None:
    """What a PNG's cICP chunk holds, which Pillow does not read; the file's place is kept."""
    place = file.tell()
    try:
        file.seek(8)
        for _ in range(1000):
            head = file.read(8)
            if len(head) < 8 or head[4:] in (b"IDAT", b"IEND", b"PLTE"):
                return None
            length = struct.unpack(">I", head[:4])[0]
            if head[4:] == b"cICP":
                return file.read(4) if length == 4 else None
            file.seek(length + 4, io.SEEK_CUR)
        return None
    finally:
        file.seek(place)
