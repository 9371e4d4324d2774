"""What the networks say: of the study's own trials, and of new recordings."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

from bayesaffect import fusion
from bayesaffect.errors import InputError
from bayesaffect.io import opinions as tables
from bayesaffect.io import store
from bayesaffect.pipeline import train as training
from bayesaffect.pipeline.prepare import joined, prepare
from bayesaffect.pipeline.settings import Settings
from bayesaffect.types import Opinions, Trials
from bayesaffect.uncertainty.crossfit import Execution
from bayesaffect.uncertainty.predict import predict as by_networks

NEW = "new"


def with_trials(opinions: Opinions, trials: Trials) -> Opinions:
    """Opinions with the signal quality and the features of their trials; features are what the hybrid model reads."""
    quality = trials.quality.reindex(modality=list(opinions.modalities), fill_value=0.0)
    opinions = replace(opinions, quality=quality)
    if any({"features", "maps"} & set(block) for block in trials.inputs.values()):
        return fusion.with_features(opinions, trials)
    return replace(opinions, embedding={})


def of_study(workspace: Path, settings: Settings) -> Opinions:
    """Everybody's out-of-fold opinions, from what the workspace holds; the data set itself is not opened."""
    if settings.format == "opinions":
        return tables.read_table(Path(settings.dataset), **settings.reading)
    trials = joined(workspace)
    paths = {m: workspace / "opinions" / f"{m}.nc" for m in trials.modalities}
    if lacking := [m for m, path in paths.items() if not path.is_file()]:
        raise InputError(f"has no opinions of {lacking[0]}", where=workspace, remedy="run `bayesaffect train` first")
    return with_trials(
        Opinions.from_predictives({m: store.load_predictive(p) for m, p in paths.items()}, trials), trials
    )


def of_new(
    workspace: Path, settings: Settings, source: Path, modalities: tuple[str, ...], *, jobs: int = 1
) -> Opinions:
    """Opinions on new recordings by the networks of the study, or those of a new table; ``modalities`` are the fit's.

    Recordings are read as the study's were and kept in ``WORKSPACE/new``. A person of the study is predicted by the
    networks that have not seen this person, a new one by those of all folds together.

    Raises
    ------
    InputError : nothing can be read there, or a modality, an input or a network is not the study's.
    """
    if settings.format == "opinions":
        return tables.read_table(source, **settings.reading).aligned(modalities)
    done = workspace / training.DONE
    if not done.is_file():
        raise InputError("has no trained networks", where=workspace, remedy="run `bayesaffect train` first")
    if not source.exists():
        raise InputError("is not there", where=source, remedy="name a folder of recordings like the study's")
    name = f"{source.name}-{hashlib.sha256(str(source.resolve()).encode()).hexdigest()[:8]}"
    trials = prepare(workspace / NEW / name, replace(settings, dataset=str(source)), jobs=jobs)
    study = joined(workspace)
    work = training.lay_out(settings, study, Execution(workspace / training.FOLDER, settings.nested, 1))
    record = json.loads(done.read_text(encoding="utf-8"))["recalibration"]
    said = by_networks(work, trials, recalibration=record, names=list(study.modalities))
    if not said:
        raise InputError("has no trial with a modality of the study", where=source, remedy="see `prepare --list`")
    return with_trials(Opinions.from_predictives(said, trials).aligned(modalities), trials)
