"""Do modalities err together, and where does fusion help or hurt?"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats

from bayesaffect.evaluate.aligned import Aligned, align, take
from bayesaffect.evaluate.importance import LEVEL, each_nll
from bayesaffect.evaluate.summary import resample_counts
from bayesaffect.types import Predictive, Target

FAMILY = 0.1  # chance that any group is flagged when fusion changes nothing
FEWEST = 3


def pairs(
    singles: Mapping[str, Predictive],
    truth: xr.Dataset,
    targets: Sequence[Target],
    *,
    seed: int,
    resamples: int = 1000,
) -> pd.DataFrame:
    """Measures of every pair of modalities on the trials that both predict: target, a, b, measure, value, low, high,
    trials. Intervals (90 %) from a bootstrap over subjects.

    Classes, with n_ab shares of trials where the first is right (1) or wrong (0) and the second is (Kuncheva &
    Whitaker 2003): disagreement n10 + n01; double_fault n00 (Giacinto & Roli 2001); q = (n11 n00 - n01 n10) / (n11 n00
    + n01 n10) (Yule 1900); kappa = 2 (n11 n00 - n01 n10) / ((n11 + n10)(n10 + n00) + (n11 + n01)(n01 + n00));
    correlation = (n11 n00 - n01 n10) / sqrt((n11 + n10)(n01 + n00)(n11 + n01)(n10 + n00)).
    oracle_gap = n11 + n10 + n01 - max(n11 + n10, n11 + n01), the accuracy of somebody who knew each time whom to
    believe, minus the better one's; oracle_gap_independent, what it were if errors were independent of each other.

    Ratings, in rating units, from the errors e = mean - truth: correlation of e_a and e_b; oracle_gap, the smaller of
    the two RMSE minus the RMSE of min(|e_a|, |e_b|).
    """
    rows = []
    for target in targets:
        for a, b in itertools.combinations(singles, 2):
            both = paired(singles[a], singles[b], truth, target)
            if both is None:
                continue
            names, group = np.unique(both[0].subject, return_inverse=True)
            functions = _classes(*both, group) if target.kind == "categorical" else _ratings(*both, group, target)
            counts = resample_counts(names.size, resamples, seed)
            for measure, function in functions.items():
                rows.append((target.name, a, b, measure, *_interval(function, counts), both[0].truth.size))
    return pd.DataFrame(rows, columns=["target", "a", "b", "measure", "value", "low", "high", "trials"])


def paired(a: Predictive, b: Predictive, truth: xr.Dataset, target: Target) -> tuple[Aligned, Aligned] | None:
    """Both predictions on the trials of known truth that they share, in one order; ``None`` without any."""
    first, second = align(a, truth, target), align(b, truth, target)
    if first is None or second is None:
        return None
    common, left, right = np.intersect1d(first.trial, second.trial, return_indices=True)
    if not common.size:
        return None
    order = np.argsort(left, kind="stable")  # the order in which the first one has them
    return take(first, left[order]), take(second, right[order])


def _classes(a: Aligned, b: Aligned, group: np.ndarray) -> dict[str, Callable]:
    right = [d.prob.argmax(1) == d.truth for d in (a, b)]
    table = np.stack([right[0] & right[1], right[0] & ~right[1], ~right[0] & right[1], ~right[0] & ~right[1]], 1)
    sums = _sums(table.astype(float), group)

    def share(w):
        cells = w @ sums
        return (cells / cells.sum(1, keepdims=True)).T

    def both(w):
        n11, n10, n01, n00 = share(w)
        return n11 * n00 - n01 * n10, n11 * n00 + n01 * n10, (n11 + n10, n01 + n00), (n11 + n01, n10 + n00)

    def q(w):
        cross, total, _, _ = both(w)
        return _ratio(cross, total)

    def kappa(w):
        cross, _, (a1, a0), (b1, b0) = both(w)
        return _ratio(2 * cross, a1 * b0 + b1 * a0)

    def correlation(w):
        cross, _, (a1, a0), (b1, b0) = both(w)
        return _ratio(cross, np.sqrt(a1 * a0 * b1 * b0))

    def gap(w):
        _, n10, n01, _ = share(w)
        return np.minimum(n10, n01)

    def independent(w):
        n11, n10, n01, _ = share(w)
        a1, b1 = n11 + n10, n11 + n01
        return a1 + b1 - a1 * b1 - np.maximum(a1, b1)

    return {
        "disagreement": lambda w: share(w)[1] + share(w)[2],
        "double_fault": lambda w: share(w)[3],
        "q": q,
        "kappa": kappa,
        "correlation": correlation,
        "oracle_gap": gap,
        "oracle_gap_independent": independent,
    }


def _ratings(a: Aligned, b: Aligned, group: np.ndarray, target: Target) -> dict[str, Callable]:
    x, y = (target.half_range * (d.mean.mean(0) - d.truth) for d in (a, b))
    u, v, best = x - x.mean(), y - y.mean(), np.minimum(x**2, y**2)
    sums, n = _sums(np.stack([u, v, u * u, v * v, u * v, x * x, y * y, best], 1), group), np.bincount(group)

    def means(w):
        return (w @ sums / (w @ n)[:, None]).T

    def correlation(w):
        mu, mv, uu, vv, uv, *_ = means(w)
        return _ratio(uv - mu * mv, np.sqrt(np.maximum((uu - mu**2) * (vv - mv**2), 0)))

    def gap(w):
        *_, xx, yy, least = means(w)
        return np.sqrt(np.minimum(xx, yy)) - np.sqrt(least)

    return {"correlation": correlation, "oracle_gap": gap}


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    return np.divide(top, bottom, out=np.full(np.shape(top), np.nan), where=np.abs(bottom) > 1e-12)


def _sums(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    out = np.zeros((int(group.max()) + 1, *values.shape[1:]))
    np.add.at(out, group, values)
    return out


def _interval(function: Callable, counts: np.ndarray) -> tuple[float, float, float]:
    value = float(function(np.ones((1, counts.shape[1])))[0])
    drawn = function(counts)
    drawn = drawn[np.isfinite(drawn)]
    if counts.shape[1] < 2 or drawn.size < 2 or not np.isfinite(value):
        return value, np.nan, np.nan
    return value, *np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()


def helped(
    fused: Predictive,
    singles: Mapping[str, Predictive],
    truth: xr.Dataset,
    targets: Sequence[Target],
    *,
    stimulus: xr.DataArray,
    seed: int,
    resamples: int = 1000,
) -> pd.DataFrame:
    """Where fusion helps and where it hurts: NLL fused minus NLL of the best single modality, in nats per trial.

    Parameters
    ----------
    fused, singles : predictions; the best single one is that with the lowest mean NLL of the target on all its trials,
        among those with at least half as many as the one with most: a few easy trials do not make a rival.
    stimulus : (trial,) with coordinate trial.

    Returns
    -------
    target, by, group, value, low, high, trials, best, p, clear. Compared are trials that both predict. ``by`` is
    ``subject``, ``emotion`` (true class: of the target, or of the study's first categorical target where this one is
    a rating) or ``stimulus``; only groups of three trials and more. low, high: 90 % limits: for a subject by Student's
    t on its `effective_trials`, else from a bootstrap over subjects. p: two-sided, adjusted
    by Holm (1979) within a target and ``by``; clear: ``hurt`` or ``helped`` where p < 0.1, else empty. The best single
    modality is chosen on the trials it is compared on, which favours it.
    """
    rows, order = [], {str(t): k for k, t in enumerate(stimulus["trial"].values)}
    classes = next((t for t in targets if t.kind == "categorical"), None)
    for target in targets:
        best = _best(singles, truth, target)
        both = None if best is None else paired(fused, singles[best], truth, target)
        if both is None:
            continue
        data = both[0]
        difference = each_nll(data, target) - each_nll(both[1], target)
        clips = stimulus.values[[order[t] for t in data.trial]].astype(str)
        kinds = {"subject": data.subject, "emotion": _emotion(data, truth, target, classes), "stimulus": clips}
        for by, group in kinds.items():
            if group is None:
                continue
            found = []
            for name in np.unique(group[group != ""]).tolist():
                here = group == name
                if here.sum() < FEWEST:
                    continue
                x, who = difference[here], data.subject[here]
                found.append((name, *(_alone(x) if by == "subject" else _over(x, who, seed, resamples))))
            adjusted = holm(np.array([row[-1] for row in found]))
            for (name, value, low, high, count, _), p in zip(found, adjusted.tolist(), strict=True):
                clear = "" if not p < FAMILY else "hurt" if value > 0 else "helped"
                rows.append((target.name, by, name, value, low, high, count, best, p, clear))
    columns = ["target", "by", "group", "value", "low", "high", "trials", "best", "p", "clear"]
    return pd.DataFrame(rows, columns=columns)


def _best(singles, truth, target) -> str | None:
    found = {name: align(p, truth, target) for name, p in singles.items()}
    trials = {name: data.truth.size for name, data in found.items() if data is not None}
    means = {name: each_nll(found[name], target).mean() for name, n in trials.items() if 2 * n >= max(trials.values())}
    return min(means, key=means.get) if means else None


def _emotion(data: Aligned, truth: xr.Dataset, target: Target, classes: Target | None) -> np.ndarray | None:
    """The true class of each trial, empty where it is not known."""
    kind = target if target.kind == "categorical" else classes
    if kind is None:
        return None
    position = {str(t): k for k, t in enumerate(truth["trial"].values)}
    code = np.asarray(truth[kind.name].values)[[position[t] for t in data.trial]].astype(float)
    known = np.isfinite(code) & (code >= 0)
    return np.where(known, np.array([*kind.levels])[np.where(known, code, 0).astype(int)], "")


def _alone(x: np.ndarray) -> tuple[float, float, float, int, float]:
    """Mean of one subject's trials in their order, 90 % limits, trials, p."""
    count = effective_trials(x)
    freedom = max(count - 1, 1.0)
    value, error = float(x.mean()), float(x.std(ddof=1) / np.sqrt(count))
    reach = stats.t.ppf((1 + LEVEL) / 2, freedom) * error
    return value, value - reach, value + reach, x.size, _p(value, error, freedom)


def _over(x, subject, seed, resamples) -> tuple[float, float, float, int, float]:
    """Mean over trials, 90 % limits from a bootstrap over their subjects, trials, p from sums per subject."""
    names, group = np.unique(subject, return_inverse=True)
    sums, n = _sums(x, group), np.bincount(group)
    counts = resample_counts(names.size, resamples, seed)
    value, low, high = _interval(lambda w: (w @ sums) / (w @ n), counts)
    if names.size < 2:
        return value, low, high, x.size, np.nan
    residual = sums - value * n
    error = float(np.sqrt((residual**2).sum() * names.size / (names.size - 1)) / n.sum())
    return value, low, high, x.size, _p(value, error, names.size - 1)


def _p(value: float, error: float, freedom: float) -> float:
    """Two-sided p of a mean with its standard error; NaN where differences do not vary, which tells nothing."""
    return float(2 * stats.t.sf(abs(value) / error, freedom)) if error > 1e-9 * abs(value) else np.nan


def effective_trials(x: np.ndarray) -> float:
    """How many independent trials n neighbouring ones are worth: n (1 - r) / (1 + r) (Bartlett 1935).

    r is the lag-one autocorrelation of the deviations d from their mean, sum d_i d_(i+1) / sum d_i^2, corrected for its
    bias by (1 + 3 r) / n (Kendall 1954) and held within [0, 0.95].
    """
    d, n = x - x.mean(), x.size
    total = float(d @ d)
    r = float(d[1:] @ d[:-1]) / total if total > 0 else 0.0
    r = min(max(r + (1 + 3 * r) / n, 0.0), 0.95)
    return n * (1 - r) / (1 + r)


def holm(p: np.ndarray) -> np.ndarray:
    """p-values adjusted for their number: running maximum over the sorted ones of min(1, (n - k) p_(k)), k = 0, 1, ...
    (Holm 1979). NaN stays NaN and is not counted."""
    p = np.asarray(p, float)
    out = np.full(p.shape, np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    out[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(order.size, 0, -1)), 1)
    return out


def sentences(sheets: Mapping[str, pd.DataFrame]) -> tuple[str, ...]:
    """Per target: for whom fusion is clearly worse than the best single modality, and which pair complements most."""
    lines = []
    table = sheets.get("helped")
    if table is not None:
        for (target, best), rows in table.groupby(["target", "best"], sort=False):
            lines.append(_for_whom(str(target), str(best), rows))
    return tuple(line for line in lines if line)


def _for_whom(target: str, best: str, rows: pd.DataFrame) -> str:
    people, kinds = rows[rows["by"] == "subject"], rows[rows["by"] == "emotion"]
    if people.empty:
        return ""
    counts = people["clear"].value_counts()
    line = (
        f"{target.capitalize()}: against {best}, its best single modality, fusion has the lower NLL for "
        f"{(people['value'] < 0).sum()} of {len(people)} subjects (clearly so for {counts.get('helped', 0)}) and is "
        f"clearly worse for {counts.get('hurt', 0)}"
    )
    hurt = people[people["clear"] == "hurt"].sort_values("value", ascending=False)
    if len(hurt):
        named = ", ".join(f"{r.group} {_told(r)}" for r in hurt.head(3).itertuples())
        line += f" ({named}{', ...' if len(hurt) > 3 else ''} nats per trial)"
    for clear, verb in (("helped", "helps with"), ("hurt", "hurts with")):
        some = kinds[kinds["clear"] == clear].sort_values("value", key=abs, ascending=False)
        if len(some):
            line += f"; it {verb} " + ", ".join(f"{r.group} {_told(r)}" for r in some.head(3).itertuples())
    return line + "."


def _told(row) -> str:
    return f"{row.value:+.3f} [{row.low:+.3f}, {row.high:+.3f}]"
