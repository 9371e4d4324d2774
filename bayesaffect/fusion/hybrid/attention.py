"""Attention over the heads of a trial, and the heads' coefficients under a shrinkage prior: shared by both hybrids.

A head is a modality with an embedding. On trial i of subject s, among the heads o that saw theirs,

    a_ij = |o| softmax_{j in o}( gamma_j + rho_sj - lambda u_ij - nu h_ij ),       a_ij = 1 for j not in o:

gamma_j how much a head counts, rho_sj what the late model learns of the subject's reliability (with its sign turned
where rho is an error), u_ij how unsure the opinion is of itself, standardised, and h_ij = 1 - quality. Equal scores
give every head weight 1, so that attention only moves weight between the heads of a trial. lambda, nu >= 0.

Coefficients of component d: H_d ~ N(0, (tau l_d)^2), log tau ~ N(log tau_0, 1), log l_d ~ N(0, 1): one scale for all,
one for each component, both away from the funnel at zero (a smooth relative of the horseshoe; Carvalho et al. 2010).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from bayesaffect.fusion.settings import Priors
from bayesaffect.types import Opinions

LEAST_SD = 1e-6
NAMES = ("gamma", "lambda", "nu")


def data(priors: Priors, owner: np.ndarray, groups: np.ndarray) -> dict[str, np.ndarray]:
    """What `sites` reads: prior scales, ``owner`` (D,) as one-hot rows (D, J) and where coefficients are centred."""
    return {
        "prior_attention": np.array([priors.attention]),
        "prior_head": np.array([np.log(priors.head), 1.0]),
        "owner": np.eye(int(owner.max()) + 1)[owner],
        "centring_head": groups,
    }


def sites(data: Mapping[str, Tensor], *, quality: bool) -> dict[str, Tensor]:
    """Sample gamma (J,), lambda, nu, tau, l (D,) and the latent coefficients; ``centring_head`` has their shape."""
    j = data["owner"].shape[1]
    f = data["centring_head"]

    def normal(name, location, scale, shape):
        wide = scale.expand(shape)
        where = location.expand(shape)
        return pyro.sample(name, dist.Normal(where, wide).to_event(len(shape)))

    scale = data["prior_attention"]
    values = {"gamma": normal("gamma", 0 * scale, scale, (j,))}
    for name in ("lambda", *(["nu"] if quality else [])):
        values[name] = pyro.sample(name, dist.HalfNormal(scale.reshape(())))
    values["log_tau"] = normal("log_tau", data["prior_head"][:1].reshape(()), data["prior_head"][1], ())
    one = data["prior_head"][1:]
    values["log_local"] = normal("log_local", 0 * one, one, (f.shape[0],))
    log_scale = (values["log_tau"] + values["log_local"]).reshape(-1, *[1] * (f.ndim - 1))
    spread = torch.exp(f * log_scale)
    values["latent_head"] = pyro.sample("latent_head", dist.Normal(0 * spread, spread).to_event(f.ndim))
    return values


def coefficients(values: Mapping[str, Tensor], data: Mapping[str, Tensor]) -> Tensor:
    """H (D, ...) from its partially centred latent: latent ~ N(0, scale^(2 f)), H = scale^(1 - f) latent."""
    f = data["centring_head"]
    log_scale = (values["log_tau"] + values["log_local"]).reshape(-1, *[1] * (f.ndim - 1))
    return torch.exp((1 - f) * log_scale) * values["latent_head"]


def weigh(values, rho, unsure, poor, here):
    """a of the module's equations, same shape as ``here`` (1 where a head saw its embedding).

    Arguments are torch tensors that broadcast against ``here``, whose first axis is the heads'; ``values`` holds gamma,
    lambda and nu shaped to broadcast as well; ``poor`` may be ``None``.
    """
    score = values["gamma"] + rho - values["lambda"] * unsure
    if poor is not None and "nu" in values:
        score = score - values["nu"] * poor
    top = torch.amax((score * here).detach(), 0, keepdim=True)
    size = torch.exp(score - top) * here
    total = size.sum(0, keepdim=True)
    share = size * here.sum(0, keepdim=True) / (total + (total == 0))
    return share + (1 - here)


def unsure(opinions: Opinions, target: str, used: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and sd over the ``used`` trials of how unsure each modality is (2, M), and that itself, standardised (N, M).

    Class probabilities: entropy / log K; ratings: log of the predictive sd. 0 where a modality is missing.
    """
    raw = raw_uncertainty(opinions, target)
    here = opinions.present.values & used[:, None]
    moments = np.zeros((2, raw.shape[1]))
    for k, column in enumerate(raw.T):
        seen = column[here[:, k]]
        moments[:, k] = (seen.mean(), seen.std()) if seen.size else (0.0, 0.0)
    return moments, standardised(opinions, target, moments)


def standardised(opinions: Opinions, target: str, moments: np.ndarray) -> np.ndarray:
    """u (N, M) of any opinions by the ``moments`` (2, M) of a fit; 0 for what does not vary or is missing."""
    mean, sd = moments
    z = (raw_uncertainty(opinions, target) - mean) / np.where(sd > LEAST_SD, sd, np.inf)
    return np.where(opinions.present.values, z, 0.0)


def raw_uncertainty(opinions: Opinions, target: str) -> np.ndarray:
    """Entropy / log K or log sd (N, M); what it is where a modality is missing does not matter."""
    here = opinions.present.values
    if opinions.target(target).kind == "continuous":
        return 0.5 * np.log(np.where(here, opinions.variance[target].values, 1.0))
    log_p = np.where(here[:, :, None], opinions.log_prob[target].values, 0.0)
    return -(np.exp(log_p) * log_p).sum(-1) / np.log(log_p.shape[-1])
