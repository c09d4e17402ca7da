"""Calls made by hand, of the studio's own page: what its widgets cannot say is refused with a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lib_iclight.errors import ICLightError, ImageError, SettingsError
from lib_iclight.panel.gradio_host import GRADIO_4
from lib_iclight.session import Session
from lib_iclight.studio import calls as calling
from lib_iclight.studio.calls import KINDS, LONGEST, Calls
from lib_iclight.studio.jobs import GENERATION, Studio
from lib_iclight.studio.page import build
from lib_iclight.studio.serve import own_folder

RIGHT: dict[str, Any] = {"slider": 2, "number": 3.5, "checkbox": True, "textbox": "a", "html": "", "dropdown": "b",
                         "radio": None, "checkboxgroup": ["mask"], "image": None, "state": None, "button": "Go"}
WRONG: dict[str, tuple[Any, ...]] = {
    "slider": ("2", True, [2], {"value": 2}), "number": ("x", False, []), "checkbox": (1, "true", [True]),
    "textbox": (1, ["a"], {}, True), "html": (1,), "dropdown": (["b"], 1, {}, True), "radio": (1, []),
    "checkboxgroup": (None, "mask", [1], {"mask": 1}, 5), "image": (1, "photo.png", [], {}, True, {"path": 1}),
    "state": ({}, 1, "a"), "button": (1,)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    tmp_path_factory.getbasetemp()  # is made when first asked for, and must not lie in the page's folder
    with own_folder() as made:
        (made / "a.png").write_bytes(b"x")
        yield made


@pytest.fixture(scope="module")
def calls(folder: Path) -> Calls:
    return Calls(build(Studio(Session.open(models=folder))).get_config_file(), folder)


def right(calls: Calls, index: int) -> list[Any]:
    return [RIGHT[kind] for kind, _ in calls.inputs[index]]


def test_every_widget_of_the_page_is_known(calls: Calls) -> None:
    kinds = {kind for widgets in calls.inputs.values() for kind, _ in widgets}
    assert kinds <= set(KINDS) == set(RIGHT) == set(WRONG)
    assert {"slider", "image", "checkboxgroup", "state"} <= kinds


def test_what_a_widget_cannot_say_is_refused_by_its_label(calls: Calls) -> None:
    for index, widgets in calls.inputs.items():
        values = right(calls, index)
        calls.check({"fn_index": index, "data": values, "session_hash": "x"})
        for place, (kind, label) in enumerate(widgets):
            for wrong in WRONG[kind]:
                call = {"fn_index": index, "data": [*values[:place], wrong, *values[place + 1:]]}
                with pytest.raises(ICLightError) as caught:
                    calls.check(call)
                assert label in str(caught.value) or isinstance(caught.value, ImageError)


@pytest.mark.parametrize("data", [None, "x", {}, 5, [], [None] * 999])
def test_another_number_of_values(calls: Calls, data: Any) -> None:
    index = max(calls.inputs, key=lambda number: len(calls.inputs[number]))
    with pytest.raises(SettingsError, match="takes a list of"):
        calls.check({"fn_index": index, "data": data})


@pytest.mark.parametrize("index", [-1, 10**6, "0", 0.0, True, [], None])
def test_a_function_that_is_not_there(calls: Calls, index: Any) -> None:
    with pytest.raises(SettingsError, match="no such function"):
        calls.check({"fn_index": index, "data": []}, "no such")


@pytest.mark.skipif(not GRADIO_4, reason="Gradio 3 gives the page's functions no names")
def test_a_function_by_its_name(calls: Calls) -> None:
    with pytest.raises(SettingsError, match="takes a list of"):
        calls.check({"data": []}, "generate")


def test_calls_without_values(calls: Calls) -> None:
    calls.check({"session_hash": "x", "fn_index": 10**6, "event_id": "y"})
    wrong: tuple[Any, ...] = (None, [], "x", 1)
    for call in wrong:
        with pytest.raises(SettingsError, match="must be a JSON object"):
            calls.check(call)


@pytest.mark.parametrize("path", [
    "http://127.0.0.1:7860/x", "https://example.org/a.png", "HTTP://127.0.0.1/x", "file:///etc/passwd", "/etc/passwd",
    "ftp://x", "../a.png", "//example.org/a.png", "", ".", "a\0b", "\ud800", "x" * 5000, None, 5, [], {"path": "a"}])
def test_no_foreign_path_anywhere(calls: Calls, folder: Path, path: Any) -> None:
    file = {"path": path, "url": None, "meta": {"_type": "gradio.FileData"}}
    for call in ({"data": [file]}, {"data": [[{"image": file}]]}, {"event_data": {"deep": [file]}}, {"path": path},
                 {"data": [{"name": path, "is_file": True}]}):
        with pytest.raises(ICLightError) as caught:
            calls.check(call)
        assert str(folder) not in str(caught.value) and "no such function" not in str(caught.value)


def test_a_path_out_of_the_folder(calls: Calls, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    (folder / "link.png").symlink_to(tmp_path / "a.png")
    for path in (tmp_path / "a.png", folder / "link.png", f"{folder}/../a.png", f"{folder}{folder}",
                 f"{folder}x/a.png"):
        with pytest.raises(ImageError):
            calls.check({"path": str(path)})
    calls.check({"path": str(folder / "a.png"), "url": "http://127.0.0.1:7861/file=a.png"})


@pytest.mark.skipif(not GRADIO_4, reason="in Gradio 3 a picture is a text")
def test_a_pictures_description(calls: Calls, folder: Path) -> None:
    fits, _ = KINDS["image"]
    file = {"path": str(folder / "a.png"), "url": "http://x", "size": 3, "orig_name": "a.png", "mime_type": None,
            "is_stream": False, "meta": {"_type": "gradio.FileData"}}
    assert fits(file) and fits({"path": "a"})
    for key, value in (("url", 5), ("size", "3"), ("size", True), ("orig_name", []), ("is_stream", True), ("meta", {}),
                       ("meta", None)):
        assert not fits(file | {key: value})


def test_a_picture_in_gradio_3_is_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calling, "GRADIO_4", False)
    fits, _ = KINDS["image"]
    assert fits(None) and fits("data:image/png;base64,AAAA")
    for value in ("http://127.0.0.1/x", "/etc/passwd", "", {"path": "a"}, 5):
        assert not fits(value)


@pytest.mark.parametrize(("value", "sentence"), [
    ("x" * (LONGEST + 1), "longer than"), ("\ud83d", "letters that are none"), (10**400, "larger than any"),
    (1e300, "larger than any"), ({"\udfff": 1}, "letters that are none"), (-10**16, "larger than any")])
def test_values_without_measure(calls: Calls, value: Any, sentence: str) -> None:
    for call in ({"data": [value]}, {"more": {"deep": [[value]]}}):
        with pytest.raises(SettingsError, match=sentence):
            calls.check(call)


def test_a_call_as_deep_as_json_can_be(calls: Calls) -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    calls.check({"more": deep})
    assert len(GENERATION) == 13
