"""Axes for the host's X/Y/Z plot."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from modules import scripts

from ..settings import FIELD, Field

AXES = ("mode", "light", "light_denoise", "preserve_color", "preserve_detail")


def add_axes() -> None:
    """Add IC-Light's axes to the host's X/Y/Z plot, once; a host without the plot stays as it is."""
    plots = [data.module for data in scripts.scripts_data
             if os.path.basename(data.path) == "xyz_grid.py" and hasattr(data.module, "AxisOption")]
    for plot in plots:
        known = {option.label for option in plot.axis_options}
        for field in (FIELD[name] for name in AXES):
            label = f"[IC-Light] {field.label}"
            if label not in known:
                kind = field.kind
                choices = (lambda found=kind.choices: list(found)) if kind.choices else None
                plot.axis_options.append(plot.AxisOption(label, kind.text_type, _override(field), choices=choices))


def _override(field: Field) -> Callable[[Any, Any, Any], None]:
    def apply(p: Any, value: Any, values: Any) -> None:
        p.iclight_overrides = {**getattr(p, "iclight_overrides", {}), field.name: value}

    return apply
