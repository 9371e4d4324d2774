"""Out-of-fold opinions of every network: one per modality, and early fusion of all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from bayesaffect import encoders, splits
from bayesaffect.encoders import plugins
from bayesaffect.errors import InputError
from bayesaffect.files import write_json
from bayesaffect.io import store
from bayesaffect.pipeline import stages
from bayesaffect.pipeline.settings import Settings
from bayesaffect.pipeline.watch import duration
from bayesaffect.types import Opinions, Predictive, Trials
from bayesaffect.types.unit import WHOLE, plural
from bayesaffect.uncertainty import device as devices
from bayesaffect.uncertainty import estimate, status
from bayesaffect.uncertainty.crossfit import CrossFit, Execution, complete
from bayesaffect.uncertainty.crossfit import lay_out as lay_out_crossfit
from bayesaffect.uncertainty.work import Work

EARLY = "early"
FOLDER = "training"
DONE = Path("opinions") / "networks.json"


def execution(
    workspace: Path,
    settings: Settings,
    *,
    jobs: int | None = None,
    device: str = "cpu",
    scheduler: str | None = None,
    tensorboard: bool = False,
) -> Execution:
    """Who trains: checked before anything long begins.

    ``jobs`` ``None`` stands for two processes, or one on a GPU. With a scheduler it is the number of its workers, and
    ``device`` is looked for where they are.

    Raises
    ------
    InputError : when the device is not there, the scheduler does not answer, or a plug-in cannot be imported.
    """
    for place in settings.networks.values():
        plugins.find_callable(place)
    if scheduler is not None:
        from bayesaffect.uncertainty import cluster

        jobs = cluster.threads(scheduler)
    else:
        device = devices.resolve(device)
        jobs = jobs or (2 if device == "cpu" else 1)
    return Execution(workspace / FOLDER, settings.nested, jobs, device, scheduler, tensorboard)


def lay_out(settings: Settings, trials: Trials, who: Execution) -> Work:
    """The tasks of the study's cross-fit; nothing is trained."""
    trials = apart(settings, trials)
    return lay_out_crossfit(
        trials,
        groups(settings, trials),
        networks(trials),
        build=builder(settings, trials),
        ensemble=settings.ensemble,
        training=settings.training,
        execution=who,
        seed=settings.seed,
    )


def plan_lines(work: Work) -> list[str]:
    """What will be trained, what of it is done, and what the rest will cost, for the terminal."""
    tasks, waiting = Counter(t.name for t in work.all()), Counter(t.name for t in work.waiting())
    alone = sum(len(fit.held_out) == 1 for fit in work.fits)
    nested = f" ({alone} without one group, {len(work.fits) - alone} without two)" if len(work.fits) > alone else ""
    lines = [
        f"plan: {_of_what(work)}; {len(work.fits)} fits{nested} x "
        f"{len(work.networks)} networks x {work.ensemble.members} members = {tasks.total()} trainings, "
        f"{tasks.total() - waiting.total()} done"
    ]
    if not waiting:
        return lines
    costs = estimate.costs(work)
    for name, count in tasks.items():
        each = _range(costs[name].seconds)
        lines.append(f"  {name}: {count} trainings, {count - waiting[name]} done, {each} each")
    time = _range(estimate.total(waiting, costs, processes=work.execution.jobs))
    timed = any(costs[name].timed for name in waiting)
    basis = "two epochs of each network, run now" if timed else "the trainings that have ended"
    where = "Dask workers" if work.execution.scheduler else "processes" if work.execution.jobs > 1 else "process"
    size = sum(costs[name].bytes * count for name, count in tasks.items())
    return [
        *lines,
        f"time: {time} with {work.execution.jobs} {where}, judged by {basis}",
        f"disk: about {max(1, round(size / 2**20))} MB in {work.place.directory}",
    ]


def _of_what(work: Work) -> str:
    by, units, groups = work.trials.held_out_by, sum(len(group) for group in work.groups), len(work.groups)
    if by in WHOLE:
        return f"{units} {plural(by)} in {groups} groups"
    return f"{groups} {plural(by)} of {np.unique(work.trials.subject.values).size} subjects"


def _range(seconds: tuple[float, float]) -> str:
    low, high = (duration(s) for s in seconds)
    if low == high:
        return low
    return f"{low.split()[0]} to {high}" if low.split()[1] == high.split()[1] else f"{low} to {high}"


def train(
    workspace: Path,
    settings: Settings,
    trials: Trials,
    *,
    jobs: int = 1,
    who: Execution | None = None,
    announce: Callable[..., object] | None = None,
) -> CrossFit:
    """Cross-fit the networks and keep their predictions in the workspace; finished fits are not run again.

    ``announce`` is given the lines of the plan before the first network is trained; ``who`` (from `execution`)
    goes before ``jobs``.
    """
    work = lay_out(settings, trials, who or Execution(workspace / FOLDER, settings.nested, jobs))
    if announce is not None:
        announce(*plan_lines(work))
    with stages.timed(workspace, "train"):
        result = complete(work)
    for name, predictive in result.out_of_fold.items():
        store.save_predictive(predictive, workspace / "opinions" / f"{name}.nc")
    write_json(
        workspace / DONE,
        {
            "groups": work.groups,
            "networks": list(result.out_of_fold),
            "recalibration": list(result.recalibration),
        },
    )
    return result


def load(workspace: Path, settings: Settings, trials: Trials) -> CrossFit:
    """The predictions a finished `train` left in the workspace."""
    if not (workspace / DONE).is_file():
        raise InputError("has no trained networks", where=workspace, remedy="run `bayesaffect train` first")
    return train(workspace, settings, trials)


def networks(trials: Trials) -> dict[str, tuple[str, ...]]:
    """Network name -> modalities it is fed: every modality alone, and ``early`` with all where there are several."""
    alone = {m: (m,) for m in trials.modalities}
    return alone | {EARLY: trials.modalities} if len(alone) > 1 else alone


def builder(settings: Settings, trials: Trials) -> Callable:
    """What builds the study's networks: those of `bayesaffect.encoders`, and plug-ins in their place.

    Raises
    ------
    InputError : when a plug-in is for a network that the study does not have.
    """
    if unknown := sorted(set(settings.networks) - set(networks(trials))):
        raise InputError(
            f"there is no network {unknown[0]!r} in this study", remedy=f"choose one of {', '.join(networks(trials))}"
        )
    return encoders.Builder(dict(settings.networks)) if settings.networks else encoders.build


def apart(settings: Settings, index: Trials | Opinions) -> Trials | Opinions:
    """The same trials, or opinions of a table, held out by what the protocol of the study says."""
    return splits.apart(index, settings.protocol, settings.folds, seed=settings.seed)


def groups(settings: Settings, index: Trials | Opinions) -> tuple[tuple[str, ...], ...]:
    """The groups of the study's cross-validation: of subjects, or of whatever else its protocol holds apart."""
    return splits.groups(apart(settings, index), settings.folds, seed=settings.seed)


def fusion_input(
    cross: CrossFit,
    group: int | None,
    names: tuple[str, ...],
    members: tuple[str, ...],
    *,
    unit: xr.DataArray | None = None,
) -> dict[str, Predictive]:
    """Predictions that fusion may use when ``group`` (of subjects ``members``) is the test group.

    For the test subjects: networks that did not see the group. For all others: networks that saw neither the
    group nor the subject's own group (nested), or out-of-fold ones where nested fits were not asked for. ``unit`` of
    the trials (`Trials.unit`) stands for their subject where groups are of something else.
    """
    if group is None or group not in cross.nested:
        return {name: cross.out_of_fold[name] for name in names}
    joined = {}
    for name in names:
        held_out = cross.out_of_fold[name]
        who = held_out.subject if unit is None else unit.sel(trial=held_out.trial.values)
        tested = who.isin(list(members)).values
        parts = [held_out.select(tested), cross.nested[group].get(name)]
        joined[name] = Predictive.concat([p for p in parts if p is not None and p.trial.size])
    return joined


def learning_curves(workspace: Path, settings: Settings) -> pd.DataFrame | None:
    """Losses per epoch of the networks of the last training: network, fit, member, epoch, and the losses."""
    tables, plan = [], status.read_plan(workspace / FOLDER)
    for task in plan["tasks"] if plan is not None else ():
        history = workspace / FOLDER / task["key"] / "history.csv"
        if history.is_file():
            names = {"network": task["network"], "fit": "+".join(task["held_out"]), "member": task["member"]}
            tables.append(pd.read_csv(history).assign(**names))
    if not tables:
        return None
    renamed = {"training": "train_loss", "validation": "validation_loss"}
    return pd.concat(tables, ignore_index=True).rename(columns=renamed)
