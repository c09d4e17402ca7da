"""Rules for single files: a table, as spreadsheets write it, of what each is to have otherwise.

The first line names the columns: `file`, and any setting or generation value. A file is a name from the folder of
pictures on, `shoes/red.jpg`, or a pattern, `shoes/*`; an empty cell leaves the value as it is; of several rows that fit
a file the later ones win.
"""

from __future__ import annotations

import csv
import fnmatch
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import SettingsError, plain
from ..files import text as text_of
from .recipe import KNOWN, Recipe, from_texts

FILE = "file"
_MAGIC = frozenset("*?[")


class Row(NamedTuple):
    """One rule."""

    where: str
    """file and line"""
    file: str
    """a name or a pattern"""
    values: Mapping[str, Any]
    """as `Recipe.values`"""


@dataclass(frozen=True)
class Rules:
    """What single files are to have otherwise. Made by `made_of`."""

    rows: tuple[Row, ...] = ()
    _named: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """numbers of the rows that name the file"""
    _patterns: tuple[int, ...] = ()
    """numbers of the rows with a pattern"""

    def fitting(self, name: str) -> list[int]:
        """The numbers of the rows that fit a file; name: a POSIX path from the folder of pictures on."""
        found = {number for number in self._patterns if fnmatch.fnmatchcase(name, self.rows[number].file)}
        return sorted(found.union(self._named.get(name, ())))

    def recipe(self, name: str, base: Recipe) -> Recipe:
        """The recipe of the file of that name."""
        for number in self.fitting(name):
            base = base.updated(self.rows[number].values)
        return base

    def recipes(self, base: Recipe, names: Sequence[str]) -> Iterator[tuple[str, Recipe]]:
        """Every recipe that comes up, and where the last rule for it is written. Raises SettingsError for a row that
        fits no file: it would be dropped in silence."""
        used: set[int] = set()
        ruled: list[tuple[str, Recipe]] = []
        for name in names:
            numbers = self.fitting(name)
            used.update(numbers)
            if numbers:
                ruled.append((self.rows[numbers[-1]].where, self.recipe(name, base)))
        for number, row in enumerate(self.rows):
            if number not in used:
                raise SettingsError(f"{row.where}: no picture of the batch is called {plain(row.file, 100)!r}. Write "
                                    "the name from the folder on, or take the row out.")
        yield "", base
        yield from ruled


def made_of(rows: Iterable[Row]) -> Rules:
    """Rules of rows in their order."""
    rows = tuple(rows)
    named: dict[str, tuple[int, ...]] = {}
    for number, row in enumerate(rows):
        named[row.file] = (*named.get(row.file, ()), number)
    return Rules(rows, named, tuple(number for number, row in enumerate(rows) if _MAGIC & set(row.file)))


def read_rules(path: Path) -> Rules:
    """The rules of a CSV file, in UTF-8; what parts its columns is told by the first line: comma, semicolon or tab.

    Pictures in it are paths from its own folder. Raises SettingsError, which names the row.
    """
    try:
        text = text_of(path, "utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SettingsError(f"the rules {path} cannot be read ({reason}). Give a CSV file.") from error
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        return made_of(_rows(reader, path))
    except csv.Error as error:
        raise SettingsError(f"{path.name}, line {reader.line_num}: it is no CSV ({error}).") from error


def _rows(reader: Any, path: Path) -> Iterator[Row]:
    columns: list[str] = []
    for cells in reader:
        where = f"{path.name}, line {reader.line_num}"
        cells = [cell.strip() for cell in cells]
        if not any(cells):
            continue
        if not columns:
            columns = cells
            if FILE not in columns or len(set(columns)) < len(columns) or "" in columns:
                raise SettingsError(f"{where}: the first line must name the columns, each once, and {FILE} among them.")
            from_texts({name: "0" for name in columns if name != FILE and name not in KNOWN}, path.parent, where)
            continue
        if len(cells) > len(columns):
            raise SettingsError(f"{where} has {len(cells)} cells, the first line names {len(columns)}.")
        values = {name: cell for name, cell in zip(columns, cells, strict=False) if cell and name != FILE}
        file = dict(zip(columns, cells, strict=False)).get(FILE, "")
        if not file:
            raise SettingsError(f"{where} names no file.")
        yield Row(where, file.replace("\\", "/"), from_texts(values, path.parent, where))
    if not columns:
        raise SettingsError(f"the rules {path} are empty. Name the columns in the first line, {FILE} among them.")
