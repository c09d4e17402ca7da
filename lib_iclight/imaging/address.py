"""Pictures within a page's text: data addresses (RFC 2397)."""

from __future__ import annotations

import base64
import io
from typing import Any

from PIL import Image


def picture_address(image: Image.Image, kind: str = "PNG", **options: Any) -> str:
    """A picture as a data address. kind: Pillow's name of the format; options: as `Image.save` takes them."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return data_address(file.getvalue(), kind)


def data_address(data: bytes, kind: str) -> str:
    """A picture's file as a data address. kind: png, jpeg, webp, in any case."""
    return f"data:image/{kind.lower()};base64,{base64.b64encode(data).decode()}"
