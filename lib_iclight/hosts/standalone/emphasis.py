"""Prompts as WebUIs read them: `(more)`, `(much more:1.5)`, `[less]`, `\\(a bracket\\)`, BREAK.

The meaning is that of AUTOMATIC1111's WebUI (its wiki, "Features: Attention/emphasis"). What those know beside it and
this does not - prompt editing, alternating words, AND - is refused, not taken for text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

from ...errors import SettingsError, shown

STRONGER = 1.1
"""what a pair of round brackets does to the weight of all inside; square ones divide by it"""

_SIGN = re.compile(r"\\(?P<escaped>[()\[\]\\]?)|:\s*(?P<weight>[+-]?[.\d]+)\s*\)|(?P<bracket>[()\[\]])|:|[^\\()\[\]:]+")
_BREAK = re.compile(r"\s*\bBREAK\b\s*")
_EDITING = re.compile(r"(?<!\\)\[[^\[\]]*(?::\s*[\d.]+\s*|\|[^\[\]]*)(?<!\\)\]")
_AND = re.compile(r"\bAND\b")


class Part(NamedTuple):
    """Words of one weight; of those on both sides of a `BREAK`, each go to the text encoder on their own."""

    text: str
    weight: float = 1.0
    is_break: bool = False


BREAK = Part("", 1.0, True)


def parts_of(prompt: str) -> list[Part]:
    """The prompt's parts in their order, at least one; neighbours of the same weight are one part.

    Brackets that are never closed reach to the end, and those that were never opened are text.
    Raises SettingsError for what cannot be done here, and for a weight that is no number.
    """
    _refuse(prompt)
    found: list[Part] = []
    opened: dict[str, list[int]] = {"(": [], "[": []}

    def weigh(begin: int, factor: float) -> None:
        found[begin:] = [part._replace(weight=part.weight * factor) for part in found[begin:]]

    for sign in _SIGN.finditer(prompt):
        bracket = sign["bracket"]
        if sign["escaped"] is not None:
            found.append(Part(sign["escaped"]))
        elif bracket in opened:
            opened[bracket].append(len(found))
        elif sign["weight"] is not None and opened["("]:
            weigh(opened["("].pop(), _number(sign["weight"], prompt))
        elif bracket == ")" and opened["("]:
            weigh(opened["("].pop(), STRONGER)
        elif bracket == "]" and opened["["]:
            weigh(opened["["].pop(), 1 / STRONGER)
        else:
            found += _split(sign[0])
    for bracket, factor in (("(", STRONGER), ("[", 1 / STRONGER)):
        for begin in opened[bracket]:
            weigh(begin, factor)
    return list(_joined(found)) or [Part("")]


def _split(text: str) -> Iterator[Part]:
    first, *rest = _BREAK.split(text)
    yield Part(first)
    for piece in rest:
        yield BREAK
        yield Part(piece)


def _joined(parts: list[Part]) -> Iterator[Part]:
    for weight, same in groupby(parts, lambda part: None if part.is_break else part.weight):
        if weight is None:
            yield from same
        else:
            yield Part("".join(part.text for part in same), weight)


def _number(text: str, prompt: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise SettingsError(f"the prompt {shown(prompt)} has the weight {text!r}, which is no number. Write it as in "
                            "(word:1.3).") from None


def _refuse(prompt: str) -> None:
    """Raise SettingsError for what WebUIs would do with it and this cannot."""
    edited = _EDITING.search(prompt)
    if edited:
        raise SettingsError(f"the prompt has {shown(edited[0])}: words that change while a picture is made are not "
                            "known here. Take one of them, or write \\[ for a bracket.")
    if _AND.search(prompt):
        raise SettingsError("the prompt has AND in capitals, which in WebUIs joins two prompts, and here cannot. "
                            "Write it small, or as a comma.")
