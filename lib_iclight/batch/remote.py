"""One running WebUI, as a client of its API sees it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from ..errors import HostError, SettingsError

CONNECT = 10.0
"""seconds that a WebUI may take to accept a connection"""
ANSWER = 60.0
"""seconds that it may take over a question, for it may be at work"""
LONGEST = 7200.0
"""seconds that it may take over one picture and those that wait before it"""
_KEEPALIVE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
"""a machine that vanished without a word is noticed after a minute, however long a picture may take"""
_BUSY_GATEWAY = (502, 503, 504)


class GoneError(Exception):
    """The WebUI does not answer any more; the picture is to be made elsewhere."""


class RefusedError(Exception):
    """The WebUI says why it does not make the picture. Nobody else would."""


class FailedError(Exception):
    """The WebUI failed over the picture; another may not."""


class Remote:
    """A WebUI at a URL. Several threads may use one object.

    url: may hold a name and password (http://me:word@host:7860), which are sent and never shown. Raises SettingsError
    for what is no address.
    """

    def __init__(self, url: str, *, longest: float = LONGEST) -> None:
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            found = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
        except ValueError:
            found = False
        if not found:
            raise SettingsError(f"{_without_login(url)!r} is no address of a WebUI. Write it like "
                                "http://127.0.0.1:7860.")
        self._auth = (parts.username, parts.password or "") if parts.username else None
        place = parts.netloc.rpartition("@")[2]
        self._base = urlunsplit((parts.scheme, place, parts.path.rstrip("/"), "", ""))
        self.name = place + parts.path.rstrip("/")
        """how messages and the report call it"""
        self._longest = longest
        self._local = threading.local()

    def check(self) -> None:
        """Raise HostError for a WebUI without an API or without IC-Light, GoneError where nothing answers."""
        for path, missing in (("/sdapi/v1/progress", "has no API. Start it with --api."),
                              ("/iclight/v1/info", "does not have the IC-Light extension. Install it there.")):
            try:
                self.ask(path, longest=ANSWER)
            except RefusedError as error:
                raise HostError(f"the WebUI at {self.name} {missing} It says: {error}") from error
            except FailedError as error:
                raise GoneError(str(error)) from error

    def checkpoint(self) -> str:
        """The title of the checkpoint that it has loaded; empty where it does not tell."""
        try:
            return str(self.ask("/sdapi/v1/options", longest=ANSWER).get("sd_model_checkpoint") or "")
        except (RefusedError, FailedError, AttributeError):
            return ""

    def is_there(self) -> bool:
        """Whether it answers."""
        try:
            self.ask("/sdapi/v1/progress?skip_current_image=true", longest=ANSWER)
        except (GoneError, FailedError):
            return False
        except RefusedError:
            return True
        return True

    def interrupt(self) -> None:
        """Have it end the picture at work."""
        try:
            self.ask("/sdapi/v1/interrupt", {}, longest=ANSWER)
        except (GoneError, RefusedError, FailedError):
            return  # there is nothing to interrupt

    def ask(self, path: str, body: Mapping[str, Any] | None = None, *, longest: float | None = None) -> Any:
        """The JSON answer to a GET or, with a body, a POST. Raises GoneError, RefusedError and FailedError."""
        import requests

        try:
            answer = self._session().request(
                "GET" if body is None else "POST", self._base + path, json=body, auth=self._auth,
                timeout=(CONNECT, self._longest if longest is None else longest), allow_redirects=False)
        except requests.RequestException as error:
            raise GoneError(f"the WebUI at {self.name} does not answer ({type(error).__name__})") from error
        if answer.status_code in _BUSY_GATEWAY:
            raise GoneError(f"the WebUI at {self.name} does not answer (HTTP {answer.status_code})")
        try:
            value = answer.json()
        except ValueError as error:
            if answer.status_code == 200:
                raise FailedError(f"the WebUI at {self.name} answers in no form that is known") from error
            value = None
        if answer.status_code == 200:
            return value
        sentence = _sentence(value) or f"HTTP {answer.status_code} {answer.reason}"
        raise (RefusedError if answer.status_code < 500 else FailedError)(sentence)

    def _session(self) -> Any:
        """A session of this thread's own: requests does not promise more."""
        if not hasattr(self._local, "session"):
            import requests

            self._local.session = requests.Session()
            self._local.session.trust_env = False  # no proxy stands before a WebUI; and no login from ~/.netrc
            for scheme in ("http://", "https://"):
                self._local.session.mount(scheme, _adapter())
        return self._local.session


def _adapter() -> Any:
    """requests' way to a host, with a word now and then on quiet connections."""
    from requests.adapters import HTTPAdapter
    from urllib3.connection import HTTPConnection

    options = [*HTTPConnection.default_socket_options, (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    options += [(socket.IPPROTO_TCP, getattr(socket, name), value) for name, value in _KEEPALIVE
                if hasattr(socket, name)]

    class Adapter(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, **kwargs, socket_options=options)

    return Adapter()


def _sentence(value: Any) -> str:
    """What an API's error says, in one line: FastAPI's `detail`, or what the WebUI puts around an exception."""
    if not isinstance(value, Mapping):
        return ""
    for name in ("detail", "errors", "error"):
        told = value.get(name)
        if told:
            return " ".join((told if isinstance(told, str) else json.dumps(told)).split())
    return ""


def _without_login(url: str) -> str:
    return url.rpartition("@")[2][:100]
