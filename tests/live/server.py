"""Starts and stops a real WebUI on the CPU, with this extension and the probe linked into it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXTENSION, PROBE = "sd-webui-iclight", "zz-iclight-probe"
"""the links' names in the host's folder of extensions; the last in the alphabet has its hooks run last"""
RANDOM_MODELS = Path(__file__).resolve().parent / "random_models.py"
CHECKPOINT = "iclight-live-sd15"
FLAGS = ("--skip-torch-cuda-test", "--skip-install", "--skip-prepare-environment", "--skip-version-check",
         "--skip-python-version-check", "--no-hashing", "--api")
ON_THE_CPU = {
    **dict.fromkeys(("forge", "reforge", "classic"), ("--always-cpu", "--all-in-fp32", "--no-download-sd-model")),
    "neo": ("--cpu", "--force-fp32"),  # Neo never downloads a checkpoint
    "neo-2025": ("--always-cpu", "--all-in-fp32", "--attention-pytorch"),  # its other attention fails
    "a1111": ("--use-cpu", "all", "--no-half", "--precision", "full", "--no-download-sd-model"),
}
"""host -> its flags for the CPU in single precision"""
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "GRADIO_ANALYTICS_ENABLED": "False",
           "PYTHONUNBUFFERED": "1", "no_proxy": "localhost,127.0.0.1", "NO_COLOR": "1"}
START_LIMIT = 900  # seconds; a busy machine takes many


class Server:
    """A running WebUI, as a context manager. What was added to the checkout is removed at the end.

    forge: the checkout. host: which WebUI it is, a key of ON_THE_CPU. environment: more variables for it.
    settings: more of the WebUI's own settings.
    """

    def __init__(self, forge: Path, python: Path | None = None, port: int = 7999, flags: tuple[str, ...] = (),
                 host: str = "forge", environment: Mapping[str, str] | None = None,
                 settings: Mapping[str, object] | None = None) -> None:
        self.host = host
        # Other previews need a model each, which the WebUI would download.
        self._settings = {"sd_model_checkpoint": CHECKPOINT, "show_progress_type": "Approx cheap", **(settings or {})}
        self._environment = {**os.environ, **OFFLINE, **(environment or {})}
        self.forge = forge.resolve()
        self.python = python or find_python(self.forge)
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._flags = flags
        self._added: list[Path] = []
        self._scratch = Path(tempfile.mkdtemp(prefix="iclight-live-"))
        self.log = self._scratch / "host.log"
        self._process: subprocess.Popen[bytes] | None = None

    def link_models(self, folder: Path) -> list[Path]:
        """Link the random models of another host's models `folder` into this one's; what was linked."""
        linked = []
        for kind in ("Stable-diffusion", "Lora", "ControlNet", "ic-light"):
            for path in sorted((folder / kind).glob("*.safetensors")):
                target = self.forge / "models" / kind / path.name
                if not path.stem.startswith(("iclight-live", "iclight_sd15")) or target.exists():
                    continue
                target.parent.mkdir(exist_ok=True)
                (os.link if os.name == "nt" else os.symlink)(path.resolve(), target)
                linked.append(target)
        return linked

    def make_models(self, names: list[str]) -> list[Path]:
        """Make the random models that are not there yet (see random_models.py), in a Forge; what was made."""
        command = [str(self.python), str(RANDOM_MODELS), "--forge", str(self.forge), *names]
        made = subprocess.run(command, check=True, env={**os.environ, **OFFLINE}, stdout=subprocess.PIPE, text=True)
        return [Path(line) for line in made.stdout.splitlines()]

    def __enter__(self) -> Server:
        # Being told to end must not leave a Forge behind.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        self._add(ROOT, EXTENSION)
        self._add(ROOT / "tests" / "live" / "probe", PROBE)
        settings = self._scratch / "config.json"  # a checkout's own settings stay as they are
        settings.write_text(json.dumps(self._settings))
        command = [str(self.python), "launch.py", *FLAGS, *ON_THE_CPU[self.host], "--port", str(self.port),
                   "--ui-settings-file", str(settings), "--ui-config-file", str(self._scratch / "ui-config.json"),
                   *self._flags]
        try:
            with self.log.open("wb") as log:
                self._process = subprocess.Popen(command, cwd=self.forge, stdout=log, stderr=subprocess.STDOUT,
                                                 stdin=subprocess.PIPE, env=self._environment)
            assert self._process.stdin is not None
            with self._process.stdin as keyboard:
                keyboard.write(b"\n")  # Neo asks for it when the settings were not written by itself
            self._wait()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the host and remove what was added."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for path in self._added:
            if path.is_symlink():
                path.unlink()
            else:
                shutil.rmtree(path)
        self._added.clear()

    def startup_seconds(self) -> float:
        """What the host says of its own start."""
        found = re.search(r"Startup time: ([0-9.]+)s", self.log.read_text(errors="replace"))
        assert found
        return float(found[1])

    def _add(self, source: Path, name: str) -> None:
        folder = self.forge / "extensions"
        there = [path for path in folder.iterdir() if path.is_dir() and path.resolve() == source]
        if there:
            return
        target = folder / name
        if target.exists():
            raise SystemExit(f"{target} is another copy of the extension. Move it away first.")
        self._added.append(target)
        if os.name == "nt":  # links need rights there
            shutil.copytree(source, target, ignore=shutil.ignore_patterns(".git", ".venv", "__pycache__"))
        else:
            target.symlink_to(source, target_is_directory=True)

    def _wait(self) -> None:
        assert self._process is not None
        started = time.monotonic()
        # The port answers before the extensions' routes are there; this line comes after them.
        while "\nStartup time" not in self.log.read_text(errors="replace"):
            if self._process.poll() is not None or time.monotonic() - started > START_LIMIT:
                tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-30:])
                raise SystemExit(f"{self.host} did not start:\n{tail}")
            time.sleep(0.5)


def find_python(forge: Path) -> Path:
    """The Python of the host's own environment."""
    for place in ("venv/bin/python", "venv/Scripts/python.exe"):
        if (forge / place).is_file():
            return forge / place
    raise SystemExit(f"no Python in {forge / 'venv'}. Start the host once by hand, or name its Python with --python.")
