"""What classical learners make of the hand-made features: a random forest and a penalised linear regression.

They see the features as one table, no series, no pictures. A network that does not reach them is not worth its cost.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import xarray as xr
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.model_selection import cross_val_predict

from bayesaffect.evaluate.baselines.folds import Groups, out_of_fold
from bayesaffect.evaluate.baselines.stacking import inner_folds, logistic, ridge
from bayesaffect.types import Predictive, Trials

TREES = 300
LEAF = 5
LIMIT = 5.0
PENALTIES = (1.0, 10.0, 100.0, 1000.0)


def table(trials: Trials) -> xr.DataArray:
    """Features of all modalities (trial, feature), z-scored within each subject; NaN where one could not be told.

    A modality's features are its measures, and where it has none, the ``features`` that networks read. For
    subject s and feature c, with mean m_sc and sd d_sc over all trials of s in which c is known,

        z_ic = clip((x_ic - m_sc) / d_sc, -5, 5),     z_ic = 0 where d_sc is 0

    No label is used, but all trials of a test subject at once, whatever the networks' inputs are standardised by.
    Columns are called ``<modality>.<feature>``; a modality without features has none.
    """
    columns, names = [], []
    for modality in trials.modalities:
        for block in (trials.measures.get(modality), trials.inputs[modality]):
            if block is not None and "features" in block:
                here = trials.present.sel(modality=modality).values[:, None]
                values = block["features"].transpose("trial", "feature").values.astype(float)
                columns.append(np.where(here & np.isfinite(values), values, np.nan))
                label = block["feature"].values if "feature" in block.coords else range(values.shape[1])
                names += [f"{modality}.{name}" for name in label]
                break
    values = np.hstack(columns) if columns else np.zeros((trials.subject.size, 0))
    subject = trials.subject.values.astype(str)
    for name in np.unique(subject):
        values[subject == name] = _standardised(values[subject == name])
    coords = {"trial": trials.present["trial"].values, "feature": names}
    return xr.DataArray(values, dims=("trial", "feature"), coords=coords)


def _standardised(x: np.ndarray) -> np.ndarray:
    known = np.isfinite(x)
    count = np.maximum(known.sum(0), 1)
    centred = x - np.where(known, x, 0).sum(0) / count
    deviation = np.sqrt(np.where(known, centred**2, 0).sum(0) / count)
    flat = deviation <= 1e-9 * np.max(np.where(known, np.abs(x), 0), axis=0, initial=1e-300)
    return np.clip(np.where(flat, 0 * centred, centred / np.where(flat, 1, deviation)), -LIMIT, LIMIT)


def forest(trials: Trials, groups: Groups, *, seed: int) -> Predictive:
    """Random forests of 300 trees on the `table` of features, fitted on the other groups (Breiman 2001).

    Leaves hold at least five trials, each split looks at the square root of the number of features.
    Classes: with p_k the mean over trees of the share of class k in the trial's leaf and B trees,
    (B p_k + 1) / (B + K), Laplace's rule on the trees' votes: no class is impossible, because no tree happened to
    vote for it. Ratings: the mean over trees; the variance is the mean squared error on three inner groups of held-out
    subjects (with fewer than three training subjects, the variance of their ratings). Not that of out-of-bag
    predictions: where windows overlap, a trial's twin is in the bag, and 90 % intervals then hold 69 %.
    What could not be told is the training median plus an indicator.
    """
    return _on_features(
        trials, groups, functools.partial(_forest_classes, seed=seed), functools.partial(_forest_ratings, seed=seed)
    )


def linear(trials: Trials, groups: Groups, *, seed: int) -> Predictive:
    """Logistic or ridge regressions on the `table` of features, fitted on the other groups.

    The penalty (1, 10, 100 or 1000) is chosen by log loss or squared error over three inner groups of subjects,
    dealt by ``seed``; residuals of ratings are Gaussian with the mean squared error of inner held-out subjects.
    What could not be told is the training median plus an indicator.
    """
    return _on_features(
        trials,
        groups,
        functools.partial(logistic, seed=seed, penalties=PENALTIES),
        functools.partial(ridge, seed=seed, penalties=PENALTIES),
    )


def _on_features(trials: Trials, groups: Groups, classify: Callable, regress: Callable) -> Predictive:
    x = table(trials).values

    def complete(learn):
        return lambda x, y, who, new, *rest: learn(*_known(x, y, who, new), *rest)

    return out_of_fold(
        trials,
        {target.name: x for target in trials.targets},
        np.isfinite(x).any(1),
        groups,
        classify=complete(classify),
        regress=complete(regress),
    )


def _known(x: np.ndarray, y: np.ndarray, who: np.ndarray, new: np.ndarray):
    """Training medians for what is missing, and an indicator for every pattern in which something is."""
    told = np.isfinite(x).any(0)
    x, new = x[:, told], new[:, told]
    gap, new_gap, median = np.isnan(x), np.isnan(new), np.nanmedian(x, axis=0)
    _, first = np.unique(gap, axis=1, return_index=True)
    first = first[gap[:, first].any(0)]
    filled = np.hstack([np.where(gap, median, x), gap[:, first]])
    return filled, y, who, np.hstack([np.where(new_gap, median, new), new_gap[:, first]])


def _forest_classes(x, y, who, new, levels: int, *, seed: int) -> np.ndarray:
    model = RandomForestClassifier(TREES, min_samples_leaf=LEAF, max_features="sqrt", random_state=seed, n_jobs=1)
    model.fit(x, y)
    votes = np.zeros((len(new), levels))
    votes[:, model.classes_] = model.predict_proba(new)
    return (TREES * votes + 1) / (TREES + levels)


def _forest_ratings(x, y, who, new, *, seed: int) -> tuple[np.ndarray, float]:
    def model(trees):
        return RandomForestRegressor(trees, min_samples_leaf=LEAF, max_features="sqrt", random_state=seed, n_jobs=1)

    mean = model(TREES).fit(x, y).predict(new)
    if splits := inner_folds(x, who, seed):
        return mean, max(float(np.mean((cross_val_predict(model(TREES // 3), x, y, cv=splits) - y) ** 2)), 1e-6)
    return mean, max(float(np.mean((y - y.mean()) ** 2)), 1e-6)
