#!/usr/bin/env python3
"""Relight one photo from four sides through the API of a running WebUI, and save the pictures.

    python examples/api.py examples/astronaut.jpg --out relit

Start the WebUI with --api. Needs Python alone.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

SIDES = ("left", "right", "top", "bottom")


class RefusedError(Exception):
    """The server would not do the job; the message is its own sentence."""


def relight(url: str, photo: bytes, light: str, arguments: argparse.Namespace) -> bytes:
    """The relit photo as a PNG or whatever format the server is set to. Raises RefusedError and URLError."""
    job = {
        "prompt": arguments.prompt,
        "negative_prompt": "lowres, bad anatomy, bad hands, cropped, worst quality",
        "width": arguments.width, "height": arguments.height, "steps": arguments.steps, "cfg_scale": 2,
        "seed": arguments.seed, "sampler_name": "DPM++ 2M SDE", "scheduler": "Karras",
        # Everything that IC-Light is to do is in this one object; GET /iclight/v1/info describes its keys.
        "alwayson_scripts": {"IC-Light": {"args": [{
            "enabled": True,
            "mode": "fc",
            "foreground": base64.b64encode(photo).decode(),
            "light": light,
        }]}},
    }
    return base64.b64decode(post(f"{url}/sdapi/v1/txt2img", job)["images"][0])


def post(address: str, body: dict[str, Any]) -> dict[str, Any]:
    """The server's JSON answer to a POST."""
    request = urllib.request.Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request) as response:
            answer: dict[str, Any] = json.load(response)
            return answer
    except urllib.error.HTTPError as error:
        if error.code == 404:
            raise RefusedError("the server has no such address. Was the WebUI started with --api?") from error
        try:
            problem = json.load(error)
        except ValueError:
            problem = {}
        # 422 is a mistake in the job, and `detail` the sentence that says which; 500 is a fault of the server.
        raise RefusedError(problem.get("detail") or problem.get("errors") or f"HTTP {error.code}") from error


def main() -> int:
    """0, or 1 with one line on what went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--out", type=Path, default=Path("relit"), help="the folder for the pictures (default: relit)")
    parser.add_argument("--url", default="http://127.0.0.1:7860", help="the WebUI (default: %(default)s)")
    parser.add_argument("--prompt", default="photo, natural lighting, best quality")
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--height", type=int, default=640)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--seed", type=int, default=12345)
    arguments = parser.parse_args()
    try:
        photo = arguments.photo.read_bytes()
        arguments.out.mkdir(parents=True, exist_ok=True)
        for side in SIDES:
            path = arguments.out / f"{arguments.photo.stem}-{side}.png"
            path.write_bytes(relight(arguments.url.rstrip("/"), photo, side, arguments))
            print(path, flush=True)
    except RefusedError as error:
        print(f"The server refused: {error}", file=sys.stderr)
        return 1
    except OSError as error:  # URLError is one
        print(f"{arguments.photo if isinstance(error, FileNotFoundError) else arguments.url}: "
              f"{getattr(error, 'reason', None) or error.strerror or error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
