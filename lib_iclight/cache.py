"""Names of content, and the one cache that is keyed by them."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray


def content_key(*parts: NDArray[Any] | bytes | str | int | float | None) -> str:
    """A hex digest of the parts' kinds and values, to name what was computed from them.

    Equal keys mean equal parts in equal order; an array's dtype and shape count, its memory layout does not.
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, np.ndarray):
            kind, data = f"array {part.dtype.str} {part.shape}", np.ascontiguousarray(part).reshape(-1).data
        elif isinstance(part, bytes):
            kind, data = "bytes", memoryview(part)
        else:
            kind, data = type(part).__name__, memoryview(repr(part).encode())
        # The length keeps neighbours apart: ("ab", "c") is not ("a", "bc").
        digest.update(f"{kind} {data.nbytes}\n".encode())
        digest.update(data)
    return digest.hexdigest()
