"""A procedural light stage: random smooth bodies before a wall, under lights that can be switched one at a time.

All tensors are batches of scenes, float32. Colours are linear RGB (HDR, not clipped) until `to_srgb`. World space: the
camera looks along -z and sees x (right) and y (up) in -1..1, orthographically; row 0 of a picture is at the top.
A body is given by its squared half-thickness F(x, y): it fills |z| <= sqrt(F) where F > 0. So the surface is
z = sqrt(F), its normal (-dF/dx, -dF/dy, 2z), its silhouette F = 0, and a point is inside where z^2 < F.

Light transport is linear: a picture under several lights is the sum of its pictures under each (`one_at_a_time`,
`mix`). Shadows, being factors of one light each, keep that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample, interpolate, normalize

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
SIDES = ("right", "top right", "top", "top left", "left", "bottom left", "bottom", "bottom right")
"""Where a light comes from, in steps of 45 degrees from +x."""
LUMINANCE = (0.2126, 0.7152, 0.0722)
WALL = -0.55
"""z of the wall behind the bodies."""
Uniform = Callable[..., Tensor]
"""(low, high) -> uniform random numbers, one for each scene, [N, 1, 1]."""


@dataclass(frozen=True)
class Scenes:
    """N bodies before their walls; pictures are H x W."""

    thickness: Tensor
    """F, [N, 1, H, W]"""
    normal: Tensor
    """unit, [N, 3, H, W]; outside the silhouette it lies in the picture's plane"""
    alpha: Tensor
    """coverage 0..1, [N, 1, H, W]"""
    albedo: Tensor
    """[N, 3, H, W]"""
    roughness: Tensor
    """[N, 1, 1, 1]"""
    gloss: Tensor
    """weight of the specular term, [N, 1, 1, 1]"""
    wall: Tensor
    """albedo of the wall, [N, 3, H, W]"""
    captions: tuple[str, ...]

    @property
    def depth(self) -> Tensor:
        """z of the body's surface, [N, 1, H, W]; 0 outside it."""
        return self.thickness.clamp(min=0).sqrt()


@dataclass(frozen=True)
class Directional:
    """Parallel light. direction: [N, 3], from the scene to the light, any length; color: irradiance, [N, 3]."""

    direction: Tensor
    color: Tensor


@dataclass(frozen=True)
class Point:
    """A small lamp. position: [N, 3]; color: [N, 3], irradiance at distance 1, falling with its square."""

    position: Tensor
    color: Tensor


@dataclass(frozen=True)
class Environment:
    """Light from all around, as 9 spherical harmonics [N, 9, 3] of radiance.

    Irradiance after Ramamoorthi and Hanrahan, "An Efficient Representation for Irradiance Environment Maps", 2001.
    """

    harmonics: Tensor


Light = Directional | Point | Environment


# --- bodies -------------------------------------------------------------------------------------------------------


def random_scenes(count: int, size: int, generator: torch.Generator) -> Scenes:
    """`count` scenes of `size` x `size` pixels; the same generator state gives the same scenes."""
    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(*(shape or (count, 1, 1)), generator=generator) * (high - low) + low

    def choose(options: int) -> Tensor:
        return torch.randint(options, (count,), generator=generator)

    x, y = _grid(size)
    angle = uniform(-0.5, 0.5)
    px, py = x - uniform(-0.12, 0.12), y - uniform(-0.08, 0.08)
    rx, ry = px * angle.cos() + py * angle.sin(), py * angle.cos() - px * angle.sin()
    shape = choose(len(SHAPES))
    bodies = torch.stack([_blob(rx, ry, uniform), _block(rx, ry, uniform), _vase(px, py, uniform),
                          _bust(px, py, uniform)])
    thickness = bodies[shape, torch.arange(count)]
    bumps = _noise(count, 1, 9, size, generator)[:, 0]
    thickness = (thickness + uniform(0, 0.03) * bumps)[:, None]
    gx, gy = _gradient(thickness)
    normal = normalize(torch.cat([-gx, -gy, 2 * thickness.clamp(min=1e-6).sqrt()], 1), dim=1)
    steepness = (gx.square() + gy.square()).sqrt().clamp(min=0.05)
    alpha = (thickness / steepness * size / 2 + 0.5).clamp(0, 1)

    names, materials = list(COLORS), list(MATERIALS)
    color, second, material = choose(len(names)), choose(len(names)), choose(len(materials))
    palette = torch.tensor(list(COLORS.values()))
    pattern = _pattern(rx, ry, choose(4), uniform, _noise(count, 1, 6, size, generator)[:, 0])[:, None]
    base = palette[color][:, :, None, None] * uniform(0.8, 1.2, count, 3, 1, 1)
    other = torch.lerp(base, palette[second][:, :, None, None], uniform(0.4, 1, count, 1, 1, 1))
    mottled = 1 + 0.15 * _noise(count, 1, 12, size, generator)
    albedo = (torch.lerp(base, other, pattern) * mottled).clamp(0.02, 0.85)
    wall = uniform(0.35, 0.75, count, 1, 1, 1) * (1 + uniform(-0.18, 0.18, count, 3, 1, 1))
    wall = (wall * (1 + 0.07 * _noise(count, 1, 7, size, generator))).clamp(0.05, 0.85)
    surface = torch.tensor(list(MATERIALS.values()))[material]
    captions = tuple(f"a {materials[m]} {names[c]} {SHAPES[s]}"
                     for m, c, s in zip(material.tolist(), color.tolist(), shape.tolist(), strict=True))
    return Scenes(thickness, normal, alpha, albedo, surface[:, 0].view(-1, 1, 1, 1), surface[:, 1].view(-1, 1, 1, 1),
                  wall, captions)


def _grid(size: int) -> tuple[Tensor, Tensor]:
    """x and y of the pixels' middles, [1, size, size] each."""
    along = (torch.arange(size) + 0.5) * 2 / size - 1
    return along[None, None, :].expand(1, size, size), -along[None, :, None].expand(1, size, size)


def _gradient(field: Tensor) -> tuple[Tensor, Tensor]:
    """d/dx and d/dy of [N, 1, H, W], in world units, by central differences."""
    dy, dx = torch.gradient(field, spacing=2 / field.shape[-1], dim=(2, 3))
    return dx, -dy


def _noise(count: int, channels: int, cells: int, size: int, generator: torch.Generator) -> Tensor:
    """Smooth noise in about -1..1, [count, channels, size, size], with `cells` cells across."""
    values = torch.rand(count, channels, cells, cells, generator=generator) * 2 - 1
    return interpolate(values, size=(size, size), mode="bicubic", align_corners=True)


def _smooth_max(fields: Tensor, sharpness: float) -> Tensor:
    """Smooth maximum over the first dimension."""
    return torch.logsumexp(fields * sharpness, 0) / sharpness


def _blob(x: Tensor, y: Tensor, uniform: Uniform) -> Tensor:
    lumps = []
    for index in range(5):
        spread = 0.0 if index == 0 else 0.36
        cx, cy = uniform(-spread, spread), uniform(-spread, spread)
        rx, ry, rz = (uniform(0.2, 0.42) for _ in range(3))
        lumps.append(rz.square() * (1 - ((x - cx) / rx).square() - ((y - cy) / ry).square()))
    return _smooth_max(torch.stack(lumps), 30)


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
    return _smooth_max(torch.stack([head, nose, neck, shoulders]), 45)


def _pattern(x: Tensor, y: Tensor, kind: Tensor, uniform: Uniform, noise: Tensor) -> Tensor:
    """How much of the second colour, 0..1: none, stripes, spots or clouds."""
    frequency = uniform(5, 11)
    stripes = torch.sigmoid(6 * (x * frequency).sin())
    spots = torch.sigmoid(9 * ((x * frequency).sin() * (y * frequency).sin() - 0.3))
    clouds = torch.sigmoid(7 * noise)
    kinds = torch.stack([torch.zeros_like(stripes), stripes, spots, clouds])
    return kinds[kind, torch.arange(len(kind))]


# --- light --------------------------------------------------------------------------------------------------------


def render(scenes: Scenes, light: Light) -> Tensor:
    """The scenes under one light, linear HDR [N, 3, H, W]: the body over the wall with the body's shadow on it."""
    body, wall = relit_body(scenes, light), backdrop(scenes, light, shadow=True)
    return torch.lerp(wall, body, scenes.alpha)


def relit_body(scenes: Scenes, light: Light) -> Tensor:
    """The body alone, linear HDR [N, 3, H, W]; where alpha is 0 its color is without meaning."""
    if isinstance(light, Environment):
        return scenes.albedo / math.pi * _irradiance(light.harmonics, scenes.normal)
    size = scenes.albedo.shape[-1]
    position = _positions(size, scenes.depth)
    toward, irradiance = _incident(light, position)
    visible = _visibility(scenes, position, toward)
    cosine = (scenes.normal * toward).sum(1, keepdim=True).clamp(min=0)
    reflected = scenes.albedo / math.pi + scenes.gloss * _specular(scenes.normal, toward, scenes.roughness)
    return reflected * irradiance * cosine * visible


def backdrop(scenes: Scenes, light: Light, shadow: bool = False) -> Tensor:
    """The wall alone, linear HDR [N, 3, H, W], with or without the body's shadow."""
    facing = torch.tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1)
    if isinstance(light, Environment):
        return scenes.wall / math.pi * _irradiance(light.harmonics, facing.expand_as(scenes.normal))
    position = _positions(scenes.wall.shape[-1], torch.full_like(scenes.thickness, WALL))
    toward, irradiance = _incident(light, position)
    lit = scenes.wall / math.pi * irradiance * toward[:, 2:].clamp(min=0)
    return lit * _visibility(scenes, position, toward) if shadow else lit


def one_at_a_time(scenes: Scenes, lights: Sequence[Light]) -> Tensor:
    """The scenes under each light alone, linear HDR [lights, N, 3, H, W]."""
    return torch.stack([render(scenes, light) for light in lights])


def mix(pictures: Tensor, weights: Tensor) -> Tensor:
    """Pictures under all lights at once. pictures: [lights, ...]; weights: [lights], each light's strength."""
    return torch.einsum("l...,l->...", pictures, weights)


def _positions(size: int, z: Tensor) -> Tensor:
    """World positions [N, 3, H, W] of the pixels at heights z [N, 1, H, W]."""
    x, y = _grid(size)
    return torch.cat([x.expand_as(z[:, 0])[:, None], y.expand_as(z[:, 0])[:, None], z], 1)


def _incident(light: Directional | Point, position: Tensor) -> tuple[Tensor, Tensor]:
    """Unit vectors to the light [N, 3, H, W] and the irradiance of a surface that faces it [N, 3, H or 1, W or 1]."""
    color = light.color[:, :, None, None]
    if isinstance(light, Directional):
        return normalize(light.direction, dim=1)[:, :, None, None].expand_as(position), color
    way = light.position[:, :, None, None] - position
    return normalize(way, dim=1), color / way.square().sum(1, keepdim=True).clamp(min=1e-2)


def _visibility(scenes: Scenes, position: Tensor, toward: Tensor, steps: int = 16, reach: float = 1.5) -> Tensor:
    """How much of the light is not hidden by the body, 0..1, [N, 1, H, W]; edges soften with distance.

    Rays are marched at half resolution: shadows are soft, and it is four times as fast.
    """
    full = position.shape[-2:]
    thickness, position, toward = (avg_pool2d(field, 2) for field in (scenes.thickness, position, toward))
    hidden = torch.zeros_like(thickness)
    for step in range(1, steps + 1):
        way = reach * (step / steps) ** 1.5
        point = position + way * toward
        where = torch.stack([point[:, 0], -point[:, 1]], -1)
        there = grid_sample(thickness, where, padding_mode="border", align_corners=False)
        inside = (there - point[:, 2:].square() - 0.004) / (0.02 + 0.12 * way)
        hidden = torch.maximum(hidden, inside.clamp(0, 1))
    return interpolate(1 - hidden, size=full, mode="bilinear", align_corners=False)


def _specular(normal: Tensor, toward: Tensor, roughness: Tensor) -> Tensor:
    """Cook-Torrance with GGX, Schlick's Fresnel (F0 = 0.04) and Smith's visibility as Karis (2013) approximates it."""
    alpha2 = roughness ** 4
    n_v = normal[:, 2:].clamp(min=0.05)
    n_l = (normal * toward).sum(1, keepdim=True).clamp(min=0.05)
    half = normalize(toward + torch.tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1), dim=1)
    n_h = (normal * half).sum(1, keepdim=True).clamp(0, 1)
    v_h = half[:, 2:].clamp(0, 1)
    distribution = alpha2 / (math.pi * ((n_h.square() * (alpha2 - 1) + 1).square()).clamp(min=1e-6))
    k = (roughness + 1).square() / 8
    masking = 1 / ((n_v * (1 - k) + k) * (n_l * (1 - k) + k) * 4)
    return distribution * masking * (0.04 + 0.96 * (1 - v_h) ** 5)


def _irradiance(harmonics: Tensor, normal: Tensor) -> Tensor:
    """Irradiance [N, 3, H, W] of surfaces with these normals [N, 3, H, W] in an environment [N, 9, 3]."""
    x, y, z = normal.unbind(1)
    one = torch.ones_like(x)
    basis = torch.stack([0.282095 * one, 0.488603 * y, 0.488603 * z, 0.488603 * x, 1.092548 * x * y, 1.092548 * y * z,
                         0.315392 * (3 * z * z - 1), 1.092548 * x * z, 0.546274 * (x * x - y * y)], 1)
    cosine = torch.tensor([math.pi] + [2 * math.pi / 3] * 3 + [math.pi / 4] * 5)
    return torch.einsum("nkhw,nkc,k->nchw", basis, harmonics, cosine).clamp(min=0)


# --- lighting as a caption names it ----------------------------------------------------------------------------


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
    count = len(scenes.captions)

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(count, generator=generator) * (high - low) + low

    tints = torch.tensor(list(TINTS.values()))
    tint = torch.randint(2, len(tints), (count,), generator=generator)
    tint = torch.where(uniform(0, 1) < 0.5, torch.randint(0, 2, (count,), generator=generator), tint)
    azimuth = uniform(0, 2 * math.pi)
    return lighting(scenes, azimuth, uniform(-0.05, 0.5), uniform(1.25, 1.8), tint, uniform(0.10, 0.24))


def lighting(scenes: Scenes, azimuth: Tensor, elevation: Tensor, distance: Tensor, tint: Tensor,
             exposure: Tensor) -> Lighting:
    """A lamp per scene, all arguments [N].

    azimuth: radians from +x; elevation: radians towards the camera; tint: index into TINTS; exposure: the mean
    luminance of the wall, without the body's shadow.
    """
    colors = torch.tensor(list(TINTS.values()))[tint]
    position = distance[:, None] * torch.stack(
        [azimuth.cos() * elevation.cos(), azimuth.sin() * elevation.cos(), elevation.sin()], 1)
    harmonics = torch.zeros(len(azimuth), 9, 3)
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


def luminance(linear: Tensor) -> Tensor:
    """[N, 3, H, W] -> [N, 1, H, W]."""
    return torch.einsum("nchw,c->nhw", linear, torch.tensor(LUMINANCE))[:, None]


def to_srgb(linear: Tensor) -> Tensor:
    """Linear RGB -> sRGB 0..1 (IEC 61966-2-1), clipped."""
    linear = linear.clamp(0, 1)
    return torch.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear.clamp(min=1e-9) ** (1 / 2.4) - 0.055)


def to_linear(srgb: Tensor) -> Tensor:
    """sRGB 0..1 -> linear RGB."""
    return torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)

