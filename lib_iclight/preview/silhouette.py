"""The body that an outline suggests: the alpha, inflated."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

SWEEPS = 6
"""Jacobi sweeps before and after each coarser correction."""
CYCLES = 4
"""V-cycles on each level."""
COARSEST = 8
"""Shorter side, in pixels, below which no coarser level is made."""
OUTSIDE = 1.0
"""How strongly the thickness is held at 0 where alpha is 0, in 1 / (a pixel of the grid)²."""
REACH = 1.0
"""Beyond about this distance (in shorter sides of the picture) from the outline a body gets flat."""

CLOSED = 0.012
"""Holes and cracks of the outline up to about twice this wide, in shorter sides, are a matte's flaws and are filled."""

Field = NDArray[np.float32]


def inflated(alpha: Field) -> Field:
    """Unit normals [H, W, 3] (x right, y up, z to the camera) of a body whose outline is alpha, float32 [H, W] in 0..1.

    Its squared half thickness F solves laplace F = -4 inside and is 0 outside; its surface is z = sqrt(F), so that a
    disc gives exactly a sphere and a strip half an ellipse. Where the subject runs out of the picture the body goes on:
    F is level across the picture's border. Where alpha is 0 the normals face the camera; so do all of them where there
    is no outline at all.
    """
    if alpha.min() > 0.5 or alpha.max() < 0.5:
        return facing(alpha.shape)
    thickness = _thickness(_closed(alpha))
    padded = np.pad(thickness, 1, "edge")
    right = (padded[1:-1, 2:] - padded[1:-1, :-2]) / 2.0
    down = (padded[2:, 1:-1] - padded[:-2, 1:-1]) / 2.0
    normals = np.stack([-right, down, 2.0 * np.sqrt(np.maximum(thickness, 1e-6))], axis=-1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return normals.astype(np.float32)


def _closed(alpha: Field) -> Field:
    """Alpha without small holes; what is mostly there counts as whole."""
    size = 2 * round(CLOSED * min(alpha.shape)) + 1
    matte = Image.fromarray(np.rint(alpha * 255.0).astype(np.uint8))
    if size >= 3:
        whole = np.pad(np.asarray(matte), size, "edge")
        matte = Image.fromarray(whole).filter(ImageFilter.MaxFilter(size)).filter(ImageFilter.MinFilter(size))
        matte = matte.crop((size, size, size + alpha.shape[1], size + alpha.shape[0]))
    return ((np.asarray(matte, np.float32) / 255.0 - 0.1) / 0.7).clip(0.0, 1.0)


def facing(shape: tuple[int, ...]) -> Field:
    """Normals [H, W, 3] that all face the camera."""
    normals = np.zeros((*shape[:2], 3), np.float32)
    normals[..., 2] = 1.0
    return normals


def _thickness(alpha: Field) -> Field:
    """F in pixels², not negative: full multigrid, coarse to fine."""
    levels = [alpha]
    while min(levels[-1].shape) >= 2 * COARSEST:
        levels.append(_half(levels[-1]))
    result: Field | None = None
    for depth in reversed(range(len(levels))):
        level = levels[depth]
        pull = OUTSIDE * (1.0 - level) + np.float32((2**depth / (REACH * min(alpha.shape))) ** 2)
        guess = np.zeros_like(level) if result is None else 4.0 * _double(result, level.shape)
        for _ in range(60 if result is None else CYCLES):
            guess = _cycle(guess, 4.0 * level, pull)
        result = guess
    assert result is not None
    return np.maximum(result, 0.0)


def _cycle(field: Field, source: Field, pull: Field) -> Field:
    """One V-cycle of pull F - laplace F = source on a grid of step 1."""
    field = _sweep(field, source, pull)
    if min(field.shape) >= 2 * COARSEST:
        left = source - (4.0 + pull) * field + _neighbours(field)
        # On a grid of twice the step the same equation has 4 times the source and the pull.
        coarse = 4.0 * _half(left)
        field = field + _double(_cycle(np.zeros_like(coarse), coarse, 4.0 * _half(pull)), field.shape)
        field = _sweep(field, source, pull)
    return field


def _sweep(field: Field, source: Field, pull: Field) -> Field:
    """Damped Jacobi."""
    weight = 0.8 / (4.0 + pull)
    for _ in range(SWEEPS):
        field = field + weight * (source + _neighbours(field) - (4.0 + pull) * field)
    return field


def _neighbours(field: Field) -> Field:
    """The sum of the four; level across the borders."""
    padded = np.pad(field, 1, "edge")
    total: Field = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    return total


def _half(field: Field) -> Field:
    """Means of 2 x 2; an odd last row or column counts twice."""
    padded = np.pad(field, [(0, side % 2) for side in field.shape], "edge")
    mean: Field = (padded[::2, ::2] + padded[1::2, ::2] + padded[::2, 1::2] + padded[1::2, 1::2]) / 4.0
    return mean


def _double(field: Field, shape: tuple[int, ...]) -> Field:
    """Twice the size, linearly between the pixels' middles, cut to `shape`."""
    for axis in (0, 1):
        padded = np.pad(field, [(1, 1) if one == axis else (0, 0) for one in (0, 1)], "edge")
        count = field.shape[axis]
        before, here, after = (np.take(padded, range(shift, shift + count), axis) for shift in range(3))
        pair = np.stack([0.25 * before + 0.75 * here, 0.75 * here + 0.25 * after], axis + 1)
        field = np.take(pair.reshape(*field.shape[:axis], 2 * count, *field.shape[axis + 1:]), range(shape[axis]), axis)
    return field
