"""The desk's file: one page, nothing asked of anybody, no text of a person's taken for markup; and what it saves."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lib_iclight.errors import LightError, StageError
from lib_iclight.stage import FOUR, Stage, from_pictures, rig, weights_of
from lib_iclight.stage import desk as desk_module
from lib_iclight.stage.desk import read_mix, scripts, write_desk
from lib_iclight.stage.files import to_linear

from .stages import random_codes, random_stage

NASTY = "</script><script>alert(1)</script><!-- & \"'"


def written(stage: Stage, path: Path, *arguments: Any, **options: Any) -> tuple[str, dict[str, Any]]:
    """The file's text and the values in it."""
    write_desk(stage, path / "desk.html", *arguments, **options)
    text = (path / "desk.html").read_text(encoding="utf-8")
    [values] = re.findall(r'<script type="application/json" id="values">(.*?)</script>', text, re.S)
    return text, json.loads(values)


def pixels(url: str) -> NDArray[Any]:
    kind, data = url.split(",")
    assert kind.startswith("data:image/") and kind.endswith(";base64")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def test_the_set_is_in_it_without_loss(tmp_path: Path) -> None:
    codes = np.stack([random_codes(seed) for seed in range(5)])
    alpha = np.linspace(0, 1, codes[0, ..., 0].size, dtype=np.float32).reshape(codes.shape[1:3])
    _, values = written(from_pictures(FOUR, to_linear(codes), alpha), tmp_path)
    assert [(one["name"], one["light"]) for one in values["pictures"]] == [(lamp.name, lamp.name) for lamp in FOUR]
    for one, picture in zip(values["pictures"], codes, strict=True):
        np.testing.assert_array_equal(pixels(one["url"]), picture)
    np.testing.assert_array_equal(pixels(values["alpha"]), np.rint(alpha * 255))
    _, values = written(random_stage(alpha=False), tmp_path)
    assert values["alpha"] is None


def test_the_policy_names_what_is_in_the_file_and_nothing_else(tmp_path: Path) -> None:
    text, _ = written(random_stage(), tmp_path)
    policy = html.unescape(re.findall(r'Content-Security-Policy" content="(.*?)"', text)[0])
    assert policy.startswith("default-src 'none'; ") and "unsafe" not in policy and "http" not in policy

    def named(content: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"

    [style], [script] = (re.findall(f"<{tag}>(.*?)</{tag}>", text, re.S) for tag in ("style", "script"))
    assert f"script-src {named(script)};" in policy and f"style-src {named(style)};" in policy
    markup = re.sub(r"<script.*?</script>", "", text, flags=re.S)
    assert not re.search(r"\b(?:src|href)=|@import|url\(|style=\"", markup)
    assert not re.findall(r"https?://|\bfetch\(|XMLHttpRequest|WebSocket|import\(", script)


def test_texts_of_a_person_are_texts(tmp_path: Path) -> None:
    stage = from_pictures(rig([(NASTY, "left"), ("b", "top")]), np.ones((2, 4, 4, 3), np.float32))
    text, values = written(stage, tmp_path, NASTY)
    assert values["title"] == values["pictures"][0]["name"] == NASTY
    assert "<script>alert" not in text and text.count("</script>") == 2
    assert f"<title>{html.escape(NASTY)}</title>" in text


def test_large_sets_become_jpeg_unless_asked_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = random_stage()

    def kinds(**options: Any) -> set[str]:
        _, values = written(stage, tmp_path, **options)
        return {one["url"].split(";")[0] for one in values["pictures"]}

    assert kinds() == kinds(pictures="png") == {"data:image/png"}
    assert kinds(pictures="jpeg") == {"data:image/jpeg"}
    monkeypatch.setattr(desk_module, "LOSSLESS_BYTES", 4000)
    assert kinds() == {"data:image/jpeg"}
    assert kinds(pictures="png") == {"data:image/png"}
    with pytest.raises(StageError, match="auto, png or jpeg"):
        write_desk(stage, tmp_path / "desk.html", pictures="gif")  # type: ignore[arg-type]


def test_a_smaller_side(tmp_path: Path) -> None:
    for side, size in ((12, (9, 12, 3)), (24, (18, 24, 3)), (100, (18, 24, 3))):
        _, values = written(random_stage(), tmp_path, side=side)
        assert pixels(values["pictures"][0]["url"]).shape == size
        assert pixels(values["alpha"]).shape == size[:2]
    with pytest.raises(StageError, match="0 pixels wide"):
        write_desk(random_stage(), tmp_path / "none.html", side=0)
    assert not (tmp_path / "none.html").exists()


def test_where_it_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"desk\.html cannot be written"):
        write_desk(random_stage(), tmp_path / "missing" / "desk.html")


def test_without_the_scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [path.name for path in scripts()]
    assert names == sorted(names) and "30-page.js" in names and "90-panel.js" not in names
    monkeypatch.setattr(desk_module, "ROOT", tmp_path)
    with pytest.raises(StageError, match="scripts are missing"):
        write_desk(random_stage(), tmp_path / "desk.html")


def test_a_saved_mix() -> None:
    weights, exposure = read_mix({"version": 1, "light": "sunset", "exposure": "auto"}, FOUR, 0.7)
    np.testing.assert_array_equal(weights, weights_of("sunset", FOUR, 0.7))
    assert exposure == "auto"
    weights, exposure = read_mix('{"version": 1, "weights": {"top": 0.5}, "exposure": -1.25, "note": ""}', FOUR)
    assert weights[3].tolist() == [0.5, 0.5, 0.5] and weights.sum() == 1.5 and exposure == -1.25


@pytest.mark.parametrize("values", [
    "", "[1", "[]", "{}", {"version": 1}, {"version": 2, "light": "left"}, {"light": "left"},
    {"version": 1, "light": "left", "weights": {"left": 1}}, {"version": 1, "weights": {"lfet": 1}},
    {"version": 1, "weights": {"left": -1}}, {"version": 1, "light": "none"}, None, 3,
])
def test_what_is_no_mix(values: Any) -> None:
    with pytest.raises(StageError):
        read_mix(values, FOUR)


def test_an_unknown_light_is_named() -> None:
    with pytest.raises(LightError, match="left"):
        read_mix({"version": 1, "light": "lfet"}, FOUR)
