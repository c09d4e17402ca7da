"""A light-weight harmonisation: the foreground takes on the background's colours before it is relit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

REGULARISATION = 1e-4
"""Added to variances (of sRGB values 0..1): one and a half codes' worth, so that flat pictures have a spread to divide
by."""
MOST_GAIN = 3.0
"""Contrast is not raised more than this: it is mostly noise that would become visible."""
SAMPLES = 65_536
"""About how many pixels of a picture the statistics are taken from."""


def harmonise(foreground: NDArray[np.uint8], alpha: NDArray[np.float32], background: NDArray[np.uint8],
              amount: float) -> NDArray[np.uint8]:
    """The foreground with, at amount 1 (0..1), the mean and covariance of the background's colours.

    foreground: uint8 sRGB [H, W, 3], counted by alpha, float32 [H, W] in 0..1. background: uint8 sRGB, any size.
    The foreground itself at amount 0. Of all linear maps that do this it is the one that moves colours least, the
    Monge-Kantorovitch solution: Pitie and Kokaram, "The Linear Monge-Kantorovitch Linear Colour Mapping for
    Example-Based Colour Transfer" (CVMP 2007); after Reinhard et al., "Color Transfer between Images" (2001).
    """
    if not amount:
        return foreground
    mean, covariance = _statistics(foreground, alpha)
    wanted_mean, wanted = _statistics(background, np.ones(background.shape[:2], np.float32))
    root = _root(covariance)
    inverse = np.linalg.inv(root)
    turn = inverse @ _root(root @ wanted @ root) @ inverse
    values, vectors = np.linalg.eigh(turn)
    turn = (vectors * values.clip(max=MOST_GAIN)) @ vectors.T
    turn = (1.0 - amount) * np.eye(3) + amount * turn
    shift = mean + amount * (wanted_mean - mean) - turn @ mean
    moved = foreground.astype(np.float32) @ turn.T.astype(np.float32) + (255.0 * shift).astype(np.float32)
    pixels: NDArray[np.uint8] = np.rint(moved).clip(0, 255).astype(np.uint8)
    return pixels


def _statistics(pixels: NDArray[np.uint8], weight: NDArray[np.float32]) -> tuple[NDArray[np.float64], ...]:
    """Weighted mean [3] and covariance [3, 3] of sRGB values 0..1."""
    step = max(1, round((weight.size / SAMPLES) ** 0.5))
    values = pixels[::step, ::step].reshape(-1, 3) / 255.0
    weights = weight[::step, ::step].reshape(-1, 1).astype(np.float64) + 1e-9
    weights /= weights.sum()
    mean = (weights * values).sum(axis=0)
    apart = values - mean
    return mean, (weights * apart).T @ apart + REGULARISATION * np.eye(3)


def _root(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The symmetric square root of a symmetric positive matrix."""
    values, vectors = np.linalg.eigh(matrix)
    root: NDArray[np.float64] = (vectors * np.sqrt(values)) @ vectors.T
    return root
