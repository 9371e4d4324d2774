"""From a data set on disk to trials: read, extract and cache every recording, then join and standardise them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import joblib

from bayesaffect import __version__, progress
from bayesaffect.errors import InputError
from bayesaffect.files import key, write_json
from bayesaffect.io import e4, mahnob, store
from bayesaffect.pipeline.settings import Settings
from bayesaffect.signals.extract import Extraction, extract
from bayesaffect.signals.standardise import standardise
from bayesaffect.types import Listing, Omission, Source, Target, Trials

FORMATS = {"mahnob": mahnob, "e4": e4}


def prepare(workspace: Path, settings: Settings, *, jobs: int = 1) -> Trials:
    """Trials of the whole data set, standardised within subjects; cached per recording.

    A recording whose files, settings and package version are those of an earlier run is not opened again. A
    recording that cannot be read is left out and listed; a killed run loses the recordings in hand only.

    Raises
    ------
    InputError : when the folder is not of the format, or no trial is left.
    """
    listing = scan(settings)
    folder = workspace / "prepared"
    hashes = store.Hashes(folder / "hashes.json")
    paths, omissions, todo = [], list(listing.omissions), []
    for source in progress.track(listing.sources, "look for changes"):
        try:
            content = [hashes(file) for file in source.files]
        except InputError as error:
            omissions.append(Omission.from_error(error, scope="recording"))
            continue
        made_from = key(__version__, settings.format, settings.reading, asdict(settings.extraction), content)
        paths.append(folder / f"{source.name.replace('/', '-')}-{made_from}.nc")
        if not paths[-1].is_file() and not _refusal(paths[-1]).is_file():
            todo.append((source, paths[-1]))
    hashes.save()
    _run(todo, listing, settings, jobs)

    parts = []
    for path in paths:
        if path.is_file():
            parts.append(store.load_trials(path))
        else:
            omissions.append(Omission(**json.loads(_refusal(path).read_text(encoding="utf-8"))))
    if not parts:
        store.write_omissions(omissions, folder / "omissions.csv")
        raise InputError(
            f"none of {len(listing.sources)} recordings could be used",
            where=settings.dataset,
            remedy=f"the reasons are in {folder / 'omissions.csv'}",
        )
    trials = Trials.concat(parts)
    omissions += [
        Omission(settings.dataset, f"modality {name!r} is in none of the recordings", scope="modality")
        for name in listing.modalities
        if name not in trials.modalities or not trials.present.sel(modality=name).any()
    ]
    trials = _usable(standardise(trials), omissions)
    store.write_omissions(trials.omissions, folder / "omissions.csv")
    return trials


def scan(settings: Settings) -> Listing:
    """What the reader of this format finds in the data set's folder."""
    if settings.format not in FORMATS:
        raise InputError(f"there is no format {settings.format!r}", remedy=f"choose one of {', '.join(FORMATS)}")
    return FORMATS[settings.format].scan(Path(settings.dataset))


def _usable(trials: Trials, omissions: list[Omission]) -> Trials:
    """Without modalities that no trial has and trials that have no modality."""
    order = [m for m in trials.modalities if trials.present.sel(modality=m).any()]
    kept = trials.present.sel(modality=order)
    trials = Trials(
        trials.targets,
        {m: trials.inputs[m] for m in order},
        kept,
        trials.truth,
        trials.quality.sel(modality=order),
        (*omissions, *trials.omissions),
    )
    return trials.select(kept.any("modality").values)


def _run(todo: list[tuple[Source, Path]], listing: Listing, settings: Settings, jobs: int):
    """Prepare the recordings that are not cached, in ``jobs`` processes."""
    task = joblib.delayed(_prepare_one)
    calls = (
        task(source, path, settings.format, settings.reading, settings.extraction, listing.targets, listing.modalities)
        for source, path in todo
    )
    results = joblib.Parallel(n_jobs=min(jobs, max(len(todo), 1)), return_as="generator_unordered")(calls)
    for _ in progress.track(results, "prepare recordings", total=len(todo)):
        pass


def _prepare_one(
    source: Source,
    path: Path,
    format: str,
    reading: Mapping,
    extraction: Extraction,
    targets: tuple[Target, ...],
    modalities: Mapping[str, tuple[str, ...]],
):
    """Read and extract one recording; leave its trials, or the reason why there are none, in the workspace."""
    try:
        recording, omissions = FORMATS[format].read(source, targets=targets, **reading)
        trials = extract(recording, modalities, extraction)
    except InputError as error:
        write_json(_refusal(path), asdict(Omission.from_error(error, scope="recording", where=source.name)))
        return
    store.save_trials(replace(trials, omissions=(*omissions, *trials.omissions)), path)


def _refusal(path: Path) -> Path:
    return path.with_suffix(".refused.json")
