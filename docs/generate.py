"""Writes the parts of the manual that come from the code: python -m docs.generate.

A page says where such a part goes, by `<!-- generated: NAME -->` and `<!-- end -->`, each on a line of its own; what
stands between is written anew. `--check` writes nothing and ends with 1 where a page is not current.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from lib_iclight import errors
from lib_iclight.cli import INSTALLED, parser_of_all
from lib_iclight.fields import Bool, Choice, Kind, Light, List, Name, Number, Picture
from lib_iclight.generation import SAMPLERS, Generation
from lib_iclight.lights import PRESETS
from lib_iclight.matting import DEFAULT, MODELS
from lib_iclight.settings import FIELDS, RECOMMENDED
from lib_iclight.weights import OFFICIAL
from lib_iclight.weights.library import REPOSITORY, REVISION

FOLDER = Path(__file__).resolve().parent
PART = re.compile(r"(?<=<!-- generated: )([\w-]+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)


def main() -> int:
    """Write all pages; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m docs.generate", description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, and fail where a page is not current")
    check = parser.parse_args().check
    stale = []
    for page in sorted(FOLDER.glob("*.md")):
        text = page.read_text("utf-8")
        made = generated(text)
        if made != text:
            stale.append(page.name)
            if not check:
                page.write_text(made, "utf-8")
    sys.stdout.write(f"{'not current' if check else 'written'}: {', '.join(stale) or 'nothing'}\n")
    return int(check and bool(stale))


def generated(text: str) -> str:
    """A page's text with its parts as the code is now. Raises KeyError for a part that there is not."""
    return PART.sub(lambda found: f"{found[1]}{found[2]}\n{PARTS[found[1]]()}\n\n", text)


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table; a bar in a cell is escaped."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in row) + " |"
                     for row in lines)


def settings() -> str:
    """Every setting."""
    return table(("setting", "values", "default", "what it does"),
                 ((f"`{field.name}`", values(field.kind), code(field.kind.to_json(field.default)), field.help)
                  for field in FIELDS))


def values(kind: Kind) -> str:
    """What a setting may be, in words."""
    if isinstance(kind, Bool):
        return "true, false"
    if isinstance(kind, Number):
        return f"{kind.minimum:g} to {kind.maximum:g}"
    if isinstance(kind, Picture):
        return "picture, or null"
    if isinstance(kind, Light):
        return "a preset's name, a light spec, or `from background`"
    if isinstance(kind, List):
        return "list of " + ", ".join(map(code, kind.choices))
    if isinstance(kind, Choice):
        return ", ".join(map(code, kind.choices))
    assert isinstance(kind, Name), "no other kind"
    return "a name"


def code(value: object) -> str:
    """A value as code; JSON's words."""
    words: Mapping[str, str] = {"None": "null", "True": "true", "False": "false", "[]": "[]"}
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return f"`{words.get(text, text)}`"


def generation() -> str:
    """Every choice of a generation beside the settings, as the command line and Python have it."""
    fields = dataclasses.fields(Generation)
    return table(("choice", "default"), ((f"`{one.name}`", code(one.default)) for one in fields)) + (
        f"\n\nSamplers: {', '.join(SAMPLERS)}.")


def recommended() -> str:
    """What IC-Light's own demo takes, by mode."""
    return table(("mode", "steps", "CFG", "size", "sampler", "hires denoise"),
                 ((f"`{mode}`", best.steps, f"{best.cfg:g}", f"{best.width} x {best.height}",
                   f"{best.sampler} {best.scheduler}", f"{best.denoise:g}") for mode, best in RECOMMENDED.items()))


def presets() -> str:
    """Every preset, as a spec."""
    def lamp(one: dict[str, Any]) -> str:
        place = ("from {angle:g}°" if one["kind"] == "directional" else "a lamp at ({x:g}, {y:g}), radius {radius:g}")
        more = [one["color"] if one["color"] != "#ffffff" else "",
                *(f"{name} {one[name]:g}" for name, usual in (("intensity", 1), ("hole", 0))
                  if one.get(name, usual) != usual)]
        return " ".join([place.format(**one), *([f"({', '.join(filter(None, more))})"] if any(more) else [])])

    def told(name: str) -> str:
        spec = PRESETS[name].to_dict()
        lights = spec.get("lights", [])
        lamps = ", ".join(map(lamp, lights))
        return "; ".join(filter(None, [f"ambient {spec['ambient']}" if "ambient" in spec else "", lamps])) or "no light"

    return table(("preset", "light"), ((f"`{name}`", told(name)) for name in PRESETS))


def error_kinds() -> str:
    """Every kind of error."""
    kinds = [kind for kind in vars(errors).values()
             if isinstance(kind, type) and issubclass(kind, errors.ICLightError) and kind is not errors.ICLightError]
    return table(("error", "meaning"), ((f"`{kind.__name__}`", (kind.__doc__ or "").strip()) for kind in kinds))


def weights() -> str:
    """IC-Light's published files."""
    rows = ((f"`{kind}`", f"`{file.name}`", f"`{file.sha256}`") for kind, file in OFFICIAL.items())
    return table(("mode", "file", "SHA-256"), rows) + (
        f"\n\nThey come from `{REPOSITORY}` on the Hugging Face hub, revision `{REVISION}`.")


def cutouts() -> str:
    """The known cut-out models."""
    return table(("model", "input", "to know"),
                 ((f"`{name}`", f"{model.side} x {model.side}",
                   ("what `auto` takes" if name == DEFAULT else model.notice)) for name, model in MODELS.items()))


def commands() -> str:
    """Every command with its flags, from argparse's own description of them."""
    [choices] = [action for action in parser_of_all()._actions if isinstance(action, argparse._SubParsersAction)]
    parts = []
    for name, parser in choices.choices.items():
        flags = [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]
        parts.append(f"### {name}\n\n{parser.description}\n\n    {usage(name, flags)}")
        titled = {action.dest: group.title for group in parser._action_groups[2:] for action in group._group_actions}
        for title in dict.fromkeys(titled.get(flag.dest, "") for flag in flags):
            rows = [(flag_names(flag), help_of(flag)) for flag in flags if titled.get(flag.dest, "") == title]
            parts.append((f"**{str(title).capitalize()}**\n\n" if title else "") + table(("flag", "meaning"), rows))
    return "\n\n".join(parts)


def usage(name: str, flags: Iterable[argparse.Action]) -> str:
    """A command's line, without the flags that may be left away."""
    words = [INSTALLED, name]
    for flag in flags:
        if not flag.option_strings:
            words.append(str(flag.metavar) if flag.nargs != "?" else f"[{flag.metavar}]")
        elif flag.required:
            words.append(f"{flag.option_strings[0]} {flag.metavar}")
    return " ".join([*words, "[FLAGS]"])


def flag_names(flag: argparse.Action) -> str:
    """A flag as it is typed."""
    value = f" {flag.metavar}" if flag.metavar and flag.nargs != 0 else ""
    if isinstance(flag.choices, Iterable) and not flag.metavar:
        value = " {" + ",".join(map(str, flag.choices)) + "}"
    return f"`{', '.join(flag.option_strings)}{value}`" if flag.option_strings else f"`{flag.metavar}`"


def help_of(flag: argparse.Action) -> str:
    """A flag's help, its default filled in, angles and the like as plain text."""
    text = (flag.help or "") % {"default": flag.default, "prog": INSTALLED}
    return text.replace("<", "&lt;")


PARTS: Mapping[str, Callable[[], str]] = {
    "settings": settings, "generation": generation, "recommended": recommended, "presets": presets,
    "errors": error_kinds, "weights": weights, "cut-outs": cutouts, "commands": commands}


if __name__ == "__main__":
    sys.exit(main())
