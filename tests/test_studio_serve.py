"""The studio as a program: who may reach it, what it says where it cannot start, and what it leaves behind."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from running import running

from lib_iclight.errors import SettingsError
from lib_iclight.panel.gradio_host import GRADIO_4
from lib_iclight.session import Session
from lib_iclight.studio import page as studio_page
from lib_iclight.studio import serve
from lib_iclight.studio.serve import known_names, listening, main, own_folder, prepared

ROOT = Path(__file__).resolve().parent.parent
PNG = (ROOT / "examples" / "rendered-vase.png").read_bytes()


class Site(NamedTuple):
    """A running studio, and requests to it with its token."""

    port: int
    token: str
    folder: Path

    def ask(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json",
            **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        told = {"Content-Type": kind} if body is not None else {}
        connection.request(method, path, body, {**told, "Authorization": f"Bearer {self.token}", **headers})
        answer = connection.getresponse()
        found = answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        connection.close()
        return found

    def upload(self, name: str, data: bytes) -> str:
        body = (f'--x\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n'
                "Content-Type: text/html\r\n\r\n").encode() + data + b"\r\n--x--\r\n"
        status, _, answer = self.ask("POST", "/upload", body, "multipart/form-data; boundary=x")
        assert status == 200
        return str(json.loads(answer)[0])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    session = Session.open(models=tmp_path_factory.mktemp("models"), device="cpu")
    with prepared(session, token="a token & more") as (server, [address]), running(server):
        told = urlsplit(address)
        assert told.hostname == "127.0.0.1" and told.port is not None
        yield Site(told.port, parse_qs(told.query)["token"][0], Path(os.environ["GRADIO_TEMP_DIR"]))


def test_the_page_is_served(site: Site) -> None:
    status, headers, page = site.ask("GET", "/")
    assert status == 200 and b"gradio" in page and "frame-ancestors" in headers["content-security-policy"]
    assert site.ask("GET", "/config")[0] == 200
    assert site.ask("GET", "/config", Authorization="Bearer no")[0] == 403
    foreign: tuple[dict[str, Any], ...] = ({"Origin": "null"}, {"Host": "evil.test"}, {"Origin": "http://127.0.0.1:1"})
    for more in foreign:
        status, told, body = site.ask("GET", "/config", **more)
        assert status in (400, 403) and b"components" not in body and "access-control-allow-origin" not in told


def test_the_doctor_is_asked_with_the_token_only(site: Site) -> None:
    assert site.ask("GET", "/iclight/v1/doctor", Authorization="Bearer no")[0] == 403
    status, _, answer = site.ask("GET", "/iclight/v1/doctor")
    told = json.loads(answer)
    assert status == 200 and "host           studio" in told["text"] and str(site.folder) not in told["text"]


def test_uploads_come_back_as_attachments(site: Site) -> None:
    for name, kind in (("a.html", "application/octet-stream"), ("a.svg", "application/octet-stream"),
                       ("a.png", "image/png")):
        path = site.upload(name, PNG)
        assert Path(path).is_relative_to(site.folder)
        ranges: tuple[dict[str, Any], ...] = ({}, {"Range": "bytes=0-3"})
        for more in ranges:
            status, headers, data = site.ask("GET", f"/file={quote(path)}", **more)
            assert status in (200, 206) and PNG.startswith(data)
            assert headers["content-type"] == kind and headers["content-disposition"] == "attachment"
            assert headers["x-content-type-options"] == "nosniff"


def test_no_redirect_and_no_foreign_file(site: Site) -> None:
    for path in ("http://127.0.0.1/x", "/etc/passwd", str(ROOT / "README.md"), f"{site.folder}/../x"):
        for separator in ("=", "%3D", "/"):
            status, headers, _ = site.ask("GET", f"/file{separator}{quote(path)}")
            assert status == 404 and "location" not in headers


@pytest.mark.parametrize("name", ["..", ".", "", "a\0b.png", "\x1b.png", "dir/..", "a" * 1100])
def test_no_name_of_an_upload_confuses_it(site: Site, name: str) -> None:
    before = set(site.folder.rglob("*"))
    body = f'--x\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode() + PNG
    status, _, answer = site.ask("POST", "/upload", body + b"\r\n--x--\r\n", "multipart/form-data; boundary=x")
    assert status == 422 and json.loads(answer)["error"].startswith("IC-Light: ImageError: ")
    assert not [path for path in set(site.folder.rglob("*")) - before if path.is_dir()]


@pytest.mark.parametrize(("body", "kind"), [
    (b"", "multipart/form-data; boundary=x"), (b"pixels", "multipart/form-data; boundary=x"),
    (b"--x\r\n\r\n", "multipart/form-data; boundary=x"), (PNG, "image/png"), (PNG, "multipart/form-data"),
    (b'--x\r\nContent-Disposition: form-data; name="files"\r\n\r\na\r\n--x--', "multipart/form-data; boundary=x"),
    (b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\na',
     "multipart/form-data; boundary=x"),
])
def test_what_is_no_upload_is_no_fault_of_the_studio(site: Site, body: bytes, kind: str) -> None:
    status, _, answer = site.ask("POST", "/upload", body, kind)
    assert status == 422 and "again" in json.loads(answer)["error"]
    assert site.upload("after.png", PNG)


@pytest.mark.parametrize("path", ["/run/%00", "/api/pre%00dict", "/file=%00", "/assets/%00", "/static/%0a",
                                  "/heartbeat/%1b", "/queue/data%00?session_hash=x", "/%00", "/theme.css%7f"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_control_character_in_an_address_confuses_it(site: Site, path: str, method: str) -> None:
    assert site.ask(method, path, b"{}" if method == "POST" else None)[0] == 422


@pytest.mark.parametrize("path", ["/queue/join", "/cancel", "/reset", "/run/predict", "/api/predict", "/run/no",
                                  "/api/"])
def test_no_call_made_by_hand_confuses_it(site: Site, path: str) -> None:
    odd: list[Any] = [None, 5, "", "\0", "x" * 5000, [], {}, True, 1e300]
    for key in ("session_hash", "event_id", "fn_index", "event_data", "trigger_id", "batched", "api_name"):
        for value in odd:
            status, _, _ = site.ask("POST", path, json.dumps({key: value}).encode())
            assert status < 500, (key, value)


def test_the_page_names_nobody_else_to_ask(site: Site) -> None:
    _, headers, page = site.ask("GET", "/")
    assert not re.search(rb"<(script|link)[^>]*(src|href)=.(https?:)?//", page)
    assert int(headers["content-length"]) == len(page)


def test_a_large_upload_is_refused_before_it_is_sent(site: Site) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=60)
    connection.putrequest("POST", "/upload")
    for name, value in (("Content-Type", "multipart/form-data; boundary=x"), ("Content-Length", "300000000"),
                        ("Authorization", f"Bearer {site.token}")):
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 413 and b"200 million bytes" in answer.read().replace(b"201", b"200")
    connection.close()


@pytest.fixture
def local_service() -> Iterator[tuple[str, list[str]]]:
    """Another service of this machine, and what was asked of it."""
    asked: list[str] = []

    class Service(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(PNG)

        def log_message(self, *arguments: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/secret.png", asked
    server.shutdown()
    server.server_close()


def functions(site: Site) -> list[tuple[int, list[dict[str, Any]]]]:
    config = json.loads(site.ask("GET", "/config")[2])
    widgets = {part["id"]: part for part in config["components"]}
    return [(function.get("id", number), [widgets[widget] for widget in function["inputs"]])
            for number, function in enumerate(config["dependencies"]) if function["backend_fn"]]


@pytest.mark.skipif(not GRADIO_4, reason="Gradio 3 has no paths in its calls")
def test_no_address_is_fetched_for_a_picture(site: Site, local_service: tuple[str, list[str]]) -> None:
    address, asked = local_service
    file = {"path": address, "url": address, "meta": {"_type": "gradio.FileData"}}
    for index, widgets in functions(site):
        for place in range(len(widgets)):
            values = [None] * len(widgets)
            call = {"fn_index": index, "session_hash": "x", "data": [*values[:place], file, *values[place + 1:]]}
            for path in ("/run/predict", "/api/predict", "/queue/join"):
                status, _, answer = site.ask("POST", path, json.dumps(call).encode())
                assert status == 422 and "uploaded" in json.loads(answer)["error"]
    assert asked == []


@pytest.mark.skipif(not GRADIO_4, reason="Gradio 3 sends its queue's calls by websocket")
def test_values_made_by_hand_get_sentences(site: Site) -> None:
    for index, widgets in functions(site):
        for place, widget in enumerate(widgets):
            values: list[Any] = [[] if other["type"] == "checkboxgroup" else None for other in widgets]
            values[place] = {"a": [1]}
            body = json.dumps({"fn_index": index, "session_hash": "x", "data": values}).encode()
            status, _, answer = site.ask("POST", "/run/predict", body)
            sentence = json.loads(answer)["error"]
            assert status == 422 and sentence.startswith("IC-Light: ") and sentence.endswith(".")
            assert "Traceback" not in sentence and str(widget["props"].get("label") or "must be") in sentence


def test_a_job_cannot_pass_by_the_queue(site: Site) -> None:
    index, widgets = max(functions(site), key=lambda function: len(function[1]))
    made: dict[str, Any] = {"checkboxgroup": []}
    body = json.dumps({"fn_index": index, "data": [made.get(widget["type"]) for widget in widgets]}).encode()
    assert site.ask("POST", "/run/predict", body)[0] in (401, 404)


def test_a_port_in_use_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(SystemExit):
            main(["--port", str(port)])
    assert f"port {port} is in use by another program" in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "sentence"), [
    (["--listen", "0.0.0.0", "--no-token"], "--no-token goes with"),
    (["--listen", "::", "--no-token"], "--no-token goes with"),
    (["--listen", "192.0.2.7", "--no-token"], "--no-token goes with"),
    (["--listen", "192.0.2.7"], "no address of this machine"), (["--listen", "example.org"], "takes an address"),
    (["--listen", ""], "takes an address"), (["--port", "70000"], "no port 70000"), (["--port", "-1"], "no port -1"),
    (["--device", "abacus"], "no device 'abacus'")])
def test_what_cannot_be_served_is_a_sentence(arguments: list[str], sentence: str,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    told = capsys.readouterr().err
    assert caught.value.code == 2 and sentence in told and "Traceback" not in told


def test_a_port_that_needs_rights(monkeypatch: pytest.MonkeyPatch) -> None:
    def bind(self: socket.socket, address: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket, "socket", type("Socket", (socket.socket,), {"bind": bind}))
    with pytest.raises(SettingsError, match="may not be used by this account"), listening("127.0.0.1", 80):
        pass


def test_known_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "_own_addresses", lambda: {"192.168.1.5", "fe80::1"})
    monkeypatch.setattr(socket, "gethostname", lambda: "Desk")
    assert known_names("127.0.0.1") == known_names("localhost") == ["127.0.0.1", "localhost"]
    assert known_names("127.0.0.2") == ["127.0.0.1", "127.0.0.2", "localhost"]
    assert known_names("::1", ["Router.lan"]) == ["127.0.0.1", "[", "localhost", "router.lan"]
    assert known_names("192.168.1.5") == ["127.0.0.1", "192.168.1.5", "desk", "desk.local", "localhost"]
    assert known_names("0.0.0.0") == ["127.0.0.1", "192.168.1.5", "[", "desk", "desk.local", "localhost"]
    assert not any("*" in name for name in known_names("0.0.0.0"))


def test_the_own_folder_goes_whatever_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "large" / "disk"))
    before = tempfile.tempdir
    for error in (KeyboardInterrupt, SystemExit, ValueError):
        with pytest.raises(error), own_folder() as folder:
            assert folder.parent == (tmp_path / "large" / "disk").resolve()
            assert os.environ["GRADIO_TEMP_DIR"] == tempfile.gettempdir() == str(folder)
            (folder / "a").mkdir()
            (folder / "a" / "left.png").write_bytes(PNG)
            raise error
        assert list(folder.parent.iterdir()) == [] and tempfile.tempdir == before
        assert os.environ["GRADIO_TEMP_DIR"] == str(tmp_path / "large" / "disk")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "a file" / "x"))
    (tmp_path / "a file").write_bytes(b"")
    with pytest.raises(SettingsError, match="no temporary folder can be made"), own_folder():
        pass


@pytest.mark.skipif(not GRADIO_4, reason="Gradio 3 keeps all files until the folder goes in the end")
def test_an_upload_goes_when_its_time_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the studio runs; days are a second here."""
    monkeypatch.setattr(studio_page, "HOUR", 1)
    monkeypatch.setattr(studio_page, "DAY", 1)
    session = Session.open(models=tmp_path / "models", device="cpu")
    with prepared(session, token="t") as (server, [address]), running(server):
        port = urlsplit(address).port
        assert port is not None
        path = Path(Site(port, "t", tmp_path).upload("a.png", PNG))
        for _ in range(300):
            if not path.exists():
                break
            threading.Event().wait(0.2)
        assert not path.exists()


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda ending: ending.name)
def test_nothing_is_left_by_a_program_that_is_ended(ending: signal.Signals, tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    environment.pop("GRADIO_TEMP_DIR", None)
    program = subprocess.Popen([sys.executable, "-m", "lib_iclight.studio", "--port", "0", "--device", "cpu"],
                               cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               # What runs us in the background or under nohup has us ignore these.
                               preexec_fn=lambda: signal.signal(ending, signal.SIG_DFL))
    assert program.stdout is not None
    address = urlsplit(program.stdout.readline().split()[-1])
    assert address.port is not None
    [folder] = tmp_path.iterdir()
    site = Site(address.port, parse_qs(address.query)["token"][0], folder)
    assert Path(site.upload("a.png", PNG)).is_relative_to(folder)
    events = http.client.HTTPConnection("127.0.0.1", address.port, timeout=60)  # a page that stays open
    events.request("GET", "/heartbeat/x" if GRADIO_4 else "/", headers={"Authorization": f"Bearer {site.token}"})
    assert events.getresponse().status == 200
    program.send_signal(ending)
    _, complaint = program.communicate(timeout=60)
    events.close()
    assert list(tmp_path.iterdir()) == [] and "Traceback" not in complaint
    assert program.returncode == (0 if ending is signal.SIGINT else 128 + signal.SIGTERM)
