"""Predictions for every subject by networks that never saw them, and the nested ones that fusion is trained on."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
import xarray as xr
from torch import nn

from bayesaffect import progress
from bayesaffect.errors import InputError
from bayesaffect.files import key
from bayesaffect.types import Fold, Predictive, Trials
from bayesaffect.uncertainty import data, member, recalibrate
from bayesaffect.uncertainty.ensemble import Ensemble, gather
from bayesaffect.uncertainty.member import Place, Task
from bayesaffect.uncertainty.training import Training, derived_seed

log = logging.getLogger(__name__)
VALIDATION_SHARE = 0.18


@dataclass(frozen=True)
class Fit:
    """One training of all networks: positions of the groups that are held out, and the subjects' roles."""

    held_out: tuple[int, ...]
    fold: Fold

    @property
    def seen(self) -> tuple[str, ...]:
        """Subjects whose labels the networks of this fit have met, to learn from or to stop by."""
        return (*self.fold.train, *self.fold.validation)


@dataclass(frozen=True)
class Execution:
    """Where results go, whether the nested fits are made, and on how many processes."""

    directory: Path
    nested: bool = True
    jobs: int = 1


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
    recalibration : one record per fit, network and target: the temperature or variance scale applied.
    trained : number of member-trainings that this call had to carry out; the others were there already.
    """

    out_of_fold: Mapping[str, Predictive]
    nested: Mapping[int, Mapping[str, Predictive]]
    fits: tuple[Fit, ...]
    recalibration: tuple[dict, ...]
    trained: int


def plan(groups: Sequence[Sequence[str]], *, nested: bool, seed: int) -> list[Fit]:
    """The fits of a cross-fit over K groups: each group held out alone, and each unordered pair once if ``nested``.

    K fits, or K + K (K - 1) / 2: networks that saw neither a nor b serve both "a is tested, b trains the fusion"
    and the reverse. About 18 % of a fit's training subjects, at least one, are drawn for validation.

    Raises
    ------
    InputError : if groups are empty, overlap, or leave fewer than two subjects to train on.
    """
    names = [subject for group in groups for subject in group]
    if len(set(names)) != len(names) or any(len(group) == 0 for group in groups):
        raise InputError("groups of subjects overlap or are empty", remedy="put each subject into exactly one group")
    held_out = [(a,) for a in range(len(groups))]
    if nested:
        held_out += list(itertools.combinations(range(len(groups)), 2))
    return [_fit(groups, out, seed) for out in held_out]


def _fit(groups: Sequence[Sequence[str]], held_out: tuple[int, ...], seed: int) -> Fit:
    test = tuple(subject for a in held_out for subject in groups[a])
    rest = sorted(subject for a, group in enumerate(groups) if a not in held_out for subject in group)
    if len(rest) < 2:
        raise InputError(
            f"holding out {len(test)} subjects leaves {len(rest)} to train and validate on",
            remedy="use more subjects or more groups",
        )
    count = max(1, round(VALIDATION_SHARE * len(rest)))
    order = np.random.default_rng(derived_seed(seed, "validation", sorted(test))).permutation(len(rest))
    validation = {rest[k] for k in order[:count]}
    return Fit(held_out, Fold(tuple(s for s in rest if s not in validation), tuple(sorted(validation)), test))


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
    is not run again, one that was interrupted goes on at its last checkpoint.

    Parameters
    ----------
    groups : subjects of each group; together all subjects of ``trials``.
    networks : name -> modalities, such as {"eeg": ("eeg",), "early": ("eeg", "face", "physio")}.
    build : makes a network, with the signature of `bayesaffect.encoders.build`.
    execution : folder, nested or not, number of processes.

    Raises
    ------
    InputError : if groups and subjects disagree, a modality does not exist, or a network has nothing to train on.
    """
    fits = plan(groups, nested=execution.nested, seed=seed)
    _check(trials, groups, networks)
    everything = data.from_trials(trials)
    spec = data.describe(trials)
    hashes, architecture = {}, {}
    for name, modalities in networks.items():
        hashes[name] = data.fingerprint(everything.only(modalities))
        architecture[name] = str(build(spec, modalities, trials.targets, dropout=training.dropout, seed=seed))
    directory = Path(execution.directory)
    inputs = directory / f"inputs-{key(hashes)}.safetensors"
    place = Place(directory, inputs, spec, trials.targets, build)
    tasks: dict[tuple[int, str], list[Task]] = {}
    for (k, fit), (name, modalities) in itertools.product(enumerate(fits), networks.items()):
        rows = _rows(trials, fit, modalities, everything.labelled)
        if rows["test"].size == 0:
            continue
        if rows["train"].size == 0:
            raise InputError(
                f"network {name!r} has no trial with a truth to train on when {list(fit.fold.test)} are held out",
                remedy="leave the modality out or use other groups",
            )
        source = key(hashes[name], architecture[name], f"{build.__module__}.{build.__qualname__}", length=64)
        tasks[k, name] = [
            Task(name, tuple(modalities), m, tuple(sorted(fit.fold.test)), **rows, inputs=source, settings=training,
                 passes=ensemble.passes, seed=seed)
            for m in range(ensemble.members)
        ]  # fmt: skip
    waiting = [task for some in tasks.values() for task in some if member.finished(place, task) is None]
    if waiting:
        data.save(everything, inputs)
        _work(place, waiting, jobs=execution.jobs)
        inputs.unlink(missing_ok=True)
    parts, records = {}, []
    for (k, name), members in tasks.items():
        parts[k, name], factors = _predictive(trials, place, members, fits[k], ensemble)
        records += [
            {"held_out": list(fits[k].held_out), "network": name, "target": t, "factor": f} for t, f in factors.items()
        ]
    member.forget()
    out_of_fold, nested = _assemble(trials, groups, fits, networks, parts, execution.nested)
    return CrossFit(out_of_fold, nested, tuple(fits), tuple(records), len(waiting))


def _check(trials: Trials, groups: Sequence[Sequence[str]], networks: Mapping[str, Sequence[str]]):
    grouped = {s for group in groups for s in group}
    if missing := sorted({str(s) for s in trials.subject.values} - grouped):
        raise InputError(f"subjects {missing} are in no group", remedy="put each subject into exactly one group")
    for name, modalities in networks.items():
        if unknown := sorted(set(modalities) - set(trials.modalities)):
            raise InputError(f"network {name!r} needs {unknown}", remedy=f"there are {list(trials.modalities)}")


def _rows(trials: Trials, fit: Fit, modalities: Sequence[str], labelled: np.ndarray) -> dict[str, np.ndarray]:
    """Positions of the trials that this network learns from, is stopped by, and predicts."""
    here = trials.present.sel(modality=list(modalities)).any("modality").values
    subject = trials.subject.values.astype(str)
    return {
        "train": np.flatnonzero(here & labelled & np.isin(subject, fit.fold.train)),
        "validation": np.flatnonzero(here & labelled & np.isin(subject, fit.fold.validation)),
        "test": np.flatnonzero(here & np.isin(subject, fit.fold.test)),
    }


def _work(place: Place, tasks: Sequence[Task], *, jobs: int):
    """Run tasks, the slowest kind first so that no process waits long at the end."""
    tasks = sorted(tasks, key=lambda task: (-len(task.modalities), -task.train.size))
    with progress.bar("training networks", len(tasks)) as advance:
        for _ in _results(place, tasks, jobs):
            advance(1)


def _results(place: Place, tasks: Sequence[Task], jobs: int) -> Iterator[str]:
    if jobs == 1:
        yield from (member.run(place, task) for task in tasks)
        return
    pool = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1)
    results = pool(joblib.delayed(member.run)(place, task, worker=True) for task in tasks)
    try:
        yield from results
    finally:
        results.close()


def _predictive(
    trials: Trials, place: Place, members: Sequence[Task], fit: Fit, ensemble: Ensemble
) -> tuple[Predictive, dict[str, float]]:
    """The held-out predictions of one fit's ensemble, recalibrated on the fit's validation subjects."""
    draws = [member.finished(place, task) for task in members]

    def of(label: str, rows: np.ndarray, trained_on: xr.DataArray | None) -> Predictive:
        names = [{n.removeprefix(f"{label}/"): v for n, v in d.items() if n.startswith(f"{label}/")} for d in draws]
        return gather(names, trials.targets, _index(trials, rows), trained_on=trained_on)

    test = of("test", members[0].test, _trained_on(trials, members[0].test, fit))
    if not ensemble.recalibrate:
        return test, {}
    if members[0].validation.size == 0:
        log.warning("network %s lacks validation trials for %s: not recalibrated", members[0].name, fit.fold.test)
        return test, {}
    factors = recalibrate.fit(of("validation", members[0].validation, None), trials.truth)
    return recalibrate.apply(test, factors), factors


def _index(trials: Trials, rows: np.ndarray) -> xr.DataArray:
    trial, subject = trials.present["trial"].values[rows], trials.subject.values[rows]
    return xr.DataArray(subject, dims="trial", coords={"trial": trial, "subject": ("trial", subject)}, name="subject")


def _trained_on(trials: Trials, rows: np.ndarray, fit: Fit) -> xr.DataArray:
    everyone = np.unique(trials.subject.values.astype(str))
    seen = np.tile(np.isin(everyone, fit.seen), (rows.size, 1))
    index = _index(trials, rows)
    coords = {"trial": index["trial"].values, "subject": ("trial", index.values), "trained_subject": everyone}
    return xr.DataArray(seen, dims=("trial", "trained_subject"), coords=coords)


def _assemble(trials, groups, fits, networks, parts, nested: bool):
    """Out-of-fold predictions from the fits that hold out one group, nested ones from those that hold out two."""
    order = list(trials.present["trial"].values)
    alone = {fit.held_out[0]: k for k, fit in enumerate(fits) if len(fit.held_out) == 1}
    pairs = {frozenset(fit.held_out): k for k, fit in enumerate(fits) if len(fit.held_out) == 2}
    out_of_fold = {}
    for name in networks:
        found = [parts[k, name] for k in alone.values() if (k, name) in parts]
        if not found:
            raise InputError(f"network {name!r} has no trial to predict", remedy="leave it out")
        out_of_fold[name] = _ordered(found, order)
    if not nested:
        return out_of_fold, {}
    inner: dict[int, dict[str, Predictive]] = {}
    for a, name in itertools.product(range(len(groups)), networks):
        found = [
            kept
            for b in range(len(groups))
            if b != a and (part := parts.get((pairs[frozenset((a, b))], name))) is not None
            if (kept := part.select(part.subject.isin(list(groups[b])).values)).trial.size
        ]
        if found:
            inner.setdefault(a, {})[name] = _ordered(found, order)
    return out_of_fold, inner


def _ordered(parts: Sequence[Predictive], order: Sequence[str]) -> Predictive:
    """Predictions of disjoint trials as one, trials in the order in which ``order`` names them."""
    joined = Predictive.concat(parts)
    rank = {name: k for k, name in enumerate(order)}
    return joined.select(np.argsort([rank[name] for name in joined.trial.values], kind="stable"))
