"""Which process works on which picture: locks that the system takes back when a process ends, however it ends.

All are bytes of one hidden file in the output folder, locked by their place: no picture needs a file of its own, and
nothing is left of a claim. POSIX record locks reach over NFS, and belong to a process: two claims of one picture in the
same process do not meet.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading
from pathlib import Path

from ..errors import BatchError
from ..files import reason

FILE = ".batch-claims"
_DIGITS = 7
"""hex digits of a key that make the place: Windows locks below 2 GB only. Two pictures at work that share one, which
happens once in some 10^7 times, are made one after the other"""
_BUSY = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)


class Claims:
    """The claims of this process on pictures of one output folder. Raises BatchError where no file can be made there.

    `locks` is False where the folder's disk has no locks; then every claim is granted.
    """

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(folder / FILE, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise BatchError(f"{folder} cannot be written to ({reason(error)}). "
                             "Choose another output folder.") from error
        self.locks = True
        self._held: set[str] = set()
        self._guard = threading.Lock()

    def claim(self, key: str) -> bool:
        """Whether the picture of that key is ours to make, until `release`."""
        with self._guard:
            if self.locks:
                try:
                    _lock(self._file, int(key[:_DIGITS], 16))
                except OSError as error:
                    if error.errno in _BUSY:
                        return False
                    self.locks = False  # the disk has none
            self._held.add(key)
            return True

    def release(self, key: str) -> None:
        """The picture is made, or not to be made by us. What is not held is none's business."""
        with self._guard:
            if key in self._held:
                self._held.remove(key)
                place = int(key[:_DIGITS], 16)
                if self.locks and all(int(other[:_DIGITS], 16) != place for other in self._held):
                    with contextlib.suppress(OSError):
                        _unlock(self._file, place)

    def close(self) -> None:
        """Give everything back."""
        os.close(self._file)


if sys.platform == "win32":
    import msvcrt

    def _lock(file: int, place: int) -> None:
        os.lseek(file, place, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)

    def _unlock(file: int, place: int) -> None:
        os.lseek(file, place, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    def _lock(file: int, place: int) -> None:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)

    def _unlock(file: int, place: int) -> None:
        fcntl.lockf(file, fcntl.LOCK_UN, 1, place)
