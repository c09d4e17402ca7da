"""Tensors that stay in their file: each is read when it is asked for, and none is kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from .. import files
from ..errors import WeightsError
from .header import read_header

TURNOVER = 2**25
"""bytes handed out before a file is mapped anew: pages that were read count as this process's memory until then"""


class Stored(Mapping[str, torch.Tensor]):
    """A safetensors file's tensors by name, on the CPU, in the file's dtype.

    What is handed out is mapped from the file: read it, never write it, and let it go soon. A mapping counts as memory
    of the process as far as it was read; so it is given up after `TURNOVER` bytes and made again, and a model of
    gigabytes passes through little memory. Raises WeightsError for a file that cannot be read, and for one that was
    replaced since it was first looked at.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._state = files.state(path)
        self._shapes = {key: entry.shape for key, entry in read_header(path).entries.items()}
        self._mapped: Any = None
        self._handed_out = 0

    def shape(self, key: str) -> tuple[int, ...]:
        """A tensor's shape, from the header. Raises KeyError."""
        return self._shapes[key]

    @property
    def is_current(self) -> bool:
        """Whether the file is still the one that was first looked at."""
        return files.state(self._path) == self._state

    def __getitem__(self, key: str) -> torch.Tensor:
        if key not in self._shapes:
            raise KeyError(key)
        from safetensors import SafetensorError  # type: ignore[attr-defined]  # its stub is incomplete

        try:
            if self._mapped is None or self._handed_out > TURNOVER:
                self._open()
            tensor: torch.Tensor = self._mapped.get_tensor(key)
        except (SafetensorError, OSError, ValueError, RuntimeError) as error:
            self.let_go()
            raise WeightsError(f"{files.shown_name(self._path)} cannot be read ({files.reason(error)}). Look at the "
                               "file.", path=self._path) from error
        self._handed_out += tensor.numel() * tensor.element_size()
        return tensor

    def let_go(self) -> None:
        """Give the mapping up; the next tensor that is asked for makes it again."""
        self._mapped, self._handed_out = None, 0

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)

    def _open(self) -> None:
        from safetensors import safe_open

        self.let_go()
        if not self.is_current:
            raise WeightsError(f"{files.shown_name(self._path)} was replaced by another file, or is gone. Run the job "
                               "again.", path=self._path)
        with files.as_text(self._path) as source:
            self._mapped = safe_open(source, framework="pt", device="cpu")  # type: ignore[no-untyped-call]


class Renamed(Mapping[str, torch.Tensor]):
    """Tensors of another mapping under other names."""

    def __init__(self, tensors: Mapping[str, torch.Tensor], names: Mapping[str, str]) -> None:
        """names: name here -> name there"""
        self.source = tensors
        self._names = dict(names)

    def shape(self, key: str) -> tuple[int, ...]:
        """A tensor's shape, without reading it where it is `Stored`. Raises KeyError."""
        return shape_of(self.source, self._names[key])

    def let_go(self) -> None:
        """See `Stored.let_go`."""
        let_go(self.source)

    def __getitem__(self, key: str) -> torch.Tensor:
        return self.source[self._names[key]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def shape_of(tensors: Mapping[str, torch.Tensor], key: str) -> tuple[int, ...]:
    """The shape of one of the tensors; those that are in a file are not read for it. Raises KeyError."""
    return tensors.shape(key) if isinstance(tensors, Stored | Renamed) else tuple(tensors[key].shape)


def is_current(tensors: Mapping[str, torch.Tensor]) -> bool:
    """Whether the file that the tensors are in, if any, is still the one that was first looked at."""
    if isinstance(tensors, Renamed):
        return is_current(tensors.source)
    return tensors.is_current if isinstance(tensors, Stored) else True


def let_go(tensors: Mapping[str, torch.Tensor]) -> None:
    """Give up what is held of a file, where the tensors are in one."""
    if isinstance(tensors, Stored | Renamed):
        tensors.let_go()
