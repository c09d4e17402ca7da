"""The doors: download servers, the command line, and a WebUI's requests."""

from __future__ import annotations

import contextlib
import io
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib_iclight import cli, download, transfer
from lib_iclight.cli import COMMANDS
from lib_iclight.settings import FIELDS

from .campaign import COUNTS, cases, holds
from .test_fuzz_values import JSON, LIGHTS, NUMBERS, TEXT

BODY = b"weights" * 100


class Server(socketserver.ThreadingTCPServer):
    """Answers every request with the same bytes."""

    daemon_threads = True
    allow_reuse_address = True
    answer = b""


class Answer(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        with contextlib.suppress(OSError):
            while self.rfile.readline().strip():
                pass
            self.wfile.write(self.server.answer)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Answer) as made:
        threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
        yield made
        made.shutdown()


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody's proxies, tokens, models and folders; quick patience."""
    for name in ("HF_ENDPOINT", "HF_TOKEN", "HF_HUB_OFFLINE", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("U2NET_HOME", str(tmp_path))
    monkeypatch.setattr(download, "BACKOFF", 0.0)
    monkeypatch.setattr(download, "TRIES", 2)
    monkeypatch.setattr(transfer, "TIMEOUT", (2.0, 2.0))


NAMES = st.sampled_from(["Content-Length", "Content-Range", "Transfer-Encoding", "Content-Encoding", "Location",
                         "Connection"]) | st.text("abc-: \x00é", max_size=6)
VALUES = st.sampled_from(["0", "700", "-5", "9" * 5000, "chunked", "gzip", "bytes 0-699/700", "bytes */700", "close",
                          "http://[", "//", "/again", "file:///etc/passwd", "5, 6"]) \
    | st.text("0123456789ab/:-é\x00", max_size=12)
HEADS = st.builds(lambda status, pairs: f"HTTP/1.1 {status}\r\n" + "".join(f"{a}: {b}\r\n" for a, b in pairs) + "\r\n",
                  st.sampled_from(["200 OK", "206 Part", "302 There", "416 No", "404 No", "503", "100 Go", "9 x"]),
                  st.lists(st.tuples(NAMES, VALUES), max_size=4))
ANSWERS = st.builds(lambda head, body: head.encode("latin-1", "replace") + body, HEADS,
                    st.sampled_from([BODY, b"", BODY[:50], BODY * 3, b"5\r\nhello\r\n0\r\n\r\n", b"-5\r\nhello\r\n",
                                     b"ffffffffffffffff\r\nx"]) | st.binary(max_size=40)) | st.binary(max_size=60)


@cases(120)
@given(answer=ANSWERS, size=st.none() | st.just(700))
def test_download_servers(server: Server, tmp_path_factory: Any, answer: bytes, size: int | None) -> None:
    server.answer = answer
    target: Path = tmp_path_factory.mktemp("fuzz") / "a.bin"
    address = f"http://127.0.0.1:{server.server_address[1]}/a.bin"
    holds(lambda: download.download(address, target, sha256=None, size=size, limit=1000))
    left = {path.name: path.stat().st_size for path in target.parent.iterdir()}
    assert set(left) <= {"a.bin", "a.bin.part"} and all(size <= 1000 for size in left.values())


WORDS = (st.sampled_from([
    *COMMANDS, "-o", "out.png", "no/out.png", "photo.png", "--light", "left", "--mode", "fbc", "--width", "64",
    "--height", "-8", "--outputs", "mask", "--mask", "--batch", "--seed", "--json", "--matting", "none", "--checkpoint",
    "missing", "--lora", "x:y", "--help", "--version", "--", ""])
         | st.sampled_from(["--" + field.name.replace("_", "-") for field in FIELDS]) | NUMBERS.map(repr)
         | st.text(st.characters(exclude_characters="\0"), max_size=6))
# A relight that would succeed takes seconds, so each of these has a fault.
LINES = st.builds(lambda words: ["relight", "photo.png", "-o", "out.png", "--checkpoint", "missing", *words],
                  st.lists(WORDS, max_size=5)) | st.builds(
    lambda light, words: ["lightmap", "-o", "out.png", "--width", "64", "--height", "64", "--light", light, *words],
    st.sampled_from(["left", "rim", "{}", '{"ambient":"#fff"}']) | TEXT,
    st.lists(WORDS, max_size=2)) | st.lists(WORDS, max_size=6)


@cases(120)
@given(line=LINES)
def test_command_lines(tmp_path_factory: Any, line: list[str]) -> None:
    folder: Path = tmp_path_factory.mktemp("fuzz")
    output = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        patch.chdir(folder)
        patch.setenv("HF_HUB_OFFLINE", "1")

        def call() -> int:
            try:
                return cli.main(line)
            except SystemExit as error:  # --help and --version
                assert error.code == 0
                return 0

        code = holds(call)
    assert code in (0, 2)
    if code == 2:
        COUNTS["a line and exit code 2"] += 1
        COUNTS["normal"] -= 1
        last = output.getvalue().rstrip("\n").splitlines()[-1]
        assert last.startswith("IC-Light: ") and len(last) < 3000
    left = {path.name for path in folder.rglob("*")}
    assert len(left) <= 1 and not [name for name in left if name.endswith((".part", ".lock"))]


REQUESTS = st.fixed_dictionaries({}, optional={
    field.name: st.just(field.default) | NUMBERS | JSON for field in FIELDS if field.name not in ("light", "enabled")}
    | {"light": LIGHTS, "nonsense": JSON})


@cases(50)
@given(values=REQUESTS)
def test_webui_requests(script: Any, values: dict[str, Any]) -> None:
    import fake_webui
    from fastapi import HTTPException

    def call() -> None:
        p = fake_webui.job(script, is_api=True)
        p.script_args = [{"enabled": True, "matting": "none", "foreground": fake_webui.picture(), **values}]
        try:
            fake_webui.process_images(p)
        except HTTPException as error:
            assert error.status_code == 422
            assert str(error.detail).encode("utf-8")

    holds(call)
