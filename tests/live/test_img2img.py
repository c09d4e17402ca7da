"""img2img: inpainting, batches of pictures, backgrounds, starts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from .client import SIZE, Forge, base64_of, scene, subject
from .conftest import check_equal, check_relit
from .reference import Reference, fitted, light_from, on_grey

ON = {"enabled": True}
PICTURE = subject(SIZE, SIZE)
MASK = np.zeros((SIZE, SIZE), np.uint8)
MASK[32:96, 32:96] = 255


def stretched(pixels: NDArray[Any], width: int, height: int) -> NDArray[Any]:
    """The tab's "just resize"."""
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))


def test_just_resize(forge: Forge, reference: Reference) -> None:
    picture = subject(160, 200)
    forge.arm()
    (one,) = check_relit(forge.img2img(ON, init_images=[base64_of(picture)]), forge.seen(), "fc", 1)
    check_equal(one.concat, reference.latent(stretched(on_grey(picture), SIZE, SIZE)))


def test_start_from_the_picture(forge: Forge) -> None:
    forge.arm()
    on = forge.img2img(ON, init_images=[base64_of(PICTURE)])
    (relit,) = check_relit(on, forge.seen(), "fc", 1)
    forge.arm()
    forge.img2img(None, init_images=[base64_of(PICTURE)])
    (off,) = forge.seen().passes
    assert relit.sigma == off.sigma
    # The host encodes by chance here: its posterior is sampled, so only close.
    check_equal(relit.start, off.start, 0.2)


def test_start_from_noise(forge: Forge) -> None:
    forge.arm()
    answer = forge.img2img({**ON, "start": "noise"}, init_images=[base64_of(PICTURE)], denoising_strength=0.3)
    (one,) = check_relit(answer, forge.seen(), "fc", 1)
    noisy = one.x[:1, :4] * (one.sigma**2 + 1) ** 0.5
    assert float((noisy / one.noise).std()) < 0.01


def test_background(forge: Forge, reference: Reference) -> None:
    forge.arm()
    answer = forge.img2img({**ON, "mode": "fbc", "background": base64_of(scene()), "start": "background"},
                           init_images=[base64_of(PICTURE)])
    (one,) = check_relit(answer, forge.seen(), "fbc", 1)
    background = reference.latent(fitted(scene(), SIZE, SIZE))
    check_equal(one.concat[:, :4], reference.latent(on_grey(PICTURE)))
    check_equal(one.concat[:, 4:], background)
    check_equal(one.start, background, 1e-4)


@pytest.mark.parametrize("batch_count", [1, 2])
def test_two_pictures(forge: Forge, reference: Reference, batch_count: int) -> None:
    pictures = [PICTURE, subject(SIZE, SIZE, seed=1)]
    forge.arm()
    answer = forge.img2img({**ON, "preserve_detail": 1.0}, init_images=[base64_of(p) for p in pictures], batch_size=2,
                           n_iter=batch_count)
    passes = check_relit(answer, forge.seen(), "fc", batch_count)
    for one in passes:
        for index, picture in enumerate(pictures):
            check_equal(one.concat[index::2], reference.latent(on_grey(picture)))


@pytest.mark.parametrize("light", ["none", "left"])
def test_inpaint_the_whole_picture(forge: Forge, reference: Reference, light: str) -> None:
    picture = PICTURE[..., :3].copy()
    forge.arm()
    answer = forge.img2img({**ON, "light": light, "matting": "none"}, init_images=[base64_of(picture)],
                           mask=base64_of(MASK), inpaint_full_res=False, mask_blur=0, inpainting_fill=1)
    (one,) = check_relit(answer, forge.seen(), "fc", 1)
    check_equal(one.concat, reference.latent(picture))
    result = answer.pictures[0]
    assert (result[:24] == picture[:24]).all(), "outside the mask the picture stays"
    assert (result[48:80, 48:80] != picture[48:80, 48:80]).any()


def test_inpaint_only_masked(forge: Forge, reference: Reference) -> None:
    picture = subject(256, 256)[..., :3].copy()
    mask = np.zeros((256, 256), np.uint8)
    mask[64:192, 64:192] = 255
    forge.arm()
    answer = forge.img2img({**ON, "light": "left", "matting": "none", "preserve_color": 0.5},
                           init_images=[base64_of(picture)], mask=base64_of(mask), inpaint_full_res=True,
                           inpaint_full_res_padding=0, mask_blur=0, inpainting_fill=1)
    (one,) = check_relit(answer, forge.seen(), "fc", 1)
    check_equal(one.concat, reference.latent(picture[64:192, 64:192]))
    check_equal(one.start, reference.latent(light_from("left", SIZE, SIZE)), 1e-4)
    assert answer.pictures[0].shape == (256, 256, 3)
    assert (answer.pictures[0][:60] == picture[:60]).all()
