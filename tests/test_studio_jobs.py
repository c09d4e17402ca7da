"""The studio's jobs: bounded, refused with sentences, and one after the other."""

from __future__ import annotations

import base64
import html
import io
import json
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lib_iclight.generation import Generation
from lib_iclight.job import LatentCache
from lib_iclight.panel import texts
from lib_iclight.session import WAITING, Session
from lib_iclight.settings import FIELDS, STAGES, Settings
from lib_iclight.studio.jobs import CHOSEN, GENERATION, LONGEST_PROMPT, RANGES, Studio

RGBA = np.full((64, 64, 4), 255, np.uint8)
RGBA[..., :3] = np.arange(64, dtype=np.uint8)[:, None, None] * 3
RGBA[:, :16, 3] = 0
PICTURE = Image.fromarray(RGBA)
GENERATED = {"prompt": "a", "negative_prompt": "", "width": 64, "height": 64, "steps": 2, "cfg": 2.0, "seed": 1,
             "sampler": "Euler", "hires_scale": 1.0, "hires_denoise": 0.5, "batch": 1, "guidance_end": 1.0,
             "prompt_syntax": "webui"}
CHOICES = {"checkpoint": None, "controlnet": texts.NO_CONTROLNET, "control_picture": None, "control_strength": 1.0}


def values(**changed: Any) -> list[Any]:
    """What the page sends of a small job."""
    settings = {field.name: field.kind.to_json(field.default) for field in FIELDS} | {"foreground": PICTURE,
                                                                                    "light": "left"}
    named = settings | GENERATED | CHOICES | changed
    return [named[name] for name in (*settings, *GENERATION, *CHOSEN)]


def test_a_light_stage_tells_the_page_of_its_sets() -> None:
    pictures, text, told = Studio(Session.open(device="cpu")).generate(
        *values(stage="4", mode="fbc", light="none", batch=2, steps=1, outputs=["cutout"]))
    assert len(pictures) == 11 and "Seed: 1" in text
    [sets] = [json.loads(html.unescape(one)) for one in re.findall(r'data-desk="([^"]*)" hidden', told)]
    assert [one["seed"] for one in sets] == [1, 2]
    for number, one in enumerate(sets):
        assert [entry["at"] for entry in one["pictures"]] == list(range(5 * number, 5 * number + 5))
        assert [entry["name"] for entry in one["pictures"]] == list(STAGES["4"])
        mask = np.asarray(Image.open(io.BytesIO(base64.b64decode(one["alpha"].partition(",")[2]))))
        assert mask.shape == (64, 64) and mask[5, 5] == 0 and mask[5, 40] == 255
    _, _, told = Studio(Session.open(device="cpu")).generate(*values(steps=1))
    assert "data-desk" not in told


class Never(Session):
    """A session that may not be asked to relight."""

    def relight(self, *arguments: Any, **options: Any) -> Any:
        raise AssertionError("the job was begun")


def refused(*given: Any) -> str:
    pictures, text, told = Studio(Never()).generate(*given)
    assert pictures == [] and text == ""
    return told


@pytest.mark.parametrize("name", RANGES)
def test_only_what_the_sliders_offer(name: str) -> None:
    least, most, step = RANGES[name]
    wrong: tuple[Any, ...] = (least - step, most + step, -1, 10**9, float("nan"), float("inf"), 10**400, "5", None,
                              True, [5], {})
    for value in wrong:
        told = refused(*values(**{name: value}))
        assert f"{name} must be a number from {least:g} to {most:g} on this page" in told, value


@pytest.mark.parametrize(("changed", "sentence"), [
    ({"seed": float("nan")}, "seed must be a whole number"), ({"seed": float("inf")}, "seed must be a whole number"),
    ({"seed": "1"}, "seed must be a whole number"), ({"seed": None}, "seed must be a whole number"),
    ({"seed": 2**32}, "seed must be a whole number from 0"), ({"seed": True}, "seed must be a whole number"),
    ({"width": 64.5}, "width must be a whole number"), ({"width": 65}, "multiple of 8"),
    ({"steps": 1.5}, "steps must be a whole number"), ({"batch": 1.5}, "batch must be a whole number"),
    ({"prompt": None}, "prompt must be text"), ({"prompt": ["a"]}, "prompt must be text"),
    ({"negative_prompt": 5}, "negative_prompt must be text"),
    ({"prompt": "x" * (LONGEST_PROMPT + 1)}, "prompt is longer than"),
    ({"sampler": ["Euler"]}, "sampler must be one of"), ({"sampler": {}}, "sampler must be one of"),
    ({"sampler": None}, "sampler must be one of"),
    ({"prompt_syntax": "a1111"}, "prompt_syntax must be one of"),
    ({"prompt_syntax": None}, "prompt_syntax must be one of"),
    ({"mode": []}, "mode must be one of"),
    ({"light": 5}, "LightError"), ({"outputs": 5}, "outputs must be a list"), ({"mask_grow": "x"}, "mask_grow must be"),
    ({"foreground": {"path": "x"}}, "foreground must be a picture")])
def test_a_value_that_cannot_be_is_a_sentence(changed: dict[str, Any], sentence: str) -> None:
    told = refused(*values(**changed))
    assert sentence in told and 'role="alert"' in told and "TypeError" not in told and texts.UNEXPECTED not in told


def test_another_number_of_values() -> None:
    for given in ([], values()[1:], [*values(), 1]):
        assert f"takes {len(values())} values, not {len(given)}" in refused(*given)


def test_an_unforeseen_error_names_no_file(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Session):
        def relight(self, *arguments: Any, **options: Any) -> Any:
            raise FileNotFoundError(2, "No such file or directory", "/home/somebody/secret.bin")

    _, _, told = Studio(Failing()).generate(*values())
    assert "FileNotFoundError" in told and "secret" not in told and "somebody" not in told
    assert "secret" in caplog.text  # the console's


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Session:
    return Session.open(models=tmp_path_factory.mktemp("models"), device="cpu")


def test_prompts_and_guidance_are_the_command_lines(session: Session) -> None:
    """The page's values reach the same `Generation`: emphasis and the guidance's end change the picture as there."""
    made: dict[tuple[str, str, float], bytes] = {}
    keys: list[tuple[str, str, float]] = [
        ("a lamp", "webui", 1.0), ("a (lamp:1.6) BREAK", "webui", 1.0), ("a (lamp:1.6) BREAK", "plain", 1.0),
        ("a lamp", "webui", 0.5)]
    for key in keys:
        changed = dict(zip(("prompt", "prompt_syntax", "guidance_end"), key, strict=True))
        [picture], text, told = Studio(session).generate(*values(**changed))
        assert ("Guidance end: 0.5" in text, "Prompt syntax: plain" in text) == (key[2] < 1, key[1] == "plain"), told
        settings = Settings(enabled=True, foreground=PICTURE, light="left")
        own = session.relight(settings, Generation(**{**GENERATED, **changed})).finished[0]  # type: ignore[arg-type]
        assert own.picture.tobytes() == picture.tobytes() and own.text == text
        made[key] = picture.tobytes()
    assert len(set(made.values())) == len(made)


@pytest.mark.parametrize(("prompt", "sentence"), [
    ("a [cat:dog:0.5]", "[cat:dog:0.5]"), ("<lora:nowhere:1>", "nowhere")])
def test_what_a_prompt_cannot_say_here_is_told(session: Session, prompt: str, sentence: str) -> None:
    pictures, _, told = Studio(session).generate(*values(prompt=prompt))
    assert pictures == [] and sentence in html.unescape(told) and texts.UNEXPECTED not in told
    pictures, _, told = Studio(session).generate(*values(prompt=prompt, prompt_syntax="plain", steps=1))
    assert len(pictures) == 1


class Holding:
    """A progress that stops at its first step of sampling until it is let go."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.sampling = threading.Event()
        self.go = threading.Event()

    def __call__(self, done: tuple[int, int | None], desc: str) -> None:
        self.heard.append(desc)
        if desc == "sampling":
            self.sampling.set()
            assert self.go.wait(60)


class Told:
    def __init__(self) -> None:
        self.heard: list[str] = []
        self.waits = threading.Event()

    def __call__(self, done: tuple[int, int | None], desc: str) -> None:
        self.heard.append(desc)
        if desc == WAITING:
            self.waits.set()


def in_thread(studio: Studio, given: list[Any], progress: Any, results: dict[str, Any], name: str) -> threading.Thread:
    def run() -> None:
        results[name] = studio.generate(*given, progress=progress)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def pixels(result: Any) -> NDArray[Any]:
    [picture], _, told = result
    assert told == ""
    return np.asarray(picture)


def test_a_second_job_waits_and_says_so(session: Session) -> None:
    studio = Studio(session)
    jobs_given = {"first": values(seed=1), "second": values(seed=2, light="right", prompt="b")}
    alone = {name: pixels(studio.generate(*given)) for name, given in jobs_given.items()}
    assert (alone["first"] != alone["second"]).any()
    results: dict[str, Any] = {}
    holding, told = Holding(), Told()
    threads = [in_thread(studio, jobs_given["first"], holding, results, "first")]
    assert holding.sampling.wait(60)
    threads.append(in_thread(studio, jobs_given["second"], told, results, "second"))
    assert told.waits.wait(60)
    assert "sampling" not in told.heard and results == {}
    holding.go.set()
    for thread in threads:
        thread.join(60)
    assert WAITING not in holding.heard and told.heard[-1] == "sampling"
    for name, result in results.items():
        np.testing.assert_array_equal(pixels(result), alone[name])


def test_stopping_ends_the_running_job_and_the_waiting_one(session: Session) -> None:
    studio = Studio(session)
    results: dict[str, Any] = {}
    holding, told = Holding(), Told()
    threads = [in_thread(studio, values(steps=50), holding, results, "first")]
    assert holding.sampling.wait(60)
    threads.append(in_thread(studio, values(), told, results, "second"))
    assert told.waits.wait(60)
    studio.stop()
    holding.go.set()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert all("the studio is being stopped" in result[2] for result in results.values()) and len(results) == 2
    assert "the studio is being stopped" in studio.generate(*values())[2]
    assert len(Studio(session).generate(*values())[0]) == 1  # the session is as good as before


def test_one_session_from_many_threads_gives_what_it_gives_alone(session: Session) -> None:
    def relight(seed: int) -> NDArray[Any]:
        mode = ("fc", "fbc")[seed % 2]  # which swap the UNet's weights
        settings = Settings(foreground=PICTURE, light="left", mode=mode)
        generation = Generation(width=64, height=64, steps=2, seed=seed, sampler="Euler")
        return np.asarray(session.relight(settings, generation).pictures[0])

    alone = [relight(seed) for seed in range(4)]
    session.latents.clear()
    together: dict[int, NDArray[Any]] = {}
    failed: list[BaseException] = []

    def run(seed: int) -> None:
        try:
            together[seed] = relight(seed)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert failed == []
    for seed, expected in enumerate(alone):
        np.testing.assert_array_equal(together[seed], expected)


def test_one_cache_from_many_threads() -> None:
    cache = LatentCache(capacity=3)
    start = threading.Barrier(8)
    failed: list[BaseException] = []

    def use(offset: int) -> None:
        try:
            start.wait(60)
            for number in range(400):
                key = (number * 7 + offset) % 10
                assert cache.get(key, lambda key=key: key) == key  # type: ignore[misc]
                if number % 50 == 0:
                    cache.clear()
                assert len(cache) <= 3
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=use, args=(offset,)) for offset in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []


def test_a_models_folder_is_left_alone(session: Session) -> None:
    assert list(Path(session.folders.weights[0]).parent.iterdir()) == []
