"""`batch --webui`: the same folder through WebUIs, of which one may refuse, fail, die and come back."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lib_iclight import cli
from lib_iclight.batch import webui
from lib_iclight.batch.claims import Claims
from lib_iclight.batch.order import Order
from lib_iclight.batch.recipe import Recipe
from lib_iclight.batch.remote import FailedError, GoneError, RefusedError, Remote
from lib_iclight.batch.report import Report, read_report
from lib_iclight.batch.rules import read_rules
from lib_iclight.batch.talk import split_payload
from lib_iclight.errors import HostError, SettingsError
from lib_iclight.imaging import read_text
from lib_iclight.infotext import read
from lib_iclight.stage import load

from .folders import BREAK, fill, last, results, spoil
from .hosts import Host, RefusalError, process, serving

ROOT = Path(__file__).resolve().parents[2]
UNTOLD = [f"z0-{name}" for name in ("clear.png", "cut.png", "huge.png", "small.png")]
"""of what `spoil` makes: a header does not tell their faults, so the WebUI does"""


def batch(photos: Path, out: Path, *flags: str) -> int:
    return cli.main(["batch", str(photos), "-o", str(out), "--recursive", "--light", "left", "--prompt", "a vase",
                     *flags])


def names_in(host: Host, photos: Path) -> list[str]:
    """The pictures that a host was asked for."""
    files = {base64.b64encode(path.read_bytes()).decode(): path.relative_to(photos).as_posix()
             for path in photos.rglob("*.*") if path.is_file()}
    return [files[body["alwayson_scripts"]["IC-Light"]["args"][0]["foreground"]] for body in host.bodies]


def test_two_webuis_share_a_folder(photos: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = fill(photos, 12), spoil(photos)
    hosts = Host(0.05), Host(0.05)
    with serving(hosts[0]) as one, serving(hosts[1]) as two:
        assert batch(photos, out, "--webui", one, "--webui", two, "--seed", "3") == 3
        assert "12 made, 10 failed" in capsys.readouterr().out
        asked = [name for host in hosts for name in names_in(host, photos)]
        assert sorted(asked) == sorted([*good, *UNTOLD])
        assert min(len(host.bodies) for host in hosts) >= 4, "each is kept busy"
        assert [host.most_at_once for host in hosts] == [webui.SLOTS] * 2, "and never waits for us"
        assert batch(photos, out, "--webui", one, "--webui", two, "--seed", "3") == 3
        assert "0 made, 12 there already, 10 failed" in capsys.readouterr().out
        again = Counter(name for host in hosts for name in names_in(host, photos)) - Counter(asked)
        assert again == Counter(UNTOLD), "only what failed is tried again"
    rows = last(out)
    assert set(rows) == {*good, *bad} and len(BREAK) == 10
    assert results(out) == sorted(rows[name]["output"] for name in good)
    assert {rows[name]["host"] for name in good} == {one.removeprefix("http://"), two.removeprefix("http://")}
    with Image.open(photos / good[0]) as foreground, Image.open(out / rows[good[0]]["output"]) as made:
        red, green = foreground.convert("RGB").getpixel((24, 20))[:2]
        assert made.getpixel((0, 0)) == (red, green, 3)
    values = read(read_text(out / rows[good[0]]["output"]))
    assert (values["Prompt"], values["Seed"], values["IC-Light batch"]) == ("a vase", "3", rows[good[0]]["key"])
    assert rows[good[0]]["warnings"] == ["The prompt is short."]


def test_the_request_is_the_payload_with_what_is_given_on_top(photos: Path, out: Path, tmp_path: Path) -> None:
    fill(photos, 1)
    payload = {"prompt": "not this <lora:x:1>", "steps": 8, "cfg_scale": 3, "enable_hr": True, "hr_scale": 1.5,
               "override_settings": {"sd_model_checkpoint": "other"}, "alwayson_scripts": {
                   "ControlNet": {"args": [{"enabled": True}]},
                   "ic-light": {"args": [{"enabled": True, "mode": "fcon", "light": "top", "preserve_color": 0.5}]}}}
    (tmp_path / "p.json").write_text(json.dumps(payload), encoding="utf-8")
    with serving(host := Host()) as url:
        assert batch(photos, out, "--webui", url, "--payload", str(tmp_path / "p.json"), "--cfg", "4") == 0
    (body,) = host.bodies
    assert (body["prompt"], body["steps"], body["cfg_scale"], body["seed"]) == ("a vase", 8, 4.0, 0)
    assert (body["enable_hr"], body["hr_scale"], body["hr_cfg"]) == (True, 1.5, 4.0)
    assert (body["sampler_name"], body["scheduler"]) == ("DPM++ 2M SDE", "Karras")
    assert body["override_settings"] == {"sd_model_checkpoint": "other"}
    assert body["save_images"] is False and body["width"] % 64 == 0
    scripts = body["alwayson_scripts"]
    assert scripts["ControlNet"] == {"args": [{"enabled": True}]}
    foreground = scripts["IC-Light"]["args"][0].pop("foreground")
    assert base64.b64decode(foreground) == next(photos.rglob("*.png")).read_bytes()
    assert scripts["IC-Light"]["args"] == [{"enabled": True, "mode": "fcon", "light": "left", "preserve_color": 0.5}]
    assert set(scripts) == {"ControlNet", "IC-Light"}


@pytest.mark.parametrize(("payload", "told"), [
    ([], "one JSON object"), ({"init_images": []}, "img2img"), ({"seed": -1}, "by chance"),
    ({"subseed_strength": 0.5}, "by chance"), ({"batch_size": 2}, "--batch"),
    ({"alwayson_scripts": {"IC-Light": {"args": [True, "fc"]}}}, "one object"),
    ({"alwayson_scripts": {"IC-Light": {"args": [{"foreground": "aaaa"}]}}}, "foreground away"),
    ({"alwayson_scripts": {"IC-Light": {"args": [{"ligth": "left"}]}}}, "'light'")], ids=lambda value: str(value)[:30])
def test_a_payload_that_cannot_be_meant(payload: Any, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        split_payload(payload)


def test_a_refusal_is_a_row_and_a_failure_is_tried_elsewhere(photos: Path, out: Path) -> None:
    names = fill(photos, 8)

    def refuse(body: dict[str, Any]) -> None:
        if body["prompt"] == "refused":
            raise RefusalError(422, {"detail": "IC-Light: ImageError: nothing is in the frame."})

    def fail(body: dict[str, Any]) -> None:
        refuse(body)
        if body["prompt"] == "hard":
            raise RefusalError(500, {"error": "OutOfMemoryError", "errors": "CUDA out of memory"})

    (photos.parent / "r.csv").write_text(
        f"file,prompt\n{names[2]},refused\n{names[5]},hard\n", encoding="utf-8")
    weak, strong = Host(0.02, refuse=fail), Host(0.02, refuse=refuse)
    with serving(weak) as one, serving(strong) as two:
        assert batch(photos, out, "--webui", one, "--webui", two, "--rules", str(photos.parent / "r.csv")) == 3
        rows = last(out)
        assert rows[names[2]]["sentence"] == "IC-Light: ImageError: nothing is in the frame."
        assert rows[names[5]]["state"] == "made" and rows[names[5]]["host"] == two.removeprefix("http://")
        assert [row["state"] for row in rows.values()].count("made") == 7
        assert sum(body["prompt"] == "refused" for host in (weak, strong) for body in host.bodies) == 1
        strong.refuse = fail
        (out / rows[names[5]]["output"]).unlink()
        assert batch(photos, out, "--webui", one, "--webui", two, "--rules", str(photos.parent / "r.csv")) == 3
    assert "CUDA out of memory" in last(out)[names[5]]["sentence"]


def test_what_a_killed_webui_was_at_is_made_elsewhere(photos: Path, out: Path) -> None:
    good = fill(photos, 24)
    host = Host(0.1)
    with serving(host) as safe, process(0.1) as (doomed, url):
        def kill() -> None:
            while not out.joinpath("report.jsonl").exists() or url.removeprefix("http://") not in \
                    out.joinpath("report.jsonl").read_text():
                time.sleep(0.01)
            doomed.send_signal(signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        assert batch(photos, out, "--webui", url, "--webui", safe) == 0
        killer.join()
    rows = list(read_report(out / "report.jsonl"))
    assert sorted(row["input"] for row in rows) == sorted(good), "no picture twice, none lost"
    assert {row["state"] for row in rows} == {"made"}
    assert len({row["host"] for row in rows}) == 2 and len(host.bodies) > 12


def pool(photos: Path, out: Path, remotes: list[Remote], **more: Any) -> webui.Pool:
    order = Order(photos, out, Recipe({"light": "left"}))
    return webui.Pool(order, remotes, Claims(out), Report(out), payload={}, checkpoint="m", pause=0.05, **more)


def test_a_picture_that_kills_them_is_left_alone(photos: Path, out: Path) -> None:
    names = fill(photos, 3)

    def die(body: dict[str, Any]) -> None:
        if body["seed"] == 13:
            raise RefusalError(502, {})

    (photos.parent / "r.csv").write_text(f"file,seed\n{names[1]},13\n", encoding="utf-8")
    order = Order(photos, out, Recipe({"light": "left"}), read_rules(photos.parent / "r.csv"))
    with serving(Host(refuse=die)) as url:
        made = webui.Pool(order, [Remote(url)], Claims(out), Report(out), payload={}, checkpoint="m", pause=0.02)
        tally = made.run(names)
    assert (tally.made, tally.failed) == (2, 1)
    assert "went away over this picture" in last(out)[names[1]]["sentence"]


def test_a_webui_that_comes_back_is_taken_up_again(photos: Path, out: Path) -> None:
    names = fill(photos, 6)
    host, broken = Host(), iter(range(3))

    def sleepy(body: dict[str, Any]) -> None:
        if next(broken, None) is not None:
            raise RefusalError(503, {})

    host.refuse = sleepy
    with serving(host) as url:
        tally = pool(photos, out, [Remote(url)]).run(names)
    assert tally.made == 6 and len(host.bodies) == 9


def test_when_none_comes_back_the_batch_ends_and_says_how_to_go_on(photos: Path, out: Path) -> None:
    names = fill(photos, 6)
    with process(0.05) as (doomed, url):
        remote = Remote(url)
        made = pool(photos, out, [remote], patience=0.3)
        thread = threading.Timer(0.3, doomed.kill)
        thread.start()
        with pytest.raises(HostError, match=r"no WebUI answers any more, and \d+ pictures are left"):
            made.run(names * 4)
    assert not made._claims._held or len(last(out)) < 24


def test_interrupted_twice_the_webuis_are_interrupted_too(photos: Path, out: Path) -> None:
    fill(photos, 6)
    host = Host(60.0)
    with serving(host) as url:
        words = [sys.executable, "-m", "lib_iclight", "batch", str(photos), "-o", str(out), "--recursive", "--webui",
                 url, "--light", "left"]
        batching = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        until = time.monotonic() + 900
        while host.most_at_once < 2 and time.monotonic() < until:
            time.sleep(0.02)
        batching.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert batching.poll() is None and host.interrupts == 0, "the pictures in work are waited for"
        batching.send_signal(signal.SIGINT)
        _, errors = batching.communicate(timeout=900)
        assert batching.returncode == 130, errors
        until = time.monotonic() + 300
        while host.at_once and time.monotonic() < until:
            time.sleep(0.02)
    assert host.interrupts >= 2 and host.at_once == 0 and len(host.bodies) == 2
    assert results(out) == [], "half a picture is none"


def test_a_stage_through_a_webui(photos: Path, out: Path) -> None:
    name, = fill(photos, 1)
    with serving(host := Host()) as url:
        flags = ["--webui", url, "--stage", "4", "--width", "64", "--height", "64", "--mode", "fbc"]
        assert batch(photos, out, *flags) == 0
        assert batch(photos, out, *flags) == 0
    assert len(host.bodies) == 1
    stage = load(out / last(out)[name]["output"])
    assert stage.names == ("left", "right", "bottom", "top", "ambient") and stage.seed == 0
    assert stage.alpha is not None and stage.alpha.shape == (64, 64)
    assert not (out / last(out)[name]["output"] / "mask.png").exists(), "it was not asked for"


def test_several_pictures_and_extras(photos: Path, out: Path) -> None:
    name, = fill(photos, 1)
    with serving(Host()) as url:
        assert batch(photos, out, "--webui", url, "--batch", "2", "--outputs", "mask", "--format", "jpg") == 0
    stem = last(out)[name]["output"].removesuffix("-1.jpg")
    assert results(out) == sorted(f"{stem}-{rest}" for rest in ("1.jpg", "2.jpg", "mask.jpg"))
    assert read(read_text(out / f"{stem}-2.jpg"))["Seed"] == "1"


# --- before the first picture -------------------------------------------------------------------------------------


def test_webuis_that_cannot_be_used(photos: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(photos, 1)
    with serving(Host(iclight=False)) as bare, serving(Host(checkpoint="other")) as other, serving(Host()) as good:
        for urls, told in (([bare], "does not have the IC-Light extension"), ([other, good], "different checkpoints"),
                           (["http://127.0.0.1:9"], "none of the WebUIs answers"), (["ftp://x"], "no address")):
            assert batch(photos, out, *(word for url in urls for word in ("--webui", url))) == 2
            assert told in capsys.readouterr().err
        assert batch(photos, out, "--webui", "http://127.0.0.1:9", "--webui", good) == 0
        assert "go on without it" in capsys.readouterr().err


def test_a_login_is_sent_and_never_shown() -> None:
    remote = Remote("http://me:secret@127.0.0.1:9/forge/")
    assert remote.name == "127.0.0.1:9/forge" and remote._auth == ("me", "secret")
    with pytest.raises(GoneError) as gone:
        remote.ask("/sdapi/v1/progress")
    assert "secret" not in str(gone.value)
    with pytest.raises(SettingsError) as refused:
        Remote("gopher://me:secret@x")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(("status", "answer", "kind", "told"), [
    (422, {"detail": "IC-Light: a sentence."}, RefusedError, "IC-Light: a sentence."),
    (422, {"detail": [{"loc": ["body", "steps"]}]}, RefusedError, "steps"), (404, {"detail": "Not Found"}, RefusedError,
                                                                          "Not Found"),
    (500, {"error": "RuntimeError", "errors": "boom"}, FailedError, "boom"), (500, {}, FailedError, "HTTP 500"),
    (502, {}, GoneError, "502"), (401, {}, RefusedError, "401")], ids=lambda value: str(value)[:20])
def test_what_an_answer_means(status: int, answer: dict[str, Any], kind: type[Exception], told: str) -> None:
    def refuse(body: dict[str, Any]) -> None:
        raise RefusalError(status, answer)

    with serving(Host(refuse=refuse)) as url, pytest.raises(kind, match=told):
        Remote(url).ask("/sdapi/v1/txt2img", {})


def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "http_proxy", "http://127.0.0.1:9")
    with serving(Host()) as url:
        assert Remote(url).checkpoint() == "model.safetensors [0123]"
