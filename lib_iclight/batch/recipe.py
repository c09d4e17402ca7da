"""What one picture of a batch is to become: settings and generation by their names, as a person gave them."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from .. import infotext, jsontext
from ..cache import LRU, content_key
from ..effects import check_background, start_of
from ..errors import ICLightError, SettingsError, hint, kind_name, shown
from ..fields import Bool
from ..files import text as text_of
from ..generation import Generation, suited
from ..imaging import read_picture
from ..imaging.decode import opened
from ..imaging.load import upright_size
from ..imaging.save import check_text
from ..settings import FIELD, FIELDS, PICTURES, Settings

SETTINGS = tuple(one.name for one in FIELDS if one.name not in ("enabled", "foreground"))
"""settings that a recipe may hold: a batch always relights, and brings the foregrounds"""
GENERATION: Mapping[str, dataclasses.Field[Any]] = {one.name: one for one in dataclasses.fields(Generation)}
KNOWN = (*SETTINGS, *GENERATION)
SEEDS = 2**32
_ROOM = " " * 200
"""what an infotext has beside what is known beforehand: the key, names of checkpoint and LoRAs"""

Read = Callable[[Path, str], bytes]
"""(path, what the picture is) -> the bytes of its file; raises ImageError"""


class Suit(Protocol):
    """What completes a generation: `generation.suited`, or a session's own."""

    def __call__(self, given: Mapping[str, Any], mode: str, *, picture: tuple[int, int] | None = None) -> Generation:
        """picture: width and height of the foreground."""
        ...


@dataclass(frozen=True)
class Recipe:
    """Values by the names in `KNOWN`; what is not named takes what suits. Pictures are paths."""

    values: Mapping[str, Any] = field(default_factory=dict)

    def updated(self, more: Mapping[str, Any]) -> Recipe:
        """The recipe with other values on top."""
        return Recipe({**self.values, **more}) if more else self

    @property
    def pictures(self) -> dict[str, Path]:
        """The pictures that it names, by setting."""
        return {name: self.values[name] for name in PICTURES if isinstance(self.values.get(name), Path)}

    @property
    def generation_values(self) -> dict[str, Any]:
        """What is given of the generation."""
        return {name: value for name, value in self.values.items() if name in GENERATION and value is not None}

    def settings(self, foreground: object, read: Read) -> Settings:
        """The settings of one picture. Raises ICLightErrors."""
        given = {name: value for name, value in self.values.items() if name in SETTINGS}
        given |= {name: read(path, name.replace("_", " ")) for name, path in self.pictures.items()}
        return Settings(enabled=True, foreground=foreground, **given)

    def generation(self, mode: str, suit: Suit = suited, picture: bytes | None = None) -> Generation:
        """The generation of one picture: what `suit` makes of the values that are given. picture: its file.

        Raises SettingsError, and ImageError for what is no picture's file where its size counts.
        """
        given = self.generation_values
        follows = picture is not None and "width" not in given and "height" not in given
        return suit(given, mode, picture=upright_size(picture) if picture is not None and follows else None)

    def check(self, suit: Suit = suited, ending: str = ".png") -> None:
        """Raise an ICLightError for what cannot be meant whatever the picture is. Reads headers of pictures only.

        ending: of the results, which have to carry the settings.
        """
        for name, path in self.pictures.items():
            opened(path, name.replace("_", " "), str(path)).close()
        settings = self.settings(Path("foreground"), lambda path, what: b"")
        start_of(settings)
        check_background(settings)
        generation = self.generation(settings.mode, suit)
        check_text(infotext.write(settings.to_infotext(), generation, generation.seed, "") + _ROOM, ending)

    def text(self) -> str:
        """Its values as one line of JSON, which two recipes share only if they ask for the same."""
        plain = {name: _plain(name, value) for name, value in self.values.items()}
        return json.dumps(plain, sort_keys=True, default=str)


class Pictures:
    """Reads backgrounds, masks and light maps; the last few stay in memory, for many pictures share one.

    memory: bytes that are kept.
    """

    def __init__(self, memory: int = 64 * 2**20) -> None:
        self._kept: LRU[bytes] = LRU(memory, len)
        self._lock = threading.Lock()

    def read(self, path: Path, what: str) -> bytes:
        """The bytes of a picture's file. Raises ImageError."""
        with self._lock:
            return self._kept.get(path, lambda: read_picture(path, what))


def meant(settings: Settings) -> dict[str, Any]:
    """What of the settings makes the picture, as JSON values: those that are not the default, pictures by content.

    Defaults are left out, so that a setting that a later version adds does not make every picture anew.
    """
    told: dict[str, Any] = {}
    for one in FIELDS:
        value = getattr(settings, one.name)
        if one.name in ("enabled", "foreground") or value is None:
            continue
        if one.name in PICTURES:
            told[one.name] = content_key(value)
        elif value != one.default:
            told[one.name] = one.kind.to_json(value)
    return told


def from_json(values: Any, folder: Path, where: str) -> dict[str, Any]:
    """The recipe's values in a JSON object; pictures are paths from `folder`. Raises SettingsError, which says `where`.

    `enabled` may be among them, as in an API's request, and must be true.
    """
    if not isinstance(values, dict):
        raise SettingsError(f"{where} must hold one JSON object, not {kind_name(values)}. "
                            "Write {\"light\": \"left\", \"prompt\": \"...\"}.")
    found: dict[str, Any] = {}
    for name, value in values.items():
        if name == "enabled" and value is True:
            continue
        check_name(name, where)
        if name in PICTURES and value is not None:
            if not isinstance(value, str) or not value:
                raise SettingsError(f"{where}: {name} must be the path of a picture, or null.")
            value = folder / value
        found[name] = value
    return found


def from_texts(values: Mapping[str, str], folder: Path, where: str) -> dict[str, Any]:
    """The recipe's values of texts, as of a table's row; see `from_json`."""
    found: dict[str, Any] = {}
    for name, text in values.items():
        check_name(name, where)
        found[name] = _from_text(name, text, folder, where)
    return found


def load_json(path: Path, what: str) -> Any:
    """What a JSON file holds. Raises SettingsError, which says `what`."""
    try:
        text = text_of(path, "utf-8-sig")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SettingsError(f"{what} {path} cannot be read ({reason}). Give a file of JSON.") from error
    return jsontext.read_json(text, f"{what} {path}", SettingsError, "Give a file of JSON.")


def check_all(recipes: Iterable[tuple[str, Recipe]], suit: Suit = suited, ending: str = ".png") -> None:
    """`Recipe.check` for each that differs; errors begin with the text that comes with the recipe."""
    seen: set[str] = set()
    for where, recipe in recipes:
        text = recipe.text()
        if text in seen:
            continue
        seen.add(text)
        try:
            recipe.check(suit, ending)
        except ICLightError as error:
            raise type(error)(f"{where}: {error}" if where else str(error), path=error.path) from error


def check_name(name: object, where: str) -> None:
    """Raise SettingsError for a name that no recipe may hold."""
    if name == "foreground":
        raise SettingsError(f"{where}: the foregrounds of a batch are the folder's pictures. Leave foreground away.")
    if name not in KNOWN:
        raise SettingsError(f"{where}: unknown setting {shown(name)}. {hint(name, KNOWN)}")


def _from_text(name: str, text: str, folder: Path, where: str) -> Any:
    if name in PICTURES:
        return folder / text
    kind: Any = FIELD[name].kind if name in FIELD else None
    refused = SettingsError(f"{where}: {name} cannot be {shown(text)}.")
    try:
        if kind is None:
            return _TYPES[str(GENERATION[name].type)](text)
        if isinstance(kind, Bool) and text.strip().lower() not in ("true", "false"):
            raise SettingsError(f"{refused} Write true or false.")
        return kind.from_text(text)
    except ValueError as error:
        raise refused from error


_TYPES: Mapping[str, Callable[[str], Any]] = {"str": str, "int": int, "float": float}


def _plain(name: str, value: Any) -> Any:
    return FIELD[name].kind.to_json(value) if name in FIELD and name not in PICTURES else value
