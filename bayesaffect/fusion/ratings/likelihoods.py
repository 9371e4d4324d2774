"""What differs between the likelihoods of a continuous target: their data, and how the truth is read from opinions."""

from __future__ import annotations

import json

import numpy as np

from bayesaffect.fusion import statistics
from bayesaffect.fusion.checks import degenerate
from bayesaffect.fusion.ratings import continuous, ordinal, student
from bayesaffect.fusion.ratings.moments import fused_moments
from bayesaffect.fusion.settings import Model, Priors
from bayesaffect.types import Opinions, Target

MODULES = {"normal": continuous, "student": student, "ordinal": ordinal}
EXTRA = {"normal": (), "student": ("nu",), "ordinal": ("cut",)}


def data(opinions: Opinions, target: str, where: statistics.Index, priors: Priors, model: Model, poor=None):
    """What the density of ``model`` reads; ``poor`` (N, M), h of `discount`, where poor signals are discounted.

    Raises
    ------
    InputError : data on which the density has no upper bound (`degenerate`).
    """
    degenerate.refuse(opinions, target, where, likelihood=model.likelihood)
    return unchecked(opinions, target, where, priors, model, poor)


def unchecked(opinions: Opinions, target: str, where: statistics.Index, priors: Priors, model: Model, poor=None):
    """`data` of whatever is given."""
    if model.likelihood == "normal":
        sums = statistics.continuous(opinions, target, where, poor)
        return continuous.data(sums, priors, opinions.variance_known, model)
    return MODULES[model.likelihood].data(opinions, target, where, priors, model, poor)


def cost(target: Target, model: Model) -> int:
    """Numbers held at once per draw and trial by `in_sample`."""
    if model.likelihood == "normal":
        return 1
    return student.NODES if model.likelihood == "student" else ordinal.levels(target, model.step).size


def of_fit(posterior) -> Model:
    """The model of a fit; the default where it does not say (a fit of before there was a choice)."""
    text = posterior["posterior"].attrs.get("model")
    return Model() if text is None else Model(**json.loads(text))


def extra(model: Model) -> tuple[str, ...]:
    """Names of the parameters that a likelihood has besides those of the normal one."""
    return EXTRA[model.likelihood]


def fused(values, where, new, opinions: Opinions, target: Target, *, poor, rng, posterior) -> dict[str, np.ndarray]:
    """``mean`` and ``variance`` (draw, trial) of the truth given the opinions, as `prediction.predict` returns them.

    Student-t: at a weight of the trial drawn from its posterior. Ordinal: of the reported rating, with ``log_prob``
    (draw, trial, level) and the names of the ratings, ``level``.
    """
    model = of_fit(posterior)
    if model.likelihood == "student":
        mean, variance = student.draw(values, where, new, opinions, target.name, poor, rng)
        return {"mean": mean, "variance": variance}
    mean, variance = fused_moments(values, where, new, opinions, target.name, poor)
    if model.likelihood == "normal":
        return {"mean": mean, "variance": variance}
    scale = ordinal.levels(target, model.step)
    log_prob = ordinal.probabilities(mean, variance, values["cut"])
    mean, variance = ordinal.moments(log_prob, scale)
    names = [f"{target.from_unit(r):g}" for r in scale]
    return {"mean": mean, "variance": variance, "log_prob": log_prob, "level": names}


def in_sample(values, where, opinions: Opinions, target: Target, *, poor, rng, model: Model):
    """log p(truth | opinions, draw) of known subjects and truths drawn given the opinions, both (draw, trial)."""
    name, truth = target.name, opinions.truth[target.name].values
    new = np.zeros(where.size, dtype=bool)
    if model.likelihood == "student":
        likelihood = student.log_density(values, where, new, opinions, name, poor, truth)
        mean, variance = student.draw(values, where, new, opinions, name, poor, rng)
        return likelihood, mean + np.sqrt(variance) * rng.standard_normal(mean.shape)
    mean, variance = fused_moments(values, where, new, opinions, name, poor)
    if model.likelihood == "normal":
        likelihood = -0.5 * (np.log(2 * np.pi * variance) + (truth - mean) ** 2 / variance)
        return likelihood, mean + np.sqrt(variance) * rng.standard_normal(mean.shape)
    log_prob = ordinal.probabilities(mean, variance, values["cut"])
    cell = ordinal.cells(truth, target, model.step)
    drawn = ordinal.levels(target, model.step)[statistics.drawn_classes(np.exp(log_prob), rng)]
    return np.take_along_axis(log_prob, cell[None, :, None], 2)[..., 0], drawn
