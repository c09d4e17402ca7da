"""What a batch has to do: which part, which key, which names. Pure."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from lib_iclight.batch.plan import Shard, key_of, part_of, seed_of, shortened, target_of, with_key
from lib_iclight.errors import BatchError
from lib_iclight.generation import Generation
from lib_iclight.infotext import read, write
from lib_iclight.settings import Settings

NAMES = [f"{folder}photo {number}.jpg" for folder in ("", "shoes/", "é/") for number in range(100)]
BASE: dict[str, Any] = {"enabled": True, "light": "left"}


def key(name: str = "a.png", data: bytes = b"pixels", models: str = "models", **changes: Any) -> str:
    generation = {name: changes.pop(name) for name in ("seed", "steps", "prompt") if name in changes}
    return key_of(name, data, Settings(**{**BASE, **changes}), Generation(**generation), models)


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_the_shards_are_all_of_it_and_share_nothing(count: int) -> None:
    parts = [Shard(number, count).of(NAMES) for number in range(1, count + 1)]
    assert sorted(name for part in parts for name in part) == sorted(NAMES)
    assert all(len(part) > len(NAMES) / count / 2 for part in parts)
    assert all(part == tuple(name for name in NAMES if name in set(part)) for part in parts), "in their order"


def test_a_files_shard_does_not_depend_on_the_other_files() -> None:
    assert set(Shard(1, 3).of(NAMES[::2])) == set(Shard(1, 3).of(NAMES)) & set(NAMES[::2])
    assert part_of(os.fsdecode(b"\xff.jpg"), 4) in range(1, 5)


@pytest.mark.parametrize("text", ["", "1", "0/4", "5/4", "-1/4", "1/0", "a/b", "1/2/3", "1.0/2", "٣/" + "4" * 30])
def test_a_shard_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BatchError, match="such as 1/4"):
        Shard.parse(text)
    assert Shard.parse("2/8") == Shard(2, 8)


@pytest.mark.parametrize("change", [
    {"name": "b.png"}, {"name": "in/a.png"}, {"data": b"pixelz"}, {"models": "others"}, {"light": "right"},
    {"mode": "fbc"}, {"seed": 1}, {"steps": 24}, {"prompt": "a cat"}, {"stage": "4"}, {"outputs": ["mask"]},
    {"background": b"wall"}, {"mask": b"wall"}, {"light": {"ambient": "#102030"}}, {"preserve_color": 0.5}],
    ids=lambda change: next(iter(change)))
def test_the_key_names_all_that_makes_the_picture(change: dict[str, Any]) -> None:
    assert key(**change) != key()
    assert key(**change) == key(**change)


def test_the_key_keeps_whether_a_default_is_written_out() -> None:
    assert key(fit="cover", steps=Generation.steps, mask=None) == key()


def test_pictures_count_by_their_content_and_place() -> None:
    assert key(background=b"wall") != key(light_map=b"wall")
    assert key(background=b"wall", mask=b"disc") != key(background=b"disc", mask=b"wall")


def test_the_key_is_the_same_in_every_version() -> None:
    """Another one would make everybody's pictures anew: that is what `plan.VERSION` is for."""
    assert key(background=b"wall", seed=3) == "80b3dc068fd9f6e1c3ba8b756469d21e"


def paths(settings: Settings, generation: Generation, ending: str = ".png") -> list[str]:
    target = target_of("shoes/red.one.jpg", "0123456789abcdef" * 2, Path("out"), ending, settings, generation)
    return [path.as_posix() for path in target.needed]


def test_names_of_results() -> None:
    plain = Settings(**BASE)
    assert paths(plain, Generation()) == ["out/shoes/red.one-0123456789.png"]
    assert paths(plain.replace(outputs=["cutout", "raw", "lightmap"]), Generation(batch=2), ".jpg") == [
        "out/shoes/red.one-0123456789-cutout.png", "out/shoes/red.one-0123456789-lightmap.jpg",
        "out/shoes/red.one-0123456789-1-raw.jpg", "out/shoes/red.one-0123456789-2-raw.jpg",
        "out/shoes/red.one-0123456789-1.jpg", "out/shoes/red.one-0123456789-2.jpg"]
    assert paths(plain.replace(light="none", outputs=["lightmap"]), Generation()) == [
        "out/shoes/red.one-0123456789.png"], "a light map that is not made is not waited for"


def test_names_of_a_light_stage() -> None:
    stage = Settings(**BASE, stage="4")
    folder = "out/shoes/red.one-0123456789"
    assert paths(stage, Generation()) == [
        *(f"{folder}/{light}.png" for light in ("left", "right", "bottom", "top", "ambient")),
        f"{folder}/stage.json", f"{folder}/batch.json"]
    assert f"{folder}/2/left.png" in paths(stage, Generation(batch=2))


@pytest.mark.parametrize("stem", ["a" * 255, "é" * 120, "画" * 85, os.fsdecode(b"\xff" * 250), "a"])
def test_long_names_are_cut_between_letters(stem: str) -> None:
    cut = shortened(stem, 100)
    assert len(os.fsencode(cut)) <= 100 and stem.startswith(cut)
    assert len(os.fsencode(cut)) > 96 or cut == stem


def test_a_seed_of_its_own_is_the_pictures() -> None:
    seeds = {seed_of(bytes([number]), 0) for number in range(50)}
    assert len(seeds) == 50 and all(0 <= seed < 2**32 - 1000 for seed in seeds)
    assert seed_of(b"a", 7) == (seed_of(b"a", 0) + 7) % (2**32 - 1000)


def test_the_key_in_an_infotext_is_one_pair_more() -> None:
    text = write({"IC-Light mode": "fc"}, Generation(prompt="a: b"), 3, "model")
    assert read(with_key(text, "0123")) == {**read(text), "IC-Light batch": "0123"}
