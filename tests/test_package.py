"""What `import lib_iclight` offers: exactly `__all__`, documented, cheap to import, and the documents' example runs."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import lib_iclight
from lib_iclight.hosts.standalone.pocket import SIDE

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = (ROOT / "docs" / "python.md").read_text("utf-8")
NAMES = [name for name in lib_iclight.__all__ if name != "__version__"]


def in_fresh_process(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_the_package_offers_exactly_the_names_of_all() -> None:
    assert len(set(lib_iclight.__all__)) == len(lib_iclight.__all__)
    assert dir(lib_iclight) == sorted(lib_iclight.__all__)
    given: dict[str, object] = {}
    exec("from lib_iclight import *", given)
    assert set(given) - {"__builtins__"} == set(lib_iclight.__all__)
    assert re.fullmatch(r"\d+\.\d+\.\d+", lib_iclight.__version__)


@pytest.mark.parametrize("name", NAMES)
def test_each_name_is_there_and_documented(name: str) -> None:
    offered = getattr(lib_iclight, name)
    assert offered.__name__ == name and offered.__module__.startswith("lib_iclight.")
    assert offered.__doc__ and not offered.__doc__.startswith(f"{name}("), "its own words, not a dataclass's signature"
    for member, value in vars(offered).items() if inspect.isclass(offered) else ():
        if not member.startswith("_") and (inspect.isroutine(value) or isinstance(value, property | classmethod)):
            assert inspect.getdoc(getattr(offered, member)), member


@pytest.mark.parametrize("name", lib_iclight.__all__)
def test_each_name_is_in_the_documents(name: str) -> None:
    assert re.search(rf"`{re.escape(name)}[`(.]", DOCUMENT)


@pytest.mark.parametrize("name", ["session", "Sesion", "np", "_nothing", "__wrapped__"])
def test_other_names_are_no_attributes(name: str) -> None:
    """`session`, a submodule, counts as long as nobody has imported it, so it is asked for in a fresh process."""
    code = f"import lib_iclight\ntry:\n    lib_iclight.{name}\nexcept AttributeError as error:\n    print(error)"
    assert in_fresh_process(code) == f"module 'lib_iclight' has no attribute '{name}'\n"


def test_importing_it_imports_nothing_heavy() -> None:
    code = "import sys, lib_iclight; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = in_fresh_process(code).split()
    assert "lib_iclight" in loaded
    assert not {"torch", "numpy", "PIL", "gradio", "diffusers", "transformers", "safetensors", "requests"} & set(loaded)


def test_the_documents_example_runs_as_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None,
                                               offline: None) -> None:
    [example] = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "docs/python.md", "exec"), {"__name__": "example"})
    told = set(re.findall(r"`(vase-[a-z]+-\d\.png)`", DOCUMENT))
    assert {path.name for path in tmp_path.glob("*.png")} == told and len(told) == 3
    with Image.open(tmp_path / "vase-result-1.png") as result:
        assert result.size == (SIDE, SIDE) and result.mode == "RGB"
        assert len(result.getcolors(1 << 24)) > 1000, "a picture, and no even surface"
    with Image.open(tmp_path / "vase-cutout-0.png") as cutout:
        assert cutout.mode == "RGBA" and cutout.getchannel("A").getextrema() == (0, 255)
