"""Imports point down only: read from the source, so that an import inside a function counts too.

Of this project's own modules each may import those of lower layers and of its own package; of other people's, only the
outermost may import a host's, and nothing heavy is imported at the start.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LIB = ROOT / "lib_iclight"
LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "progress", "color", "cache", "console", "files", "assets", "locks"),
    ("jsontext",),
    ("imaging", "transfer", "folders"),
    ("download",),
    ("lights", "matting", "weights"),
    ("preserve", "fields"),
    ("settings",),
    ("generation", "subject", "effects", "frame", "preview", "made"),
    ("laid", "infotext", "lightfrom"),
    ("fullsize",),
    ("job", "instant"),
    ("stage",),
    ("hosts",),
    ("session",),
    ("doctor", "batch"),
    ("cli", "panel", "demo"),
    ("studio", "webui"),
)
"""the parts of lib_iclight from the bottom up; those in a row do not know each other"""
HEIGHT = {part: height for height, layer in enumerate(LAYERS) for part in layer}
FREE = {"lib_iclight", "__main__"}
"""the package itself, which offers names of all layers, and what starts a command"""

HOST_PACKAGES = {"modules", "modules_forge", "backend", "ldm_patched", "ldm", "gradio", "diffusers"}
MAY_IMPORT_HOSTS = [ROOT / "scripts", *(LIB / part for part in ("webui", "panel", "studio", "hosts"))]
HEAVY = {"onnxruntime", "diffusers", "transformers", "requests"}
SOURCES = sorted([*LIB.rglob("*.py"), *(ROOT / "scripts").glob("*.py"), ROOT / "install.py"])
NOT_HOSTS = [path for path in SOURCES if LIB / "hosts" not in path.parents]


def packages(nodes: Iterable[ast.AST]) -> set[str]:
    """Top-level packages that absolute import statements among `nodes` name."""
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


def parts(tree: ast.AST, module: tuple[str, ...], is_package: bool) -> set[str]:
    """The parts of lib_iclight that `module` (its name in pieces) imports; "lib_iclight" for the package itself."""
    found: set[str] = set()
    base = module if is_package else module[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = base[:len(base) - node.level + 1] if node.level else ()
            start += tuple((node.module or "").split(".")) if node.module else ()
            names = [(*start, alias.name) for alias in node.names]
        else:
            continue
        for name in names:
            if name[0] == "lib_iclight":
                known = len(name) > 1 and ((LIB / name[1]).is_dir() or (LIB / f"{name[1]}.py").is_file())
                found.add(name[1] if known else "lib_iclight")
    return found


def module_of(path: Path) -> tuple[tuple[str, ...], bool]:
    """A file's dotted name in pieces, and whether it is a package's."""
    pieces = path.relative_to(ROOT).with_suffix("").parts
    return (pieces[:-1], True) if pieces[-1] == "__init__" else (pieces, False)


@pytest.mark.parametrize("path", sorted(LIB.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    module, is_package = module_of(path)
    own = module[1] if len(module) > 1 else "lib_iclight"
    if own in FREE:
        return
    assert own in HEIGHT, f"{own} has no place among the layers: give it one in LAYERS"
    imported = parts(ast.parse(path.read_text(encoding="utf-8")), module, is_package) - {own, "lib_iclight"}
    above = [part for part in imported if HEIGHT[part] >= HEIGHT[own]]
    assert not above, f"{own} may import lower layers only: move down what it needs of {above}, or see LAYERS"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_outermost_import_hosts(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if not any(folder in path.parents for folder in MAY_IMPORT_HOSTS):
        assert not packages(list(ast.walk(tree))) & HOST_PACKAGES


@pytest.mark.parametrize("path", NOT_HOSTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_heavy_is_imported_at_start(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not packages(tree.body) & HEAVY


@pytest.mark.parametrize("path", sorted(LIB.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 350, "a part of it wants a module of its own"


def test_the_readers_see_imports_inside_functions() -> None:
    tree = ast.parse("def f():\n    from modules.shared import opts\n    import gradio as gr\n    from . import job\n"
                     "    from ..errors import HostError\n    from .. import __version__\n")
    assert packages(list(ast.walk(tree))) == {"modules", "gradio"}
    assert parts(tree, ("lib_iclight", "hosts", "base"), False) == {"hosts", "errors", "lib_iclight"}
    assert parts(tree, ("lib_iclight", "job"), False) == {"job"}
