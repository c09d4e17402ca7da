"""Textual inversions: files that stand for a word of a prompt with vectors of their own.

Gal et al., "An Image is Worth One Word: Personalizing Text-to-Image Generation using Textual Inversion", 2022. A file's
name is the word. Pickles (.pt, .bin) are not opened; where a prompt names one, that is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch

from ... import files
from ...errors import WeightsError
from ...weights.header import PICKLES, read_header
from ...weights.stored import Stored

LONGEST = 75
"""vectors; more do not fit into one pass of the text encoder"""


class Match(NamedTuple):
    """A word of a prompt that a file stands for."""

    path: Path
    length: int
    """how many of the prompt's tokens are its name"""


@dataclass(frozen=True)
class Embeddings:
    """The textual inversions in some folders, and below. A file is read when a prompt names it."""

    folders: tuple[Path, ...]
    _names: dict[Path, tuple[int, ...]] = field(default_factory=dict)
    """tokens of the names of files that were seen"""

    def lookup(self, tokenize: Callable[[str], Sequence[int]]) -> Callable[[Sequence[int], int], Match | None]:
        """A function that says which file's name begins at a place of a list of tokens: the longest one."""
        known: dict[int, list[tuple[tuple[int, ...], Path]]] = {}
        for path in self._files():
            if path not in self._names:
                self._names[path] = tuple(tokenize(path.stem))
            if self._names[path]:
                known.setdefault(self._names[path][0], []).append((self._names[path], path))
        for candidates in known.values():
            # Of the same name, the one that can be opened.
            candidates.sort(key=lambda one: (-len(one[0]), one[1].suffix.casefold() in PICKLES))

        def find(tokens: Sequence[int], at: int) -> Match | None:
            for name, path in known.get(tokens[at], ()):
                if tuple(tokens[at:at + len(name)]) == name:
                    return Match(path, len(name))
            return None

        return find

    def _files(self) -> Iterator[Path]:
        for path in files.walk(self.folders):
            if path.suffix.casefold() in (".safetensors", *PICKLES):
                yield path


def read_embedding(path: Path, width: int) -> torch.Tensor:
    """A textual inversion's vectors, float32 [n, width]. Raises WeightsError for what is none for SD 1.x."""
    name = files.shown_name(path)
    if path.suffix.casefold() in PICKLES:
        raise WeightsError(f"the prompt names the textual inversion {name}, which is a pickle. Pickles can run code "
                           "when they are opened, so it was not read. Use its .safetensors form, or take it out of the "
                           "folder.", path=path)
    entries = read_header(path).entries
    if len(entries) != 1:
        raise WeightsError(f"{name} is not a textual inversion for SD 1.5: it has {len(entries)} tensors, not one. "
                           "Take it out of the folder, or its name out of the prompt.", path=path)
    [(key, entry)] = entries.items()
    shape = entry.shape if len(entry.shape) != 1 else (1, *entry.shape)
    if len(shape) != 2 or shape[1] != width or not 1 <= shape[0] <= LONGEST:
        raise WeightsError(f"{name} is not a textual inversion for SD 1.5: its tensor has the shape "
                           f"{list(entry.shape)}, not [1 to {LONGEST}, {width}]. Take it out of the folder, or its "
                           "name out of the prompt.", path=path)
    vectors = Stored(path)[key].float().reshape(shape).clone()
    if not vectors.isfinite().all():
        raise WeightsError(f"{name} is damaged: it holds values that are no numbers. Use another copy of it.",
                           path=path)
    return vectors
