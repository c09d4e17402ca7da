"""Looking for files of people where looking fails."""

from __future__ import annotations

import errno
import logging
import os
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lib_iclight import files
from lib_iclight.batch.recipe import load_json
from lib_iclight.batch.rules import read_rules
from lib_iclight.errors import ICLightError, MattingError
from lib_iclight.hosts.standalone.checkpoint import Folder
from lib_iclight.hosts.standalone.controlnet import load_controlnet
from lib_iclight.matting import Cutter, model_names, obstacle
from lib_iclight.stage import load, load_environment
from lib_iclight.stage.lp import read_lp
from lib_iclight.stage.rig import EIGHT
from lib_iclight.stage.writer import StageWriter
from lib_iclight.weights import find_weights

LOOKS: list[Callable[[Path], object]] = [
    files.is_file, files.is_dir, files.exists, files.listed, lambda path: list(files.walk([path])), files.state]


def forbidden(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """The system refuses to tell of anything at or below the folder, as it does to a service's account."""
    def refusing(genuine: Callable[..., object]) -> Callable[..., object]:
        def look(path: object = ".", *args: object, **how: object) -> object:
            if str(path).startswith(str(folder)):
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return genuine(path, *args, **how)
        return look

    for name in ("stat", "lstat", "listdir", "scandir"):
        monkeypatch.setattr(os, name, refusing(getattr(os, name)))


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("path", ["a" * 300, "a/" * 3000, "nul\0", "\ud800", "", "missing/below"])
def test_what_cannot_be_looked_at_is_not_there(look: Callable[[Path], object], path: str, tmp_path: Path) -> None:
    assert not look(tmp_path / "no" / path)


@pytest.mark.parametrize("look", LOOKS)
def test_a_forbidden_folder_is_passed_over_with_one_warning(
        look: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture) -> None:
    place = tmp_path / "home"
    place.mkdir()
    forbidden(monkeypatch, place)
    with caplog.at_level(logging.WARNING, "iclight"):
        for _ in range(3):
            assert not look(place)
    assert len(caplog.records) == 1 and str(place) in caplog.text


def test_below_a_folder_the_readable_ones_are_walked(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_bytes(b"")
    forbidden(monkeypatch, tmp_path / "b")
    for _ in range(2):
        assert [path.parent.name for path in files.walk([tmp_path])] == ["a", "c"]
    assert [str(tmp_path / "b") in record.getMessage() for record in caplog.records] == [True]


def test_another_accounts_home_keeps_nobody_from_cut_outs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("U2NET_HOME", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "root"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    forbidden(monkeypatch, tmp_path / "root")
    assert "isnet-general-use is missing" in obstacle("isnet-general-use", [tmp_path])
    assert model_names([tmp_path / "root" / "models"])
    assert find_weights([tmp_path / "root"]) == []


def test_an_account_without_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "U2NET_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)

    def unknown(uid: int) -> object:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert files.expanded("~/x") is None
    assert files.expanded("/x") == Path("/x")
    assert files.expanded("~nobody-of-that-name/x") is None
    assert "is missing" in obstacle("isnet-general-use", [])
    with pytest.raises(MattingError, match=r"has no home.*--matting\) to none"):
        Cutter([]).cut(__import__("numpy").zeros((8, 8, 3), "uint8"))


def test_names_are_found_as_they_are_before_as_they_are_shown(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("A:b", "A%3ab", "a%3Ab")]
    assert files.shown_name(paths[0]) == "A%3ab"
    assert files.named(paths, "A%3ab") == paths[1]
    assert files.named(paths, "a%3Ab") == paths[2]
    assert files.named(paths[:1], "A%3ab") == files.named(paths[:1], "a%3ab") == paths[0]
    assert files.named(paths, "other") is None


def test_a_regular_file_is_read_up_to_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfone\r\ntwo")
    assert files.content(tmp_path / "a", 11) == b"\xef\xbb\xbfone\r\ntwo"
    assert files.text(tmp_path / "a", "utf-8-sig") == "one\ntwo"
    with pytest.raises(OSError, match="it has more than 10 bytes"):
        files.content(tmp_path / "a", 10)
    with pytest.raises(IsADirectoryError):
        files.content(tmp_path)
    with pytest.raises(FileNotFoundError):
        files.content(tmp_path / "b")
    grown = os.stat(tmp_path)  # a file that grows after it was looked at, as those in /proc seem to
    monkeypatch.setattr(os, "stat", lambda path: os.stat_result((0o100644, *grown[1:6], 0, *grown[7:])))
    with pytest.raises(OSError, match="more than 10"):
        files.content(tmp_path / "a", 10)


READ: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a panorama": ("sky.png", load_environment), "a panorama of light": ("sky.hdr", load_environment),
    "a stage": ("stage.json", load), "a stage's folder": ("stage.json", lambda path: load(path.parent)),
    "a stage that is begun": ("stage.json", lambda path: StageWriter(path.parent, EIGHT)),
    "light positions": ("a.lp", read_lp), "a recipe": ("a.json", lambda path: load_json(path, "the recipe")),
    "rules": ("a.csv", read_rules), "a checkpoint's folder": ("unet/config.json", lambda path: Folder(path.parents[1])),
    "a ControlNet's folder": ("config.json", lambda path: load_controlnet(path.parent, torch.float16)),
}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="other systems have no such files")
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "too long"])
@pytest.mark.parametrize("what", READ)
def test_what_people_write_is_read_of_regular_files_of_bounded_length(what: str, kind: str, tmp_path: Path) -> None:
    """Anything else would be waited for, or fill the memory."""
    name, read = READ[what]
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    else:
        path.touch()
        os.truncate(path, 3 << 30)  # a hole
    with pytest.raises(ICLightError) as caught:
        read(path)
    assert len(str(caught.value)) < 400


def test_places_and_reasons_name_no_whole_path() -> None:
    assert files.place(Path("/srv/people/anna/models/ic-light")) == "models/ic-light"
    assert files.place(Path("/models")) == "models"
    assert files.reason(PermissionError(errno.EACCES, "Permission denied", "/srv/secret")) == "Permission denied"
    assert files.reason(ValueError("/srv/secret")) == "ValueError"


@pytest.mark.parametrize("kind", ICLightError.__subclasses__())
def test_any_error_can_be_sent_and_is_of_bounded_length(kind: type[ICLightError]) -> None:
    error = kind("begin " + "\ud800\0\x1b" * 10**6 + " end", path=Path("/srv/models"))
    assert str(error).startswith("begin ") and str(error).endswith(" end")
    assert len(error.sentence.encode("utf-8")) < 20_000 and error.sentence.isprintable()
    assert "/srv" not in error.sentence and "/srv/models" in error.with_path
