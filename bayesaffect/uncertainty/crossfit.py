"""Predictions for every subject by networks that never saw them, and the nested ones that fusion is trained on."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from torch import nn

from bayesaffect.errors import InputError
from bayesaffect.types import Predictive, Trials
from bayesaffect.uncertainty import execute, member, recalibrate
from bayesaffect.uncertainty.ensemble import Ensemble, gather
from bayesaffect.uncertainty.plan import Fit, plan
from bayesaffect.uncertainty.training import Training
from bayesaffect.uncertainty.work import Execution, Work, lay_out

__all__ = ["CrossFit", "Execution", "Fit", "complete", "crossfit", "lay_out", "plan"]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CrossFit:
    """What `crossfit` returns.

    Parameters
    ----------
    out_of_fold : network -> predictions of all trials in which one of its modalities is present, each by
        networks that did not see the trial's group.
    nested : position of a held-out group a -> network -> predictions of the trials of all other groups,
        each by networks that saw neither a nor the trial's own group; empty unless asked for.
    fits : the plan that was carried out.
    recalibration : one record per held-out group (or, without nested fits, per fit), network and target: the
        temperature or variance scale applied. With nested fits it is learned across subjects
        (`recalibrate.across`), without them on the validation subjects of each fit.
    trained : number of member-trainings that this call had to carry out; the others were there already.
    """

    out_of_fold: Mapping[str, Predictive]
    nested: Mapping[int, Mapping[str, Predictive]]
    fits: tuple[Fit, ...]
    recalibration: tuple[dict, ...]
    trained: int


def crossfit(
    trials: Trials,
    groups: Sequence[tuple[str, ...]],
    networks: Mapping[str, tuple[str, ...]],
    *,
    build: Callable[..., nn.Module],
    ensemble: Ensemble,
    training: Training,
    execution: Execution,
    seed: int,
) -> CrossFit:
    """Train every network on every fit of the `plan` and predict whom the fit held out.

    Tasks (fit x network x member) are processes with one thread each. Each leaves its result in
    ``execution.directory/<key>``, named by everything that determines it; a task whose result is there
    is not run again, one that was interrupted goes on at its last checkpoint. Several processes may carry out
    the same cross-fit at once: each takes the tasks that no other has in hand.

    Parameters
    ----------
    groups : subjects of each group; together all subjects of ``trials``. Trials that are held out by another unit
        (``trials.held_out_by``) need groups of those.
    networks : name -> modalities, such as {"eeg": ("eeg",), "early": ("eeg", "face", "physio")}.
    build : makes a network, with the signature of `bayesaffect.encoders.build`.
    execution : folder, nested or not, who trains.

    Raises
    ------
    InputError : if groups and subjects disagree, a modality does not exist, a network has nothing to train on, or
        a process that trains has died.
    """
    return complete(
        lay_out(
            trials, groups, networks, build=build, ensemble=ensemble, training=training, execution=execution, seed=seed
        )
    )


def complete(work: Work) -> CrossFit:
    """Run the tasks of ``work`` that have no result yet, and put all results together."""
    trained = execute.carry_out(work)
    by_fit = work.ensemble.recalibrate and not work.nested
    parts, records = {}, []
    for k, name in work.tasks:
        parts[k, name], factors = _predictive(work, k, name, recalibrated=by_fit)
        records += _records(work.fits[k].held_out, name, factors)
    member.forget()
    out_of_fold, nested = _assemble(work, parts)
    if work.ensemble.recalibrate and work.nested:
        for name in out_of_fold:
            inner = {a: found[name] for a, found in nested.items() if name in found}
            out_of_fold[name], inner, factors = recalibrate.across(
                out_of_fold[name], inner, work.groups, work.trials.truth, unit=work.trials.unit
            )
            for a, part in inner.items():
                nested[a][name] = part
                records += _records((a,), name, factors[a])
    return CrossFit(out_of_fold, nested, work.fits, tuple(records), trained)


def _records(held_out: Sequence[int], network: str, factors: Mapping[str, float]) -> list[dict]:
    return [{"held_out": list(held_out), "network": network, "target": t, "factor": f} for t, f in factors.items()]


def _predictive(work: Work, k: int, name: str, *, recalibrated: bool) -> tuple[Predictive, dict[str, float]]:
    """The held-out predictions of one fit's ensemble, if wanted recalibrated on the fit's validation subjects."""
    trials, members, fit = work.trials, work.tasks[k, name], work.fits[k]
    found = [member.read(work.place, task) for task in members]
    if any(each is None for each in found):
        raise InputError(
            f"a result of network {name!r} has gone while it was needed",
            where=work.place.directory,
            remedy="run the same command again",
        )
    seen = set(fit.seen).union(*(header["seen"] for _, header in found))

    def of(label: str, rows: np.ndarray, trained_on: xr.DataArray | None) -> Predictive:
        names = [{n.removeprefix(f"{label}/"): v for n, v in d.items() if n.startswith(f"{label}/")} for d, _ in found]
        return gather(names, trials.targets, _index(trials, rows), trained_on=trained_on)

    test = of("test", members[0].test, _trained_on(trials, members[0].test, seen))
    if not recalibrated:
        return test, {}
    if members[0].validation.size == 0:
        log.warning("network %s lacks validation trials for %s: not recalibrated", name, fit.fold.test)
        return test, {}
    factors = recalibrate.fit(of("validation", members[0].validation, None), trials.truth)
    return recalibrate.apply(test, factors), factors


def _index(trials: Trials, rows: np.ndarray) -> xr.DataArray:
    trial, subject = trials.present["trial"].values[rows], trials.subject.values[rows]
    return xr.DataArray(subject, dims="trial", coords={"trial": trial, "subject": ("trial", subject)}, name="subject")


def _trained_on(trials: Trials, rows: np.ndarray, seen: set[str]) -> xr.DataArray:
    everyone, dim = np.unique(trials.unit.values.astype(str)), f"trained_{trials.held_out_by}"
    marked = np.tile(np.isin(everyone, sorted(seen)), (rows.size, 1))
    index = _index(trials, rows)
    coords = {"trial": index["trial"].values, "subject": ("trial", index.values), dim: everyone}
    return xr.DataArray(marked, dims=("trial", dim), coords=coords)


def _assemble(work: Work, parts: Mapping[tuple[int, str], Predictive]):
    """Out-of-fold predictions from the fits that hold out one group, nested ones from those that hold out two."""
    order = list(work.trials.present["trial"].values)
    alone = {fit.held_out[0]: k for k, fit in enumerate(work.fits) if len(fit.held_out) == 1}
    pairs = {frozenset(fit.held_out): k for k, fit in enumerate(work.fits) if len(fit.held_out) == 2}
    out_of_fold = {}
    for name in work.networks:
        found = [parts[k, name] for k in alone.values() if (k, name) in parts]
        if not found:
            raise InputError(f"network {name!r} has no trial to predict", remedy="leave it out")
        out_of_fold[name] = _ordered(found, order)
    inner: dict[int, dict[str, Predictive]] = {}
    if work.trials.held_out_by == "part":
        return out_of_fold, _before(work, out_of_fold)
    if not pairs:
        return out_of_fold, inner
    for a, name in itertools.product(range(len(work.groups)), work.networks):
        found = [
            kept
            for b, members in enumerate(work.groups)
            if b != a and (part := parts.get((pairs[frozenset((a, b))], name))) is not None
            if (kept := part.select(_of(work, part, members))).trial.size
        ]
        if found:
            inner.setdefault(a, {})[name] = _ordered(found, order)
    return out_of_fold, inner


def _of(work: Work, predictive: Predictive, members: Sequence[str]) -> np.ndarray:
    """Which of the predicted trials belong to some subjects, or other units: bool (trial,)."""
    return work.trials.unit.sel(trial=predictive.trial.values).isin(list(members)).values


def _before(work: Work, out_of_fold: Mapping[str, Predictive]) -> dict[int, dict[str, Predictive]]:
    """For each part of the sessions the predictions of those before: nobody who made them has seen what came later."""
    inner: dict[int, dict[str, Predictive]] = {}
    for (a, _), (name, predictive) in itertools.product(enumerate(work.groups), out_of_fold.items()):
        kept = predictive.select(_of(work, predictive, [s for group in work.groups[:a] for s in group]))
        if kept.trial.size:
            inner.setdefault(a, {})[name] = kept
    return inner


def _ordered(parts: Sequence[Predictive], order: Sequence[str]) -> Predictive:
    """Predictions of disjoint trials as one, trials in the order in which ``order`` names them."""
    joined = Predictive.concat(parts)
    rank = {name: k for k, name in enumerate(order)}
    return joined.select(np.argsort([rank[name] for name in joined.trial.values], kind="stable"))
