"""A new person's trials predicted together: the person's effects are inferred from the opinions alone."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy.special import logsumexp

from bayesaffect.errors import InputError
from bayesaffect.fusion import discount, effects_pool, habits, idata
from bayesaffect.fusion.adapt import assembled, check, population, ratings
from bayesaffect.fusion.prediction import predict, trained_on
from bayesaffect.fusion.statistics import contrasts, features
from bayesaffect.types import Opinions, Predictive, Target

STEPS = 30
FEW = 40
SHARES = 4000


class Pool(NamedTuple):
    """One reading of a pool of trials: ``mean`` (M, K - 1) and ``spread`` (M, K - 1, K - 1) of the habit, ``prior``
    (K,) the shares of the classes, as sure as ``count`` trials make it."""

    mean: np.ndarray
    spread: np.ndarray
    prior: np.ndarray
    count: float


def predict_jointly(
    posterior, opinions: Opinions, *, target: str, seed: int, draws: int = 1000, balanced: float = 0.5
) -> Predictive:
    """Posterior of the truth of every trial, subject by subject, from all of a subject's opinions together.

    It presumes that the trials given are what the subject saw of stimuli like those of the fit: for a continuous
    target that their truth is distributed as in the fit's subjects, for a categorical one that with probability
    ``balanced`` they cover the classes evenly. It does harm where that is wrong, so it is asked for, never silent.

    Parameters
    ----------
    posterior : what `fit` returned; its subjects' own effects are not read: everybody is new.
    opinions : trials of one or more subjects; truth is not read.
    target : the target of the fit.
    seed : for the draws.
    draws : posterior draws used at most.
    balanced : prior probability that a subject's classes are as even as the fit's, in [0, 1]; otherwise it
        may lack classes, and its shares are estimated.

    Returns
    -------
    Predictive as `predict` returns it, trials in the order given.

    Notes
    -----
    Continuous: v = (u, delta) given the opinions in closed form, rho weighted (`effects_normal`). Categorical: two
    readings of the pool. Even: each opinion is about a class with the fit's shares pi0, so that the habit c, given the
    subject's mean opinion of n trials, has precision Omega^-1 + n W^-1. Any: shares pi and c in turn, pi by the EM
    algorithm for shifted priors (Saerens et al. 2002), c given the classes' probabilities; log pi - log pi0 is added
    to the log-odds, pi with a Dirichlet's uncertainty. The draws are dealt out to the readings by ``balanced`` and by
    how well they foresee the mean opinions of the modalities,

        even: prod_m t(mean_m; f_m + sum_k pi0_k f_km, Omega_m + W_m / n_m),     any: its mean over pi ~ Dirichlet(1 / K).

    Raises
    ------
    InputError : as `adapt`; ``balanced`` outside [0, 1].
    """
    if not 0 <= balanced <= 1:
        raise InputError(f"balanced is {balanced}", remedy="give a probability between 0 and 1")
    names = np.unique(opinions.subject.values.astype(str))
    parts, order = [], []
    for k, name in enumerate(names):
        rows = np.flatnonzero(opinions.subject.values.astype(str) == name)
        mine = opinions.select(rows)
        check(posterior, mine, target, str(name))
        run = _ratings if idata.attribute(posterior, "kind") == "continuous" else _classes
        parts.append(run(posterior, mine, target, np.random.SeedSequence([seed, 5, k]), draws, balanced))
        order.append(rows)
    whole = parts[0] if len(parts) == 1 else Predictive.concat(parts)
    back = whole.select(np.argsort(np.concatenate(order)))
    return replace(back, trained_on=trained_on(posterior, opinions))


def _ratings(posterior, opinions: Opinions, target: str, seed, draws: int, _: float) -> Predictive:
    rng = np.random.default_rng(seed)
    values = population(posterior, draws)
    truth = np.full(opinions.present.sizes["trial"], np.nan)
    poor = discount.of_fit(posterior, opinions)
    found, log_weight = ratings(values, opinions, target, truth, poor=poor, rng=rng)
    name = str(opinions.subject.values[0])
    known = assembled(posterior, values | found, name, count=1, log_weight=log_weight, rng=rng, constant={})
    return predict(known, opinions, target=target, seed=int(rng.integers(2**31)), subjects="known", draws=draws)


def _classes(posterior, opinions: Opinions, target: str, seed, draws: int, balanced: float) -> Predictive:
    rng = np.random.default_rng(seed)
    values = population(posterior, draws)
    size, m = values["w"].shape
    levels = idata.attribute(posterior, "target")["levels"]
    k = len(levels)
    poor = discount.of_fit(posterior, opinions)
    found = habits.of_fit(posterior)
    even = prior_of(posterior, target, k)
    f, here = features(opinions, target), opinions.present.values
    some = {n: a[:: max(1, size // FEW)] for n, a in values.items()}

    def classify(c):
        said, base = effects_pool.offers(some, np.broadcast_to(c, (some["w"].shape[0], *c.shape)), opinions, target, poor)
        eta = base + said.sum(2)
        return logsumexp(eta - logsumexp(eta, -1, keepdims=True), 0) - np.log(eta.shape[0])

    share = np.broadcast_to(even, (f.shape[0], k))
    readings = [Pool(*habits.given_classes(f, here, share, found), even, np.inf), any_shares(f, here, found, even, classify)]
    subjects = int((posterior["constant_data"]["n_used"].values > 0).sum())
    weight = likelihoods_of_shares(f, here, found, even, subjects, rng)
    with np.errstate(divide="ignore"):
        weight = np.log([balanced, 1 - balanced]) + weight
    weight = np.exp(weight - logsumexp(weight))
    which = (np.arange(size) + rng.random()) / size >= weight[0]
    basis = contrasts(k)
    v = rng.standard_normal((size, k - 1 + m)) / np.sqrt(effects_pool.precision(values, k))
    out = np.empty((size, f.shape[0], k))
    for reading, rows in zip(readings, (~which, which), strict=True):
        if not rows.any():
            continue
        part = {n: a[rows] for n, a in values.items()}
        c = reading.mean + habits.noise(reading.spread, (int(rows.sum()),), rng)
        said, base = effects_pool.offers(part, c, opinions, target, poor)
        eta = base + (v[rows, : k - 1] @ basis.T)[:, None]
        eta = eta + np.einsum("dm,dnmk->dnk", np.exp(v[rows, k - 1 :]), said)
        if np.isfinite(reading.count):
            prior = rng.dirichlet(reading.count * reading.prior + 1, int(rows.sum()))
            eta = eta + (np.log(np.maximum(prior, 1e-12)) - np.log(even))[:, None]
        out[rows] = eta - logsumexp(eta, -1, keepdims=True)
    coords = {"trial": opinions.present["trial"].values, "subject": ("trial", opinions.subject.values)}
    array = xr.DataArray(out, dims=("draw", "trial", "level"), coords=coords | {"level": list(levels)})
    who = xr.DataArray(opinions.subject.values, dims="trial", coords=coords)
    return Predictive(
        (Target(target, levels=tuple(levels)),),
        who,
        log_prob={target: array},
        trained_on=trained_on(posterior, opinions),
    )


def prior_of(posterior, target: str, k: int) -> np.ndarray:
    """Shares of the classes among the fit's trials (K,), each counted once more than it occurred."""
    truth = posterior["observed_data"][target].values.astype(int)
    count = np.bincount(truth, minlength=k) + 1.0
    return count / count.sum()


def any_shares(f: np.ndarray, here: np.ndarray, found: habits.Habits, even: np.ndarray, classify) -> Pool:
    """Habit and class shares of a pool whose shares may be anything; ``classify``: c (M, K - 1) -> log-probabilities
    (N, K) under the shares ``even``."""
    mean, prior = np.zeros_like(found.centre), even
    for _ in range(STEPS):
        joint = classify(mean) + np.log(prior) - np.log(even)
        share = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
        prior = (share.sum(0) + 1.0 / even.size) / (f.shape[0] + 1.0)
        mean, spread = habits.given_classes(f, here, share, found)
    return Pool(mean, spread, share.mean(0), float(f.shape[0]))


def likelihoods_of_shares(f: np.ndarray, here: np.ndarray, found: habits.Habits, even: np.ndarray, subjects: int, rng):
    """Log-densities (2,) of the mean opinions under ``even`` class shares and under any, averaged over SHARES draws.

    Dirichlet(1 / K) says that a set which is not even lacks classes; a flat one would count sets that are nearly even
    for it, and could not be told from habits. Since Omega comes from ``subjects`` people, densities are those of a
    Student t with as many degrees of freedom less K - 1.
    """
    width = found.centre.shape[1]
    freedom = max(subjects - width, 3)
    shares = np.concatenate([even[None], rng.dirichlet(np.full(even.size, 1 / even.size), SHARES)])
    total = np.zeros(shares.shape[0])
    for j in np.flatnonzero(here.any(0)):
        seen = here[:, j]
        noise = found.between[j] + found.residual[j] / seen.sum()
        rest = f[seen, j].mean(0) - found.centre[j] - shares @ found.classes[:, j]
        square = ((rest @ np.linalg.inv(noise)) * rest).sum(1)
        total -= 0.5 * (freedom + width) * np.log1p(square / freedom)
    return np.array([total[0], logsumexp(total[1:]) - np.log(SHARES)])


def assumes(posterior) -> str:
    """One sentence on what a joint prediction presumes, for reports."""
    kind = idata.attribute(posterior, "kind")
    what = "its ratings are distributed" if kind == "continuous" else "it covers the classes"
    return f"A joint prediction presumes that each subject's set of trials is like the fit's: {what} as there."
