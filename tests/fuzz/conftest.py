"""Tells how the cases ended, after the tests."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for the doubles, however pytest is started


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """`fuzz: 1234 cases, 345 normal, 889 named (LightError 700, ...)`; all others have failed their test."""
    from .campaign import COUNTS

    if total := sum(COUNTS.values()):
        named = ", ".join(f"{name} {count}" for name, count in COUNTS.most_common() if name != "normal")
        terminalreporter.write_line(f"fuzz: {total} cases, {COUNTS['normal']} normal, {total - COUNTS['normal']} named "
                                    f"({named})")
