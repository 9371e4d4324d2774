"""Trials padded into their subjects, for the likelihoods that do not collapse into sums (`student`, `ordinal`).

u_s, which the normal model integrates out, is sampled here, partially centred like rho: latent_u ~ N(w a, omega^(2 w))
and a + u = a + omega^(1 - w) (latent_u - w a), w from `centring`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from bayesaffect.fusion import linalg
from bayesaffect.fusion.ratings import continuous
from bayesaffect.fusion.statistics import Index, centring, masked
from bayesaffect.types import Opinions


def trials(opinions: Opinions, target: str, where: Index, poor: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Opinions and truth of the used trials, T slots per subject; a slot that is empty holds zeros.

    ``x`` and ``root`` = v^-1/2 (S, T, M), 0 where missing; ``y`` and ``used`` (S, T); ``pattern`` (S, T, P) 1 at the
    missingness pattern of a trial, in the order of ``observed``; ``poor`` (S, T, M), h of `discount`, where given.
    """
    present = opinions.present.values
    patterns, pattern = np.unique(present, axis=0, return_inverse=True)
    arrays = {
        "x": masked(opinions.mean[target].values, present),
        "root": np.where(present, opinions.variance[target].values, np.inf) ** -0.5,
        "y": opinions.truth[target].values,
        "used": np.ones(present.shape[0]),
        "pattern": np.eye(len(patterns))[pattern.ravel()],
    }
    if poor is not None:
        arrays["poor"] = np.where(present, poor, 0.0)
    return {name: padded(values, where) for name, values in arrays.items()}


def padded(values: np.ndarray, where: Index) -> np.ndarray:
    """Rows of ``values`` (N, ...) of the used trials in their subjects' slots (S, T, ...), zeros elsewhere."""
    s = len(where.subjects)
    sizes = np.bincount(where.subject, minlength=s)
    slot = np.zeros(where.subject.size, dtype=int)
    slot[np.argsort(where.subject, kind="stable")] = np.concatenate([np.arange(n) for n in sizes])
    out = np.zeros((s, sizes.max(), *values.shape[1:]))
    out[where.subject[where.used], slot[where.used]] = values[where.used]
    return out


def guess(n_opinion: np.ndarray) -> np.ndarray:
    """Centring of u before anything is known: n opinions with errors of about 0.3 tell about an offset of about 0.1."""
    information = n_opinion / 0.3**2
    return information / (information + 0.1**-2)


def recentred(values: Mapping[str, np.ndarray], data: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The data with the centring of rho and u learned from draws."""
    if continuous.alike(data):
        return dict(data)
    return {
        **continuous.recentred(values, data),
        "centring_u": centring(values["u"], values["omega"][:, :, None]),
    }


def sample_offsets(values: Mapping[str, Tensor], data: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The site of u; nothing where subjects are alike."""
    if continuous.alike(data):
        return {}
    w = data["centring_u"]
    spread = torch.exp(w * torch.log(values["omega"]))
    return {"latent_u": pyro.sample("latent_u", dist.Normal(w * values["a"], spread).to_event(2))}


def offsets(values: Mapping[str, Tensor], data: Mapping[str, Tensor]) -> Tensor:
    """a_m + u_sm (S, M)."""
    w = data["centring_u"]
    if "latent_u" not in values:
        return values["a"].expand(w.shape)
    scale = torch.exp((1 - w) * torch.log(values["omega"]))
    return values["a"] + scale * (values["latent_u"] - w * values["a"])


def precisions(values: Mapping[str, Tensor], data: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """(R_pp)^-1 with the identity where p lacks a modality (P, M, M), and log det R_pp (P,)."""
    seen = data["observed"]
    m = seen.shape[1]
    eye = torch.eye(m, dtype=seen.dtype)
    both = seen[:, :, None] * seen[:, None, :]
    return linalg.precision(both * continuous.correlation(values, m) + (1 - seen)[:, :, None] * eye)


def roots(values: Mapping[str, Tensor], data: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """1 / D_im = r_im / (k_sm sqrt(v_im)) (S, T, M), 0 where missing, and sum of log D over all opinions, less log v/2.

    The second is sum log k - sum log r, a scalar.
    """
    log_k = continuous.log_k(values, data)
    inverse = data["root"] * torch.exp(-log_k)[:, None]
    total = (data["n_opinion"] * log_k).sum()
    if "quality_discount" in values:
        left = 1 - values["quality_discount"] * data["poor"]
        inverse = inverse * left
        total = total - ((data["root"] > 0) * torch.log(left)).sum()
    return inverse, total


def product(e: Tensor, f: Tensor, precision: Tensor, data: Mapping[str, Tensor]) -> Tensor:
    """e' (R_OO)^-1 f per trial (S, T), for e and f (S, T, M) that are zero where missing."""
    s, t, m = e.shape
    each = (data["pattern"] @ precision.reshape(-1, m * m)).reshape(s, t, m, m)
    return (e[..., :, None] * each * f[..., None, :]).sum((-1, -2))
