"""What a model believes before the data: parameters, effects, truths and opinions drawn from the prior."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace

import numpy as np
import pyro
import torch
from pyro import poutine

from bayesaffect.fusion import categorical, idata, statistics
from bayesaffect.fusion.people.effects_normal import gains
from bayesaffect.fusion.prediction import fused_log_prob
from bayesaffect.fusion.ratings import likelihoods, ordinal
from bayesaffect.fusion.settings import Model, Priors
from bayesaffect.types import Opinions

OF_DATA = ("sums", "n_truth", "mean_truth", "square_truth", "shift_y")


def prior_predictive(
    opinions: Opinions,
    target: str,
    *,
    priors: Priors | None = None,
    model: Model | None = None,
    seed: int,
    draws: int = 500,
):
    """Draws of everything the model knows nothing about yet, on the trials of ``opinions``.

    Each draw takes parameters and effects of every subject from their priors, and from them for every trial

        y ~ N(mu + delta_s, tau^2),    x ~ a + b y + u_s + e    (continuous; a rating is y's level on an ordinal scale),
        y ~ Categorical(softmax(eta))                           (categorical, given the opinions as they are).

    Of ``opinions`` only subjects, presence, predictive variances and log-probabilities are read, never truth or means.

    Parameters
    ----------
    priors, model : as of `fit`; ``None`` for the defaults.
    draws : how many, fewer where draws x trials x modalities would exceed eight million numbers.

    Returns
    -------
    InferenceData with groups prior (the parameters of a fit's posterior), prior_predictive (the target, and
    ``opinion`` (trial, modality) of a continuous one, NaN where missing), observed_data (the truth, NaN or -1 where
    unknown), and the attributes of a fit.

    Raises
    ------
    InputError : unknown target, or no opinions on it.
    """
    priors, model = priors or Priors(), model or Model()
    spec = statistics.check_opinions_on(opinions, target)
    subjects, subject = np.unique(opinions.subject.values.astype(str), return_inverse=True)
    everything = statistics.Index(tuple(map(str, subjects)), subject, np.ones(subject.size, dtype=bool))
    n, m = opinions.present.shape
    draws = max(1, min(draws, idata.MAX_ELEMENTS // (n * m)))
    module, data = _without_data(opinions, target, everything, priors, model)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 3]))
    values = _parameters(module, data, draws, rng)
    if spec.kind == "continuous":
        predicted = _ratings(values, opinions, spec, subject, model, rng)
    else:
        log_prob = fused_log_prob(values, subject, opinions, target)
        predicted = {target: statistics.drawn_classes(np.exp(log_prob), rng)}
    names = list(opinions.modalities)
    coords = {"subject": list(subjects), "modality": names, "modality_bis": names}
    coords |= {"trial": [str(t) for t in opinions.present["trial"].values]}
    if spec.kind == "categorical":
        coords |= {"level": list(spec.levels), "level_bis": list(spec.levels)}
    groups = {
        "prior": {name: v[None] for name, v in values.items()},
        "prior_predictive": {name: v[None] for name, v in predicted.items()},
        "observed_data": {target: opinions.truth[target].values},
    }
    attrs = {
        **idata.described(spec),
        "model": asdict(model),
        "priors": asdict(priors),
        "seed": int(seed),
    }
    dims = module.DIMS | {target: ["trial"], "opinion": ["trial", "modality"]}
    return idata.build(groups, coords=coords, dims=dims, attrs=attrs)


def _without_data(opinions: Opinions, target: str, where: statistics.Index, priors: Priors, model: Model):
    """The model's module and its data with nothing observed in them."""
    nothing = np.zeros(where.subject.size)
    spec = opinions.target(target)
    if spec.kind == "categorical":
        blank = replace(opinions, truth=opinions.truth.assign({target: ("trial", nothing.astype(int))}))
        return categorical, categorical.data(statistics.categorical(blank, target, where), priors)
    lowest = nothing - (model.likelihood == "ordinal")
    blank = replace(opinions, truth=opinions.truth.assign({target: ("trial", lowest)}))
    data = likelihoods.unchecked(blank, target, where, priors, model)
    return likelihoods.MODULES[model.likelihood], {
        name: np.zeros_like(v) if name in OF_DATA else v for name, v in data.items()
    }


def _parameters(module, data: Mapping[str, np.ndarray], draws: int, rng) -> dict[str, np.ndarray]:
    """``module.effects`` of draws from the model's sites (draw, ...)."""
    tensors = {name: torch.as_tensor(v, dtype=torch.float64) for name, v in data.items()}
    shape = data["n_opinion"].shape if "n_opinion" in data else (1, 1)
    found = []
    with torch.random.fork_rng(devices=[]), torch.no_grad(), pyro.validation_enabled(False):
        torch.manual_seed(int(rng.integers(2**31)))
        for _ in range(draws):
            nodes = poutine.trace(module.model).get_trace(tensors).nodes
            sites = {
                n: node["value"] for n, node in nodes.items() if node["type"] == "sample" and not node["is_observed"]
            }
            noise = {"u": torch.as_tensor(rng.normal(size=shape)), "delta": torch.as_tensor(rng.normal(size=shape[0]))}
            found.append(module.effects(sites, tensors, noise))
    return {name: np.stack([f[name].numpy() for f in found]) for name in found[0]}


def _ratings(values, opinions: Opinions, spec, subject: np.ndarray, model: Model, rng) -> dict[str, np.ndarray]:
    """Truths (draw, trial) and opinions (draw, trial, modality) of given parameters."""
    here = opinions.present.values
    y = (values["mu"][:, None] + values["delta"])[:, subject]
    y = y + values["tau"][:, None] * rng.standard_normal(y.shape)
    lower = np.linalg.cholesky(values["correlation"] + 1e-12 * np.eye(here.shape[1]))
    error = rng.standard_normal((*y.shape, here.shape[1])) @ lower.transpose(0, 2, 1)
    if "nu" in values:
        half = 0.5 * values["nu"][:, None]
        error /= np.sqrt(np.maximum(rng.gamma(half, 1 / half, y.shape), 1e-300))[..., None]
    error *= values["reliability"][:, subject] * np.sqrt(np.where(here, opinions.variance[spec.name].values, np.nan))
    mu = values["mu"][:, None]
    x = (values["a"][:, None] + values["u"])[:, subject] + values["b"][:, None] * mu[..., None] + error
    x = x + gains(values, values["rho"][:, subject]) * (y - mu)[..., None]
    if model.likelihood == "ordinal":
        cell = (y[..., None] > values["cut"][:, None]).sum(-1)
        y = ordinal.levels(spec, model.step)[cell]
    return {spec.name: y, "opinion": x}
