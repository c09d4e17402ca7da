"""Pictures out: written whole or not at all, with the text that tells how they were made."""

from __future__ import annotations

import contextlib
import io
import os
import re
import secrets
import stat
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ..errors import ImageError
from ..locks import is_at, lock
from .decode import MAX_PIXELS, can_write_avif, open_plain, opened

WRITABLE = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".avif": "AVIF", ".tif": "TIFF",
            ".tiff": "TIFF"}
"""Pillow's names of the formats, by the endings of files; AVIF only where `can_write_avif`"""
WITH_ALPHA = {".png": "PNG", ".webp": "WEBP", ".avif": "AVIF", ".tif": "TIFF", ".tiff": "TIFF"}
"""those that keep transparency"""
LONGEST_SIDE = {"JPEG": 65500, "WEBP": 16383, "AVIF": 32768}
"""in pixels; libjpeg's and libwebp's own limits, and what libavif's reader takes. PNG has none that matters here"""

_QUALITY = 95
UNLOCKED = 3600.0
"""seconds after which nobody writes to a part any more, on a disk that knows no locks"""
_PART = re.compile(r"\.[0-9a-f]{12}\.part(\.[a-z0-9]{1,5})?")
_EXIF_IFD, _USER_COMMENT = 0x8769, 0x9286
JPEG_SEGMENT = 65533
"""bytes of EXIF that a JPEG can hold"""


def save_picture(image: Image.Image, path: Path, text: str = "") -> None:
    """Write a picture, in the format of the path's ending, so that `path` is at any time the old file or the new one.

    text: the infotext, carried as WebUIs do: a PNG in its text "parameters", the others in EXIF's UserComment
        (UNICODE, UTF-16). Lone surrogates, what a shell makes of bytes that are no text, are written as escapes.
    JPEG, WebP and AVIF are written at quality 95, JPEG and AVIF with colours at full size (4:4:4).

    An existing file is replaced. On an error, or interrupted, nothing is left beside it. Raises ImageError where the
    picture could not be written; it lies in a temporary folder then, and the error says where (a path of this
    machine: a message for its own console).
    """
    try:
        write_whole(path, encoded(image, path.suffix, text))
    except Exception as error:  # encoders raise anything; a picture that took minutes must not be lost to it
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"{path} cannot be written ({reason}). {rescued(image, path, text)}") from error


def encoded(image: Image.Image, suffix: str, text: str = "", *, exif: bytes = b"",
            profile: bytes | None = None) -> bytes:
    """The bytes of a picture's file by the ending of its name; see `save_picture`.

    exif: all of it, from the TIFF header on, in the text's place but in a PNG, which has both. profile: ICC.
    Raises ImageError for endings and texts that cannot be written, and whatever Pillow does.
    """
    form = format_of(suffix)
    text = encodable(text)
    options: dict[str, Any] = {"quality": _QUALITY}
    if form == "PNG":
        info = PngInfo()
        info.add_text("parameters", text)  # iTXt where the text is not Latin-1
        options = {"pnginfo": info} if text else {}
    elif text and not exif:
        exif = _exif(text)
        check_text(text, suffix)
    if form == "TIFF":
        options = {}  # uncompressed: libtiff takes no EXIF from Pillow
    if exif:
        options["exif"] = b"Exif\0\0" + exif if form in ("JPEG", "TIFF") else exif
    if profile:
        options["icc_profile"] = profile
    if form in ("JPEG", "AVIF"):
        options["subsampling"] = "4:4:4"
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def write_whole(path: Path, data: bytes | Callable[[BinaryIO], None]) -> None:
    """Write a file whole: into a part of its own name beside it, to the disk, and renamed over `path`.

    data: its bytes, or what writes them into an open file.

    Jobs that write the same file at once do not mix; the last one's file stays. No part is left behind on an error or
    interrupt. Raises OSError.
    """
    with part_of(path) as part, part.open("r+b") as file:
        if isinstance(data, bytes):
            file.write(data)
        else:
            data(file)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def part_of(path: Path, ending: str = "") -> Iterator[Path]:
    """A new file beside `path`, to be written to; it takes the place of `path` in the end, or goes on an error.

    Its name is one that nobody else has, and short: the file's own may be as long as names can be. It is held
    meanwhile, so that `clear_parts` can tell it from those of a process that was killed.
    ending: such as ".mp4", for writers that go by it. Raises OSError.
    """
    while True:
        part = path.with_name(f".{secrets.token_hex(6)}.part{ending}")
        file = part.open("xb")
        if _held(file) and is_at(file, part):
            break
        file.close()  # somebody has cleared it away between these two
    try:
        yield part
        if sys.platform == "win32":  # where an open file cannot be renamed
            file.close()
        os.replace(part, path)
    finally:
        file.close()
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def clear_parts(folder: Path) -> None:
    """Remove what processes that were killed have left of `part_of` in a folder; never what is being written."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if _PART.fullmatch(name):
                with contextlib.suppress(OSError):
                    _clear(folder / name)


def _clear(part: Path) -> None:
    if not stat.S_ISREG(part.lstat().st_mode):
        return
    age = time.time() - part.stat().st_mtime
    if sys.platform == "win32":
        # Nobody can remove what another has open. It is closed for a moment before it is renamed.
        if age > 60.0:
            part.unlink()
        return
    with part.open("r+b") as file:  # NFS locks only files that are open for writing
        try:
            free = lock(file)
        except OSError:  # a disk that knows no locks
            free = age > UNLOCKED
        if free:
            part.unlink()


def _held(file: BinaryIO) -> bool:
    """Hold an open part for oneself. An open file is held as it is on Windows, where locks are for bytes of it."""
    try:
        return sys.platform == "win32" or lock(file)
    except OSError:  # a disk that knows no locks, on which a part's age tells whether it is being written
        return True


def format_of(suffix: str) -> str:
    """Pillow's name of the format that a file's ending stands for. Raises ImageError for what cannot be written."""
    form = WRITABLE.get(suffix.lower())
    if form is None:
        raise ImageError(f"pictures are not written as {suffix or 'files without an ending'}. "
                         f"Use one of {', '.join(WRITABLE)}.")
    if form == "AVIF" and not can_write_avif():
        raise ImageError("this Pillow cannot write AVIF. Install pillow-avif-plugin, or use another ending.")
    return form


def encodable(text: str) -> str:
    """The text without lone surrogates, which no encoding of a file can hold: they become escapes, \\udcff."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def check_text(text: str, suffix: str) -> None:
    """Raises ImageError for a text that a file of this ending cannot carry."""
    size = len(_exif(encodable(text))) + 6
    if WRITABLE.get(suffix.lower()) == "JPEG" and size > JPEG_SEGMENT:
        raise ImageError(f"a JPEG can carry some {JPEG_SEGMENT // 2} letters of settings, and these are {len(text)}. "
                         "Shorten the prompt, or write a .png.")


def read_text(source: Path | bytes) -> str:
    """What a picture's file tells of its making: a WebUI's infotext, or ours; "" where it tells nothing.

    Read from a PNG's text "parameters", EXIF's UserComment or a GIF's comment, as WebUIs do. Raises ImageError for
    what is no picture's file.
    """
    if isinstance(source, Path):
        with opened(source, "picture", str(source)) as file:
            return _text_of(open_plain(file, "picture"))
    return _text_of(open_plain(io.BytesIO(source), "picture"))


def _text_of(image: Image.Image) -> str:
    text = image.info.get("parameters")
    if not text and image.format == "PNG":
        if image.width * image.height > MAX_PIXELS:
            raise ImageError("the picture's beginning tells nothing of its making, and it is too large to be read to "
                             f"its end, where texts may be too: at most {MAX_PIXELS // 10**6} million pixels.")
        with contextlib.suppress(Exception):  # damaged pixels
            text = image.text.get("parameters")  # may stand behind the pixels, which are decoded for it
    if isinstance(text, str) and text:
        return str(text)
    with contextlib.suppress(Exception):  # damaged EXIF, which raises anything, tells nothing
        comment = image.getexif().get_ifd(_EXIF_IFD).get(_USER_COMMENT)
        if comment:
            return _comment(comment)
    comment = image.info.get("comment")
    return comment.decode("utf-8", "replace") if isinstance(comment, bytes) else str(comment or "")


def _comment(comment: str | bytes | tuple[int, ...]) -> str:
    """EXIF's UserComment: eight bytes that name its letters, then the text (EXIF 2.32, 4.6.5)."""
    if isinstance(comment, str):
        return comment.removeprefix("ASCII\0\0\0").strip("\0")
    head, body = bytes(comment[:8]), bytes(comment[8:])
    if head == b"UNICODE\0":
        # The standard leaves the order open, WebUIs write big-endian. Most letters' upper byte is 0.
        little = body.startswith(b"\xff\xfe") or body[1::2].count(0) > body[::2].count(0)
        return body.decode("utf-16-le" if little else "utf-16-be", "replace").strip("\0\ufeff")
    if head in (b"ASCII\0\0\0", b"\0" * 8):
        return body.decode("utf-8", "replace").strip("\0")
    return bytes(comment).decode("utf-8", "replace").strip("\0")


def comment_of(text: str) -> bytes:
    """EXIF's UserComment that holds a text, its head included; empty for none."""
    return b"UNICODE\0" + encodable(text).encode("utf-16-be") if text else b""


def _exif(text: str) -> bytes:
    """EXIF with a UserComment and nothing else, big-endian as its letters are; from the TIFF header on."""
    comment = comment_of(text)
    return (b"MM\0*" + struct.pack(">I", 8)
            + struct.pack(">HHHII", 1, _EXIF_IFD, 4, 1, 26) + bytes(4)
            + struct.pack(">HHHII", 1, _USER_COMMENT, 7, len(comment), 44) + bytes(4) + comment)


def rescued(image: Image.Image, path: Path, text: str) -> str:
    """A sentence on where a picture lies that could not be written where it should."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="iclight-"))
        for name, suffix, own in ((path.name, path.suffix, text), ("picture.png", ".png", text),
                                  ("picture.png", ".png", "")):
            with contextlib.suppress(Exception):  # the name, the format or the text may be what failed
                write_whole(folder / name, encoded(image, suffix, own))
                return f"The picture was saved as {folder / name}."
        folder.rmdir()
    except OSError:
        pass
    return "It could not be saved in the temporary folder either."
