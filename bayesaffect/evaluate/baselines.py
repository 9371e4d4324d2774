"""Baselines that stand beside every fused model, from pooling without learning to stacking.

Each returns a `Predictive` with one draw on the trials that it can predict. ``groups`` are the held-out
groups of subjects, a sequence of collections of subject names: what is learned for the trials of one group
comes from the subjects of all other groups. Subjects in no group are neither predicted nor learned from.

``trained_on`` of a result marks the subjects whose truth the baseline was fitted to, together with those
the modalities' own opinions of that trial were trained on, where that is recorded. Where opinions are
not nested (an opinion on a training subject may stem from a network that saw the held-out one), stacking
inherits that weaker separation, as any second stage on plain out-of-fold predictions does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import xarray as xr
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GroupKFold, cross_val_predict

from bayesaffect.errors import InputError
from bayesaffect.types import Opinions, Predictive, Target, Trials

Groups = Sequence[Iterable[str]]
_PENALTIES = {"categorical": (0.01, 0.1, 1.0, 10.0), "continuous": (0.1, 1.0, 10.0, 100.0)}


def equal_weights(opinions: Opinions, groups: Groups | None = None) -> Predictive:
    """Every present modality counts the same.

    Classes: linear pool p_k = (1/M) sum_m p_mk (Stone 1961). Ratings: the mixture's moments, mean
    (1/M) sum_m x_m and variance (1/M) sum_m (v_m + (x_m - mean)^2). Where the opinions came without variances
    and ``groups`` are given, the variance is the mean squared error of that mean on the other groups.
    Trials without any present modality are left out.
    """
    here = opinions.present.values
    kept = here.any(1)
    weight = here[kept] / here[kept].sum(1, keepdims=True)
    mean, variance, log_prob = {}, {}, {}
    for name, x in opinions.mean.items():
        x, v = _filled(x, here)[kept], _filled(opinions.variance[name], here)[kept]
        mean[name] = (weight * x).sum(1)
        variance[name] = (weight * (v + (x - mean[name][:, None]) ** 2)).sum(1)
    for name, values in opinions.log_prob.items():
        prob = np.exp(np.where(here[..., None], values.values, 0))[kept]
        log_prob[name] = _normalised(np.log(np.maximum((weight[..., None] * prob).sum(1), 1e-12)))
    return _with_learned_variance(opinions, kept, mean, variance, log_prob, groups)


def product_of_experts(opinions: Opinions, groups: Groups | None = None) -> Predictive:
    """Present modalities as independent evidence, each with its own confidence (Hinton 2002; Genest & Zidek 1986).

    Classes: p_k proportional to prod_m p_mk. Ratings: precision weighting, 1/v = sum_m 1/v_m and
    mean = v sum_m x_m / v_m. ``groups`` as in `equal_weights`. Trials without any present modality are left out.
    """
    here = opinions.present.values
    kept = here.any(1)
    mean, variance, log_prob = {}, {}, {}
    for name, x in opinions.mean.items():
        precision = np.where(here, 1 / np.where(here, opinions.variance[name].values, 1), 0)[kept]
        variance[name] = 1 / precision.sum(1)
        mean[name] = variance[name] * (precision * _filled(x, here)[kept]).sum(1)
    for name, values in opinions.log_prob.items():
        log_prob[name] = _normalised(np.where(here[..., None], values.values, 0)[kept].sum(1))
    return _with_learned_variance(opinions, kept, mean, variance, log_prob, groups)


def prior_only(index: Trials | Opinions, groups: Groups) -> Predictive:
    """What can be said without looking: the other groups' class frequencies, or mean and variance of their ratings.

    Classes: (n_k + 1) / (n + K), Laplace's rule. Ratings: sample mean and variance (n - 1 in the
    denominator). A target without truth in some training set is left out.
    """
    subject = index.subject.values.astype(str)
    kept, parts = _folds(subject, groups)
    mean, variance, log_prob = {}, {}, {}
    for target in index.targets:
        truth = _truth(index, target)
        first, second = np.zeros(subject.size), np.zeros(subject.size)
        table = np.zeros((subject.size, len(target.levels or ())))
        for train, test in parts:
            seen = truth[train & np.isfinite(truth)]
            if seen.size < 2 or (target.kind == "continuous" and np.ptp(seen) == 0):
                break
            if target.kind == "continuous":
                first[test], second[test] = seen.mean(), seen.var(ddof=1)
            else:
                table[test] = _frequencies(seen, len(target.levels))
        else:
            if target.kind == "continuous":
                mean[target.name], variance[target.name] = first[kept], second[kept]
            else:
                log_prob[target.name] = np.log(table[kept])
    return _predictive(index, kept, mean, variance, log_prob, _trained_on(index, kept, parts))


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


def _regression(index, features: dict[str, np.ndarray], usable: np.ndarray, groups: Groups, seed: int) -> Predictive:
    """Logistic or ridge regression of every target on its features, fitted on the other groups."""
    subject = index.subject.values.astype(str)
    kept, parts = _folds(subject, groups)
    kept &= usable
    mean, variance, log_prob = {}, {}, {}
    for target in (t for t in index.targets if t.name in features):
        categorical = target.kind == "categorical"
        truth, table = _truth(index, target), np.zeros((subject.size, len(target.levels or ())))
        first, second = np.zeros(subject.size), np.zeros(subject.size)
        for train, test in parts:
            train, test = train & np.isfinite(truth) & usable, test & kept
            if train.sum() < 2:
                break
            if not test.any():
                continue
            x, y, who = features[target.name][train], truth[train], subject[train]
            new = features[target.name][test]
            if categorical:
                table[test] = _logistic(x, y.astype(int), who, new, len(target.levels), seed)
            else:
                first[test], second[test] = _ridge(x, y, who, new, seed)
        else:
            if categorical:
                log_prob[target.name] = _normalised(np.log(np.maximum(table[kept], 1e-12)))
            else:
                mean[target.name], variance[target.name] = first[kept], second[kept]
    return _predictive(index, kept, mean, variance, log_prob, _trained_on(index, kept, parts))


def _features(opinions: Opinions, target: Target) -> np.ndarray:
    here = opinions.present.values
    if target.kind == "continuous":
        return _filled(opinions.mean[target.name], here)
    logs = np.where(here[..., None], opinions.log_prob[target.name].values, 0)
    return (logs - logs.mean(-1, keepdims=True)).reshape(here.shape[0], -1)


def _logistic(x, y, who, new, levels: int, seed: int) -> np.ndarray:
    if np.unique(y).size < 2:
        return np.tile(_frequencies(y, levels), (len(new), 1))

    def model(penalty):
        return LogisticRegression(C=1 / penalty, max_iter=2000)

    def loss(penalty):
        total = 0.0
        for train, test in inner:
            total -= np.log(np.maximum(_spread_out(model(penalty).fit(x[train], y[train]), x[test], levels), 1e-12))[
                np.arange(test.size), y[test]
            ].sum()
        return total

    inner = [s for s in _inner(x, who, seed) if np.unique(y[s[0]]).size > 1]
    penalty = min(_PENALTIES["categorical"], key=loss) if inner else 1.0
    return _spread_out(model(penalty).fit(x, y), new, levels)


def _spread_out(model: LogisticRegression, x: np.ndarray, levels: int) -> np.ndarray:
    """Probabilities over all levels; a level without a training trial gets 1e-3."""
    out = np.full((len(x), levels), 1e-3)
    out[:, model.classes_] = model.predict_proba(x)
    return out / out.sum(1, keepdims=True)


def _ridge(x, y, who, new, seed: int) -> tuple[np.ndarray, float]:
    inner = _inner(x, who, seed)
    if not inner:
        model = Ridge(alpha=1.0).fit(x, y)
        return model.predict(new), max(float(np.mean((model.predict(x) - y) ** 2)), 1e-6)
    errors = {
        a: np.mean((cross_val_predict(Ridge(alpha=a), x, y, cv=inner) - y) ** 2) for a in _PENALTIES["continuous"]
    }
    penalty = min(errors, key=errors.get)
    return Ridge(alpha=penalty).fit(x, y).predict(new), max(float(errors[penalty]), 1e-6)


def _inner(x: np.ndarray, who: np.ndarray, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    if np.unique(who).size < 3:
        return []
    return list(GroupKFold(3, shuffle=True, random_state=seed).split(x, groups=who))


def _folds(subject: np.ndarray, groups: Groups) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
    """Trials of any group, and (train, test) masks per group."""
    groups = [{str(s) for s in group} for group in groups]
    if len(groups) < 2 or sum(map(len, groups)) != len(set().union(*groups)):
        raise InputError("groups of subjects must be two or more, without a common subject")
    tests = [np.isin(subject, sorted(group)) for group in groups]
    kept = np.any(tests, axis=0)
    return kept, [(kept & ~test, test) for test in tests]


def _truth(index: Trials | Opinions, target: Target) -> np.ndarray:
    """Truth as float, NaN missing, of either kind."""
    values = np.asarray(index.truth[target.name].values, dtype=float)
    return np.where(values < 0, np.nan, values) if target.kind == "categorical" else values


def _frequencies(label: np.ndarray, levels: int) -> np.ndarray:
    return (np.bincount(label.astype(int), minlength=levels) + 1) / (label.size + levels)


def _filled(array: xr.DataArray, here: np.ndarray) -> np.ndarray:
    return np.where(here, array.values, 0)


def _normalised(log_prob: np.ndarray) -> np.ndarray:
    return log_prob - logsumexp(log_prob, axis=-1, keepdims=True)


def _with_learned_variance(opinions, kept, mean, variance, log_prob, groups) -> Predictive:
    if opinions.variance_known or groups is None or not mean:
        return _predictive(opinions, kept, mean, variance, log_prob, _trained_on(opinions, kept, []))
    covered, parts = _folds(opinions.subject.values.astype(str), groups)
    inside = covered[kept]
    for name in list(mean):
        squared = (_truth(opinions, opinions.target(name))[kept] - mean[name]) ** 2
        for train, test in parts:
            seen = squared[train[kept] & np.isfinite(squared)]
            if not seen.size:
                raise InputError(f"no truth of {name!r} to learn a variance from", remedy="leave out groups")
            variance[name] = np.where(test[kept], max(seen.mean(), 1e-6), variance[name])
    cut = [{name: values[inside] for name, values in part.items()} for part in (mean, variance, log_prob)]
    kept = kept & covered
    return _predictive(opinions, kept, *cut, _trained_on(opinions, kept, parts))


def _trained_on(index, kept: np.ndarray, parts) -> xr.DataArray | None:
    before = index.trained_on if isinstance(index, Opinions) else None
    subject = index.subject.values.astype(str)
    if before is None and not parts:
        return None
    names = sorted({*subject[kept], *(before["trained_subject"].values.astype(str) if before is not None else ())})
    column = {name: k for k, name in enumerate(names)}
    seen = np.zeros((subject.size, len(names)), dtype=bool)
    if before is not None:
        old = (before.values & index.present.values[..., None]).any(1)
        seen[:, [column[str(s)] for s in before["trained_subject"].values]] = old
    for train, test in parts:
        learned = [column[s] for s in np.unique(subject[train]) if s in column]
        seen[np.ix_(test, learned)] = True
    coords = {"trial": index.present["trial"].values[kept], "trained_subject": names}
    return xr.DataArray(seen[kept], dims=("trial", "trained_subject"), coords=coords)


def _predictive(index, kept, mean, variance, log_prob, trained_on) -> Predictive:
    trial = index.present["trial"].values[kept]
    subject = xr.DataArray(index.subject.values[kept], dims="trial", coords={"trial": trial})
    subject = subject.assign_coords(subject=("trial", subject.values))

    def wrap(arrays, *extra):
        return {
            n: xr.DataArray(v[None], dims=("draw", "trial", *extra), coords={"trial": trial}) for n, v in arrays.items()
        }

    levels = {t.name: list(t.levels) for t in index.targets if t.levels}
    logs = {n: a.assign_coords(level=levels[n]) for n, a in wrap(log_prob, "level").items()}
    return Predictive(index.targets, subject, wrap(mean), wrap(variance), logs, trained_on)
