"""Conformal sets beside Bayesian ones: how large must a set be to hold the truth of a new person as often as promised?

Both use the same nested sets, so they differ in one number, the mass q that a set is filled to. A trial's score r in
[0, 1] is the smallest mass whose set holds the truth; it is uniform when the predictions are calibrated. Bayesian: q
is the promised level. Conformal: q is a finite-sample quantile of the scores of *other people* (nothing is presumed
about the model, only that people are drawn alike), or of the person's own other trials (Mondrian; Vovk et al. 2005).

Scores of other people are out-of-fold, of as many fits as there are folds (cross-conformal; Vovk 2015): the tested
person was in some of those fits, so the promise is nearly kept, and not exactly as with a calibration set of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from bayesaffect.evaluate import scores
from bayesaffect.evaluate.aligned import Aligned, align
from bayesaffect.evaluate.summary import resample_counts
from bayesaffect.types import Predictive, Target

ALL = "(all)"
COLUMNS = ["target", "method", "level", "subject", "coverage", "size", "trials", "low", "high"]
_DRAWS = 300


def quantile(score: np.ndarray, level: float, subject: np.ndarray | None = None) -> float:
    """Finite-sample quantile of calibration scores (n,): the threshold below which a new score lies with P >= level.

    Without ``subject``: the ceil((n + 1) level)-th smallest (Vovk et al. 2005), trials exchangeable. With it: people
    exchangeable, trials alike within a person; each of the K people has mass 1 / (K + 1), shared by their trials, and
    the new one 1 / (K + 1) at infinity (Lee, Barber & Willett 2023). Infinite when ``level`` > n / (n + 1), or
    K / (K + 1): so few people cannot carry that promise.
    """
    order = np.argsort(score, kind="stable")
    if subject is None:
        weight = np.full(score.size, 1 / (score.size + 1))
    else:
        names, group, count = np.unique(subject, return_inverse=True, return_counts=True)
        weight = (1 / (count * (names.size + 1)))[group]
    reached = np.searchsorted(weight[order].cumsum(), level - 1e-9)
    return float(score[order[reached]]) if reached < score.size else float("inf")


def class_scores(prob: np.ndarray, label: np.ndarray, u: np.ndarray, *, kind: str = "aps") -> np.ndarray:
    """Score (n,) of the true class. ``aps``: mass of the more probable classes + u times its own, u in [0, 1] (Romano
    et al. 2020); ``lac``: 1 - its probability (Sadinle et al. 2019). ``prob`` (n, k), ``label`` (n,), ``u`` (n,)."""
    own = prob[np.arange(label.size), label]
    return 1 - own if kind == "lac" else _before(prob)[np.arange(label.size), label] + u * own


def class_sets(prob: np.ndarray, q: np.ndarray | float, *, kind: str = "aps") -> np.ndarray:
    """Probability (n, k) that each class is in the set filled to mass ``q`` (n,): 0 or 1 but for the last class let in.

    ``aps``: classes from the most probable on, until q is reached; the last one is let in with the probability that
    makes the mass exactly q, clip((q - mass before) / p_k, 0, 1). ``lac``: the classes with 1 - p_k <= q. Sums over
    classes are sizes.
    """
    q = np.broadcast_to(q, len(prob))[:, None]
    if kind == "lac":
        return (1 - prob <= q + 1e-12).astype(float)
    inside = np.clip((np.minimum(q, 1) - _before(prob)) / np.maximum(prob, 1e-300), 0, 1)
    return np.where(q >= 1, 1.0, inside)


def _before(prob: np.ndarray) -> np.ndarray:
    """Mass of the classes more probable than each (n, k); ties in the order of the levels."""
    order = np.argsort(-prob, axis=1, kind="stable")
    ranked = np.take_along_axis(prob, order, 1)
    out = np.empty_like(prob)
    np.put_along_axis(out, order, ranked.cumsum(1) - ranked, 1)
    return out


def rating_scores(mean: np.ndarray, variance: np.ndarray, truth: np.ndarray, *, kind: str = "pit") -> np.ndarray:
    """Score (n,) of the true rating, from draws (draw, n). ``pit``: |2 F(y) - 1|, the mass of the central interval that
    just reaches the truth (after Chernozhukov et al. 2021); ``residual``: |y - mean| / sd (Lei et al. 2018)."""
    if kind == "pit":
        return np.abs(2 * scores.pit(mean, variance, truth) - 1)
    return np.abs(truth - mean.mean(0)) / np.sqrt(variance.mean(0) + mean.var(0))


def rating_intervals(
    mean: np.ndarray, variance: np.ndarray, q: np.ndarray | float, *, kind: str = "pit"
) -> tuple[np.ndarray, np.ndarray]:
    """Interval (low, high), each (n,), of threshold ``q``, cut to the scale [-1, 1]: all truths with a score <= q.

    ``pit``: quantiles (1 - q)/2 and (1 + q)/2 of the predictive distribution; ``residual``: mean -+ q sd.
    """
    q = np.broadcast_to(np.asarray(q, dtype=float), mean.shape[1:])
    if kind == "residual":
        centre, deviation = mean.mean(0), np.sqrt(variance.mean(0) + mean.var(0))
        return np.maximum(centre - q * deviation, -1), np.minimum(centre + q * deviation, 1)
    low, high = np.full(q.shape, -1.0), np.full(q.shape, 1.0)
    some = q < 1 - 1e-9
    if some.any():
        m, v, tail = mean[:, some], variance[:, some], (1 - q[some]) / 2
        low[some] = np.clip(scores.mixture_quantile(m, v, tail), -1, 1)
        high[some] = np.clip(scores.mixture_quantile(m, v, 1 - tail), -1, 1)
    return low, high


def thresholds(score: np.ndarray, subject: np.ndarray, level: float, *, enough: int) -> dict[str, np.ndarray]:
    """Threshold q of every trial (n,): ``conformal``, from all other people's scores (`quantile` with people as units),
    and ``own``, from the person's other trials, NaN for people with fewer than ``enough`` of them."""
    other, own = np.empty(score.size), np.full(score.size, np.nan)
    names, subject = np.unique(subject, return_inverse=True)
    for person in range(names.size):
        mine = subject == person
        other[mine] = quantile(score[~mine], level, subject[~mine])
        n = int(mine.sum())
        if n > enough:
            ranked, place = np.sort(score[mine]), np.argsort(np.argsort(score[mine], kind="stable"), kind="stable")
            k = int(np.ceil(n * level - 1e-9)) - 1  # k + 1 = ceil(((n - 1) + 1) level) among the n - 1 others
            reached = np.where(place <= k, k + 1, k)
            own[mine] = np.append(ranked, np.inf)[reached]
    return {"conformal": other, "own": own}


def conformal_table(
    predictive: Predictive,
    truth: xr.Dataset,
    targets: Sequence[Target],
    *,
    seed: int,
    levels: Sequence[float] = (0.5, 0.8, 0.9),
    enough: int = 20,
    resamples: int = 1000,
) -> pd.DataFrame:
    """Coverage and size of Bayesian and conformal sets, per subject and over all trials (subject ``(all)``).

    Methods: ``bayes`` (sets filled to the promised mass), ``conformal`` (to the mass that other people's trials call
    for), ``own`` (to what the person's own other trials call for; people with more than ``enough`` trials only).
    ``size``: expected number of classes, or mean width in rating units, cut to the scale. Predictions must be of people
    held out; the folds that predict the others have seen the person, as cross-conformal prediction has it (Vovk 2015).

    Columns target, method, level, subject, coverage, size, trials, low, high; the last two: 90 % interval of the
    coverage over all, subjects resampled, NaN elsewhere. Targets with fewer than two people have no rows.
    """
    rows = []
    for target in targets:
        data = align(predictive, truth, target)
        if data is None or np.unique(data.subject).size < 2:
            continue
        data = _thinned(data)
        if target.kind == "categorical":
            score = class_scores(data.prob, data.truth, np.random.default_rng(seed).random(data.truth.size))
        else:
            score = rating_scores(data.mean, data.variance, data.truth)
        for level in levels:
            found = {"bayes": np.full(score.size, level), **thresholds(score, data.subject, level, enough=enough)}
            for method, q in found.items():
                if (kept := np.isfinite(q) | np.isposinf(q)).any():
                    inside, size = _filled(data, target, score, np.where(kept, q, 1.0))
                    rows += _rows((target.name, method, level), data.subject, inside, size, kept, (seed, resamples))
    return pd.DataFrame(rows, columns=COLUMNS)


def _thinned(data: Aligned) -> Aligned:
    if data.mean is None or len(data.mean) <= _DRAWS:
        return data
    few = np.linspace(0, len(data.mean) - 1, _DRAWS).astype(int)
    return Aligned(data.trial, data.subject, data.truth, data.mean[few], data.variance[few])


def _filled(data: Aligned, target: Target, score: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether the set filled to q holds the truth (expected, for the class let in by chance), and its size."""
    if target.kind == "categorical":
        sets = class_sets(data.prob, q)
        return sets[np.arange(q.size), data.truth], sets.sum(1)
    low, high = rating_intervals(data.mean, data.variance, q)
    return (score <= q + 1e-12).astype(float), target.half_range * (high - low)


def _rows(name, subject, inside, size, kept, draw) -> list[tuple]:
    names, group = np.unique(subject[kept], return_inverse=True)
    n = np.bincount(group)
    hits, total = np.bincount(group, inside[kept]), np.bincount(group, size[kept])
    low = high = float("nan")
    if names.size > 1:
        weight = resample_counts(names.size, draw[1], draw[0])
        low, high = np.quantile((weight @ hits) / (weight @ n), [0.05, 0.95])
    each = zip(names.tolist(), hits / n, total / n, n, strict=True)
    rows = [(*name, s, float(c), float(z), int(k), float("nan"), float("nan")) for s, c, z, k in each]
    whole = (*name, ALL, float(hits.sum() / n.sum()), float(total.sum() / n.sum()), int(n.sum()))
    return [*rows, (*whole, float(low), float(high))]


def carried(sheet: pd.DataFrame) -> float:
    """The highest level of `conformal_table` with K (1 - level) >= 2, else the lowest: K people can carry no more.

    A conformal promise to the next of K people leaves out K (1 - level) people's worth of scores; with less than two,
    sets must hold nearly everything ever seen.
    """
    people, levels = sheet.loc[sheet["subject"] != ALL, "subject"].nunique(), sorted(sheet["level"].unique())
    return max((c for c in levels if people * (1 - c) >= 2 - 1e-9), default=levels[0])


def disagreements(
    sheet: pd.DataFrame,
    *,
    level: float | None = None,
    seed: int = 0,
    resamples: int = 1000,
    unseen: str = "new people",
) -> tuple[str, ...]:
    """A sentence per target on whether conformal and Bayesian sets agree, from `conformal_table`.

    ``level`` defaults to `carried`; ``unseen`` says in words what the predictions were held out from.

    They disagree where the 90 % interval of the difference in coverage (subjects resampled, paired) excludes 0 and the
    difference exceeds two points (upwards: beyond the level / K that K people, no more, add), or where sizes differ by
    more than 20 %. With K (1 - level) < 2 a conformal set must hold nearly every score seen, and agreement is not
    judged.
    """
    if sheet.empty:
        return ()
    level, lines = carried(sheet) if level is None else level, []
    rows = sheet[((sheet["level"] - level).abs() < 1e-9) & (sheet["subject"] != ALL)]
    for target, part in rows.groupby("target", sort=False):
        table = part.pivot(index="subject", columns="method", values=["coverage", "size", "trials"])
        n = table["trials", "bayes"].to_numpy(float)
        held, wider = table["coverage"].to_numpy(float), table["size"]
        held = dict(zip(table["coverage"].columns, held.T, strict=True))
        draws = resample_counts(n.size, resamples, seed) * n
        draws /= draws.sum(1, keepdims=True)
        gap = held["conformal"] - held["bayes"]
        low, high = np.quantile(draws @ gap, [0.05, 0.95])
        ratio = float(n @ wider["conformal"].to_numpy(float) / (n @ wider["bayes"].to_numpy(float)))
        bayes, other = (float(n @ held[m] / n.sum()) for m in ("bayes", "conformal"))
        told = (
            f"asked for {100 * level:.0f} %, Bayesian sets hold the truth in {100 * bayes:.1f} % of trials, sets "
            f"calibrated on other people (conformal) in {100 * other:.1f} %, and the latter are "
            f"{100 * abs(ratio - 1):.0f} % {'larger' if ratio >= 1 else 'smaller'}"
        )
        if n.size * (1 - level) < 2 - 1e-9:
            told += f"; {n.size} people are too few to judge, as a promise for the next one must hold the worst seen"
            verdict = "cannot be compared"
        elif (
            (low > 0 and other - bayes > 0.02 + level / n.size)
            or (high < 0 and bayes - other > 0.02)
            or not 1 / 1.2 <= ratio <= 1.2
        ):
            verdict = "disagree"
            short, ample = np.quantile(draws @ held["bayes"], [0.95, 0.05]) - level
            if short < 0:
                told += f"; the model is too sure of itself for {unseen}: trust the conformal sets"
            elif ample > 0:
                told += "; the model is less sure than it could be"
            else:
                told += "; nothing shows that Bayesian sets break their promise, so it is the price of a weaker premise"
        else:
            verdict = "agree"
        lines.append(f"{str(target).capitalize()}: conformal and Bayesian sets {verdict}: {told}.")
    return tuple(lines)
