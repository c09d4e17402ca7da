"""One answer of a server, read at a pace that is watched, and without a secret in what it raises."""

from __future__ import annotations

import os
import queue
import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .errors import DownloadError

if TYPE_CHECKING:
    import requests

TIMEOUT = (10.0, 30.0)
"""Seconds to wait for a connection, and for the next byte."""
PACE, PATIENCE = 1000, 60.0
"""A connection that brings less than so many bytes a second, over so many seconds of waiting, is given up."""
BLOCK = 1 << 16
"""Bytes; at most so much is lost when a connection breaks."""

_POLL = 0.2
_CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_NOTHING = object()


class PassingError(Exception):
    """A failure that may be gone at the next try. `str(failure)` is a clause for a person; {reached} in it stands for
    the bytes that have arrived."""


class Stream:
    """An answer of a server, read by a thread of its own, so that a server that drips can be left.

    A read from a socket ends when a whole block has come; at two bytes a second that takes hours, and no time-out of
    the socket's strikes. What requests and urllib3 raise has addresses and headers in its text, and with them passwords
    and tokens: only the names of its kinds leave this class.
    """

    def __init__(self, url: str, headers: Mapping[str, str], name: str) -> None:
        self._name = name
        self._arrived: queue.Queue[Any] = queue.Queue(maxsize=8)
        self._left = threading.Event()
        self._socket: Any = None
        self._waited, self._got = 0.0, 0
        threading.Thread(target=self._read, args=(url, headers), daemon=True).start()

    def response(self) -> requests.Response:
        """The head of the answer. Raises PassingError and DownloadError."""
        import requests

        head = self._next()
        if isinstance(head, requests.Response):
            return head
        if isinstance(head, requests.ConnectionError | requests.Timeout | requests.exceptions.ChunkedEncodingError):
            raise _broken(head)
        if isinstance(head, OSError) and not isinstance(head, requests.RequestException) and any(
                os.environ.get(name) for name in _CERTIFICATES):
            raise DownloadError(f"{self._name} could not be downloaded: the certificates that "
                                f"{' or '.join(_CERTIFICATES)} names cannot be read. Correct or unset it.")
        raise DownloadError(f"{self._name} could not be downloaded: its address, a redirect or a proxy's address is "
                            f"not one that can be used ({type(head).__name__}). Is HF_ENDPOINT right?")

    def __iter__(self) -> Iterator[bytes]:
        """The body in blocks. Raises PassingError."""
        while (block := self._next()) is not None:
            if not isinstance(block, bytes):
                raise _broken(block)
            self._got += len(block)
            yield block

    def close(self) -> None:
        """Leave the connection."""
        self._left.set()
        with suppress(OSError, AttributeError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread up

    def _next(self) -> Any:
        """What arrives next: the head, blocks, None at the end, or an exception. Raises PassingError if too slow."""
        begun = time.monotonic()
        try:
            item = self._arrived.get(timeout=max(PATIENCE - self._waited, 0.0))
        except queue.Empty:
            item = _NOTHING
        self._waited += time.monotonic() - begun
        if self._waited >= PATIENCE or item is _NOTHING:
            if item is _NOTHING or self._got < PACE * PATIENCE:
                raise PassingError(f"the server sends less than {PACE} bytes a second")
            self._waited, self._got = 0.0, 0
        return item

    def _read(self, url: str, headers: Mapping[str, str]) -> None:
        """The thread: everything that arrives into the queue."""
        import requests

        try:
            with requests.get(url, headers=dict(headers), stream=True, timeout=TIMEOUT) as response:
                self._socket = getattr(getattr(response.raw, "_connection", None), "sock", None)
                self._put(response)
                for block in response.iter_content(BLOCK):
                    if not self._put(block):
                        return
            self._put(None)
        except Exception as error:  # of many libraries; the other side sorts them
            self._put(error)

    def _put(self, item: object) -> bool:
        """Hand over; False when nobody wants it any more."""
        while not self._left.is_set():
            with suppress(queue.Full):
                self._arrived.put(item, timeout=_POLL)
                return True
        return False


def _broken(error: object) -> PassingError:
    return PassingError(f"the connection broke after {{reached}} bytes ({type(error).__name__})")


def token() -> str:
    """HF_TOKEN, empty if there is none. Raises DownloadError, without a letter of it, for what no header can hold."""
    token = os.environ.get("HF_TOKEN", "").strip()
    if not re.fullmatch("[!-~]*", token):
        raise DownloadError("HF_TOKEN holds a blank, a line break or a letter that no token has. Set it anew.")
    return token
