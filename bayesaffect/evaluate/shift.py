"""A time shift: opinions that belong to a neighbouring trial."""

from __future__ import annotations

import numpy as np
from scipy import stats

from bayesaffect.evaluate.said import LAGS, Said

SHARED = 5


def shifted(said: Said, *, alpha: float) -> str:
    """Opinions that fit the truth of a neighbouring trial (2 before to 2 after) better than that of their own.

    Loss: squared error with both sides centred within the person, or Brier score. Per trial, the loss against the truth
    of trial i + lag minus that against the own, on trials with both. Its mean must be below 0 over people (Student's t
    over their means, Bonferroni over the four lags) and, where at least `SHARED` stimuli were seen by several people,
    over stimuli as well: to people who saw them in one order, a modality that errs alike on a stimulus looks shifted.
    Trials are taken in the order of the table.
    """
    found = {}
    shared = _shared(said)
    for lag in LAGS:
        each = np.full(said.truth.size, np.nan)
        for s in said.people:
            _lagged(said, said.subject == s, lag, each)
        people = _means(each, said.subject)
        units = [people, _means(each, said.stimulus)] if shared else [people]
        t = [_t(gap) for gap in units]
        if all(stats.t.cdf(value, gap.size - 1) < alpha / len(LAGS) for value, gap in zip(t, units, strict=True)):
            found[lag] = (t[0], np.mean(people < 0), people.size)
    if not found:
        return ""
    lag = min(found, key=lambda k: found[k][0])
    _, share, people = found[lag]
    trials = f"{abs(lag)} {'trial' if abs(lag) == 1 else 'trials'} {'later' if lag > 0 else 'earlier'}"
    return (
        f"{said.modality}, {said.target.name}: shifted in time, it fits the truth {trials} better than that of its own "
        f"trial ({100 * share:.0f} % of {people} people); check how its trials were matched."
    )


def _shared(said: Said) -> bool:
    names, seen = np.unique(said.stimulus, return_counts=True)
    return names.size >= SHARED and (names != "").all() and seen.mean() >= 2


def _means(each: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """Mean of what is known of each unit."""
    known = np.isfinite(each)
    names, which = np.unique(unit[known], return_inverse=True)
    return np.bincount(which, each[known], minlength=names.size) / np.bincount(which, minlength=names.size)


def _t(gap: np.ndarray) -> float:
    """Student's t of a mean of 0; 0 for fewer than three values, or values that are all alike."""
    if gap.size < 3 or np.std(gap) == 0:
        return 0.0
    return float(np.mean(gap) / (np.std(gap, ddof=1) / np.sqrt(gap.size)))


def _lagged(said: Said, rows: np.ndarray, lag: int, each: np.ndarray) -> None:
    """Write the loss against the truth ``lag`` trials on, minus that against the own truth, of one person's trials."""
    rows = rows & np.isfinite(said.near[lag])
    if rows.sum() < 4:
        return
    own, other = said.truth[rows], said.near[lag][rows]
    if said.mean is None:
        prob, row = said.prob[rows], np.arange(own.size)
        each[rows] = 2 * (prob[row, own] - prob[row, other.astype(int)])
        return
    x = said.mean[rows]
    near, far = (((x - x.mean()) - (y - y.mean())) ** 2 for y in (own, other))
    each[rows] = far - near
