"""The two sides of a simulation-based calibration of the late fusion models: who draws, and who fits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from bayesaffect.fusion import late, prediction, statistics
from bayesaffect.fusion.checks import generate
from bayesaffect.fusion.settings import Priors, Sampling
from bayesaffect.types import Opinions

SAMPLING = Sampling(draws=400, tune=400, chains=2, pilot=150, attempts=1)
CONTINUOUS = ("mu", "sd_delta", "tau", "a", "b", "omega", "log_kappa", "sd_rho")
CATEGORICAL = ("w", "sd_delta", "sd_rho", "habit_share")


def sides(
    shape: generate.Shape,
    *,
    sampling: Sampling = SAMPLING,
    priors: Priors | None = None,
    believed: Priors | None = None,
    cache: Path | None = None,
) -> tuple[Callable, Callable]:
    """``simulate(seed) -> (truth, opinions)`` and ``fit(opinions, seed, longer) -> draws`` of the same quantities.

    Parameters
    ----------
    shape : how much is drawn, and which model.
    sampling : of a fit with ``longer`` = 1; ``draws`` are multiplied by it.
    priors, believed : what parameters are drawn from, and what the fit takes for that; the same unless a wrong prior is
        planted.
    """

    def simulate(seed: int):
        parameters, opinions = generate.opinions(shape, priors=priors, seed=seed)
        one = {name: np.asarray(v)[None, None] for name, v in parameters.items()}
        return {name: v[0, 0] for name, v in quantities(one, opinions).items()}, opinions

    def fit(opinions: Opinions, seed: int, longer: int):
        posterior = late.fit(
            opinions,
            opinions.targets[0].name,
            sampling=replace(sampling, draws=sampling.draws * longer),
            priors=believed or priors,
            seed=seed,
            cache=cache,
        )["posterior"]
        values = {name: v.transpose("chain", "draw", ...).values for name, v in posterior.data_vars.items()}
        return quantities(values, opinions)

    return simulate, fit


def quantities(values: Mapping[str, np.ndarray], opinions: Opinions) -> dict[str, np.ndarray]:
    """What is ranked, (chain, draw, ...) each: population parameters, the first subject's effects, mean squares of all
    subjects' effects, and the log-likelihood of the truths, sum_i log p(y_i | opinions, effects of s).

    Subjects are exchangeable, so one of them is as good as all; quantities that follow from others are left out.
    """
    target = opinions.targets[0]
    if target.kind == "continuous":
        below = np.tril_indices(values["correlation"].shape[-1], -1)
        out = {name: values[name] for name in CONTINUOUS}
        out |= {"correlation": values["correlation"][:, :, *below]}
        effects, names = ("rho", "u", "delta"), prediction.CONTINUOUS
    else:
        out = {name: values[name] for name in CATEGORICAL}
        out |= {name: values[name][..., :-1] for name in ("alpha", "alpha_missing")}
        out |= {"matrix": values["matrix"][..., 0, :2]}
        effects, names = ("rho", "delta"), prediction.CATEGORICAL
    for name in effects:
        every = values[name][..., :-1] if name == "delta" and target.levels else values[name]
        out[f"{name}_first"] = every[:, :, 0]
        out[f"{name}_square"] = (every**2).mean(2)
    lead = values["rho"].shape[:2]
    flat = {name: values[name].reshape(-1, *values[name].shape[2:]) for name in prediction.read(values, names)}
    out["log_likelihood"] = _log_likelihood(flat, opinions).reshape(lead)
    return out


def _log_likelihood(values: Mapping[str, np.ndarray], opinions: Opinions) -> np.ndarray:
    target = opinions.targets[0]
    who = statistics.index(opinions, target.name).subject
    truth = opinions.truth[target.name].values
    if target.kind == "continuous":
        mean, variance = prediction.fused_moments(values, who, np.zeros(who.size, dtype=bool), opinions, target.name)
        return -0.5 * (np.log(2 * np.pi * variance) + (truth - mean) ** 2 / variance).sum(-1)
    log_prob = prediction.fused_log_prob(values, who, opinions, target.name)
    return log_prob[:, np.arange(truth.size), truth.astype(int)].astype(float).sum(-1)
