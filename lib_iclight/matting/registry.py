"""Which cut-out models there are, what each wants to see, and where their files lie.

Addresses, checksums and normalisation are those of rembg (https://github.com/danielgatis/rembg, rembg/sessions), whose
releases are the customary source of these files; its folder `~/.u2net` is searched too, so nothing is fetched twice.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from .. import files
from ..download import download, file_digest, offline
from ..errors import DownloadError, MattingError, shown
from ..progress import Progress, silent

DEFAULT = "isnet-general-use"
"""The model that `auto` stands for."""

RUNTIME = "onnxruntime<1.27"
"""What runs the models, as pip is asked for it; newer ones ask for a newer protobuf than hosts have."""

WAY_OUT = "Or set matting (on the command line --matting) to none to use the picture whole."
"""The last sentence of every message about a cut-out that cannot be made."""

LARGEST = 2 * 10**9
"""bytes; the largest of the known files has 1.1e9"""

_RELEASE = "https://github.com/danielgatis/rembg/releases/download/v0.0.0/"
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class Model:
    """One cut-out model. Its input is `(rgb / 255 - mean) / std`, its first output a map of the foreground.

    The defaults are what most published models want; a person's own ONNX file is taken to be one of those.
    """

    name: str
    url: str | None = None
    """where to get the file; None for a person's own"""
    md5: str | None = None
    sha256: str | None = None
    side: int = 1024
    """height and width of the input in pixels, where the file itself leaves them open"""
    mean: tuple[float, float, float] = _IMAGENET_MEAN
    std: tuple[float, float, float] = _IMAGENET_STD
    sigmoid: bool = False
    """the output is a logit"""
    stretch: bool = True
    """the output's least and greatest value become 0 and 1"""
    notice: str = ""
    """what a person must know before using the model, such as a licence that forbids some uses"""

    @property
    def file_names(self) -> tuple[str, ...]:
        """What the file may be called: after the model, as rembg does, or as it is released."""
        own = f"{self.name}.onnx"
        return (own,) if self.url is None else tuple(dict.fromkeys([own, self.url.rpartition("/")[2]]))


def _birefnet(name: str, file: str, md5: str) -> Model:
    return Model(name=name, url=_RELEASE + file, md5=md5, sigmoid=True, stretch=False)


def _u2net(name: str, md5: str) -> Model:
    return Model(name=name, url=f"{_RELEASE}{name}.onnx", md5=md5, side=320)


_ALL = (
    Model(name="isnet-general-use", url=_RELEASE + "isnet-general-use.onnx", md5="fc16ebd8b0c10d971d3513d564d01e29",
          mean=(0.5, 0.5, 0.5), std=(1.0, 1.0, 1.0)),
    _birefnet("birefnet-general", "BiRefNet-general-epoch_244.onnx", "7a35a0141cbbc80de11d9c9a28f52697"),
    _birefnet("birefnet-general-lite", "BiRefNet-general-bb_swin_v1_tiny-epoch_232.onnx",
              "4fab47adc4ff364be1713e97b7e66334"),
    _birefnet("birefnet-portrait", "BiRefNet-portrait-epoch_150.onnx", "c3a64a6abf20250d090cd055f12a3b67"),
    _u2net("u2net", "60024c5c889badc19c04ad937298a77b"),
    _u2net("u2net_human_seg", "c09ddc2e0104f800e3e1bb4652583d1f"),
    Model(name="isnet-anime", url=_RELEASE + "isnet-anime.onnx", md5="6f184e756bb3bd901c8849220a83e38e",
          std=(1.0, 1.0, 1.0)),
    _u2net("silueta", "55e59e0d8062d2f5d013f4725ee84782"),
    Model(name="bria-rmbg", url=_RELEASE + "bria-rmbg-2.0.onnx",
          sha256="5b486f08200f513f460da46dd701db5fbb47d79b4be4b708a19444bcd4e79958",
          notice="BRIA RMBG 2.0 is free for non-commercial use only (CC BY-NC 4.0)."),
)

MODELS: Mapping[str, Model] = MappingProxyType({model.name: model for model in _ALL})
"""The known models by name, in the order in which to offer them."""


def model_names(folders: Sequence[Path]) -> list[str]:
    """Every name that can be asked for: the known models, then the person's own ONNX files in `folders`, by stem."""
    released = {Path(file).stem for model in _ALL for file in model.file_names}
    own = {_stem(path) for folder in folders for path in files.listed(folder, "*.onnx")}
    return [*MODELS, *sorted(own - released)]


def obtain(name: str, folders: Sequence[Path], progress: Progress = silent) -> tuple[Model, Path]:
    """The model called `name` and its file, from `folders` or rembg's folder; downloaded into the first if missing.

    Raises MattingError for an unknown name, or when the file is missing and cannot be had.
    """
    names = model_names(folders)
    if name not in names:
        raise MattingError(f"there is no cut-out model {shown(name)}. Known: {', '.join(names)}. "
                           f"Your own ONNX files belong into {files.place(_first(folders))}. {WAY_OUT}",
                           path=_first(folders))
    model = MODELS.get(name, Model(name=name))
    path = _find(model, folders)
    if path is not None:
        return model, path
    assert model.url is not None, "a person's own model is known by its file"
    target = _first(folders) / model.file_names[0]
    try:
        download(model.url, target, sha256=model.sha256, md5=model.md5, limit=LARGEST, progress=progress)
    except DownloadError as error:
        raise MattingError(f"the cut-out model {name} cannot be had. {error} {WAY_OUT}", path=error.path) from error
    return model, target


def located(name: str, folders: Sequence[Path]) -> Path | None:
    """The file of the model called `name`, where it is here already; None else. Nothing is downloaded."""
    return _find(MODELS.get(name, Model(name=name)), folders)


def is_as_released(model: Model, path: Path) -> bool:
    """Is the file the one that is known under the model's name, by its hash? Reads all of it."""
    wanted = {"sha256": model.sha256, "md5": model.md5}
    try:
        return any(digest is not None and file_digest(path, algorithm) == digest
                   for algorithm, digest in wanted.items())
    except OSError:
        return False


def obstacle(name: str, folders: Sequence[Path]) -> str:
    """What stands in the way of a cut-out by the model called `name`, as one sentence; empty if nothing is known to.

    Cheap: onnxruntime is looked for, not imported, and files are neither read nor fetched.
    """
    if importlib.util.find_spec("onnxruntime") is None:
        return f'Automatic cut-outs need onnxruntime: pip install "{RUNTIME}", then restart.'
    model = MODELS.get(name)
    if model is not None and offline() and _find(model, folders) is None:
        return f"The cut-out model {name} is missing, and downloads are switched off (HF_HUB_OFFLINE)."
    return ""


def _find(model: Model, folders: Sequence[Path]) -> Path | None:
    """The model's file, from `folders` or rembg's folder."""
    rembg = _rembg_folder()
    for folder in (*folders, *([rembg] if rembg else [])):
        for file in model.file_names:
            if files.is_file(folder / file):
                return folder / file
        if model.url is None:  # a name that is shown in another spelling than the disk's
            for path in files.listed(folder, "*.onnx"):
                if _stem(path) == model.name:
                    return path
    return None


def _stem(path: Path) -> str:
    return files.shown_name(path).removesuffix(path.suffix)


def _first(folders: Sequence[Path]) -> Path:
    """The folder that takes downloads. Raises MattingError where there is none."""
    first = folders[0] if folders else _rembg_folder()
    if first is None:
        raise MattingError(f"there is no folder for cut-out models, for this account has no home. {WAY_OUT}")
    return first


def _rembg_folder() -> Path | None:
    """Where rembg keeps its models, by rembg's own environment variables; None for an account without a home."""
    return files.expanded(os.environ.get("U2NET_HOME") or Path(os.environ.get("XDG_DATA_HOME", "~"), ".u2net"))
