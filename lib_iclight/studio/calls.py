"""The calls that a page's own scripts make, told from others before Gradio sees them.

Gradio 4.40 and 3.41 hand what is sent to the widgets as it is: a text where a number belongs ends in a TypeError that
says nothing to anybody, and whatever has a `path` is fetched or opened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import ImageError, SettingsError, shown
from ..panel.gradio_host import GRADIO_4, uploaded

LONGEST = 100_000
"""letters of one text"""
LARGEST = 10**15
"""of any number"""


class Calls:
    """The functions of one page and the widgets whose values they take.

    config: the page's, as its scripts get it. folder: with what was uploaded to the page.
    """

    def __init__(self, config: Mapping[str, Any], folder: Path) -> None:
        self._folder = folder
        widgets = {part["id"]: (part["type"], _label(part)) for part in config["components"]}
        self.inputs: dict[int, list[tuple[str, str]]] = {}
        """of each function, by its index: the kinds and labels of the widgets"""
        self._names: dict[str, int] = {}
        for number, function in enumerate(config["dependencies"]):
            index = function.get("id", number)
            self.inputs[index] = [widgets[widget] for widget in function["inputs"]]
            self._names[str(function.get("api_name"))] = index

    def check(self, call: Any, name: str = "") -> None:
        """Raises SettingsError for a call that the page cannot have made, and ImageError for foreign files in it.

        call: the parsed JSON. name: of the function, which counts where the call has no index.
        """
        if not isinstance(call, dict):
            raise SettingsError("a call must be a JSON object.")
        for part in _parts(call):
            self._check_part(part)
        if "data" not in call:  # such as one that cancels a job
            return
        index = call.get("fn_index")
        index = self._names.get(name) if index is None else index
        if type(index) is not int or index not in self.inputs:
            raise SettingsError("the page has no such function. Open it anew.")
        widgets, values = self.inputs[index], call["data"]
        if not isinstance(values, list) or len(values) != len(widgets):
            raise SettingsError(f"this function takes a list of {len(widgets)} values.")
        for (kind, label), value in zip(widgets, values, strict=True):
            fits, wanted = KINDS.get(kind, ANYTHING)
            if not fits(value):
                raise SettingsError(f"{label} must be {wanted}, not {shown(value)}.")

    def _check_part(self, part: Any) -> None:
        """What holds for every value in a call, however deep."""
        if isinstance(part, str):
            if len(part) > LONGEST and not part.startswith("data:"):
                raise SettingsError(f"a text is longer than the {LONGEST} letters that the page takes. Shorten it.")
            try:
                part.encode()
            except UnicodeEncodeError as error:  # a lone half of a letter, which JSON can hold
                raise SettingsError("a text has letters that are none. Type it anew.") from error
        elif isinstance(part, (int, float)) and abs(part) > LARGEST:
            raise SettingsError("a number is larger than any setting.")
        elif isinstance(part, dict):
            # Gradio 4 has a file's path in "path", Gradio 3 in "name".
            for key in ("path", "name"):
                if key in part and (key == "path" or part.get("is_file")):
                    self._check_file(part[key])

    def _check_file(self, path: Any) -> None:
        try:
            uploaded(path, str(self._folder))
        except (TypeError, ValueError, OSError) as error:  # no text, or one that no file's name can be
            raise ImageError("a picture has no file's name. Drop its file into the panel.") from error


def _parts(call: Any) -> Iterator[Any]:
    """All values in parsed JSON, the keys of its objects too."""
    left = [call]
    while left:
        part = left.pop()
        yield part
        if isinstance(part, dict):
            left += [*part, *part.values()]
        elif isinstance(part, list):
            left += part


def _label(part: Mapping[str, Any]) -> str:
    props = part["props"]
    return str(props.get("label") or props.get("elem_id") or f"the {part['type']}")


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def _is_truth(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_picture(value: Any) -> bool:
    """A file's description, whose path is checked with all others, in Gradio 4; in Gradio 3 the picture itself."""
    if value is None:
        return True
    if not GRADIO_4:
        return isinstance(value, str) and value.startswith("data:")
    texts = ("url", "orig_name", "mime_type")
    return (isinstance(value, dict) and "path" in value and all(_is_text(value.get(key)) for key in texts)
            and type(value.get("size")) in (int, type(None)) and value.get("is_stream") in (None, False)
            and value.get("meta", FILE_MARK) == FILE_MARK)


def _is_nothing(value: Any) -> bool:
    """What the server keeps itself is never told by a browser; Gradio does not look at it."""
    return value is None


FILE_MARK = {"_type": "gradio.FileData"}
ANYTHING: tuple[Callable[[Any], bool], str] = (lambda value: True, "anything")
KINDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "slider": (_is_number, "a number"), "number": (_is_number, "a number"), "checkbox": (_is_truth, "true or false"),
    "textbox": (_is_text, "text"), "html": (_is_text, "text"), "dropdown": (_is_text, "one of its choices"),
    "radio": (_is_text, "one of its choices"), "checkboxgroup": (_is_list_of_texts, "a list of its choices"),
    "button": (_is_text, "text"),
    "image": (_is_picture, "a picture that was uploaded"), "state": (_is_nothing, "left out")}
"""the widgets of the page -> whether a value is one that they can have, and what to tell of them else. A widget that
has been emptied sends null."""
