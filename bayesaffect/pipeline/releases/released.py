"""A release put to use: found, checked against its manifest, and applied to people it has not seen."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from bayesaffect import __version__
from bayesaffect.errors import InputError
from bayesaffect.files import file_hash
from bayesaffect.pipeline import settings as study_settings
from bayesaffect.pipeline.apply import Predicted, fitted_of, load_posteriors, write_predictions
from bayesaffect.pipeline.fits import LATE
from bayesaffect.pipeline.opinions import of_new, with_trials
from bayesaffect.pipeline.prepare import prepare
from bayesaffect.pipeline.releases import frozen
from bayesaffect.pipeline.settings import Settings
from bayesaffect.types import Opinions, Target

FORMAT = "bayesaffect release 1"
MANIFEST, CARD = "manifest.json", "card.md"
MODELS = Path("models")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
NEEDED = ("format", "name", "version", "targets", "modalities", "families", "files")
AGAIN = "get the release again, or make it again with `bayesaffect release`"


@dataclass(frozen=True)
class Release:
    """A folder with a manifest; ``problems``: what is wrong with its files, nothing if they are as released."""

    folder: Path
    manifest: Mapping
    problems: tuple[InputError, ...]

    @property
    def size(self) -> int:
        """Bytes of all files, as the manifest says."""
        return sum(entry["bytes"] for entry in self.manifest["files"].values())

    @property
    def note(self) -> str:
        """What to know before its predictions are believed; empty if there is nothing."""
        if self.manifest["version"] == __version__:
            return ""
        return (
            f"made with bayesaffect {self.manifest['version']}, and this is {__version__}: "
            "recordings may be prepared in another way"
        )


def check_name(name: str) -> str:
    """The name of a release, if it may be one: it becomes a folder.

    Raises
    ------
    InputError : a path, or characters that not every file system takes.
    """
    if not NAME.fullmatch(name):
        raise InputError(
            f"a release cannot be called {name!r}", remedy="use letters, digits, points, hyphens and underscores"
        )
    return name


def locate(name: str, models: Path = MODELS) -> Path:
    """The folder of a release: ``models/<name>``, or the folder that ``name`` itself is.

    Raises
    ------
    InputError : there is no such release.
    """
    for folder in (models / name, Path(name)):
        if (folder / MANIFEST).is_file():
            return folder
    known = [path.parent.name for path in _manifests(models)]
    raise InputError(
        f"there is no release {name!r}",
        where=models,
        remedy=f"choose one of {', '.join(known)}, or name its folder"
        if known
        else "name its folder, or the folder of releases with --models",
    )


def _manifests(models: Path) -> list[Path]:
    """Of all releases; a folder with a point is one in the making."""
    return [path for path in sorted(models.glob(f"*/{MANIFEST}")) if not path.parent.name.startswith(".")]


def read(folder: Path) -> Release:
    """A release and the state of its files: every one is read and compared with its SHA-256.

    Raises
    ------
    InputError : a manifest that cannot be read, or of another format.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError("is not a readable manifest", where=path, remedy=AGAIN) from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise InputError(f"is not of the format {FORMAT!r}", where=path, remedy="use the version that made it")
    if lacking := [name for name in NEEDED if name not in manifest]:
        raise InputError(f"lacks {lacking[0]!r}", where=path, remedy=AGAIN)
    if not _well_formed(manifest):
        raise InputError("is not a readable manifest", where=path, remedy=AGAIN)
    if odd := [name for name in manifest["files"] if name in ("", ".", "..") or {"/", "\\"} & set(name)]:
        raise InputError(f"names the file {odd[0]!r}, outside its folder", where=path, remedy=AGAIN)
    found = [_problem(folder / name, entry) for name, entry in manifest["files"].items()]
    known = {*manifest["files"], MANIFEST}
    used = (each for pattern in ("*.nc", "*.safetensors") for each in sorted(folder.glob(pattern)))
    found += [_unknown(each) for each in used if each.name not in known]
    return Release(folder, manifest, tuple(problem for problem in found if problem))


def _well_formed(manifest: Mapping) -> bool:
    """Whether what is read of it below has the form that a release writes."""
    files, targets, names = (manifest[name] for name in ("files", "targets", "modalities"))
    return (
        isinstance(files, dict)
        and all(isinstance(e, dict) and type(e.get("bytes")) is int and "sha256" in e for e in files.values())
        and isinstance(targets, list)
        and all(isinstance(t, dict) and isinstance(t.get("name"), str) for t in targets)
        and isinstance(names, list)
        and all(isinstance(name, str) for name in (*names, manifest["version"]))
        and isinstance(manifest["families"], list)
    )


def _unknown(path: Path) -> InputError:
    """Of a posterior or weights that no hash vouches for, and that would be used all the same."""
    return InputError("is not part of the release", where=path, remedy="remove it")


def _problem(path: Path, entry: Mapping) -> InputError | None:
    if not path.is_file():
        return InputError("is missing from the release", where=path, remedy=AGAIN)
    if path.stat().st_size != entry["bytes"] or file_hash(path, length=64) != entry["sha256"]:
        return InputError("is not the file that was released: its hash differs", where=path, remedy=AGAIN)
    return None


def load(name: str, models: Path = MODELS) -> Release:
    """The release called ``name``, if all its files are as they were released.

    Raises
    ------
    InputError : there is no such release, or a file of it is missing or was changed.
    """
    release = read(locate(name, models))
    if release.problems:
        raise release.problems[0]
    return release


def listing(models: Path = MODELS) -> pd.DataFrame:
    """A row per release: name, targets, modalities, version, MB, and whether its files are as released."""
    rows = []
    for path in _manifests(models):
        row = {"name": path.parent.name, "targets": "", "modalities": "", "version": "", "MB": ""}
        try:
            release = read(path.parent)
        except InputError as error:
            rows.append(row | {"files": error.what})
            continue
        manifest = release.manifest
        row |= {
            "targets": ", ".join(target["name"] for target in manifest["targets"]),
            "modalities": ", ".join(manifest["modalities"]),
            "version": manifest["version"],
            "MB": f"{release.size / 1e6:.1f}",
        }
        rows.append(row | {"files": _state(release)})
    return pd.DataFrame(rows, columns=["name", "targets", "modalities", "version", "MB", "files"])


def _state(release: Release) -> str:
    if not release.problems:
        return "as released"
    first, rest = release.problems[0], len(release.problems) - 1
    short = next((word for word in ("missing", "not part of the release") if word in first.what), "changed")
    return f"{Path(str(first.where)).name} is {short}" + (f", and {rest} more are not as released" if rest else "")


def predict(release: Release, source: Path, folder: Path, *, family: str = LATE, jobs: int = 1) -> Predicted:
    """Predict new recordings (or a new table of opinions) with a release, as `apply.predict` does with a workspace.

    Everybody is a new person. Recordings are read and extracted as the study's were, and kept in ``folder/prepared``.

    Raises
    ------
    InputError : nothing can be read there, or it is not what the release was made for.
    """
    if family not in release.manifest["families"]:
        families = ", ".join(release.manifest["families"])
        raise InputError(f"has no {family} posterior", where=release.folder, remedy=f"it has {families}")
    settings = _settings(release)
    posteriors = load_posteriors(release.folder, family)
    opinions = _opinions(release, settings, source, folder, fitted_of(posteriors), jobs)
    return write_predictions(posteriors, opinions, folder, seed=settings.seed, family=family)


def _settings(release: Release) -> Settings:
    try:
        return study_settings.load(release.folder)
    except InputError as error:  # to edit the file, as in a workspace, would only break its hash
        version = release.manifest["version"]
        remedy = f"use bayesaffect {version}, which made it" if version != __version__ else AGAIN
        raise InputError(error.what, where=error.where, remedy=remedy) from None


def _opinions(
    release: Release,
    settings: Settings,
    source: Path,
    folder: Path,
    fit: tuple[tuple[str, ...], tuple[Target, ...]],
    jobs: int,
) -> Opinions:
    modalities, targets = fit
    if settings.format == "opinions":
        return of_new(release.folder, settings, source, modalities, targets)
    if not source.exists():
        raise InputError("is not there", where=source, remedy="name a folder of recordings like the study's")
    trials = prepare(folder, replace(settings, dataset=str(source)), jobs=jobs)
    said, trials = frozen.predict(release.folder, settings, trials)
    if not said:
        raise InputError("has no trial with a modality of the release", where=source, remedy="see its card")
    return with_trials(Opinions.from_predictives(said, trials).aligned(modalities), trials)
