"""The core imports no host: read from the source, so that an import inside a function counts too."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HOST_PACKAGES = {"modules", "modules_forge", "backend", "ldm_patched", "ldm", "gradio", "diffusers"}
MAY_IMPORT_HOSTS = (ROOT / "scripts", ROOT / "lib_iclight" / "webui", ROOT / "lib_iclight" / "hosts")
HEAVY = {"onnxruntime", "diffusers", "transformers", "requests"}
SOURCES = sorted([*(ROOT / "lib_iclight").rglob("*.py"), *(ROOT / "scripts").glob("*.py"), ROOT / "install.py"])
NOT_HOSTS = [path for path in SOURCES if ROOT / "lib_iclight" / "hosts" not in path.parents]


def imported(nodes: list[ast.AST]) -> set[str]:
    """Top-level packages that absolute import statements among `nodes` name."""
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_hosts_and_webui_import_hosts(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if not any(folder in path.parents for folder in MAY_IMPORT_HOSTS):
        assert not imported(list(ast.walk(tree))) & HOST_PACKAGES


@pytest.mark.parametrize("path", NOT_HOSTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_heavy_is_imported_at_start(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not imported(tree.body) & HEAVY


def test_the_reader_sees_imports_inside_functions() -> None:
    tree = ast.parse("def f():\n    from modules.shared import opts\n    import gradio as gr\n    from . import job\n")
    assert imported(list(ast.walk(tree))) == {"modules", "gradio"}
