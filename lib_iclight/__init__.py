"""IC-Light relighting for Stable Diffusion WebUIs and the command line.

The names of `__all__` are what other programs may build on; they are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.2.0"

_FROM = {
    "Session": "session", "Folders": "folders", "Settings": "settings", "Generation": "generation",
    "suited": "generation", "LightSpec": "lights", "light_map": "lights",
    **dict.fromkeys(("ICLightError", "SettingsError", "ImageError", "LightError", "WeightsError", "DownloadError",
                     "MattingError", "CheckpointError", "HostError", "StageError"), "errors"),
}
"""name -> the module that it comes from"""
__all__ = ["__version__", *_FROM]


def __getattr__(name: str) -> Any:
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_FROM[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
