"""Which adapter a WebUI gets, and what one that IC-Light does not fit is told."""

from __future__ import annotations

import importlib
import logging
import sys
import types
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fake_webui as fake
import gradio as gr
import pytest

from lib_iclight.errors import HostError
from lib_iclight.hosts.webui import detect as module
from lib_iclight.hosts.webui.detect import Unsupported, detect

FORGE = ("backend.sampling.condition", "backend.memory_management")
LDM = ("ldm_patched.modules.conds", "modules_forge.unet_patcher")
A1111 = ("modules.sd_unet", "modules.sd_hijack_unet")


@pytest.fixture
def adapters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adapters that import no host."""
    for name, maker in (("forge", "ForgeHost"), ("ldm", "LdmHost"), ("a1111", "A1111Host")):
        adapter: Any = types.ModuleType(f"lib_iclight.hosts.webui.{name}")
        setattr(adapter, maker, lambda title, name=name: SimpleNamespace(name=title, adapter=name))
        monkeypatch.setitem(sys.modules, adapter.__name__, adapter)


def host_with(monkeypatch: pytest.MonkeyPatch, *modules: str, hook: bool = True, version: str = "") -> None:
    """Pretend that the host has `modules`."""
    script = type("Script", (), {"process_before_every_sampling": None} if hook else {})
    members: dict[str, dict[str, Any]] = {name: {} for name in modules}
    members["modules.scripts"] = {"Script": script}
    members["modules.launch_utils"] = {"git_tag": lambda: "v1.10.1"}
    if version:
        members["modules_forge.forge_version"] = dict(zip(("version", "release"), version.split(), strict=False))
    for name, values in members.items():
        made = types.ModuleType(name)
        vars(made).update(values)
        monkeypatch.setitem(sys.modules, name.partition(".")[0], types.ModuleType(name.partition(".")[0]))
        monkeypatch.setitem(sys.modules, name, made)


@pytest.mark.parametrize(("modules", "version", "adapter", "name"), [
    ((*FORGE, *A1111), "2.0.1v1.10.1", "forge", "Forge 2.0.1v1.10.1"),
    (FORGE, "neo", "forge", "Forge Neo"),
    (FORGE, "neo 2.26", "forge", "Forge Neo 2.26"),
    ((*LDM, *A1111), "1.0.0v2-v1.10.1RC", "ldm", "reForge 1.0.0v2-v1.10.1RC"),
    (LDM, "classic", "ldm", "Forge Classic"),
    (A1111, "", "a1111", "WebUI v1.10.1"),
])
@pytest.mark.usefixtures("adapters")
def test_hosts_are_told_by_what_they_can_do(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
                                            modules: tuple[str, ...], version: str, adapter: str, name: str) -> None:
    host_with(monkeypatch, *modules, version=version)
    with caplog.at_level(logging.INFO, "iclight"):
        found = detect()
    assert (found.adapter, found.name) == (adapter, name)
    assert caplog.messages == [f"IC-Light: host {name}, adapter {adapter}"]


@pytest.mark.parametrize("asked", ["", "--loglevel", "SD_WEBUI_LOG_LEVEL"])
def test_the_line_is_seen_in_the_console(monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                                         capsys: pytest.CaptureFixture[str], asked: str) -> None:
    fake.install(monkeypatch, tmp_path)
    if asked == "--loglevel":
        sys.modules["modules.shared"].cmd_opts.loglevel = "WARNING"
    elif asked:
        monkeypatch.setenv(asked, "WARNING")
    show_log = importlib.import_module("lib_iclight.webui.console").show_log
    for _ in range(2):  # as when the page is reloaded
        show_log()
    logging.getLogger("iclight").info("IC-Light: host Forge 2, adapter forge")
    assert capsys.readouterr().err == ("" if asked else "IC-Light: host Forge 2, adapter forge\n")


@pytest.mark.parametrize("hook", [True, False])
@pytest.mark.usefixtures("adapters")
def test_an_unknown_or_old_host_is_told_why(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
                                            hook: bool) -> None:
    host_with(monkeypatch, *(A1111 if not hook else ()), hook=hook)
    found = detect()
    assert isinstance(found, Unsupported)
    assert "v1.10.1" in found.reason
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    with pytest.raises(HostError, match="does not know this WebUI"):
        found.check_checkpoint(None)


def test_a_host_that_has_changed_is_told_apart_from_our_own_mistakes(monkeypatch: pytest.MonkeyPatch) -> None:
    host_with(monkeypatch, *LDM, version="9")
    monkeypatch.delitem(sys.modules, "lib_iclight.hosts.webui.ldm", raising=False)
    found = detect()  # what `ldm` imports of the host is not in the double
    assert isinstance(found, Unsupported)
    assert "reForge 9" in found.reason

    def broken(name: str, package: str | None = None) -> Any:
        raise ImportError("no", name="lib_iclight.hosts.base")

    monkeypatch.setattr(module, "importlib", SimpleNamespace(import_module=broken))
    with pytest.raises(ImportError):
        module._adapter(module.FAMILIES[1], "reForge 9")


def test_on_an_unknown_host_the_page_explains_and_jobs_are_refused(monkeypatch: pytest.MonkeyPatch,
                                                                   tmp_path: Path) -> None:
    fake.install(monkeypatch, tmp_path)
    for name in FORGE:
        monkeypatch.delitem(sys.modules, name)
        monkeypatch.delattr(sys.modules[name.rpartition(".")[0]], name.rpartition(".")[2])
    script = fake.load_script().ICLightScript()
    with gr.Blocks() as page:
        inputs = script.ui(False)
    assert any("does not know this WebUI" in str(block.value) for block in page.blocks.values()
               if isinstance(block, gr.Markdown))
    off = fake.Processing(fake.SdModel(), script, [widget.value for widget in inputs])
    fake.process_images(off)
    assert off.swallowed == []
    on = fake.Processing(fake.SdModel(), script, [{"enabled": True}])
    with pytest.raises(HostError, match="does not know this WebUI"):
        fake.process_images(on)
    assert on.passes == []
