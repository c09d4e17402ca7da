"""Run the live cases: `python -m tests.live --host NAME --dir DIR`, or `python run.py live ...`.

Makes random models where they are missing, starts the host on the CPU, runs the cases against it and stops it again.
Needs some 16 GB of disk for the models (SDXL: 7 GB more) and 16 GB of memory (SDXL: 24 GB). Only Forge can make the
models; the other hosts take those of a Forge (`--models`), where a run with `--keep` left them. The host must have been
started once by hand before, so that its own downloads (tokenizers, repositories) are there. What follows a `--` are
more flags for the host: `... -k "parity or nothing_left or loras" -- --medvram`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from .server import ON_THE_CPU, ROOT, Server


def main() -> int:
    """pytest's exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.live", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", choices=list(ON_THE_CPU), default="forge", help="which WebUI it is (default: forge)")
    parser.add_argument("--dir", "--forge", dest="dir", type=Path, required=True, help="its checkout")
    parser.add_argument("--models", type=Path, help="a Forge's models folder with the random models, for other hosts")
    parser.add_argument("--python", type=Path, help="the host's Python (default: the one in its venv folder)")
    parser.add_argument("--port", type=int, default=7999)
    parser.add_argument("--sdxl", action="store_true", help="also the SDXL case: needs 24 GB of memory")
    parser.add_argument("--keep", action="store_true", help="keep the random models for the next run: 6 GB, and the "
                        "host will offer them to its user, the random IC-Light weights too")
    parser.add_argument("-k", dest="expression", default="", help="only cases that match, as in pytest")
    parser.add_argument("-x", dest="first", action="store_true", help="stop at the first failure")
    parser.add_argument("flags", nargs="*", help="after a --: more flags for the host")
    arguments = parser.parse_args()
    server = Server(arguments.dir, arguments.python, arguments.port, tuple(arguments.flags), arguments.host)
    if arguments.models:
        made = server.link_models(arguments.models)
    elif arguments.host == "forge":
        made = server.make_models(["sd15", "inpaint", "sd2", "lora", "controlnet", "offsets",
                                   *(["sdxl"] if arguments.sdxl else [])])
    else:
        made = []
    try:
        with server:
            print(f"{arguments.host} runs at {server.url}; its log is {server.log}", flush=True)
            return run_cases(server, arguments)
    finally:
        for path in [] if arguments.keep else made:
            path.unlink()


def run_cases(server: Server, arguments: argparse.Namespace) -> int:
    """Run pytest against the running server."""
    environment = {**os.environ, "ICLIGHT_LIVE_URL": server.url, "ICLIGHT_LIVE_FORGE": str(server.forge),
                   "ICLIGHT_LIVE_HOST": server.host,
                   "ICLIGHT_LIVE_LOG": str(server.log), "ICLIGHT_LIVE_SDXL": "1" if arguments.sdxl else ""}
    # The project's own options leave this folder out.
    command = [sys.executable, "-m", "pytest", "-o", "addopts=-ra --strict-markers", "tests/live", "--durations=8",
               "-k", arguments.expression, *(["-x"] if arguments.first else [])]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
