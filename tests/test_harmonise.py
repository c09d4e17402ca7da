"""The harmonised foreground has the background's statistics, and nothing else changes more than it must."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lib_iclight.preserve.harmonise import harmonise

SOLID = np.ones((64, 64), np.float32)


def clouds(seed: int, mean: tuple[int, ...], spread: tuple[int, ...], tilt: float = 0.0) -> NDArray[Any]:
    """uint8 [64, 64, 3]: correlated noise well inside 0..255."""
    normal = np.random.default_rng(seed).normal(size=(64, 64, 3))
    normal[..., 0] += tilt * normal[..., 1]
    return np.rint(np.clip(np.array(mean) + np.array(spread) * normal, 0, 255)).astype(np.uint8)


COLD, WARM = clouds(0, (120, 110, 150), (14, 18, 12), 0.3), clouds(1, (170, 120, 80), (18, 14, 12), -0.5)


def statistics(pixels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    flat = pixels.reshape(-1, 3).astype(float)
    return flat.mean(0), np.cov(flat.T)


def test_amount_0_is_the_foreground_itself() -> None:
    assert harmonise(COLD, SOLID, WARM, 0.0) is COLD


def test_at_1_mean_and_covariance_are_the_backgrounds() -> None:
    mean, covariance = statistics(harmonise(COLD, SOLID, WARM, 1.0))
    wanted_mean, wanted = statistics(WARM)
    np.testing.assert_allclose(mean, wanted_mean, atol=0.3)
    np.testing.assert_allclose(covariance, wanted, atol=8)
    assert np.abs(statistics(COLD)[1] - wanted).max() > 100


def test_half_the_amount_moves_the_mean_half_way() -> None:
    mean, _ = statistics(harmonise(COLD, SOLID, WARM, 0.5))
    np.testing.assert_allclose(mean, (statistics(COLD)[0] + statistics(WARM)[0]) / 2, atol=0.3)


def test_grey_spreads_are_scaled_channel_by_channel() -> None:
    """Where both covariances are diagonal the map is Reinhard's: (x - mean) * s' / s + mean'."""
    gray, other = clouds(2, (100, 100, 100), (20, 10, 16)), clouds(3, (140, 120, 90), (10, 20, 16))
    out = harmonise(gray, SOLID, other, 1.0).astype(float)
    flat, wanted = gray.reshape(-1, 3).astype(float), other.reshape(-1, 3).astype(float)
    reinhard = (flat - flat.mean(0)) * (wanted.std(0) / flat.std(0)) + wanted.mean(0)
    assert np.abs(out.reshape(-1, 3) - reinhard).mean() < 1.0


def test_only_what_is_foreground_counts() -> None:
    alpha = SOLID.copy()
    alpha[:, 32:] = 0
    picture = COLD.copy()
    picture[:, 32:] = (0, 255, 0)
    np.testing.assert_array_equal(harmonise(picture, alpha, WARM, 1.0)[:, :32],
                                  harmonise(COLD, alpha, WARM, 1.0)[:, :32])


@pytest.mark.parametrize("foreground, background", [(0, 255), (255, 0), (77, 77)])
def test_flat_pictures_become_the_backgrounds_colour(foreground: int, background: int) -> None:
    flat = np.full((20, 30, 3), foreground, np.uint8)
    out = harmonise(flat, np.ones((20, 30), np.float32), np.full((50, 40, 3), background, np.uint8), 1.0)
    np.testing.assert_array_equal(out, np.full((20, 30, 3), background))


def test_noise_is_not_blown_up() -> None:
    """A nearly flat foreground before a busy background."""
    flat = clouds(4, (128, 128, 128), (2, 2, 2))
    assert harmonise(flat, SOLID, clouds(5, (128, 128, 128), (50, 50, 50)), 1.0).std() < 3.5 * flat.std()
