"""The errors that a person can meet. Every message says what is wrong and what to do next."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

LONGEST = 2000
"""characters of a message; what people and files bring into one has no limit of its own"""
_VALUE = 60
_FOLDERS = re.compile(r"""(?:\b[A-Za-z]:[\\/]|\\\\|(?<![\w.:/\\])[\\/])(?:[^\s\\/:'"]+[\\/])*(?=[^\s\\/])""")
"""of an absolute path all but its last part"""
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class ICLightError(Exception):
    """Base of every error that is a person's to mend. `str(error)` is one or two plain sentences.

    The message goes to pages and API clients, so it names files without their folders; `path` is the whole path of what
    it is about, for consoles and the command line. However long or strange the names in it are, the message is of
    bounded length and can be printed and sent (see `plain`).
    """

    def __init__(self, message: object = "", *, path: Path | None = None) -> None:
        super().__init__(plain(str(message)))
        self.path = path

    @property
    def sentence(self) -> str:
        """The message with its kind in front, as pages, the API and the command line show it."""
        return f"IC-Light: {type(self).__name__}: {self}"

    @property
    def with_path(self) -> str:
        """The message and the path it is about, for those who sit at the machine; never for pages or the API."""
        return str(self) if self.path is None else f"{self} [{plain(str(self.path))}]"

    @property
    def report(self) -> str:
        """`sentence` with the path, for consoles."""
        return f"IC-Light: {type(self).__name__}: {self.with_path}"


class SettingsError(ICLightError):
    """A setting has an unknown name, a wrong type or a value out of range, or two settings contradict."""


class ImageError(ICLightError):
    """A picture is missing, cannot be read, or is too small, too large or empty."""


class LightError(ICLightError):
    """A light specification cannot be read."""


class StageError(ICLightError):
    """A light stage (a set of pictures, one for each light), or what is to be made of it, cannot be used as given."""


class WeightsError(ICLightError):
    """An IC-Light weights file is missing, not what it should be, or not usable with the chosen mode."""


class DownloadError(ICLightError):
    """A file could not be downloaded whole and intact, or the network may not be used."""


class MattingError(ICLightError):
    """The foreground could not be cut out."""


class CheckpointError(ICLightError):
    """The loaded checkpoint cannot be relit with: IC-Light's weights exist for plain SD 1.5 only."""


class HostError(ICLightError):
    """The host cannot do what a relight needs, or did not apply what it was given."""


class BatchError(ICLightError):
    """A batch of pictures cannot be begun as asked, or cannot go on."""


def plain(text: str, longest: int = LONGEST) -> str:
    """The text as it can be printed, sent as UTF-8 and read: cut in its middle where it is longer than `longest`,
    lone surrogates and control characters (tabs and line breaks apart) written as escapes.
    """
    if len(text) > longest:
        half = (longest - 5) // 2
        text = f"{text[:half]} ... {text[-half:]}"
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def sentence_of(error: BaseException) -> str:
    """An error as pages and API clients may see it: of unexpected ones the kind and the message, without folders."""
    if isinstance(error, ICLightError):
        return error.sentence
    message = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return plain(f"IC-Light: {type(error).__name__}: {_FOLDERS.sub('', message)}".rstrip(": "))


def shown(value: Any) -> str:
    """A value as an error shows it: short, and never a whole object."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return kind_name(value)
    if isinstance(value, int) and abs(value) >= 10**12:
        return "so large a number"
    text = repr(value[:_VALUE] if isinstance(value, str) else value)
    return text if len(text) < _VALUE else text[:_VALUE - 3] + "..."


def kind_name(value: Any) -> str:
    """What a value is, in the words of someone who wrote JSON; of what JSON has not, Python's name."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    words = {dict: "an object", list: "a list", tuple: "a list", str: "text", int: "a number", float: "a number"}
    return words.get(type(value)) or plain(type(value).__name__, _VALUE)


def hint(name: object, known: Iterable[str]) -> str:
    """A sentence for an unknown name: the known one that is most like it, or all of them."""
    spelt = {one.casefold(): one for one in known}
    close = difflib.get_close_matches(str(name)[:_VALUE].casefold(), spelt, n=1)
    return f"Did you mean {spelt[close[0]]!r}?" if close else f"Known are: {', '.join(spelt.values())}."
