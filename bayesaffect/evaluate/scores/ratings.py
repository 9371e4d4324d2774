"""Scores of ratings: point predictions, and predictive distributions in closed form or as draws.

Shapes: ``mean``, ``truth`` (n,); draws (draw, n). Scores of a mixture of Gaussians are in `scores.mixture`.
rmse, pearson and ccc raise `InputError` for shapes that differ, no trial, and values that are not finite. Scores with a
value per trial are NaN where the truth is; they raise `InputError` for a scale that is not above 0.
"""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln, ndtr, stdtr

from bayesaffect.errors import InputError
from bayesaffect.evaluate.scores.accepted import check_positive, check_ratings

_CONSTANT = 1e-12  # of the largest value: what rounding leaves of a constant's spread


def rmse(mean: np.ndarray, truth: np.ndarray) -> float:
    """Root of the mean squared error: sqrt((1/n) sum_i (mean_i - truth_i)^2); both (n,)."""
    check_ratings(mean, truth)
    return float(np.sqrt(np.mean((mean - truth) ** 2)))


def pearson(mean: np.ndarray, truth: np.ndarray) -> float:
    """Pearson correlation cov(x, y) / (sd(x) sd(y)); NaN when one of them is constant."""
    check_ratings(mean, truth)
    x, y = mean - mean.mean(), truth - truth.mean()
    sd_x, sd_y = np.sqrt((x**2).mean()), np.sqrt((y**2).mean())
    if sd_x <= _CONSTANT * np.abs(mean).max() or sd_y <= _CONSTANT * np.abs(truth).max():
        return float("nan")
    return float((x * y).mean() / (sd_x * sd_y))


def ccc(mean: np.ndarray, truth: np.ndarray) -> float:
    """Concordance: 2 cov(x, y) / (var(x) + var(y) + (mean(x) - mean(y))^2), population moments (Lin 1989)."""
    check_ratings(mean, truth)
    x, y = mean - mean.mean(), truth - truth.mean()
    total = (x**2).mean() + (y**2).mean() + (mean.mean() - truth.mean()) ** 2
    return float(2 * (x * y).mean() / total) if total > 1e-24 else float("nan")


def rmse_within_each(mean: np.ndarray, truth: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """RMSE inside each trial of a prediction that is constant there: sqrt((mean - truth)^2 + spread^2).

    Exact when ``truth`` is the mean and ``spread`` the population standard deviation of the trial's samples.
    """
    return np.sqrt((mean - truth) ** 2 + spread**2)


def crps_gaussian(mean: np.ndarray, sd: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Continuous ranked probability score (n,) of a Gaussian (Gneiting & Raftery 2007); ``sd`` > 0.

    sd (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi)), z = (truth - mean) / sd.
    """
    check_positive("sd", sd)
    z = (truth - mean) / sd
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    return sd * (z * (2 * ndtr(z) - 1) + 2 * density - 1 / np.sqrt(np.pi))


def crps_t(df: np.ndarray | float, mean: np.ndarray, scale: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Continuous ranked probability score (n,) of a Student-t with ``df`` > 1, location and scale (Jordan et al. 2019).

    scale (z (2 F(z) - 1) + 2 f(z) (df + z^2) / (df - 1) - 2 sqrt(df) B(1/2, df - 1/2) / ((df - 1) B(1/2, df/2)^2)),
    with f, F of the standard t and z = (truth - mean) / scale.
    """
    df = np.asarray(df, dtype=float)
    check_positive("df - 1", df - 1)
    check_positive("scale", scale)
    z = (truth - mean) / scale
    beta = _log_beta(0.5, df / 2)
    density = np.exp(-(df + 1) / 2 * np.log1p(z**2 / df) - beta) / np.sqrt(df)
    constant = 2 * np.sqrt(df) / (df - 1) * np.exp(_log_beta(0.5, df - 0.5) - 2 * beta)
    return scale * (z * (2 * stdtr(df, z) - 1) + 2 * density * (df + z**2) / (df - 1) - constant)


def _log_beta(a, b):
    return gammaln(a) + gammaln(b) - gammaln(a + b)


def crps_draws(draws: np.ndarray, truth: np.ndarray, *, fair: bool = False) -> np.ndarray:
    """Continuous ranked probability score (n,) of the empirical distribution of ``draws`` (m, n).

    (1/m) sum_d |x_d - y| - (1/2m^2) sum_de |x_d - x_e|; ``fair`` divides the second sum by m (m - 1) instead of m^2,
    which makes it unbiased for the distribution that the draws come from (Ferro 2014; two draws or more).
    """
    m = draws.shape[0]
    if m < 1 + fair:
        raise InputError(f"there are {m} draws", remedy=f"give at least {1 + fair}")
    rank = 2 * np.arange(1, m + 1) - m - 1
    spread = (rank[:, None] * np.sort(draws, axis=0)).sum(0) / (m * ((m - 1) if fair else m))
    return np.abs(draws - truth).mean(0) - spread
