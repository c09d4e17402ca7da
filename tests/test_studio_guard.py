"""The guard before the page, on an app that takes down what reached it: every way in, by every kind of stranger."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from lib_iclight.errors import SettingsError
from lib_iclight.panel.gradio_host import GRADIO_4
from lib_iclight.studio.guard import MAX_CALL, MAX_UPLOAD, Guard

TOKEN = "a token"
HOST = ("host", "127.0.0.1:7861")
COOKIE = ("cookie", "other=1; studio=a token")
OURS = [HOST, COOKIE]


class Inner:
    """The app behind the guard: answers 200, and with the headers that it is told to."""

    def __init__(self, headers: list[tuple[str, str]]) -> None:
        self.reached: list[str] = []
        self.bodies: list[bytes] = []
        self.messages: list[Any] = []
        self.headers = headers

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.reached.append(scope["type"] if scope["type"] == "lifespan" else scope["path"])
        if scope["type"] == "http":
            body, more = b"", True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ConnectionError("as Starlette does, after an answer of 500")
                body, more = body + message["body"], message.get("more_body", False)
            self.bodies.append(body)
            raw = [(name.encode(), value.encode()) for name, value in self.headers]
            await send({"type": "http.response.start", "status": 200, "headers": raw})
            await send({"type": "http.response.body", "body": b"inside"})
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            while (message := await receive())["type"] != "websocket.disconnect":
                self.messages.append(message["text"])


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: str
    inner: Inner


def check(call: Any, name: str) -> None:
    if call != {"good": True}:
        raise SettingsError(f"{name} was called badly.")


def made(inner: Inner, folder: Path, token: str | None = TOKEN, names: Any = ("127.0.0.1", "localhost")) -> Guard:
    return Guard(inner, names=names, token=token, cookie="studio", folder=folder, check=check, inner="its own")


def ask(folder: Path, path: str = "/config", headers: Any = OURS, method: str = "GET", *, query: str = "",
        body: bytes | list[bytes] = b"", token: str | None = TOKEN, inner: Any = (), **options: Any) -> Answer:
    """One request, as uvicorn would hand it on."""
    reached = Inner(list(inner))
    parts = body if isinstance(body, list) else [body]
    incoming = [{"type": "http.request", "body": part, "more_body": number < len(parts) - 1}
                for number, part in enumerate(parts)]
    sent: list[Any] = []
    if method == "POST" and not any(name in ("content-length", "transfer-encoding") for name, _ in headers):
        headers = [*headers, ("content-length", str(sum(map(len, parts))))]
    scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(), "scheme": "http",
             "headers": [(name.encode(), value.encode()) for name, value in headers]}

    async def receive() -> Any:
        return incoming.pop(0) if incoming else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(made(reached, folder, token, **options)(scope, receive, send))
    told = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    text = b"".join(message.get("body", b"") for message in sent[1:]).decode()
    return Answer(sent[0]["status"], told, text, reached)


def socket(folder: Path, headers: Any, texts: Any = (), path: str = "/queue/join") -> tuple[list[Any], Inner]:
    """A websocket's conversation: what was sent to the browser, and what reached the app."""
    reached = Inner([])
    incoming = [{"type": "websocket.connect"}, *({"type": "websocket.receive", "text": text} for text in texts)]
    sent: list[Any] = []
    scope = {"type": "websocket", "path": path, "query_string": b"", "scheme": "ws",
             "headers": [(name.encode(), value.encode()) for name, value in headers]}

    async def receive() -> Any:
        return incoming.pop(0) if incoming else {"type": "websocket.disconnect", "code": 1000}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(made(reached, folder)(scope, receive, send))
    return sent, reached


ROUTES = ["/", "/config", "/info", "/theme.css", "/assets/a.js", "/static/img/a.svg", "/queue/data", "/heartbeat/x",
          "/upload_progress", "/startup-events", "/queue/status", "/config/"]


@pytest.mark.parametrize("path", ROUTES)
def test_the_page_itself_gets_in(tmp_path: Path, path: str) -> None:
    for more in ((), [("origin", "http://127.0.0.1:7861")], [("sec-fetch-site", "same-origin")],
                 [("sec-fetch-site", "none")]):
        answer = ask(tmp_path, path, [*OURS, *more])
        assert answer.status == 200 and answer.body == "inside" and answer.inner.reached == [path]


FOREIGN = {
    "no host": [COOKIE], "empty host": [("host", ""), COOKIE], "rebound name": [("host", "evil.test:7861"), COOKIE],
    "rebound, same origin": [("host", "evil.test:7861"), ("origin", "http://evil.test:7861"), COOKIE],
    "name within": [("host", "127.0.0.1.evil.test"), COOKIE], "subdomain": [("host", "a.localhost:7861"), COOKIE],
    "null": [*OURS, ("origin", "null")], "empty origin": [*OURS, ("origin", "")],
    "another site": [*OURS, ("origin", "https://example.org")],
    "another port": [*OURS, ("origin", "http://127.0.0.1:9999")],
    "another name of ours": [*OURS, ("origin", "http://localhost:7861")],
    "no port": [*OURS, ("origin", "http://127.0.0.1")],
    "another scheme": [*OURS, ("origin", "file://127.0.0.1:7861")],
    "with a path": [*OURS, ("origin", "http://127.0.0.1:7861/")],
    "with a user": [*OURS, ("origin", "http://a@127.0.0.1:7861")],
    "broken": [*OURS, ("origin", "http://[")],
    "two, one ours": [*OURS, ("origin", "http://127.0.0.1:7861, null")],
    "cross-site": [*OURS, ("sec-fetch-site", "cross-site")], "same-site": [*OURS, ("sec-fetch-site", "same-site")],
    "unknown": [*OURS, ("sec-fetch-site", "whatever")],
    "frame": [*OURS, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")],
    "no-cors": [*OURS, ("sec-fetch-site", "same-site"), ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")],
}
WITHOUT = {"no cookie": [HOST], "wrong cookie": [HOST, ("cookie", "studio=a tokem")],
           "empty cookie": [HOST, ("cookie", "studio=")], "other letters": [HOST, ("cookie", "studio=\xe4")],
           "another cookie": [HOST, ("cookie", "studio2=a token")], "basic": [HOST, ("authorization", "Basic a token")],
           "bare": [HOST, ("authorization", "a token")], "empty bearer": [HOST, ("authorization", "Bearer ")]}


@pytest.mark.parametrize("token", [TOKEN, None], ids=["token", "no token"])
@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN)
def test_a_stranger_gets_nothing_anywhere(tmp_path: Path, headers: Any, token: str | None) -> None:
    for path, method in [*((route, "GET") for route in ROUTES), ("/queue/join", "POST"), ("/upload", "POST"),
                         ("/config", "OPTIONS"), ("/", "HEAD"), ("/file=/etc/passwd", "GET"), ("/no such", "GET")]:
        answer = ask(tmp_path, path, headers, method, token=token)
        assert answer.status in (400, 403) and answer.inner.reached == []
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize("headers", WITHOUT.values(), ids=WITHOUT)
def test_without_the_token_nothing_is_told(tmp_path: Path, headers: Any) -> None:
    for path in ROUTES:
        answer = ask(tmp_path, path, headers)
        assert answer.status == 403 and "address that was printed" in answer.body and answer.inner.reached == []
        assert ask(tmp_path, path, headers, token=None).status == 200


def test_programs_bring_the_token_in_a_header(tmp_path: Path) -> None:
    for given in ("Bearer a token", "bearer a token", "Bearer its own"):
        assert ask(tmp_path, headers=[HOST, ("authorization", given)]).status == 200


def test_the_printed_address_gives_the_cookie_and_leads_on(tmp_path: Path) -> None:
    link = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")]
    for more in ((), link):
        answer = ask(tmp_path, "/", [HOST, *more], query="token=a+token")
        cookie = [part.strip().lower() for part in answer.headers["set-cookie"].split(";")]
        assert answer.status == 200 and {"httponly", "samesite=strict", "path=/"} <= set(cookie)
        assert answer.inner.reached == [] and 'url=/"' in answer.body and TOKEN not in answer.body
        assert answer.headers["cache-control"] == "no-store"
    for path, query, headers in (("/", "token=another", [HOST]), ("/", "token=", [HOST]), ("/config", "token=a+token",
                                 [HOST]), ("/", "token=a+token", [HOST, ("origin", "null")]),
                                 ("/", "token=a+token", [("host", "evil.test")])):
        answer = ask(tmp_path, path, headers, query=query)
        assert answer.status in (400, 403) and "set-cookie" not in answer.headers and answer.inner.reached == []


@pytest.mark.parametrize(("method", "path"), [
    ("GET", "/proxy=http://127.0.0.1/x"), ("GET", "/file/etc/passwd"), ("GET", "/stream/a/1/2"), ("GET", "/dev/reload"),
    ("GET", "/monitoring"), ("GET", "/openapi.json"), ("GET", "/docs"), ("GET", "/token"), ("GET", "//config"),
    ("POST", "/component_server"), ("POST", "/login"), ("POST", "/call/generate"), ("POST", "/config"),
    ("GET", "/upload"), ("GET", "/run/predict"), ("PUT", "/upload"), ("DELETE", "/config"),
    ("OPTIONS", "/queue/join"), ("TRACE", "/")])
def test_what_the_page_needs_not_is_not_there(tmp_path: Path, method: str, path: str) -> None:
    answer = ask(tmp_path, path, method=method)
    assert answer.status == 404 and answer.inner.reached == []


def test_only_own_files_are_given(tmp_path: Path) -> None:
    folder, outside = tmp_path / "own", tmp_path / "secret.png"
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "x.png").write_bytes(b"x")
    outside.write_bytes(b"secret")
    (folder / "link.png").symlink_to(outside)
    assert ask(folder, f"/file={folder}/a/x.png").status == 200
    for path in ("http://127.0.0.1/x", "https://example.org", "//example.org/x", "/etc/passwd", str(outside), "",
                 f"{folder}/../secret.png", f"{folder}/link.png", f"{folder}/a", f"{folder}/none.png",
                 f"{folder}/{'x' * 5000}", "file:///etc/passwd", str(folder)):
        answer = ask(folder, f"/file={path}")
        assert answer.status == 404 and answer.inner.reached == [] and str(tmp_path) not in answer.body


@pytest.mark.parametrize(("kind", "served"), [
    ("image/png", "image/png"), ("image/webp", "image/webp"), ("text/html; charset=utf-8", "application/octet-stream"),
    ("image/svg+xml", "application/octet-stream"), ("application/xhtml+xml", "application/octet-stream"),
    ("text/xml", "application/octet-stream"), ("", "application/octet-stream")])
def test_files_are_attachments_that_nothing_runs(tmp_path: Path, kind: str, served: str) -> None:
    (tmp_path / "x").write_bytes(b"x")
    inner = [("content-type", kind)] if kind else []
    answer = ask(tmp_path, f"/file={tmp_path}/x", inner=[*inner, ("content-disposition", "inline")])
    assert answer.headers["content-type"] == served and answer.headers["content-disposition"] == "attachment"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    page = ask(tmp_path, "/", inner=[("content-type", "text/html")]).headers
    assert page["content-type"] == "text/html" and "frame-ancestors 'none'" in page["content-security-policy"]
    assert "content-disposition" not in page and page["x-frame-options"] == "DENY"


@pytest.mark.parametrize(("headers", "status"), [
    ([("content-length", str(MAX_CALL + 1))], 413), ([("content-length", "9" * 5000)], 413),
    ([("content-length", "-1")], 411), ([("content-length", "1e3")], 411), ([("content-length", "\xb2")], 411),
    ([("transfer-encoding", "chunked")], 411), ([("transfer-encoding", "chunked"), ("content-length", "15")], 411)])
def test_a_body_tells_a_bounded_length(tmp_path: Path, headers: Any, status: int) -> None:
    answer = ask(tmp_path, "/queue/join", [*OURS, *headers], "POST", body=b'{"good": true}')
    assert answer.status == status and answer.inner.reached == [] and json.loads(answer.body)["error"]


def test_an_upload_may_be_larger(tmp_path: Path) -> None:
    for length, status in ((MAX_UPLOAD, 200), (MAX_UPLOAD + 1, 413)):
        headers = [*OURS, PARTS, ("content-length", str(length))]
        assert ask(tmp_path, "/upload", headers, "POST", body=upload()).status == status
    assert MAX_CALL < MAX_UPLOAD or not GRADIO_4


PARTS = ("content-type", "multipart/form-data; boundary=x")


def upload(disposition: str = 'form-data; name="files"; filename="a.png"', data: bytes = b"pixels") -> bytes:
    """The body of an upload of one part."""
    return f"--x\r\nContent-Disposition: {disposition}\r\n\r\n".encode() + data + b"\r\n--x--\r\n"


@pytest.mark.parametrize("name", ["a.png", "sea at night.jpeg", "..png", "a..b", "\u4e2d\u6587.png", "C:\\dir\\a.png",
                                  "dir/a.png", "a" * 250 + ".png", "..hidden"])
def test_an_upload_is_handed_on_as_it_is(tmp_path: Path, name: str) -> None:
    body = upload(f'form-data; name="files"; filename="{name}"', bytes(range(256)) * 5)
    for parts in ([body], [body[:40], body[40:]], [bytes([one]) for one in body], [body, b""]):
        answer = ask(tmp_path, "/upload", [*OURS, PARTS], "POST", body=parts)
        assert answer.status == 200 and answer.body == "inside" and answer.inner.bodies == [body]


def named(name: str) -> bytes:
    return upload(f'form-data; name="files"; filename="{name}"')


NO_UPLOADS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "cut short"), "no parts": (b"pixels", "not as browsers"), "JSON": (b"{}", "not as browsers"),
    "cut in the name": (upload()[:30], "cut short"), "cut in the picture": (upload()[:-10], "cut short"),
    "another boundary": (upload().replace(b"--x", b"--y"), "not as browsers"),
    "no name": (upload("form-data"), "something else"), "no disposition": (b"--x\r\n\r\na\r\n--x--", "something else"),
    "two dispositions": (upload().replace(b"\r\n\r\n", b'\r\nContent-Disposition: form-data; name="b"\r\n\r\n'),
                         "something else"),
    "text": (upload('form-data; name="files"'), "something else"),
    "another field": (upload('form-data; name="other"; filename="a.png"'), "something else"),
    "many headers": (upload().replace(b"\r\n\r\n", b"\r\na: b" * 30 + b"\r\n\r\n"), "not as browsers"),
    "a long header": (upload().replace(b"\r\n\r\n", b"\r\na: " + b"b" * 10_000 + b"\r\n\r\n"), ""),
    "..": (named(".."), "no name"), ".": (named("."), "no name"), "...": (named("..."), "no name"),
    "empty": (named(""), "no name"), "blank": (named("  "), "no name"), "a folder": (named("dir/"), "no name"),
    "a folder above": (named("dir/.."), "no name"), "of Windows": (named("dir\\.."), "no name"),
    "null": (named("a\0.png"), ""), "escape": (named("a\x1b[2J.png"), ""), "tab": (named("a\t.png"), "cannot be shown"),
    "long": (named("a" * 1100 + ".png"), "too long"), "very long": (named("a" * 10_000), ""),
    "the second part": (upload()[:-4] + named("..")[3:], "no name"),
}


@pytest.mark.parametrize("kind", NO_UPLOADS)
def test_what_is_no_upload_gets_a_sentence(tmp_path: Path, kind: str) -> None:
    body, words = NO_UPLOADS[kind]
    for parts in ([body], [body[:25], body[25:]]):
        answer = ask(tmp_path, "/upload", [*OURS, PARTS], "POST", body=parts)
        assert answer.status == 422 and answer.body != "inside"
        assert words in json.loads(answer.body)["error"] and "again" in answer.body


@pytest.mark.parametrize("kind", ["", "text/plain", "application/json", "multipart/form-data",
                                  "multipart/mixed; boundary=x", "multipart/form-data; boundary=",
                                  "multipart/form-data; boundary=" + "x" * 5000])
def test_an_upload_says_how_it_is_parted(tmp_path: Path, kind: str) -> None:
    answer = ask(tmp_path, "/upload", [*OURS, ("content-type", kind)], "POST", body=upload())
    assert answer.status == 422 and "boundary" in answer.body and answer.inner.reached == []


@pytest.mark.parametrize("letter", ["\0", "\n", "\r", "\x1b", "\x7f", "\x85"])
@pytest.mark.parametrize("path", ["/run/{}", "/api/a{}", "/file={}", "/assets/{}", "/heartbeat/{}x", "/{}",
                                  "/upload{}"])
def test_no_address_has_control_characters(tmp_path: Path, path: str, letter: str) -> None:
    for method in ("GET", "POST"):
        answer = ask(tmp_path, path.format(letter), method=method, body=b"")
        assert answer.status == 422 and "address" in answer.body and answer.inner.reached == []


PAGE = b"""<!doctype html><head>
<link rel="preconnect" href="https://fonts.googleapis.com" /><link
  rel="preconnect"
  href="//fonts.gstatic.com"
  crossorigin="anonymous"
/>
<script src="https://cdnjs.cloudflare.com/a.js" async></script>
<script>window.gradio_config = {"theme": "https://example.org", "b": "<link>"};</script>
<script type="module" crossorigin src="./assets/index.js"></script><link rel="stylesheet" href="/assets/a.css">
<meta property="og:url" content="https://gradio.app/" /></head><a href="https://example.org">there</a>"""


def test_the_page_asks_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def page(self: Inner, scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"text/html"), (b"content-length", str(len(PAGE)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for half in (PAGE[:100], PAGE[100:]):
            await send({"type": "http.response.body", "body": half, "more_body": half != PAGE[100:]})

    monkeypatch.setattr(Inner, "__call__", page)
    answer = ask(tmp_path, "/")
    assert re.findall("https?://[a-z.]*|//fonts[a-z.]*", answer.body) == [
        "https://example.org", "https://gradio.app", "https://example.org"], "texts, and a link to be clicked"
    assert '"b": "<link>"' in answer.body and "./assets/index.js" in answer.body and "/assets/a.css" in answer.body
    assert answer.headers["content-length"] == str(len(answer.body.encode()))
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy and "http" not in policy and "*" not in policy
    assert ask(tmp_path, "/config").body == PAGE.decode(), "only the page itself"


@pytest.mark.parametrize("path", ["/queue/join", "/run/predict", "/api/predict", "/cancel", "/reset", "/queue/join/"])
def test_calls_are_looked_at_and_handed_on_whole(tmp_path: Path, path: str) -> None:
    answer = ask(tmp_path, path, method="POST", body=[b'{"good', b'": tr', b"ue}"])
    assert answer.status == 200 and answer.inner.bodies == [b'{"good": true}']
    for body, sentence in ((b'{"good": false}', "was called badly"), (b"", "only calls in JSON"),
                           (b"\xff\xfe\x00", "only calls in JSON"), (b"[" * 100_000, "only calls in JSON"),
                           (b'{"good": NaN}', "NaN is not a number"),
                           (b'{"good": true, "good": true}', "twice"), (b"9" * 5000, "only calls in JSON")):
        answer = ask(tmp_path, path, method="POST", body=body)
        assert answer.status == 422 and sentence in json.loads(answer.body)["error"] and answer.inner.reached == []


def test_the_function_is_told_by_the_address(tmp_path: Path) -> None:
    assert "generate was called badly" in ask(tmp_path, "/run/generate/", method="POST", body=b"{}").body


@pytest.mark.parametrize("headers", [*FOREIGN.values(), *WITHOUT.values()], ids=[*FOREIGN, *WITHOUT])
def test_a_stranger_gets_no_websocket(tmp_path: Path, headers: Any) -> None:
    sent, inner = socket(tmp_path, headers, ['{"good": true}'])
    assert sent == [{"type": "websocket.close", "code": 1008}] and inner.reached == []


def test_a_websockets_calls_are_looked_at(tmp_path: Path) -> None:
    ours = [*OURS, ("origin", "http://127.0.0.1:7861")]
    sent, inner = socket(tmp_path, ours, ['{"good": true}', '{"good": true}'])
    assert sent == [{"type": "websocket.accept"}] and len(inner.messages) == 2
    for text in ('{"good": 1e999}', "no JSON", "{}"):
        sent, inner = socket(tmp_path, ours, [text, '{"good": true}'])
        assert inner.messages == [] and sent[1]["code"] == 1008 and 0 < len(sent[1]["reason"].encode()) <= 123
    assert socket(tmp_path, ours, path="/other")[1].reached == []


def test_the_servers_own_start_goes_through(tmp_path: Path) -> None:
    inner = Inner([])
    asyncio.run(made(inner, tmp_path)({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert inner.reached == ["lifespan"]


def test_an_address_of_ipv6(tmp_path: Path) -> None:
    headers = [("host", "[::1]:7861"), COOKIE, ("origin", "http://[::1]:7861")]
    assert ask(tmp_path, headers=headers, names=["["]).status == 200
    assert ask(tmp_path, headers=headers).status == 400
