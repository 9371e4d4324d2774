"""Effects of one new subject given labelled trials: the log-linear pool, by Laplace's approximation in every draw.

Given a draw of the population's parameters and the subject's habit c, the effects v = (V' delta, rho, t) of `tilts`
have the density

    log p(v | labels) = sum_i log softmax(eta_i(v))_{y_i} - sum_p Q_p (v_p - [B c]_p)^2 / 2 + constant,

Q = (sd_delta^-2, sd_rho_m^-2, tau_m^-2). Newton's method with the curvature of Gauss and Newton,
sum_i J_i' (diag p_i - p_i p_i') J_i plus the prior's, finds its mode; a draw from the Gaussian there carries the
weight p / q, which makes the approximation exact as draws grow (Tierney and Kadane 1986; Vehtari et al. 2024).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from bayesaffect.fusion import habits
from bayesaffect.fusion.statistics import contrasts, features
from bayesaffect.types import Opinions

STEPS = 30
TOLERANCE = 1e-8


class Pool(NamedTuple):
    """What there is without the modalities ``base`` (D, N, K), what they say where v = 0 ``said`` (D, N, M, K), and
    what of it they say by speaking of class j ``parts`` (D, N, M, K, K): sum_j parts_j = said."""

    base: np.ndarray
    said: np.ndarray
    parts: np.ndarray

    def rows(self, keep) -> Pool:
        """The draws ``keep``."""
        return Pool(*(a[keep] for a in self))


class Tilts(NamedTuple):
    """What `tilts` learns: ``foretold`` B (P, M, K - 1), P = K - 1 + M + M K effects, and ``spread`` tau (M,)."""

    foretold: np.ndarray
    spread: np.ndarray


class Prior(NamedTuple):
    """``mean`` and ``precision`` (D, P) of v; P = K - 1 + M, or K - 1 + M + M K with tilts."""

    mean: np.ndarray
    precision: np.ndarray


def offers(values: Mapping[str, np.ndarray], habit: np.ndarray, opinions: Opinions, target: str, poor=None):
    """What the modalities say where v = 0, r w A (f - gamma c) (D, N, M, K), and what is there without them (D, N, K).

    ``habit`` (D, M, K - 1) are draws of c.
    """
    f, here = features(opinions, target), opinions.present.values
    basis = contrasts(values["alpha"].shape[1])
    slope = values["w"][:, :, None, None] * np.swapaxes(values["matrix"] @ basis, -1, -2)
    share = values.get("habit_share", np.zeros_like(values["w"]))
    said = np.einsum("nmc,dmck->dnmk", f, slope)
    said -= np.einsum("dm,dmc,dmck->dmk", share, habit, slope)[:, None]
    base = values["alpha"][:, None] + np.einsum("nm,dmk->dnk", 1.0 - here, values["alpha_missing"])
    return said * _left(values, here, poor)[..., None], base


def pool(values: Mapping[str, np.ndarray], habit: np.ndarray, opinions: Opinions, target: str, poor=None) -> Pool:
    """`offers`, and their parts r w A V' e_j e_j' V (f - gamma c) for every class j."""
    said, base = offers(values, habit, opinions, target, poor)
    basis = contrasts(base.shape[2])
    slope = values["w"][:, :, None, None] * np.swapaxes(values["matrix"] @ basis, -1, -2)
    share = values.get("habit_share", np.zeros_like(values["w"]))
    x = features(opinions, target) - (share[..., None] * habit)[:, None]
    x = (x @ basis.T) * _left(values, opinions.present.values, poor)[..., None]
    return Pool(base, said, x[..., None] * (basis @ slope)[:, None])


def _left(values, here: np.ndarray, poor) -> np.ndarray:
    left = np.where(here, 1.0, 0.0)[None]
    if poor is not None and "quality_discount" in values:
        left = left * (1 - values["quality_discount"][:, None] * poor)
    return left


def prior(values: Mapping[str, np.ndarray], habit: np.ndarray, tilts: Tilts | None) -> Prior:
    """`Prior` of v given habits (D, M, K - 1); without tilts its mean is 0."""
    k = habit.shape[2] + 1
    least = precision(values, k)
    if tilts is None:
        return Prior(np.zeros(least.shape), least)
    wide = np.repeat(np.maximum(tilts.spread, habits.FLOOR) ** -2.0, k)
    mean = np.einsum("pmc,dmc->dp", tilts.foretold, habit)
    return Prior(mean, np.concatenate([least, np.broadcast_to(wide, (least.shape[0], wide.size))], 1))


def precision(values: Mapping[str, np.ndarray], k: int) -> np.ndarray:
    """Prior precision of (V' delta, rho) (D, K - 1 + M)."""
    return np.concatenate([np.repeat(values["sd_delta"][:, None], k - 1, 1), values["sd_rho"]], 1) ** -2.0


def posterior(
    prior: Prior, pool: Pool, label: np.ndarray, *, start: np.ndarray | None = None, steps: int = STEPS
) -> tuple[np.ndarray, np.ndarray]:
    """Mode (D, P) of v and the Cholesky factor (D, P, P) of its precision there, from ``start`` (D, P) in ``steps``."""
    v = prior.mean if start is None else start
    eye = np.eye(v.shape[1])
    value = log_density(v, prior, pool, label)
    for _ in range(steps):
        gradient, curvature = _derivatives(v, prior, pool, label)
        step = np.linalg.solve(curvature + prior.precision[:, :, None] * eye, gradient[..., None])[..., 0]
        scale = np.ones(v.shape[0])
        for _ in range(12):
            new = log_density(v + scale[:, None] * step, prior, pool, label)
            if (better := new >= value - 1e-12).all():
                break
            scale = np.where(better, scale, scale / 2)
        moved = np.where(new >= value - 1e-12, scale, 0.0)
        v = v + moved[:, None] * step
        value = np.maximum(new, value)
        if np.abs(moved[:, None] * step).max() < TOLERANCE:
            break
    curvature = _derivatives(v, prior, pool, label)[1] + prior.precision[:, :, None] * eye
    return v, np.linalg.cholesky(curvature)


def log_density(v: np.ndarray, prior: Prior, pool: Pool, label: np.ndarray) -> np.ndarray:
    """log p(labels, v) (D,), normalised."""
    eta = log_odds(v, pool)
    top = eta.max(-1, keepdims=True)
    each = np.take_along_axis(eta - top, label[None, :, None], 2)[..., 0] - np.log(np.exp(eta - top).sum(-1))
    rest = v - prior.mean
    return each.sum(1) + 0.5 * (np.log(prior.precision) - rest * rest * prior.precision - np.log(2 * np.pi)).sum(1)


def log_odds(v: np.ndarray, pool: Pool) -> np.ndarray:
    """eta (D, N, K) with effects v (D, P)."""
    k = pool.base.shape[2]
    return pool.base + (v[:, : k - 1] @ contrasts(k).T)[:, None] + _louder(v, pool).sum(2)


def _louder(v: np.ndarray, pool: Pool) -> np.ndarray:
    """exp(rho_m) (said_m + sum_j t_mj parts_mj) (D, N, M, K)."""
    d, _, m, k = pool.said.shape
    said = pool.said
    if v.shape[1] > k - 1 + m:
        tilt = v[:, k - 1 + m :].reshape(d, 1, m, 1, k)
        said = said + (tilt @ pool.parts)[:, :, :, 0]
    return np.exp(v[:, None, k - 1 : k - 1 + m, None]) * said


def _derivatives(v: np.ndarray, prior: Prior, pool: Pool, label: np.ndarray):
    """Gradient (D, P) and the curvature of the labels alone (D, P, P)."""
    d, n, m, k = pool.said.shape
    eta = log_odds(v, pool)
    p = np.exp(eta - eta.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    parts = [np.broadcast_to(contrasts(k).T, (d, n, k - 1, k)), _louder(v, pool)]
    if v.shape[1] > k - 1 + m:
        parts.append((np.exp(v[:, None, k - 1 : k - 1 + m, None, None]) * pool.parts).reshape(d, n, m * k, k))
    jacobian = np.concatenate(parts, 2)  # (D, N, P, K)
    rest = np.eye(k)[label] - p
    gradient = np.einsum("dnpk,dnk->dp", jacobian, rest) - (v - prior.mean) * prior.precision
    mean = (jacobian @ p[..., None])[..., 0]
    root = (jacobian - mean[..., None]) * np.sqrt(p)[:, :, None]
    flat = np.swapaxes(root, 1, 2).reshape(d, v.shape[1], -1)
    return gradient, flat @ np.swapaxes(flat, 1, 2)


def draw(mode: np.ndarray, lower: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draws (D, P) of N(mode, (L L')^-1) and their log density (D,)."""
    noise = rng.standard_normal(mode.shape)
    value = mode + np.linalg.solve(np.swapaxes(lower, 1, 2), noise[..., None])[..., 0]
    log_det = np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(1)
    return value, log_det - 0.5 * (noise**2 + np.log(2 * np.pi)).sum(1)


def habit(found: habits.Habits | None, opinions: Opinions, target: str, label: np.ndarray, shape: tuple[int, int, int]):
    """Mean (M, K - 1) and variance (M, K - 1, K - 1) of c given labelled trials; zeros for a fit without habits."""
    if found is None:
        return np.zeros(shape[1:]), np.zeros((*shape[1:], shape[2]))
    share = np.eye(shape[2] + 1)[label]
    return habits.given_classes(features(opinions, target), opinions.present.values, share, found)
