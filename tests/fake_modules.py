"""Puts doubles of a host's modules where imports find them."""

from __future__ import annotations

import sys
import types
from collections.abc import Mapping
from typing import Any

import pytest


def put_modules(monkeypatch: pytest.MonkeyPatch, fakes: Mapping[str, Mapping[str, Any]]) -> None:
    """Let `import name` find a module with these members, for each name, until the test ends. Parents come first."""
    for name, members in fakes.items():
        module = types.ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)


def forget_modules(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Have these modules and those inside them imported anew until the test ends: they hold on to what they found."""
    for name in list(sys.modules):
        if any(name == one or name.startswith(f"{one}.") for one in names):
            monkeypatch.delitem(sys.modules, name)
