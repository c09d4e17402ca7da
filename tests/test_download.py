"""Downloads from a server on this machine that breaks, in every way we could think of."""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import requests

from lib_iclight import download as module
from lib_iclight import transfer
from lib_iclight.download import download, endpoint, file_digest, offline
from lib_iclight.errors import DownloadError

BODY = np.random.default_rng(7).bytes(300_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
MD5 = hashlib.md5(BODY).hexdigest()


class Request(BaseHTTPRequestHandler):
    """One request, answered by the next behaviour in the server's script (the last one is repeated)."""

    server: Server

    def do_GET(self) -> None:  # noqa: N802 - the base class's name
        script = self.server.script
        behaviour = script.pop(0) if len(script) > 1 else script[0]
        self.server.requests.append(dict(self.headers))
        behaviour(self)

    def log_message(self, format: str, *args: object) -> None:
        pass

    @property
    def offset(self) -> int:
        """The first byte that the Range header asks for."""
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        return int(found[1]) if found else 0

    def head(self, status: int, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.script: list[Callable[[Request], None]] = [honest]
        self.requests: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/model.safetensors"

    @property
    def ranges(self) -> list[str | None]:
        return [request.get("Range") for request in self.requests]


def honest(request: Request, end: int = len(BODY)) -> None:
    """Serves the file, or the rest of it, up to byte `end`."""
    at = request.offset
    if at >= len(BODY):
        request.head(416, Content_Range=f"bytes */{len(BODY)}", Content_Length=0)
    elif at:
        request.head(206, Content_Range=f"bytes {at}-{len(BODY) - 1}/{len(BODY)}", Content_Length=len(BODY) - at)
    else:
        request.head(200, Content_Length=len(BODY))
    request.wfile.write(BODY[at:end])


def cut(end: int) -> Callable[[Request], None]:
    return lambda request: honest(request, end)


def promising(length: int) -> Callable[[Request], None]:
    """Promises `length` bytes, sends the whole file, and knows nothing of ranges."""
    def behave(request: Request) -> None:
        request.head(200, Content_Length=length)
        request.wfile.write(BODY)
    return behave


def without_length(request: Request) -> None:
    request.head(200)
    request.wfile.write(BODY)


def another_range(request: Request) -> None:
    request.head(206, Content_Range=f"bytes 0-{len(BODY) - 1}/{len(BODY)}", Content_Length=len(BODY))
    request.wfile.write(BODY)


def another_file(request: Request) -> None:
    request.head(200, Content_Length=len(BODY))
    request.wfile.write(BODY[::-1])


def status(code: int) -> Callable[[Request], None]:
    return lambda request: request.head(code, Content_Length=0)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("HF_ENDPOINT", "HF_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setattr(module, "BACKOFF", 0.0)
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "models" / "model.safetensors"


def left(target: Path) -> dict[str, int]:
    """What lies in the target's folder, and its size."""
    return {path.name: path.stat().st_size for path in target.parent.iterdir()}


WHOLE = {"model.safetensors": len(BODY)}


# What must work

SCRIPTS: dict[str, list[Callable[[Request], None]]] = {
    "honest": [honest],
    "without a length": [without_length],
    "all of it, called a range": [another_range],
    "busy": [status(503), honest],
    "busy twice": [status(429), status(500), honest],
    "cut at once": [cut(0), honest],
    "cut": [cut(100_000), honest],
    "cut twice": [cut(100_000), cut(200_000), honest],
    "cut, will not resume": [cut(100_000), promising(len(BODY))],
    "cut, resumes elsewhere": [cut(100_000), another_range, honest],
}


@pytest.mark.parametrize("case", SCRIPTS)
def test_the_file_arrives_whole(server: Server, target: Path, case: str) -> None:
    server.script = list(SCRIPTS[case])
    download(server.url, target, sha256=SHA256.upper(), md5=MD5, size=len(BODY))
    assert target.read_bytes() == BODY
    assert left(target) == WHOLE
    assert len(server.requests) == len(SCRIPTS[case])


def test_a_broken_download_goes_on_where_it_stopped(server: Server, target: Path) -> None:
    server.script = [cut(200_000), honest]
    download(server.url, target, sha256=SHA256)
    first, second = server.ranges
    assert first is None and second is not None
    assert 100_000 < int(second.removeprefix("bytes=").removesuffix("-")) <= 200_000
    assert target.read_bytes() == BODY


def test_a_download_of_an_earlier_run_is_resumed(server: Server, target: Path) -> None:
    target.parent.mkdir()
    target.with_name("model.safetensors.part").write_bytes(BODY[:123_456])
    download(server.url, target, sha256=SHA256)
    assert server.ranges == ["bytes=123456-"]
    assert target.read_bytes() == BODY


def test_without_a_hash_an_earlier_run_is_not_trusted(server: Server, target: Path) -> None:
    target.parent.mkdir()
    target.with_name("model.safetensors.part").write_bytes(b"?" * 1000)
    download(server.url, target, sha256=None)
    assert server.ranges == [None]
    assert target.read_bytes() == BODY


def test_a_part_that_is_whole_already_only_gets_its_name(server: Server, target: Path) -> None:
    target.parent.mkdir()
    target.with_name("model.safetensors.part").write_bytes(BODY)
    download(server.url, target, sha256=SHA256)
    assert server.ranges == [f"bytes={len(BODY)}-"]
    assert left(target) == WHOLE


def test_a_part_that_is_longer_than_the_file_is_thrown_away(server: Server, target: Path) -> None:
    target.parent.mkdir()
    target.with_name("model.safetensors.part").write_bytes(BODY + b"more")
    download(server.url, target, sha256=SHA256)
    assert target.read_bytes() == BODY


def test_a_file_that_is_there_is_left_alone(server: Server, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(b"mine")
    download(server.url, target, sha256=SHA256)
    assert target.read_bytes() == b"mine"
    assert not server.requests


def test_a_slow_line_may_break_often_as_long_as_it_gets_further(
        server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LEAP", 10_000)
    monkeypatch.setattr(transfer, "BLOCK", 1_000)
    server.script = [*(cut(end) for end in range(20_000, 300_000, 20_000)), honest]
    download(server.url, target, sha256=SHA256)
    assert len(server.requests) == 15 > module.TRIES
    assert target.read_bytes() == BODY


# What must fail, and how

def failure(server: Server, target: Path, *, sha256: str | None = SHA256, size: int | None = None) -> str:
    """The error's text, having seen that nothing got the file's name and that the way to do it by hand is told."""
    with pytest.raises(DownloadError) as caught:
        download(server.url, target, sha256=sha256, size=size)
    assert not target.exists()
    folder = f"{target.parent.parent.name}/models"
    assert f"To do it by hand, download {server.url} and put it into {folder}." in str(caught.value)
    assert str(target.parent) not in str(caught.value), "the whole path is for consoles"
    assert caught.value.path == target.parent
    return str(caught.value)


def test_a_wrong_hash(server: Server, target: Path) -> None:
    server.script = [another_file]
    got = hashlib.sha256(BODY[::-1]).hexdigest()
    assert f"its sha256 is {got}, expected {SHA256}" in failure(server, target)
    assert left(target) == {}


def test_a_wrong_md5(server: Server, target: Path) -> None:
    with pytest.raises(DownloadError, match=f"its md5 is {MD5}, expected 00"):
        download(server.url, target, sha256=SHA256, md5="00")
    assert left(target) == {}


def test_a_part_of_another_file_is_found_out_and_thrown_away(server: Server, target: Path) -> None:
    target.parent.mkdir()
    target.with_name("model.safetensors.part").write_bytes(b"?" * 1000)
    assert "arrived damaged or is another file" in failure(server, target)
    download(server.url, target, sha256=SHA256)
    assert target.read_bytes() == BODY


def test_a_server_that_promises_more_than_it_sends(server: Server, target: Path) -> None:
    server.script = [promising(len(BODY) + 1000)]
    assert "the connection broke after " in failure(server, target)
    assert len(server.requests) == module.TRIES


def test_a_short_body_is_noticed_where_urllib3_does_not(
        server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before version 2 it took the end of the connection for the end of the file."""
    genuine = requests.Response.iter_content

    def silently(response: requests.Response, size: int) -> Iterator[bytes]:
        with contextlib.suppress(requests.exceptions.ChunkedEncodingError):
            yield from genuine(response, 1000)

    monkeypatch.setattr(requests.Response, "iter_content", silently)
    server.script = [promising(len(BODY) + 1000)]
    assert f"the connection ended after {len(BODY)} of {len(BODY) + 1000} bytes" in failure(server, target)


def test_a_server_that_promises_less_than_it_sends(server: Server, target: Path) -> None:
    server.script = [promising(len(BODY) - 1000)]
    assert "arrived damaged" in failure(server, target)
    assert left(target) == {}


def test_a_body_that_does_not_end_where_it_should(server: Server, target: Path) -> None:
    server.script = [without_length]
    assert "sent more of model.safetensors than the 299000 bytes" in failure(server, target, size=299_000)
    assert left(target) == {}
    assert len(server.requests) == 1


@pytest.mark.parametrize("behaviour", [honest, promising(len(BODY))])
def test_a_length_that_is_not_the_known_one(
        server: Server, target: Path, behaviour: Callable[[Request], None]) -> None:
    server.script = [behaviour]
    assert "has 300000 bytes, expected 299000" in failure(server, target, size=299_000)


def test_a_line_that_always_breaks_at_the_same_place(server: Server, target: Path) -> None:
    server.script = [cut(150_000)]
    assert "the connection broke after " in failure(server, target)
    kept = left(target)["model.safetensors.part"]
    assert 0 < kept <= 150_000
    assert target.with_name("model.safetensors.part").read_bytes() == BODY[:kept]


@pytest.mark.parametrize(("code", "text", "tries"), [
    (404, "does not have model.safetensors (404)", 1), (403, "HF_TOKEN", 1), (401, "HF_TOKEN", 1),
    (418, "answered 418", 1), (503, "answered 503", module.TRIES), (204, "answered 204", 1)])
def test_error_statuses(server: Server, target: Path, code: int, text: str, tries: int) -> None:
    server.script = [status(code)]
    assert text in failure(server, target)
    assert len(server.requests) == tries


def test_no_server_at_all(server: Server, target: Path) -> None:
    with Server() as closed:
        pass
    assert "the connection broke after 0 bytes (ConnectionError)" in failure(closed, target)


def test_an_address_that_is_none(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with pytest.raises(DownloadError, match="could not be downloaded"):
        download("hugging face/model", target, sha256=None)


def test_a_disk_without_room(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=100_000))
    target.parent.mkdir()
    assert "needs 0.00 GB more" in failure(server, target)
    target.with_name("model.safetensors.part").write_bytes(BODY[:250_000])  # the rest has room
    download(server.url, target, sha256=SHA256)


def test_a_disk_that_fills_up(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_receive", full)
    with pytest.raises(DownloadError, match="the disk is full"):
        download(server.url, target, sha256=SHA256)


def test_a_folder_that_cannot_be_made(server: Server, tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file")
    with pytest.raises(DownloadError, match="cannot be written"):
        download(server.url, tmp_path / "models" / "model.safetensors", sha256=SHA256)


def sending(*pieces: bytes, pause: float = 0.0, **headers: Any) -> Callable[[Request], None]:
    """A head with these headers, then the pieces as they are, again and again for as long as somebody listens."""
    def behave(request: Request) -> None:
        request.protocol_version = "HTTP/1.1"
        request.close_connection = True
        request.head(200, **headers)
        with contextlib.suppress(OSError):
            for piece in pieces:
                request.wfile.write(piece)
            while pause or headers.get("X_Endless"):
                request.wfile.write(pieces[-1])
                request.wfile.flush()
                time.sleep(pause)
    return behave


CHUNKED: dict[str, Any] = {"Transfer_Encoding": "chunked"}


@pytest.mark.parametrize("behaviour", [
    sending(BODY, Content_Length="9" * 5000), sending(BODY, Content_Length="-5"), sending(BODY, Content_Length="x"),
    sending(b"-5\r\nhello\r\n", **CHUNKED), sending(b"zz\r\nhello\r\n", **CHUNKED),
    sending(b"f" * 10_000 + b"\r\n", **CHUNKED), sending(b"5\r\nhel", **CHUNKED),
    sending(b"", Content_Range="bytes 0-1/" + "9" * 5000),
    lambda request: request.head(206, Content_Range="bytes " + "9" * 5000 + "-1/2"),
    lambda request: request.wfile.write(b"what?\r\n\r\n"), lambda request: None,
    *(lambda request, to=to: request.head(302, Location=to, Content_Length=0) for to in (
        "http://[::1", "http://", "//", "file:///etc/passwd", "ftp://x/y", "http://x:99999999/", "http://127.0.0.1:1/",
        "\x80\xff", "/model.safetensors", "http://" + "a" * 300 + ".invalid/", "http://.invalid/")),
], ids=lambda value: "")
def test_answers_that_make_no_sense_are_errors_of_ours(
        server: Server, target: Path, behaviour: Callable[[Request], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TRIES", 2)
    server.script = [behaviour]
    assert len(failure(server, target, sha256="0" * 64)) < 1000


@pytest.mark.parametrize("headers", [{}, CHUNKED])
def test_a_body_without_an_end_is_left_at_the_limit(
        server: Server, target: Path, headers: dict[str, Any]) -> None:
    piece = b"10000\r\n" + b"?" * 65536 + b"\r\n" if headers else b"?" * 65536
    server.script = [sending(piece, X_Endless=1, **headers)]
    with pytest.raises(DownloadError, match="more of model.safetensors than the 500000 bytes"):
        download(server.url, target, sha256=SHA256, limit=500_000)
    assert left(target) == {}
    assert len(server.requests) == 1


def test_a_length_beyond_the_limit_is_refused_unread(server: Server, target: Path) -> None:
    with pytest.raises(DownloadError, match="has 300000 bytes, at most 299999"):
        download(server.url, target, sha256=SHA256, limit=299_999)
    assert left(target) == {}


@pytest.mark.parametrize("dripping", ["body", "chunks", "head"])
def test_a_server_that_drips_is_left_and_what_came_is_kept(
        server: Server, target: Path, dripping: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "PATIENCE", 0.3)
    monkeypatch.setattr(transfer, "PACE", 10_000)
    monkeypatch.setattr(transfer, "BLOCK", 1000)
    monkeypatch.setattr(module, "TRIES", 2)

    def head(request: Request) -> None:
        with contextlib.suppress(OSError):
            request.wfile.write(b"HTTP/1.0 200 OK\r\n")
            while True:
                request.wfile.write(b"X")
                time.sleep(0.02)

    server.script = [{
        "body": sending(BODY[:100_000], b"?", pause=0.02, Content_Length=len(BODY)),
        "chunks": sending(b"1\r\nx\r\n", pause=0.02, **CHUNKED), "head": head}[dripping]]
    assert "sends less than 10000 bytes a second" in failure(server, target)
    assert len(server.requests) >= (1 if dripping == "head" else 2)
    if dripping == "body":
        kept = left(target)["model.safetensors.part"]
        assert kept >= 99_000 and server.ranges[1] is not None


def test_a_slow_listener_is_not_a_slow_server(
        server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "PATIENCE", 0.5)
    download(server.url, target, sha256=SHA256, progress=lambda what, done, total: time.sleep(0.6 * (done == 0)))
    assert target.read_bytes() == BODY and len(server.requests) == 1


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_missing_certificates_are_not_taken_for_a_full_disk(
        target: Path, monkeypatch: pytest.MonkeyPatch, server: Server, name: str) -> None:
    for other in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, "/srv/secret/certificates.pem")
    with pytest.raises(DownloadError, match=name) as caught:
        download("https://127.0.0.1:1/model", target, sha256=None)
    assert "/srv" not in str(caught.value) and "written" not in str(caught.value)


# What nobody may read: names, passwords and tokens, through every way to fail

CANARY = "hf_kanarienvogel"


@pytest.mark.parametrize("token", [
    f"{CANARY}\nX: y", f"{CANARY}\u2026", f"{CANARY} a", f"é{CANARY}", f"{CANARY}\x7f", CANARY])
@pytest.mark.parametrize("behaviour", [
    honest, another_file, status(401), status(404), status(503), sending(BODY, Content_Length="9" * 5000),
    lambda request: request.send_response_only(418, request.headers["Authorization"]) or request.end_headers(),
    *(lambda request, to=to: request.head(302, Location=to % (request.headers["Authorization"] or "")[7:]) for to in (
        "http://%s:x@[/", "http://%s:x@a:99999999/", "http://%s:x@/", "what://%s:x@a/", "http://%s:x@.invalid/",
        "http://%s:x@127.0.0.1:1/")),
    lambda request: None], ids=lambda value: "")
def test_no_secret_is_in_any_message(
        server: Server, target: Path, token: str, behaviour: Callable[[Request], None],
        monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(module, "TRIES", 2)
    monkeypatch.setenv("HF_TOKEN", token)
    # Requests sends a name and password of an address in the token's place.
    for address in (f"http://127.0.0.1:{server.server_port}", f"http://anna:{CANARY}@127.0.0.1:{server.server_port}"):
        monkeypatch.setenv("HF_ENDPOINT", address)
        server.script = [behaviour]
        with caplog.at_level("DEBUG", "iclight"):
            try:
                download(f"{address}/model.safetensors?key={CANARY}", target, sha256=SHA256)
            except DownloadError as error:
                told = "".join(traceback.format_exception(error)) + error.sentence + error.with_path
                assert "kanarien" not in told.replace(f"key={CANARY}\", ", "")
                assert str(target.parent) not in error.sentence
            target.unlink(missing_ok=True)
    assert "kanarien" not in caplog.text


@pytest.mark.parametrize("token", [f"{CANARY}\nX: y", f"{CANARY}\u2026", f"{CANARY} a", f"{CANARY}\x7f"])
def test_a_token_that_no_header_can_hold_is_told_before_anything_is_asked(
        server: Server, target: Path, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    with pytest.raises(DownloadError, match="^HF_TOKEN holds"):
        download(server.url, target, sha256=SHA256)
    assert server.requests == []


@pytest.mark.parametrize("proxy", [
    f"http://anna:{CANARY}@127.0.0.1:1", f"what://anna:{CANARY}@x", f"http://anna:{CANARY}@[", "http:///"])
def test_no_proxys_password_is_in_any_message(
        server: Server, target: Path, proxy: str, monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(module, "TRIES", 2)
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("HTTP_PROXY", proxy)
    monkeypatch.setenv("http_proxy", proxy)
    with caplog.at_level("DEBUG", "iclight"), pytest.raises(DownloadError) as caught:
        download(server.url, target, sha256=SHA256)
    assert "kanarien" not in "".join(traceback.format_exception(caught.value)) + caplog.text


# Progress and cancelling

def test_progress_begins_ends_and_stays_seldom(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "BLOCK", 100)
    calls: list[tuple[str, int, int]] = []
    started = time.monotonic()
    download(server.url, target, sha256=SHA256, progress=lambda *call: calls.append(call))
    at_most = 4 + 10 * (time.monotonic() - started)
    assert calls[0] == ("Downloading model.safetensors", 0, 300_000)
    assert ("Downloading model.safetensors", 300_000, 300_000) in calls
    assert calls[-1] == ("Checking model.safetensors", 300_000, 300_000)
    assert len(calls) <= at_most < 3000


def test_cancelling_keeps_what_has_arrived(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module._Listener, "__call__", lambda self, *call: self._progress(*call))

    def cancel(what: str, done: int, total: int) -> None:
        if done > 100_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(server.url, target, sha256=SHA256, progress=cancel)
    kept = left(target)
    assert list(kept) == ["model.safetensors.part"]
    download(server.url, target, sha256=SHA256)
    assert server.ranges == [None, f"bytes={kept['model.safetensors.part']}-"]
    assert target.read_bytes() == BODY


# Several at once

@pytest.fixture
def slow(server: Server) -> threading.Event:
    """The server sends half of the file, and the rest when the event is set."""
    gate = threading.Event()

    def behave(request: Request) -> None:
        request.head(200, Content_Length=len(BODY))
        request.wfile.write(BODY[:150_000])
        gate.wait(20)
        request.wfile.write(BODY[150_000:])

    server.script = [behave]
    return gate


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_second_thread_waits_for_the_first(server: Server, target: Path, slow: threading.Event) -> None:
    said: list[str] = []
    threads = [threading.Thread(target=download, args=(server.url, target),
                                kwargs={"sha256": SHA256, "progress": lambda what, *_: said.append(what)})
               for _ in range(3)]
    for thread in threads:
        thread.start()
    until(lambda: server.requests and said.count("Waiting for another download of model.safetensors") >= 2)
    slow.set()
    for thread in threads:
        thread.join(20)
    assert len(server.requests) == 1
    assert target.read_bytes() == BODY
    assert left(target) == WHOLE


def test_another_process_waits_too_and_takes_over_when_the_first_dies(
        server: Server, target: Path, slow: threading.Event) -> None:
    code = ("import sys; from pathlib import Path; from lib_iclight.download import download; "
            "download(sys.argv[1], Path(sys.argv[2]), sha256=sys.argv[3])")
    first = subprocess.Popen([sys.executable, "-c", code, server.url, str(target), SHA256],
                             cwd=Path(__file__).parent.parent)
    until(lambda: server.requests)
    server.script = [honest]
    said = threading.Event()

    def kill_when_waiting(what: str, done: int, total: int) -> None:
        if what.startswith("Waiting") and not said.is_set():
            said.set()
            first.kill()
            first.wait()

    download(server.url, target, sha256=SHA256, progress=kill_when_waiting)
    slow.set()
    assert said.is_set()
    assert len(server.requests) == 2
    assert target.read_bytes() == BODY
    assert left(target) == WHOLE


def test_cancelling_while_waiting(server: Server, target: Path, slow: threading.Event) -> None:
    thread = threading.Thread(target=download, args=(server.url, target), kwargs={"sha256": SHA256})
    thread.start()
    until(lambda: server.requests)

    def cancel(what: str, done: int, total: int) -> None:
        raise InterruptedError(what)

    with pytest.raises(InterruptedError, match="Waiting for another download of model.safetensors"):
        download(server.url, target, sha256=SHA256, progress=cancel)
    slow.set()
    thread.join(20)
    assert left(target) == WHOLE


# The environment

@pytest.mark.parametrize(("value", "expected"), [
    ("1", True), ("true", True), ("YES", True), ("on", True), ("0", False), ("", False), ("no", False)])
def test_offline(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch, value: str, expected: bool) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    assert offline() is expected
    if expected:
        assert "model.safetensors is missing, and HF_HUB_OFFLINE" in failure(server, target)
        assert not target.parent.exists()
    else:
        download(server.url, target, sha256=SHA256)
    assert bool(server.requests) is not expected


def test_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    assert endpoint() == "https://huggingface.co"
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example/")
    assert endpoint() == "https://mirror.example"


def test_the_token_goes_to_the_endpoint_and_nowhere_else(
        server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    elsewhere = server.url.replace("127.0.0.1", "localhost")
    server.script = [lambda request: request.head(302, Location=elsewhere, Content_Length=0), honest]
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    download(server.url, target, sha256=SHA256)
    assert [request.get("Authorization") for request in server.requests] == ["Bearer hf_secret", None]

    server.requests.clear()
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1")  # only begins alike
    download(server.url, target.with_name("second"), sha256=SHA256)
    assert [request.get("Authorization") for request in server.requests] == [None]


def test_nothing_is_compressed_on_the_way(server: Server, target: Path) -> None:
    download(server.url, target, sha256=SHA256)
    assert server.requests[0]["Accept-Encoding"] == "identity"


def test_file_digest(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    calls: list[tuple[str, int, int]] = []
    digest = file_digest(tmp_path / "abc", "sha256", lambda *call: calls.append(call))
    assert digest == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1
    assert calls == [("Checking abc", 3, 3)]
