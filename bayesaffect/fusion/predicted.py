"""Predictions as the object ArviZ works on."""

from __future__ import annotations

import numpy as np

from bayesaffect.fusion import idata
from bayesaffect.fusion.statistics import drawn_classes
from bayesaffect.types import Predictive


def to_inference_data(predictive: Predictive, target: str, *, seed: int):
    """Draws of a predicted truth, with named dims.

    Parameters
    ----------
    predictive : what `predict`, `predict_jointly` or a network said; all its draws become one chain.
    target : one of its targets.
    seed : for the draws of the truth.

    Returns
    -------
    InferenceData with the groups posterior, per draw of the parameters ``mean`` and ``sd`` (chain, draw, trial) in
    rating units, or ``probability`` (chain, draw, trial, level); and posterior_predictive, the truth drawn from
    them: a rating, or the number of a level.
    """
    spec = next(t for t in predictive.targets if t.name == target)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 6]))
    coords = {"trial": [str(t) for t in predictive.trial.values]}
    dims = {target: ["trial"]}
    if spec.kind == "continuous":
        mean = spec.from_unit(predictive.mean[target].transpose("draw", "trial").values)
        sd = np.sqrt(predictive.variance[target].transpose("draw", "trial").values) * spec.half_range
        found = {"mean": mean, "sd": sd}
        truth = mean + sd * rng.standard_normal(mean.shape)
        dims |= {"mean": ["trial"], "sd": ["trial"]}
    else:
        probability = np.exp(predictive.log_prob[target].transpose("draw", "trial", "level").values)
        found = {"probability": probability}
        truth = drawn_classes(probability, rng)
        dims |= {"probability": ["trial", "level"]}
        coords |= {"level": list(spec.levels)}
    groups = {"posterior": {n: v[None] for n, v in found.items()}, "posterior_predictive": {target: truth[None]}}
    return idata.build(groups, coords=coords, dims=dims, attrs=idata.described(spec) | {"seed": seed})
