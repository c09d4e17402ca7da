"""PaintingLight's geometry against an independent slow writing: rays against triangles, pixel loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

from lib_iclight.preview.colors import broad_slopes, color_geometry, stroke_density
from lib_iclight.preview.hull import hull_planes, outermost


def mirrored(index: int, count: int) -> int:
    """The index that stands for one beyond the border, the edge itself not repeated."""
    if count == 1:
        return 0
    while not 0 <= index < count:
        index = -index if index < 0 else 2 * (count - 1) - index
    return index


def filtered(plane: NDArray[Any], kernel: NDArray[Any]) -> NDArray[Any]:
    """Correlation with an odd kernel, pixel by pixel."""
    height, width = plane.shape
    reach_y, reach_x = kernel.shape[0] // 2, kernel.shape[1] // 2
    made = np.zeros_like(plane)
    for row in range(height):
        for column in range(width):
            for y in range(-reach_y, reach_y + 1):
                for x in range(-reach_x, reach_x + 1):
                    made[row, column] += kernel[y + reach_y, x + reach_x] * plane[mirrored(row + y, height),
                                                                                 mirrored(column + x, width)]
    return made


BINOMIAL = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256


def ray_length(triangles: NDArray[Any], center: NDArray[Any], toward: NDArray[Any]) -> float:
    """How far along center + t * toward the ray leaves a convex mesh, t; Moeller and Trumbore (1997)."""
    best = 0.0
    for a, b, c in triangles:
        one, two = b - a, c - a
        cross = np.cross(toward, two)
        det = one @ cross
        if abs(det) < 1e-12:
            continue
        from_a = center - a
        u = (from_a @ cross) / det
        other = np.cross(from_a, one)
        v = (toward @ other) / det
        t = (two @ other) / det
        if u >= -1e-9 and v >= -1e-9 and u + v <= 1 + 1e-9 and t > 0:
            best = max(best, t)
    return best


def slow_geometry(rgb: NDArray[Any]) -> NDArray[Any]:
    """The published procedure, ray by ray and pixel by pixel."""
    height, width = rgb.shape[:2]
    colors = rgb.reshape(-1, 3).astype(float)
    center = colors.mean(axis=0)
    hull = ConvexHull(colors)
    triangles = colors[hull.simplices]
    density, distance = np.zeros(len(colors)), np.zeros(len(colors))
    for i, color in enumerate(colors):
        distance[i] = np.linalg.norm(color - center)
        if distance[i] > 1e-9:
            density[i] = 1.2 * (1 - abs(1 - 1 / ray_length(triangles, center, color - center)))
    density = density.clip(0, 1).reshape(height, width)
    guide, box = distance.reshape(height, width), np.full((3, 3), 1 / 9)
    for _ in range(4):
        mean_guide, mean = filtered(guide, box), filtered(density, box)
        slope = (filtered(guide * density, box) - mean_guide * mean) / (
            filtered(guide * guide, box) - mean_guide**2 + 0.01)
        density = filtered(slope, box) * guide + filtered(mean - slope * mean_guide, box)
    density = density.clip(0, 1)
    sobel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    made = np.zeros((height, width, 3, 3))
    for channel in range(3):
        levels = [rgb[..., channel].astype(float)]
        for _ in range(5):
            if min(levels[-1].shape) > 1:
                levels.append(filtered(levels[-1], BINOMIAL)[::2, ::2])
        slopes = []
        for kernel in (sobel, sobel.T):
            total = filtered(levels[-1], kernel)
            for level in reversed(levels[:-1]):
                total = 4 * up(total, level.shape) + filtered(level, kernel)
            slopes.append(total)
        most = np.hypot(*slopes).max()
        rest = np.sqrt(1 - density**2)
        made[..., channel, 0], made[..., channel, 1] = -slopes[0] / most * rest, slopes[1] / most * rest
        made[..., channel, 2] = density
    return made


def up(plane: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Zeros between, the same blur times 4; the far border goes on as the near one does."""
    padded = np.pad(plane, 1, "reflect" if min(plane.shape) > 1 else "edge")
    wide = np.zeros((2 * padded.shape[0], 2 * padded.shape[1]))
    wide[::2, ::2] = padded
    return filtered(wide, 4 * BINOMIAL)[2:2 + shape[0], 2:2 + shape[1]]


@pytest.mark.parametrize("seed, height, width", [(0, 18, 22), (1, 13, 21), (2, 20, 11)])
def test_the_geometry_is_that_of_rays(seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / 15
    smooth = np.stack([np.sin(3 * x + k) * np.cos(2 * y - k) for k in range(3)], -1)
    rgb = (128 + 70 * smooth + rng.normal(0, 12, (height, width, 3))).clip(0, 255).astype(np.uint8)
    np.testing.assert_allclose(color_geometry(rgb), slow_geometry(rgb), atol=1e-3)


def test_bright_is_near() -> None:
    """A bright ball of paint faces outwards on all sides, as a bump does."""
    y, x = np.mgrid[:64, :64] - 31.5
    disc = (220 * np.exp(-(x**2 + y**2) / 300))[..., None] * [1, 0.8, 0.6]
    normal = color_geometry(disc.astype(np.uint8)).mean(axis=2)
    assert normal[32, 20, 0] < -0.1 and normal[32, 44, 0] > 0.1 and normal[20, 32, 1] > 0.1 and normal[44, 32, 1] < -0.1


@pytest.mark.parametrize("picture", ["grey", "flat", "two colours", "one row"])
def test_pictures_without_a_hull_have_a_geometry(picture: str) -> None:
    ramp = np.linspace(0, 255, 32).astype(np.uint8)
    rgb = {"grey": np.broadcast_to(ramp[None, :, None], (20, 32, 3)), "flat": np.full((20, 32, 3), 90, np.uint8),
           "two colours": np.repeat(np.array([[[200, 30, 30]] * 16 + [[20, 20, 240]] * 16], np.uint8), 20, axis=0),
           "one row": np.broadcast_to(ramp[None, :, None], (1, 32, 3))}[picture]
    made = color_geometry(np.ascontiguousarray(rgb))
    assert np.isfinite(made).all() and (np.linalg.norm(made, axis=-1) <= 1.001).all()


def test_what_stands_out_is_dense() -> None:
    """Red and cyan are the ends of these colours, grey is their mean."""
    rgb = np.empty((24, 24, 3), np.uint8)
    rgb[:, :8], rgb[:, 8:16], rgb[:, 16:] = (228, 28, 28), (128, 128, 128), (28, 228, 228)
    density = stroke_density(rgb)
    assert density[:, :6].min() > 0.95 and density[:, 18:].min() > 0.95 and density[:, 10:14].max() < 0.1


@pytest.mark.parametrize("seed, count, spread", [(0, 4, 9), (1, 30, 9), (2, 400, 4), (3, 3000, 255), (4, 500, 2)])
def test_the_hull_is_scipys(seed: int, count: int, spread: int) -> None:
    points = np.random.default_rng(seed).integers(0, spread + 1, (count, 3)).astype(float)
    mine, theirs = hull_planes(points), np.unique(ConvexHull(points).equations.round(9), axis=0)
    assert len(mine) == len(theirs)
    where = np.random.default_rng(9).uniform(-10, 265, (500, 3))
    np.testing.assert_allclose((where @ mine[:, :3].T + mine[:, 3]).max(axis=1),
                               (where @ theirs[:, :3].T + theirs[:, 3]).max(axis=1), atol=1e-6)


def test_a_cube_has_six_planes_and_points_of_one_plane_no_hull() -> None:
    grid = np.stack(np.meshgrid(*[np.arange(4.0)] * 3), -1).reshape(-1, 3)
    planes = hull_planes(grid)
    assert sorted(map(tuple, planes.tolist())) == sorted(
        [(1, 0, 0, -3), (-1, 0, 0, 0), (0, 1, 0, -3), (0, -1, 0, 0), (0, 0, 1, -3), (0, 0, -1, 0)])
    with pytest.raises(ValueError, match="one plane"):
        hull_planes(grid[grid[:, 0] == grid[:, 1]])


def test_leaving_inner_colours_out_does_not_change_the_hull() -> None:
    colors = np.random.default_rng(5).normal(128, 30, (20000, 3)).clip(0, 255).astype(np.uint8)
    kept = outermost(colors)
    assert len(kept) < 15000
    np.testing.assert_allclose(hull_planes(kept), hull_planes(colors.astype(float)))


def test_slopes_of_a_ramp_point_one_way() -> None:
    right, down = broad_slopes(np.broadcast_to(np.arange(40.0), (30, 40)).copy())
    assert (right[:, 5:-5] > 0).all() and abs(down).max() < 1e-9
