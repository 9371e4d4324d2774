"""Predictions of trained networks for other trials: of subjects they never saw, or of changed copies of the trials."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.types import Predictive, Trials
from bayesaffect.uncertainty import checkpoint, data, member, recalibrate
from bayesaffect.uncertainty.device import resolve
from bayesaffect.uncertainty.ensemble import Ensemble, gather
from bayesaffect.uncertainty.training import derived_seed
from bayesaffect.uncertainty.work import Work


def predict(
    work: Work,
    trials: Trials,
    *,
    recalibration: Iterable[Mapping] = (),
    names: Sequence[str] | None = None,
    ensemble: Ensemble | None = None,
) -> dict[str, Predictive]:
    """Predict ``trials`` with the networks of a finished cross-fit that did not see their subjects.

    A subject of the study is predicted by the fit that holds out its group alone; the trials may be others than those
    of the study, such as corrupted copies. A subject that is new to the study is predicted by all of these fits
    together, each with its share of the draws. (Where folds hold something else apart than subjects, that stands for
    the subject, here and in ``trials.held_out_by``.) The trials of the study itself come out as in `crossfit`, draw by
    draw, as long as they come in the same order. No network is trained; the only thing written is what a method of
    drawing takes from the training trials, if it was not used in the training.

    Parameters
    ----------
    work : the cross-fit, from `work.lay_out`.
    trials : prepared as those of the study were; truth may be missing.
    recalibration : the records of `CrossFit`; for a new subject each fit's own factors are applied to its draws.
    names : some of the networks; all by default.
    ensemble : another way of drawing from the same weights (`Ensemble.method`, ``passes``, fewer ``members``).

    Returns
    -------
    Network -> predictions of the trials in which one of its modalities is present, with ``trained_on``; a network that
    no trial has anything for is left out.

    Raises
    ------
    InputError : when inputs are not shaped as the study's, or a network has not been trained to its end.
    """
    _check(work, trials)
    some, unit = data.from_trials(trials), trials.unit.values.astype(str)
    alone = [k for k, fit in enumerate(work.fits) if len(fit.held_out) == 1]
    known = {s for group in work.groups for s in group}
    records = list(recalibration)
    found: dict[str, Predictive] = {}
    for name in names or work.networks:
        modalities = work.networks[name]
        here = trials.present.sel(modality=list(modalities)).any("modality").values
        inputs, parts = some.only(modalities), []
        for k in alone:
            rows = np.flatnonzero(here & np.isin(unit, work.fits[k].fold.test))
            if rows.size:
                parts.append(_predicted(work, (k, name), inputs, (trials, rows), ensemble, records))
        rows = np.flatnonzero(here & ~np.isin(unit, sorted(known)))
        if rows.size:
            each = [_predicted(work, (k, name), inputs, (trials, rows), ensemble, records) for k in alone]
            parts.append(_pooled(each))
        if parts:
            joined = Predictive.concat(parts)
            rank = {trial: k for k, trial in enumerate(trials.present["trial"].values)}
            found[name] = joined.select(np.argsort([rank[t] for t in joined.trial.values], kind="stable"))
    return found


def _check(work: Work, trials: Trials):
    ours, theirs = work.place.spec, data.describe(trials)
    for modality, block in ours.items():
        if theirs.get(modality) != block:
            raise InputError(
                f"{modality} is {theirs.get(modality)}, and the networks were trained on {block}",
                remedy="prepare these recordings with the settings of the study",
            )
    if list(ours) != list(theirs):
        raise InputError(f"modalities are {list(theirs)}, and the study has {list(ours)}", remedy="use the same order")


def _predicted(
    work: Work,
    which: tuple[int, str],
    inputs: data.Data,
    picked: tuple[Trials, np.ndarray],
    ensemble: Ensemble | None,
    records: Sequence[Mapping],
) -> Predictive:
    """Predictions of some trials by one fit's members, recalibrated by that fit's factors."""
    trials, rows = picked
    if which not in work.tasks:
        raise InputError(f"network {which[1]!r} was not trained for this fit", remedy="leave it out")
    fit, chosen = work.fits[which[0]], inputs.rows(rows)
    found = [_drawn(work, task, chosen, ensemble) for task in work.tasks[which][: ensemble and ensemble.members]]
    index = _index(trials, rows)
    everyone, dim = np.unique(np.array([s for group in work.groups for s in group])), f"trained_{fit.fold.by}"
    seen = np.tile(np.isin(everyone, fit.seen), (rows.size, 1))
    coords = {"trial": index["trial"].values, "subject": ("trial", index.values), dim: everyone}
    trained_on = xr.DataArray(seen, dims=("trial", dim), coords=coords)
    predictive = gather(found, work.trials.targets, index, trained_on=trained_on)
    own = [r for r in records if tuple(r["held_out"]) == tuple(fit.held_out) and r["network"] == which[1]]
    return recalibrate.apply(predictive, {r["target"]: r["factor"] for r in own})


def _drawn(work: Work, task: member.Task, rows: data.Data, ensemble: Ensemble | None) -> dict:
    """One member's draws from its stored weights."""
    stored = checkpoint.read_tensors(work.place.folder(task) / member.WEIGHTS)
    if stored is None or stored[1].get("key") != task.key:
        raise InputError(
            f"network {task.name!r} is not trained to its end",
            where=work.place.folder(task),
            remedy="run the same training again, it goes on where it stopped",
        )
    task = task if ensemble is None else replace(task, ensemble=ensemble)
    network = member.build_network(work.place, task)
    network.load_state_dict(stored[0])
    network.to(resolve(work.place.device))
    seed = derived_seed(task.seed, "passes", task.modalities, task.held_out, task.member, "test")
    training_data = work.inputs.only(task.modalities).rows(task.train)
    with member.one_thread():
        return member.draw(work.place, task, network, training_data=training_data, rows=rows, seed=seed)


def _pooled(parts: Sequence[Predictive]) -> Predictive:
    """Draws of several fits as one of the same number, every fit with its share; seen is who was seen by any."""
    count = len(parts)

    def thinned(name: str) -> dict[str, xr.DataArray]:
        arrays = [getattr(p, name) for p in parts]
        return {t: xr.concat([a[t] for a in arrays], dim="draw").isel(draw=slice(None, None, count)) for t in arrays[0]}

    seen = xr.concat([p.trained_on for p in parts], dim="fit").any("fit")
    embedding = xr.concat([p.embedding for p in parts], dim="fit").mean("fit")
    return replace(
        parts[0],
        mean=thinned("mean"),
        variance=thinned("variance"),
        log_prob=thinned("log_prob"),
        trained_on=seen,
        embedding=embedding,
    )


def _index(trials: Trials, rows: np.ndarray) -> xr.DataArray:
    trial, subject = trials.present["trial"].values[rows], trials.subject.values[rows]
    return xr.DataArray(subject, dims="trial", coords={"trial": trial, "subject": ("trial", subject)}, name="subject")
