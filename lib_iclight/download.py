"""One file from a server to the disk: whole and intact, or not at all.

What has arrived is kept in `NAME.part`, beside the target, and the next try goes on from there. Only when size and
hash are right does the file get its name, in one step, so that nobody ever meets half a file under it.

Environment: `HF_ENDPOINT` (a mirror of the Hugging Face hub), `HF_TOKEN` (sent to that endpoint only),
`HF_HUB_OFFLINE` (no download at all), and the proxies that requests knows (`HTTPS_PROXY`, ...).
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import logging
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from . import files, locks
from .errors import DownloadError
from .progress import Progress, silent
from .transfer import PassingError, Stream, token

if TYPE_CHECKING:
    import requests

log = logging.getLogger("iclight")

TRIES = 4
"""How often in a row a download may fail without getting further before it is given up."""
BACKOFF = 1.0
"""Seconds before the second try; doubled before each further one."""
_LEAP = 1 << 20  # bytes that count as getting further: a server that trickles must not keep us for ever
_POLL = 0.2
LIMIT = 8 * 2**30
"""Bytes that no file has that is downloaded here; a body without a length is not followed beyond."""


class _TooLongError(Exception):
    """More has come than can be right; `str(error)` tells how many bytes were expected."""


def download(url: str, target: Path, *, sha256: str | None, md5: str | None = None, size: int | None = None,
             limit: int = LIMIT, progress: Progress = silent) -> None:
    """Download `url` to `target`, making its folder. Does nothing when `target` is there.

    sha256, md5: hex digests that the file must have; size: bytes that it must have; limit: bytes that it cannot have,
    where the server tells no length. Without a digest the part that an earlier run left is not used, since nothing
    could tell that both halves belong together.
    A second caller, in this process or another, waits for the first and then finds the file.
    `progress` counts bytes; what it raises ends the download, and what has arrived is kept for the next time.
    Raises DownloadError, which names the URL and the folder for doing it by hand.
    """
    if files.exists(target):
        return
    listener = _Listener(progress)
    try:
        if offline():
            raise DownloadError(f"{target.name} is missing, and HF_HUB_OFFLINE forbids to download it.")
        target.parent.mkdir(parents=True, exist_ok=True)
        with _only_one(target.with_name(target.name + ".lock"), target.name, listener):
            if files.exists(target):
                return
            part = target.with_name(target.name + ".part")
            if not (sha256 or md5):
                part.unlink(missing_ok=True)
            _fetch(url, part, size, limit, f"Downloading {target.name}", listener)
            for algorithm, wanted in (("sha256", sha256), ("md5", md5)):
                if wanted:
                    _check(part, algorithm, wanted, f"Checking {target.name}", listener)
            os.replace(part, target)
    except DownloadError as error:
        raise DownloadError(f"{error} To do it by hand, download {_public(url)} and put it into "
                            f"{files.place(target.parent)}.", path=target.parent) from error
    except OSError as error:
        if error is listener.raised:
            raise
        reason = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else files.reason(error)
        raise DownloadError(f"{target.name} cannot be written to {files.place(target.parent)}: {reason}.",
                            path=target.parent) from error


def endpoint() -> str:
    """The Hugging Face hub or the mirror that `HF_ENDPOINT` names, without a slash at the end."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def offline() -> bool:
    """Does `HF_HUB_OFFLINE` forbid the network?"""
    return os.environ.get("HF_HUB_OFFLINE", "").strip().upper() in ("1", "TRUE", "YES", "ON")


def file_digest(path: Path, algorithm: str, progress: Progress = silent, what: str = "") -> str:
    """The file's digest in hex, `algorithm` as hashlib names it. Reads all of it: some seconds for 1.7 GB."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    total, done = path.stat().st_size, 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
            done += len(block)
            progress(what or f"Checking {path.name}", done, total)
    return digest.hexdigest()


def _check(part: Path, algorithm: str, wanted: str, what: str, progress: Progress) -> None:
    got = file_digest(part, algorithm, progress, what)
    if got != wanted.lower():
        part.unlink()
        raise DownloadError(f"{part.stem} arrived damaged or is another file: its {algorithm} is {got}, "
                            f"expected {wanted.lower()}. It was deleted; try again.")


def _fetch(url: str, part: Path, size: int | None, limit: int, what: str, progress: Progress) -> None:
    """Fill `part` until it is whole as far as its length tells, over as many connections as it takes."""
    failures, furthest = 0, _size(part)
    while True:
        try:
            return _fetch_once(url, part, size, limit, what, progress)
        except PassingError as error:
            reached = _size(part)
            failures = 1 if reached >= furthest + _LEAP else failures + 1
            furthest = max(furthest, reached)
            reason = str(error).format(reached=reached)
        if failures >= TRIES:
            raise DownloadError(f"{part.stem} could not be downloaded: {reason}. Try again: what has arrived is kept.")
        log.warning("%s: %s; trying again", part.stem, reason)
        time.sleep(BACKOFF * 2 ** (failures - 1))


def _fetch_once(url: str, part: Path, size: int | None, limit: int, what: str, progress: Progress) -> None:
    """One connection: the rest of the file, or all of it when the server will not resume."""
    have = _size(part)
    # Compressed in transit, lengths and ranges would count other bytes than the file's.
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    if url.startswith(endpoint() + "/") and (secret := token()):  # requests drops it when a redirect leaves the host
        headers["Authorization"] = f"Bearer {secret}"
    with closing(Stream(url, headers, part.stem)) as stream:
        response = stream.response()
        start, total = _content_range(response)
        if have and response.status_code == 416:
            if total == have:
                return  # all of it had arrived before
            part.unlink()
            raise PassingError("the server does not know the part that is here already")
        if response.status_code not in (200, 206):
            raise _status_error(part.stem, response.status_code)
        if response.status_code == 200:
            have, total = 0, _number(response.headers.get("Content-Length", ""))
        elif start != have:
            part.unlink(missing_ok=True)
            raise PassingError("the server sent another range than it was asked for")
        if size is not None and total is not None and total != size:
            raise DownloadError(f"the server's {part.stem} has {total} bytes, expected {size}.")
        total = size if total is None else total
        if total is not None and total > limit:
            raise DownloadError(f"the server's {part.stem} has {total} bytes, at most {limit} are expected.")
        _check_disk(part, total)
        try:
            with part.open("ab" if have else "wb") as file:
                _receive(stream, file, have, total, limit, what, progress)
        except _TooLongError as error:
            part.unlink()
            raise DownloadError(f"the server sent more of {part.stem} than the {error} bytes that it has. "
                                "It was deleted.") from None


def _receive(stream: Stream, file: BinaryIO, have: int, total: int | None, limit: int, what: str,
             progress: Progress) -> None:
    """Write the body to `file`, which holds `have` bytes, and see that it ends at `total` bytes if that is known."""
    progress(what, have, total or 0)
    end = limit if total is None else total
    for block in stream:
        if have + len(block) > end:
            raise _TooLongError(end)
        file.write(block)
        have += len(block)
        progress(what, have, total or 0)
    file.flush()
    os.fsync(file.fileno())
    if total is not None and have < total:
        raise PassingError(f"the connection ended after {have} of {total} bytes")


def _content_range(response: requests.Response) -> tuple[int | None, int | None]:
    """First byte and whole length from the Content-Range header, None for what it does not say."""
    found = re.fullmatch(r"bytes (?:([0-9]+)-[0-9]+|\*)/(?:([0-9]+)|\*)",
                         response.headers.get("Content-Range", "").strip())
    first, total = found.groups() if found else (None, None)
    return _number(first or ""), _number(total or "")


def _number(text: str) -> int | None:
    """A number of bytes; None for what is none, such as one of thousands of digits."""
    return int(text) if re.fullmatch("[0-9]{1,18}", text.strip()) else None


def _status_error(name: str, status: int) -> Exception:
    answered = f"the server answered {status} {http.client.responses.get(status, '')}".strip()
    if status in (408, 429) or status >= 500:
        return PassingError(answered)
    if status in (401, 403):
        return DownloadError(f"the server refuses to give {name} ({status}). "
                             "A mirror or a closed repository may need HF_TOKEN, and refuses a wrong one.")
    if status in (404, 410):
        return DownloadError(f"the server does not have {name} ({status}). Is HF_ENDPOINT right?")
    return DownloadError(f"{answered} for {name}.")


def _public(url: str) -> str:
    """The address without what is nobody's business in it: names and passwords, and what follows a question mark."""
    return re.sub(r"//[^/?#]*@", "//", re.sub(r"[?#].*", "", url, flags=re.DOTALL))


def _check_disk(part: Path, total: int | None) -> None:
    missing = (total or 0) - _size(part)
    free = shutil.disk_usage(part.parent).free
    if missing > free:
        raise DownloadError(f"{part.stem} needs {missing / 1e9:.2f} GB more in {files.place(part.parent)}, where only "
                            f"{free / 1e9:.2f} GB are free. Make room and try again.")


def _size(path: Path) -> int:
    found = files.state(path)
    return found[2] if found else 0


class _Listener:
    """Passes progress on at most ten times a second, and always when something begins or is done."""

    def __init__(self, progress: Progress) -> None:
        self.raised: BaseException | None = None
        """What the progress raised to end the download, so that it is not taken for an error of ours."""
        self._progress = progress
        self._what = ""
        self._next = 0.0

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if what != self._what or now >= self._next or done == total:
            self._what, self._next = what, now + 0.1
            try:
                self._progress(what, done, total)
            except BaseException as error:
                self.raised = error
                raise


@contextmanager
def _only_one(path: Path, name: str, progress: Progress) -> Iterator[None]:
    """Hold the lock file `path`, waiting for whoever holds it. The system frees it if a holder dies."""
    while (file := locks.claim(path)) is None:
        progress(f"Waiting for another download of {name}", 0, 0)
        time.sleep(_POLL)
    try:
        yield
    finally:
        locks.release(file, path)
