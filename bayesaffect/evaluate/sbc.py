"""Simulation-based calibration: does a fit recover parameters that were drawn from its own prior?

If theta ~ p(theta) and data ~ p(data | theta), the rank of theta among L independent draws from p(theta | data) is
uniform on 0..L, for every scalar function of theta and the data (Cook, Gelman and Rubin 2006; Talts et al. 2018). A
wrong prior, likelihood, Jacobian or sampler bends the distribution of ranks. Include functions of the data, such as
the log-likelihood: without them a posterior that ignores the data passes (Modrák et al. 2023).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binom, poisson

from bayesaffect.errors import InputError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import arviz as az

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Calibration:
    """``ranks`` (replication x quantity) in 0..``size``; ``ess`` the smallest bulk ESS of each replication."""

    ranks: pd.DataFrame
    size: int
    ess: pd.Series

    @property
    def short(self) -> int:
        """Replications whose ESS stayed below ``size``: their ranks are not from independent draws."""
        return int((self.ess < self.size).sum())


def calibrate(
    simulate: Callable[[int], tuple[Arrays, Any]],
    fit: Callable[[Any, int, int], Arrays],
    *,
    replications: int,
    seed: int,
    size: int = 199,
    longest: int = 8,
    advance: Callable[[int], None] = lambda n: None,
) -> Calibration:
    """Ranks of what `simulate` drew among the draws of `fit`, over many replications.

    Parameters
    ----------
    simulate : seed -> parameters, name -> (...), drawn from the prior, and data drawn given them.
    fit : (data, seed, longer) -> draws, name -> (chain, draw, ...), of the same names; ``longer`` (1, 2, 4, ...) times
        as many as it would make by default.
    replications : how often.
    seed : replication k has a seed derived from (seed, k).
    size : L, the draws that each rank is taken among, evenly thinned; the smallest bulk ESS should reach it.
    longest : a fit whose ESS is below ``size`` is drawn again twice as long, up to this many times.
    advance : called with 1 after each replication.
    """
    rows, ess = [], []
    for k in range(replications):
        row, found = replicate(simulate, fit, number=k, seed=seed, size=size, longest=longest)
        rows.append(row)
        ess.append(found)
        advance(1)
    return Calibration(pd.DataFrame(rows), size, pd.Series(ess, dtype=float))


def replicate(
    simulate: Callable[[int], tuple[Arrays, Any]],
    fit: Callable[[Any, int, int], Arrays],
    *,
    number: int,
    seed: int,
    size: int = 199,
    longest: int = 8,
) -> tuple[pd.Series, float]:
    """Ranks and smallest ESS of replication ``number`` of `calibrate`, which does not depend on the others."""
    own = int(np.random.SeedSequence([seed, number]).generate_state(1)[0]) % 2**31
    truth, data = simulate(own)
    longer = 1
    while True:
        draws = fit(data, own, longer)
        found = effective_size({name: draws[name] for name in truth})
        if found >= size or longer >= longest:
            return ranks(truth, draws, size=size), found
        longer *= 2


def ranks(truth: Arrays, draws: Arrays, *, size: int) -> pd.Series:
    """Number of ``size`` evenly thinned draws below the truth, for every element of every quantity, 0..size.

    ``draws`` (chain, draw, ...) against ``truth`` (...); a quantity with several elements is named ``name[i, j]``.

    Raises
    ------
    InputError : a shape that does not match, fewer draws than ``size``, draws that are all the same.
    """
    out = {}
    for name, value in truth.items():
        value, sample = np.asarray(value, dtype=float), np.asarray(draws[name], dtype=float)
        if sample.shape[2:] != value.shape:
            raise InputError(f"draws of {name!r} have shape {sample.shape[2:]}, its truth has {value.shape}")
        flat = np.swapaxes(sample, 0, 1).reshape(-1, *value.shape)
        if len(flat) < size:
            raise InputError(f"there are {len(flat)} draws of {name!r}", remedy=f"draw at least {size}")
        if (flat.min(0) == flat.max(0)).any():
            raise InputError(f"{name!r} does not vary, so its rank says nothing", remedy="leave it out")
        kept = flat[np.linspace(0, len(flat) - 1, size).round().astype(int)]
        for place, rank in np.ndenumerate((kept < value).sum(0)):
            out[f"{name}[{', '.join(map(str, place))}]" if place else name] = int(rank)
    return pd.Series(out)


def effective_size(draws: Arrays) -> float:
    """The smallest bulk ESS of all elements of (chain, draw, ...) arrays; 0 where one has none."""
    least = np.inf
    for values in draws.values():
        parts = np.asarray(values, dtype=float).reshape(*values.shape[:2], -1)
        for k in range(parts.shape[2]):
            least = min(least, float(np.nan_to_num(az.ess(parts[:, :, k]))))
    return least


def uniformity(rank: np.ndarray, size: int) -> float:
    """Exact p-value of the hypothesis that ranks (n,) are independent and uniform on 0..size.

    The number R_i of ranks below i is binomial(n, i / (size + 1)); the statistic is the least likely of them,

        gamma = min_i min{1, 2 P(B_i <= R_i), 2 P(B_i >= R_i)},    i = 1..size,

    the level at which the simultaneous band of the ECDF would touch it (Säilynoja, Bürkner and Vehtari 2022). Its
    distribution is computed, not simulated: R_1, R_2, ... have the increments of a Poisson process with n points in
    size + 1 steps, given that all n have come at the end; the probability that they stay where gamma is larger is one
    convolution per step.
    """
    rank = np.asarray(rank, dtype=int)
    n, count = rank.size, np.arange(rank.size + 1)
    if not n or rank.min() < 0 or rank.max() > size:
        raise InputError(f"ranks must lie in 0..{size}, and there must be at least one")
    share = np.arange(1, size + 1)[:, None] / (size + 1)
    level = np.minimum(1, 2 * np.minimum(binom.cdf(count, n, share), binom.sf(count - 1, n, share)))
    below = np.cumsum(np.bincount(rank, minlength=size + 1))[:size]
    gamma = level[np.arange(size), below].min()
    step = poisson.pmf(count, n / (size + 1))
    path = np.zeros(n + 1)
    path[0] = 1.0
    for inside in level > gamma * (1 + 1e-9):
        path = np.where(inside, np.convolve(path, step)[: n + 1], 0.0)
    stays = np.convolve(path, step)[n] / poisson.pmf(n, n)
    return float(np.clip(1 - stays, 0, 1))


def verdict(calibration: Calibration) -> pd.DataFrame:
    """One row per quantity, the least uniform first: ``mean`` and ``spread`` of the ranks, ``p_value``, ``adjusted``.

    ``mean`` of (rank + 1/2) / (size + 1) is 1/2 for a calibrated fit, above it where the fit is too low; ``spread`` is
    their sd over that of a uniform distribution, above 1 where the fit is too narrow. ``adjusted`` are the p-values
    after Holm (1979): calling a fit miscalibrated where any is below alpha has a false-alarm rate of at most alpha,
    however the quantities depend on one another.
    """
    share = (calibration.ranks + 0.5) / (calibration.size + 1)
    table = pd.DataFrame(
        {
            "mean": share.mean(),
            "spread": np.sqrt(((share - share.mean()) ** 2).mean() * 12),
            "p_value": {q: uniformity(r.values, calibration.size) for q, r in calibration.ranks.items()},
        }
    ).sort_values("p_value", kind="stable")
    left = len(table) - np.arange(len(table))
    table["adjusted"] = np.minimum(1, np.maximum.accumulate(table["p_value"].values * left))
    return table


def histogram(rank: np.ndarray, size: int, bins: int = 20, *, band: float = 0.95) -> pd.DataFrame:
    """Counts of ranks (n,) in about equal bins of 0..size with the binomial band of each.

    Columns ``low``, ``high`` (first and last rank), ``count``, ``expected``, ``band_low``, ``band_high``; the band
    holds one bin's count with probability ``band``, so that of 20 bins one is expected outside at 0.95.
    """
    return pd.DataFrame(list(_bins(np.asarray(rank), size, min(bins, size + 1), band)))


def _bins(rank: np.ndarray, size: int, bins: int, band: float) -> Iterator[dict]:
    edges = np.linspace(0, size + 1, bins + 1).round().astype(int)
    for low, high in zip(edges[:-1], edges[1:] - 1, strict=True):
        share = (high - low + 1) / (size + 1)
        ends = binom.ppf([(1 - band) / 2, (1 + band) / 2], rank.size, share)
        yield {
            "low": low,
            "high": high,
            "count": int(((rank >= low) & (rank <= high)).sum()),
            "expected": rank.size * share,
            "band_low": ends[0],
            "band_high": ends[1],
        }
