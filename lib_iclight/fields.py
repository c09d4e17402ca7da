"""The kinds of settings: what each takes, and how it is written as JSON, in a JSON Schema and as text.

A kind is all that the panel, the API, the command line, the infotext and an X/Y/Z plot need to know of a setting's
values. Nothing here knows any of them.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from .errors import SettingsError, shown
from .lights import LightSpec, parse_light


@dataclass(frozen=True)
class Kind(ABC):
    """Base of the kinds."""

    choices: tuple[str, ...] = ()
    """values to offer; `Choice` and `List` take no others"""

    text_type: ClassVar[type[str] | type[float]] = str
    """Python's type that reads one value from text; for a float, X/Y/Z plots offer ranges"""

    @abstractmethod
    def check(self, name: str, value: Any) -> Any:
        """The value in its canonical form. Raises SettingsError or LightError, which name the setting."""

    @abstractmethod
    def schema(self) -> dict[str, Any]:
        """What a value may be, as JSON Schema keywords (draft 2020-12)."""

    def to_json(self, value: Any) -> Any:
        """A checked value as plain JSON, which `check` takes back."""
        return value

    def to_text(self, value: Any) -> str | float | bool:
        """A checked value as an infotext has it: text, or what hosts and `str` write in the one way."""
        text: str | float | bool = value
        return text

    def from_text(self, text: str) -> Any:
        """What `text` stands for in an infotext or on a command line, for `check`. Raises ValueError for no value."""
        return text


@dataclass(frozen=True)
class Bool(Kind):
    """True or false."""

    def check(self, name: str, value: Any) -> bool:
        if not isinstance(value, bool):
            raise _refused(name, value, "true or false")
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}

    def from_text(self, text: str) -> bool:
        return text.strip().lower() == "true"


@dataclass(frozen=True)
class Choice(Kind):
    """One of `choices`."""

    def check(self, name: str, value: Any) -> str:
        if not isinstance(value, str) or value not in self.choices:
            raise _refused(name, value, "one of " + ", ".join(self.choices))
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "enum": list(self.choices)}


@dataclass(frozen=True)
class Name(Kind):
    """Free text that names a file or a model, never a path."""

    def check(self, name: str, value: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            raise _refused(name, value, "a name")
        if set(value) & set("/\\:\0") or value in (".", ".."):
            raise _refused(name, value, "a plain file or model name, never a path")
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "string"}


@dataclass(frozen=True)
class Number(Kind):
    """A number from `minimum` to `maximum`, both included; kept as a float."""

    minimum: float = 0.0
    maximum: float = 1.0
    step: float = 0.01
    """of a slider; values between are taken too"""

    text_type: ClassVar[type[str] | type[float]] = float

    def check(self, name: str, value: Any) -> float:
        low, high = self.minimum, self.maximum
        # Written so that NaN fails it, and integers too large for a float never become one.
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise _refused(name, value, f"a number from {low:g} to {high:g}")
        return float(value)

    def schema(self) -> dict[str, Any]:
        return {"type": "number", "minimum": self.minimum, "maximum": self.maximum}

    def from_text(self, text: str) -> float:
        return float(text)


@dataclass(frozen=True)
class Picture(Kind):
    """Any picture form that `imaging.load_image` takes, kept as it came, or None. Has neither JSON nor text of its own.

    A str is base64, never a path: what comes over the API must not read files. A `Path` does.
    """

    def check(self, name: str, value: Any) -> Any:
        if value is None or (isinstance(value, str) and value == ""):
            return None
        if isinstance(value, (str, bytes, Path)) or hasattr(value, "__array_interface__") or hasattr(value, "convert"):
            return value
        raise _refused(name, value, "a picture (base64, a data URI, a path, a PIL image or an array) or null")

    def schema(self) -> dict[str, Any]:
        return {"type": ["string", "null"], "contentEncoding": "base64"}


FROM_BACKGROUND = "from background"
"""in a light's place: it is looked up in the background picture when the job is made"""


@dataclass(frozen=True)
class Light(Kind):
    """A preset's name, among `choices`, or a light spec: a `LightSpec`, or its JSON as an object or as text.

    `FROM_BACKGROUND` stands for the spec that will be found.
    """

    def check(self, name: str, value: Any) -> str | LightSpec:
        if isinstance(value, str) and value.strip() == FROM_BACKGROUND:
            return FROM_BACKGROUND
        return parse_light(value)

    def to_json(self, value: str | LightSpec) -> Any:
        return value.to_dict() if isinstance(value, LightSpec) else value

    def schema(self) -> dict[str, Any]:
        return {"type": ["string", "object"], "examples": list(self.choices)}

    def to_text(self, value: str | LightSpec) -> str:
        return json.dumps(value.to_dict(), separators=(",", ":")) if isinstance(value, LightSpec) else value


@dataclass(frozen=True)
class List(Kind):
    """Any of `choices`, each at most once, kept in their order. As text joined by `+`; commas are read too."""

    def check(self, name: str, value: Any) -> tuple[str, ...]:
        wanted = "a list of " + ", ".join(self.choices)
        if not isinstance(value, (list, tuple)):
            raise _refused(name, value, wanted)
        for item in value:
            if item not in self.choices:
                raise _refused(name, item, wanted)
        return tuple(choice for choice in self.choices if choice in value)

    def to_json(self, value: tuple[str, ...]) -> list[str]:
        return list(value)

    def schema(self) -> dict[str, Any]:
        return {"type": "array", "items": {"type": "string", "enum": list(self.choices)}, "uniqueItems": True}

    def to_text(self, value: tuple[str, ...]) -> str:
        return "+".join(value)

    def from_text(self, text: str) -> list[str]:
        return [word.strip() for word in re.split("[+,]", text) if word.strip()]


def _refused(name: str, value: Any, wanted: str) -> SettingsError:
    return SettingsError(f"{name} must be {wanted}, not {shown(value)}.")
