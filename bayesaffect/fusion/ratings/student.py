"""Late fusion of a continuous target with Student-t errors: trials that do not fit count less.

The model of `continuous` with

    e_i | l_i ~ N(0, D_i R D_i / l_i),     l_i ~ Gamma(nu / 2, nu / 2),     nu ~ Gamma(shape, rate)

so that the errors of a trial are multivariate t with nu degrees of freedom (Lange, Little and Taylor 1989). The
weight l_i belongs to the trial, all its opinions share it: l_i is integrated out, and a missing modality is too, since
a marginal of a t is a t with the same nu. u_s is sampled, delta_s integrated out.

Reading it backwards, the truth given opinions is a mixture over l of the normals that `moments` has given l:
`mixture` puts it on a grid of l, `draw` draws l from it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from scipy.special import gammaln, logsumexp
from torch import Tensor

from bayesaffect.fusion.ratings import continuous, padded
from bayesaffect.fusion.ratings.moments import fused_moments
from bayesaffect.fusion.settings import Model, Priors
from bayesaffect.fusion.statistics import Index
from bayesaffect.fusion.statistics import continuous as sums
from bayesaffect.types import Opinions

NODES = 24
FARTHEST = 20.0
CHUNK = 2_000_000


def data(
    opinions: Opinions, target: str, where: Index, priors: Priors, model: Model, poor: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Everything the density reads, as arrays: padded trials, prior scales and centring."""
    base = continuous.data(sums(opinions, target, where, poor), priors, opinions.variance_known, model)
    base = {
        name: value for name, value in base.items() if name not in ("sums", "shift_x", "poor_nodes", "poor_weights")
    }
    return {
        **base,
        **padded.trials(opinions, target, where, poor),
        "centring_u": padded.guess(base["n_opinion"]),
        "prior_degrees": np.array(priors.degrees, dtype=float),
    }


recentred = padded.recentred


def model(data: Mapping[str, Tensor]) -> None:
    """The Pyro model of the module's equations; ``data`` as made by `data`."""
    values = continuous.population(data)
    prior = data["prior_degrees"]
    values["nu"] = pyro.sample("nu", dist.Gamma(prior[0], prior[1]))
    values |= padded.sample_offsets(values, data)
    pyro.factor("truth", continuous.truth_term(values, data).sum())
    pyro.factor("opinions", opinions_term(values, data))


def opinions_term(values: Mapping[str, Tensor], data: Mapping[str, Tensor]) -> Tensor:
    """log p(x | y, u) of all trials (a scalar), with q_i = e' (D R D)^-1 e and m_i opinions on trial i the sum of

    log G((nu + m_i) / 2) - log G(nu / 2) - [ m_i log(nu pi) + log det(D R D)_i + (nu + m_i) log(1 + q_i / nu) ] / 2.
    """
    nu = values["nu"]
    inverse, log_scale = padded.roots(values, data)
    precision, log_det = padded.precisions(values, data)
    e = (data["x"] - padded.offsets(values, data)[:, None] - values["b"] * data["y"][:, :, None]) * inverse
    q = padded.product(e, e, precision, data)
    size = data["observed"].sum(1)
    half = 0.5 * (nu + size)
    constant = torch.lgamma(half) - torch.lgamma(0.5 * nu) - 0.5 * (size * torch.log(nu * torch.pi) + log_det)
    each = (data["pattern"] * half).sum(-1) * torch.log1p(q / nu)
    return (data["n_pattern"] * constant).sum() - log_scale - 0.5 * data["log_variance"].sum() - each.sum()


def effects(values: Mapping[str, Tensor], data: Mapping[str, Tensor], noise: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One draw's quantities that people read; delta from its conditional posterior given the truths."""
    values = continuous.completed(values, data)
    return {
        **continuous.readable(values, data),
        "nu": values["nu"],
        "u": padded.offsets(values, data) - values["a"],
        "delta": continuous.level(values, data, noise["delta"]),
    }


DIMS = continuous.DIMS


def grid(nu: np.ndarray, m: int) -> tuple[np.ndarray, np.ndarray]:
    """Values of l (D, Q) and log of prior density times step in log l, for errors within 20 sds; nu (D,).

    l given a trial is Gamma((nu + m) / 2, (nu + q) / 2): the grid in log l runs from five sds below where that lies at
    q = 400 and m = 1 to 3.5 sds above 1 (and log(1 + m / nu) more). The trapezoid rule on the line converges fast: the
    density of an error is off by less than 0.4 % for nu >= 1.5, by less than 0.1 % for nu >= 4.
    """
    low = np.log((nu + 1) / (nu + FARTHEST**2)) - 5 * np.sqrt(2 / (nu + 1))
    high = 3.5 * np.sqrt(2 / nu) + np.log1p(m / nu)
    log_l = low[:, None] + (high - low)[:, None] * np.linspace(0, 1, NODES)
    half = 0.5 * nu[:, None]
    log_prior = half * np.log(half) - gammaln(half) + half * (log_l - np.exp(log_l))
    return np.exp(log_l), log_prior + np.log((high - low)[:, None] / (NODES - 1))


def mixture(
    values, where: np.ndarray, new: np.ndarray, opinions: Opinions, target: str, poor: np.ndarray | None = None
):
    """The truth given the opinions as a mixture over l: log weights, means and variances, (Q, draw, trial) each.

    Arguments as of `moments.fused_moments`; weight = prior of l times p(x | l), normalised over Q.
    """
    node, log_prior = grid(values["nu"], len(opinions.modalities))
    arguments = where, new, opinions, target, poor
    if new.any():
        parts = [_given(values, node[:, q], *arguments) for q in range(NODES)]
        mean, variance, evidence = (np.stack(p) for p in zip(*parts, strict=True))
    else:
        mean, variance, evidence = _scaled(values, node.T[:, :, None], *arguments)
    weight = evidence + log_prior.T[:, :, None]
    return weight - logsumexp(weight, axis=0), mean, variance


def _given(values, weight: np.ndarray, where, new, opinions: Opinions, target: str, poor):
    """Mean, variance and log p(x) (draw, trial) at weights (draw,) of the trials."""
    scaled = {**values, "log_kappa": values["log_kappa"] - 0.5 * np.log(weight)[:, None]}
    return fused_moments(scaled, where, new, opinions, target, poor, evidence=True)


def _scaled(values, node: np.ndarray, where, new, opinions: Opinions, target: str, poor):
    """The same at every node (Q, draw, 1) for known subjects, where Sigma = D R D / l is known from any l.

    With A = b' Sigma^-1 b, B = b' Sigma^-1 e and C = e' Sigma^-1 e at l = 1: variance = v0 / (1 + v0 l A), mean = m0 +
    variance l B, and -2 log p(x) = log det Sigma - M log l + l C - variance (l B)^2 + log(1 + v0 l A).
    """
    v0 = values["tau"][:, None] ** 2
    m0 = values["mu"][:, None] + values["delta"][:, where]
    size = opinions.present.values.sum(1)
    one = np.ones(values["nu"].size)
    mean, variance, first = _given(values, one, where, new, opinions, target, poor)
    second = _given(values, 4 * one, where, new, opinions, target, poor)[2]
    a, b = 1 / variance - 1 / v0, (mean - m0) / variance

    def rest(evidence, weight):
        told = 1 + v0 * weight * a
        return -2 * evidence + size * np.log(weight) + v0 * (weight * b) ** 2 / told - np.log(told)

    c = (rest(second, 4.0) - rest(first, 1.0)) / 3
    determinant = rest(first, 1.0) - c
    told = 1 + v0 * node * a
    variance = v0 / told
    pull = node * b
    total = determinant - size * np.log(node) + node * c - variance * pull**2 + np.log(told)
    return m0 + variance * pull, variance, -0.5 * total


def log_density(values, where, new, opinions: Opinions, target: str, poor: np.ndarray | None, truth: np.ndarray):
    """log p(truth | opinions, draw) (draw, trial), l integrated out on its grid."""
    weight, mean, variance = mixture(values, where, new, opinions, target, poor)
    return logsumexp(weight - 0.5 * (np.log(2 * np.pi * variance) + (truth - mean) ** 2 / variance), axis=0)


def draw(values, where, new, opinions: Opinions, target: str, poor: np.ndarray | None, rng: np.random.Generator):
    """Mean and variance (draw, trial) of the truth at one l per draw and trial, drawn from its posterior.

    Over draws, the normals so found are the mixture. Trials are taken in blocks, to bound memory.
    """
    n = where.size
    out = np.empty((2, values["nu"].size, n))
    step = max(1, CHUNK // (NODES * values["nu"].size))
    for begin in range(0, n, step):
        rows = np.arange(begin, min(n, begin + step))
        part = None if poor is None else poor[rows]
        weight, *moments = mixture(values, where[rows], new[rows], opinions.select(rows), target, part)
        below = np.exp(weight).cumsum(0) < rng.random(weight.shape[1:])
        chosen = np.minimum(below.sum(0), NODES - 1)[None]
        for k, array in enumerate(moments):
            out[k][:, rows] = np.take_along_axis(array, chosen, 0)[0]
    return out[0], out[1]
