"""The light stage as the first pocket model knew it: smooth bodies before a plain wall, and lamps that a caption names.

Its subjects, on fixed seeds, are the benchmark; `subjects.py` has the better ones. A generator says by its device where
all tensors are made.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from .renderer import Environment, Point, Scenes, backdrop, gradient, grid, luminance, render

COLORS = {
    "red": (0.60, 0.06, 0.05), "orange": (0.72, 0.25, 0.04), "yellow": (0.72, 0.55, 0.08), "green": (0.10, 0.42, 0.10),
    "teal": (0.05, 0.40, 0.40), "blue": (0.07, 0.16, 0.60), "purple": (0.32, 0.09, 0.50), "pink": (0.75, 0.28, 0.40),
    "brown": (0.26, 0.13, 0.06), "white": (0.76, 0.76, 0.74), "grey": (0.30, 0.30, 0.31),
}
"""Linear RGB of what a caption calls a body's colour."""
SHAPES = ("blob", "block", "vase", "bust")
MATERIALS = {"matte": (0.85, 0.3), "satin": (0.5, 0.7), "glossy": (0.25, 1.0)}
"""GGX roughness and weight of the specular term."""
TINTS = {
    "white light": (1.0, 1.0, 1.0), "soft studio light": (1.0, 0.97, 0.93), "warm sunset light": (1.0, 0.52, 0.20),
    "golden light": (1.0, 0.72, 0.34), "cold moonlight": (0.42, 0.66, 1.0), "cold blue light": (0.26, 0.48, 1.0),
    "pink neon light": (1.0, 0.22, 0.72), "green neon light": (0.25, 1.0, 0.45),
}
"""Linear RGB of what a caption calls a light's colour."""
NEUTRAL = 2
"""how many of them, the first ones, are as good as white"""
SIDES = ("right", "top right", "top", "top left", "left", "bottom left", "bottom", "bottom right")
"""Where a light comes from, in steps of 45 degrees from +x."""
Uniform = Callable[..., Tensor]
"""(low, high) -> uniform random numbers, one for each scene, [N, 1, 1]."""


def random_scenes(count: int, size: int, generator: torch.Generator) -> Scenes:
    """`count` scenes of `size` x `size` pixels; the same generator state gives the same scenes."""
    device = generator.device

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(*(shape or (count, 1, 1)), generator=generator, device=device) * (high - low) + low

    def choose(options: int) -> Tensor:
        return torch.randint(options, (count,), generator=generator, device=device)

    x, y = grid(size, device)
    angle = uniform(-0.5, 0.5)
    px, py = x - uniform(-0.12, 0.12), y - uniform(-0.08, 0.08)
    rx, ry = px * angle.cos() + py * angle.sin(), py * angle.cos() - px * angle.sin()
    shape = choose(len(SHAPES))
    bodies = torch.stack([_blob(rx, ry, uniform), _block(rx, ry, uniform), _vase(px, py, uniform),
                          _bust(px, py, uniform)])
    thickness = bodies[shape, torch.arange(count, device=device)]
    bumps = noise(count, 1, 9, size, generator)[:, 0]
    thickness = (thickness + uniform(0, 0.03) * bumps)[:, None]
    gx, gy = gradient(thickness)
    normal = normalize(torch.cat([-gx, -gy, 2 * thickness.clamp(min=1e-6).sqrt()], 1), dim=1)
    steepness = (gx.square() + gy.square()).sqrt().clamp(min=0.05)
    alpha = (thickness / steepness * size / 2 + 0.5).clamp(0, 1)

    names, materials = list(COLORS), list(MATERIALS)
    color, second, material = choose(len(names)), choose(len(names)), choose(len(materials))
    palette = torch.tensor(list(COLORS.values()), device=device)
    second_share = pattern(rx, ry, choose(4), uniform, noise(count, 1, 6, size, generator)[:, 0])[:, None]
    base = palette[color][:, :, None, None] * uniform(0.8, 1.2, count, 3, 1, 1)
    other = torch.lerp(base, palette[second][:, :, None, None], uniform(0.4, 1, count, 1, 1, 1))
    mottled = 1 + 0.15 * noise(count, 1, 12, size, generator)
    albedo = (torch.lerp(base, other, second_share) * mottled).clamp(0.02, 0.85)
    wall = uniform(0.35, 0.75, count, 1, 1, 1) * (1 + uniform(-0.18, 0.18, count, 3, 1, 1))
    wall = (wall * (1 + 0.07 * noise(count, 1, 7, size, generator))).clamp(0.05, 0.85)
    surface = torch.tensor(list(MATERIALS.values()), device=device)[material]
    captions = tuple(f"a {materials[m]} {names[c]} {SHAPES[s]}"
                     for m, c, s in zip(material.tolist(), color.tolist(), shape.tolist(), strict=True))
    return Scenes(thickness, normal, alpha, albedo, surface[:, 0].view(-1, 1, 1, 1), surface[:, 1].view(-1, 1, 1, 1),
                  wall, captions)


def noise(count: int, channels: int, cells: int, size: int, generator: torch.Generator) -> Tensor:
    """Smooth noise in about -1..1, [count, channels, size, size], with `cells` cells across."""
    values = torch.rand(count, channels, cells, cells, generator=generator, device=generator.device) * 2 - 1
    return interpolate(values, size=(size, size), mode="bicubic", align_corners=True)


def smooth_max(fields: Tensor, sharpness: float) -> Tensor:
    """Smooth maximum over the first dimension."""
    return torch.logsumexp(fields * sharpness, 0) / sharpness


def _blob(x: Tensor, y: Tensor, uniform: Uniform) -> Tensor:
    lumps = []
    for index in range(5):
        spread = 0.0 if index == 0 else 0.36
        cx, cy = uniform(-spread, spread), uniform(-spread, spread)
        rx, ry, rz = (uniform(0.2, 0.42) for _ in range(3))
        lumps.append(rz.square() * (1 - ((x - cx) / rx).square() - ((y - cy) / ry).square()))
    return smooth_max(torch.stack(lumps), 30)


def _block(x: Tensor, y: Tensor, uniform: Uniform) -> Tensor:
    """A superquadric (Barr, 1981)."""
    a, b, c = (uniform(0.3, 0.58) for _ in range(3))
    exponent = uniform(2, 3.6)
    inside = 1 - (x / a).abs() ** exponent - (y / b).abs() ** exponent
    return (0.85 * c).square() * inside.sign() * inside.abs() ** (2 / exponent)


def _vase(x: Tensor, y: Tensor, uniform: Uniform) -> Tensor:
    """A surface of revolution: its profile swings along a smooth curve between foot and rim."""
    tall, phase, swing = uniform(0.55, 0.78), uniform(0, 2 * math.pi), uniform(0.05, 0.13)
    v = y / tall
    radius = uniform(0.2, 0.34) + swing * (phase + v * uniform(2, 4)).sin()
    caps = 1 - v.abs().clamp(max=1.3) ** 10
    return radius.square() * caps - x.square()


def _bust(x: Tensor, y: Tensor, uniform: Uniform) -> Tensor:
    """Shoulders, neck and head, with a nose to either side."""
    head_y, wide, tall = uniform(0.22, 0.34), uniform(0.2, 0.28), uniform(0.28, 0.36)
    head = wide.square() * 1.3 * (1 - (x / wide).square() - ((y - head_y) / tall).square())
    nose_x = uniform(-0.12, 0.12)
    nose = 0.13 * (1 - ((x - nose_x) / 0.09).square() - ((y - head_y + 0.03) / 0.13).square())
    neck = uniform(0.13, 0.17).square() * (1 - ((y + 0.05) / 0.4) ** 4) - x.square()
    breadth = uniform(0.42, 0.58)
    shoulders = 0.12 * (1 - (x / breadth).square() - ((y + 0.62) / 0.42).square())
    return smooth_max(torch.stack([head, nose, neck, shoulders]), 45)


def pattern(x: Tensor, y: Tensor, kind: Tensor, uniform: Uniform, noise: Tensor) -> Tensor:
    """How much of the second colour, 0..1: none, stripes, spots or clouds."""
    frequency = uniform(5, 11)
    stripes = torch.sigmoid(6 * (x * frequency).sin())
    spots = torch.sigmoid(9 * ((x * frequency).sin() * (y * frequency).sin() - 0.3))
    clouds = torch.sigmoid(7 * noise)
    kinds = torch.stack([torch.zeros_like(stripes), stripes, spots, clouds])
    return kinds[kind, torch.arange(len(kind), device=kind.device)]


@dataclass(frozen=True)
class Lighting:
    """A lamp with a little fill from all around, and how a caption says it."""

    lamp: Point
    fill: Environment
    captions: tuple[str, ...]

    def picture(self, scenes: Scenes) -> Tensor:
        """Linear HDR [N, 3, H, W]."""
        return render(scenes, self.lamp) + render(scenes, self.fill)

    def backdrop(self, scenes: Scenes) -> Tensor:
        """Linear HDR [N, 3, H, W], the wall without the body."""
        return backdrop(scenes, self.lamp) + backdrop(scenes, self.fill)


def random_lighting(scenes: Scenes, generator: torch.Generator) -> Lighting:
    """A lighting for each scene: from any side, more or less frontal, half of them colored, all similarly exposed."""
    count, device = len(scenes.captions), generator.device

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(count, generator=generator, device=device) * (high - low) + low

    tint = torch.randint(NEUTRAL, len(TINTS), (count,), generator=generator, device=device)
    colored = uniform(0, 1) >= 0.5
    tint = torch.where(colored, tint, torch.randint(0, NEUTRAL, (count,), generator=generator, device=device))
    azimuth = uniform(0, 2 * math.pi)
    return lighting(scenes, azimuth, uniform(-0.05, 0.5), uniform(1.25, 1.8), tint, uniform(0.10, 0.24))


def lighting(scenes: Scenes, azimuth: Tensor, elevation: Tensor, distance: Tensor, tint: Tensor,
             exposure: Tensor) -> Lighting:
    """A lamp per scene, all arguments [N].

    azimuth: radians from +x; elevation: radians towards the camera; tint: index into TINTS; exposure: the mean
    luminance of the wall, without the body's shadow.
    """
    colors = torch.tensor(list(TINTS.values()), device=tint.device)[tint]
    position = distance[:, None] * torch.stack(
        [azimuth.cos() * elevation.cos(), azimuth.sin() * elevation.cos(), elevation.sin()], 1)
    harmonics = torch.zeros(len(azimuth), 9, 3, device=azimuth.device)
    harmonics[:, 0] = 0.2
    harmonics[:, 1], harmonics[:, 3] = 0.12 * azimuth.sin()[:, None], 0.12 * azimuth.cos()[:, None]
    harmonics = harmonics * colors[:, None]
    lamp, fill = Point(position, 3 * colors), Environment(harmonics)
    lit = Lighting(lamp, fill, ()).backdrop(scenes)
    gain = (exposure / luminance(lit).mean((1, 2, 3)))[:, None]
    sector = (azimuth / (math.pi / 4)).round().long() % len(SIDES)
    names = list(TINTS)
    captions = tuple(f"{names[t]} from the {SIDES[s]}" for t, s in zip(tint.tolist(), sector.tolist(), strict=True))
    return Lighting(Point(position, lamp.color * gain), Environment(harmonics * gain[:, None]), captions)
