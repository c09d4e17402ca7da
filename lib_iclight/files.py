"""Looking for files of people: never an exception where there is nothing to be found.

Folders may belong to another account, be unplugged or have names that are no text; a service may run without a home. A
thing that cannot be looked at is not there; a folder that may not be read is passed over, with one warning in the log.
"""

from __future__ import annotations

import errno
import fnmatch
import io
import logging
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

log = logging.getLogger("iclight")

State = tuple[int, int, int, int, int]
MAX_LIST = 64_000_000
"""bytes of a list, table or description that people write; a table of 100,000 pictures has some 10 million"""
_ESCAPED = frozenset("\\:\x7f") | {chr(code) for code in range(32)}


def state(path: Path) -> State | None:
    """What changes on the disk when a file is replaced or written to, even if its size and date are kept; None where no
    file is. Only a regular file counts: a device or a pipe could be read for ever. The third number is the size.
    """
    found = _stat(path)
    if found is None or not stat.S_ISREG(found.st_mode):
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def is_file(path: Path) -> bool:
    """Is a regular file there that can be looked at?"""
    return state(path) is not None


def is_dir(path: Path) -> bool:
    """Is a folder there that can be looked at?"""
    found = _stat(path)
    return found is not None and stat.S_ISDIR(found.st_mode)


def exists(path: Path) -> bool:
    """Is anything there that can be looked at?"""
    return _stat(path) is not None


def listed(folder: Path, pattern: str = "*") -> list[Path]:
    """The files in a folder whose names match (as `glob` has it, hidden ones too), by name; none where there is no
    folder."""
    try:
        names = sorted(name for name in os.listdir(folder) if fnmatch.fnmatch(name, pattern))
    except (OSError, ValueError) as error:
        _passed_over(error)
        return []
    return [path for path in map(folder.joinpath, names) if is_file(path)]


def walk(folders: Iterable[Path]) -> Iterator[Path]:
    """All files in the folders and below, once, in a stable order; links are followed, never in circles."""
    seen = set()
    for top in folders:
        if not is_dir(top):
            continue
        for folder, below, names in os.walk(top, followlinks=True, onerror=_passed_over):
            real = os.path.realpath(folder)
            if real in seen:
                below.clear()
                continue
            seen.add(real)
            below.sort()
            yield from (path for path in map(Path(folder).joinpath, sorted(names)) if is_file(path))


def expanded(path: str | Path) -> Path | None:
    """The path with `~` and `~user` put in full; None where that home is not known."""
    try:
        return Path(path).expanduser()
    except (RuntimeError, KeyError, OSError, ValueError):  # no HOME and no entry for the account
        return None


def shown_name(path: Path) -> str:
    """A file's name as text that can be shown, sent and given back (see `named`).

    Bytes that are no UTF-8 (an archive from elsewhere), control characters, colons and backslashes, which no setting
    may hold, are written as %ff.
    """
    return "".join(f"%{ord(letter) & 0xff:02x}" if letter in _ESCAPED or "\udc80" <= letter <= "\udcff" else
                   letter if not "\ud800" <= letter <= "\udfff" else f"%u{ord(letter):04x}" for letter in path.name)


def content(path: Path, most: int = MAX_LIST) -> bytes:
    """The bytes of a regular file. Raises OSError and ValueError as reading does, and OSError, with what it is as its
    `strerror`, for what would be waited for or read for ever (a pipe, a device) and for more than `most` bytes.
    """
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):  # of a folder opening says so
        raise OSError(errno.EINVAL, "it is no regular file")
    with path.open("rb") as file:
        data = file.read(most + 1) if found.st_size <= most else b""
    if max(len(data), found.st_size) > most:
        raise OSError(errno.EFBIG, f"it has more than {most} bytes")
    return data


def text(path: Path, encoding: str = "utf-8", errors: str = "strict") -> str:
    """The text of a regular file of at most MAX_LIST bytes, all its line ends as \\n. Raises as `content` does."""
    return io.TextIOWrapper(io.BytesIO(content(path)), encoding, errors).read()


@contextmanager
def as_text(path: Path) -> Iterator[str]:
    """A path to the file for libraries that take UTF-8 only, good until the context ends. Raises OSError."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:  # on Linux only, where open files have names
        with path.open("rb") as file:
            yield f"/dev/fd/{file.fileno()}"
    else:
        yield str(path)


def named(paths: Iterable[Path], name: str) -> Path | None:
    """The first file that is called so or shown so; one that differs in upper and lower case only if no other does."""
    rough = name.casefold()
    alike = [path for path in paths if rough in (path.name.casefold(), shown_name(path).casefold())]
    for spelling in (lambda path: path.name, shown_name):
        for path in alike:
            if spelling(path) == name:
                return path
    return alike[0] if alike else None


def place(folder: Path) -> str:
    """A folder as messages name it: its last two names, never the whole path of somebody's disk."""
    return "/".join(shown_name(part) for part in (folder.parent, folder) if part.name)


def reason(error: BaseException) -> str:
    """Why the system would not do something, without the paths that `str(error)` can hold."""
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__


def _stat(path: Path) -> os.stat_result | None:
    try:
        return os.stat(path)
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        _passed_over(error)
        return None


def _passed_over(error: Exception) -> None:
    if isinstance(error, PermissionError):
        _warn(str(error.filename))


@lru_cache(maxsize=256)
def _warn(path: str) -> None:
    """One warning for a path, however often it is looked at."""
    log.warning("%s may not be read by this account, so it is passed over", path)
