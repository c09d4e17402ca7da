"""What reaches the UNet in Forge, and what comes out of it, equals the reference to 1e-5."""

from __future__ import annotations

from typing import Any

import pytest
from numpy.typing import NDArray

from .client import HIRES, SIZE, Forge, Pass, base64_of, scene, subject
from .conftest import check_equal, check_relit, plain
from .reference import Reference, fitted, light_from, on_grey, stretched

FC = {"enabled": True, "foreground": base64_of(subject())}
FBC = {**FC, "mode": "fbc", "background": base64_of(scene())}


def check(one: Pass, kind: str, expected: list[NDArray[Any]], reference: Reference, lora: float = 0.0) -> None:
    """Concat conditioning from the `expected` pictures, and the noise prediction made of it."""
    for index, pixels in enumerate(expected):
        check_equal(one.concat[:, 4 * index:4 * index + 4], reference.latent(pixels))
    check_equal(one.output, reference.noise(kind, one.x, one.timesteps, one.context, lora))


def test_txt2img_and_hires(forge: Forge, reference: Reference, host: str) -> None:
    # A1111's UNet scales odd sizes up in a way of its own, with and without IC-Light: no reference for these.
    # Neo rounds 217 to a multiple of 64.
    scale, large = {"a1111": (1.5, 192), "neo": (1.7, 192)}.get(host, (1.7, 216))
    forge.arm()
    answer = forge.txt2img({**FC, "light": "left"}, **HIRES, hr_scale=scale, hr_upscaler="Latent", steps=2)
    first, hires = check_relit(answer, forge.seen(), "fc", 2)
    check(first, "fc", [fitted(on_grey(subject()), SIZE, SIZE)], reference)
    assert (first.hires, hires.hires) == (False, True)
    assert hires.x.shape[3] * 8 == large  # 1.7 x 128 is 217; not a multiple of 64
    check(hires, "fc", [fitted(on_grey(subject()), large, large)], reference)
    # The light map is where the first pass starts.
    check_equal(first.start, reference.latent(light_from("left", SIZE, SIZE)), 1e-4)


def test_img2img(forge: Forge, reference: Reference) -> None:
    picture = subject()
    forge.arm()
    answer = forge.img2img({"enabled": True, "light": "right"}, init_images=[base64_of(picture)], resize_mode=1)
    (one,) = check_relit(answer, forge.seen(), "fc", 1)
    check(one, "fc", [fitted(on_grey(picture), SIZE, SIZE)], reference)
    check_equal(one.start, reference.latent(light_from("right", SIZE, SIZE)), 1e-4)


def test_lora(forge: Forge, reference: Reference) -> None:
    forge.arm()
    answer = forge.txt2img(FC, prompt="a cat <lora:iclight-live-lora:0.7>")
    (one,) = check_relit(answer, forge.seen(), "fc", 1)
    check(one, "fc", [fitted(on_grey(subject()), SIZE, SIZE)], reference, lora=0.7)


def test_short_of_memory(forge: Forge, reference: Reference, host: str, fresh: tuple[str, bytes]) -> None:
    """Some hosts then leave the UNet's weights as they are, and add patches to each layer as it runs."""
    if not forge.call("/probe/short_of_memory?on=true", {})[1]:
        pytest.skip(f"{host} merges patches whatever room there is")
    try:
        plain(forge)
        forge.arm()
        answer = forge.txt2img({**FC, "light": "left"}, **HIRES, hr_scale=1.5, hr_upscaler="Latent",
                               prompt="a cat <lora:iclight-live-lora:0.7>")
        assert answer.status == 200, answer.sentence
        passes = forge.seen().passes
        assert len(passes) == 2
        for one, size in zip(passes, (SIZE, 192), strict=True):
            assert one.first_conv == (320, 4, 3, 3), "or this is the usual case"
            check(one, "fc", [fitted(on_grey(subject()), size, size)], reference, lora=0.7)
    finally:
        forge.call("/probe/short_of_memory", {})
    assert plain(forge) == fresh


def test_fcon(forge: Forge, reference: Reference) -> None:
    forge.arm()
    answer = forge.txt2img({**FC, "mode": "fcon"}, width=192)
    (one,) = check_relit(answer, forge.seen(), "fcon", 1)
    check(one, "fcon", [fitted(on_grey(subject()), 192, SIZE)], reference)


def test_fbc_txt2img_and_hires(forge: Forge, reference: Reference, host: str) -> None:
    forge.arm()
    answer = forge.txt2img({**FBC, "background_flip": True}, **HIRES, hr_resize_x=192, hr_resize_y=SIZE,
                           hr_upscaler="Lanczos")
    first, hires = check_relit(answer, forge.seen(), "fbc", 2)
    pictures = [on_grey(subject()), scene()[:, ::-1].copy()]
    check(first, "fbc", [fitted(pixels, SIZE, SIZE) for pixels in pictures], reference)
    # Hosts scale the square to 192x192 and cut the middle, Neo stretches it to 192x128: the conditioning must lie where
    # the picture does.
    large = [fitted(pixels, 192, 192) for pixels in pictures]
    check(hires, "fbc", [stretched(pixels, 192, SIZE) if host == "neo" else pixels[32:160] for pixels in large],
          reference)


@pytest.mark.parametrize("light", ["top", "bottom"])
def test_fbc_on_a_drawn_background(forge: Forge, reference: Reference, light: str) -> None:
    picture = subject()
    forge.arm()
    answer = forge.img2img({"enabled": True, "mode": "fbc", "light": light}, init_images=[base64_of(picture)],
                           resize_mode=1)
    (one,) = check_relit(answer, forge.seen(), "fbc", 1)
    drawn = light_from(light, SIZE, SIZE, high=224, low=32)
    check(one, "fbc", [fitted(on_grey(picture), SIZE, SIZE), drawn], reference)
