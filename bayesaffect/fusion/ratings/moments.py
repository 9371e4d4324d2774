"""Mean and variance of the truth given its opinions: the normal conditional that all likelihoods share."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bayesaffect.fusion import linalg
from bayesaffect.fusion.statistics import masked
from bayesaffect.types import Opinions

CHUNK = 250_000


def fused_moments(
    values,
    where: np.ndarray,
    new: np.ndarray,
    opinions: Opinions,
    target: str,
    poor: np.ndarray | None = None,
    *,
    evidence: bool = False,
):
    """Mean and variance (draw, trial) of the truth given the opinions; the equations are in `prediction.predict`.

    ``where`` (trial,) is the column of the subject's effects in ``values``, ``new`` (trial,) whether its u and delta
    are to be integrated over the population. ``poor`` (trial, modality), h of `discount`, is read where ``values`` hold
    ``quality_discount``. With ``evidence`` a third array follows, log p(x_i | draw) up to a constant of the trial:

        -1/2 [ log det Sigma + z'z + log(1 + v0 g'g) - var (g'z)^2 ].
    """
    present = opinions.present.values
    x = torch.as_tensor(masked(opinions.mean[target].values, present))
    sd = torch.as_tensor(np.sqrt(np.where(present, opinions.variance[target].values, 1.0)))
    t = {name: torch.as_tensor(np.ascontiguousarray(array)) for name, array in values.items()}
    k = torch.exp(t["log_kappa"][:, None] + t["rho"])
    h = torch.as_tensor(poor) if poor is not None and "quality_discount" in values else None
    n = x.shape[0]
    out = np.zeros((3 if evidence else 2, k.shape[0], n))
    patterns, pattern = np.unique(np.column_stack([present, new]), axis=0, return_inverse=True)
    step = max(1, CHUNK // k.shape[0])
    for code, row in enumerate(patterns):
        seen, fresh = np.flatnonzero(row[:-1]), bool(row[-1])
        rows = np.flatnonzero(pattern.ravel() == code)
        for begin in range(0, rows.size, step):
            part = rows[begin : begin + step]
            found = _moments(t, k, x[part], sd[part], where[part], seen, fresh, None if h is None else h[part])
            for array, value in zip(out, found, strict=False):
                array[:, part] = value.numpy()
    return tuple(out)


def _moments(t, k: Tensor, x: Tensor, sd: Tensor, where: np.ndarray, seen: np.ndarray, fresh: bool, h):
    who = torch.as_tensor(where)
    m0 = t["mu"][:, None] + t["delta"][:, who]
    v0 = (t["tau"] ** 2 + (t["sd_delta"] ** 2 if fresh else 0.0))[:, None].expand_as(m0)
    if not seen.size:
        return m0, v0, torch.zeros_like(m0)
    scale = [k[:, who, int(m)] * sd[:, int(m)] for m in seen]
    if h is not None:
        share = t["quality_discount"]
        scale = [v / (1 - share[:, int(m), None] * h[:, int(m)]) for v, m in zip(scale, seen, strict=True)]
    sigma = [
        [t["correlation"][:, int(p), int(q), None] * scale[i] * scale[j] for j, q in enumerate(seen)]
        for i, p in enumerate(seen)
    ]
    if fresh:
        for i, p in enumerate(seen):
            for j, q in enumerate(seen):
                if i == j or "offset_correlation" in t:
                    shared = t["offset_correlation"][:, int(p), int(q), None] if i != j else 1.0
                    sigma[i][j] = sigma[i][j] + shared * (t["omega"][:, int(p)] * t["omega"][:, int(q)])[:, None]
    lower = linalg.cholesky(sigma)
    b = [t["b"][:, int(m), None] for m in seen]
    level = [p * m0 for p in b]
    if "theta" in t:
        mu = t["mu"][:, None]
        b = [p * torch.exp(t["theta"][:, None] * t["rho"][:, who, int(m)]) for p, m in zip(b, seen, strict=True)]
        level = [t["b"][:, int(m), None] * mu + p * (m0 - mu) for p, m in zip(b, seen, strict=True)]
    rest = [x[:, int(m)] - t["a"][:, int(m), None] - t["u"][:, who, int(m)] - level[i] for i, m in enumerate(seen)]
    g, z = linalg.forward(lower, b), linalg.forward(lower, rest)
    told = v0 * sum(v * v for v in g)
    variance = v0 / (1 + told)
    pull = sum(p * q for p, q in zip(g, z, strict=True))
    square = sum(v * v for v in z) - variance * pull * pull
    return m0 + variance * pull, variance, -0.5 * (linalg.log_determinant(lower) + square + torch.log1p(told))
