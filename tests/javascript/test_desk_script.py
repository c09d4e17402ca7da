"""The desk's formulas in node against Python's: weights, environments, .hdr files, exposure, mixtures, saved mixes."""

from __future__ import annotations

import base64
import json
import math
import random
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lib_iclight.lights import PRESETS
from lib_iclight.stage import EIGHT, FOUR, Lamp, from_panorama, from_pictures, mix_codes, over, rig, weights_of
from lib_iclight.stage.desk import read_mix
from lib_iclight.stage.files import to_linear
from lib_iclight.stage.hdr import read_hdr, write_hdr
from lib_iclight.stage.mix import exposure_of
from lib_iclight.stage.rig import Direction

from .test_javascript import HERE, NODE, random_specs, run


def dome(count: int, seed: int, front: bool = False) -> tuple[Lamp, ...]:
    """Real lamps all around, or before the subject only."""
    vectors = np.random.default_rng(seed).normal(size=(count, 3))
    vectors[:, 2] = np.abs(vectors[:, 2]) if front else vectors[:, 2]
    return rig([(f"lamp {number}", Direction(*map(float, vector))) for number, vector in enumerate(vectors)])


SETS = {
    "four": FOUR, "eight": EIGHT, "sides only": FOUR[:4], "two": rig(("left", "top")), "one side": rig(("left",)),
    "ambient only": rig(("ambient",)), "two ambients": rig((*("left", "right", "bottom", "ambient"), (
        "fill", PRESETS["ambient"].from_dict({"ambient": "#404040"})))),
    "uneven": rig(("left", "bottom-left", "bottom", "rim", "sunset", "ambient")),
    "dome": dome(24, 1), "front dome": dome(16, 2, front=True), "three": dome(3, 3), "two lamps": dome(2, 4),
}


def listed(lamps: tuple[Lamp, ...]) -> list[dict[str, Any]]:
    return [{"name": lamp.name, "light": lamp.to_json()} for lamp in lamps]


def ask(**values: Any) -> dict[str, Any]:
    """What desk.js makes of them."""
    presets = {name: spec.to_dict() for name, spec in PRESETS.items()}
    done = run(NODE, HERE / "desk.js", input=json.dumps({"presets": presets, **values}))
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_weights_of_lights_are_pythons() -> None:
    lights = [json.dumps(spec) for spec in random_specs(20)] + [name for name in PRESETS if name != "none"]
    lights += ['{"ambient": "#7f7f7f"}', '{"ambient": "#123"}', '{"lights": [{"kind": "point", "x": 0.5, "y": 0.5}]}',
               '{"lights": [{"kind": "directional", "angle": 540}]}']
    cases = [(name, light, aspect) for name in SETS for light in lights for aspect in (0.7, 1.9)
             if name != "ambient only"]
    cases += [("ambient only", light, 1.0) for light in ('{"ambient": "#123"}', "ambient")]
    made = ask(weights=[(listed(SETS[name]), light, aspect) for name, light, aspect in cases])["weights"]
    for (name, light, aspect), weights in zip(cases, made, strict=True):
        expected = weights_of(light, SETS[name], aspect)
        np.testing.assert_allclose(weights, expected, rtol=1e-4, atol=2e-5, err_msg=f"{name} {light} {aspect}")


def test_a_set_without_a_direction_makes_no_side_light() -> None:
    made = ask(weights=[(listed(SETS["ambient only"]), "left", 1.0)])["weights"]
    assert made == [None]


def panorama(seed: int, height: int, lamps: int = 3) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    made = rng.random((height, 2 * height, 3)).astype(np.float32) ** 3
    for _ in range(lamps):
        made[rng.integers(height), rng.integers(2 * height)] *= 2000
    return made


@pytest.mark.parametrize("height", [32, 64, 50, 20])
def test_weights_of_environments_are_pythons(height: int) -> None:
    data = write_hdr(panorama(height, height))
    environment = from_panorama(read_hdr(data))
    cases = [(name, rotation, saturation) for name in SETS
             for rotation, saturation in ((0.0, 1.0), (90.0, 0.3), (-33.3, 0.0), (181.0, 1.0))]
    made = ask(environments=[(listed(SETS[name]), text(data), rotation, saturation)
                             for name, rotation, saturation in cases])["environments"]
    for (name, rotation, saturation), weights in zip(cases, made, strict=True):
        expected = environment.turned(rotation).weights(SETS[name], smooth=True, saturation=saturation)
        np.testing.assert_allclose(weights, expected, rtol=2e-4, atol=1e-4 * expected.max(),
                                   err_msg=f"{name} {rotation}")


def run_length_coded(data: bytes, width: int) -> bytes:
    """A flat .hdr in the new run-length form, by runs of equal bytes and stretches of others."""
    head, _, rest = data.partition(f"+X {width}\n".encode())
    rows = np.frombuffer(rest, np.uint8).reshape(-1, width, 4)
    out = bytearray(head + f"+X {width}\n".encode())
    for row in rows:
        out += bytes((2, 2, width >> 8, width & 255))
        for channel in range(4):
            values, at = row[:, channel].tolist(), 0
            while at < width:
                size = 1
                while at + size < width and size < 127 and values[at + size] == values[at]:
                    size += 1
                if size > 2:
                    out += bytes((128 + size, values[at]))
                else:
                    size = min(7, width - at)
                    out += bytes((size, *values[at:at + size]))
                at += size
    return bytes(out)


def old_form(data: bytes, width: int) -> bytes:
    """A flat .hdr in the old form: a pixel, and (1, 1, 1, n) for n more of it; long runs in two bytes."""
    head, _, rest = data.partition(f"+X {width}\n".encode())
    out = bytearray(head + f"+X {width}\n".encode())
    for row in np.frombuffer(rest, np.uint8).reshape(-1, width, 4):
        pixels, at = [tuple(pixel) for pixel in row.tolist()], 0
        while at < width:
            size = 1
            while at + size < width and pixels[at + size] == pixels[at]:
                size += 1
            out += bytes(pixels[at])
            if size > 1:
                out += bytes((1, 1, 1, (size - 1) & 255))
                if size - 1 > 255:
                    out += bytes((1, 1, 1, (size - 1) >> 8))
            at += size
    return bytes(out)


def test_hdr_files_are_read_as_python_reads_them() -> None:
    rng = np.random.default_rng(8)
    width, height = 600, 12
    linear = rng.random((height, width, 3)).astype(np.float32) * 50
    linear[2:5] = 0.25
    linear[6, :300] = 3.0
    linear[8] = 0
    flat = write_hdr(linear)
    turned = [flat.replace(b"-Y 12 +X 600", axes) for axes in
              (b"+Y 12 +X 600", b"-Y 12 -X 600", b"+X 12 -Y 600", b"-X 12 +Y 600", b"+X 12 +Y 600")]
    files = [flat, run_length_coded(flat, width), old_form(flat, width), *turned,
             flat.replace(b"\n\n", b"\nEXPOSURE=2.5\n# a comment\nEXPOSURE=2\n\n", 1)]
    for data, made in zip(files, ask(hdrs=[text(data) for data in files])["hdrs"], strict=True):
        expected = read_hdr(data)
        assert (made["height"], made["width"]) == expected.shape[:2]
        seen = np.frombuffer(base64.b64decode(made["floats"]), np.float32).reshape(expected.shape)
        np.testing.assert_allclose(seen, expected, rtol=1e-6)


@pytest.mark.parametrize("alpha", [False, True])
def test_mixtures_are_pythons(alpha: bool) -> None:
    width, height = 301, 163  # not every pixel is looked at for the exposure
    rng = np.random.default_rng(5)
    codes = rng.integers(0, 256, (len(FOUR), height, width, 3), dtype=np.uint8)
    codes[:, : height // 2] //= 6
    mask = None
    if alpha:
        mask = np.zeros((height, width), np.uint8)
        mask[40:120, 60:200] = 255
        mask[30:40] = rng.integers(0, 256, (10, width))
    stage = from_pictures(FOUR, to_linear(codes), None if mask is None else mask / np.float32(255))
    opaque = np.concatenate([codes, np.full_like(codes[..., :1], 255)], 3)
    weightings = [rng.random((len(FOUR), 3)) * scale for scale in (0.2, 1, 1, 4, 4, 30)]
    weightings[1][[0, 2]] = 0
    pictures = [text(one.tobytes()) for one in opaque]
    mixtures = [(width, height, pictures, None if mask is None else text(mask.tobytes()), weights.tolist(), None)
                for weights in weightings]
    for weights, made in zip(weightings, ask(mixtures=mixtures)["mixtures"], strict=True):
        assert made["factor"] == pytest.approx(exposure_of(stage, weights.astype(np.float32), "auto"), rel=1e-4)
        seen = np.frombuffer(base64.b64decode(made["pixels"]), np.uint8).reshape(height, width, 4)
        assert np.abs(seen[..., :3].astype(int) - mix_codes(stage, weights)).max() <= 1
        assert (seen[..., 3] == 255).all()


def test_before_a_background_and_transparent() -> None:
    width, height = 20, 10
    rng = np.random.default_rng(6)
    codes = rng.integers(0, 256, (1, height, width, 4), dtype=np.uint8)
    under = rng.integers(0, 256, (height, width, 4), dtype=np.uint8)
    mask = rng.integers(0, 256, (height, width), dtype=np.uint8)
    common = (width, height, [text(codes[0].tobytes())], text(mask.tobytes()), [[1, 1, 1]])
    made = ask(mixtures=[(*common, text(under.tobytes())), (*common, "none")])["mixtures"]
    before, none = (np.frombuffer(base64.b64decode(one["pixels"]), np.uint8).reshape(height, width, 4) for one in made)
    expected = over(codes[0, ..., :3], mask / np.float32(255), under[..., :3])
    assert np.abs(before[..., :3].astype(int) - expected).max() <= 1
    assert (none[..., 3] == mask).all() and np.abs(none[..., :3].astype(int) - codes[0, ..., :3]).max() <= 1


def test_a_saved_mix_is_read_by_python() -> None:
    common = {"auto": True, "ev": 0, "background": "own"}
    spec = random_specs(1)[0]
    hand = [{"kind": "set", "color": "#ff8000", "intensity": 0.5}, {"kind": "set", "color": "3200K", "intensity": 2},
            {"kind": "set", "color": "#ffffff", "intensity": 0}, {"kind": "set", "color": "#fff", "intensity": 1.25},
            {"kind": "set", "color": "#102030", "intensity": 1}]
    states = [{"kind": "light", "light": "sunset", "spec": PRESETS["sunset"].to_dict(), **common},
              {"kind": "light", "light": None, "spec": spec, **common, "ev": -1.5},
              {"kind": "weights", "lights": hand, **common, "auto": False, "ev": 2}]
    presets, own, weighted = ask(mixes=[(listed(FOUR), 0.8, state, 0.5) for state in states])["mixes"]
    assert presets == {"version": 1, "light": "sunset", "exposure": "auto"}
    weights, exposure = read_mix(json.dumps(own), FOUR, 0.8)
    np.testing.assert_array_equal(weights, weights_of(spec, FOUR, 0.8))
    assert exposure == pytest.approx(math.log2(0.5) - 1.5)
    weights, exposure = read_mix(weighted, FOUR)
    assert exposure == 2 and set(weighted["weights"]) == {"left", "right", "top", "ambient"}
    np.testing.assert_allclose(weights[0], [0.5, 0.5 * 0.21586, 0], rtol=1e-4)
    assert weights[1].max() == 2 and not weights[2].any()


def test_random_mixes_come_back() -> None:
    """Names with any letters, weights from tiny to large."""
    rng = random.Random(3)
    lamps = rig([(name, "left") for name in ("left", "Lampe \"2\"", "灯", "<b>")])
    for _ in range(5):
        lights: list[dict[str, Any]] = [
            {"kind": "set", "color": f"#{rng.randrange(1 << 24):06x}", "intensity": 10 ** rng.uniform(-3, 3)}
            for _ in lamps]
        state = {"kind": "weights", "lights": lights, "auto": True, "ev": 0, "background": "own"}
        [saved] = ask(mixes=[(listed(lamps), 1.0, state, 1.0)])["mixes"]
        weights, _ = read_mix(saved, lamps)
        for light, row in zip(lights, weights, strict=True):
            largest = max(int(light["color"][i:i + 2], 16) for i in (1, 3, 5)) / 255
            assert row.max() == pytest.approx(light["intensity"] * ((largest + 0.055) / 1.055) ** 2.4, rel=1e-3)
