"""A log-linear pool fitted to one subset of modalities: what that subset could do, had fusion seen nothing else.

The late fusion of classes learns its weights with all modalities there. Where one repeats what another says, its weight
may be near zero, and it seems worthless alone. This pool is fitted to each subset anew and tells the difference.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, logsumexp

from bayesaffect.types import Opinions, Target

_FLOOR = 1e-6


def evidence(opinions: Opinions, target: Target) -> np.ndarray:
    """Centred log-probabilities (trial, modality, level), at least log 1e-6 before centring; 0 where missing."""
    here = opinions.present.values
    log_prob = np.where(here[..., None], opinions.log_prob[target.name].values, 0.0)
    log_prob = np.maximum(log_prob, np.log(_FLOOR))
    return np.where(here[..., None], log_prob - log_prob.mean(-1, keepdims=True), 0.0)


def pool(x: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Levels b (K,) and weights w (M,) of P(k) = softmax(b + sum_m w_m x_m)_k (Genest & Zidek 1986), x (n, M, K).

    Penalised maximum likelihood: minimises sum_i -log P(label_i) + sum_k b_k^2 / 2 + sum_m (w_m - 1)^2 / 2.
    """
    n, m, k = x.shape
    truth = np.eye(k)[label]

    def objective(theta):
        b, w = theta[:k], theta[k:]
        eta = b + np.einsum("m,nmk->nk", w, x)
        top = logsumexp(eta, axis=1)
        gap = np.exp(eta - top[:, None]) - truth
        value = top.sum() - eta[np.arange(n), label].sum() + (b @ b + (w - 1) @ (w - 1)) / 2
        return value, np.concatenate([gap.sum(0) + b, np.einsum("nk,nmk->m", gap, x) + w - 1])

    start = np.concatenate([np.zeros(k), np.ones(m)])
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options={"gtol": 1e-5 * max(n, 1)}).x
    return found[:k], found[k:]


def predict(
    opinions: Opinions, target: Target, coalitions: Sequence[Sequence[str]], *, tested: np.ndarray, learnt: np.ndarray
) -> np.ndarray:
    """Log-probabilities (coalition, tested trial, level) by pools fitted to the trials ``learnt``; masks (trial,).

    A coalition's pool is fitted to those with known truth, with the coalition's modalities
    alone; trials that have none of them get softmax(b). Without any known truth everything is uniform.
    """
    label = np.asarray(opinions.truth[target.name].values)
    learned = learnt & ~tested & (label >= 0)
    x, place = evidence(opinions, target), {m: k for k, m in enumerate(opinions.modalities)}
    rows = []
    for coalition in coalitions:
        chosen = [place[m] for m in coalition]
        b, w = pool(x[learned][:, chosen], label[learned].astype(int))
        rows.append(log_softmax(b + np.einsum("m,nmk->nk", w, x[tested][:, chosen]), axis=1))
    return np.stack(rows)
