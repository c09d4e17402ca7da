"""What stands before Gradio: who may talk to the page, and what is let through.

Any website that a person visits can send requests to an address of their own machine. Gradio 4.40 answers those of a
sandboxed frame (`Origin: null`) with credentials allowed, goes by any name (so that a website may give its own name the
address 127.0.0.1), and fetches whatever URL is given as a picture's path. So every request has to

- call the page by a name of its own (Starlette's TrustedHostMiddleware),
- come from the page itself, as `Origin` and `Sec-Fetch-Site` tell; programs send neither,
- bring the token of the printed address. The browser keeps it in a cookie; a program sends `Authorization: Bearer`,
- go to a route that the page needs, with a body of known and bounded length, and a call that `calls.Calls` takes.

Nothing that comes back is for other sites or frames, and files come back as attachments that no browser runs.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import ICLightError, ImageError, SettingsError
from ..jsontext import read_json
from ..panel.gradio_host import GRADIO_4, uploaded
from .uploads import Upload, has_controls

MAX_FILE = 200_000_000
"""bytes of a picture's file that the page takes"""
MAX_UPLOAD = MAX_FILE + 1_000_000
"""bytes of an upload: the file, and what a browser writes about it"""
MAX_CALL = 2_000_000 if GRADIO_4 else 2 * MAX_UPLOAD
"""bytes of a call's JSON: in Gradio 3 its pictures are in it, as base64"""

READ = {"/", "/config", "/info", "/theme.css", "/favicon.ico", "/startup-events", "/app_id", "/upload_progress",
        "/queue/data", "/queue/join", "/queue/status", "/iclight/v1/doctor"}
READ_BELOW = ("/assets/", "/static/", "/heartbeat/", "/file=")
CALLED = {"/queue/join", "/cancel", "/reset"}
CALLED_BELOW = ("/run/", "/api/")
UPLOAD = "/upload"
FILE = "/file="
PICTURES = ("image/png", "image/jpeg", "image/webp", "image/gif", "image/avif", "image/bmp")
"""kinds of files that a browser may show inside the page; all others are mere bytes"""

NO_FRAMES = "frame-ancestors 'none'"
POLICY = ("default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
          "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; "
          "connect-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; "
          f"form-action 'self'; {NO_FRAMES}")
"""The page asks nobody but the studio. (Gradio's page runs scripts that stand in it, and makes others from text.)"""
FILE_POLICY = f"sandbox; default-src 'none'; {NO_FRAMES}"
HEADERS = {"x-content-type-options": "nosniff", "x-frame-options": "DENY", "referrer-policy": "same-origin",
           "cross-origin-resource-policy": "same-origin", "cross-origin-opener-policy": "same-origin"}
OPENED = ('<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url=/">'
          '<title>Light studio</title><a href="/">Light studio</a>')
"""Leads on from the printed address, so that the token stays neither in the address bar nor in the history. (A
redirect would not do: a browser that came by a link sends no strict cookie along with it.)"""

ELSEWHERE = re.compile(rb'<(?:script|link)\b[^>]*?\b(?:src|href)\s*=\s*"(?:https?:)?//[^"]*"[^>]*>(?:\s*</script>)?')
"""what in Gradio's page would ask other machines: fonts that it does not use, and a script for frames that it is in"""

FOREIGN = "This request does not come from the studio's own page, and is refused."
NO_TOKEN = "Open the studio by the whole address that was printed where it was started; the token in it is the key."
NOT_HERE = "The studio has nothing under this address."

Check = Callable[[Any, str], None]


class Refused(Exception):  # noqa: N818 - it says what is done
    """A request that goes no further: an HTTP status, and a sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


class Guard:
    """The ASGI app that lets through to another what may.

    names: host names that the page is reached by, without ports. token: the key; None for a page without one.
    inner: a token that the app's own requests to itself bring (Gradio 3's queue makes such).
    cookie: what the browser keeps the token under; another page's on this machine must have another name.
    folder: with the files that may be asked for. check: see `calls.Calls.check`; it raises ICLightErrors.
    """

    def __init__(self, app: ASGIApp, *, names: Sequence[str], token: str | None, cookie: str, folder: Path,
                 check: Check, inner: str = "") -> None:
        self._app = app
        self._token = token
        self._inner = inner
        self._cookie = cookie
        self._folder = folder
        self._check = check
        self._entry = TrustedHostMiddleware(self._at_own_name, allowed_hosts=list(names), www_redirect=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._entry(scope, receive, _closing(send))
        else:
            is_page = scope["path"] == "/" and scope["method"] == "GET"
            marked = _marking(send, scope["path"])
            await self._entry(scope, receive, _alone(marked) if is_page else marked)

    async def _at_own_name(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response = self._admit(scope, Headers(scope=scope))
            if response is None and scope["type"] == "websocket":
                receive = self._checked_messages(receive, send)
            elif response is None and scope["method"] == "POST":
                receive = await self._checked_body(scope, receive)
                if scope["path"] == UPLOAD:
                    await self._pass_upload(scope, receive, send)
                    return
        except Refused as refused:
            response = _answer(refused, scope)
        await (response or self._app)(scope, receive, send)

    async def _pass_upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the app have an upload as long as its parts are as browsers send them. Raises Refused."""
        faults: list[ICLightError] = []
        try:
            upload = Upload(Headers(scope=scope).get("content-type", ""))
        except ICLightError as error:
            raise Refused(422, error.sentence) from error

        async def checked() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                try:
                    upload.feed(message.get("body", b""))
                    if not message.get("more_body", False):
                        upload.end()
                except ICLightError as error:
                    faults.append(error)
            return {"type": "http.disconnect"} if faults else message

        async def answer(message: Message) -> None:
            if not faults:  # else it is what becomes of a connection that has gone
                await send(message)

        try:
            await self._app(scope, checked, answer)
        except Exception:
            if not faults:
                raise
        if faults:
            raise Refused(422, faults[0].sentence)

    def _admit(self, scope: Scope, headers: Headers) -> Response | None:
        """None for a request that may go on; the answer where one is due already. Raises Refused."""
        path, method = scope["path"], scope.get("method", "GET")
        if has_controls(path):
            raise Refused(422, "The address has letters that none has. Open the page anew.")
        navigates = (method == "GET" and path == "/" and headers.get("sec-fetch-mode") == "navigate"
                     and headers.get("sec-fetch-dest") == "document")
        _check_origin(headers, navigates)
        token = QueryParams(scope["query_string"]).get("token") if path == "/" else None
        if self._token is not None and token is not None and method == "GET" and _same(token, self._token):
            response = HTMLResponse(OPENED, headers={"cache-control": "no-store"})
            response.set_cookie(self._cookie, self._token, httponly=True, samesite="strict")
            return response
        if not self._has_token(headers):
            raise Refused(403, NO_TOKEN)
        if scope["type"] == "websocket":
            allowed = path == "/queue/join"
        elif method in ("GET", "HEAD"):
            allowed = path.rstrip("/") in READ or path in READ or path.startswith(READ_BELOW)
        else:
            allowed = method == "POST" and (path.rstrip("/") in CALLED or path.startswith(CALLED_BELOW)
                                            or path == UPLOAD)
        if not allowed:
            raise Refused(404, NOT_HERE)
        if path.startswith(FILE):
            try:
                uploaded(path[len(FILE):], str(self._folder))
            except (ImageError, OSError, ValueError) as error:  # ValueError: a name with a null character
                raise Refused(404, NOT_HERE) from error
        return None

    def _has_token(self, headers: Headers) -> bool:
        if self._token is None:
            return True
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and (_same(given, self._token) or (self._inner and _same(given, self._inner))):
            return True
        return _same(cookie_parser(headers.get("cookie", "")).get(self._cookie, ""), self._token)

    async def _checked_body(self, scope: Scope, receive: Receive) -> Receive:
        """What the app is to receive of a POST's body. Raises Refused."""
        upload = scope["path"] == UPLOAD
        _check_length(Headers(scope=scope), MAX_UPLOAD if upload else MAX_CALL)
        if upload:
            return receive
        parts = []
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                raise Refused(400, "The request was cut short.")
            parts.append(message.get("body", b""))
            more = message.get("more_body", False)
        body = b"".join(parts)
        self._check_call(body, scope["path"].rstrip("/").rpartition("/")[2])
        return _again(body, receive)

    def _check_call(self, body: bytes | str, name: str = "") -> None:
        """Raises Refused for a call that the page cannot have made."""
        try:
            self._check(read_json(body, "the call", SettingsError, "The studio takes only calls in JSON.", strict=True),
                        name)
        except ICLightError as error:
            raise Refused(422, error.sentence) from error

    def _checked_messages(self, receive: Receive, send: Send) -> Receive:
        """A websocket's messages: Gradio 3's calls come as such."""
        async def checked() -> Message:
            message = await receive()
            if message["type"] != "websocket.receive":
                return message
            try:
                self._check_call(message.get("text") or message.get("bytes") or b"")
            except Refused as refused:
                await send({"type": "websocket.close", "code": 1008, "reason": _short(refused.sentence)})
                return {"type": "websocket.disconnect", "code": 1008}
            return message

        return checked


def _check_origin(headers: Headers, navigates: bool) -> None:
    """Raises Refused for what another site's page sends. navigates: someone goes to the page, maybe by a link."""
    origin = headers.get("origin")
    if origin is not None:
        # The host's name was found to be ours, so what has the same name and port is our own page. "null" has none.
        scheme, _, place = origin.partition("://")
        if scheme not in ("http", "https") or place != headers.get("host"):
            raise Refused(403, FOREIGN)
    # Sent to loopback and over TLS by browsers since 2020 to 2023. "same-site" may be another port of this machine.
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none") and not navigates:
        raise Refused(403, FOREIGN)


def _check_length(headers: Headers, most: int) -> None:
    """Raises Refused for a body of untold length, or of too great a one. (The server holds it to what it tells.)"""
    told = headers.get("content-length", "")
    if "transfer-encoding" in headers or not (told.isascii() and told.isdigit()):
        raise Refused(411, "The studio takes only requests that tell their length.")
    if len(told) > 15 or int(told) > most:
        raise Refused(413, f"This is larger than the {most // 10**6} million bytes that the studio takes. "
                           "Save the picture as a JPEG, or scale it down.")


def _same(given: str, token: str) -> bool:
    return secrets.compare_digest(given.encode("utf-8", "replace"), token.encode())


def _short(sentence: str) -> str:
    """As much as a websocket's closing can tell: 123 bytes."""
    return sentence.encode()[:120].decode("utf-8", "ignore")


def _answer(refused: Refused, scope: Scope) -> Response:
    """The sentence, where Gradio's own page shows it too: in "error"."""
    if scope.get("method") == "POST":
        return JSONResponse({"error": refused.sentence, "detail": refused.sentence}, refused.status)
    return PlainTextResponse(refused.sentence, refused.status)


def _again(body: bytes, receive: Receive) -> Receive:
    """A body that has been read, to be read once more; then what else comes, such as the end of the connection."""
    rest: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return rest.pop() if rest else await receive()

    return replayed


def _marking(send: Send, path: str) -> Send:
    """Every answer with our headers; a file's so that it can only be saved, or shown as a picture of the page."""
    async def marked(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=message.setdefault("headers", []))
            for name, value in HEADERS.items():
                headers[name] = value
            headers["content-security-policy"] = FILE_POLICY if path.startswith(FILE) else POLICY
            if path.startswith(FILE):
                headers["content-disposition"] = "attachment"
                if headers.get("content-type", "").partition(";")[0].strip().lower() not in PICTURES:
                    headers["content-type"] = "application/octet-stream"
        await send(message)

    return marked


def _alone(send: Send) -> Send:
    """The page without what would ask other machines."""
    held: list[Message] = []

    async def cut(message: Message) -> None:
        held.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            body = ELSEWHERE.sub(b"", b"".join(part.get("body", b"") for part in held[1:]))
            headers = MutableHeaders(raw=held[0].setdefault("headers", []))
            if "content-length" in headers:
                headers["content-length"] = str(len(body))
            await send(held[0])
            await send({"type": "http.response.body", "body": body})

    return cut


def _closing(send: Send) -> Send:
    """For a websocket: an HTTP answer, which means a refusal, as its closing."""
    async def closed(message: Message) -> None:
        if message["type"] == "http.response.start":
            await send({"type": "websocket.close", "code": 1008})
        elif message["type"] != "http.response.body":
            await send(message)

    return closed
