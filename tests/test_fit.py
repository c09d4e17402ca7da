"""How a foreground lies in the frame: filling it, or whole in it; what is cut off is told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from lib_iclight.errors import ImageError
from lib_iclight.frame import Frame
from lib_iclight.imaging import composite_on_grey
from lib_iclight.job import Encoder, LatentCache, Relight
from lib_iclight.laid import CUT_OFF
from lib_iclight.matting import Cutter
from lib_iclight.settings import Settings

FRAME = Frame(64, 64)
WIDE = np.random.default_rng(5).integers(20, 235, (32, 128, 3), np.uint8)
"""a picture four times as wide as high: of it a square frame holds the middle quarter"""


class Seen:
    """An encoder that keeps what it is given."""

    def __init__(self) -> None:
        self.pixels: list[NDArray[Any]] = []
        self.encoder = Encoder("double", self.encode)

    def encode(self, pixels: NDArray[Any]) -> torch.Tensor:
        self.pixels.append(pixels)
        return torch.full((1, 4, pixels.shape[0] // 8, pixels.shape[1] // 8), float(pixels.mean()))


def mask(left: int, right: int) -> NDArray[np.uint8]:
    """The subject is between these columns."""
    alpha = np.zeros((32, 128), np.uint8)
    alpha[:, left:right] = 255
    return alpha


def job(latents: LatentCache | None = None, tab: str = "txt2img", **values: Any) -> Relight:
    given: dict[str, Any] = {"foreground": WIDE, "matting": "none"} | values
    return Relight(Settings(**given), cutter=Cutter([]), latents=LatentCache() if latents is None else latents,
                   tab=tab)


def test_contain_shows_all_of_it_on_grey() -> None:
    seen = Seen()
    job(fit="contain").concat(seen.encoder, FRAME)
    [shown] = seen.pixels
    assert (shown[:24] == 127).all() and (shown[40:] == 127).all()
    expected = np.asarray(Image.fromarray(WIDE).resize((64, 16), Image.Resampling.LANCZOS))
    np.testing.assert_array_equal(shown[24:40], composite_on_grey(expected, np.ones((16, 64), np.float32)))


def test_the_result_is_cut_back_to_its_own_shape_but_in_img2img() -> None:
    result = Image.fromarray(np.arange(64, dtype=np.uint8)[:, None, None].repeat(64, 1).repeat(3, 2))
    cut = job(fit="contain").finish(result, FRAME)
    assert cut.size == (64, 16) and np.asarray(cut)[0, 0].tolist() == [24, 24, 24]
    assert job(fit="contain", tab="img2img").finish(result, FRAME) is result
    assert job().finish(result, FRAME) is result


@pytest.mark.parametrize("frame", [Frame(96, 64, full=(96, 96), top=16), Frame(64, 64, full=(96, 96), stretched=True)])
def test_hires_that_cuts_or_stretches_takes_the_box_along(frame: Frame) -> None:
    left, top, right, bottom = frame.box((128, 32))
    placed = frame.place(np.full((32, 128), 1, np.float32), lambda pixels, width, height: np.pad(
        np.ones((24, 96), np.float32), ((36, 36), (0, 0))))
    rows, columns = np.nonzero(placed > 0.5)
    assert (left, right) == (columns.min(), columns.max() + 1)
    assert abs(top - rows.min()) <= 1 and abs(bottom - rows.max() - 1) <= 1


def test_the_light_is_the_pictures_and_goes_on_around_it() -> None:
    seen = Seen()
    job(fit="contain", light="top").initial(seen.encoder, FRAME)
    [drawn] = seen.pixels
    assert (drawn[:25] == 255).all() and (drawn[39:] == 0).all()
    assert drawn[31, 0, 0] in range(100, 156)


def test_cover_and_contain_do_not_share_latents() -> None:
    latents, seen = LatentCache(), Seen()
    for fit in ("contain", "cover", "contain", "cover"):
        job(latents, fit=fit, light="top").initial(seen.encoder, FRAME)
        job(latents, fit=fit, light="top", mode="fbc").concat(seen.encoder, FRAME)
    assert len(seen.pixels) == 6  # of each: the light as a start, the subject, and the drawn background
    assert (seen.pixels[0] != seen.pixels[3]).any()


@pytest.mark.parametrize(("columns", "warned"), [
    ((48, 80), False), ((40, 88), False), ((0, 70), True), ((0, 48), None)])
def test_what_the_frame_cuts_off_is_told_or_refused(columns: tuple[int, int], warned: bool | None) -> None:
    relight = job(mask=mask(*columns), matting="auto")
    if warned is None:
        with pytest.raises(ImageError, match="outside the frame of 64 x 64"):
            relight.concat(Seen().encoder, FRAME)
    else:
        relight.concat(Seen().encoder, FRAME)
        assert (CUT_OFF in relight.warnings) is warned
    whole = job(mask=mask(*columns), matting="auto", fit="contain")
    whole.concat(Seen().encoder, FRAME)
    assert whole.warnings == []
