"""What training minimises: one loss per target over the trials whose truth is known, all targets alike."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import torch
from torch import Tensor
from torch.nn import functional


def continuous_loss(mean: Tensor, log_variance: Tensor, truth: Tensor, *, beta: float) -> Tensor:
    """beta-NLL per trial: stop(v)^beta * ((y - m)^2 / v + log v + log 2 pi) / 2, with v = exp(log_variance).

    beta = 0 is the Gaussian negative log-likelihood; beta > 0 keeps trials with a large variance from
    being ignored (Seitzer et al. 2022).
    """
    nll = 0.5 * ((truth - mean) ** 2 * torch.exp(-log_variance) + log_variance + math.log(2 * math.pi))
    return nll if beta == 0 else torch.exp(beta * log_variance.detach()) * nll


def class_weights(truth: Tensor, *, exponent: float) -> Tensor:
    """Weight of each class, w_k = n n_k^-a / sum_j n_j^(1-a): mean 1 over the n labelled trials.

    a = 0 leaves all trials alike, a = 1 gives every class that occurs the same say. The weighted cross-entropy is
    smallest at probabilities proportional to w_k p(k | x), not at p(k | x): rare classes are found more often,
    and their probabilities are too large by w_k up to normalisation. Logits minus log w_k are logits of p(k | x).

    Parameters
    ----------
    truth : (trial,), int64 with -1 where missing.
    exponent : a, from 0 to 1.

    Returns
    -------
    (level,) up to the last class that occurs; 0 for a class without any trial.
    """
    counts = torch.bincount(truth[truth >= 0]).double()
    raw = torch.where(counts > 0, counts.clamp(min=1) ** -exponent, 0.0)
    return (raw * counts.sum() / (raw * counts).sum()).float()


def losses(
    output,
    truth: Mapping[str, Tensor],
    *,
    beta: float,
    weights: Mapping[str, Tensor] | None = None,
    complete: Collection[str] = (),
) -> dict[str, Tensor]:
    """Mean loss per target over the trials whose truth is known; a target with none is left out.

    Continuous: `continuous_loss`. Categorical: mean over trials of w_y * cross-entropy, with the
    `class_weights` of the whole training set, so that batches are not balanced one by one; 1 without ``weights``.
    Targets that the caller knows to be ``complete`` are not searched for gaps, which takes longer than their loss.
    """
    found = {}
    for name, mean in output.mean.items():
        y, log_variance = truth[name], output.log_variance[name]
        if name not in complete:
            known = torch.isfinite(y)
            mean, log_variance, y = mean[known], log_variance[known], y[known]
        if len(y):
            found[name] = continuous_loss(mean, log_variance, y, beta=beta).mean()
    for name, logits in output.logits.items():
        y = truth[name]
        if name not in complete:
            known = y >= 0
            logits, y = logits[known], y[known]
        if not len(y):
            continue
        if weights is None or name not in weights:
            found[name] = functional.cross_entropy(logits, y)
        else:
            found[name] = (weights[name][y] * functional.cross_entropy(logits, y, reduction="none")).mean()
    return found


def total(found: Mapping[str, Tensor]) -> Tensor | None:
    """Every target counts the same: the mean of the losses found, ``None`` without any."""
    return torch.stack(list(found.values())).mean() if found else None
