"""Makes one picture of a batch with a session: what needs no UNet first, which another thread may do, then the rest."""

from __future__ import annotations

import contextlib
import errno
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from ..cache import content_key, file_key
from ..errors import BatchError, CheckpointError
from ..files import reason
from ..generation import Generation
from ..imaging import read_picture
from ..imaging.outputs import name_of
from ..imaging.save import clear_parts, encoded, write_whole
from ..job import Relight
from ..made import Finished
from ..progress import Progress, silent
from ..session import POCKET, Session
from ..settings import Settings
from .claims import Claims
from .order import Models, Order
from .plan import Target, key_of, seed_of, target_of, with_key
from .recipe import Pictures
from .report import FAILED, MADE, THERE, Row

FATAL = (BatchError, CheckpointError)
"""what every other picture would fail of too"""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
"""what a disk says that takes no more"""


@dataclass(frozen=True)
class Asked:
    """One picture of a batch, read, and what it is to become."""

    name: str
    data: bytes
    settings: Settings
    generation: Generation
    target: Target

    @property
    def is_done(self) -> bool:
        """Whether all that it becomes is there. Files are renamed into place, so those that are there are whole."""
        return all(path.exists() for path in self.target.needed)


@dataclass(frozen=True)
class Prepared:
    """A picture that is ours to make, ready for the UNet."""

    asked: Asked
    job: Relight
    seconds: float
    """that the preparing took"""


class Busy:
    """In a picture's place: another process is at it."""


class Worker:
    """Makes the pictures of an order. `prepare` may run in another thread than `make`.

    progress: hears of downloads and of the checkpoint's loading.
    """

    def __init__(self, order: Order, claims: Claims, session: Session | None = None,
                 progress: Progress = silent) -> None:
        self.order = order
        self.session = session or order.models.session(progress)
        self._claims = claims
        self._progress = progress
        self._pictures = Pictures()
        self._checkpoint_key = models_key(order.models)
        self._offsets: dict[tuple[str, str], str] = {}

    def asked(self, name: str) -> Asked:
        """The picture of that name, read. Raises ICLightErrors."""
        order = self.order
        data = read_picture(order.source / name, "picture")
        recipe = order.of(name)
        settings = recipe.settings(data, self._pictures.read)
        generation = recipe.generation(settings.mode, self.session.suited, data)
        if order.seed_per_file:
            generation = replace(generation, seed=seed_of(data, generation.seed))
        key = key_of(name, data, settings, generation, self._models(settings))
        return Asked(name, data, settings, generation,
                     target_of(name, key, order.out, order.ending, settings, generation))

    def check(self) -> None:
        """Find the weights of all recipes, downloading what is missing. Raises ICLightErrors."""
        for recipe in (self.order.recipe, *(self.order.recipe.updated(row.values) for row in self.order.rules.rows)):
            self._models(recipe.settings(None, lambda path, what: b""))

    def prepare(self, name: str) -> Prepared | Row | type[Busy]:
        """The picture ready to be made and claimed, or its row where nothing is to be made of it."""
        started = time.perf_counter()
        key = None
        try:
            asked = self.asked(name)
            key = asked.target.key
            if not self._claims.claim(key):
                return Busy
            try:
                if asked.is_done:
                    return self.row(asked, THERE)
                job = self.session.job(asked.settings, asked.generation, self._progress)
                return Prepared(asked, job, time.perf_counter() - started)
            except Exception:
                self._claims.release(key)
                raise
        except FATAL:
            raise
        except Exception as error:  # whatever a broken file makes of a decoder ends here: the others go on
            return failed(name, error, time.perf_counter() - started, key)

    def make(self, prepared: Prepared, progress: Progress = silent) -> Row:
        """Relight and write. The claim is kept, for the row to be reported before others look; see `release`."""
        asked, started = prepared.asked, time.perf_counter()
        try:
            if asked.settings.stage == "off":
                made = self.session.relight(asked.settings, asked.generation, progress, job=prepared.job)
                for finished in sorted(made.finished, key=lambda one: one.name == "result"):  # results last
                    name = name_of(finished.name, finished.number, asked.generation.batch)
                    self._save(asked.target.files[name], finished, asked.target.key)
                warnings = made.warnings
            else:
                warnings = self._stage(asked, prepared.job, progress)
        except FATAL:
            raise
        except Exception as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno in FULL:
                raise BatchError(f"{error} Run the batch again then: it goes on where it was.") from error
            return failed(asked.name, error, prepared.seconds + time.perf_counter() - started, asked.target.key)
        return self.row(asked, MADE, prepared.seconds + time.perf_counter() - started, warnings)

    def release(self, key: str | None) -> None:
        """Others may look at the picture of that key again."""
        if key is not None:
            self._claims.release(key)

    def row(self, asked: Asked, state: str, seconds: float | None = None, warnings: tuple[str, ...] = ()) -> Row:
        """The row of a picture that is there."""
        output = asked.target.place.relative_to(self.order.out).as_posix()
        return Row(asked.name, state, output, None if seconds is None else round(seconds, 3), None, asked.target.key,
                   tuple(warnings))

    def _models(self, settings: Settings) -> str:
        """Names all weights that a picture is made with."""
        which = settings.mode, settings.weights
        if which not in self._offsets:
            self._offsets[which] = self.session.offsets(settings, progress=self._progress).name
        return f"{self._checkpoint_key} {self._offsets[which]}"

    def _stage(self, asked: Asked, job: Relight, progress: Progress) -> tuple[str, ...]:
        """Make what is missing of a light stage, and mark it as done."""
        folder, marker = asked.target.place, asked.target.marker
        assert marker is not None, "a light stage has one"
        clear_parts(folder)
        made = self.session.stage(asked.settings, asked.generation, folder, asked.settings.stage, progress, job=job)
        for extra in made.extras:
            name = name_of(extra.name, extra.number, asked.generation.batch)
            self._save(folder / f"{name}.png", extra, asked.target.key)
        told = {"input": asked.name, "key": asked.target.key}
        writing(marker, lambda: (json.dumps(told) + "\n").encode("ascii"))
        return made.warnings

    def _save(self, path: Path, finished: Finished, key: str) -> None:
        save(path, finished.picture, with_key(finished.text, key))


def save(path: Path, picture: Image.Image, text: str) -> None:
    """Write a picture whole, in a folder that is made where it is missing. Raises BatchError where the disk refuses."""
    if path.suffix.lower() in (".jpg", ".jpeg") and picture.mode not in ("RGB", "L"):
        picture = picture.convert("RGB")
    writing(path, lambda: encoded(picture, path.suffix, text))


def writing(path: Path, data: Callable[[], bytes]) -> None:
    """Write a file whole; `data` makes its bytes. Raises BatchError where the disk refuses, and what `data` raises."""
    made = data()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, made)
    except OSError as error:
        raise BatchError(f"{path} cannot be written ({reason(error)}). Make room, or choose another output folder, and "
                         "run the batch again: it goes on where it was.") from error


@contextlib.contextmanager
def cleared(out: Path, names: Iterable[str]) -> Iterator[None]:
    """Without what killed processes have left half-written where the results of these names go; also of those that are
    killed meanwhile, such as workers on a cluster. What is being written stays.
    """
    folders = [out / folder for folder in {name.rpartition("/")[0] for name in names}]
    try:
        for folder in folders:
            clear_parts(folder)
        yield
    finally:
        for folder in folders:
            clear_parts(folder)


def failed(name: str, error: Exception, seconds: float | None = None, key: str | None = None,
           host: str | None = None) -> Row:
    """The row of a picture that came to nothing."""
    sentence = " ".join(str(error).split()) or type(error).__name__
    if type(error).__module__.split(".")[0] != "lib_iclight":
        sentence = f"{type(error).__name__}: {sentence}"
    return Row(name, FAILED, None, None if seconds is None else round(seconds, 3), sentence, key, host=host)


def models_key(models: Models) -> str:
    """Names a checkpoint and its LoRAs by their content, wherever they lie. Raises BatchError."""
    from ..hosts.standalone.pocket import FOLDER

    path = FOLDER if models.checkpoint == POCKET else Path(models.checkpoint)
    parts = sorted(path.rglob("*.safetensors")) if path.is_dir() else [path]
    try:
        keys = [f"{part.relative_to(path).as_posix()} {file_key(part)}" for part in parts]
        keys += [f"{file_key(Path(lora))} {strength}" for lora, strength in models.loras]
        keys += [models.memory] if models.memory in ("low", "fp8") else []  # which change pictures by shades
    except OSError as error:
        raise BatchError(f"{error.filename} cannot be read ({reason(error)}). Look at the file.") from error
    return content_key(*keys)
