"""Files that one process holds at a time. The system lets go of them when the process ends, however it ends."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import BinaryIO


def lock(file: BinaryIO) -> bool:
    """Try to lock an open file; closing it, or the end of the process, unlocks. False where somebody else holds it, in
    this process too. Raises OSError where the disk knows no locks.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # held by another, as either system says it
        return False
    return True


def is_at(file: BinaryIO, path: Path) -> bool:
    """Is the open file still the one at `path`? Its last user may have removed it while we opened and locked it."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def claim(path: Path) -> BinaryIO | None:
    """The lock file `path`, made and held until `release`; None where somebody else holds it. Raises OSError."""
    while True:
        file = path.open("ab")
        try:
            if not lock(file):
                file.close()
                return None
            if is_at(file, path):
                return file
        except BaseException:
            file.close()
            raise
        file.close()  # its holder has just released it: there is, or will be, another one


def release(file: BinaryIO, path: Path) -> None:
    """Let go of a lock file and remove it."""
    if sys.platform == "win32":  # an open file cannot be removed there
        file.close()
    with contextlib.suppress(OSError):  # somebody waits with it open, or the folder has gone
        if sys.platform == "win32" or is_at(file, path):
            path.unlink()
    file.close()
