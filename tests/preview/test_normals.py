"""Normal maps: both conventions told apart, and what is none refused."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lib_iclight.errors import ImageError
from lib_iclight.preview import shape_from_normals, sketch
from training.light_stage import random_scenes


def rendered(seed: int, size: int = 128) -> tuple[NDArray[Any], NDArray[Any]]:
    """A body's normals float32 [size, size, 3], its surroundings facing the camera, and its alpha."""
    scene = random_scenes(1, size, torch.Generator().manual_seed(seed))
    alpha = scene.alpha[0, 0].numpy()
    normals = np.where(alpha[..., None] > 0.5, scene.normal[0].permute(1, 2, 0).numpy(), [0, 0, 1])
    return normals.astype(np.float32), alpha


def as_picture(normals: NDArray[Any], convention: str) -> NDArray[Any]:
    """The usual 8-bit picture."""
    up = 1 if convention == "opengl" else -1
    return np.rint(normals * [1, up, 1] * 127.5 + 127.5).astype(np.uint8)


@pytest.mark.parametrize("convention", ["opengl", "directx"])
@pytest.mark.parametrize("seed", range(8))
def test_conventions_are_told_apart_and_give_the_same_normals(convention: str, seed: int) -> None:
    normals, _ = rendered(seed)
    shape = shape_from_normals(as_picture(normals, convention))
    assert (shape.convention, shape.sure, shape.source) == (convention, True, "normals")
    np.testing.assert_allclose(shape.normals, normals, atol=0.02)


@pytest.mark.parametrize("convention", ["opengl", "directx"])
def test_a_chosen_convention_is_followed_whatever_the_map_says(convention: Literal["opengl", "directx"]) -> None:
    normals, _ = rendered(3)
    shape = shape_from_normals(as_picture(normals, "opengl"), convention)
    up = 1 if convention == "opengl" else -1
    assert shape.convention == convention and shape.sure
    np.testing.assert_allclose(shape.normals, normals * [1, up, 1], atol=0.02)


def test_a_map_that_does_not_tell_is_taken_for_opengl_and_says_so() -> None:
    """A pillar and a flat wall have no slope upwards."""
    x = np.linspace(-0.9, 0.9, 40)
    pillar = np.broadcast_to(np.stack([x, 0 * x, np.sqrt(1 - x**2)], -1), (30, 40, 3))
    for normals in (pillar, np.broadcast_to([0.0, 0.0, 1.0], (30, 40, 3))):
        shape = shape_from_normals(as_picture(normals, "opengl"))
        assert (shape.convention, shape.sure) == ("opengl", False)


def test_black_surroundings_face_the_camera() -> None:
    normals, alpha = rendered(5)
    picture = as_picture(normals, "directx")
    picture[alpha < 0.5] = 0
    shape = shape_from_normals(picture)
    assert shape.convention == "directx"
    np.testing.assert_array_equal(shape.normals[alpha < 0.5], np.broadcast_to([0, 0, 1], ((alpha < 0.5).sum(), 3)))


def test_the_photo_tells_of_its_own_light() -> None:
    normals, alpha = rendered(2)
    photo = (120 * (1 + 0.5 * normals[..., 1:2])).clip(0, 255).repeat(3, -1).astype(np.uint8)
    shape = shape_from_normals(as_picture(normals, "opengl"), rgb=photo, alpha=alpha)
    assert shape.own[1] > 0.3 and abs(shape.own[0]) < 0.2
    larger = photo.repeat(2, 0).repeat(2, 1), alpha.repeat(2, 0).repeat(2, 1)
    again = shape_from_normals(as_picture(normals, "opengl"), rgb=larger[0], alpha=larger[1])
    np.testing.assert_allclose(again.own, shape.own, atol=0.05)
    assert sketch(*larger, again, "left").shape == (256, 256, 3)
    with pytest.raises(ImageError, match=r"128 x 128 pixels and the photo 128 x 64: other proportions"):
        shape_from_normals(as_picture(normals, "opengl"), rgb=photo[:64], alpha=alpha[:64])


@pytest.mark.parametrize("picture, wrong", [
    (np.zeros((8, 8, 3), np.uint8), "it is black"), (np.zeros((8, 8), np.uint8), "8-bit colour picture"),
    (np.zeros((8, 8, 4), np.uint8), "without transparency"), (np.zeros((8, 8, 3), np.float32), "8-bit colour picture"),
    (np.full((8, 8, 3), (200, 60, 40), np.uint8), "faces away"),
    (np.full((8, 8, 3), (250, 250, 250), np.uint8), "no directions")])
def test_what_is_no_normal_map_is_refused(picture: NDArray[Any], wrong: str) -> None:
    with pytest.raises(ImageError, match=wrong):
        shape_from_normals(picture)


def test_an_unknown_convention_is_refused() -> None:
    with pytest.raises(ImageError, match="auto, opengl or directx, not 'vulkan'"):
        shape_from_normals(np.full((4, 4, 3), (128, 128, 255), np.uint8), "vulkan")  # type: ignore[arg-type]
