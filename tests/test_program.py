"""The installed program: a wheel built from this folder, in an environment of its own, used from an empty folder."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
import sysconfig
import urllib.request
import venv
import zipfile
from email import message_from_string
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

import lib_iclight
from lib_iclight.assets import INSIDE, assets

ROOT = Path(__file__).resolve().parent.parent
VASE = ROOT / "examples" / "rendered-vase.png"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built without a network, by the backend that is here."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--quiet",
                    "--disable-pip-version-check", "--wheel-dir", str(folder), str(ROOT)], check=True)
    [made] = folder.glob("*.whl")
    return made


class Installed:
    """The program as somebody installed it, called from a folder with nothing of ours in it."""

    def __init__(self, environment: Path, folder: Path) -> None:
        self.programs = environment / ("Scripts" if os.name == "nt" else "bin")
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "ICLIGHT_HOME")}
        self.environment = {**kept, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "U2NET_HOME": str(folder)}

    def run(self, program: str, *arguments: object) -> str:
        done = subprocess.run([str(self.programs / program), *map(str, arguments)], cwd=self.folder, check=False,
                              env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "env", with_pip=False)
    program = Installed(folder / "env", folder / "empty")
    program.folder.mkdir()
    python = program.programs / "python"
    subprocess.run([sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index",
                    "--quiet", "--disable-pip-version-check", str(wheel)], check=True)
    site = Path(program.run("python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    (site / "packages-of-the-tests.pth").write_text(sysconfig.get_path("purelib") + "\n")  # torch and the like
    assert program.run("python", "-c", "import lib_iclight; print(lib_iclight.__file__)").startswith(str(site))
    return program


def metadata_of(wheel: Path) -> str:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return archive.read(name).decode()


def test_the_wheel_has_what_the_program_needs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    here = [*(ROOT / "javascript").rglob("*.js"), *(ROOT / "localizations").glob("*.json"), ROOT / "style.css"]
    wanted = {f"lib_iclight/{INSIDE}/{file.relative_to(ROOT).as_posix()}" for file in here}
    own = [file for ending in ("py", "js", "safetensors", "json")
           for file in (ROOT / "lib_iclight").rglob(f"*.{ending}")]
    wanted |= {file.relative_to(ROOT).as_posix() for file in (*own, ROOT / "lib_iclight" / "py.typed")}
    assert wanted <= names
    assert {name.split("/")[0] for name in names} == {"lib_iclight", wheel.name.rpartition("-py3")[0] + ".dist-info"}
    assert f"\nVersion: {lib_iclight.__version__}\n" in metadata_of(wheel)


def test_relight_and_info_from_an_empty_folder(installed: Installed) -> None:
    told = installed.run("iclight", "relight", VASE, "--light", "left", "--matting", "none", "--steps", 2,
                         "-o", "a.png")
    assert "a.png" in told and (installed.folder / "a.png").is_file()
    assert "IC-Light light: left" in installed.run("iclight", "info", "a.png")
    assert installed.run("iclight", "--help").startswith("usage: iclight ")


def test_a_desk_from_an_empty_folder(installed: Installed) -> None:
    installed.run("iclight", "stage", VASE, "--rig", 4, "--matting", "none", "--steps", 1, "-o", "set")
    installed.run("iclight", "desk", "set", "-o", "desk.html")
    page = (installed.folder / "desk.html").read_text("utf-8")
    assert "iclight.desk.mount" in page and (ROOT / "style.css").read_text("utf-8") in page


def test_the_studio_from_an_empty_folder(installed: Installed) -> None:
    process = subprocess.Popen([str(installed.programs / "iclight-studio"), "--no-token", "--port", "0"],
                               cwd=installed.folder, env=installed.environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+/", line)
        assert found, line
        with urllib.request.urlopen(f"{found[0]}config", timeout=60) as answer:
            config = answer.read().decode()
        assert "iclight_studio_foreground" in config and ".iclight-editor" in config, "the widgets, and their style"
        assert "globalThis.iclight" in config, "and the page's scripts"
    finally:
        process.terminate()
        process.wait(30)


def test_a_checkout_keeps_the_pages_files_where_webuis_look(tmp_path: Path) -> None:
    assert assets() == ROOT and (ROOT / "style.css").is_file() and any((ROOT / "javascript").glob("*.js"))
    package = tmp_path / "lib_iclight"
    (package / INSIDE).mkdir(parents=True)
    assert assets(package) == package / INSIDE


def test_dependencies_take_what_the_tests_run_on(wheel: Path) -> None:
    """Each range that the wheel asks for holds the version that requirements/ pins, and none is missing."""
    asked = message_from_string(metadata_of(wheel)).get_all("Requires-Dist", [])
    wanted = [Requirement(line) for line in asked]
    ranges = {canonicalize_name(one.name): one.specifier for one in wanted if "extra" not in str(one.marker)
              or 'extra == "studio"' in str(one.marker)}
    pinned: dict[NormalizedName, set[str]] = {}
    for file in ("base.txt", "data.txt", "studio.txt"):
        for line in (ROOT / "requirements" / file).read_text("utf-8").splitlines():
            if line and not line.startswith(("#", "-r")):
                one = Requirement(line.partition(" #")[0])
                pinned.setdefault(canonicalize_name(one.name), set()).update(
                    part.version for part in one.specifier if part.operator == "==")
    assert set(pinned) == set(ranges)
    for name, versions in pinned.items():
        assert all(Version(version) in ranges[name] for version in versions), name
    extras = {found for one in wanted for found in re.findall(r'extra == "(\w+)"', str(one.marker))}
    assert extras == {"studio", "cluster", "video", "exr"}


def test_the_webuis_read_the_extensions_name() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "metadata.ini", encoding="utf-8")
    assert config.get("Extension", "Name") == "iclight-webui"
    assert config.get("Extension", "Requires") == ""
    assert set(config.sections()) == {"Extension"}, "no order of callbacks is asked for"
