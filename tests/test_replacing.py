"""Methods replaced on one object: what stands behind them, and what is there again afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lib_iclight.hosts.webui import replacing


class Sampler:
    def sample(self, x: int) -> int:
        return x + 1


def times(owner: Any, factor: int) -> Any:
    """A replacement that calls the host's own method."""
    own = replacing.original(owner, "sample")
    return lambda x: factor * own(x)


def test_the_objects_method_is_replaced_and_its_classs_is_not() -> None:
    sampler = Sampler()
    replacing.replace(sampler, "sample", times(sampler, 10))
    assert (sampler.sample(1), Sampler().sample(1)) == (20, 2)
    assert replacing.original(sampler, "sample")(1) == 2


def test_replacing_ours_again_does_not_stack() -> None:
    sampler = Sampler()
    for factor in (10, 100):
        replacing.replace(sampler, "sample", times(sampler, factor))
    assert sampler.sample(1) == 200
    replacing.restore(sampler, "sample")
    assert sampler.sample(1) == 2
    assert vars(sampler) == {}


def test_what_another_extension_put_on_the_object_comes_back() -> None:
    sampler = Sampler()
    theirs: Callable[[int], int] = lambda x: x + 7  # noqa: E731
    sampler.sample = theirs  # type: ignore[method-assign]
    replacing.replace(sampler, "sample", times(sampler, 10))
    assert sampler.sample(1) == 80
    replacing.restore(sampler, "sample")
    assert sampler.sample is theirs


def test_a_replacement_that_is_wrapped_by_another_extension_stays() -> None:
    sampler = Sampler()
    replacing.replace(sampler, "sample", times(sampler, 10))
    ours = sampler.sample
    sampler.sample = lambda x: -ours(x)  # type: ignore[method-assign]
    theirs = sampler.sample
    replacing.restore(sampler, "sample")
    assert sampler.sample is theirs
    assert replacing.original(sampler, "sample") is theirs


@pytest.mark.parametrize("own", [False, True])
def test_without_a_replacement_there_is_nothing_to_do(own: bool) -> None:
    sampler = Sampler()
    if own:
        sampler.sample = lambda x: x  # type: ignore[method-assign]
    before = dict(vars(sampler))
    assert replacing.original(sampler, "sample")(1) == (1 if own else 2)
    replacing.restore(sampler, "sample")
    assert vars(sampler) == before
