"""Out-of-fold opinions of every network: one per modality, and early fusion of all of them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from bayesaffect import encoders, splits
from bayesaffect.errors import InputError
from bayesaffect.files import write_json
from bayesaffect.io import store
from bayesaffect.pipeline import stages
from bayesaffect.pipeline.settings import Settings
from bayesaffect.types import Predictive, Trials
from bayesaffect.uncertainty.crossfit import CrossFit, Execution, crossfit

EARLY = "early"
DONE = Path("opinions") / "networks.json"


def train(workspace: Path, settings: Settings, trials: Trials, *, jobs: int = 1) -> CrossFit:
    """Cross-fit the networks and keep their predictions in the workspace; finished fits are not run again."""
    with stages.timed(workspace, "train"):
        result = crossfit(
            trials,
            groups(settings, trials),
            networks(trials),
            build=encoders.build,
            ensemble=settings.ensemble,
            training=settings.training,
            execution=Execution(workspace / "training", nested=settings.nested, jobs=jobs),
            seed=settings.seed,
        )
    for name, predictive in result.out_of_fold.items():
        store.save_predictive(predictive, workspace / "opinions" / f"{name}.nc")
    write_json(
        workspace / DONE,
        {
            "groups": groups(settings, trials),
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


def groups(settings: Settings, trials: Trials) -> tuple[tuple[str, ...], ...]:
    """The subject groups of the study's cross-validation."""
    return splits.grouped(trials.subject.values, settings.folds, seed=settings.seed)


def fusion_input(
    cross: CrossFit, group: int | None, names: tuple[str, ...], members: tuple[str, ...]
) -> dict[str, Predictive]:
    """Predictions that fusion may use when ``group`` (of subjects ``members``) is the test group.

    For the test subjects: networks that did not see the group. For all others: networks that saw neither the
    group nor the subject's own group (nested), or out-of-fold ones where nested fits were not asked for.
    """
    if group is None or group not in cross.nested:
        return {name: cross.out_of_fold[name] for name in names}
    joined = {}
    for name in names:
        held_out = cross.out_of_fold[name]
        tested = held_out.subject.isin(list(members)).values
        parts = [held_out.select(tested), cross.nested[group].get(name)]
        joined[name] = Predictive.concat([p for p in parts if p is not None and p.trial.size])
    return joined


def learning_curves(workspace: Path, settings: Settings) -> pd.DataFrame | None:
    """Losses per epoch of the networks trained with these settings: network, fit, member, epoch, and the losses."""
    tables = []
    for path in sorted((workspace / "training").glob("*/task.json")):
        task, history = json.loads(path.read_text(encoding="utf-8")), path.with_name("history.csv")
        if (task["training"], task["seed"]) == (asdict(settings.training), settings.seed) and history.is_file():
            names = {"network": task["network"], "fit": "+".join(task["held_out"]), "member": task["member"]}
            tables.append(pd.read_csv(history).assign(**names))
    if not tables:
        return None
    renamed = {"training": "train_loss", "validation": "validation_loss"}
    return pd.concat(tables, ignore_index=True).rename(columns=renamed)
