"""What the stimulus alone foretells: how other people rated the same clip, without any sensor on this one."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import gammaln

from bayesaffect.evaluate.baselines.folds import Groups, frequencies, out_of_fold
from bayesaffect.types import Opinions, Predictive, Trials

STRENGTH = (1.0, 1e4)
SMALLEST = 1e-6


def stimulus(index: Trials | Opinions, groups: Groups) -> Predictive:
    """Mean or class shares of each stimulus among the other groups, shrunk to the prior by empirical Bayes.

    Ratings: one-way random effects, y = m + a_j + e with variances t^2 of a and s^2 of e estimated by the analysis of
    variance (Searle, Casella and McCulloch 1992): s^2 = MS within, t^2 = max(0, (MS between - s^2) / n0),
    n0 = (N - sum_j n_j^2 / N) / (J - 1). Stimulus j, seen n_j times with mean y_j among J stimuli,

        mean = m + B_j (y_j - m),   B_j = n_j t^2 / (n_j t^2 + s^2),   variance = s^2 + t^2 (1 - B_j).

    Classes: Dirichlet-multinomial shares, p_jk = (n_jk + c q_k) / (n_j + c), q the prior of `prior_only` and c in
    [1, 10^4] where the marginal likelihood of the counts is largest (Good 1965).

    A stimulus that training has not shown, or that has no name, gets the prior of `prior_only`; so has every one where
    no stimulus was shown twice. Where a stimulus is a task and the task is the label, this knows the answer.
    """
    names = index.present["stimulus"].values.astype(str)
    _, code = np.unique(names, return_inverse=True)
    code = np.where(names == "", -1, code)[:, None]
    everybody = np.ones(code.size, dtype=bool)
    features = {target.name: code for target in index.targets}
    return out_of_fold(index, features, everybody, groups, classify=_shares, regress=_means)


def _means(x, y, who, new) -> tuple[np.ndarray, np.ndarray]:
    """Posterior mean of each new trial's stimulus, and the variance of a rating of it."""
    prior, spread = y.mean(), max(float(y.var(ddof=1)), SMALLEST)
    mean, variance = np.full(len(new), prior), np.full(len(new), spread)
    known, place, n = np.unique(x[x[:, 0] >= 0, 0], return_inverse=True, return_counts=True)
    y = y[x[:, 0] >= 0]
    if known.size < 2 or y.size == known.size:
        return mean, variance
    average = np.bincount(place, y) / n
    within = max(float(((y - average[place]) ** 2).sum() / (y.size - known.size)), SMALLEST)
    between = float((n * (average - y.mean()) ** 2).sum() / (known.size - 1))
    evenness = (y.size - (n**2).sum() / y.size) / (known.size - 1)
    signal = max(0.0, (between - within) / evenness)
    kept = n * signal / (n * signal + within)
    at = np.minimum(np.searchsorted(known, new[:, 0]), known.size - 1)
    seen = known[at] == new[:, 0]
    mean[seen] = (prior + kept * (average - prior))[at[seen]]
    variance[seen] = (within + signal * (1 - kept))[at[seen]]
    return mean, variance


def _shares(x, y, who, new, levels: int) -> np.ndarray:
    """Class shares of each new trial's stimulus."""
    prior = frequencies(y, levels)
    known, place = np.unique(x[:, 0], return_inverse=True)
    counts = np.zeros((known.size, levels))
    np.add.at(counts, (place, y), 1)
    counts[known < 0] = 0
    strength = concentration(counts, prior)
    at = np.minimum(np.searchsorted(known, new[:, 0]), known.size - 1)
    n = np.where((known[at] == new[:, 0])[:, None], counts[at], 0)
    return (n + strength * prior) / (n.sum(1, keepdims=True) + strength)


def concentration(counts: np.ndarray, prior: np.ndarray) -> float:
    """c of the Dirichlet-multinomial with mean ``prior`` under which ``counts`` (group, class) are most likely.

    log L(c) = sum_j [G(c) - G(n_j + c) + sum_k (G(n_jk + c q_k) - G(c q_k))], G = log Gamma; c within [1, 10^4].
    """

    def loss(log_c: float) -> float:
        c = np.exp(log_c)
        rows = gammaln(c) - gammaln(counts.sum(1) + c) + (gammaln(counts + c * prior) - gammaln(c * prior)).sum(1)
        return -float(rows.sum())

    if (counts.sum(1) < 2).all():
        return STRENGTH[1]
    return float(np.exp(minimize_scalar(loss, bounds=np.log(STRENGTH), method="bounded").x))
