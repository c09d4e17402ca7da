#!/usr/bin/env python3
"""What the extension adds to the opening of Forge's page: two Forges side by side, one without it.

    python benchmarks/opening.py --forge DIR [--python PATH] [--loads 10]

Needs Chromium (CHROMIUM names it; default: /usr/bin/chromium). Without: the extension is disabled in Forge's own
settings. Page loads are taken in turns, and medians compared; on a shared machine they differ from run to run by a
tenth and more. Some further loads count the function calls that the page makes, which no other work changes. For
Forge's start see closed.py.
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
COUNTED = 6
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

    loads: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    calls: dict[bool, list[int]] = {True: [], False: []}
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
        for _ in range(COUNTED):
            for on, url in pages:
                calls[on].append(function_calls(browser, url))
        browser.close()
    print("| what | without | with | with / without | middle half of the pairs |\n| --- | --- | --- | --- | --- |")
    for column, what in enumerate(("opening the page", "processor time of the page's main thread")):
        without, with_ = ([load[column] for load in loads[on]] for on in (False, True))
        low, _, high = statistics.quantiles([a / b for a, b in zip(with_, without, strict=True)], n=4)
        print(f"| {what}, median of {arguments.loads} | {statistics.median(without):.2f} s "
              f"| {statistics.median(with_):.2f} s | {statistics.median(with_) / statistics.median(without):.3f} "
              f"| {low:.3f} to {high:.3f} |")
    without_m, with_m = (statistics.mean(calls[on]) / 1e6 for on in (False, True))
    ratios = [a / b for a, b in zip(calls[True], calls[False], strict=True)]
    print(f"| function calls, mean of {COUNTED} | {without_m:.1f} million | {with_m:.1f} million "
          f"| {with_m / without_m:.3f} | {min(ratios):.3f} to {max(ratios):.3f} (all) |")
    return 0


def opening_seconds(browser: Any, url: str, on: bool) -> tuple[float, float]:
    """From the request until both tabs are there and the page is at rest; in a context of its own, without a cache.

    Beside it the processor time of the page's main thread until then, which other work on the machine does not lengthen
    as it does the first.
    """
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    page = context.new_page()
    devtools = context.new_cdp_session(page)
    devtools.send("Performance.enable", {"timeDomain": "threadTicks"})
    started = time.perf_counter()
    page.goto(url, wait_until="load")
    page.evaluate(AT_REST)
    took = time.perf_counter() - started
    metrics = {each["name"]: each["value"] for each in devtools.send("Performance.getMetrics")["metrics"]}
    assert page.locator("#txt2img_generate").is_visible()
    assert page.locator("#iclight_txt2img_enabled").is_visible() == on
    context.close()
    return took, metrics["TaskDuration"]


def function_calls(browser: Any, url: str) -> int:
    """How many calls of JavaScript functions the page makes until three seconds after it is at rest."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    page = context.new_page()
    devtools = context.new_cdp_session(page)
    devtools.send("Profiler.enable")
    devtools.send("Profiler.startPreciseCoverage", {"callCount": True, "detailed": False})
    page.goto(url, wait_until="load")
    page.evaluate(AT_REST)
    page.wait_for_timeout(3000)
    scripts = devtools.send("Profiler.takePreciseCoverage")["result"]
    context.close()
    return sum(function["ranges"][0]["count"] for script in scripts for function in script["functions"])


if __name__ == "__main__":
    sys.exit(main())
