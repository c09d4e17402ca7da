"""JSON as people and programs write it: read in one way, wherever it comes from."""

from __future__ import annotations

import json
from typing import Any

from .errors import ICLightError, shown


def read_json(text: str | bytes, what: str, kind: type[ICLightError], advice: str, *, strict: bool = False) -> Any:
    """The value of a JSON text.

    what: begins the sentence ("the light"). advice: a sentence on what to do where it is no JSON. strict: NaN and
    Infinity are refused too, which are no JSON; else whoever checks the value can say where they stand.
    Raises an error of that kind for what is no JSON, and for an object with a name twice: the last one's value would
    count, and whoever wrote both would not hear of it.
    """
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for number, name in enumerate(names) if name in names[:number])
            raise kind(f"{what} has {shown(twice)} twice. Leave one of the two out.")
        return values

    def no_number(name: str) -> Any:
        raise kind(f"{what}: {name} is not a number. {advice}")

    try:
        return json.loads(text, object_pairs_hook=once, parse_constant=no_number if strict else None)
    except (ValueError, RecursionError) as error:  # RecursionError: brackets in brackets in brackets ...
        raise kind(f"{what} is not valid JSON ({error}). {advice}") from error
