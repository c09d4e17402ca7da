"""Pictures written beside each other, whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ImageError
from .options import FORMATS

if TYPE_CHECKING:
    from PIL import Image


def target(path: Path, formats: dict[str, str], *sources: Path | None) -> Path:
    """The path of a picture to write, if that can be expected to succeed. Raises ImageError."""
    if path.suffix.lower() not in formats:
        raise ImageError(f"a picture cannot be written as {path.name!r}: its ending must be one of "
                         f"{', '.join(formats)}.")
    if not path.parent.is_dir():
        raise ImageError(f"{path} cannot be written: there is no folder {path.parent}. Make it first.")
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise ImageError(f"{path} cannot be written. Choose another name or folder.")
    if path.exists() and any(source and path.samefile(source) for source in sources):
        raise ImageError(f"{path} is one of the pictures to read. Choose another output.")
    return path


def beside(path: Path, name: str) -> Path:
    return path.with_name(f"{path.stem}-{name}{path.suffix}")


def save(picture: Image.Image, path: Path, text: str) -> None:
    """Write the picture whole or not at all; a PNG carries `text` as WebUIs read it. Raises ImageError."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("parameters", text)  # iTXt where the text is not Latin-1
    form = FORMATS[path.suffix.lower()]
    options: dict[str, Any] = {"pnginfo": info} if form == "PNG" else {"quality": 95}
    part = path.with_name(f".{path.name}.part")
    try:
        picture.save(part, form, **options)
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise ImageError(f"{path} cannot be written ({error.strerror or error}). "
                         "Choose another folder, or free some space.") from error
    print(path)
