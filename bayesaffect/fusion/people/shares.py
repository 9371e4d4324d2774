"""How a new subject's trials are spread over the classes, learned from opinions alone.

q = (q_1..q_K) are the shares of the classes among the n trials given. Of two readings, each with its prior,

    even:  q ~ Dirichlet(a pi0),      1 / (a + 1) = 1 / (a_fit + 1) + (N - n)^+ / (n (N - 1))
    any:   q ~ Dirichlet(1 / K, ..., 1 / K)

pi0 are the fit's shares, a_fit how alike its subjects' shares are (by the method of moments), N how many trials they
have: fewer trials are a random part of as many. Dirichlet(1 / K) says that a set which is not even lacks classes; a
flat prior would count sets that are nearly even for it. Up to a constant, the opinions say of q

    L(q) = log t(mean_m; f_m + sum_k q_k f_km, Omega_m + W_m / n_m) + log P(counts = n q | opinions) - log P0(n q)

(`habits` for the symbols). The first term asks whether the mean opinions are possible for a person with such shares.
The others ask whether the single opinions are on such classes (Saerens et al. 2002): P is the distribution of the
number of labels of each class by the pool's probabilities, given the habit c(q) that q leaves, with the subject's class
effects delta integrated out; P0 is the same without opinions, where every trial has the probabilities pi0. With A(x) =
sum_i logsumexp_k (eta_ik + x_k), lambda where A' = n q and delta where A' + delta / s^2 = n q, log P given a scale s is
by saddlepoint and Laplace approximations (Daniels 1954; Tierney and Kadane 1986)

    A(lambda) - lambda n q - log det(2 pi A''(lambda) + I) / 2 - A(delta) + delta n q - |delta|^2 / (2 s^2)
        - log det(I + s^2 A''(delta)) / 2,

up to log(K) / 2, with I added so that labels which are certain cost nothing. Some people are like nobody else: both
habits and delta have Student t densities with 4 degrees of freedom here, s = sd sqrt(4 / chi2), so that an odd person
is not taken for an odd set of trials.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import gammaln, logsumexp
from scipy.stats import chi2

from bayesaffect.fusion import habits
from bayesaffect.fusion.statistics import contrasts

PARTICLES = 250
STEPS = 30
MATCHED = 1e-3
LONGEST = 3.0
HALVINGS = 6
RIDGE = 1e-6
HEAVY = 4
QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)
LEAST = 1e-4
CHUNK = 500_000


def alike(truth: np.ndarray, subject: np.ndarray, classes: int) -> tuple[np.ndarray, float, float]:
    """pi0 (K,), each class counted once more than it occurred, a_fit and N of labelled trials; labels (n,)."""
    count = np.bincount(truth, minlength=classes) + 1.0
    even = count / count.sum()
    names, who = np.unique(subject, return_inverse=True)
    table = np.zeros((names.size, classes))
    np.add.at(table, (who.ravel(), truth), 1.0)
    n = table.sum(1)
    if names.size < 3:
        return even, float(n.mean()), float(n.mean())
    spread = (table / n[:, None]).var(0, ddof=1).sum() / (even * (1 - even)).sum()
    return even, float(np.clip(1 / max(spread, 1e-12) - 1, 0.1, 1e4)), float(np.median(n))


def concentration(alike_as: float, usual: float, n: int) -> float:
    """a of the module's equations for n trials of a subject."""
    part = max(usual - n, 0.0) / (n * max(usual - 1, 1.0))
    return max(1 / (1 / (alike_as + 1) + part) - 1, 1e-2)


def drawn(
    f: np.ndarray,
    here: np.ndarray,
    found: habits.Habits,
    even: np.ndarray,
    a: float,
    classify: Callable[[np.ndarray], np.ndarray],
    *,
    sd: float,
    balanced: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Draws of q (R, K) and their weights (R,), which sum to 1.

    ``f``, ``here`` as `habits` takes them; ``classify``: c (B, M, K - 1) -> log p (B, N, K); ``sd`` of delta;
    ``balanced`` the prior probability of the even reading. Its draws come from its prior, those of the other
    from half its prior, half Dirichlet(n q + 1 / K) around the fixed point q of the EM algorithm.
    """
    n, k = f.shape[0], even.size
    flat = np.full(k, 1 / k)
    centre = n * fixed_point(f, here, found, even, classify) + flat
    first = rng.dirichlet(a * even, PARTICLES)
    second = np.concatenate([rng.dirichlet(flat, PARTICLES // 2), rng.dirichlet(centre, PARTICLES // 2)])
    q = np.maximum(np.concatenate([first, second]), LEAST)
    q /= q.sum(1, keepdims=True)
    proposed = logsumexp([log_dirichlet(second, flat), log_dirichlet(second, centre)], axis=0) - np.log(2)
    with np.errstate(divide="ignore"):
        prior = np.repeat(np.log([balanced, 1 - balanced]), PARTICLES)
    prior[PARTICLES:] += log_dirichlet(second, flat) - proposed
    weight = prior + foreseen(q, f, here, found, even, classify, sd=sd)
    return q, np.exp(weight - logsumexp(weight))


def log_dirichlet(q: np.ndarray, a: np.ndarray) -> np.ndarray:
    """Log density (R,) of Dirichlet(a) at q (R, K)."""
    return gammaln(a.sum()) - gammaln(a).sum() + ((a - 1) * np.log(np.maximum(q, 1e-300))).sum(1)


def fixed_point(f: np.ndarray, here: np.ndarray, found: habits.Habits, even: np.ndarray, classify) -> np.ndarray:
    """q (K,) and c in turn: q the mean probability of the classes, c given those (a mode of L's second term)."""
    mean, q = np.zeros((1, *found.centre.shape)), even
    for _ in range(STEPS):
        joint = classify(mean)[0] + np.log(q) - np.log(even)
        share = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
        q = (share.sum(0) + 1 / even.size) / (f.shape[0] + 1.0)
        mean = habits.given_classes(f, here, share, found)[0][None]
    return q


def habit(q: np.ndarray, f: np.ndarray, here: np.ndarray, found: habits.Habits) -> tuple[np.ndarray, np.ndarray]:
    """c given shares q (R, K): mean (R, M, K - 1) and variance (M, K - 1, K - 1); linear in q."""
    base, spread = habits.given_classes(f, here, np.zeros((f.shape[0], q.shape[1])), found)
    step = [base - habits.given_classes(f, here, np.tile(e, (f.shape[0], 1)), found)[0] for e in np.eye(q.shape[1])]
    return base - np.einsum("rk,kmc->rmc", q, np.array(step)), spread


def foreseen(q, f, here, found: habits.Habits, even, classify, *, sd: float) -> np.ndarray:
    """L(q) (R,) of the module's equations for q (R, K)."""
    width = found.centre.shape[1]
    n = f.shape[0]
    total = -log_counts(np.log(even)[None, None], n * q, sd, repeats=n)
    for j in np.flatnonzero(here.any(0)):
        seen = here[:, j]
        scale = found.between[j] + found.residual[j] / seen.sum()
        rest = f[seen, j].mean(0) - found.centre[j] - q @ found.classes[:, j]
        square = ((rest @ np.linalg.inv(scale)) * rest).sum(1)
        total -= 0.5 * (HEAVY + width) * np.log1p(square / HEAVY)
    c = habit(q, f, here, found)[0]
    for rows in np.array_split(np.arange(q.shape[0]), max(1, q.shape[0] * f.shape[0] * even.size // CHUNK)):
        total[rows] += log_counts(classify(c[rows]), f.shape[0] * q[rows], sd)
    return total


def log_counts(eta: np.ndarray, count: np.ndarray, sd: float, repeats: int = 1) -> np.ndarray:
    """log P(counts | opinions) (R,) of the module's equations; ``eta`` (R or 1, N, K), each trial ``repeats`` times,
    ``count`` (R, K)."""
    tilt, level, curve = tilted(eta, count, 0.0, repeats)
    eye = np.eye(curve.shape[1])
    total = level - (tilt * count).sum(1) - 0.5 * np.linalg.slogdet(2 * np.pi * curve + eye)[1]
    parts = []
    for scale in sd * np.sqrt(HEAVY / chi2.ppf(QUANTILES, HEAVY)):
        delta, level, curve = tilted(eta, count, scale**-2, repeats)
        part = (delta * count).sum(1) - level - 0.5 * (delta**2).sum(1) / scale**2
        parts.append(part - 0.5 * np.linalg.slogdet(eye + scale**2 * curve)[1])
    return total + logsumexp(parts, axis=0) - np.log(len(parts))


def tilted(eta: np.ndarray, count: np.ndarray, precision: float, repeats: int = 1):
    """x (R, K) where A'(x) + precision x = count, A(x) (R,), and A''(x) (R, K - 1, K - 1) in contrasts."""
    basis = contrasts(count.shape[1])
    eye = np.eye(basis.shape[1])

    def value(x):
        joint = eta + (x @ basis.T)[:, None]
        top = joint.max(2, keepdims=True)
        size = np.exp(joint - top)
        norm = size.sum(2)
        level = repeats * (np.log(norm) + top[:, :, 0]).sum(1)
        return size / norm[:, :, None], level, level - (x @ basis.T * count).sum(1) + 0.5 * precision * (x * x).sum(1)

    def curvature(p):
        inside = p @ basis
        return repeats * ((p.sum(1)[:, None] * basis.T) @ basis - np.swapaxes(inside, 1, 2) @ inside)

    x = np.zeros((count.shape[0], basis.shape[1]))
    p, level, loss = value(x)
    for _ in range(STEPS):
        gradient = (repeats * p.sum(1) - count) @ basis + precision * x
        if np.abs(gradient).max() < MATCHED:
            break
        step = np.linalg.solve(curvature(p) + (precision + RIDGE) * eye, gradient[..., None])[..., 0]
        step *= np.minimum(1.0, LONGEST / np.maximum(np.abs(step).max(1), 1e-12))[:, None]
        p, level, new = value(x - step)
        for _ in range(HALVINGS):
            if not (worse := new > loss + 1e-9).any():
                break
            step[worse] /= 4
            p, level, new = value(x - step)
        x, loss = x - step, new
    return x @ basis.T, level, curvature(p)


def matched(eta: np.ndarray, q: np.ndarray) -> np.ndarray:
    """eta + lambda, so that the trials' mean probability of every class is its share q (D, K).

    Labels with known counts n q, independent otherwise, have these probabilities up to terms of order 1 / n: lambda
    tilts their joint distribution to the counts. ``eta`` (D, N, K) log-odds.
    """
    return eta + tilted(eta, eta.shape[1] * q, 0.0)[0][:, None]
