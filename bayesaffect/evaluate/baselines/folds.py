"""Who learns from whom: every group of subjects (or of what else is held out) is predicted by what others taught."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import xarray as xr
from scipy.special import logsumexp

from bayesaffect.errors import InputError
from bayesaffect.types import Opinions, Predictive, Target, Trials
from bayesaffect.types.unit import forbidden

Groups = Sequence[Iterable[str]]


def out_of_fold(
    index: Trials | Opinions,
    features: Mapping[str, np.ndarray],
    usable: np.ndarray,
    groups: Groups,
    *,
    classify: Callable[..., np.ndarray],
    regress: Callable[..., tuple[np.ndarray, float]],
) -> Predictive:
    """Predict every target of every group from its features, by what the other groups taught.

    Parameters
    ----------
    features : target -> (trial, feature); targets without an entry are left out, and so are those without two
        trials of known truth in some training set.
    usable : bool (trial,); the others are neither learned from nor predicted.
    classify : (x, label, subject, new x, number of levels) -> probabilities (new trial, level).
    regress : (x, rating, subject, new x) -> mean (new trial,) and variance (one, or one per trial).
    """
    subject = index.subject.values.astype(str)
    kept, parts = folds(index, groups)
    kept = kept & usable
    mean, variance, log_prob = {}, {}, {}
    for target in (t for t in index.targets if t.name in features):
        categorical = target.kind == "categorical"
        truth, table = truth_of(index, target), np.zeros((subject.size, len(target.levels or ())))
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
                table[test] = classify(x, y.astype(int), who, new, len(target.levels))
            else:
                first[test], second[test] = regress(x, y, who, new)
        else:
            if categorical:
                log_prob[target.name] = normalised(np.log(np.maximum(table[kept], 1e-12)))
            else:
                mean[target.name], variance[target.name] = first[kept], second[kept]
    return predictive(index, kept, mean, variance, log_prob, trained_on(index, kept, parts))


def folds(index: Trials | Opinions, groups: Groups) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
    """Trials that are predicted, and (train, test) masks per group of subjects, or of what ``index`` is held out by.

    Learned from are the trials of all other groups; where parts of sessions are held out, those of earlier parts. A
    group from whose others nothing may be learned, as the first part of all sessions, is not predicted.

    Raises
    ------
    InputError : with fewer than two groups, or groups that share a subject.
    """
    groups = [{str(s) for s in group} for group in groups]
    if len(groups) < 2 or sum(map(len, groups)) != len(set().union(*groups)):
        raise InputError("groups of subjects must be two or more, without a common subject")
    names, which = np.unique(index.unit.values.astype(str), return_inverse=True)
    tests = [np.isin(names, sorted(group))[which] for group in groups]
    inside = np.any(tests, axis=0)
    parts = []
    for group, test in zip(groups, tests, strict=True):
        away = forbidden(index.held_out_by, np.array(sorted(group), dtype=str), names).any(0)[which]
        if (inside & ~away).any():
            parts.append((inside & ~away, test))
    if not parts:
        raise InputError("no trial of any other group may be learned from", remedy="name groups of what is held out")
    return np.any([test for _, test in parts], axis=0), parts


def truth_of(index: Trials | Opinions, target: Target) -> np.ndarray:
    """Truth as float, NaN missing, of either kind."""
    values = np.asarray(index.truth[target.name].values, dtype=float)
    return np.where(values < 0, np.nan, values) if target.kind == "categorical" else values


def frequencies(label: np.ndarray, levels: int) -> np.ndarray:
    """Laplace's rule, (n_k + 1) / (n + K)."""
    return (np.bincount(label.astype(int), minlength=levels) + 1) / (label.size + levels)


def normalised(log_prob: np.ndarray) -> np.ndarray:
    """Log-probabilities that sum to one over the last axis."""
    return log_prob - logsumexp(log_prob, axis=-1, keepdims=True)


def trained_on(index, kept: np.ndarray, parts) -> xr.DataArray | None:
    """Whose truth has been seen (trial, trained_subject): the training subjects of ``parts``, and the opinions' own.

    Where trials are held out by something else, that stands for the subjects.
    """
    before, dim = index.trained_on if isinstance(index, Opinions) else None, f"trained_{index.held_out_by}"
    unit = index.unit.values.astype(str)
    if before is None and not parts:
        return None
    names = sorted({*unit, *(before[dim].values.astype(str) if before is not None else ())})
    column = {name: k for k, name in enumerate(names)}
    seen = np.zeros((unit.size, len(names)), dtype=bool)
    if before is not None:
        old = (before.values & index.present.values[..., None]).any(1)
        seen[:, [column[str(s)] for s in before[dim].values]] = old
    for train, test in parts:
        seen[np.ix_(test, [column[s] for s in np.unique(unit[train])])] = True
    coords = {"trial": index.present["trial"].values[kept], dim: names}
    return xr.DataArray(seen[kept], dims=("trial", dim), coords=coords)


def predictive(index, kept, mean, variance, log_prob, trained_on) -> Predictive:
    """Plain arrays over the kept trials as a `Predictive` with one draw."""
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
