"""What the networks say: of the study's own trials, and of new recordings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import xarray as xr

from bayesaffect import fusion, splits
from bayesaffect.errors import InputError
from bayesaffect.io import opinions as tables
from bayesaffect.io import store
from bayesaffect.io.opinions_columns import UNNAMED
from bayesaffect.pipeline import train as training
from bayesaffect.pipeline.prepare import joined, prepare
from bayesaffect.pipeline.settings import Settings
from bayesaffect.types import Opinions, Target, Trials
from bayesaffect.types.unit import INSIDE, check_names, plural
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


def unlabelled(opinions: Opinions, rows: np.ndarray) -> Opinions:
    """The opinions without the truth of some trials (bool mask); everything keeps its shape."""
    truth = opinions.truth.copy()
    for target in opinions.targets:
        nothing = -1 if target.kind == "categorical" else np.nan
        truth[target.name] = opinions.truth[target.name].where(~xr.DataArray(rows, dims="trial"), nothing)
    return replace(opinions, truth=truth)


def check_truths(opinions: Opinions, groups: Sequence[Sequence[str]]):
    """Refuse at once what the fit of a fold would refuse after a long time, and targets that do not vary.

    Raises
    ------
    InputError : a target without truth, with the same truth everywhere, or without truths (of ratings: two different
        ones) that may be learnt from when some group is tested.
    """
    of = plural(opinions.held_out_by)
    for target in opinions.targets:
        name, told, truth = target.name, opinions.labelled(target.name), opinions.truth[target.name].values
        found = np.unique(truth[told])
        if not found.size:
            what, remedy = f"no trial has a truth of {name!r}, so nothing can be learnt or scored", "give its truths"
            raise InputError(what, remedy=f"{remedy}, or leave the target out")
        if found.size == 1:
            value = target.levels[int(found[0])] if target.levels else f"{target.from_unit(found[0]):g}"
            what = f"all {told.sum()} truths of {name!r} are {value}, so there is nothing to tell apart"
            raise InputError(what, remedy="leave the target out")
        for members in groups:
            learnt = truth[told & splits.learnt(opinions, members)]
            if np.unique(learnt).size > (target.kind == "continuous") or not predictable(opinions, members):
                continue
            who = ", ".join(members[:5]) + (", ..." if len(members) > 5 else "")
            raise InputError(
                f"{'no truth' if not learnt.size else 'only one value'} of {name!r} is left to learn from when {who} "
                "are tested",
                remedy=f"give truths of other {of}, or leave the target out",
            )


def predictable(opinions: Opinions, members: Sequence[str]) -> bool:
    """Whether every target can be learnt when a group is tested; before the first part of a session none can."""
    if opinions.held_out_by != splits.UNIT["time"]:
        return True
    learnt = splits.learnt(opinions, members) & opinions.present.values.any(1)
    found = all((learnt & opinions.labelled(target.name)).any() for target in opinions.targets)
    return found and bool(splits.tested(opinions, members).any())


def of_study(workspace: Path, settings: Settings) -> Opinions:
    """Everybody's out-of-fold opinions, from what the workspace holds; the data set itself is not opened."""
    if settings.format == "opinions":
        return training.apart(settings, tables.read_table(Path(settings.dataset), **settings.reading))
    trials = training.apart(settings, joined(workspace))
    paths = {m: workspace / "opinions" / f"{m}.nc" for m in trials.modalities}
    if lacking := [m for m, path in paths.items() if not path.is_file()]:
        raise InputError(f"has no opinions of {lacking[0]}", where=workspace, remedy="run `bayesaffect train` first")
    return with_trials(
        Opinions.from_predictives({m: store.load_predictive(p) for m, p in paths.items()}, trials), trials
    )


def of_new(
    workspace: Path,
    settings: Settings,
    source: Path,
    modalities: tuple[str, ...],
    targets: tuple[Target, ...],
    *,
    jobs: int = 1,
) -> Opinions:
    """Opinions on new recordings by the networks of the study, or those of a new table.

    ``modalities`` and ``targets`` are the fit's, and what is returned has them, in their order.

    Recordings are read as the study's were and kept in ``WORKSPACE/new``. A person of the study is predicted by the
    networks that have not seen this person, a new one by those of all folds together. Where the study holds out stimuli
    or versions, that goes for those instead of people; in a study across time or within subjects new recordings are
    later ones, and predicted by all.

    Raises
    ------
    InputError : nothing can be read there, a modality, an input or a network is not the study's, or a person may be
        one of the study spelt otherwise (`types.unit.check_names`).
    """
    if settings.format == "opinions":
        given = tables.read_table(source, **settings.reading).aligned(modalities)
        for target in targets:
            given = _named(given, target, source)
        return given
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
    trials = splits.as_new(_completed(trials, study), settings.protocol)
    if (by := trials.held_out_by) == "version" or by not in INSIDE:  # networks that saw S1 are not to predict s1
        check_names(np.concatenate([index.present[by].values.astype(str) for index in (study, trials)]), by)
    said = by_networks(work, trials, recalibration=record, names=list(study.modalities))
    if not said:
        raise InputError("has no trial with a modality of the study", where=source, remedy="see `prepare --list`")
    return with_trials(Opinions.from_predictives(said, trials).aligned(modalities), trials)


def _completed(trials: Trials, study: Trials) -> Trials:
    """The new trials with every modality of the study; one that nobody has is missing throughout."""
    names, count = list(study.modalities), trials.present.sizes["trial"]
    if list(trials.modalities) == names:
        return trials
    inputs = {}
    for name in names:
        if name in trials.inputs:
            inputs[name] = trials.inputs[name]
            continue
        block = study.inputs[name].isel(trial=np.zeros(count, dtype=int)).drop_vars("trial", errors="ignore")
        block = block.map(lambda a: a.copy(data=np.full(a.shape, np.nan if a.dtype.kind == "f" else 0, a.dtype)))
        inputs[name] = block.assign_coords(trial=trials.present["trial"].values).assign_attrs(study.inputs[name].attrs)
    return replace(
        trials,
        inputs={**inputs, **{name: block for name, block in trials.inputs.items() if name not in inputs}},
        present=trials.present.reindex(modality=names, fill_value=False),
        quality=trials.quality.reindex(modality=names, fill_value=0.0),
    )


def _named(opinions: Opinions, target: Target, source: Path) -> Opinions:
    """The opinions with ``target`` under its name and with its levels in their order.

    A table without truth does not name its one categorical target, and is then believed to mean the fit's.
    """
    mine = next((t for t in opinions.targets if t.name == target.name), None)
    if mine is None and target.kind == "categorical":
        mine = next((t for t in opinions.targets if t.name == UNNAMED), None)
    if mine is None or set(mine.levels or ()) != set(target.levels or ()):
        what = f"on {target.name!r}" + (f" with the classes {', '.join(target.levels)}" if target.levels else "")
        raise InputError(f"has no opinions {what}", where=source, remedy="predict what the study predicts")
    if mine == target:
        return opinions
    if target.kind == "continuous":
        raise InputError(
            f"rates {target.name!r} from {mine.bounds[0]:g} to {mine.bounds[1]:g}, the study from "
            f"{target.bounds[0]:g} to {target.bounds[1]:g}",
            where=source,
            remedy="give low_ and high_ columns like the study's",
        )
    code = np.array([*(target.levels.index(level) for level in mine.levels), -1])
    truth = opinions.truth.rename({mine.name: target.name}) if mine.name != target.name else opinions.truth
    truth = truth.assign({target.name: ("trial", code[truth[target.name].values.astype(int)])})
    log_prob = {n: a for n, a in opinions.log_prob.items() if n != mine.name}
    log_prob[target.name] = opinions.log_prob[mine.name].sel(level=list(target.levels))
    kinds = tuple(target if t == mine else t for t in opinions.targets)
    return replace(opinions, targets=kinds, truth=truth, log_prob=log_prob)
