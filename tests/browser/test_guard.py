"""What a website can do to the studio on the machine of someone who visits it: nothing. Seen with a real browser.

Beside the studio, in another tab, lies a foreign page; the person's browser has the studio's cookie all the while. It
is served at another port of the same address, which browsers take for the same site, and so send strict cookies from.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gradio
import pytest

from lib_iclight.studio import guard

from . import chromium
from .conftest import SWITCHES

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
REBOUND = "evil.test"
"""a name that the browser of the tests takes for 127.0.0.1: conftest.py"""

TRY = """async ([address, picture, mode]) => {
    const found = {}, told = {mode, credentials: "include"};
    const attempt = async (name, path, options) => {
        try {
            const answer = await fetch(address + path, {...told, ...options, signal: AbortSignal.timeout(10000)});
            const text = path.startsWith("/queue/data") ? "" : await answer.text();  // events have no end
            found[name] = answer.type === "opaque" ? "opaque" : `${answer.status} ${text}`;
        } catch (error) {
            found[name] = "failed";
        }
    };
    await attempt("page", "/");
    await attempt("config", "/config");
    await attempt("picture", picture);
    await attempt("events", "/queue/data?session_hash=x");
    await attempt("job", "/queue/join", {method: "POST", body: JSON.stringify(
        {fn_index: 0, data: [], session_hash: "x"}), headers: {"Content-Type": "text/plain"}});
    await attempt("json job", "/queue/join", {method: "POST", body: "{}",
                                              headers: {"Content-Type": "application/json"}});
    const form = new FormData();
    form.append("files", new Blob(["<b>"]), "a.html");
    await attempt("upload", "/upload", {method: "POST", body: form});
    found.image = await new Promise((resolve) => {
        const image = new Image();
        image.onload = () => resolve("shown");
        image.onerror = () => resolve("failed");
        image.src = address + picture;
    });
    found.script = await new Promise((resolve) => {
        const script = document.createElement("script");
        script.onload = () => resolve("run");
        script.onerror = () => resolve("failed");
        script.src = address + "/config";
        document.head.append(script);
    });
    return found;
}"""
"""tries everything at the studio, with its cookie -> what came back of each"""

SANDBOXED = """async (page) => {
    const frame = document.createElement("iframe");
    frame.sandbox = "allow-scripts";
    frame.srcdoc = page;
    const heard = new Promise((resolve) => {
        addEventListener("message", (event) => resolve([event.origin, event.data]));
        setTimeout(() => resolve(["silent", {}]), 30000);
    });
    document.body.append(frame);
    return await heard;
}"""


class Blank(BaseHTTPRequestHandler):
    def do_GET(self) -> None:  # noqa: N802
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>elsewhere</title><body></body>")

    def log_message(self, *arguments: Any) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[str]:
    """The address of a site that is not ours, at another port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Blank)
    threading.Thread(target=server.serve_forever).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def visited(browser: Any, studio: str) -> Iterator[tuple[Any, str, str]]:
    """A browser that has the studio open with a picture; the studio's bare address, and the picture's path there."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(studio)
    page.wait_for_selector(".iclight-tile")
    assert "token" not in page.url
    page.set_input_files("#iclight_studio_foreground input[type=file]", str(EXAMPLES / "astronaut-cutout.webp"))
    page.wait_for_selector("#iclight_studio_foreground img[src*='file=']")
    picture = urlsplit(page.get_attribute("#iclight_studio_foreground img", "src"))
    yield context, f"http://{urlsplit(studio).netloc}", picture.path
    context.close()


@pytest.fixture
def refusals(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The statuses that the studio refuses requests with; a browser tells nobody of an answer that it keeps back."""
    statuses: list[int] = []
    answer = guard._answer

    def taken_down(refused: guard.Refused, scope: Any) -> Any:
        statuses.append(refused.status)
        return answer(refused, scope)

    monkeypatch.setattr(guard, "_answer", taken_down)
    return statuses


def check_nothing(found: dict[str, str]) -> None:
    """What a foreign page may get: no answer that it can read, and none to what it only sends."""
    assert len(found) == 9
    assert not {name: got for name, got in found.items() if got != "failed" and got != "opaque"}


def test_the_page_itself_can(visited: tuple[Any, str, str]) -> None:
    """The same attempts, from the studio: they are none that fail anyway."""
    context, address, picture = visited
    page = context.pages[0]
    found = page.evaluate(TRY, [address, picture, "cors"])
    assert found["page"].startswith("200") and found["config"].startswith("200") and found["picture"].startswith("200")
    assert found["upload"].startswith("200") and found["image"] == "shown"
    assert found["job"].startswith("422") and found["json job"].startswith("422")  # looked at, and no calls of the page


@pytest.mark.parametrize("mode", ["cors", "no-cors"])
def test_another_port_gets_nothing(visited: tuple[Any, str, str], elsewhere: str, refusals: list[int],
                                   mode: str) -> None:
    context, address, picture = visited
    page = context.new_page()
    page.goto(elsewhere)
    check_nothing(page.evaluate(TRY, [address, picture, mode]))
    assert len(refusals) >= 8 and set(refusals) == {403}  # they did come to the studio
    page.close()


@pytest.mark.parametrize("mode", ["cors", "no-cors"])
def test_a_sandboxed_frame_gets_nothing(visited: tuple[Any, str, str], elsewhere: str, refusals: list[int],
                                        mode: str) -> None:
    context, address, picture = visited
    page = context.new_page()
    page.goto(elsewhere)
    script = f"({TRY})({[address, picture, mode]}).then((found) => parent.postMessage(found, '*'))"
    origin, found = page.evaluate(SANDBOXED, f"<!doctype html><body></body><script>{script}</script>")
    assert origin == "null"
    check_nothing(found)
    assert len(refusals) >= 8 and set(refusals) == {403}  # they did come to the studio
    page.close()


def test_the_page_asks_nobody_else(browser: Any, studio: str, tmp_path: Path) -> None:
    """Not even for a connection: the browser's own log of the network is read, in which prepared ones stand too."""
    template = (Path(gradio.__file__).parent / "templates" / "frontend" / "index.html").read_text(encoding="utf-8")
    others = set(re.findall(r"""(?:href|src)="https?://([^/"]+)""", template))
    assert {"fonts.googleapis.com", "cdnjs.cloudflare.com"} <= others, "Gradio's page would ask these"
    log = tmp_path / "net.json"
    logged = browser.browser_type.launch(executable_path=chromium.find(), args=[*SWITCHES, f"--log-net-log={log}"])
    page = logged.new_page()
    page.set_default_timeout(60_000)
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(studio)
    page.wait_for_selector(".iclight-tile")
    page.set_input_files("#iclight_studio_foreground input[type=file]", str(EXAMPLES / "astronaut-cutout.webp"))
    page.wait_for_selector("#iclight_studio_foreground img[src*='file=']")
    page.click(".iclight-tile[data-light='left']")
    for name, value in (("width", 128), ("height", 128), ("steps", 1)):
        page.fill(f"#studio_{name} input[type=number]", str(value))
    page.click("#studio_generate")
    page.wait_for_selector("#studio_gallery img", timeout=300_000)
    logged.close()
    assert {urlsplit(url).hostname for url in asked if not url.startswith(("data:", "blob:"))} == {"127.0.0.1"}
    assert not [text for text in complaints if "Content Security Policy" in text]
    text = log.read_text(encoding="utf-8", errors="replace")
    assert urlsplit(studio).netloc in text and not [host for host in others if host in text]


def test_a_frame_does_not_show_the_page(visited: tuple[Any, str, str], elsewhere: str) -> None:
    context, address, _ = visited
    page = context.new_page()
    page.goto(elsewhere)
    page.evaluate("""(address) => new Promise((resolve) => {
        const frame = document.createElement("iframe");
        frame.src = address;
        frame.onload = resolve;
        document.body.append(frame);
    })""", address)
    assert page.frames[1].query_selector(".iclight-tile") is None and "IC-Light" not in page.frames[1].content()
    page.close()


def test_a_name_bound_to_this_machine_gets_nothing(browser: Any, visited: tuple[Any, str, str], studio: str) -> None:
    """DNS rebinding: a website's own name that has come to mean 127.0.0.1; even with the token."""
    _, address, picture = visited
    foreign = f"http://{REBOUND}:{urlsplit(address).port}"
    context = browser.new_context()
    page = context.new_page()
    for query in ("", f"?{urlsplit(studio).query}"):
        answer = page.goto(f"{foreign}/{query}")
        assert answer.status == 400 and page.inner_text("body") == "Invalid host header"
    assert context.cookies() == []
    found = page.evaluate(TRY, [foreign, picture, "cors"])
    assert len(found) == 9 and {got[:3] for got in found.values()} <= {"400", "fai"}
    context.close()


def test_a_person_without_the_token_is_told(browser: Any, visited: tuple[Any, str, str]) -> None:
    context = browser.new_context()
    page = context.new_page()
    assert page.goto(visited[1]).status == 403
    assert "the whole address that was printed" in page.inner_text("body")
    context.close()


def test_a_link_from_elsewhere_opens_the_page(browser: Any, studio: str, elsewhere: str) -> None:
    """As in a message that somebody sent themselves: the strict cookie is there after it."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(elsewhere.replace("127.0.0.1", "localhost"))  # another site
    page.evaluate("(address) => { location = address; }", studio)
    page.wait_for_selector(".iclight-tile")
    [cookie] = context.cookies()
    assert cookie["httpOnly"] and cookie["sameSite"] == "Strict"
    context.close()


def test_an_uploaded_page_is_not_run(visited: tuple[Any, str, str]) -> None:
    context, address, _ = visited
    page = context.pages[0]
    for name, kind in (("a.html", "text/html"), ("a.svg", "image/svg+xml")):
        path = page.evaluate("""async ([name, kind]) => {
            const form = new FormData();
            form.append("files", new Blob(['<svg xmlns="http://www.w3.org/2000/svg"><script>1</script></svg>'],
                                          {type: kind}), name);
            return (await (await fetch("/upload", {method: "POST", body: form})).json())[0];
        }""", [name, kind])
        told = page.evaluate("""async (path) => {
            const answer = await fetch(`/file=${path}`);
            return ["content-type", "content-disposition", "x-content-type-options", "content-security-policy"].map(
                (name) => answer.headers.get(name));
        }""", path)
        assert told[:3] == ["application/octet-stream", "attachment", "nosniff"] and "sandbox" in told[3]
        other = context.new_page()
        with other.expect_download(), suppress(Exception):  # Playwright's goto calls a download an error
            other.goto(f"{address}/file={path}")
        other.close()
