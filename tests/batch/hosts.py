"""Doubles of WebUIs behind a real socket: the routes that a batch asks, one picture at a time as theirs.

Run as a program it is one such WebUI in a process of its own, which can be killed: PORT SECONDS.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

LIGHTS = {"4": ["left", "right", "bottom", "top", "ambient"]}


class RefusalError(Exception):
    """(status, the answer's object)."""


class Host:
    """What a WebUI would do. `seconds`: how long a picture takes; `refuse`: hears of every request and may raise."""

    def __init__(self, seconds: float = 0.0, checkpoint: str = "model.safetensors [0123]", iclight: bool = True,
                 refuse: Callable[[dict[str, Any]], None] = lambda body: None) -> None:
        self.seconds, self.checkpoint, self.iclight, self.refuse = seconds, checkpoint, iclight, refuse
        self.bodies: list[dict[str, Any]] = []
        self.interrupts = 0
        self.at_once = self.most_at_once = 0
        self._queue = threading.Lock()
        self._count = threading.Lock()
        self._interrupted = threading.Event()

    def get(self, path: str) -> dict[str, Any]:
        """The answer to a GET."""
        if path.startswith("/sdapi/v1/progress"):
            return {"progress": 0.5, "state": {"job_count": self.at_once}}
        if path == "/sdapi/v1/options":
            return {"sd_model_checkpoint": self.checkpoint}
        if path == "/iclight/v1/info" and self.iclight:
            return {"version": "0.1.0"}
        raise RefusalError(404, {"detail": "Not Found"})

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer to a POST."""
        if path == "/sdapi/v1/interrupt":
            self.interrupts += 1
            self._interrupted.set()
            return {}
        assert path == "/sdapi/v1/txt2img", path
        with self._count:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            with self._queue:
                self._interrupted.clear()
                self.bodies.append(body)
                self.refuse(body)
                self._interrupted.wait(self.seconds)
                return self._made(body)
        finally:
            with self._count:
                self.at_once -= 1

    def _made(self, body: dict[str, Any]) -> dict[str, Any]:
        """Pictures whose colour tells of the foreground and the seed."""
        iclight = body["alwayson_scripts"]["IC-Light"]["args"][0]
        assert iclight["enabled"] is True
        try:
            with Image.open(io.BytesIO(base64.b64decode(iclight["foreground"]))) as foreground:
                red, green, _, alpha = foreground.convert("RGBA").getpixel((foreground.width // 2,
                                                                            foreground.height // 2))
                assert alpha > 0 and min(foreground.size) > 8
        except Exception as error:
            raise RefusalError(422, {"detail": "IC-Light: ImageError: the foreground is no good."}) from error
        lights = LIGHTS.get(iclight.get("stage", "off"), [None])
        texts, images = [], []
        for number in range(body.get("n_iter", 1) * len(lights)):
            seed = body["seed"] + number // len(lights)
            texts.append(f"{body['prompt']}\nNegative prompt: {body['negative_prompt']}\nSteps: {body['steps']}, "
                         f"Sampler: {body['sampler_name']}, Seed: {seed}, Size: {body['width']}x{body['height']}")
            images.append(Image.new("RGB", (body["width"], body["height"]), (red, green, seed % 256)))
        for name in iclight.get("outputs", []):
            texts.append(f"{texts[0]}, IC-Light output: {name}")
            images.append(Image.new("L", (48, 40), 200))
        told = {"IC-Light warnings": ["The prompt is short."]}
        if lights != [None]:
            told["IC-Light stage lights"] = lights * body.get("n_iter", 1)
        info = {"infotexts": texts, "index_of_first_image": 0, "extra_generation_params": told}
        return {"images": [_encoded(image, text) for image, text in zip(images, texts, strict=True)],
                "parameters": {}, "info": json.dumps(info)}


def _encoded(image: Image.Image, text: str) -> str:
    file, about = io.BytesIO(), PngInfo()
    about.add_text("parameters", text)
    image.save(file, "PNG", pnginfo=about)
    return base64.b64encode(file.getvalue()).decode()


def server(host: Host, port: int = 0) -> ThreadingHTTPServer:
    """The host behind a socket of this machine; not yet serving."""
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self, make: Callable[[], dict[str, Any]]) -> None:
            try:
                status, value = 200, make()
            except RefusalError as refusal:
                status, value = refusal.args
            data = json.dumps(value).encode()
            with contextlib.suppress(OSError):  # whoever asked may have gone
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        def do_GET(self) -> None:  # noqa: N802
            self.answer(lambda: host.get(self.path))

        def do_POST(self) -> None:  # noqa: N802
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.answer(lambda: host.post(self.path, body))

        def log_message(self, *args: Any) -> None:
            """Nobody listens."""

    made = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    made.daemon_threads = True
    return made


@contextlib.contextmanager
def serving(host: Host) -> Iterator[str]:
    """The host at work; its URL."""
    made = server(host)
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{made.server_address[1]}"
    finally:
        made.shutdown()
        made.server_close()
        thread.join()


@contextlib.contextmanager
def process(seconds: float) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A host in a process of its own, and its URL."""
    made = subprocess.Popen([sys.executable, "-m", "tests.batch.hosts", "0", str(seconds)], text=True,
                            cwd=Path(__file__).resolve().parents[2], stdout=subprocess.PIPE)
    try:
        assert made.stdout is not None
        yield made, f"http://127.0.0.1:{made.stdout.readline().strip()}"
    finally:
        made.kill()
        made.communicate()


if __name__ == "__main__":
    running = server(Host(float(sys.argv[2])), int(sys.argv[1]))
    sys.stdout.write(f"{running.server_address[1]}\n")
    sys.stdout.flush()
    running.serve_forever()
