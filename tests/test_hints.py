"""A small standing figure is noticed by its outline, and nothing else is taken for one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lib_iclight.panel.hints import LEAST_HEAD, head_height, standing_height


def picture(rows: str) -> NDArray[Any]:
    return np.array([[int(value) for value in row] for row in rows.split()], np.float32) / 9


@pytest.mark.parametrize(("rows", "height"), [
    ("000000 009000 009900 009900 009900 000000", 4 / 6),
    ("000000 000000 009000 009000 000000 000000", 2 / 6),
    ("990000 990000 990000 990000 000000 000000", 4 / 6),
    ("000000 003000 009000 006000 004000 000000", 2 / 6),  # what is less than half there does not count
])
def test_tall_and_narrow_may_be_a_standing_person(rows: str, height: float) -> None:
    assert standing_height(picture(rows)) == pytest.approx(height)


@pytest.mark.parametrize("rows", [
    "000000 000000 000000 000000 000000 000000",
    "000000 099990 099990 099990 099990 000000",
    "000000 009990 099990 099990 099990 000000",
    "000000 090090 000000 000000 000000 000000",
    "000000 000000 009000 009000 009000 009000",  # cut off below
    "999999 999999 999999 999999 999999 999999",
])
def test_other_shapes_are_not(rows: str) -> None:
    assert standing_height(picture(rows)) is None


@pytest.mark.parametrize(("standing", "size", "job", "scale", "pixels"), [
    (0.75, (512, 640), (512, 640), 1.0, 64.0),
    (0.75, (1024, 1280), (512, 640), 1.0, 64.0),
    (0.75, (512, 640), (512, 640), 1.5, 96.0),
    (0.5, (1000, 1000), (512, 768), 1.0, 51.2),  # scaled by 0.768 to cover
])
def test_the_head_is_a_part_of_the_height(standing: float, size: tuple[int, int], job: tuple[int, int], scale: float,
                                          pixels: float) -> None:
    assert head_height(standing, size, job, scale) == pytest.approx(pixels)


def test_the_usual_portrait_size_shows_a_whole_person_just_large_enough() -> None:
    assert head_height(0.9, (600, 750), (512, 640)) > LEAST_HEAD > head_height(0.7, (600, 750), (512, 640))
