"""Late fusion of ordinal ratings: the truth is a number on the rating scale that people report in whole steps.

The model of `continuous` with the truth z_i as a latent number and the rating c_i = 1..K as what is seen of it,

    z_i ~ N(mu + delta_s, tau^2),     c_i = k  where  t_(k-1) < z_i <= t_k,     x_i = a + b z_i + u_s + e_i.

Outer cut points t_1 and t_(K-1) lie half a step from the ends of the scale, and fix where z lives. Those between are
learned: the K - 2 widths between them have a Dirichlet prior around equal ones. t_0 and t_K are infinite. So ratings at
the ends of the scale may stand for any number beyond, and levels that people avoid are narrow.

z_i is integrated out; u_s and delta_s are sampled:

    p(c_i, x_i) = N(x_i; a + u + b m0, D R D + tau^2 b b') [ Phi((t_c - m) / s) - Phi((t_(c-1) - m) / s) ],

m and s^2 the mean and variance of z_i given x_i (`prediction`), m0 = mu + delta_s.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from scipy.special import log_ndtr
from torch import Tensor

from bayesaffect.errors import InputError
from bayesaffect.fusion.ratings import continuous, padded
from bayesaffect.fusion.settings import Model, Priors
from bayesaffect.fusion.statistics import Index, centring
from bayesaffect.fusion.statistics import continuous as sums
from bayesaffect.types import Opinions, Target

FAR = 40.0


def levels(target: Target, step: float = 1.0) -> np.ndarray:
    """The ratings of the scale on [-1, 1] (K,).

    Raises
    ------
    InputError : fewer than three levels, or a scale that does not end on one.
    """
    low, high = target.bounds
    count = (high - low) / step
    if abs(count - round(count)) > 1e-6 or round(count) < 2:
        raise InputError(
            f"steps of {step:g} do not lead from {low:g} to {high:g} in two or more",
            remedy="give the step between two ratings, or choose the normal likelihood",
        )
    return np.linspace(-1, 1, round(count) + 1)


def cells(truth: np.ndarray, target: Target, step: float = 1.0) -> np.ndarray:
    """Position of each rating (N,) among the `levels`; -1 where it is unknown.

    Raises
    ------
    InputError : a rating between two levels.
    """
    scale = levels(target, step)
    position = (truth + 1) * (scale.size - 1) / 2
    nearest = np.nan_to_num(position, nan=-1.0).round().astype(int)
    wrong = np.isfinite(truth) & (np.abs(position - nearest) > 1e-3)
    if wrong.any():
        rating = target.from_unit(truth[wrong.argmax()])
        raise InputError(
            f"a rating of {target.name!r} is {rating:.4g}, between two steps of {step:g}",
            remedy="choose the normal likelihood for ratings without steps",
        )
    return nearest


def data(
    opinions: Opinions, target: str, where: Index, priors: Priors, model: Model, poor: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Everything the density reads, as arrays: padded trials, prior scales, centring, and where ratings lie.

    ``cell`` (S, T, K) is 1 at the rating of a used trial, ``spacing`` (2, K - 3) are the Beta parameters of the stick
    breaking that makes the Dirichlet, ``outer`` (2,) the first and the last cut point.
    """
    spec = opinions.target(target)
    scale = levels(spec, model.step)
    where_cell = cells(opinions.truth[target].values, spec, model.step)
    base = continuous.data(sums(opinions, target, where, poor), priors, opinions.variance_known, model)
    skipped = ("sums", "shift_x", "shift_y", "mean_truth", "square_truth", "poor_nodes", "poor_weights")
    trials = padded.trials(opinions, target, where, poor)
    one_hot = np.eye(scale.size)[where_cell.clip(0)]
    half = 1 / (scale.size - 1)
    rest = np.arange(scale.size - 3, 0, -1.0)
    n = base["n_truth"]
    return {
        **{name: value for name, value in base.items() if name not in skipped},
        **{name: value for name, value in trials.items() if name != "y"},
        "cell": padded.padded(one_hot, where),
        "spacing": priors.spacing * np.stack([np.ones_like(rest), rest]),
        "outer": np.array([scale[0] + half, scale[-1] - half]),
        "centring_u": padded.guess(base["n_opinion"]),
        "centring_delta": n / (n + 10.0),
    }


def recentred(values: Mapping[str, np.ndarray], data: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The data with the centring of rho, u and delta learned from draws."""
    if continuous.alike(data):
        return dict(data)
    learnt = centring(values["delta"], values["sd_delta"][:, :, None])
    return {**padded.recentred(values, data), "centring_delta": learnt}


def model(data: Mapping[str, Tensor]) -> None:
    """The Pyro model of the module's equations; ``data`` as made by `data`."""
    values = continuous.population(data)
    values |= padded.sample_offsets(values, data)
    if not continuous.alike(data):
        w = data["centring_delta"]
        spread = torch.exp(w * torch.log(values["sd_delta"]))
        values["latent_delta"] = pyro.sample("latent_delta", dist.Normal(w * values["mu"], spread).to_event(1))
    if data["spacing"].shape[1]:
        first, second = data["spacing"][0], data["spacing"][1]
        values["stick"] = pyro.sample("stick", dist.Beta(first, second).to_event(1))
    pyro.factor("opinions", joint_term(values, data))


def level(values: Mapping[str, Tensor], data: Mapping[str, Tensor]) -> Tensor:
    """mu + delta_s (S,)."""
    w = data["centring_delta"]
    if "latent_delta" not in values:
        return values["mu"].expand(w.shape)
    scale = torch.exp((1 - w) * torch.log(values["sd_delta"]))
    return values["mu"] + scale * (values["latent_delta"] - w * values["mu"])


def cuts(values: Mapping[str, Tensor], data: Mapping[str, Tensor]) -> Tensor:
    """Cut points t_1..t_(K-1) (K - 1,): the outer ones and, between them, cumulated widths of the broken stick."""
    first, last = data["outer"][:1], data["outer"][1:]
    if "stick" not in values:
        return data["outer"]
    left = torch.ones_like(first)
    inner = []
    for part in values["stick"].split(1):
        left = left * (1 - part)
        inner.append(last - (last - first) * left)
    return torch.cat([first, *inner, last])


def joint_term(values: Mapping[str, Tensor], data: Mapping[str, Tensor]) -> Tensor:
    """log p(c, x | u, delta) of all trials (a scalar); the equation is the module's."""
    inverse, log_scale = padded.roots(values, data)
    precision, log_det = padded.precisions(values, data)
    m0 = level(values, data)[:, None]
    e = (data["x"] - padded.offsets(values, data)[:, None] - values["b"] * m0[:, :, None]) * inverse
    g = values["b"] * inverse
    a = padded.product(g, g, precision, data)
    h = padded.product(g, e, precision, data)
    v0 = values["tau"] * values["tau"]
    variance = v0 / (1 + v0 * a)
    mean = m0 + variance * h
    square = padded.product(e, e, precision, data) - variance * h * h + torch.log1p(v0 * a)
    n = data["n_opinion"].sum()
    shared = (data["n_pattern"] * log_det).sum() + data["log_variance"].sum() + n * continuous.LOG_2PI
    edge = FAR * torch.ones_like(data["outer"][:1])
    bounds = torch.cat([-edge, cuts(values, data), edge])
    sd = torch.sqrt(variance)
    inside = log_interval((data["cell"] @ bounds[:-1] - mean) / sd, (data["cell"] @ bounds[1:] - mean) / sd)
    return (data["used"] * (inside - 0.5 * square)).sum() - log_scale - 0.5 * shared


def log_interval(low: Tensor, high: Tensor) -> Tensor:
    """log(Phi(high) - Phi(low)) of low < high, accurate in both tails."""
    flip = low + high > 0
    low, high = torch.where(flip, -high, low), torch.where(flip, -low, high)
    upper = torch.special.log_ndtr(high)
    return upper + torch.log(-torch.expm1((torch.special.log_ndtr(low) - upper).clamp(max=-1e-12)))


def effects(values: Mapping[str, Tensor], data: Mapping[str, Tensor], noise: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One draw's quantities that people read. ``noise`` is not used."""
    values = continuous.completed(values, data)
    return {
        **continuous.readable(values, data),
        "u": padded.offsets(values, data) - values["a"],
        "delta": level(values, data) - values["mu"],
        "cut": cuts(values, data),
    }


DIMS = {**continuous.DIMS, "cut": ["boundary"]}


def probabilities(mean: np.ndarray, variance: np.ndarray, cut: np.ndarray) -> np.ndarray:
    """log P(rating = k) (draw, trial, K) of z ~ N(mean, variance) (draw, trial) with cut points (draw, K - 1).

    Raised to at least 1e-300 where a level is out of reach, and normalised.
    """
    z = (cut[:, None, :] - mean[..., None]) / np.sqrt(variance)[..., None]
    edge = np.full((*z.shape[:2], 1), np.inf)
    low, high = np.concatenate([-edge, z], -1), np.concatenate([z, edge], -1)
    flip = low > 0
    low, high = np.where(flip, -high, low), np.where(flip, -low, high)
    upper, lower = log_ndtr(high), log_ndtr(low)
    with np.errstate(divide="ignore"):
        found = upper + np.log(-np.expm1(np.minimum(lower - upper, -1e-300)))
    found = np.maximum(found, np.log(1e-300))
    return found - np.log(np.exp(found).sum(-1, keepdims=True))


def moments(log_prob: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of the rating on [-1, 1], of level probabilities (..., K) on the `levels` (K,)."""
    p = np.exp(log_prob)
    mean = p @ scale
    return mean, np.maximum((p * (scale - mean[..., None]) ** 2).sum(-1), 1e-12)
