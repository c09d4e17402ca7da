"""Runs cut-out models with onnxruntime, and remembers models and cut-outs by their content."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .. import files
from ..cache import LRU, content_key, file_key
from ..errors import MattingError
from ..progress import Progress, silent
from .foreground import extend_color, foreground_color
from .refine import Refinement, refine
from .registry import DEFAULT, RUNTIME, WAY_OUT, Model, is_as_released, obtain
from .trial import try_out

DEVICES = ("cpu", "gpu")
SIDES = (16, 4096)
"""pixels that a side of a model's input may have; the largest known have 1024"""
EMPTY = 0.05
"""A map that nowhere rises above this shows no foreground. Stretched to 0..1 it would be noise."""

_CPU = "CPUExecutionProvider"
_GPUS = ("CUDAExecutionProvider", "ROCMExecutionProvider", "MIGraphXExecutionProvider", "DmlExecutionProvider",
         "CoreMLExecutionProvider")
_DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_AS_IT_IS = Refinement()

log = logging.getLogger("iclight")


class Cutout(NamedTuple):
    """A foreground: how much of each pixel it covers, and its own colour there (see `foreground_color`)."""

    alpha: NDArray[np.float32]
    """[H, W] in 0..1"""
    color: NDArray[np.uint8]
    """sRGB [H, W, 3]"""
    key: str
    """names both by what they were made from"""

    @property
    def nbytes(self) -> int:
        return self.alpha.nbytes + self.color.nbytes


class Cutter:
    """Cuts foregrounds out, with a few models kept loaded and recent cut-outs kept at hand.

    folders: where model files are looked for, ahead of rembg's own; missing ones are downloaded into the first.
    device: asked before a model is run, tells one of `DEVICES`. Where a GPU fails the CPU takes over, with one warning.
    capacity: how many models stay loaded (an ISNet takes some 180 MB, a large BiRefNet 1 GB).
    memory: bytes of cut-outs to keep (one of 12 million pixels takes 84 MB), and half as many of what models found; the
        latest is always kept.
    One object may be used from several threads; they take turns.
    """

    def __init__(self, folders: Sequence[Path], device: Callable[[], str] = lambda: "cpu", capacity: int = 1,
                 memory: int = 256 * 2**20) -> None:
        self._folders = tuple(folders)
        self._device = device
        self._sessions: LRU[Any] = LRU(capacity)
        self._alphas: LRU[NDArray[np.float32]] = LRU(memory // 2, lambda alpha: alpha.nbytes)
        self._cutouts: LRU[Cutout] = LRU(memory, lambda cutout: cutout.nbytes)
        self.asked = False
        """whether a model was ever needed, be it that its cut-out was at hand"""
        self._tried: set[str] = set()
        self._gpu_failed = False
        self._lock = threading.Lock()

    def cut(self, rgb: NDArray[np.uint8], model: str = "auto", progress: Progress = silent, *,
            own: NDArray[np.float32] | None = None, mask: NDArray[np.float32] | None = None,
            refinement: Refinement = _AS_IT_IS) -> Cutout:
        """The foreground of a picture, for reading only: the arrays are shared.

        rgb: uint8 sRGB [H, W, 3]. model: a name of `model_names`, or "auto": the picture's own transparency if there is
        any, else the default model.
        own: the picture's own transparency, float32 [H, W] in 0..1. What it hides is foreground to nobody.
        mask: an alpha to take in a model's place, float32 [H, W] in 0..1.
        refinement: what to change about the alpha. The foreground's colour is that of the refined alpha.
        Raises MattingError when the model is unknown, missing, damaged or of the wrong kind, when onnxruntime is
        missing, and when no foreground is found.
        """
        with self._lock:
            if mask is not None:
                key = content_key(rgb, own, mask, repr(refinement))
                return self._cutouts.get(key, lambda: _blended(rgb, mask, own, refinement, key))
            if own is not None and model == "auto":
                key = content_key(rgb, own, repr(refinement))
                return self._cutouts.get(key, lambda: _by_itself(rgb, own, refinement, key))
            self.asked = True
            entry, path = obtain(DEFAULT if model == "auto" else model, self._folders, progress)
            file = _file_key(path)
            key = content_key(rgb, own, entry.name, file, repr(refinement))
            return self._cutouts.get(key, lambda: _blended(rgb, self._alpha(rgb, entry, path, file, progress), own,
                                                    refinement, key))

    def _alpha(self, rgb: NDArray[np.uint8], entry: Model, path: Path, file: str,
               progress: Progress) -> NDArray[np.float32]:
        """What the model makes of the picture; kept apart, so that another refinement need not run the model."""
        def make() -> NDArray[np.float32]:
            what = f"Cutting out with {entry.name}"
            progress(what, 0, 1)
            alpha = self._predict(rgb, entry, path, file)
            alpha.setflags(write=False)
            progress(what, 1, 1)
            return alpha

        return self._alphas.get(content_key(rgb, entry.name, file), make)

    def _predict(self, rgb: NDArray[np.uint8], entry: Model, path: Path, file: str) -> NDArray[np.float32]:
        """`predict` on the device that is asked for, or on the CPU where that fails."""
        if self._device() == "gpu" and not self._gpu_failed:
            try:
                return predict(self._session(entry, path, file, gpu=True), entry, rgb)
            except _RunError as error:
                self._sessions.clear()  # a GPU's memory is wanted back
                alpha = predict(self._session(entry, path, file, gpu=False), entry, rgb)
                self._gpu_failed = True  # known only now: a bad model fails on the CPU, too
                log.warning("cut-outs are made on the CPU until the next start, the GPU failed: %s", error)
                return alpha
        return predict(self._session(entry, path, file, gpu=False), entry, rgb)

    def _session(self, entry: Model, path: Path, file: str, gpu: bool) -> Any:
        """The loaded model of `path`, whose content is named `file`; one that is not known is tried out first."""
        def make() -> Any:
            if file not in self._tried and not is_as_released(entry, path):
                try_out(path, entry.side)
            self._tried.add(file)
            return _load(path, gpu)

        return self._sessions.get((file, gpu), make)


class _RunError(MattingError):
    """onnxruntime could not load or run a model, which another device may be able to."""


def _blended(rgb: NDArray[np.uint8], alpha: NDArray[np.float32], own: NDArray[np.float32] | None,
             refinement: Refinement, key: str) -> Cutout:
    """The cut-out of a photo, whose soft pixels hold foreground and background."""
    alpha = refine(alpha, refinement)
    if own is not None:
        alpha = alpha * own  # afterwards, so that no refinement brings back what the picture hides
    color = foreground_color(rgb, alpha)
    alpha = alpha.view()  # what was handed in stays writable
    alpha.setflags(write=False)
    color.setflags(write=False)
    return Cutout(alpha, color, key)


def _by_itself(rgb: NDArray[np.uint8], own: NDArray[np.float32], refinement: Refinement, key: str) -> Cutout:
    """The cut-out of a transparent picture, whose colours are the foreground's wherever it shows at all."""
    alpha = refine(own, refinement)
    grown = not refinement.invert and bool((alpha[own == 0] > 0).any())
    return Cutout(alpha, extend_color(rgb, own, refinement.reach(own.size)) if grown else rgb, key)


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
        raise _RunError(str(_unusable(model.name, error))) from error
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


def _load(path: Path, gpu: bool = False) -> Any:
    """An onnxruntime session of a model file, checked to take one RGB picture."""
    name = files.shown_name(path)
    try:
        import onnxruntime
    except ImportError as error:
        raise MattingError(f"cutting out needs onnxruntime, which cannot be imported ({error}). "
                           f'Install it with: pip install "{RUNTIME}". {WAY_OUT}') from error
    providers = [name for name in onnxruntime.get_available_providers() if gpu and name in _GPUS]
    if gpu and not providers:
        raise _RunError("the installed onnxruntime has no GPU provider.")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only; they arrive as exceptions anyway
    options.enable_cpu_mem_arena = False  # else gigabytes of scratch memory stay taken while the picture is painted
    try:
        # Without its own fall-back, which prints and goes on; ours is the Cutter's.
        with files.as_text(path) as source:
            session = onnxruntime.InferenceSession(source, options, [*providers, _CPU], enable_fallback=0)
    except Exception as error:  # as above
        raise _RunError(f"{name} is not an ONNX model that can be used: it is damaged, cut short or something else "
                           f"({_brief(error, path)}). Delete it to have a known model downloaded anew. {WAY_OUT}",
                        path=path) from error
    if gpu and session.get_providers()[0] == _CPU:
        raise _RunError(f"{providers[0]} did not start.")
    inputs = session.get_inputs()
    sides = [side for side in inputs[0].shape[2:] if isinstance(side, int)] if inputs else []
    if any(not SIDES[0] <= side <= SIDES[1] for side in sides):
        raise _unusable(name, f"it takes pictures of {sides}, not of {SIDES[0]} to {SIDES[1]} pixels to a side")
    if len(inputs) != 1 or inputs[0].type not in _DTYPES or len(inputs[0].shape) != 4 or (
            isinstance(inputs[0].shape[1], int) and inputs[0].shape[1] != 3):
        shown = ", ".join(f"{i.type} {i.shape}" for i in inputs)
        raise _unusable(name, f"it takes ({shown}), not one float picture [1, 3, height, width]")
    return session


def _input_size(session: Any, model: Model) -> tuple[int, int]:
    """Rows and columns of the model's input: the file's own where it fixes them, else the registry's."""
    rows, columns = (side if isinstance(side, int) else model.side for side in session.get_inputs()[0].shape[2:])
    return rows, columns


def _unusable(name: str, reason: object) -> MattingError:
    return MattingError(f"{name} cannot be used as a cut-out model: {_brief(reason)}. Choose another. {WAY_OUT}")


def _brief(reason: object, path: Path | None = None) -> str:
    """The first line of a message, for onnxruntime's run to pages; the file in it without its folder."""
    text = str(reason) if path is None else str(reason).replace(str(path), files.shown_name(path))
    return next(iter(text.strip().splitlines()), type(reason).__name__)[:200].rstrip(".")


def _file_key(path: Path) -> str:
    """Names a model file's content; see `cache.file_key`. Raises MattingError."""
    try:
        return file_key(path)
    except OSError as error:
        raise MattingError(f"{files.shown_name(path)} cannot be read ({files.reason(error)}). Look at the file. "
                           f"{WAY_OUT}", path=path) from error
