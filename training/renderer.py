"""The light stage's renderer: bodies before a wall, under lights that can be switched one at a time.

All tensors are batches of scenes, float32, on any one device. Colours are linear RGB (HDR, not clipped) until
`to_srgb`. World space: the camera looks along -z and sees x (right) and y (up) in -1..1, orthographically; row 0 of a
picture is at the top. A body is given by its squared half-thickness F(x, y): it fills |z| <= sqrt(F) where F > 0. So
the surface is z = sqrt(F), its normal (-dF/dx, -dF/dy, 2z), its silhouette F = 0, and a point is inside where z^2 < F.

Light transport is linear: a picture under several lights is the sum of its pictures under each (`one_at_a_time`,
`mix`). Shadows, being factors of one light each, keep that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample, interpolate, normalize

LUMINANCE = (0.2126, 0.7152, 0.0722)
WALL = -0.55
"""z of the wall behind the bodies."""

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
    """[N, 1, 1, 1] or [N, 1, H, W]"""
    gloss: Tensor
    """weight of the specular term, [N, 1, 1, 1] or [N, 1, H, W]"""
    wall: Tensor
    """albedo of the wall, [N, 3, H, W]"""
    captions: tuple[str, ...]
    ground: Tensor | None = None
    """z of the wall where it comes forward to be a floor, [N, 1, H, W]; None: it stands flat at `WALL`, and light from
    all around reaches it as if there were no body"""

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


def render(scenes: Scenes, light: Light) -> Tensor:
    """The scenes under one light, linear HDR [N, 3, H, W]: the body over the wall with the body's shadow on it."""
    body, wall = relit_body(scenes, light), backdrop(scenes, light, shadow=True)
    return torch.lerp(wall, body, scenes.alpha)


def relit_body(scenes: Scenes, light: Light) -> Tensor:
    """The body alone, linear HDR [N, 3, H, W]; where alpha is 0 its color is without meaning."""
    if isinstance(light, Environment):
        return scenes.albedo / math.pi * _irradiance(light.harmonics, scenes.normal)
    position = _positions(scenes.depth)
    toward, irradiance = _incident(light, position)
    visible = _visibility(scenes, position, toward)
    cosine = (scenes.normal * toward).sum(1, keepdim=True).clamp(min=0)
    reflected = scenes.albedo / math.pi + scenes.gloss * _specular(scenes.normal, toward, scenes.roughness)
    return reflected * irradiance * cosine * visible


def backdrop(scenes: Scenes, light: Light, shadow: bool = False) -> Tensor:
    """The wall alone, linear HDR [N, 3, H, W], with or without the body's shadow."""
    height, normal = _wall(scenes)
    position = _positions(height)
    if isinstance(light, Environment):
        lit = scenes.wall / math.pi * _irradiance(light.harmonics, normal)
        if not shadow or scenes.ground is None:
            return lit
        return lit * (0.35 + 0.65 * _visibility(scenes, position, normal, steps=5, reach=0.5))
    toward, irradiance = _incident(light, position)
    lit = scenes.wall / math.pi * irradiance * (normal * toward).sum(1, keepdim=True).clamp(min=0)
    return lit * _visibility(scenes, position, toward) if shadow else lit


def _wall(scenes: Scenes) -> tuple[Tensor, Tensor]:
    """The wall's z [N, 1, H, W] and unit normal [N, 3, H, W]."""
    if scenes.ground is None:
        facing = torch.tensor([0.0, 0.0, 1.0], device=scenes.wall.device).view(1, 3, 1, 1)
        return torch.full_like(scenes.thickness, WALL), facing.expand_as(scenes.normal)
    slopes = gradient(scenes.ground)
    return scenes.ground, normalize(torch.cat([-slopes[0], -slopes[1], torch.ones_like(scenes.ground)], 1), dim=1)


def one_at_a_time(scenes: Scenes, lights: Sequence[Light]) -> Tensor:
    """The scenes under each light alone, linear HDR [lights, N, 3, H, W]."""
    return torch.stack([render(scenes, light) for light in lights])


def mix(pictures: Tensor, weights: Tensor) -> Tensor:
    """Pictures under all lights at once. pictures: [lights, ...]; weights: [lights], each light's strength."""
    return torch.einsum("l...,l->...", pictures, weights.to(pictures))


def _positions(z: Tensor) -> Tensor:
    """World positions [N, 3, H, W] of the pixels at heights z [N, 1, H, W]."""
    x, y = grid(z.shape[-1], z.device)
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
    half = normalize(toward + toward.new_tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1), dim=1)
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
    cosine = normal.new_tensor([math.pi] + [2 * math.pi / 3] * 3 + [math.pi / 4] * 5)
    return torch.einsum("nkhw,nkc,k->nchw", basis, harmonics, cosine).clamp(min=0)


def grid(size: int, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """x and y of the pixels' middles, [1, size, size] each."""
    along = (torch.arange(size, device=device) + 0.5) * 2 / size - 1
    return along[None, None, :].expand(1, size, size), -along[None, :, None].expand(1, size, size)


def gradient(field: Tensor) -> tuple[Tensor, Tensor]:
    """d/dx and d/dy of [N, 1, H, W], in world units, by central differences."""
    dy, dx = torch.gradient(field, spacing=2 / field.shape[-1], dim=(2, 3))
    return dx, -dy


def luminance(linear: Tensor) -> Tensor:
    """[N, 3, H, W] -> [N, 1, H, W]."""
    return torch.einsum("nchw,c->nhw", linear, linear.new_tensor(LUMINANCE))[:, None]


def to_srgb(linear: Tensor) -> Tensor:
    """Linear RGB -> sRGB 0..1 (IEC 61966-2-1), clipped."""
    linear = linear.clamp(0, 1)
    return torch.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear.clamp(min=1e-9) ** (1 / 2.4) - 0.055)


def to_linear(srgb: Tensor) -> Tensor:
    """sRGB 0..1 -> linear RGB."""
    return torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)

