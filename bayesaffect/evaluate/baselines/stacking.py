"""Penalised regressions, fitted on the other groups: on all opinions, or on the place of a trial in its session."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GroupKFold, cross_val_predict

from bayesaffect.evaluate.baselines.folds import Groups, frequencies, out_of_fold
from bayesaffect.types import Opinions, Predictive, Target, Trials

PENALTIES = {"categorical": (0.01, 0.1, 1.0, 10.0), "continuous": (0.1, 1.0, 10.0, 100.0)}


def stacking(opinions: Opinions, groups: Groups, *, seed: int) -> Predictive:
    """A regression on all opinions, fitted on the other groups (Wolpert 1992; Breiman 1996).

    Classes: multinomial logistic regression on log p_mk - (1/K) sum_j log p_mj. Ratings: ridge regression
    on the means; its residuals are Gaussian with the mean squared error of inner held-out subjects. A
    missing modality is zeros plus an indicator. The penalty is chosen by log loss or squared error over
    three inner groups of subjects, dealt by ``seed`` (with fewer than three training subjects it is 1).
    A target without truth in some training set is left out.
    """
    here = opinions.present.values
    absent = (~here)[:, (~here).any(0)].astype(float)
    features = {
        t.name: np.hstack([_features(opinions, t), absent])
        for t in opinions.targets
        if t.name in (opinions.log_prob if t.kind == "categorical" else opinions.mean)
    }
    return _regression(opinions, features, here.any(1), groups, seed)


def order_only(index: Trials | Opinions, groups: Groups, *, seed: int) -> Predictive:
    """What the position of a trial in its subject's session alone would score, without any sensor.

    The regressions of `stacking` on (p, p^2, p^3), p the trial's place among its subject's trials, from -1 to 1.
    Where tasks come in a fixed order this can be a strong rival, and a sensor's score holds an unknown share
    of "what time is it".
    """
    subject = index.subject.values.astype(str)
    place = np.zeros(subject.size)
    for name in np.unique(subject):
        rows = np.flatnonzero(subject == name)
        place[rows] = np.linspace(-1, 1, rows.size) if rows.size > 1 else 0
    curve = np.stack([place, place**2, place**3], 1)
    everybody = np.ones(subject.size, dtype=bool)
    return _regression(index, {t.name: curve for t in index.targets}, everybody, groups, seed)


def _regression(index, features, usable, groups: Groups, seed: int) -> Predictive:
    return out_of_fold(
        index,
        features,
        usable,
        groups,
        classify=functools.partial(logistic, seed=seed),
        regress=functools.partial(ridge, seed=seed),
    )


def _features(opinions: Opinions, target: Target) -> np.ndarray:
    here = opinions.present.values
    if target.kind == "continuous":
        return np.where(here, opinions.mean[target.name].values, 0)
    logs = np.where(here[..., None], opinions.log_prob[target.name].values, 0)
    return (logs - logs.mean(-1, keepdims=True)).reshape(here.shape[0], -1)


def logistic(x, y, who, new, levels: int, *, seed: int, penalties: Sequence[float] = PENALTIES["categorical"]):
    """Probabilities (new trial, level) of a logistic regression whose penalty is chosen by inner log loss."""
    if np.unique(y).size < 2:
        return np.tile(frequencies(y, levels), (len(new), 1))

    def model(penalty):
        return LogisticRegression(C=1 / penalty, max_iter=2000)

    def loss(penalty):
        total = 0.0
        for train, test in inner:
            total -= np.log(np.maximum(_spread_out(model(penalty).fit(x[train], y[train]), x[test], levels), 1e-12))[
                np.arange(test.size), y[test]
            ].sum()
        return total

    inner = [s for s in inner_folds(x, who, seed) if np.unique(y[s[0]]).size > 1]
    penalty = min(penalties, key=loss) if inner else 1.0
    return _spread_out(model(penalty).fit(x, y), new, levels)


def _spread_out(model: LogisticRegression, x: np.ndarray, levels: int) -> np.ndarray:
    """Probabilities over all levels; a level without a training trial gets 1e-3."""
    out = np.full((len(x), levels), 1e-3)
    out[:, model.classes_] = model.predict_proba(x)
    return out / out.sum(1, keepdims=True)


def ridge(x, y, who, new, *, seed: int, penalties: Sequence[float] = PENALTIES["continuous"]):
    """Mean (new trial,) of a ridge regression and the squared error of inner held-out subjects."""
    inner = inner_folds(x, who, seed)
    if not inner:
        model = Ridge(alpha=1.0).fit(x, y)
        return model.predict(new), max(float(np.mean((model.predict(x) - y) ** 2)), 1e-6)
    errors = {a: np.mean((cross_val_predict(Ridge(alpha=a), x, y, cv=inner) - y) ** 2) for a in penalties}
    penalty = min(errors, key=errors.get)
    return Ridge(alpha=penalty).fit(x, y).predict(new), max(float(errors[penalty]), 1e-6)


def inner_folds(x: np.ndarray, who: np.ndarray, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(train, test) positions of three groups of subjects; none where there are fewer than three subjects."""
    if np.unique(who).size < 3:
        return []
    return list(GroupKFold(3, shuffle=True, random_state=seed).split(x, groups=who))
