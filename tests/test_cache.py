"""The one cache: bounded, the least recently used goes first, several threads may use it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from lib_iclight.cache import LRU


def make(value: str, made: list[str]) -> Callable[[], str]:
    def maker() -> str:
        made.append(value)
        return value
    return maker


def test_the_least_recently_used_goes_first() -> None:
    made: list[str] = []
    cache: LRU[str] = LRU(2)
    for value in "abacb":  # a is used again before c, so b goes and has to be made anew
        assert cache.get(value, make(value, made)) == value
    assert "".join(made) == "abcb"
    assert len(cache) == 2


def test_by_size_the_latest_is_kept_whatever_it_holds() -> None:
    made: list[str] = []
    cache: LRU[str] = LRU(4, size=len)
    for value in ("aa", "bb", "aa", "c" * 9):
        cache.get(value, make(value, made))
    assert len(cache) == 1
    cache.get("c" * 9, make("c" * 9, made))
    assert made == ["aa", "bb", "c" * 9]


def test_room_is_made_before_so_that_one_too_many_is_never_held() -> None:
    cache: LRU[str] = LRU(1)
    cache.get("a", lambda: "a")
    held: Any = []
    cache.get("b", lambda: held.append(len(cache)) or "b")
    assert held == [0]


def test_what_fails_is_not_kept() -> None:
    cache: LRU[str] = LRU(2)

    def fail() -> str:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        cache.get("a", fail)
    assert cache.get("a", lambda: "a") == "a"


def test_a_value_may_be_made_of_another() -> None:
    cache: LRU[str] = LRU(2)
    assert cache.get("ab", lambda: cache.get("a", lambda: "a") + "b") == "ab"


def test_one_is_made_at_a_time_and_once() -> None:
    cache: LRU[int] = LRU(4)
    busy, most, made = 0, 0, []
    start = threading.Barrier(8)

    def maker() -> int:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        threading.Event().wait(0.002)
        busy -= 1
        made.append(1)
        return 1

    def ask(key: int) -> None:
        start.wait()
        cache.get(key, maker)

    threads = [threading.Thread(target=ask, args=(number % 2,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, len(made)) == (1, 2)


def test_clearing_keeps_nothing() -> None:
    cache: LRU[str] = LRU(2)
    cache.get("a", lambda: "a")
    cache.clear()
    assert len(cache) == 0
