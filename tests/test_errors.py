"""What people are told of errors."""

from __future__ import annotations

import errno

import pytest

from lib_iclight.errors import LONGEST, ImageError, sentence_of


@pytest.mark.parametrize(("error", "told"), [
    (ImageError("the picture is empty."), "ImageError: the picture is empty."),
    (FileNotFoundError(errno.ENOENT, "No such file", "/srv/people/photo.png"), "FileNotFoundError: No such file"),
    (OSError("cannot write /srv/people/photo.png"), "OSError: cannot write photo.png"),
    (RuntimeError("open '/srv/x/y.safetensors' failed"), "RuntimeError: open 'y.safetensors' failed"),
    (RuntimeError(r"C:\Users\Anna\m.onnx, C:/Users/n.onnx and \\host\share\a.png"),
     "RuntimeError: m.onnx, n.onnx and a.png"),
    (ValueError("3/4 of w/h, see https://example.org/a/b"), "ValueError: 3/4 of w/h, see https://example.org/a/b"),
    (ValueError("CUDA out of memory. Tried 2.0 GiB"), "ValueError: CUDA out of memory. Tried 2.0 GiB"),
    (KeyError("/srv/x"), "KeyError: 'x'"), (RuntimeError(), "RuntimeError"),
    (RuntimeError("a\ud800\0"), r"RuntimeError: a\ud800\x00"),
])
def test_pages_and_clients_see_no_folder(error: Exception, told: str) -> None:
    assert sentence_of(error) == f"IC-Light: {told}"


def test_a_long_message_is_cut() -> None:
    assert len(sentence_of(RuntimeError("/a" * 10**5))) <= LONGEST
