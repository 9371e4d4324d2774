"""A new person's trials predicted together: the person's effects are inferred from the opinions alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import xarray as xr
from scipy.special import logsumexp

from bayesaffect.errors import InputError
from bayesaffect.fusion import discount, habits, idata
from bayesaffect.fusion.people import effects_pool, jointly_normal, shares
from bayesaffect.fusion.people.adaptation import check, population
from bayesaffect.fusion.prediction import on_scale, trained_on
from bayesaffect.fusion.statistics import contrasts, features
from bayesaffect.types import Opinions, Predictive


def predict_jointly(
    posterior, opinions: Opinions, *, target: str, seed: int, draws: int = 1000, balanced: float = 0.8
) -> Predictive:
    """Posterior of the truth of every trial, subject by subject, from all of a subject's opinions together.

    It presumes that the trials given are what the subject saw of stimuli like those of the fit: for a continuous
    target that their truth is spread as in the fit's subjects, for a categorical one that with probability
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
    Continuous: truths and offsets given the opinions in closed form, rho drawn with them, two readings of the set
    (`jointly_normal`). Categorical: shares
    q of the classes are drawn given the opinions (`shares`), the habit c given q, delta and rho from the population;
    then each draw's log-odds are tilted until the trials' mean probability of every class is q, which is what a known
    number of trials of each class says.

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


def _ratings(posterior, opinions: Opinions, target: str, seed, draws: int, balanced: float) -> Predictive:
    rng = np.random.default_rng(seed)
    values = population(posterior, draws)
    these = jointly_normal.prepared(values, opinions, target, discount.of_fit(posterior, opinions))
    truth, who = posterior["observed_data"][target].values, posterior["constant_data"]["trial_subject"].values
    spreads = jointly_normal.variances(values, truth, who, opinions.present.sizes["trial"], rng)
    coords = {"trial": opinions.present["trial"].values, "subject": ("trial", opinions.subject.values)}
    mean, variance = jointly_normal.moments(values, these, spreads, balanced, rng)
    mean, variance = (
        {target: xr.DataArray(array, dims=("draw", "trial"), coords=coords)} for array in (on_scale(mean), variance)
    )
    return Predictive(
        (idata.target_of(posterior),),
        xr.DataArray(opinions.subject.values, dims="trial", coords=coords),
        mean,
        variance,
        trained_on=trained_on(posterior, opinions),
    )


def _classes(posterior, opinions: Opinions, target: str, seed, draws: int, balanced: float) -> Predictive:
    rng = np.random.default_rng(seed)
    values = population(posterior, draws)
    size, m = values["w"].shape
    spec = idata.target_of(posterior)
    k = len(spec.levels)
    poor = discount.of_fit(posterior, opinions)
    found = habits.of_fit(posterior)
    if found is None:
        raise InputError("this fit knows nothing of its subjects' habits", remedy="fit again with this version")
    f, here = features(opinions, target), opinions.present.values
    typical = {n: a.mean(0, keepdims=True) for n, a in values.items()}

    def classify(c):
        said, base = effects_pool.offers(
            {n: np.repeat(a, c.shape[0], 0) for n, a in typical.items()}, c, opinions, target, poor
        )
        eta = base + said.sum(2)
        return eta - logsumexp(eta, -1, keepdims=True)

    truth = posterior["observed_data"][target].values.astype(int)
    even, alike, usual = shares.alike(truth, posterior["constant_data"]["trial_subject"].values, k)
    a = shares.concentration(alike, usual, f.shape[0])
    q, weight = shares.drawn(
        f,
        here,
        found,
        even,
        a,
        classify,
        sd=float(values["sd_delta"].mean()),
        balanced=balanced,
        rng=rng,
    )
    q = q[rng.choice(weight.size, size, p=weight)]
    mean, spread = shares.habit(q, f, here, found)
    c = mean + habits.noise(spread, (size,), rng)
    v = rng.standard_normal((size, k - 1 + m)) / np.sqrt(effects_pool.precision(values, k))
    said, base = effects_pool.offers(values, c, opinions, target, poor)
    eta = base + (v[:, : k - 1] @ contrasts(k).T)[:, None] + np.einsum("dm,dnmk->dnk", np.exp(v[:, k - 1 :]), said)
    out = shares.matched(eta, q)
    out = out - logsumexp(out, -1, keepdims=True)
    coords = {"trial": opinions.present["trial"].values, "subject": ("trial", opinions.subject.values)}
    array = xr.DataArray(out, dims=("draw", "trial", "level"), coords=coords | {"level": list(spec.levels)})
    who = xr.DataArray(opinions.subject.values, dims="trial", coords=coords)
    return Predictive(
        (spec,),
        who,
        log_prob={target: array},
        trained_on=trained_on(posterior, opinions),
    )


def assumes(posterior) -> str:
    """One sentence on what a joint prediction presumes, for reports."""
    kind = idata.attribute(posterior, "kind")
    what = "its ratings are spread" if kind == "continuous" else "it covers the classes"
    return f"A joint prediction presumes that each subject's set of trials is like the fit's: {what} as there."
