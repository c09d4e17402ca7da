#!/usr/bin/env python3
"""What IC-Light adds to a WebUI's start: python benchmarks/startup.py

A WebUI has imported torch, numpy, Pillow, fastapi and gradio before it comes to its extensions. So this does that
first, in a fresh process each time, and measures what is imported on top: the core, and all that
scripts/iclight.py imports, with stand-ins for the WebUI's own modules.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RUNS = 7
LIMIT = 0.05
"""seconds"""

HOST = """
import sys, time
from unittest.mock import MagicMock
import torch, numpy, PIL.Image, fastapi, gradio
webui = MagicMock()
webui.scripts.Script = object
webui.paths_internal.models_path = "."
for name in ("modules", "modules.processing", "modules.ui_components", "backend", "backend.memory_management",
             "backend.sampling", "backend.sampling.condition"):
    sys.modules[name] = webui
before = set(sys.modules)
start = time.perf_counter()
"""
CASES = {
    "import lib_iclight": "import lib_iclight",
    "import lib_iclight.job": "import lib_iclight.job",
    "scripts/iclight.py": "import runpy; runpy.run_path('scripts/iclight.py')",
}
END = """
took = time.perf_counter() - start
heavy = {"onnxruntime", "diffusers", "transformers", "accelerate", "scipy", "cv2"} & (set(sys.modules) - before)
print(took, *sorted(heavy))
"""


def main() -> int:
    """Print a table; 1 if something takes longer than `LIMIT` or imports what it must not."""
    slow = False
    with tempfile.TemporaryDirectory() as bytecode:  # which a host has after its first start
        for name, code in CASES.items():
            _measured(code, bytecode)
            runs = [_measured(code, bytecode) for _ in range(RUNS)]
            middle, heavy = statistics.median(took for took, _ in runs), runs[0][1]
            slow = slow or middle > LIMIT or bool(heavy)
            print(f"{name:<24} {1000 * middle:6.1f} ms (median of {RUNS}, limit {1000 * LIMIT:.0f} ms)"
                  + (f"; imports {', '.join(heavy)}" if heavy else ""))
    return int(slow)


def _measured(code: str, bytecode: str) -> tuple[float, list[str]]:
    """Seconds, and the heavy packages that came in."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": bytecode, "PYTHONDONTWRITEBYTECODE": ""}
    done = subprocess.run([sys.executable, "-c", HOST + code + END], cwd=ROOT, env=environment,
                          stdout=subprocess.PIPE, text=True, check=True)
    took, *heavy = done.stdout.splitlines()[-1].split()
    return float(took), heavy


if __name__ == "__main__":
    sys.exit(main())
