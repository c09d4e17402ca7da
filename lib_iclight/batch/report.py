"""What became of each picture: one line of JSON each, in a file that is only ever written on."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import BatchError
from ..files import reason
from .plan import Shard

MADE, THERE, FAILED = "made", "there", "failed"
WARNINGS = 50
"""different warnings that are told in the end"""


@dataclass(frozen=True)
class Row:
    """One line. The last one of an input tells what became of it."""

    input: str
    """from the folder of pictures on"""
    state: str
    """made, there (an earlier run made it and could not say so any more), or failed"""
    output: str | None = None
    """the result from the output folder on, of a light stage its folder"""
    seconds: float | None = None
    """of preparing and making it"""
    sentence: str | None = None
    """why it failed"""
    key: str | None = None
    warnings: tuple[str, ...] = ()
    host: str | None = None
    """the WebUI or node that made it"""

    def line(self) -> str:
        """As JSON, without what says nothing, in letters that every disk and console takes."""
        told = {name: value for name, value in vars(self).items() if value not in (None, ())}
        return json.dumps({"input": self.input, "output": self.output, "seconds": self.seconds,
                           "sentence": self.sentence} | told)


@dataclass
class Tally:
    """How far a batch is."""

    total: int
    made: int = 0
    there: int = 0
    """nothing was left to do for"""
    failed: int = 0
    warned: set[str] = field(default_factory=set)
    """sentences, each once; the report has which picture each is about"""

    @property
    def done(self) -> int:
        """Pictures that need no more work."""
        return self.made + self.there + self.failed

    def count(self, row: Row) -> None:
        """One more picture, and what it was warned of."""
        setattr(self, row.state, getattr(self, row.state) + 1)
        if len(self.warned) < WARNINGS:
            self.warned.update(row.warnings)

    def sentence(self) -> str:
        """What there is to say in the end."""
        parts = [f"{self.made} made"]
        if self.there:
            parts.append(f"{self.there} there already")
        if self.failed:
            parts.append(f"{self.failed} failed")
        if self.total > self.done:
            parts.append(f"{self.total - self.done} left")
        return ", ".join(parts)


class Report:
    """The report of a batch, which several processes may write to at once: each line is one write at the file's end.

    A shard has a file of its own, for disks in a network do not promise that. Raises BatchError where it cannot be
    opened or written.
    """

    def __init__(self, folder: Path, shard: Shard | None = None) -> None:
        name = "report.jsonl" if shard is None or shard.count == 1 else f"report-{shard.number}-of-{shard.count}.jsonl"
        self.path = folder / name
        self._lock = threading.Lock()
        self._known: set[int] = set()
        """of the pictures that are told to be there, the first 15 digits of their keys"""
        self._read = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
            size = os.fstat(self._file).st_size
            if size:
                with self.path.open("rb") as file:
                    file.seek(size - 1)
                    if file.read(1) != b"\n":  # a line that a power cut tore
                        os.write(self._file, b"\n")
            self._refresh()
        except OSError as error:
            raise self._unwritable(error) from error

    def add(self, row: Row) -> None:
        """Write a line. One that says `there` is left out where an earlier line says so already."""
        with self._lock:
            try:
                if row.state == THERE and row.key is not None:
                    self._refresh()
                    if _short(row.key) in self._known:
                        return
                line = (row.line() + "\n").encode("ascii")
                if os.write(self._file, line) < len(line):  # a disk that was full in the middle of it
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError as error:
                raise self._unwritable(error) from error

    def close(self) -> None:
        """No line comes any more."""
        os.close(self._file)

    def _refresh(self) -> None:
        """Learn what other processes, and earlier runs, wrote since."""
        with self.path.open("rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._read += len(line)
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    told = json.loads(line)
                    if told["state"] in (MADE, THERE):
                        self._known.add(_short(told["key"]))

    def _unwritable(self, error: OSError) -> BatchError:
        return BatchError(f"the report {self.path} cannot be written ({reason(error)}). Make room, or choose another "
                          "output folder, and run the batch again: it goes on where it was.")


def read_report(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a report that can be read, in their order."""
    with path.open("rb") as file:
        for line in file:
            with contextlib.suppress(ValueError):
                told = json.loads(line)
                if isinstance(told, dict):
                    yield told


def _short(key: str) -> int:
    return int(key[:15], 16)
