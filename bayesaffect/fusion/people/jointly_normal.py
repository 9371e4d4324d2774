"""A new person's ratings predicted together, in closed form but for the reliability: a continuous target.

Given a draw of the population's parameters and rho, truths y (N,) and offsets u = F z, z ~ N(0, I), are Gaussian. With
b the subject's gains b_0m exp(theta rho_m) (theta = 0 where the fit has none), x_i = a + b_0 mu + b (y_i - mu) + u +
e_i; r_i = x_i - a - b_0 mu. Were y_i ~ N(mu, tau^2) independent, then with the opinions' precisions
A_i = (D_i R D_i)^-1 and g_i = A_i b

    y_i | u, x ~ N(mu + g_i'(r_i - u) / q_i, 1 / q_i),    q_i = tau^-2 + b'g_i,
    u | x ~ N(C h, C),    C = F (I + F'L F)^-1 F',
    L = sum_i A_i - g_i g_i'/q_i,    h = sum_i A_i r_i - g_i g_i'r_i / q_i.

What is believed of a set of trials is what is believed of its mean s = sum_i y_i / N alone, N(mu, V); the deviations
from it stay as they are. With N(m, v) the density of s above, and lambda = 1 / V - N / tau^2,

    s | x ~ N((m + lambda v mu) / (1 + lambda v), v / (1 + lambda v)),
    log p(x | V) = 1/2 log(tau^2 / (N V)) - 1/2 log(1 + lambda v) - lambda (m - mu)^2 / (2 (1 + lambda v)) + constant,

and (y, u) follow by their regression on s. Two readings of a set: whatever people rate, V = sd_delta^2 + tau^2 / N; or
a set like those of the fit, N of their n trials without replacement, V = eta^2 + tau^2 (1 / N - 1 / max(n, N)), with
eta^2 the variance between the means of the fit's subjects: who all rate the same stimuli differ less than chance.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from bayesaffect.fusion.people.effects_normal import gains
from bayesaffect.fusion.statistics import masked
from bayesaffect.types import Opinions

SWEEPS = 30
STEPS = 3
LEAST_SUBJECTS = 4


class Set(NamedTuple):
    """Opinions of one person, D draws of the population.

    ``x`` (N, M) and ``root`` = v^-1/2 (D or 1, N, M), 0 where missing; ``here`` (N, M); ``precision`` (D, P, M, M) the
    inverse correlations by missingness pattern, 0 where missing; ``pattern`` (N,); ``offsets`` (D, M, M) F.
    """

    x: np.ndarray
    root: np.ndarray
    here: np.ndarray
    precision: np.ndarray
    pattern: np.ndarray
    offsets: np.ndarray


class Gaussian(NamedTuple):
    """Moments given independent truths.

    ``mean`` and ``variance`` (D, N) of y, ``u`` (D, M) and ``root`` (D, M, M), root root' = C; ``pull`` (D, N, M) g_i /
    q_i, ``noise`` (D, N) 1 / q_i; ``of_y`` (D, N) and ``of_u`` (D, M) the regression on s, whose ``level`` and
    ``spread`` (D,) are m and v.
    """

    mean: np.ndarray
    variance: np.ndarray
    u: np.ndarray
    root: np.ndarray
    pull: np.ndarray
    noise: np.ndarray
    of_y: np.ndarray
    of_u: np.ndarray
    level: np.ndarray
    spread: np.ndarray


def variances(
    values: Mapping[str, np.ndarray], truth: np.ndarray, subject: np.ndarray, size: int, rng
) -> tuple[np.ndarray, np.ndarray]:
    """V (D,) of a set of ``size`` trials, whatever people rate and like the fit's sets (the module's equations).

    ``truth`` and ``subject`` (N,) are those of the fit's trials. eta^2 has the posterior that a flat prior on its
    logarithm gives it, and n is the harmonic mean of the subjects' trials: with independent truths eta^2 - tau^2 / n
    estimates sd_delta^2, and the readings agree. With fewer than 4 subjects there is one reading.
    """
    chance = values["tau"] ** 2 / size
    free = values["sd_delta"] ** 2 + chance
    _, who = np.unique(subject, return_inverse=True)
    count = np.bincount(who)
    if count.size < LEAST_SUBJECTS:
        return free, free
    mean = np.bincount(who, truth) / count
    between = ((mean - mean.mean()) ** 2).sum() / rng.chisquare(count.size - 1, free.shape)
    most = max(size, 1 / np.mean(1 / count))
    return free, np.maximum(between, 1e-9) + chance * (1 - size / most)


def prepared(values: Mapping[str, np.ndarray], opinions: Opinions, target: str, poor=None) -> Set:
    """The numbers of one person's ``opinions``; ``poor`` as in `moments.fused_moments`."""
    here = opinions.present.values
    sd = np.sqrt(np.where(here, opinions.variance[target].values, 1.0))
    root = np.where(here, 1 / sd, 0.0)[None]
    if poor is not None and "quality_discount" in values:
        root = root * (1 - values["quality_discount"][:, None] * np.where(here, poor, 0.0))
    patterns, pattern = np.unique(here, axis=0, return_inverse=True)
    d, m = values["b"].shape
    precision = np.zeros((d, len(patterns), m, m))
    for p, row in enumerate(patterns):
        at = np.flatnonzero(row)
        precision[:, p, at[:, None], at] = np.linalg.inv(values["correlation"][:, at[:, None], at])
    shared = values["offset_correlation"] if "offset_correlation" in values else np.broadcast_to(np.eye(m), (d, m, m))
    offsets = values["omega"][:, :, None] * np.linalg.cholesky(shared)
    return Set(masked(opinions.mean[target].values, here), root, here, precision, pattern.ravel(), offsets)


def independent(values: Mapping[str, np.ndarray], rho: np.ndarray, these: Set) -> Gaussian:
    """Moments of y and u given the opinions, were the truths independent; ``rho`` (D, M)."""
    w = these.root * np.exp(-values["log_kappa"] - rho)[:, None]
    mu, tau2 = values["mu"][:, None], (values["tau"] ** 2)[:, None]
    d, n, m = rho.shape[0], *these.x.shape
    b = gains(values, rho)[:, None]
    rest = w * (these.x - (values["a"] + values["b"] * mu)[:, None])
    told, said, total = np.empty((d, n, m)), np.empty((d, n, m)), np.zeros((d, m, m))
    for p in range(these.precision.shape[1]):
        at = these.pattern == p
        told[:, at] = (w[:, at] * b) @ these.precision[:, p]
        said[:, at] = rest[:, at] @ these.precision[:, p]
        total += these.precision[:, p] * (np.swapaxes(w[:, at], 1, 2) @ w[:, at])
    q = 1 / tau2 + (told * w * b).sum(-1)
    moved = (told * rest).sum(-1)
    g = w * told
    pull = g / q[..., None]
    f = these.offsets
    left = total - np.swapaxes(g, 1, 2) @ pull
    linear = (w * said - pull * moved[..., None]).sum(1)
    inner = np.eye(m) + np.swapaxes(f, 1, 2) @ left @ f
    root = f @ np.swapaxes(np.linalg.inv(np.linalg.cholesky(inner)), 1, 2)
    u = (root @ (np.swapaxes(root, 1, 2) @ linear[..., None]))[..., 0]
    mean = mu + moved / q - (pull @ u[..., None])[..., 0]
    spun = pull @ root
    along = spun.mean(1)
    with_s = 1 / (q * n) + (spun @ along[..., None])[..., 0]
    spread = with_s.mean(1)
    return Gaussian(
        mean=mean,
        variance=1 / q + (spun * spun).sum(-1),
        u=u,
        root=root,
        pull=pull,
        noise=1 / q,
        of_y=with_s / spread[:, None],
        of_u=-(root @ along[..., None])[..., 0] / spread[:, None],
        level=mean.mean(1),
        spread=spread,
    )


def of_mean(values: Mapping[str, np.ndarray], found: Gaussian, variance: np.ndarray):
    """Mean and variance of s and log p(x | V) up to a constant, all (D,), for V = ``variance`` (D,)."""
    base = values["tau"] ** 2 / found.mean.shape[1]
    change = 1 / variance - 1 / base
    size = 1 + change * found.spread
    gap = found.level - values["mu"]
    evidence = 0.5 * (np.log(base / variance) - np.log(size) - change * gap * gap / size)
    return values["mu"] + gap / size, found.spread / size, evidence


def moments(
    values: Mapping[str, np.ndarray],
    these: Set,
    spreads: tuple[np.ndarray, np.ndarray],
    balanced: float,
    rng: np.random.Generator,
    sweeps: int = SWEEPS,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance (D, N) of every truth of the person given all its opinions.

    rho, y, u and the reading of the set (``spreads`` from `variances`, the second with probability ``balanced``) are
    drawn in turn, ``sweeps`` times from rho of the population; what is returned has y and u integrated out. Draws of
    the population are not weighted: opinions of one person without truth say next to nothing of it.
    """
    d, m = values["b"].shape
    rho = values["sd_rho"] * rng.standard_normal((d, m))
    with np.errstate(divide="ignore"):
        odds = np.log(balanced) - np.log(1 - balanced)
    for sweep in range(sweeps + 1):
        found = independent(values, rho, these)
        (*free, one), (*like, two) = (of_mean(values, found, v) for v in spreads)
        second = rng.random(d) < 1 / (1 + np.exp(np.clip(one - two - odds, -700, 700)))
        level, spread = (np.where(second, b, a) for a, b in zip(free, like, strict=True))
        if sweep == sweeps:
            break
        z = rng.standard_normal((d, m))
        u = found.u + (found.root @ z[..., None])[..., 0]
        y = found.mean - (found.pull @ (u - found.u)[..., None])[..., 0]
        y = y + np.sqrt(found.noise) * rng.standard_normal(y.shape)
        move = level + np.sqrt(spread) * rng.standard_normal(d) - y.mean(1)
        rho = reliabilities(values, rho, these, y + found.of_y * move[:, None], u + found.of_u * move[:, None], rng)
    mean = found.mean + found.of_y * (level - found.level)[:, None]
    variance = found.variance + found.of_y**2 * (spread - found.spread)[:, None]
    return mean, np.maximum(variance, 1e-12)


def reliabilities(values, rho: np.ndarray, these: Set, y: np.ndarray, u: np.ndarray, rng) -> np.ndarray:
    """rho (D, M) after Metropolis steps given truths ``y`` (D, N) and offsets ``u`` (D, M).

    With e_i = x_i - a - b_0 mu - u - b (y_i - mu) in units of sqrt(v), b the gains at rho, and c_m = exp(-log kappa_m -
    rho_m), one rho_m after the other has

        log p = -n_m rho_m - 1/2 sum_mn c_m c_n sum_i (R_OO)^-1_mn e_im e_in - rho_m^2 / (2 sd_rho_m^2).
    """
    y = y - values["mu"][:, None]
    e = these.root * (these.x - (values["a"] + values["b"] * values["mu"][:, None] + u)[:, None])
    f = these.root * (values["b"][:, None] * y[..., None])
    d, m = rho.shape
    square, mixed, moved = np.zeros((3, d, m, m))
    for p in range(these.precision.shape[1]):
        at = these.pattern == p
        square += these.precision[:, p] * (np.swapaxes(e[:, at], 1, 2) @ e[:, at])
        mixed += these.precision[:, p] * (np.swapaxes(f[:, at], 1, 2) @ e[:, at])
        moved += these.precision[:, p] * (np.swapaxes(f[:, at], 1, 2) @ f[:, at])
    n, sd = these.here.sum(0), values["sd_rho"]
    theta = values["theta"] if "theta" in values else np.zeros(d)
    rho = rho.copy()
    scale = 2.4 / np.sqrt(2 * n + np.maximum(sd, 1e-9) ** -2)
    for _ in range(STEPS):
        for m in range(rho.shape[1]):
            c = np.exp(-values["log_kappa"] - rho)
            c[:, m] = 0
            h = np.exp(theta[:, None] * rho)
            # sum over the others n of c_n e_m (e_n - h_n f_n), and the same with f_m
            plain = (c * (square[:, m] - h * mixed[:, :, m])).sum(1)
            steep = (c * (mixed[:, m] - h * moved[:, m])).sum(1)
            old, new = rho[:, m], rho[:, m] + scale[:, m] * rng.standard_normal(d)

            def density(r, m=m, plain=plain, steep=steep):
                own, h = np.exp(-values["log_kappa"][:, m] - r), np.exp(theta * r)
                size = square[:, m, m] - 2 * h * mixed[:, m, m] + h * h * moved[:, m, m]
                fit = n[m] * r + 0.5 * own * own * size + own * (plain - h * steep)
                return -fit - 0.5 * (r / np.maximum(sd[:, m], 1e-9)) ** 2

            rho[:, m] = np.where(np.log(rng.random(rho.shape[0])) < density(new) - density(old), new, old)
    return rho
