"""Effects of one new subject given its opinions, and the truth of some trials: a continuous target, in closed form.

Given a draw of the population's parameters and the subject's rho, v = (u, delta) is Gaussian a priori, and so is

    a trial with truth:      x_i - a - b y_i  = u + e_i,                 e_i ~ N(0, D_i R D_i)
                             y_i - mu         = delta + tau z_i
    a trial without:         x_i - a - b mu   = u + b delta + e_i,       e_i ~ N(0, D_i R D_i + tau^2 b b')

so that v given the trials is Gaussian, and what is left is a weight for rho: the density of the trials, v integrated
out. Missing modalities are dropped rows.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bayesaffect.fusion.statistics import masked
from bayesaffect.types import Opinions

LOG_2PI = float(np.log(2 * np.pi))


def gains(values: Mapping[str, np.ndarray], rho: np.ndarray) -> np.ndarray:
    """b_m exp(theta rho_m) (D, ..., M) for ``rho`` (D, ..., M); theta is 0 where a fit has none (`settings.Model`)."""
    space = (slice(None),) + (None,) * (rho.ndim - 2)
    if "theta" not in values:
        return values["b"][space]
    return values["b"][space] * np.exp(values["theta"][space][..., None] * rho)


def conditional(
    values: Mapping[str, np.ndarray], rho: np.ndarray, opinions: Opinions, target: str, *, truth: np.ndarray, poor=None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean (D, M + 1) and precision (D, M + 1, M + 1) of v = (u, delta), and log density of the trials (D,).

    ``values``: draws of the population; ``rho`` (D, M); ``truth`` (N,), NaN where a trial has none; ``poor`` as in
    `moments.fused_moments`.
    """
    here = opinions.present.values
    x = masked(opinions.mean[target].values, here)
    sd = np.sqrt(np.where(here, opinions.variance[target].values, 1.0))
    d, m = rho.shape
    kappa = np.exp(values["log_kappa"] + rho)
    gain, mu = gains(values, rho), values["mu"][:, None]
    prior = np.concatenate([values["omega"], values["sd_delta"][:, None]], 1) ** -2.0
    precision = prior[:, :, None] * np.eye(m + 1)
    linear = np.zeros((d, m + 1))
    total = 0.5 * np.log(prior).sum(1)
    for i in range(x.shape[0]):
        seen, known = np.flatnonzero(here[i]), np.isfinite(truth[i])
        b = gain[:, seen]
        if known:
            precision[:, m, m] += values["tau"] ** -2.0
            gap = truth[i] - values["mu"]
            linear[:, m] += gap / values["tau"] ** 2
            total -= 0.5 * (gap**2 / values["tau"] ** 2 + 2 * np.log(values["tau"]) + LOG_2PI)
        if not seen.size:
            continue
        scale = kappa[:, seen] * sd[i, seen]
        if poor is not None and "quality_discount" in values:
            scale = scale / (1 - values["quality_discount"][:, seen] * poor[i, seen])
        sigma = values["correlation"][:, seen][:, :, seen] * scale[:, :, None] * scale[:, None, :]
        if not known:
            sigma = sigma + (values["tau"] ** 2)[:, None, None] * b[:, :, None] * b[:, None, :]
        rest = x[i, seen] - values["a"][:, seen] - values["b"][:, seen] * mu
        if known:
            rest = rest - b * (truth[i] - mu)
        reads = np.zeros((d, seen.size, m + 1))
        reads[:, np.arange(seen.size), seen] = 1.0
        if not known:
            reads[:, :, m] = b
        solved = np.linalg.solve(sigma, np.concatenate([reads, rest[..., None]], 2))
        precision += np.einsum("dsa,dsb->dab", reads, solved[..., :-1])
        linear += np.einsum("dsa,ds->da", reads, solved[..., -1])
        size = np.einsum("ds,ds->d", rest, solved[..., -1])
        total -= 0.5 * (size + np.linalg.slogdet(sigma)[1] + seen.size * LOG_2PI)
    mean = np.linalg.solve(precision, linear[..., None])[..., 0]
    total += 0.5 * (np.einsum("da,da->d", linear, mean) - np.linalg.slogdet(precision)[1])
    return mean, precision, total


def draw(mean: np.ndarray, precision: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draws (D, M + 1) of N(mean, precision^-1)."""
    lower = np.linalg.cholesky(precision)
    return mean + np.linalg.solve(np.swapaxes(lower, 1, 2), rng.standard_normal(mean.shape)[..., None])[..., 0]
