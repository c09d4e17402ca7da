"""The browser's light maps against the server's."""

from __future__ import annotations

import base64
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lib_iclight.lights import PRESETS, broad_light, light_map

SCRIPT = Path(__file__).resolve().parents[2] / "javascript" / "10-lights.js"
SIZES = [(64, 80), (97, 33), (1, 40), (128, 128)]
DRAW = """([cases, presets]) => cases.map(([light, [width, height], form]) => {
    const image = window.iclight.lights.map(light, presets, width, height, form);
    return btoa(image.data.reduce((text, byte) => text + String.fromCharCode(byte), ""));
})"""


def random_specs(count: int) -> list[dict[str, Any]]:
    rng = random.Random(20)

    def color() -> str:
        return rng.choice([f"#{rng.randrange(1 << 24):06x}", f"#{rng.randrange(1 << 12):03x}",
                           f"{rng.randint(1667, 25000)}K"])

    def light() -> dict[str, Any]:
        common = {"color": color(), "intensity": rng.uniform(0, 3)}
        if rng.random() < 0.5:
            return {"kind": "directional", "angle": rng.uniform(-400, 800), **common}
        return {"kind": "point", "x": rng.uniform(-1, 2), "y": rng.uniform(-1, 2), "radius": rng.uniform(0.02, 4),
                **common}

    return [{"ambient": color(), "lights": [light() for _ in range(rng.randint(1, 5))]} for _ in range(count)]


@pytest.fixture
def page(browser: Any) -> Any:
    page = browser.new_page()
    page.add_script_tag(path=str(SCRIPT))
    yield page
    page.close()


def test_the_preview_is_the_servers_light_map(page: Any) -> None:
    lights = [json.dumps(spec) for spec in random_specs(200)] + [name for name in PRESETS if name != "none"]
    cases = [(light, SIZES[i % len(SIZES)], form) for i, light in enumerate(lights) for form in ("fc", "fbc")]
    drawn = page.evaluate(DRAW, [cases, {name: spec.to_dict() for name, spec in PRESETS.items()}])
    for (light, (width, height), form), text in zip(cases, drawn, strict=True):
        seen = np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width, 4)
        expected = light_map(light, width, height, form)
        assert (seen[..., 3] == 255).all()
        assert np.abs(seen[..., :3].astype(int) - expected).max() <= 2, light


@pytest.mark.parametrize("blur", [0.05, 0.15, 0.5])
@pytest.mark.parametrize("size", [(48, 60), (33, 20)])
def test_the_light_of_a_picture_is_the_servers(page: Any, blur: float, size: tuple[int, int]) -> None:
    width, height = size
    pixels = np.random.default_rng(5).integers(0, 256, (height, width, 4), dtype=np.uint8)
    pixels[:, : width // 2, 0] //= 8
    pixels[..., 3] = 255
    seen = page.evaluate("""([values, width, height, blur]) => {
        const image = new ImageData(Uint8ClampedArray.from(values), width, height);
        return [...window.iclight.lights.broadLight(image, blur).data];
    }""", [pixels.ravel().tolist(), width, height, blur])
    expected = broad_light(pixels[..., :3], blur)
    drawn = np.array(seen).reshape(height, width, 4)[..., :3]
    assert np.abs(drawn - expected.astype(int)).max() <= 1


def test_dragging_costs_a_small_part_of_a_frame(page: Any) -> None:
    """60 pictures a second leave 16 ms each; the light map of a drag must leave most of them to others."""
    took = page.evaluate("""(spec) => {
        const times = [];
        for (let i = 0; i < 40; i++) {
            const start = performance.now();
            window.iclight.lights.draw(spec, 102, 128);
            times.push(performance.now() - start);
        }
        return times.sort((a, b) => a - b)[20];
    }""", PRESETS["neon pair"].to_dict())
    assert took < 10
