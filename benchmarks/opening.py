#!/usr/bin/env python3
"""What the extension adds to the opening of Forge's page: two Forges side by side, one without it.

    python benchmarks/opening.py --forge DIR [--python PATH] [--loads 10]

Needs Chromium (CHROMIUM names it; default: /usr/bin/chromium). Without: the extension is disabled in Forge's own
settings. Page loads are taken in turns, and medians compared. For Forge's start see closed.py.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from live.server import EXTENSION, PROBE, Server
from playwright.sync_api import sync_playwright

FLAGS = ("--ui-debug-mode",)  # no model is loaded
BROWSER = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-quic", "--no-first-run",
           "--disable-component-update", "--disable-sync"]

AT_REST = """() => new Promise((done, failed) => {
    setTimeout(() => failed(new Error("the page did not open in two minutes")), 120000);
    const look = () => document.getElementById("txt2img_generate") && document.getElementById("img2img_generate")
        ? requestIdleCallback(done) : setTimeout(look, 20);
    look();
})"""
"""Playwright's own waiting asks for an element's box in every frame, and that lays the whole page out again."""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--forge", type=Path, required=True)
    parser.add_argument("--python", type=Path, help="Forge's Python (default: the one in its venv folder)")
    parser.add_argument("--port", type=int, default=7990)
    parser.add_argument("--loads", type=int, default=10)
    arguments = parser.parse_args()

    def server(on: bool, port: int) -> Server:
        disabled = [PROBE] if on else [PROBE, EXTENSION]
        return Server(arguments.forge, arguments.python, port, FLAGS, settings={"disabled_extensions": disabled})

    loads: dict[bool, list[float]] = {True: [], False: []}
    # The first to start links the extension, and takes the link away at its end: it must be the last to end.
    with server(True, arguments.port) as relit, server(False, arguments.port + 1) as plain, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=BROWSER)
        pages = [(False, plain.url), (True, relit.url)]
        for turn in range(arguments.loads + 1):
            pages.reverse()
            for on, url in pages:
                seconds = opening_seconds(browser, url, on)
                if turn:  # the first fills the server's own caches
                    loads[on].append(seconds)
        browser.close()
    without, with_ = (statistics.median(loads[on]) for on in (False, True))
    print("| what | without | with | with / without |\n| --- | --- | --- | --- |\n"
          f"| opening the page, median of {arguments.loads} | {without:.2f} s | {with_:.2f} s "
          f"| {with_ / without:.3f} |")
    return 0


def opening_seconds(browser: Any, url: str, on: bool) -> float:
    """From the request until both tabs are there and the page is at rest; in a context of its own, without a cache."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    page = context.new_page()
    started = time.perf_counter()
    page.goto(url, wait_until="load")
    page.evaluate(AT_REST)
    took = time.perf_counter() - started
    assert page.locator("#txt2img_generate").is_visible()
    assert page.locator("#iclight_txt2img_enabled").is_visible() == on
    context.close()
    return took


if __name__ == "__main__":
    sys.exit(main())
