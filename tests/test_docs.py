"""The manual: current where it comes from the code, whole, without dead links, and a site that builds strictly."""

from __future__ import annotations

import argparse
import importlib.util
import inspect
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from lib_iclight import errors
from lib_iclight.cli import COMMANDS, parser_of_all
from lib_iclight.errors import ICLightError, SettingsError
from lib_iclight.lights import PRESETS
from lib_iclight.matting import MODELS
from lib_iclight.session import Session
from lib_iclight.settings import FIELDS
from lib_iclight.webui.api import add_routes

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = {page.name: page.read_text("utf-8") for page in sorted(DOCS.glob("*.md"))}
OTHERS = [ROOT / name for name in ("README.md", "README.zh-CN.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md",
                                   "ARCHITECTURE.md", "benchmarks/README.md", "training/README.md")]
ALL = "\n".join(PAGES.values())
STABLE = ("getting-started", "panel", "light-editor", "cut-outs", "keep", "stage", "preview", "api", "cli", "python",
          "hosts", "weights", "faq", "glossary", "architecture", "how-it-works")
"""pages that other places link to"""

def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", PAGES)
def test_generated_parts_are_current(name: str) -> None:
    assert generator().generated(PAGES[name]) == PAGES[name], "`python -m docs.generate` writes them anew"


def test_a_part_that_is_not_current_is_seen() -> None:
    stale = PAGES["api.md"].replace("`light_denoise` | 0.05 to 1", "`light_denoise` | 0.1 to 1")
    assert stale != PAGES["api.md"] and generator().generated(stale) == PAGES["api.md"]
    with pytest.raises(KeyError):
        generator().generated("<!-- generated: nothing -->\n<!-- end -->")


def named(name: str, text: str = ALL) -> bool:
    """Whether a text has a name as code, alone or with what belongs to it."""
    return re.search(rf"`[^`\n]*(?<![\w-]){re.escape(name)}(?![\w-])[^`\n]*`", text) is not None


@pytest.mark.parametrize("name", [field.name for field in FIELDS])
def test_every_setting_is_named(name: str) -> None:
    assert named(name, PAGES["api.md"])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_named(name: str) -> None:
    assert re.search(rf"^### {name}$", PAGES["cli.md"], re.MULTILINE)


def test_every_flag_is_named() -> None:
    [commands] = [one for one in parser_of_all()._actions if isinstance(one, argparse._SubParsersAction)]
    flags = {flag for parser in commands.choices.values() for action in parser._actions
             for flag in action.option_strings} - {"-h", "--help"}
    assert not [flag for flag in flags if not named(flag, PAGES["cli.md"])]


def test_every_preset_model_and_error_is_named() -> None:
    kinds = [name for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, ICLightError)]
    assert len(kinds) > 9
    unnamed = [name for name in (*PRESETS, *MODELS, *kinds) if not named(name)]
    assert not unnamed, "`python -m docs.generate` brings them into the manual"


def test_every_route_is_named() -> None:
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    add_routes(app, Session())
    routes = [f"{method} {route.path}" for route in app.routes if isinstance(route, APIRoute)
              for method in route.methods]
    assert len(routes) >= 3
    assert not [route for route in routes if f"`{route}`" not in PAGES["api.md"]]


def lines_of_commands() -> list[tuple[str, str]]:
    """Every call of ours in a block of code of the pages and the README, with its page."""
    found = []
    for name, text in {**PAGES, **{str(one): one.read_text("utf-8") for one in OTHERS if one.is_file()}}.items():
        blocks = [*re.findall(r"```\w*\n(.*?)```", text, re.DOTALL), *re.findall(r"^ {4}.*$", text, re.MULTILINE)]
        for line in "\n".join(blocks).splitlines():
            words = re.sub(r"\s+#.*", "", line.strip()).removeprefix("python -m lib_iclight ").removeprefix("iclight ")
            if words != re.sub(r"\s+#.*", "", line.strip()) and "[" not in words and "..." not in words.split():
                found.append((name, words))
    return found


def test_every_command_line_in_the_pages_is_one() -> None:
    found = lines_of_commands()
    assert len(found) > 15
    for page, words in found:
        try:
            parser_of_all().parse_args(shlex.split(words))
        except SettingsError as error:
            pytest.fail(f"{page}: {words}: {error}")


def test_the_links_of_other_pages_lead_somewhere() -> None:
    dead = [f"{page.name}: {target}" for page in OTHERS if page.is_file()
            for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text("utf-8"))
            if not (page.parent / target).exists()]
    assert not dead


def test_pages_keep_their_names_and_are_in_the_navigation() -> None:
    assert {f"{name}.md" for name in STABLE} <= set(PAGES)
    navigation = re.findall(r"([\w-]+\.md)", (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:")[2])
    assert len(set(navigation)) == len(navigation)
    assert set(PAGES) == set(navigation), "each page of docs/ has a line under nav in mkdocs.yml, and no other"


def built(top: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """The site of the mkdocs.yml in `top`. With --quiet warnings would not count (mkdocs 1.6)."""
    return subprocess.run([sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site),
                           "--config-file", str(top / "mkdocs.yml")],
                          capture_output=True, text=True, check=False, cwd=top)


def test_the_start_leads_to_every_page() -> None:
    missing = [name for name in PAGES if f"({name})" not in PAGES["index.md"]]
    assert missing == ["index.md"], "name the page in the table of docs/index.md"


@pytest.mark.parametrize("text", ["[dead](nowhere.md)", "[dead](index.md#nowhere)", "![dead](images/nowhere.webp)",
                                  "[out](../README.md)"])
def test_a_dead_link_of_a_page_is_seen(text: str, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(f"# Start\n\n{text}\n", "utf-8")
    config = (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:")[0]
    (tmp_path / "mkdocs.yml").write_text(f"{config}\nnav: [index.md]\n", "utf-8")
    done = built(tmp_path, tmp_path / "site")
    assert done.returncode != 0 and re.search("index.md.*(nowhere|README)", done.stderr), done.stderr


def test_the_site_builds_strictly(tmp_path: Path) -> None:
    """Dead links, anchors and pages that are nowhere are warnings, and so errors."""
    done = built(ROOT, tmp_path / "site")
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {page.stem for page in (tmp_path / "site").glob("*.html")}
    assert {Path(name).stem for name in PAGES} <= pages
    start = (tmp_path / "site" / "index.html").read_text("utf-8")
    assert not re.findall(r'<(?:script|link)[^>]+(?:src|href)="https?://', start), "nothing is asked of other servers"
    assert not list((tmp_path / "site").glob("*.py"))


# --- the README in other languages ----------------------------------------------------------------------------------

ENGLISH = "README.md"
TRANSLATED = {"README.zh-CN.md": "zh_CN"}
"""file -> the localization whose words it names the panel's controls by"""


def skeleton(text: str) -> dict[str, list[str]]:
    """What a translation has in common with its original: all that is no prose, in its order."""
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", prose) if not link.startswith("README")]
    return {"headings": re.findall(r"^#+(?= )", prose, re.MULTILINE), "links": links,
            "code blocks": re.findall(r"```.*?```", text, re.DOTALL),
            "rows": [str(row.count("|")) for row in re.findall(r"^\|.*\|$", prose, re.MULTILINE)],
            "list": re.findall(r"^\d+\.(?= )", prose, re.MULTILINE),
            "pictures": re.findall(r"!\[[^]]+\]\(([^)]+)\)", prose),
            "code": sorted(set(re.findall(r"`([^`\n]+)`", prose)))}


def unlike(text: str, original: str) -> list[str]:
    """In what a translation is not as its original."""
    ours, theirs = skeleton(text), skeleton(original)
    return [part for part in theirs if ours[part] != theirs[part]]


@pytest.mark.parametrize("name", TRANSLATED)
def test_a_translated_readme_has_what_the_original_has(name: str) -> None:
    text, original = ((ROOT / one).read_text("utf-8") for one in (name, ENGLISH))
    ours, theirs = skeleton(text), skeleton(original)
    told = {part: [one for one in theirs[part] if one not in ours[part]] for part in unlike(text, original)}
    assert not told, f"{name} has other parts than {ENGLISH}, or in another order; it lacks {told}"
    assert f"]({name})" in original and f"]({ENGLISH})" in text, "each leads to the other"


@pytest.mark.parametrize("name", TRANSLATED)
def test_a_translation_that_is_behind_is_seen(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    for part, changed in {
        "headings": text.replace("\n## ", "\n", 1), "code blocks": text.replace("iclight doctor\n", ""),
        "links": text.replace("docs/faq.md", "docs/hosts.md"), "rows": re.sub(r"\n\| [^\n]+docs/size[^\n]+", "", text),
        "list": text.replace("\n3. ", "\n"), "code": text.replace("`bria-rmbg`", "bria"),
        "pictures": text.replace("images/pocket.webp", "images/panel.webp"),
    }.items():
        assert part in unlike(changed, (ROOT / ENGLISH).read_text("utf-8")), part


@pytest.mark.parametrize(("name", "language"), TRANSLATED.items())
def test_a_translated_readme_calls_things_as_the_page_does(name: str, language: str) -> None:
    """What the English README sets in italics of the panel's own labels."""
    words = json.loads((ROOT / "localizations" / f"{language}.json").read_text("utf-8"))
    text, original = ((ROOT / one).read_text("utf-8") for one in (name, ENGLISH))
    labels = [label for label in re.findall(r"(?<!\*)\*([^*\n]+)\*(?!\*)", original) if label in words]
    assert len(labels) >= 5
    assert not [label for label in labels if f"*{words[label]}*" not in text]
