"""JSON that people write: a name that stands there twice is refused by name, wherever it is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lib_iclight import cli
from lib_iclight.errors import ICLightError, LightError, SettingsError, StageError
from lib_iclight.jsontext import read_json
from lib_iclight.lights import parse_light
from lib_iclight.settings import Settings
from lib_iclight.stage import FOUR, StageWriter, from_names, load, read_mix
from lib_iclight.stage.animation import path_from_json


def loaded(text: str, folder: Path) -> Any:
    (folder / "stage.json").write_text(text)
    return load(folder)


def gone_on(text: str, folder: Path) -> Any:
    (folder / "stage.json").write_text(text)
    return StageWriter(folder, FOUR)


TWICE: list[tuple[Callable[[str, Path], Any], str, str, type[ICLightError]]] = [
    (lambda text, _: parse_light(text), '{"ambient": "#111", "ambient": "#fff"}', "'ambient'", LightError),
    (lambda text, _: parse_light(text), '{"ambient": "#111", "\\u0061mbient": "#fff"}', "'ambient'", LightError),
    (lambda text, _: parse_light(text), '{"lights": [{"kind": "point", "x": 0, "y": 0, "x": 1}]}', "'x'", LightError),
    (lambda text, _: Settings(light=text), '{"lights": [], "lights": []}', "'lights'", LightError),
    (lambda text, _: from_names(text, FOUR), '{"left": 1, "top": 1, "left": 0.5}', "'left'", StageError),  # type: ignore[arg-type]
    (lambda text, _: read_mix(text, FOUR), '{"version": 1, "light": "left", "light": "top"}', "'light'", StageError),
    (lambda text, _: read_mix(text, FOUR), '{"version": 1, "weights": {"left": 1, "left": 2}}', "'left'", StageError),
    (lambda text, _: path_from_json(text), '[{"x": 0, "x": 1}]', "'x'", StageError),
    (loaded, '{"version": 1, "pictures": [], "version": 1}', "'version'", StageError),
    (loaded, '{"version": 1, "pictures": [{"name": "a", "file": "a.png", "file": "b.png"}]}', "'file'", StageError),
    (gone_on, '{"version": 1, "pictures": [], "seed": 1, "seed": 2}', "'seed'", StageError),
]


@pytest.mark.parametrize(("read", "text", "name", "kind"), TWICE, ids=[case[1] for case in TWICE])
def test_a_name_twice_is_refused_by_name(tmp_path: Path, read: Callable[[str, Path], Any], text: str, name: str,
                                         kind: type[ICLightError]) -> None:
    json.loads(text)  # Python's own reader takes it
    with pytest.raises(kind, match=f"has {name} twice"):
        read(text, tmp_path)


def test_the_command_line_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    light = '{"ambient": "#111", "ambient": "#222"}'
    assert cli.main(["lightmap", "-o", str(tmp_path / "a.png"), "--light", light]) == 2
    assert capsys.readouterr().err.startswith("IC-Light: LightError: the light has 'ambient' twice")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("text", "words"), [
    ("{", "not valid JSON"), ("", "not valid JSON"), ("[" * 100_000, "not valid JSON"), (b"\xff\xff", "not valid JSON"),
    ("9" * 5000, "not valid JSON"), ('{"a": NaN}', "NaN is not a number"), ("[-Infinity]", "-Infinity is not a number"),
    ('{"' + "x" * 10_000 + '": 1, "' + "x" * 10_000 + '": 2}', "twice"),
])
def test_what_is_no_json_is_a_sentence(text: str | bytes, words: str) -> None:
    with pytest.raises(SettingsError, match=words) as caught:
        read_json(text, "the text", SettingsError, "Write it anew.", strict=True)
    assert len(str(caught.value)) < 500


def test_sound_json_is_what_it_is() -> None:
    text = '{"a": [1, 2.5, "x", null, true, {"a": {}}], "b": {"a": 1}}'
    assert read_json(text, "it", SettingsError, "") == read_json(text.encode(), "it", SettingsError, "") \
        == json.loads(text)
