#!/usr/bin/env python3
"""What one redraw costs while a light is dragged: the desk at 1024 pixels, the sketch at 512.

    python benchmarks/frames.py [--frames 60] [--card]

Needs Chromium (CHROMIUM names it; default: /usr/bin/chromium). Prints the median and the slowest twentieth in
milliseconds; 60 frames a second leave 16.7. WebGL here is the processor's (SwiftShader), which the desk would
not use by itself; `--card` takes the machine's graphics card. A redraw ends when its pixels can be read.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lib_iclight.assets import assets, page_scripts
from lib_iclight.lights import PRESETS

SOFTWARE = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
PICTURES = 9
MEASURE = """async ({kind, side, frames, moving, presets, count}) => {
    const noise = (size, opaque = true) => {
        const data = new Uint8ClampedArray(4 * size * size);
        for (let at = 0; at < data.length; at++) {
            data[at] = at % 4 === 3 && opaque ? 255 : (at * 2654435761) >>> 13 & 255;
        }
        return new ImageData(data, size, size);
    };
    const wait = (canvas) => {
        const gl = canvas.getContext("webgl2");
        if (gl) gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
        else canvas.getContext("2d").getImageData(0, 0, 1, 1);
    };
    let redraw;
    if (kind.startsWith("desk")) {
        const set = {viewWidth: side, viewHeight: side, lamps: Array.from({length: count}, () => ({})),
            view: () => noise(side), viewMask: () => new Uint8ClampedArray(side * side).fill(200)};
        const painter = iclight.painter.painterFor(set, kind === "desk, canvas", () => {});
        redraw = (turn) => {
            const weights = set.lamps.map((_, i) => [0, 1, 2].map((c) => 0.5 + 0.5 * Math.sin(turn / 7 + i + c)));
            painter.paint({weights, factor: 0.2, background: "none", moving});
            wait(painter.canvas);
        };
    } else {
        const quick = moving && kind === "sketch, canvas" ? 192 : side; // 45-preview.js, QUICK_SIDE
        const prepared = iclight.sketch.prepare({color: noise(quick, false), photo: noise(quick), own: [0.2, 0.1],
            background: null, map: noise(512)});
        const painter = new iclight.preview[kind === "sketch, canvas" ? "Plain" : "Card"]();
        redraw = (turn) => {
            const light = {kind: "point", x: 0.5 + 0.4 * Math.sin(turn / 9), y: 0.4, radius: 0.8, color: "#ffd0a0"};
            painter.paint(prepared, {ambient: "#202020", lights: [light, ...presets.sunset.lights]});
            wait(painter.canvas);
        };
    }
    const times = [];
    for (let turn = 0; turn < frames + 5; turn++) {
        const began = performance.now();
        redraw(turn);
        if (turn >= 5) times.push(performance.now() - began);
        await new Promise(requestAnimationFrame);
    }
    return times;
}"""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--card", action="store_true", help="WebGL by the graphics card")
    arguments = parser.parse_args()
    print("| what | pixels | while dragging: median | slowest 5 % | let go: median |\n| --- | --- | --- | --- | --- |")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"),
                                         args=["--no-sandbox", *([] if arguments.card else SOFTWARE)])
        for kind, side in (("desk, WebGL", 1024), ("desk, canvas", 1024), ("sketch, WebGL", 512),
                           ("sketch, canvas", 512)):
            page = browser.new_page()
            for file in page_scripts(assets()):
                page.add_script_tag(content=file.read_text(encoding="utf-8"))
            given = {"kind": kind, "side": side, "frames": arguments.frames, "count": PICTURES,
                     "presets": {name: spec.to_dict() for name, spec in PRESETS.items()}}
            dragged, still = (page.evaluate(MEASURE, {**given, "moving": moving}) for moving in (True, False))
            print(f"| {kind} | {side} x {side} | {np.median(dragged):.1f} ms | {np.percentile(dragged, 95):.1f} ms "
                  f"| {np.median(still):.1f} ms |", flush=True)
            page.close()
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
