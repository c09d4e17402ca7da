"""Where the page's own files lie: `javascript/`, `style.css` and `localizations/`.

A WebUI looks for them at the top of an extension's folder, so in a checkout they lie beside the package; the wheel has
them inside it (pyproject.toml says how).
"""

from __future__ import annotations

from pathlib import Path

INSIDE = "assets_of_page"
"""the folder within the installed package"""


def assets(package: Path = Path(__file__).resolve().parent) -> Path:  # noqa: B008
    """The folder that holds them. package: that of this program."""
    inside = package / INSIDE
    return inside if inside.is_dir() else package.parent
