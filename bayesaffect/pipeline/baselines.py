"""Baselines on hand-made features, kept in the workspace under a key of what they were made from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import sklearn

from bayesaffect import progress
from bayesaffect.evaluate import baselines
from bayesaffect.files import key
from bayesaffect.io import store
from bayesaffect.pipeline.settings import Settings
from bayesaffect.types import Predictive, Trials

FORMAT = 1
FOLDER = Path("opinions") / "baselines"
LEARNERS = {"linear": baselines.linear, "forest": baselines.forest}


def on_features(
    workspace: Path, settings: Settings, trials: Trials, groups: Sequence[Sequence[str]]
) -> dict[str, Predictive]:
    """Out-of-fold predictions of ``linear`` and ``forest``; nothing where no modality has features.

    Each is one file ``opinions/baselines/<name>-<key>.nc`` and is not made again from the same features, truth,
    groups, seed and version of scikit-learn.
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


def _key(settings: Settings, trials: Trials, groups: Sequence[Sequence[str]]) -> str:
    table, digest = baselines.table(trials), hashlib.sha256()
    for values in (table.values, *(trials.truth[target.name].values for target in trials.targets)):
        digest.update(np.ascontiguousarray(values))
    index = [table[name].values.tolist() for name in ("trial", "feature")]
    subject = trials.subject.values.astype(str).tolist()
    targets = [(target.name, target.levels) for target in trials.targets]
    who = sorted(sorted(group) for group in groups), settings.seed
    return key(FORMAT, digest.hexdigest(), index, subject, targets, who, sklearn.__version__)
