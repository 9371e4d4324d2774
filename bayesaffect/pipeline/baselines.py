"""Baselines that stand beside fusion; what takes long is kept in the workspace under a key of what it was made from."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import sklearn

from bayesaffect import progress, splits
from bayesaffect.evaluate import baselines
from bayesaffect.evaluate.baselines.folds import out_of_fold
from bayesaffect.files import key
from bayesaffect.io import store
from bayesaffect.pipeline.fits import fingerprint
from bayesaffect.pipeline.settings import Settings
from bayesaffect.types import Opinions, Predictive, Target, Trials
from bayesaffect.uncertainty import evidential

FORMAT = 2
FOLDER = Path("opinions") / "baselines"
LEARNERS = {"linear": baselines.linear, "forest": baselines.forest}


def on_features(
    workspace: Path, settings: Settings, trials: Trials, groups: Sequence[Sequence[str]]
) -> dict[str, Predictive]:
    """Out-of-fold predictions of ``linear`` and ``forest``; nothing where no modality has features.

    Each is one file ``opinions/baselines/<name>-<key>.nc`` and is not made again from the same features, truth,
    groups, units, seed and version of scikit-learn.
    """
    if not baselines.table(trials).sizes["feature"]:
        return {}
    made_from, found = _key(settings, trials, groups), {}
    with progress.bar("baselines", len(LEARNERS)) as advance:
        for name, learn in LEARNERS.items():
            path = workspace / FOLDER / f"{name}-{made_from}.nc"
            if not path.is_file():
                store.save_predictive(learn(trials, groups, seed=settings.seed), path)
            found[name] = store.load_predictive(path)
            advance(1)
    return found


def single(opinions: Opinions, groups: Sequence[Sequence[str]]) -> dict[str, Predictive]:
    """Each modality's own opinions as predictions, on the trials where it has one.

    Opinions that came without variances get the one that the other groups teach; a modality that is in one group only
    is then left out.
    """
    alone = {}
    for modality in opinions.modalities:
        here = opinions.select(opinions.present.sel(modality=modality).values)
        units = set(here.unit.values.astype(str).tolist())
        if sum(not units.isdisjoint(group) for group in groups) >= (1 if opinions.variance_known else 2):
            alone[modality] = baselines.equal_weights(here.only([modality]), groups)
    return alone


def on_opinions(
    workspace: Path, settings: Settings, opinions: Opinions, groups: Sequence[Sequence[str]]
) -> dict[str, Predictive]:
    """Out-of-fold predictions of ``stimulus``, ``product`` and ``evidential``.

    ``stimulus`` is left out where no stimulus has a name, and for wristband recordings, whose stimuli are the tasks
    that are to be recognised. ``evidential`` is one file ``opinions/baselines/evidential-<key>.nc`` and is not made
    again from the same opinions, features, truth, groups, units, seed and version of torch.
    """
    found = {}
    if settings.format != "e4" and (opinions.present["stimulus"].values.astype(str) != "").any():
        found["stimulus"] = baselines.stimulus(opinions, groups)
    found["product"] = baselines.product(opinions, groups)
    made_from = key(FORMAT, fingerprint(opinions, embedded=True), _who(settings, opinions, groups), version("torch"))
    path = workspace / FOLDER / f"evidential-{made_from}.nc"
    if not path.is_file():
        with progress.bar("evidential fusion", len(opinions.targets) * len(groups)) as advance:
            store.save_predictive(by_evidence(opinions, groups, seed=settings.seed, advance=advance), path)
    return found | {"evidential": store.load_predictive(path)}


def by_evidence(
    opinions: Opinions, groups: Sequence[Sequence[str]], *, seed: int, advance=lambda count: None
) -> Predictive:
    """Evidential fusion (`uncertainty.evidential`) of what the hybrid model reads, learned on the other groups.

    A view is a modality's embedding; of one without, its opinion itself: log p_k - mean_j log p_j, or mean and log
    variance. Trials without any view are left out. ``advance(1)`` is called after every fit.
    """
    shown = [t for t in opinions.targets if t.name in (*opinions.mean, *opinions.log_prob)]
    stacked = {target.name: views(opinions, target) for target in shown}
    features = {name: values for name, (values, _) in stacked.items()}
    usable = np.all([np.isfinite(values).any(1) for values in features.values()], axis=0)
    parts = []
    for target in shown:
        chosen = {"views": stacked[target.name][1], "seed": seed}

        def counted(learn, *args, chosen=chosen):
            found = learn(*args, **chosen)
            advance(1)
            return found

        parts.append(
            out_of_fold(
                opinions,
                {target.name: features[target.name]},
                usable,
                groups,
                classify=functools.partial(counted, evidential.classify),
                regress=functools.partial(counted, evidential.regress),
            )
        )
    first = parts[0]
    return Predictive(
        opinions.targets,
        first.subject,
        {name: array for part in parts for name, array in part.mean.items()},
        {name: array for part in parts for name, array in part.variance.items()},
        {name: array for part in parts for name, array in part.log_prob.items()},
        first.trained_on,
    )


def views(opinions: Opinions, target: Target) -> tuple[np.ndarray, tuple[slice, ...]]:
    """What each modality shows of ``target``, side by side (trial, column), NaN where it is missing; its columns."""
    columns, slices, end = [], [], 0
    for k, modality in enumerate(opinions.modalities):
        here = opinions.present.values[:, k]
        if modality in opinions.embedding:
            values = opinions.embedding[modality].values.astype(float)
        elif target.kind == "continuous":
            values = opinions.mean[target.name].values[:, k, None]
            if opinions.variance_known:
                values = np.hstack(
                    [values, np.log(np.where(here, opinions.variance[target.name].values[:, k], 1))[:, None]]
                )
        else:
            logs = opinions.log_prob[target.name].values[:, k]
            values = logs - logs.mean(1, keepdims=True)
        columns.append(np.where(here[:, None], values, np.nan))
        slices.append(slice(end, end + values.shape[1]))
        end += values.shape[1]
    return np.hstack(columns), tuple(slices)


def _key(settings: Settings, trials: Trials, groups: Sequence[Sequence[str]]) -> str:
    table, digest = baselines.table(trials), hashlib.sha256()
    for values in (table.values, *(trials.truth[target.name].values for target in trials.targets)):
        digest.update(np.ascontiguousarray(values))
    index = [table[name].values.tolist() for name in ("trial", "feature")]
    subject = trials.subject.values.astype(str).tolist()
    targets = [(target.name, target.levels) for target in trials.targets]
    who = _who(settings, trials, groups)
    return key(FORMAT, digest.hexdigest(), index, subject, targets, who, sklearn.__version__)


def _who(settings: Settings, index: Opinions | Trials, groups: Sequence[Sequence[str]]) -> list:
    """Who is learned from, for a key: groups may be called alike and hold other trials (`Opinions.unit`)."""
    apart = [] if index.held_out_by == splits.SUBJECT else [index.held_out_by, index.unit.values.tolist()]
    return [sorted(sorted(group) for group in groups), settings.seed, *apart]
