"""The better subjects: bodies with prints, threads, folds and faces, one to three of them, on a floor before any wall.

They are harder than the benchmark's (`light_stage.random_scenes`) and are reported beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample, interpolate, normalize

from .bodies import BOTTOM, PROFILES, Body, ball, box, bust, cloth, revolved, ring
from .light_stage import COLORS, MATERIALS, noise
from .renderer import WALL, Scenes, gradient, grid

SHAPES = (*PROFILES, "box", "bust", "cloth", "ball", "ring")
SURFACES = {**MATERIALS, "shiny": (0.14, 2.2), "furry": (0.9, 0.1)}
"""GGX roughness and weight of the specular term. `shiny` is what glass and lacquer look like from afar."""
WALLS = ("plain", "gradient", "tiles", "stripes", "dots", "wood", "window", "bokeh")
CREAM = (0.72, 0.69, 0.60)
"""linear RGB of a printed label's paper"""


@dataclass(frozen=True)
class Painted:
    """Bodies in their places with their surfaces. [N, H, W] or [N, channels, H, W]."""

    body: Body
    albedo: Tensor
    roughness: Tensor
    gloss: Tensor
    captions: tuple[str, ...]


def product_scenes(count: int, size: int, generator: torch.Generator) -> Scenes:
    """`count` scenes of `size` x `size` pixels; the same generator state gives the same scenes on the same device."""
    draw = Draw(count, size, generator)
    x, y = grid(size, generator.device)
    floor = draw.uniform(-0.88, -0.7)
    number = draw.choose(10)
    number = torch.where(number < 6, 1, torch.where(number < 9, 2, 3))[:, None, None]
    scale = torch.where(number == 1, draw.uniform(0.95, 1.15), torch.where(number == 2, draw.uniform(0.66, 0.8),
                                                                            draw.uniform(0.46, 0.56)))
    painted: list[Painted] = []
    for slot in range(3):
        middle = torch.where(number == 1, draw.uniform(-0.12, 0.12),
                             (slot - (number - 1) / 2) * (1.5 / number) + draw.uniform(-0.06, 0.06))
        own = scale * draw.uniform(0.85, 1.1)
        painted.append(_paint(draw, (x - middle) / own, (y - floor) / own + BOTTOM, own, slot < number))
    owner = torch.stack([one.body.inside for one in painted]).argmax(0, keepdim=True)

    def owned(fields: Sequence[Tensor]) -> Tensor:
        return torch.stack(list(fields)).gather(0, owner)[0]

    thickness, front, inside = (owned([getattr(one.body, name) for one in painted])[:, None]
                                for name in ("thickness", "front", "inside"))
    gx, gy = gradient(front)
    normal = normalize(torch.cat([-gx, -gy, 2 * front.clamp(min=1e-6).sqrt()], 1), dim=1)
    steepness = torch.stack(gradient(inside)).square().sum(0).sqrt().clamp(min=0.05)
    alpha = (inside / steepness * size / 2 + 0.5).clamp(0, 1)
    albedo = torch.stack([owned([one.albedo[:, channel] for one in painted]) for channel in range(3)], 1)
    roughness, gloss = (owned([getattr(one, name) for one in painted])[:, None] for name in ("roughness", "gloss"))
    ground = _ground(draw, y, floor)
    names = [", ".join(row[:n]) for row, n in zip(zip(*(one.captions for one in painted), strict=True),
                                                  number.flatten().tolist(), strict=True)]
    return Scenes(thickness, normal, alpha, albedo, roughness, gloss, _walls(draw, x, y, floor), tuple(names), ground)


class Draw:
    """Random numbers and fields of one batch."""

    def __init__(self, count: int, size: int, generator: torch.Generator) -> None:
        self.count, self.size, self._generator = count, size, generator

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """[count, 1, 1], or [count, *shape]."""
        values = torch.rand(self.count, *(shape or (1, 1)), generator=self._generator, device=self._generator.device)
        return values * (high - low) + low

    def choose(self, options: int) -> Tensor:
        """[count]"""
        return torch.randint(options, (self.count,), generator=self._generator, device=self._generator.device)

    def noise(self, cells: int, channels: int = 1) -> Tensor:
        """[count, channels, size, size], smooth, about -1..1."""
        return noise(self.count, channels, cells, self.size, self._generator)

    def colors(self) -> tuple[Tensor, Tensor]:
        """Numbers in COLORS [count] and linear RGB near them [count, 3, 1, 1]."""
        names = self.choose(len(COLORS))
        palette = torch.tensor(list(COLORS.values()), device=names.device)
        return names, (palette[names] * self.uniform(0.75, 1.2, 3)).clamp(0.02, 0.85)[:, :, None, None]


def picked(options: Sequence[Tensor], which: Tensor) -> Tensor:
    """From a list of [N, ...] the one of each row, which [N]."""
    return torch.stack(torch.broadcast_tensors(*options))[which, torch.arange(len(which), device=which.device)]


def _paint(draw: Draw, x: Tensor, y: Tensor, scale: Tensor, there: Tensor) -> Painted:
    """One body for each scene at its own place x, y, with pattern, print and surface; none where not `there`."""
    which, uniform = draw.choose(len(SHAPES)), draw.uniform
    fine, material = draw.noise(draw.size // 2)[:, 0], draw.choose(len(SURFACES))
    furry = (material == list(SURFACES).index("furry"))[:, None, None]
    options = [box(x, y, uniform), bust(x, y, uniform), cloth(x, y, uniform, draw.noise(7)[:, 0]),
               ball(x, y, uniform, fine * furry), ring(x, y, uniform)]
    round_ones = len(PROFILES)
    bodies = [revolved(x, y, uniform, which.clamp(max=round_ones - 1)), *options]
    kind = (which - round_ones + 1).clamp(min=0)
    thickness, front, inside, u, v = (picked([getattr(body, name) for body in bodies], kind)
                                      for name in ("thickness", "front", "inside", "u", "v"))
    tufts = (0.0012 + 0.006 * (front / 0.05).clamp(0, 1)) * fine * furry  # thin parts would dissolve in thicker fur
    bumps = (0.012 * draw.noise(11)[:, 0] * uniform(0, 1) + tufts) * (kind != 1)[:, None, None]
    away = torch.full_like(inside, -1.0)
    body = Body(torch.where(there, (thickness + bumps * (thickness > 0)) * scale.square(), away),
                torch.where(there, (front + bumps) * scale.square(), away),
                torch.where(there, (inside + bumps * furry) * scale.square(), away), u, v)
    name, color = draw.colors()
    albedo = torch.lerp(color, draw.colors()[1], _pattern(draw, u, v)[:, None])
    labelled = (uniform(0, 1) < 0.55) & ((kind == 0) | (kind == 1))[:, None, None]
    paper, ink = _label(draw, u, v)
    sheet = picked([torch.tensor(CREAM, device=x.device).view(1, 3, 1, 1).expand(draw.count, -1, -1, -1),
                    draw.colors()[1]], draw.choose(2))
    albedo = torch.lerp(albedo, torch.lerp(sheet, draw.colors()[1] * 0.4, ink[:, None]), (paper * labelled)[:, None])
    albedo = albedo * (1 + 0.08 * draw.noise(14) + 0.3 * fine[:, None] * furry[:, None])
    surface = torch.tensor(list(SURFACES.values()), device=x.device)[material][..., None, None]
    captions = tuple(f"a {list(SURFACES)[m]} {list(COLORS)[c]} {SHAPES[s]}"
                     for m, c, s in zip(material.tolist(), name.tolist(), which.tolist(), strict=True))
    return Painted(body, albedo.clamp(0.02, 0.85), surface[:, 0].expand_as(u), surface[:, 1].expand_as(u), captions)


def _edge(distance: Tensor, sharpness: float = 60) -> Tensor:
    """0 to 1 where a distance becomes positive."""
    return torch.sigmoid(distance * sharpness)


def _pattern(draw: Draw, u: Tensor, v: Tensor) -> Tensor:
    """How much of the second colour, 0..1."""
    count = draw.uniform(4, 12)
    waves = draw.noise(6)[:, 0]
    options = [torch.zeros_like(u), torch.zeros_like(u), torch.zeros_like(u), _edge((v * count).sin(), 12),
               _edge((u * count).sin(), 12), _edge((u * count).sin() * (v * count).sin(), 20),
               _edge((u * count).sin() * (v * count).sin() - 0.4, 20), _edge(waves, 8),
               _edge((v * count + 3 * (u * count).sin().abs()).sin(), 12),
               _edge(0.25 - (v - draw.uniform(-0.5, 0.6)).abs(), 60)]
    return picked(options, draw.choose(len(options)))


def _label(draw: Draw, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """A printed label: where its paper is and where there is ink, 0..1."""
    wide, tall = draw.uniform(0.35, 0.75), draw.uniform(0.2, 0.5)
    lu, lv = u / wide, (v + draw.uniform(-0.15, 0.25)) / tall
    paper = _edge(1 - lu.abs(), 40) * _edge(1 - lv.abs(), 40)
    rows, columns = 9, 26
    letters = (draw.uniform(0, 1, 1, rows, columns) < 0.62).float()
    letters[:, :, ::2] = 0  # between the lines
    letters[:, :, :, [0, 1, 2, -1, -2, -3]] = 0
    text = grid_sample(letters, torch.stack([lu, lv], -1), mode="bilinear", align_corners=False)[:, 0]
    title = _edge(0.16 - (lv - 0.55).abs(), 50) * _edge(0.75 - lu.abs(), 50) * _edge((lu * 19).sin() + 0.5, 12)
    frame = _edge((torch.maximum(lu.abs(), lv.abs()) - 0.88).abs() * -1 + 0.03, 80)
    dot = _edge(0.3 - (lu.square() + (lv * 0.8).square()).sqrt(), 50)
    print_of = picked([torch.maximum(text * (lv < 0.35), title), torch.maximum(dot, title), text], draw.choose(3))
    return paper, torch.maximum(print_of, frame * (draw.uniform(0, 1) < 0.5)).clamp(0, 1)


def _ground(draw: Draw, y: Tensor, floor: Tensor) -> Tensor:
    """z of the wall and of the floor that it runs out into, as an infinity cove does; a quarter has no floor."""
    slope = draw.uniform(1.0, 2.2) * (draw.uniform(0, 1) < 0.75)
    below = floor - WALL / slope.clamp(min=0.5) - y
    bend = draw.uniform(0.02, 0.14)
    return (WALL + slope * (below / 2 + (below.square() / 4 + bend.square()).sqrt()))[:, None].expand(
        -1, -1, draw.size, -1).contiguous()


def _walls(draw: Draw, x: Tensor, y: Tensor, floor: Tensor) -> Tensor:
    """Albedo of the walls [N, 3, H, W]. Windows and lights far behind are more than 1: they shine."""
    uniform, count = draw.uniform, draw.uniform(4, 11)
    base = (uniform(0.2, 0.75, 1, 1, 1) * (1 + uniform(-0.2, 0.2, 3, 1, 1))).expand(-1, -1, draw.size, draw.size)
    other = torch.lerp(base, draw.colors()[1], uniform(0.2, 0.9, 1, 1, 1))
    angle = uniform(0, 2 * math.pi)
    slope = ((x * angle.cos() + y * angle.sin()) * 0.6 + 0.5).clamp(0, 1)
    odd = (y * count).floor() % 2
    tiles = torch.maximum(_edge(0.06 - _far(x * count + odd * 0.5), 40), _edge(0.06 - _far(y * count), 40))
    wood = _edge((y * count * 3 + 1.5 * draw.noise(5)[:, 0] + x * 0.3).sin(), 4) * 0.5 + 0.2 * draw.noise(30)[:, 0]
    patterns = [torch.zeros_like(slope), slope, tiles, _edge((x * count * 2).sin(), 10),
                _edge((x * count * 2).sin() * (y * count * 2).sin() - 0.3, 14), wood, slope, slope * 0.5]
    kind = draw.choose(len(WALLS))
    wall = torch.lerp(base, other, picked(patterns, kind)[:, None])
    shown = [(kind == WALLS.index(name))[:, None, None, None] for name in ("window", "bokeh")]
    wall = wall * (1 + 0.06 * draw.noise(7) + 0.03 * draw.noise(draw.size // 3))
    wall = torch.where(shown[0], _window(draw, wall, x, y), wall)
    wall = torch.where(shown[1], _bokeh(draw, wall * 0.4, x, y), wall)
    soft = interpolate(avg_pool2d(wall, 8), size=(draw.size, draw.size), mode="bicubic", align_corners=False)
    wall = torch.where((uniform(0, 1) < 0.35)[:, None], soft, wall)
    planks = base * (0.8 + 0.25 * picked([wood, torch.zeros_like(wood)], draw.choose(2))[:, None])
    on_floor = (_edge(floor + 0.25 - y, 40) * (uniform(0, 1) < 0.4))[:, None]
    return torch.lerp(wall, planks * torch.lerp(torch.ones_like(other), other, 0.5), on_floor).clamp(0.03, 1.6)


def _far(turns: Tensor) -> Tensor:
    """Distance to the nearest whole number."""
    return (turns - turns.round()).abs()


def _window(draw: Draw, wall: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """A window with bars and a bright sky."""
    wx = (x - draw.uniform(-0.6, 0.6)) / draw.uniform(0.25, 0.45)
    wy = (y - draw.uniform(0.1, 0.5)) / draw.uniform(0.3, 0.5)
    pane = _edge(1 - wx.abs(), 40) * _edge(1 - wy.abs(), 40) * _edge(wx.abs() - 0.07, 40) * _edge(wy.abs() - 0.05, 40)
    sky = torch.stack([0.9 - 0.2 * wy, 1.0 - 0.1 * wy, 1.1 + 0.1 * wy], 1) * draw.uniform(0.8, 1.4, 1, 1, 1)
    return torch.lerp(wall, sky, pane[:, None])


def _bokeh(draw: Draw, wall: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Lights far behind, out of focus: discs of one size."""
    radius = draw.uniform(0.08, 0.2)
    for _ in range(9):
        away = ((x - draw.uniform(-1, 1)).square() + (y - draw.uniform(-0.6, 1)).square()).sqrt()
        disc = _edge(radius * draw.uniform(0.8, 1.1) - away, 30) * draw.uniform(0.15, 0.7)
        wall = wall + disc[:, None] * draw.colors()[1] * 1.6
    return wall
