"""The real ISNet on real photos: what it finds, and that no old background stays in the edges.

Without npm or a network these tests are skipped, except in CI (environment variable CI), where they fail.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import isnet
import numpy as np
import pytest
import skimage
from numpy.typing import NDArray
from scipy import ndimage

from lib_iclight.imaging import load_image, split_alpha
from lib_iclight.matting import Cutout, Cutter, foreground_color
from lib_iclight.matting.runner import _load

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
SKIMAGE = Path(skimage.__file__).parent / "data"
PHOTOS = {
    "astronaut": EXAMPLES / "astronaut.jpg",
    "coffee": EXAMPLES / "coffee.jpg",
    "rocket": EXAMPLES / "rocket.jpg",
    "motorcycle": SKIMAGE / "motorcycle_left.png",
}
POINTS = {  # (x, y) as shares of the picture: what any person would call the subject, and what the surroundings
    "astronaut": ([(0.43, 0.2), (0.3, 0.7), (0.72, 0.9), (0.36, 0.12)],
                  [(0.04, 0.5), (0.82, 0.25), (0.65, 0.1), (0.15, 0.1), (0.9, 0.6)]),
    "coffee": ([(0.48, 0.4), (0.2, 0.55), (0.6, 0.7), (0.68, 0.2)],
               [(0.05, 0.1), (0.95, 0.3), (0.9, 0.9), (0.05, 0.9)]),
    "rocket": ([(0.503, 0.5), (0.503, 0.8)], [(0.4, 0.2), (0.6, 0.5), (0.85, 0.3)]),
    "motorcycle": ([(0.3, 0.38), (0.5, 0.65), (0.84, 0.86), (0.55, 0.4)],
                   [(0.05, 0.05), (0.3, 0.1), (0.5, 0.95), (0.95, 0.2)]),
}
GREEN, MAGENTA = np.array([0, 255, 0]), np.array([255, 0, 255])


@pytest.fixture(scope="module")
def cutter() -> Cutter:
    try:
        return Cutter([isnet.folder()])
    except (isnet.UnavailableError, OSError) as error:
        reason = f"no ISNet to test with: {error}"
        if os.environ.get("CI", "").lower() not in ("", "0", "false"):
            pytest.fail(reason)
        pytest.skip(reason)


def rgb_of(name: str) -> NDArray[Any]:
    return split_alpha(load_image(PHOTOS[name]))[0]


def cut(cutter: Cutter, name: str) -> Cutout:
    """Cached by the cutter, so each photo is cut once for all tests."""
    return cutter.cut(rgb_of(name))


def test_the_models_interface_is_what_the_registry_says(cutter: Cutter) -> None:
    session = _load(isnet.folder() / isnet.MODEL)
    [only] = session.get_inputs()
    assert only.shape == [1, 3, 1024, 1024]
    assert session.get_outputs()[0].shape == [1, 1, 1024, 1024]


@pytest.mark.parametrize("name", PHOTOS)
def test_the_subject_is_found_and_the_rest_is_not(cutter: Cutter, name: str) -> None:
    alpha = cut(cutter, name).alpha
    height, width = alpha.shape
    inside, outside = ([float(alpha[int(y * height), int(x * width)]) for x, y in points] for points in POINTS[name])
    assert min(inside) > 0.9
    assert max(outside) < 0.05


def test_hair_is_soft(cutter: Cutter) -> None:
    hair = cut(cutter, "astronaut").alpha[15:100, 140:310]
    inside, outside = hair > 0.9, hair < 0.1
    outline = ndimage.binary_dilation(inside) & ~inside
    band = ((~inside) & (~outside)).sum() / outline.sum()
    assert 1.5 < band < 8, "pixels across the edge"


def hue_errors(alpha: NDArray[Any], color: NDArray[Any], old: NDArray[Any], new: NDArray[Any]) -> tuple[float, float]:
    """Mean hue errors in degrees at soft pixels on `new`, of a subject that was photographed before `old`.

    The photo is made, so the truth is known: the subject's colour is that of the nearest solid pixel. The first error
    is that of the photo's own colours, the second that of the estimated ones.
    """
    a = alpha[..., None]
    nearest = ndimage.distance_transform_edt(alpha < 0.95, return_distances=False, return_indices=True)
    subject = color[tuple(nearest)].astype(np.float64)
    photo = np.rint(a * subject + (1 - a) * old).astype(np.uint8)
    truth = a * subject + (1 - a) * new
    counts = (alpha > 0.1) & (alpha < 0.9) & (np.ptp(truth, axis=-1) > 10)  # a grey has no hue
    assert counts.sum() > 1000
    before, after = (np.abs((hue(a * found + (1 - a) * new) - hue(truth) + 180) % 360 - 180)[counts].mean()
                     for found in (photo, foreground_color(photo, alpha)))
    return float(before), float(after)


def hue(rgb: NDArray[Any]) -> NDArray[Any]:
    """In degrees."""
    r, g, b = np.moveaxis(rgb, -1, 0)
    return np.degrees(np.arctan2(np.sqrt(3) * (g - b), 2 * r - g - b))


@pytest.mark.parametrize(("old", "new"), [(GREEN, MAGENTA), (MAGENTA, GREEN)], ids=["on magenta", "on green"])
@pytest.mark.parametrize("name", PHOTOS)
def test_edges_carry_no_old_background(cutter: Cutter, name: str, old: NDArray[Any], new: NDArray[Any]) -> None:
    before, after = hue_errors(cut(cutter, name).alpha, rgb_of(name), old, new)
    assert after < before / 3, f"{before:.1f} degrees without, {after:.1f} with the foreground's colour estimated"
