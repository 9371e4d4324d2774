"""Scores of predictions against the truth: plain functions on numpy arrays.

Shapes: ``prob`` (n, k) class probabilities, ``label`` (n,) level indices, ``mean`` and ``variance``
(draw, n) the parameters of an equal-weight mixture of Gaussians per trial, ``truth`` (n,).
A score that is an average over trials has a pointwise twin inside (`nll_each`, `brier_each`, `rps_each`,
`mixture_nll`, `crps`, `interval_score`), because intervals over subjects are made from those.
"""

from bayesaffect.evaluate.scores.classes import (
    accuracy,
    auroc,
    balanced_accuracy,
    brier,
    brier_each,
    entropy,
    entropy_each,
    kappa,
    kappa_of,
    macro_f1,
    nll,
    nll_each,
    rps,
    rps_each,
)
from bayesaffect.evaluate.scores.mixture import (
    coverage,
    covered,
    crps,
    interval,
    interval_score,
    mixture_cdf,
    mixture_nll,
    mixture_quantile,
    pit,
)
from bayesaffect.evaluate.scores.ratings import (
    ccc,
    crps_draws,
    crps_gaussian,
    crps_t,
    pearson,
    rmse,
    rmse_within_each,
)

__all__ = [
    "accuracy",
    "auroc",
    "balanced_accuracy",
    "brier",
    "brier_each",
    "ccc",
    "coverage",
    "covered",
    "crps",
    "crps_draws",
    "crps_gaussian",
    "crps_t",
    "entropy",
    "entropy_each",
    "interval",
    "interval_score",
    "kappa",
    "kappa_of",
    "macro_f1",
    "mixture_cdf",
    "mixture_nll",
    "mixture_quantile",
    "nll",
    "nll_each",
    "pearson",
    "pit",
    "rmse",
    "rmse_within_each",
    "rps",
    "rps_each",
]
