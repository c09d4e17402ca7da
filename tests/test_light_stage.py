"""The light stage against a few lines of Lambert's law, and the linearity of light."""

from __future__ import annotations

import dataclasses
import math
import random

import pytest
import torch

from training.captions import UNWANTED, caption, meaning
from training.light_stage import random_lighting, random_scenes
from training.renderer import (
    Directional,
    Environment,
    Point,
    Scenes,
    backdrop,
    mix,
    one_at_a_time,
    relit_body,
    render,
    to_linear,
    to_srgb,
)

SIZE = 64


def scenes(count: int = 4, seed: int = 1, size: int = SIZE) -> Scenes:
    return random_scenes(count, size, torch.Generator().manual_seed(seed))


def ball(radius: float = 0.5) -> Scenes:
    """A white, perfectly matte ball before a wall of albedo 0.5."""
    along = (torch.arange(SIZE) + 0.5) * 2 / SIZE - 1
    x, y = along[None, :].expand(SIZE, SIZE), -along[:, None].expand(SIZE, SIZE)
    inside = radius**2 - x**2 - y**2
    normal = torch.stack([x, y, inside.clamp(min=0).sqrt()]) / radius
    ones = torch.ones(1, 1, SIZE, SIZE)
    return Scenes(inside[None, None], normal[None], (inside > 0).float()[None, None], ones.expand(1, 3, -1, -1),
                  torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1), ones.expand(1, 3, -1, -1) * 0.5, ("a ball",))


def directional(*direction: float, count: int = 1, color: float = math.pi) -> Directional:
    return Directional(torch.tensor([direction]).expand(count, 3), torch.full((count, 3), color))


def test_mixtures_are_exactly_linear() -> None:
    stage, generator = scenes(), torch.Generator().manual_seed(2)
    a, b = (random_lighting(stage, generator).lamp for _ in range(2))
    harmonics = torch.zeros(4, 9, 3)
    harmonics[:, 0] = 1
    alone = one_at_a_time(stage, [a, b, Environment(harmonics)])
    weights = torch.tensor([0.25, 2.0, 0.5])
    together = (render(stage, Point(a.position, a.color * 0.25)) + render(stage, Point(b.position, b.color * 2))
                + render(stage, Environment(harmonics * 0.5)))
    torch.testing.assert_close(mix(alone, weights), together, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(mix(alone, weights * 2), 2 * mix(alone, weights), rtol=0, atol=0)


@pytest.mark.parametrize("direction", [(1.0, 0.0, 1.0), (-1.0, 0.5, 0.4), (0.0, -1.0, 1.0), (0.0, 0.0, 1.0)])
def test_a_matte_ball_obeys_lamberts_law(direction: tuple[float, float, float]) -> None:
    picture = relit_body(ball(), directional(*direction))[0]
    length = math.sqrt(sum(value**2 for value in direction))
    checked = 0
    for row in range(0, SIZE, 3):
        for column in range(0, SIZE, 3):
            x, y = (column + 0.5) / SIZE * 2 - 1, 1 - (row + 0.5) / SIZE * 2
            if x * x + y * y > 0.5**2 * 0.9:
                continue
            normal = (x / 0.5, y / 0.5, math.sqrt(0.5**2 - x * x - y * y) / 0.5)
            cosine = sum(n * d for n, d in zip(normal, direction, strict=True)) / length
            if cosine > 0.25:  # nearer to its edge, a light's own shadow is soft
                assert picture[0, row, column] == pytest.approx(cosine, abs=0.02)
                checked += 1
            elif cosine < 0:
                assert picture[:, row, column].max() == 0, "attached shadow"
    assert checked > 20


def test_a_lamp_falls_off_with_the_square_of_its_distance() -> None:
    wall = backdrop(ball(), Point(torch.tensor([[0.0, 0.0, 1.45]]), torch.full((1, 3), math.pi)))[0, 0]
    for row, column in ((32, 32), (32, 60), (4, 10)):
        x, y = (column + 0.5) / SIZE * 2 - 1, 1 - (row + 0.5) / SIZE * 2
        square = x * x + y * y + 2.0**2  # the wall is at z = -0.55
        assert wall[row, column] == pytest.approx(0.5 / square * 2 / math.sqrt(square), rel=1e-4)


def test_a_uniform_environment_lights_every_normal_alike() -> None:
    harmonics = torch.zeros(1, 9, 3)
    harmonics[:, 0] = 1 / 0.282095  # radiance 1 from everywhere: irradiance pi
    picture = relit_body(ball(), Environment(harmonics))
    torch.testing.assert_close(picture, torch.ones_like(picture), rtol=1e-3, atol=0)


@pytest.mark.parametrize(("azimuth", "dark"), [(0, (32, 8)), (90, (58, 32)), (180, (32, 55)), (270, (5, 32))])
def test_the_cast_shadow_lies_opposite_to_the_light(azimuth: int, dark: tuple[int, int]) -> None:
    turn = math.radians(azimuth)
    light = directional(math.cos(turn), math.sin(turn), 1.0)
    stage = ball(0.4)
    shadow = (backdrop(stage, light, shadow=True) / backdrop(stage, light))[0, 0]
    mirrored = (SIZE - 1 - dark[0], SIZE - 1 - dark[1])
    assert shadow[dark] < 0.5
    assert shadow[mirrored] == 1
    assert ((shadow > 0.05) & (shadow < 0.95)).any(), "its edge is soft"


def test_bodies_are_brighter_where_the_light_is() -> None:
    stage = scenes(8)
    white = dataclasses.replace(stage, albedo=torch.ones_like(stage.albedo), gloss=torch.zeros_like(stage.gloss))
    along = ((torch.arange(SIZE) + 0.5) * 2 / SIZE - 1).expand(SIZE, SIZE)
    left, right = (relit_body(white, directional(x, 0.0, 0.6, count=8))[:, 0] for x in (-1.0, 1.0))
    for lit, sign in ((left, -1), (right, 1)):
        moment = ((along - (along * stage.alpha[:, 0]).mean((1, 2), keepdim=True)) * lit * stage.alpha[:, 0])
        assert (moment.mean((1, 2)) * sign > 0).all()


def test_scenes_are_sane() -> None:
    stage = scenes(16)
    assert 0.05 < stage.alpha.mean() < 0.6
    torch.testing.assert_close(stage.normal.norm(dim=1), torch.ones(16, SIZE, SIZE))
    assert stage.albedo.min() > 0
    assert stage.albedo.max() <= 0.85, "nothing reflects more than it gets"
    assert len(set(stage.captions)) > 8


def test_a_seed_gives_the_same_pictures() -> None:
    def picture(seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        stage = random_scenes(2, SIZE, generator)
        return random_lighting(stage, generator).picture(stage)

    assert torch.equal(picture(5), picture(5))
    assert not torch.equal(picture(5), picture(6))


def test_srgb_and_back() -> None:
    values = torch.tensor([0.0, 0.002, 0.0031308, 0.2, 0.5, 1.0])
    torch.testing.assert_close(to_linear(to_srgb(values)), values, rtol=1e-4, atol=1e-6)
    assert to_srgb(torch.tensor(0.2140411)) == pytest.approx(0.5, abs=1e-4)
    assert to_srgb(torch.tensor(7.0)) == pytest.approx(1)


def test_a_captions_meaning_is_what_it_says_of_the_subject_and_of_the_light() -> None:
    assert meaning("best quality, cold blue light from the top left, a glossy teal vase") == {
        "light: cold", "light: blue", "light: light", "light: top", "light: left",
        "subject: glossy", "subject: teal", "subject: vase"}
    assert meaning("") == meaning(UNWANTED) == meaning("studio photography, highly detailed") == set()


def test_captions_name_the_light_often_and_its_side_never_alone() -> None:
    draw = random.Random(3)
    white, made = ([caption("a matte red blob", f"{color} light from the left", draw) for _ in range(500)]
                   for color in ("white", "warm sunset"))
    assert 300 < sum("light: light" in meaning(text) for text in white) < 380
    lit = [text for text in made if meaning(text)]
    assert all("light: light" in meaning(text) for text in lit), "no colour named has to mean neutral light"
    assert any("warm light" in text for text in lit)
    assert any("sunset light from the left" in text for text in lit)
    assert sum(not meaning(text) for text in made) > 50, "for guidance it has to know prompts that say nothing"
