"""What a person asked a batch for, as plain data: it can be sent to a machine that has the same folders."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from ..folders import Folders
from ..imaging.save import format_of
from ..progress import Progress, silent
from ..session import POCKET, Session
from .recipe import Recipe
from .rules import Rules


@dataclass(frozen=True)
class Models:
    """What a session is opened with; see `Session.open`."""

    checkpoint: str = POCKET
    loras: tuple[tuple[str, float], ...] = ()
    """files and strengths"""
    folders: Folders = field(default_factory=Folders.under)
    device: str = "auto"
    matting_device: str = "cpu"
    memory: str = "auto"
    compile: bool = False

    def session(self, progress: Progress = silent) -> Session:
        """A new session. Raises ICLightErrors."""
        from ..hosts.standalone.host import Options
        from ..hosts.standalone.loras import Lora

        return Session.open(self.checkpoint, folders=self.folders, device=self.device,
                            loras=[Lora(Path(path), strength) for path, strength in self.loras],
                            matting_device=self.matting_device, progress=progress,
                            options=Options(memory=self.memory, compile=self.compile))


@dataclass(frozen=True)
class Order:
    """Which folder, what each picture of it is to become, and where the results go."""

    source: Path
    out: Path
    recipe: Recipe = field(default_factory=Recipe)
    rules: Rules = field(default_factory=Rules)
    models: Models = field(default_factory=Models)
    ending: str = ".png"
    seed_per_file: bool = False

    def __post_init__(self) -> None:
        """Raises ImageError for an ending that cannot be written."""
        format_of(self.ending)

    def absolute(self) -> Order:
        """The order for processes elsewhere, which are not in this one's folder."""
        models, folders = self.models, self.models.folders
        checkpoint = models.checkpoint
        models = replace(
            models, checkpoint=checkpoint if checkpoint == POCKET else str(Path(checkpoint).absolute()),
            loras=tuple((str(Path(path).absolute()), strength) for path, strength in models.loras),
            folders=Folders(*(tuple(path.absolute() for path in paths) for paths in (
                folders.weights, folders.matting, folders.loras, folders.embeddings))))
        return replace(self, source=self.source.absolute(), out=self.out.absolute(), models=models)

    def of(self, name: str) -> Recipe:
        """The recipe of one picture."""
        return self.rules.recipe(name, self.recipe)
