"""Cut-outs put right by hand: each refinement against scipy or against arithmetic, and all of them on real edges."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from lib_iclight.matting import Refinement, refine
from lib_iclight.matting.refine import grow, harden, largest_object, soften

SIDE = 512  # where a pixel is a pixel


def square(low: int = 200, high: int = 300, side: int = SIDE) -> NDArray[Any]:
    alpha = np.zeros((side, side), np.float32)
    alpha[low:high, low:high] = 1
    return alpha


def disc(radius: float, center: tuple[float, float] = (256, 256), side: int = SIDE) -> NDArray[Any]:
    """Alpha of a disc with an edge one pixel wide."""
    y, x = np.mgrid[:side, :side]
    return (radius + 0.5 - np.hypot(y - center[0], x - center[1])).clip(0, 1).astype(np.float32)


def ramp(width: int = 101) -> NDArray[Any]:
    return np.linspace(0, 1, width, dtype=np.float32)[None].repeat(40, axis=0)


def test_the_same_object_where_nothing_is_asked() -> None:
    alpha = disc(40)
    assert refine(alpha, Refinement()) is alpha
    assert refine(alpha, Refinement(threshold=0.2)) is alpha


@pytest.mark.parametrize("how", [
    Refinement(invert=True), Refinement(largest=True), Refinement(contrast=0.7), Refinement(grow=9.3),
    Refinement(grow=-9.3), Refinement(feather=3.7), Refinement(grow=64, feather=64, invert=True, contrast=1)],
    ids=repr)
def test_every_refinement_keeps_the_contract(how: Refinement) -> None:
    alpha = np.random.default_rng(0).random((37, 53)).astype(np.float32)
    before = alpha.copy()
    refined = refine(alpha, how)
    assert refined.dtype == np.float32
    assert refined.shape == alpha.shape
    assert refined.min() >= 0
    assert refined.max() <= 1
    np.testing.assert_array_equal(alpha, before)


@pytest.mark.parametrize("contrast", [0.25, 0.5, 0.9])
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 1.0])
def test_contrast_is_a_steeper_line_through_the_threshold(contrast: float, threshold: float) -> None:
    alpha = ramp()
    low, high = threshold * contrast, threshold + (1 - threshold) * (1 - contrast)  # what becomes 0 and 1
    expected = np.interp(alpha, [low, high], [0, 1])
    np.testing.assert_allclose(harden(alpha, contrast, threshold), expected, atol=1e-5)


def test_full_contrast_is_a_step_at_the_threshold() -> None:
    for threshold in (0.2, 0.5, 0.85):
        hard = harden(ramp(1000), 1.0, threshold)
        np.testing.assert_array_equal(hard, ramp(1000) > threshold)


@pytest.mark.parametrize("radius", [0.4, 1, 2.5, 7, 20.25])
def test_growing_moves_straight_edges_by_exactly_the_radius(radius: float) -> None:
    grown = grow(square(), radius)
    for line in (grown[250], grown[:, 250]):
        assert line.sum() == pytest.approx(100 + 2 * radius, abs=1e-3)
    y, x = np.mgrid[:SIDE, :SIDE]
    half_plane = ((x + y - 500) / math.sqrt(2) + 0.5).clip(0, 1).astype(np.float32)  # a diagonal edge
    moved = ((x + y - 500) / math.sqrt(2) + 0.5 + radius).clip(0, 1)
    inside = np.s_[60:-60, 60:-60]
    # The mean shift over a line across the edge, in pixels along the edge's normal.
    shift = (grow(half_plane, radius) - half_plane)[inside].sum() / (moved - half_plane)[inside].sum()
    assert shift == pytest.approx(1, abs=0.06)


def test_growing_is_dilation_by_nearly_a_disc() -> None:
    rng = np.random.default_rng(0)
    alpha = ndimage.gaussian_filter(rng.random((200, 200)), 6)
    alpha = ((alpha - alpha.min()) / np.ptp(alpha)).astype(np.float32)
    radius = 8
    y, x = np.mgrid[-10:11, -10:11]
    discs = [ndimage.grey_dilation(alpha, footprint=np.hypot(y, x) <= r) for r in (radius - 0.7, 1.09 * radius + 0.7)]
    grown = grow(alpha, radius)
    inner = np.s_[12:-12, 12:-12]
    assert (grown >= discs[0] - 1e-3)[inner].mean() > 0.99
    assert (grown <= discs[1] + 1e-3)[inner].mean() > 0.99


def test_area_of_a_grown_and_a_shrunk_disc() -> None:
    for step in (-12.5, -3, 3, 12.5):
        area = refine(disc(60), Refinement(grow=step)).sum()
        radius = math.sqrt(area / math.pi)
        assert radius == pytest.approx(60 + step, abs=0.02 + 0.065 * abs(step))


def test_shrinking_keeps_edges_soft_and_the_frame_is_no_edge() -> None:
    alpha = np.zeros((SIDE, SIDE), np.float32)
    alpha[:, :100] = 1
    alpha[:, 100:120] = np.linspace(1, 0, 20)
    shrunk = refine(alpha, Refinement(grow=-8))
    np.testing.assert_allclose(shrunk[256, :150], np.append(alpha[256, 8:150], np.zeros(8)), atol=0.02)
    assert (shrunk[:, :60] == 1).all()  # the subject leaves the frame there


def test_feather_is_symmetric_as_wide_as_said_and_stops_at_the_frame() -> None:
    alpha = np.zeros((SIDE, SIDE), np.float32)
    alpha[:, :256] = 1
    for radius in (0.5, 4, 11.3):
        row = refine(alpha, Refinement(feather=radius))[100]
        assert row.sum() == pytest.approx(256, abs=1e-2)
        np.testing.assert_allclose(row[256:300], 1 - row[255:211:-1], atol=1e-4)
        assert (np.diff(row) <= 1e-6).all()
        soft = np.flatnonzero((row > 1e-4) & (row < 1 - 1e-4))
        assert len(soft) <= 2 * radius + 4
        assert len(soft) >= 2 * radius - 2
    assert (soften(np.ones((30, 40), np.float32), 7.5) > 1 - 1e-6).all()


@pytest.mark.parametrize("seed", range(5))
def test_the_largest_object_is_scipys(seed: int) -> None:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).random((200, 230)), 4)
    alpha = ((noise - noise.min()) / np.ptp(noise)).astype(np.float32)
    alpha[alpha < 0.55] = 0  # no soft rims
    labels, count = ndimage.label(alpha > 0.5, structure=np.ones((3, 3)))
    assert count > 3
    areas = ndimage.sum(alpha, labels, range(1, count + 1))
    np.testing.assert_array_equal(largest_object(alpha, 0.5), alpha * (labels == 1 + np.argmax(areas)))


def test_the_largest_object_keeps_its_soft_rim_and_loses_the_others() -> None:
    one, other = disc(80, (200, 200), 1200), disc(50, (900, 900), 1200)
    haze = ndimage.gaussian_filter(one, 6)
    alpha = np.maximum(np.maximum(one, other), haze).astype(np.float32)
    alpha[600, 600] = 0.3  # a speck that is no object
    kept = largest_object(alpha, 0.5)
    np.testing.assert_array_equal(kept[:500, :500], alpha[:500, :500])
    assert kept[500:].max() == 0


def test_long_winding_objects_hang_together() -> None:
    alpha = np.zeros((101, 101), np.float32)
    alpha[::4] = 1
    alpha[2::8, -1], alpha[6::8, 0] = 1, 1
    for row in range(0, 100, 4):
        alpha[row:row + 4, -1 if row % 8 == 0 else 0] = 1
    _, count = ndimage.label(alpha, structure=np.ones((3, 3)))
    assert count == 1
    alpha[50, 50] = 1
    kept = largest_object(alpha, 0.5)
    assert kept[50, 50] == 0
    assert kept.sum() == alpha.sum() - 1


def test_without_an_object_all_stays() -> None:
    faint = np.full((40, 40), 0.2, np.float32)
    assert largest_object(faint, 0.5) is faint


def test_inverting_comes_first() -> None:
    alpha = disc(60)
    both = refine(alpha, Refinement(invert=True, grow=5))
    np.testing.assert_array_equal(both, refine((1 - alpha).astype(np.float32), Refinement(grow=5)))
    assert both.sum() > (1 - alpha).sum()


def test_lengths_grow_with_the_picture() -> None:
    small, large = square(100, 150, 256), square(400, 600, 1024)
    for how in (Refinement(grow=6), Refinement(feather=10)):
        a, b = refine(small, how), refine(large, how)
        assert np.abs(b.reshape(256, 4, 256, 4).mean((1, 3)) - a).sum() < 0.03 * a.sum()
    assert refine(large, Refinement(grow=6))[512].sum() == pytest.approx(200 + 2 * 12, abs=0.01)
