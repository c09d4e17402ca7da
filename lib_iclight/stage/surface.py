"""What a set and its normals say of the subject itself: its albedo and its depth."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..color import LUMINANCE
from ..errors import StageError
from .normals import Normals
from .store import Stage

FLATTEST = 0.15
"""least z of a normal that a slope is taken of: steeper ones are as steep"""
SHADE_LEAST, SHADE_MOST = 0.35, 2.5
"""limits of the shading that albedo is divided by, as factors of its mean over the subject"""
BRIGHTEST = 0.9
"""the largest channel of the brightest albedo: near white, for nothing says how bright the lights were"""
NEAR = 16
"""cells to the longer side, as far as which something is near at soft edges"""
COARSEST = 16
"""pixels at whose side the solving for depth begins"""
STEPS = 60
"""steps of the solving at each size, more at the coarser ones"""


def albedo(stage: Stage, normals: Normals) -> NDArray[np.float32]:
    """The subject's own colour, linear, float32 [H, W, 3], 0..1, up to one factor for the whole picture.

    The mean of the set's pictures, divided by the shading that the normals explain; the division is of luminance, so
    chroma stays. What the normals explain is the part of the logarithm of the mean's luminance that is a quadratic
    function of the normal: light from afar that a matte surface shows is nearly that, whatever the lights are (Basri
    and Jacobs, "Lambertian Reflectance and Linear Subspaces", 2003). Scaled so that of the subject's brightest
    hundredth the largest channel is BRIGHTEST. Outside the subject it is the mean as it is, and at soft edges only the
    subject's part of a pixel is divided: what shines through from a bright background would become a white rim.
    """
    mean = np.empty((stage.height, stage.width, 3), np.float32)

    def average(rows: slice, pictures: NDArray[np.float32]) -> None:
        mean[rows] = pictures.mean(axis=0)

    stage.each_band(average)
    _check_size(stage, normals)
    alpha = stage.subject
    solid = alpha > 0.9
    light = np.log(mean @ LUMINANCE + 1e-4)
    if solid.sum() < 32:
        return mean.clip(0.0, 1.0)
    step = max(1, int(math.sqrt(solid.sum()) / 256))
    chosen = np.flatnonzero(solid.ravel())[::step * step]
    basis = _basis(normals.reshape(-1, 3)[chosen])
    answer, *_ = np.linalg.lstsq(basis, light.ravel()[chosen], rcond=None)
    middle = float((basis @ answer).mean())
    shade = (_basis(normals.reshape(-1, 3)) @ answer - middle).reshape(alpha.shape)
    factor = np.exp(shade.clip(math.log(SHADE_LEAST), math.log(SHADE_MOST))).astype(np.float32)
    bright = float(np.percentile((mean / factor[..., None])[solid].max(axis=1), 99.0))
    scale = np.float32(BRIGHTEST / bright if bright > 1e-6 else 1.0)
    part = _part(mean @ LUMINANCE.astype(np.float32), alpha)
    result: NDArray[np.float32] = (mean * (part * (scale / factor) + (1.0 - part))[..., None]).clip(0.0, 1.0)
    return result


def _part(luminance: NDArray[np.float32], alpha: NDArray[np.float32]) -> NDArray[np.float32]:
    """How much of each pixel's light is the subject's, 0..1, float32 [H, W]: alpha, weighed by the luminance that the
    subject and the background have near it; alpha alone where one of them is not near.
    """
    subject, background = (_near(luminance, mask) for mask in (alpha > 0.9, alpha < 0.1))
    own, other = alpha * subject, (1.0 - alpha) * background
    known = (own + other > 1e-6) & (subject > 0) & (background > 0)
    return np.where(known, own / np.maximum(own + other, np.float32(1e-6)), alpha).astype(np.float32)


def _near(values: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The mean of the values, [H, W], within a mask near each pixel; 0 where there are none."""
    height, width = values.shape
    cell = max(2, round(max(height, width) / NEAR))

    def averaged(plane: NDArray[np.float32]) -> NDArray[np.float32]:
        small = Image.fromarray(plane).resize((-(-width // cell), -(-height // cell)), Image.Resampling.BOX)
        return np.asarray(small.resize((width, height), Image.Resampling.BILINEAR))

    share = averaged(mask.astype(np.float32))
    return np.where(share > 1e-3, averaged(np.where(mask, values, np.float32(0.0))) / np.maximum(share, 1e-3),
                    np.float32(0.0)).astype(np.float32)


def depth(stage: Stage, normals: Normals) -> NDArray[np.float32]:
    """How far each point stands out to the camera, float32 [H, W], in units of the picture's shorter side.

    The surface whose slopes are nearest to the normals' in the least squares sense, solved within the subject only
    (alpha above 0.5) with free edges: a masked Poisson equation. Solved by conjugate gradients from coarse to fine
    (Bornemann and Deuflhard, "The cascadic multigrid method", 1996). The subject's farthest point is 0, and so is what
    is outside; parts that do not touch each other are told nothing of each other. A normal map knows no absolute depth,
    and steps at edges inside the subject are not seen.
    """
    _check_size(stage, normals)
    inside = stage.subject > 0.5
    if not inside.any():
        return np.zeros(inside.shape, np.float32)
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    box = np.s_[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]
    mask, part = inside[box], normals[box]
    out = np.maximum(part[..., 2], FLATTEST)
    # Rows count down, y up: going down by a pixel, z changes by +n_y / n_z.
    height = _solve(-part[..., 0] / out, part[..., 1] / out, mask.astype(np.float32))
    result = np.zeros(inside.shape, np.float32)
    result[box] = np.where(mask, height - height[mask].min(), 0.0) / np.float32(min(inside.shape))
    return result


def depth_codes(depth: NDArray[np.float32], alpha: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Depth as a 16-bit grey picture: 1 for the subject's farthest point to 65535 for its nearest, 0 outside it."""
    inside = alpha > 0.5
    far, near = (float(depth[inside].min()), float(depth[inside].max())) if inside.any() else (0.0, 0.0)
    scaled = 1.0 + (depth - far) * (65534.0 / max(near - far, 1e-9))
    return np.where(inside, np.rint(scaled.clip(1.0, 65535.0)), 0.0).astype(np.uint16)


def _basis(normal: NDArray[np.float32]) -> NDArray[np.float32]:
    """The quadratic polynomials of normals [N, 3], [N, 9]."""
    x, y, z = normal.T
    return np.stack([np.ones_like(x), x, y, z, x * y, x * z, y * z, x * x - y * y, z * z], 1)


def _solve(right: NDArray[np.float32], down: NDArray[np.float32], mask: NDArray[np.float32]) -> NDArray[np.float32]:
    """Heights [H, W] whose differences are nearest to the slopes, in pixels; mask: 0..1, how much a pixel counts."""
    height, width = mask.shape
    if min(height, width) > COARSEST:
        coarse = _solve(_halved(right, mask), _halved(down, mask), _halved(mask, np.ones_like(mask)))
        start = 2.0 * coarse.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
        for axis in (0, 1):  # linear in place of stairs
            for _ in range(2):
                padded = np.pad(start, [(1, 1) if one == axis else (0, 0) for one in (0, 1)], mode="edge")
                start = 0.25 * (np.take(padded, range(start.shape[axis]), axis) + 2 * start
                                + np.take(padded, range(2, start.shape[axis] + 2), axis))
    else:
        start = np.zeros_like(mask)
    side = max(height, width)
    return _conjugate_gradients(start, right, down, mask, STEPS if side > 8 * COARSEST else 4 * side)


def _conjugate_gradients(start: NDArray[np.float32], right: NDArray[np.float32], down: NDArray[np.float32],
                         mask: NDArray[np.float32], steps: int) -> NDArray[np.float32]:
    """`start` made to fit the slopes better by so many steps; edges between pixels weigh as both of them do."""
    across: NDArray[np.float32] = np.minimum(mask[:, 1:], mask[:, :-1])
    along: NDArray[np.float32] = np.minimum(mask[1:], mask[:-1])

    def spread(x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float32]:
        """What differences across edges, right and down, mean for the pixels at their ends."""
        total = np.zeros_like(mask)
        total[:, 1:] += x
        total[:, :-1] -= x
        total[1:] += y
        total[:-1] -= y
        return total

    def stiffness(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return spread(across * (values[:, 1:] - values[:, :-1]), along * (values[1:] - values[:-1]))

    degree = np.maximum(_degree(across, along), 1e-3)
    wanted = spread(across * 0.5 * (right[:, 1:] + right[:, :-1]), along * 0.5 * (down[1:] + down[:-1]))
    answer = start.astype(np.float32)
    rest = wanted - stiffness(answer)
    search = rest / degree
    energy = float(np.vdot(rest, search))
    first = energy
    for _ in range(steps):
        if energy <= 1e-10 * max(first, 1e-20):
            break
        pushed = stiffness(search)
        curvature = float(np.vdot(search, pushed))
        if curvature <= 0.0:
            break
        step = np.float32(energy / curvature)
        answer += step * search
        rest -= step * pushed
        scaled = rest / degree
        energy, before = float(np.vdot(rest, scaled)), energy
        search *= np.float32(energy / before)
        search += scaled
    return answer


def _degree(across: NDArray[np.float32], along: NDArray[np.float32]) -> NDArray[np.float32]:
    """The sum of the weights of each pixel's edges."""
    total = np.zeros((across.shape[0], along.shape[1]), np.float32)
    total[:, 1:] += across
    total[:, :-1] += across
    total[1:] += along
    total[:-1] += along
    return total


def _halved(values: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weighted means over squares of 2 x 2 pixels."""
    pad = [(0, values.shape[0] % 2), (0, values.shape[1] % 2)]
    weighted, weights = np.pad(values * weight, pad), np.pad(weight, pad)
    sums = [one[::2, ::2] + one[1::2, ::2] + one[::2, 1::2] + one[1::2, 1::2] for one in (weighted, weights)]
    halved: NDArray[np.float32] = sums[0] / np.maximum(sums[1], 1e-6)
    return halved


def _check_size(stage: Stage, normals: Normals) -> None:
    if normals.shape != (stage.height, stage.width, 3):
        raise StageError(f"the normals are {normals.shape[1]} x {normals.shape[0]}, the stage {stage.width} x "
                         f"{stage.height} pixels. Make them of this stage.")
