"""Names of content, and the one cache that is keyed by them."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Value = TypeVar("Value")


class LRU(Generic[Value]):
    """A bounded cache that several threads may use: the least recently used goes first.

    capacity: how many values are kept or, with `size`, how much they may hold together. The latest is always kept.
    size: what one value counts, such as its bytes.
    """

    def __init__(self, capacity: int, size: Callable[[Value], int] | None = None) -> None:
        self._capacity = capacity
        self._size = size
        self._kept: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock = threading.RLock()  # one that a value's making may take again, for another value

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value of `key`, made by `make` if it is not here. One is made at a time; others wait for it."""
        with self._lock:
            if key not in self._kept:
                if self._size is None:  # room is made before, so that one too many is never held
                    self._let_go(self._capacity - 1)
                self._kept[key] = make()
            self._kept.move_to_end(key)
            self._let_go(self._capacity)
            return self._kept[key]

    def clear(self) -> None:
        """Keep nothing."""
        with self._lock:
            self._kept.clear()

    def __len__(self) -> int:
        return len(self._kept)

    def _let_go(self, capacity: int) -> None:
        """Drop the least recently used until the rest fits; with `size`, all but the latest."""
        if self._size is None:
            while len(self._kept) > capacity:
                self._kept.popitem(last=False)
            return
        while len(self._kept) > 1 and sum(map(self._size, self._kept.values())) > capacity:
            self._kept.popitem(last=False)


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


def file_key(path: Path) -> str:
    """A name for a file's content from its length and 64 blocks spread over it: a millisecond, whatever its size.

    For files of weights, which do not differ in a few bytes only. Raises OSError.
    """
    block, samples = 4096, []
    with path.open("rb") as file:
        length = file.seek(0, 2)
        for start in range(0, length, max(block, length // 64)):
            file.seek(start)
            samples.append(file.read(block))
    return content_key(length, b"".join(samples))
