"""What a cross-fit consists of: its fits, and one task per fit, network and member."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from bayesaffect.errors import InputError
from bayesaffect.files import key
from bayesaffect.types import Trials
from bayesaffect.types.unit import plural
from bayesaffect.uncertainty import data, member
from bayesaffect.uncertainty.ensemble import Ensemble
from bayesaffect.uncertainty.member import Place, Task
from bayesaffect.uncertainty.plan import Fit, plan
from bayesaffect.uncertainty.training import Training


@dataclass(frozen=True)
class Execution:
    """Where results go, whether the nested fits are made, and who trains.

    Parameters
    ----------
    directory : every task leaves its result in a folder of its own in here.
    nested : make the fits that hold out two groups, too.
    jobs : number of processes on this machine.
    device : ``cpu``, ``cuda``, ``mps`` or ``auto``; recorded with each result, but no part of its key: results
        made on another device are taken as they are.
    scheduler : address of a Dask scheduler whose workers run the tasks instead of processes here; they have to
        see ``directory`` under the same path.
    tensorboard : leave the losses of every training in ``directory/<key>/tensorboard``, too.
    """

    directory: Path
    nested: bool = True
    jobs: int = 1
    device: str = "cpu"
    scheduler: str | None = None
    tensorboard: bool = False


@dataclass(frozen=True)
class Work:
    """A cross-fit that is laid out, and of which any part may be done already.

    ``tasks`` maps (position of the fit, network) to one task per member; a network without any trial to predict
    in a fit has no entry there.
    """

    trials: Trials
    groups: tuple[tuple[str, ...], ...]
    networks: Mapping[str, tuple[str, ...]]
    fits: tuple[Fit, ...]
    tasks: Mapping[tuple[int, str], tuple[Task, ...]]
    place: Place
    inputs: data.Data
    ensemble: Ensemble
    execution: Execution

    @property
    def nested(self) -> bool:
        """Whether there are predictions, for every tested group, by networks that saw neither it nor their own."""
        return self.execution.nested or self.trials.held_out_by == "part"

    def all(self) -> list[Task]:
        """Every task, in the order of the plan."""
        return [task for members in self.tasks.values() for task in members]

    def waiting(self) -> list[Task]:
        """The tasks whose results are not there yet."""
        return [task for task in self.all() if member.finished(self.place, task) is None]


def lay_out(
    trials: Trials,
    groups: Sequence[tuple[str, ...]],
    networks: Mapping[str, tuple[str, ...]],
    *,
    build: Callable[..., nn.Module],
    ensemble: Ensemble,
    training: Training,
    execution: Execution,
    seed: int,
) -> Work:
    """The tasks of a cross-fit (`crossfit` explains the parameters); nothing is trained and nothing written.

    Raises
    ------
    InputError : if groups and subjects disagree, a modality does not exist, or a network has nothing to train on.
    """
    fits = tuple(plan(groups, nested=execution.nested, seed=seed, by=trials.held_out_by))
    _check(trials, groups, networks)
    everything, spec = data.from_trials(trials), data.describe(trials)
    content = {}
    for name, modalities in networks.items():
        architecture = build(spec, modalities, trials.targets, dropout=training.dropout, seed=seed)
        fingerprint = data.fingerprint(everything.only(modalities))
        content[name] = key(fingerprint, str(architecture), identity(build, modalities), length=64)
    directory = Path(execution.directory).absolute()  # workers on other machines start elsewhere
    inputs = directory / f"inputs-{key(content)}.safetensors"
    place = Place(directory, inputs, spec, trials.targets, build, execution.device, execution.tensorboard)
    tasks: dict[tuple[int, str], tuple[Task, ...]] = {}
    for (k, fit), (name, modalities) in itertools.product(enumerate(fits), networks.items()):
        rows = _rows(trials, fit, modalities, everything.labelled)
        if rows["test"].size == 0:
            continue
        if rows["train"].size == 0:
            raise InputError(
                f"network {name!r} has no trial with a truth to train on when {list(fit.fold.test)} are held out",
                remedy="leave the modality out or use other groups",
            )
        held_out = tuple(sorted(fit.fold.test))
        tasks[k, name] = tuple(
            Task(name, tuple(modalities), m, held_out, **rows, inputs=content[name], settings=training,
                 ensemble=ensemble, seed=seed)
            for m in range(ensemble.members)
        )  # fmt: skip
    return Work(trials, tuple(map(tuple, groups)), dict(networks), fits, tasks, place, everything, ensemble, execution)


def identity(build: Callable[..., nn.Module], modalities: Sequence[str]) -> str:
    """What builds the network of some modalities: as the callable itself says, its name, or its ``repr``."""
    if hasattr(build, "identity"):
        return build.identity(tuple(modalities))
    name = getattr(build, "__qualname__", None)
    return repr(build) if name is None else f"{build.__module__}.{name}"


def _check(trials: Trials, groups: Sequence[Sequence[str]], networks: Mapping[str, Sequence[str]]):
    grouped, by = {s for group in groups for s in group}, trials.held_out_by
    if missing := sorted({str(s) for s in trials.unit.values} - grouped):
        raise InputError(f"{plural(by)} {missing} are in no group", remedy=f"put each {by} into exactly one group")
    for name, modalities in networks.items():
        if unknown := sorted(set(modalities) - set(trials.modalities)):
            raise InputError(f"network {name!r} needs {unknown}", remedy=f"there are {list(trials.modalities)}")


def _rows(trials: Trials, fit: Fit, modalities: Sequence[str], labelled: np.ndarray) -> dict[str, np.ndarray]:
    """Positions of the trials that this network learns from, is stopped by, and predicts."""
    here = trials.present.sel(modality=list(modalities)).any("modality").values
    unit = trials.unit.values.astype(str)
    return {
        "train": np.flatnonzero(here & labelled & np.isin(unit, fit.fold.train)),
        "validation": np.flatnonzero(here & labelled & np.isin(unit, fit.fold.validation)),
        "test": np.flatnonzero(here & np.isin(unit, fit.fold.test)),
    }
