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


def page_scripts(root: Path) -> list[Path]:
    """All of the page's scripts in the order in which they need each other: that of their names. root: of `assets`.

    A WebUI puts the files of `javascript/` itself into its page, each a request at every opening; those of
    `javascript/later/` javascript/90-panel.js fetches once the panel is opened. Pages of our own have all of them.
    """
    return sorted((root / "javascript").rglob("*.js"), key=lambda file: file.name)


def later_scripts(root: Path) -> list[str]:
    """The addresses of those that are fetched later, from `javascript/` on; each tells when its file was changed."""
    return [f"later/{file.name}?{file.stat().st_mtime}" for file in page_scripts(root) if file.parent.name == "later"]
