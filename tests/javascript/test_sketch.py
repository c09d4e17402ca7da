"""The page's sketch without a page and without a graphics card, against Python's."""

from __future__ import annotations

import json

import numpy as np
import pytest

from .sketches import CLOSE, case, decoded, specs
from .test_javascript import HERE, NODE, run


@pytest.mark.parametrize("behind", ["photo", "background"])
def test_sketches_are_pythons(behind: str) -> None:
    subject, lights = case(), [*specs(50), None]
    background = np.random.default_rng(4).integers(0, 256, subject.photo.shape, np.uint8) if behind != "photo" else None
    done = run(NODE, HERE / "sketch.js", input=json.dumps(subject.for_page(lights, background)))
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert len(made) == 51
    for spec, text in zip(lights, made, strict=True):
        seen, expected = decoded(text, subject.photo), subject.expected(spec, background)
        assert (seen[..., 3] == 255).all()
        assert np.abs(seen[..., :3].astype(int) - expected).max() <= CLOSE, spec
    assert len(set(made)) == 51


def test_the_subject_alone_lets_the_light_map_through() -> None:
    """A transparent foreground has nothing behind it: its alpha stays, premultiplied."""
    subject = case()
    given = subject.for_page([specs(1)[0]])
    given["photo"] = given["color"]
    done = run(NODE, HERE / "sketch.js", input=json.dumps(given))
    assert done.returncode == 0, done.stderr
    [made] = [decoded(text, subject.photo) for text in json.loads(done.stdout)]
    assert np.array_equal(made[..., 3], subject.alpha)
    assert (made[subject.alpha == 0] == 0).all()
    on_black = subject.expected(specs(1)[0], np.zeros_like(subject.photo))
    assert np.abs(made[..., :3].astype(int) - on_black).max() <= CLOSE
