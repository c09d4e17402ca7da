"""Bodies that look like what stands before a product photographer's camera. Each is one function of its own place.

A body stands on y = -0.7, reaches to about y = 0.7 and is some 1.2 wide at most. All tensors are [N, H, W]; `uniform`
gives one random number for each body, [N, 1, 1].
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .light_stage import Uniform, smooth_max

BOTTOM = -0.7


@dataclass(frozen=True)
class Body:
    """One kind of body at its own place, [N, H, W] each."""

    thickness: Tensor
    """F, see `renderer`"""
    front: Tensor
    """F where the body is; beyond its silhouette it goes on smoothly, so that normals at the edge are right"""
    inside: Tensor
    """more than 0 inside the silhouette, about as steep as a distance"""
    u: Tensor
    """where a pattern lies on it, about -1..1"""
    v: Tensor
    """likewise, upwards"""

    @staticmethod
    def smooth(thickness: Tensor, u: Tensor, v: Tensor) -> Body:
        """A body whose edge is where its thickness becomes 0."""
        return Body(thickness, thickness, thickness, u, v)


PROFILES = {
    "bottle": (0.27, 0.30, 0.30, 0.30, 0.27, 0.12, 0.10, 0.11), "jar": (0.30, 0.36, 0.37, 0.37, 0.36, 0.31, 0.31, 0.32),
    "vase": (0.20, 0.27, 0.36, 0.38, 0.30, 0.18, 0.15, 0.24), "cup": (0.26, 0.33, 0.35, 0.36, 0.36, 0.36, 0.36, 0.37),
    "goblet": (0.30, 0.10, 0.07, 0.08, 0.27, 0.36, 0.36, 0.33),
}
"""radii from foot to rim"""


def revolved(x: Tensor, y: Tensor, uniform: Uniform, which: Tensor) -> Body:
    """A surface of revolution after one of `PROFILES` ([N], its number), maybe with a thread, ribs, flutes, handles."""
    radii = torch.tensor(list(PROFILES.values()), device=x.device)[which] * uniform(0.8, 1.15)[:, 0]
    radii = radii * (1 + 0.12 * torch.stack([uniform(-1, 1)[:, 0, 0] for _ in range(radii.shape[1])], 1))
    cup = which == list(PROFILES).index("cup")
    tall = torch.where(cup[:, None, None], uniform(0.75, 0.95), uniform(1.05, 1.4))
    v = (y - BOTTOM) / tall
    radius = _along(radii, v)
    thread = 0.014 * _wave(v * 34 + x) * ((v > 0.82) & (v < 0.97)) * (uniform(0, 1) < 0.5)
    ribs = 0.014 * _wave(v * uniform(8, 20)) * ((v > 0.1) & (v < 0.55)) * (uniform(0, 1) < 0.3)
    radius = radius + thread + ribs
    u = (x / radius).clamp(-1, 1).asin() / (math.pi / 2)
    flutes = 0.012 * (u * uniform(14, 26)).cos() * ((v > 0.12) & (v < 0.6)) * (uniform(0, 1) < 0.25)
    caps = torch.minimum(v, 1 - v) * tall
    body = torch.minimum(radius.square() - x.square() + flutes * (x.abs() < radius), 8 * radius.abs() * caps)
    both, some = uniform(0, 1) < 0.5, (uniform(0, 1) < 0.4) | cup[:, None, None]
    size, tube = uniform(0.14, 0.2), uniform(0.03, 0.05)
    middle = BOTTOM + tall * uniform(0.45, 0.7)
    across = torch.where(both, x.abs(), x) - _along(radii, (middle - BOTTOM) / tall)
    away = ((across * 1.1).square() + (y - middle).square()).sqrt() - size
    handle = torch.where(some, tube.square() - away.square(), torch.full_like(away, -1))
    return Body.smooth(torch.maximum(body, handle), u, v * 2 - 1)


def _along(values: Tensor, place: Tensor) -> Tensor:
    """Values [N, K] at places 0..1 of [N, ...], with smooth steps between."""
    last = values.shape[1] - 1
    place = (place.clamp(0, 1) * last)
    index = place.floor().clamp(max=last - 1)
    share = place - index
    share = share * share * (3 - 2 * share)
    low = index.long().flatten(1)
    return torch.lerp(values.gather(1, low), values.gather(1, low + 1), share.flatten(1)).view_as(place)


def _wave(turns: Tensor) -> Tensor:
    return (turns * 2 * math.pi).sin()


def box(x: Tensor, y: Tensor, uniform: Uniform) -> Body:
    """A box, turned, seen from a little above."""
    yaw, pitch = uniform(0.25, 1.2), uniform(0.08, 0.5)
    mirror = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    x = x * mirror
    extent = [uniform(0.22, 0.45), uniform(0.25, 0.5), uniform(0.22, 0.45)]
    sine, cosine = pitch.sin(), pitch.cos()
    normals = [(yaw.cos(), yaw.sin() * sine * -1, yaw.sin() * cosine), (torch.zeros_like(yaw), cosine, sine),
               (-yaw.sin(), -yaw.cos() * sine, yaw.cos() * cosine)]
    reach = sum((e * n[1].abs() for e, n in zip(extent, normals, strict=True)), torch.zeros_like(yaw))
    y = y - BOTTOM - reach
    faces = torch.stack([(e - n[0] * x - n[1] * y) / n[2] for e, n in zip(extent, normals, strict=True)])
    backs = torch.stack([(-e - n[0] * x - n[1] * y) / n[2] for e, n in zip(extent, normals, strict=True)])
    z, face = faces.min(0)
    half = (z - backs.amax(0)) / 2
    depth = (z + 0.3).clamp(min=0.02)  # the box is moved towards the camera: bodies are thick to both sides of z = 0
    places = torch.stack([(n[0] * x + n[1] * y + n[2] * z) / e for e, n in zip(extent, normals, strict=True)])
    u = torch.where(face == 0, places[2], places[0]) * mirror
    v = torch.where(face == 1, places[2], places[1])
    thickness = torch.where(half > 0, depth.square(), half.clamp(max=0))
    return Body(thickness, depth.square(), half, u, v)


def bust(x: Tensor, y: Tensor, uniform: Uniform) -> Body:
    """Shoulders on a plinth, neck, a head with hair and a face of simple features that looks a little aside."""
    turn, wide, tall = uniform(-0.09, 0.09), uniform(0.23, 0.28), uniform(0.31, 0.36)
    top = uniform(0.26, 0.32)
    hx, hy = x / wide, (y - top) / tall
    jaw = 1 + 0.35 * (-hy).clamp(min=0).square()
    head = (wide * 1.15).square() * (1 - (hx * jaw).square() - hy.square())
    fx, fy = (x - turn) / wide, hy

    def bump(px: float, py: float, sx: float, sy: float) -> Tensor:
        return (-((fx - px) / sx).square() - ((fy - py) / sy).square()).exp()

    nose = 0.045 * bump(0, -0.12, 0.13, 0.24)
    brow = 0.012 * (bump(-0.36, 0.26, 0.28, 0.08) + bump(0.36, 0.26, 0.28, 0.08))
    eyes = 0.022 * (bump(-0.36, 0.06, 0.17, 0.09) + bump(0.36, 0.06, 0.17, 0.09))
    mouth = 0.012 * bump(0, -0.5, 0.26, 0.035) - 0.01 * bump(0, -0.58, 0.22, 0.06) - 0.008 * bump(0, -0.44, 0.2, 0.05)
    chin = 0.012 * bump(0, -0.82, 0.22, 0.12)
    hair = 0.005 * (2 + _wave(fx * uniform(3, 6) + fy * 1.5)) * torch.sigmoid(18 * (fy + 0.3 * fx.square() - 0.45))
    head = head + nose + brow - eyes - mouth + chin + hair
    ears = torch.stack([0.004 * (1 - ((x - side * wide) / 0.04).square() - ((y - top) / 0.09).square())
                        for side in (-1, 1)]).amax(0)
    neck = uniform(0.11, 0.14).square() * (1 - ((y + 0.1) / 0.34) ** 4) - x.square()
    breadth = uniform(0.4, 0.52)
    shoulders = 0.1 * (1 - (x / breadth).square() - ((y + 0.42) / 0.3).square())
    plinth = torch.minimum(0.04 - (x / 1.2).square(), torch.minimum(y - BOTTOM, -0.42 - y) * 1.5)
    body = smooth_max(torch.stack([head, ears, neck, torch.minimum(shoulders, (y + 0.62) * 1.5), plinth]), 70)
    return Body.smooth(body, x / 0.5, y / 0.7)


def cloth(x: Tensor, y: Tensor, uniform: Uniform, waves: Tensor) -> Body:
    """Something under a cloth that falls in folds. waves: smooth noise."""
    wide, tall = uniform(0.28, 0.42), uniform(0.75, 1.25)
    v = (y - BOTTOM) / tall
    spread = wide + uniform(0.05, 0.16) * (1 - v).clamp(0, 1.2).square() + 0.03 * waves
    across = x / spread
    turns = across * uniform(2.0, 4.5) + 0.9 * waves + uniform(0, 1)
    depth = uniform(0.04, 0.09) * (1 - v).clamp(0, 1) ** 0.7
    folds = depth * (1 - (turns * math.pi).sin().abs() * 2)
    top = 8 * 0.3 * (tall * (1 - v - 0.25 * across.square()))
    mound = torch.minimum((1 - across.square()) * 0.16, top * 0.35) + folds * (1 - across.square()).clamp(0, 1)
    hem = (y - BOTTOM - 0.025 * (1 + (turns * math.pi * 2).sin())) * 1.5
    return Body.smooth(torch.minimum(mound, hem), across, v * 2 - 1)


def ball(x: Tensor, y: Tensor, uniform: Uniform, fur: Tensor) -> Body:
    """A ball, for fruit and for fur. fur: fine noise."""
    radius, flat = uniform(0.34, 0.52), uniform(0.85, 1.05)
    py = (y - BOTTOM - radius * flat) / flat
    stem = 0.012 * (-(x / 0.05).square() - ((py - radius) / 0.09).square()).exp()
    body = radius.square() - x.square() - py.square() - stem + 0.01 * fur
    return Body.smooth(body, x / radius, py / radius)


def ring(x: Tensor, y: Tensor, uniform: Uniform) -> Body:
    """A ring that stands upright."""
    tube = uniform(0.1, 0.16)
    radius = uniform(0.3, 0.42)
    py = y - BOTTOM - radius - tube
    angle = torch.atan2(py, x)
    away = (x.square() + py.square()).sqrt() - radius
    knurl = 0.002 * (angle * uniform(10, 30).round()).sin() * (uniform(0, 1) < 0.4)
    return Body.smooth(tube.square() - away.square() + knurl, angle / math.pi, away / tube)
