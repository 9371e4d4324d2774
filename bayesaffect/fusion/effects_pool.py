"""Effects of one new subject given labelled trials: the log-linear pool, by Laplace's approximation in every draw.

Given a draw of the population's parameters and the subject's habit c, the effects v = (V' delta, rho) have the density

    log p(v | labels) = sum_i log softmax(eta_i(v))_{y_i} - |V' delta|^2 / (2 sd_delta^2) - sum_m rho_m^2 / (2 sd_rho_m^2)

up to a constant. Newton's method with the curvature of Gauss and Newton, sum_i J_i' (diag p_i - p_i p_i') J_i plus the
prior's, finds its mode; a draw from the Gaussian there carries the weight p / q, which makes the approximation exact
as draws grow (Tierney and Kadane 1986; Vehtari et al. 2024).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bayesaffect.fusion import habits
from bayesaffect.fusion.statistics import contrasts, features
from bayesaffect.types import Opinions

STEPS = 30
TOLERANCE = 1e-8


def offers(values: Mapping[str, np.ndarray], habit: np.ndarray, opinions: Opinions, target: str, poor=None):
    """What the modalities say where rho = 0, r w A (f - gamma c) (D, N, M, K), and what is there without them (D, N, K).

    ``habit`` (D, M, K - 1) are draws of c.
    """
    f, here = features(opinions, target), opinions.present.values
    basis = contrasts(values["alpha"].shape[1])
    slope = values["w"][:, :, None, None] * np.swapaxes(values["matrix"] @ basis, -1, -2)
    share = values.get("habit_share", np.zeros_like(values["w"]))
    said = np.einsum("nmc,dmck->dnmk", f, slope)
    said -= np.einsum("dm,dmc,dmck->dmk", share, habit, slope)[:, None]
    left = np.where(here, 1.0, 0.0)[None]
    if poor is not None and "quality_discount" in values:
        left = left * (1 - values["quality_discount"][:, None] * poor)
    base = values["alpha"][:, None] + np.einsum("nm,dmk->dnk", 1.0 - here, values["alpha_missing"])
    return said * left[..., None], base


def posterior(values: Mapping[str, np.ndarray], said: np.ndarray, base: np.ndarray, label: np.ndarray):
    """Mode (D, K - 1 + M) of v and the Cholesky factor (D, ., .) of its precision there."""
    d, _, m, k = said.shape
    v = np.zeros((d, k - 1 + m))
    prior = precision(values, k)
    value = log_density(v, values, said, base, label)
    for _ in range(STEPS):
        gradient, curvature = _derivatives(v, values, said, base, label)
        curvature += prior[:, :, None] * np.eye(prior.shape[1])
        step = np.linalg.solve(curvature, gradient[..., None])[..., 0]
        scale = np.ones(d)
        for _ in range(12):
            new = log_density(v + scale[:, None] * step, values, said, base, label)
            if (better := new >= value - 1e-12).all():
                break
            scale = np.where(better, scale, scale / 2)
        moved = np.where(new >= value - 1e-12, scale, 0.0)
        v = v + moved[:, None] * step
        value = np.maximum(new, value)
        if np.abs(moved[:, None] * step).max() < TOLERANCE:
            break
    curvature = _derivatives(v, values, said, base, label)[1] + prior[:, :, None] * np.eye(prior.shape[1])
    return v, np.linalg.cholesky(curvature)


def precision(values: Mapping[str, np.ndarray], k: int) -> np.ndarray:
    """Prior precision of v (D, K - 1 + M)."""
    return np.concatenate([np.repeat(values["sd_delta"][:, None], k - 1, 1), values["sd_rho"]], 1) ** -2.0


def log_density(v: np.ndarray, values, said: np.ndarray, base: np.ndarray, label: np.ndarray) -> np.ndarray:
    """log p(labels, v) (D,), normalised."""
    k = base.shape[2]
    prior = precision(values, k)
    eta = _eta(v, said, base)
    top = eta.max(-1, keepdims=True)
    each = np.take_along_axis(eta - top, label[None, :, None], 2)[..., 0] - np.log(np.exp(eta - top).sum(-1))
    return each.sum(1) + 0.5 * (np.log(prior) - v * v * prior - np.log(2 * np.pi)).sum(1)


def _eta(v: np.ndarray, said: np.ndarray, base: np.ndarray) -> np.ndarray:
    k = base.shape[2]
    return base + (v[:, : k - 1] @ contrasts(k).T)[:, None] + np.einsum("dm,dnmk->dnk", np.exp(v[:, k - 1 :]), said)


def _derivatives(v: np.ndarray, values, said: np.ndarray, base: np.ndarray, label: np.ndarray):
    """Gradient (D, P) and the curvature of the labels alone (D, P, P)."""
    k = base.shape[2]
    eta = _eta(v, said, base)
    p = np.exp(eta - eta.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    wide = np.broadcast_to(contrasts(k).T, (*said.shape[:2], k - 1, k))
    jacobian = np.concatenate([wide, np.exp(v[:, None, k - 1 :, None]) * said], 2)  # (D, N, P, K)
    rest = np.eye(k)[label] - p
    gradient = np.einsum("dnpk,dnk->dp", jacobian, rest) - v * precision(values, k)
    mean = np.einsum("dnpk,dnk->dnp", jacobian, p)
    root = (jacobian - mean[..., None]) * np.sqrt(p)[:, :, None]
    flat = np.swapaxes(root, 1, 2).reshape(v.shape[0], v.shape[1], -1)
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
