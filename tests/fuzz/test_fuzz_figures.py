"""The campaign's figures reach whoever reads the terminal, also from the workers of pytest-xdist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .campaign import LONG

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "workers"])
def test_the_figures_are_told(workers: list[str]) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", LONG))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/fuzz/test_fuzz_values.py", "-k", "infotexts", *workers],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    [line] = [line for line in done.stdout.splitlines() if line.startswith("fuzz: ")]
    cases, normal, named, other = map(int, re.findall(r"\d+", re.sub(r"\(.*\)", "", line)))
    assert done.returncode == 0 and cases == normal + named + other >= 300 and other == 0 and named > 0, line
