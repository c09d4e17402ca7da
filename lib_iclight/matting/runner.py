"""Runs a cut-out model with onnxruntime on the CPU, and remembers models and cut-outs by their content."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import MattingError
from ..imaging import content_key
from ..progress import Progress, silent
from .foreground import foreground_color
from .registry import DEFAULT, WAY_OUT, Model, obtain

EMPTY = 0.05
"""A map that nowhere rises above this shows no foreground. Stretched to 0..1 it would be noise."""

_DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class Cutout(NamedTuple):
    """A foreground: how much of each pixel it covers, and its own colour there (see `foreground_color`)."""

    alpha: NDArray[np.float32]
    """[H, W] in 0..1"""
    color: NDArray[np.uint8]
    """sRGB [H, W, 3]"""

    @property
    def nbytes(self) -> int:
        return self.alpha.nbytes + self.color.nbytes


class Cutter:
    """Cuts foregrounds out, with a few models kept loaded and recent cut-outs kept at hand.

    folders: where model files are looked for, ahead of rembg's own; missing ones are downloaded into the first.
    capacity: how many models stay loaded (an ISNet takes some 180 MB, a large BiRefNet 1 GB).
    memory: bytes of cut-outs to keep; the latest is always kept.
    One object may be used from several threads; they take turns.
    """

    def __init__(self, folders: Sequence[Path], capacity: int = 1, memory: int = 128 * 2**20) -> None:
        self._folders = tuple(folders)
        self._capacity = capacity
        self._memory = memory
        self._sessions: OrderedDict[str, Any] = OrderedDict()
        self._cutouts: OrderedDict[str, Cutout] = OrderedDict()
        self._lock = threading.Lock()

    def cut(self, rgb: NDArray[np.uint8], model: str = "auto", progress: Progress = silent) -> Cutout:
        """The foreground of a picture; its arrays are not writable.

        rgb: uint8 sRGB [H, W, 3]. model: a name of `model_names`, or "auto" for the default model.
        Raises MattingError when the model is unknown, missing, damaged or of the wrong kind, when onnxruntime is
        missing, and when no foreground is found.
        """
        with self._lock:
            entry, path = obtain(DEFAULT if model == "auto" else model, self._folders, progress)
            file = _file_key(path)
            key = content_key(rgb, entry.name, file)
            if key not in self._cutouts:
                what = f"Cutting out with {entry.name}"
                progress(what, 0, 1)
                alpha = predict(self._session(path, file), entry, rgb)
                color = foreground_color(rgb, alpha)
                alpha.setflags(write=False)
                color.setflags(write=False)
                self._cutouts[key] = Cutout(alpha, color)
                progress(what, 1, 1)
            self._cutouts.move_to_end(key)
            while len(self._cutouts) > 1 and sum(c.nbytes for c in self._cutouts.values()) > self._memory:
                self._cutouts.popitem(last=False)
            return self._cutouts[key]

    def _session(self, path: Path, file: str) -> Any:
        """The loaded model of `path`, whose content is named `file`."""
        if file not in self._sessions:
            while len(self._sessions) >= self._capacity:  # before loading, so that both are never held at once
                self._sessions.popitem(last=False)
            self._sessions[file] = _load(path)
        self._sessions.move_to_end(file)
        return self._sessions[file]


def predict(session: Any, model: Model, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The model's map of the foreground at the picture's size: uint8 sRGB [H, W, 3] -> float32 [H, W] in 0..1.

    As the models were trained: the picture is stretched to the model's square with Lanczos, `(rgb / 255 - mean) / std`
    in NCHW; the first output is the map. It goes back to the picture's size in floats, so edges stay soft.
    """
    height, width = rgb.shape[:2]
    source, (rows, columns) = session.get_inputs()[0], _input_size(session, model)
    scaled = Image.fromarray(rgb).resize((columns, rows), Image.Resampling.LANCZOS)
    planes = ((np.asarray(scaled) / 255.0 - model.mean) / model.std).transpose(2, 0, 1)[None]
    try:
        output, = session.run([session.get_outputs()[0].name], {source.name: planes.astype(_DTYPES[source.type])})
    except Exception as error:  # onnxruntime raises its own kinds, straight from C++
        raise _unusable(model.name, error) from error
    found = np.squeeze(np.asarray(output, np.float32))
    if found.ndim != 2 or not np.isfinite(found).all():
        raise _unusable(model.name, f"its first output, shape {np.shape(output)}, is not one map of finite numbers")
    if model.sigmoid:
        found = 0.5 + 0.5 * np.tanh(0.5 * found)  # the same, without the overflow of exp
    if found.max() < EMPTY:
        raise MattingError(f"{model.name} found no foreground in the picture. Choose another cut-out model, or give "
                           f"a picture with transparency. {WAY_OUT}")
    if model.stretch and np.ptp(found) > 0:
        found = (found - found.min()) / np.ptp(found)
    return np.asarray(Image.fromarray(found).resize((width, height), Image.Resampling.BICUBIC)).clip(0.0, 1.0)


def _load(path: Path) -> Any:
    """An onnxruntime session of a model file, checked to take one RGB picture."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MattingError(f"cutting out needs onnxruntime, which cannot be imported ({error}). "
                           f'Install it with: pip install "onnxruntime<1.27". {WAY_OUT}') from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only; they arrive as exceptions anyway
    options.enable_cpu_mem_arena = False  # else gigabytes of scratch memory stay taken while the picture is painted
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # as above
        raise MattingError(f"{path} is not an ONNX model that can be used: it is damaged, cut short or something else "
                           f"({_brief(error)}). Delete it to have a known model downloaded anew. {WAY_OUT}") from error
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type not in _DTYPES or len(inputs[0].shape) != 4 or (
            isinstance(inputs[0].shape[1], int) and inputs[0].shape[1] != 3):
        shown = ", ".join(f"{i.type} {i.shape}" for i in inputs)
        raise _unusable(path.name, f"it takes ({shown}), not one float picture [1, 3, height, width]")
    return session


def _input_size(session: Any, model: Model) -> tuple[int, int]:
    """Rows and columns of the model's input: the file's own where it fixes them, else the registry's."""
    rows, columns = (side if isinstance(side, int) else model.side for side in session.get_inputs()[0].shape[2:])
    return rows, columns


def _unusable(name: str, reason: object) -> MattingError:
    return MattingError(f"{name} cannot be used as a cut-out model: {_brief(reason)}. Choose another. {WAY_OUT}")


def _brief(reason: object) -> str:
    """The first line of a message, for onnxruntime's run to pages."""
    return next(iter(str(reason).strip().splitlines()), type(reason).__name__)[:200].rstrip(".")


def _file_key(path: Path) -> str:
    """A name for a file's content from its length and 64 blocks spread over it: a millisecond, whatever its size."""
    length, block = path.stat().st_size, 4096
    samples = []
    with path.open("rb") as file:
        for start in range(0, length, max(block, length // 64)):
            file.seek(start)
            samples.append(file.read(block))
    return content_key(length, b"".join(samples))
