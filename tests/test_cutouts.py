"""From settings to a subject: masks of any form, which alpha counts, refinements, and what a change of light costs."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tiny_onnx import pixelwise

from lib_iclight.errors import ImageError, SettingsError
from lib_iclight.imaging import load_mask
from lib_iclight.job import LatentCache, Relight
from lib_iclight.matting import Cutter, Refinement, foreground_color, refine, runner
from lib_iclight.settings import Settings, from_infotext
from lib_iclight.subject import Subject

WIDTH, HEIGHT = 96, 64


@pytest.fixture
def cutter(offline: None, tmp_path: Path) -> Cutter:
    """Its model, called `red`, takes red for foreground."""
    (tmp_path / "red.onnx").write_bytes(pixelwise([1, 0, 0], 3, (1, 3, 16, 16)))
    return Cutter([tmp_path])


def photo() -> NDArray[Any]:
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def grey(width: int = WIDTH, height: int = HEIGHT) -> NDArray[Any]:
    """A mask: a disc with a soft edge, uint8 [height, width]."""
    y, x = np.mgrid[:height, :width]
    distance = np.hypot((x + 0.5) / width - 0.5, ((y + 0.5) / height - 0.5) * HEIGHT / WIDTH)
    return np.rint(255 * ((0.25 - distance) * 20 + 0.5).clip(0, 1)).astype(np.uint8)


def transparent(alpha: NDArray[Any]) -> Image.Image:
    picture = Image.fromarray(photo())
    picture.putalpha(Image.fromarray(alpha))
    return picture


def subject(cutter: Cutter, **values: Any) -> Subject:
    values = {"foreground": photo(), **values}
    return Relight(Settings(**values), cutter=cutter, latents=LatentCache()).subjects[0]


def base64_png(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.mark.parametrize("form", ["array", "RGB", "base64", "alpha", "alpha of a cut-out"])
def test_a_mask_of_any_form_is_the_alpha(cutter: Cutter, form: str) -> None:
    values, image = grey(), Image.fromarray(grey())
    mask: Any = {"array": values, "RGB": image.convert("RGB"), "base64": base64_png(image),
                 "alpha": Image.merge("LA", [Image.new("L", image.size, 0), image]),
                 "alpha of a cut-out": transparent(values)}[form]
    made = subject(cutter, mask=mask)
    np.testing.assert_allclose(made.alpha, values / 255, atol=1e-6)
    np.testing.assert_array_equal(made.color, foreground_color(photo(), made.alpha))
    np.testing.assert_array_equal(made.original, photo())


def test_a_masks_brightness_is_its_luma() -> None:
    colors = np.zeros((16, 48, 3), np.uint8)
    colors[:, :16, 0] = colors[:, 16:32, 1] = colors[:, 32:, 2] = 255
    alpha = load_mask(colors, 48, 16)
    np.testing.assert_allclose(alpha[8, [4, 20, 40]], [0.299, 0.587, 0.114], atol=1 / 255)
    opaque = np.dstack([colors, np.full((16, 48), 255, np.uint8)])
    np.testing.assert_array_equal(load_mask(opaque, 48, 16), alpha)


@pytest.mark.parametrize("scale", [0.5, 3])
def test_a_mask_of_another_size_is_scaled_smoothly(cutter: Cutter, scale: float) -> None:
    made = subject(cutter, mask=grey(int(WIDTH * scale), int(HEIGHT * scale)))
    assert made.alpha.shape == (HEIGHT, WIDTH)
    np.testing.assert_allclose(made.alpha, grey() / 255, atol=0.06)


def test_a_mask_of_another_shape_is_refused_with_both_sizes(cutter: Cutter) -> None:
    with pytest.raises(ImageError, match="the mask is 64 x 64 pixels, the foreground 96 x 64"):
        subject(cutter, mask=grey(64, 64))
    with pytest.raises(ImageError, match="the mask is 98 x 64"):
        subject(cutter, mask=grey(98, 64))
    assert subject(cutter, mask=grey(960, 643)).alpha.shape == (HEIGHT, WIDTH)  # a scaled copy's rounding


def test_a_bad_mask_is_named(cutter: Cutter) -> None:
    with pytest.raises(ImageError, match="the mask"):
        subject(cutter, mask="garbage")
    with pytest.raises(ImageError, match="fully transparent"):
        subject(cutter, mask=np.zeros((HEIGHT, WIDTH), np.uint8))


def test_a_mask_counts_whatever_the_choice_and_under_the_pictures_own_transparency(cutter: Cutter) -> None:
    own = np.full((HEIGHT, WIDTH), 255, np.uint8)
    own[:, :48] = 0
    for matting in ("auto", "none", "red", "no-such-model"):
        np.testing.assert_allclose(subject(cutter, matting=matting, mask=grey()).alpha, grey() / 255, atol=1e-6)
        made = subject(cutter, matting=matting, mask=grey(), foreground=transparent(own))
        np.testing.assert_allclose(made.alpha, grey() / 255 * (own / 255), atol=1e-6)


@pytest.mark.parametrize("source", ["own", "model", "mask"])
def test_refinements_apply_to_every_source(cutter: Cutter, source: str) -> None:
    values: dict[str, Any] = {"own": {"foreground": transparent(grey())}, "model": {"matting": "red"},
                              "mask": {"mask": grey()}}[source]
    plain = subject(cutter, **values)
    refined = subject(cutter, **values, mask_invert=True, mask_largest=True, mask_contrast=0.3, mask_threshold=0.4,
                      mask_grow=-3.5, mask_feather=2)
    how = Refinement(invert=True, largest=True, contrast=0.3, threshold=0.4, grow=-3.5, feather=2)
    np.testing.assert_array_equal(refined.alpha, refine(plain.alpha, how))
    assert not np.array_equal(refined.alpha, plain.alpha)
    assert refined.key != plain.key


def test_the_whole_picture_is_not_refined(cutter: Cutter) -> None:
    made = subject(cutter, matting="none", mask_invert=True, mask_grow=-9)
    assert (made.alpha == 1).all()
    np.testing.assert_array_equal(made.color, photo())


def test_another_light_cuts_and_refines_nothing(cutter: Cutter, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"matting": "red", "mask_grow": 2, "mask_feather": 1}
    first = subject(cutter, **settings, light="left")
    for name in ("predict", "refine", "foreground_color"):
        monkeypatch.setattr(runner, name, lambda *args: pytest.fail("made again"))
    again = subject(cutter, **settings, light="top-right", preserve_color=0.5, mode="fcon")
    assert again.alpha is first.alpha
    assert again.color is first.color
    assert again.key == first.key


def test_keeping_the_background_works_with_a_mask(cutter: Cutter) -> None:
    job = Relight(Settings(foreground=photo(), mask=grey(), keep_background=True), cutter=cutter, latents=LatentCache())
    assert job.subjects[0].alpha.max() == 1
    with pytest.raises(SettingsError, match="uncut photo"):
        subject(cutter, foreground=transparent(grey()), mask=grey(), keep_background=True)


def test_a_model_with_conditions_is_used_when_it_is_named(cutter: Cutter, tmp_path: Path) -> None:
    (tmp_path / "bria-rmbg.onnx").write_bytes(pixelwise([1, 0, 0], 3, (1, 3, 16, 16)))
    assert subject(cutter, matting="bria-rmbg").alpha.max() > 0.9


def test_refinements_go_through_infotext_and_the_mask_picture_does_not() -> None:
    settings = Settings(enabled=True, mask=photo(), mask_contrast=0.3, mask_threshold=0.4, mask_grow=-3.5,
                        mask_feather=2, mask_largest=True, mask_invert=True)
    texts = {name: str(value) for name, value in settings.to_infotext().items()}
    assert set(texts) == {"IC-Light mode", "IC-Light mask contrast", "IC-Light mask threshold", "IC-Light mask grow",
                          "IC-Light mask feather", "IC-Light mask largest", "IC-Light mask invert"}
    assert Settings.from_dict(from_infotext(texts)) == settings.replace(mask=None)
