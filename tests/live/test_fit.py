"""fit contain: all of the picture is relit, and comes back in its own shape."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from .client import HIRES, SIZE, Forge, base64_of, scene, subject
from .conftest import check_equal, check_relit
from .reference import Reference, fitted, on_grey, stretched

CONTAIN: dict[str, Any] = {"enabled": True, "foreground": base64_of(subject()), "fit": "contain"}


def contained(pixels: NDArray[Any], width: int, height: int) -> NDArray[Any]:
    """An upright picture on grey, in the middle of a square."""
    own = round(pixels.shape[1] * height / pixels.shape[0])
    left = (width - own) // 2
    result = np.full((height, width, 3), 127, np.uint8)
    result[:, left:left + own] = stretched(pixels, own, height)
    return result


@pytest.mark.parametrize("mode", ["fc", "fbc"])
def test_all_of_it_in_both_passes(forge: Forge, reference: Reference, mode: str) -> None:
    settings = {**CONTAIN, "mode": mode, **({"background": base64_of(scene())} if mode == "fbc" else {})}
    forge.arm()
    answer = forge.txt2img(settings, **HIRES, hr_scale=1.5, hr_upscaler="Latent")
    passes = check_relit(answer, forge.seen(), mode, 2)
    for one, size in zip(passes, (SIZE, 192), strict=True):
        check_equal(one.concat[:, :4], reference.latent(contained(on_grey(subject()), size, size)))
        if mode == "fbc":
            check_equal(one.concat[:, 4:], reference.latent(fitted(scene(), size, size)))
    assert answer.pictures[0].shape == (192, 154, 3)  # 160 x 200


@pytest.mark.parametrize(("kept", "shape"), [({}, (200, 160, 4)), ({"keep_background": True}, (160, 300, 3))])
def test_the_returned_picture_has_its_own_shape(forge: Forge, kept: dict[str, Any], shape: tuple[int, ...]) -> None:
    """Each picture of a batch, an interrupted job's too."""
    height, width, bands = shape
    pixels = subject(width, height)
    settings = {**CONTAIN, **kept, "light": "left", "foreground": base64_of(pixels[..., :bands].copy()),
                **({"mask": base64_of(pixels[..., 3].copy())} if bands == 3 else {})}
    scale = SIZE / max(width, height)
    own = (round(height * scale), round(width * scale), 3)
    answer = forge.txt2img(settings, batch_size=2)
    assert [picture.shape for picture in answer.pictures[-2:]] == [own, own], answer.sentence
    forge.arm(interrupt_at=2)
    answer = forge.txt2img(settings, steps=4)
    assert [picture.shape for picture in answer.pictures] == [own], answer.sentence
    if kept:
        outside = np.asarray(stretched(pixels, own[1], own[0]))[..., 3] == 0
        original = stretched(pixels[..., :3], own[1], own[0])
        np.testing.assert_array_equal(answer.pictures[0][outside], original[outside])


def test_in_img2img_the_tab_has_its_own_frame(forge: Forge) -> None:
    answer = forge.img2img(CONTAIN, init_images=[base64_of(scene(SIZE, SIZE))])
    assert answer.pictures[0].shape == (SIZE, SIZE, 3), answer.sentence
