"""Which weights file a job uses: found in the host's folders, or the official one, downloaded when it is missing."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from .. import files
from ..download import download, endpoint, file_digest
from ..errors import DownloadError, WeightsError, shown
from ..progress import Progress, silent
from .identify import KINDS, PICKLES, WeightsFile, identify

log = logging.getLogger("iclight")

REPOSITORY = "lllyasviel/ic-light"
REVISION = "9cad1878695f546a7fb9eaca14e2a89131ba5ffe"
LARGEST = 2 * 10**9
"""bytes; the official files have some 1.72e9 each"""


@dataclass(frozen=True)
class Official:
    """One of the weights files that IC-Light's authors published."""

    name: str
    kind: str
    sha256: str

    @property
    def url(self) -> str:
        """Where it is downloaded from: the Hugging Face hub, or the mirror that HF_ENDPOINT names."""
        return f"{endpoint()}/{REPOSITORY}/resolve/{REVISION}/{self.name}"


OFFICIAL: Mapping[str, Official] = MappingProxyType({official.kind: official for official in (
    Official("iclight_sd15_fc.safetensors", "fc", "a033fbaaa2f3f7859fa6a4477ee63ebbf9c116bf3569d5811856d2807f3468cd"),
    Official("iclight_sd15_fcon.safetensors", "fcon",
             "37652ef27028c8fdb9882830b1621e4e648d26e19cb2035a6af8d52f3a6d8d87"),
    Official("iclight_sd15_fbc.safetensors", "fbc", "bb8ccedaa4944b16cfa8356afcbc2c2174cc4c4af57de19124ae0cddd0d96947"),
)})
"""Kind -> official file; a mode uses the kind of its own name."""


def find_weights(folders: Sequence[Path]) -> list[WeightsFile]:
    """All IC-Light weights in the folders and below, in the folders' order, then by name. Reads headers only."""
    return list(_identified(files.walk(folders)))


def weight_names(folder: Path) -> list[str]:
    """The names of the .safetensors files in a folder, unread, as they can be shown and chosen."""
    return [files.shown_name(path) for path in files.listed(folder) if path.suffix.casefold() == ".safetensors"]


def hashed(file: WeightsFile, progress: Progress = silent) -> WeightsFile:
    """The same with its sha256, and with the kind that an official file's hash tells whatever its name is.

    Reads the whole file: some seconds. Raises WeightsError.
    """
    try:
        digest = file_digest(file.path, "sha256", progress)
    except OSError as error:
        raise WeightsError(f"{file.name} cannot be read ({files.reason(error)}). Look at the file.",
                           path=file.path) from error
    official = published(digest)
    return dataclasses.replace(file, sha256=digest, kind=file.kind if official is None else official.kind)


def published(sha256: str | None) -> Official | None:
    """The official file of that hash."""
    return next((official for official in OFFICIAL.values() if official.sha256 == sha256), None)


def resolve(mode: str, name: str, folders: Sequence[Path], progress: Progress = silent) -> WeightsFile:
    """The weights file for a job in `mode` (fc, fcon, fbc): the one that `find` finds, else downloaded.

    folders: at least one, searched in this order; the first takes the download.
    Raises WeightsError (see `find`) and DownloadError.
    """
    found = find(mode, name, folders)
    if found is not None:
        return found
    official = OFFICIAL[mode]
    target = folders[0] / official.name
    try:
        download(official.url, target, sha256=official.sha256, limit=LARGEST, progress=progress)
    except DownloadError as error:
        unusable = _unusable(folders[0])
        if not unusable:
            raise
        raise DownloadError(f"{error} {unusable}", path=error.path) from error
    return _fitting(mode, target)


def find(mode: str, name: str, folders: Sequence[Path]) -> WeightsFile | None:
    """The weights file for a job in `mode`; None where the official one has yet to be downloaded. Reads headers only.

    name: a file's name in the folders or below, or `auto`: the official file, else any file of that kind.
    `fc` and `fcon` weights fit both modes when named.
    Raises WeightsError for an unknown name, a file that is not what it should be or does not fit the mode - also an
    official file that is broken, which is never replaced unasked.
    """
    if name != "auto":
        return _fitting(mode, _by_name(name, folders))
    path = files.named(files.walk(folders), OFFICIAL[mode].name)
    if path is not None:
        return _fitting(mode, path)
    return next((file for file in _identified(files.walk(folders)) if file.kind == mode), None)


def _by_name(name: str, folders: Sequence[Path]) -> Path:
    if not name or name in (".", "..") or set(name) & set("/\\\0"):
        raise WeightsError(f"weights must be 'auto' or a plain file name, never a path: {shown(name)}.")
    path = files.named(files.walk(folders), name)
    if path is None:
        there = [file.name for file in find_weights(folders)]
        raise WeightsError(f"there are no weights {shown(name)} in {', '.join(map(files.place, folders))}. "
                           + (f"There are: {', '.join(there)}." if there else "There are none at all: choose 'auto'."))
    return path


def _fitting(mode: str, path: Path) -> WeightsFile:
    file = identify(path)
    if mode not in KINDS[file.inputs]:
        modes = " or ".join(KINDS[file.inputs])
        raise WeightsError(f"{file.name} is for mode {modes} ({file.inputs} inputs), not for {mode}. "
                           f"Choose mode {modes}, or other weights.")
    return file


def _identified(paths: Iterable[Path]) -> Iterator[WeightsFile]:
    for path in paths:
        if path.suffix.casefold() == ".safetensors":
            try:
                yield identify(path)
            except WeightsError as error:
                log.debug("passed over: %s", error.with_path)


def _unusable(folder: Path) -> str:
    """Why the files that lie in IC-Light's own folder were not taken, as a sentence; empty when there are none."""
    reasons = []
    for path in files.walk([folder]):
        if path.suffix.casefold() in (".safetensors", *PICKLES):
            try:
                identify(path)
            except WeightsError as error:
                reasons.append(str(error))
    return " ".join(["Not usable there:", *reasons[:3]]) if reasons else ""
