"""The fused posterior of the truth given opinions, for people the model knows and for people it has never seen."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from bayesaffect.errors import InputError
from bayesaffect.fusion import discount, idata, linalg
from bayesaffect.fusion.statistics import contrasts, design, masked
from bayesaffect.types import Opinions, Predictive, Target

CHUNK = 250_000
CONTINUOUS = ("mu", "sd_delta", "tau", "a", "b", "omega", "log_kappa", "sd_rho", "rho", "correlation", "u", "delta")
CATEGORICAL = ("w", "sd_delta", "sd_rho", "alpha", "alpha_missing", "matrix", "delta", "rho")


def read(values, names: tuple[str, ...]) -> tuple[str, ...]:
    """``names`` and the discount of poor signals, where the draws have it."""
    return (*names, "quality_discount") if "quality_discount" in values else names


def predict(
    posterior, opinions: Opinions, *, target: str, seed: int, subjects: str = "population", draws: int = 1000
) -> Predictive:
    """Posterior of the truth of every trial given its opinions, with a draw axis.

    Parameters
    ----------
    posterior : what `fit` returned, or the same read from NetCDF.
    opinions : trials with the fit's modalities in the fit's order; any may be missing per trial. A fit that learned
        what poor signals cost reads their quality; where it is not known, the fit's average stands in.
    target : the target of the fit.
    seed : for the effects of subjects drawn from the population.
    subjects : ``"population"``: nobody is known; ``"known"``: a subject with data in the fit keeps its own effects,
        others are drawn from the population.
    draws : posterior draws used at most, evenly thinned.

    Returns
    -------
    Predictive with ``mean`` and ``variance`` (draw, trial) on [-1, 1], or ``log_prob`` (draw, trial, level). A trial
    without any modality
    gets the prior (the population's, or the known subject's level).

    Notes
    -----
    Continuous, per draw: Sigma = U + D R D on the observed modalities, D = diag(k_m sqrt(v_im) / r_im) with r of
    `discount`, U = 0 given a known subject's u and diag(omega^2) for a new one, L = chol Sigma, g = L^-1 b,
    z = L^-1 (x - a - u - b m0): var = v0 / (1 + v0 g'g), mean = m0 + var g'z, with m0 = mu + delta_s, v0 = tau^2 for a
    known subject and m0 = mu, v0 = tau^2 + sd_delta^2 for a new one.
    """
    if subjects not in ("population", "known"):
        raise InputError(f"subjects is {subjects!r}", remedy="choose 'population' or 'known'")
    spec = idata.attribute(posterior, "target")
    if spec["name"] != target:
        raise InputError(f"this posterior is of {spec['name']!r}, not of {target!r}")
    fitted = tuple(str(m) for m in posterior["posterior"]["modality"].values)
    if fitted != opinions.modalities:
        raise InputError(f"the opinions have modalities {list(opinions.modalities)}, the fit has {list(fitted)}")
    kind = Target(spec["name"], spec["bounds"], None if spec["levels"] is None else tuple(spec["levels"]))
    names = CONTINUOUS if kind.kind == "continuous" else CATEGORICAL
    values = idata.flattened(posterior, read(posterior["posterior"], names), at_most=draws)
    poor = discount.of_fit(posterior, opinions)
    who, known = positions(posterior, opinions, use_known=subjects == "known")
    values, where = with_population(values, who, opinions.subject.values, np.random.default_rng(seed))
    coords = _index(opinions)
    found = {"trained_on": trained_on(posterior, opinions)}
    if kind.kind == "continuous":
        mean, variance = fused_moments(values, where, ~known, opinions, target, poor)
        for name, array in (("mean", mean), ("variance", variance)):
            found[name] = {target: xr.DataArray(array, dims=("draw", "trial"), coords=coords)}
    else:
        array = fused_log_prob(values, where, opinions, target, poor)
        coords = coords | {"level": list(kind.levels)}
        found["log_prob"] = {target: xr.DataArray(array, dims=("draw", "trial", "level"), coords=coords)}
    who_is = xr.DataArray(opinions.subject.values, dims="trial", coords=_index(opinions))
    return Predictive((kind,), who_is, **found)


def _index(opinions: Opinions) -> dict:
    return {"trial": opinions.present["trial"].values, "subject": ("trial", opinions.subject.values)}


def positions(posterior, opinions: Opinions, *, use_known: bool) -> tuple[np.ndarray, np.ndarray]:
    """Position of each trial's subject among the fit's subjects with data, or -1; and whether it is known (N,)."""
    has = posterior["constant_data"]["n_used"]
    place = {str(s): k for k, (s, n) in enumerate(zip(has["subject"].values, has.values, strict=True)) if n > 0}
    names = opinions.subject.values.astype(str)
    who = np.array([place.get(s, -1) if use_known else -1 for s in names], dtype=int)
    return who, who >= 0


def with_population(
    values: Mapping[str, np.ndarray], who: np.ndarray, subject: np.ndarray, rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Add effects for the subjects that are not known (``who`` < 0), and say which column each trial reads.

    Per draw and new subject rho ~ N(0, sd_rho^2) and, for a categorical target, delta ~ N(0, sd_delta^2) on the
    contrasts. For a continuous target u and delta of a new subject stay zero: `fused_moments` integrates them exactly.
    """
    if (who >= 0).all():
        return dict(values), who
    names, column = np.unique(subject[who < 0].astype(str), return_inverse=True)
    n, s, m = values["rho"].shape
    fresh = rng.standard_normal((n, names.size, m)) * values["sd_rho"][:, None, :]
    out = dict(values) | {"rho": np.concatenate([values["rho"], fresh], 1)}
    if "u" in values:
        out["u"] = np.concatenate([values["u"], np.zeros_like(fresh)], 1)
        out["delta"] = np.concatenate([values["delta"], np.zeros((n, names.size))], 1)
    else:
        noise = rng.standard_normal((n, names.size, values["delta"].shape[2]))
        noise -= noise.mean(-1, keepdims=True)
        out["delta"] = np.concatenate([values["delta"], noise * values["sd_delta"][:, None, None]], 1)
    where = who.copy()
    where[who < 0] = s + column
    return out, where


def trained_on(posterior, opinions: Opinions) -> xr.DataArray:
    """Subjects whose truth the fit has seen, for every trial (trial, trained_subject)."""
    has = posterior["constant_data"]["n_used"]
    names = [str(s) for s in has["subject"].values]
    seen = np.broadcast_to(has.values > 0, (opinions.present.sizes["trial"], len(names)))
    coords = {"trial": opinions.present["trial"].values, "trained_subject": names}
    return xr.DataArray(seen.copy(), dims=("trial", "trained_subject"), coords=coords)


def fused_moments(
    values, where: np.ndarray, new: np.ndarray, opinions: Opinions, target: str, poor: np.ndarray | None = None
):
    """Mean and variance (draw, trial) of the truth given the opinions; the equations are in `predict`.

    ``poor`` (trial, modality), h of `discount`, is read where ``values`` hold ``quality_discount``.
    """
    present = opinions.present.values
    x = torch.as_tensor(masked(opinions.mean[target].values, present))
    sd = torch.as_tensor(np.sqrt(np.where(present, opinions.variance[target].values, 1.0)))
    t = {name: torch.as_tensor(np.ascontiguousarray(array)) for name, array in values.items()}
    k = torch.exp(t["log_kappa"][:, None] + t["rho"])
    h = torch.as_tensor(poor) if poor is not None and "quality_discount" in values else None
    n = x.shape[0]
    mean, variance = np.empty((2, k.shape[0], n))
    patterns, pattern = np.unique(np.column_stack([present, new]), axis=0, return_inverse=True)
    step = max(1, CHUNK // k.shape[0])
    for code, row in enumerate(patterns):
        seen, fresh = np.flatnonzero(row[:-1]), bool(row[-1])
        rows = np.flatnonzero(pattern.ravel() == code)
        for begin in range(0, rows.size, step):
            part = rows[begin : begin + step]
            m, v = _moments(t, k, x[part], sd[part], where[part], seen, fresh, None if h is None else h[part])
            mean[:, part], variance[:, part] = m.numpy(), v.numpy()
    return mean, variance


def _moments(t, k: Tensor, x: Tensor, sd: Tensor, where: np.ndarray, seen: np.ndarray, fresh: bool, h):
    who = torch.as_tensor(where)
    m0 = t["mu"][:, None] + t["delta"][:, who]
    v0 = (t["tau"] ** 2 + (t["sd_delta"] ** 2 if fresh else 0.0))[:, None].expand_as(m0)
    if not seen.size:
        return m0, v0
    scale = [k[:, who, int(m)] * sd[:, int(m)] for m in seen]
    if h is not None:
        share = t["quality_discount"]
        scale = [v / (1 - share[:, int(m), None] * h[:, int(m)]) for v, m in zip(scale, seen, strict=True)]
    sigma = [
        [t["correlation"][:, int(p), int(q), None] * scale[i] * scale[j] for j, q in enumerate(seen)]
        for i, p in enumerate(seen)
    ]
    if fresh:
        for i, m in enumerate(seen):
            sigma[i][i] = sigma[i][i] + t["omega"][:, int(m), None] ** 2
    lower = linalg.cholesky(sigma)
    b = [t["b"][:, int(m), None] for m in seen]
    rest = [x[:, int(m)] - t["a"][:, int(m), None] - t["u"][:, who, int(m)] - b[i] * m0 for i, m in enumerate(seen)]
    g, z = linalg.forward(lower, b), linalg.forward(lower, rest)
    variance = v0 / (1 + v0 * sum(v * v for v in g))
    return m0 + variance * sum(p * q for p, q in zip(g, z, strict=True)), variance


def fused_log_prob(
    values, where: np.ndarray, opinions: Opinions, target: str, poor: np.ndarray | None = None
) -> np.ndarray:
    """log-probabilities (draw, trial, level) of the pool, float32; ``poor`` as in `fused_moments`."""
    poor = poor if "quality_discount" in values else None
    rows = torch.as_tensor(design(opinions.log_prob[target].values, opinions.present.values, poor))
    t = {name: torch.as_tensor(np.ascontiguousarray(array)) for name, array in values.items()}
    d, m, k = t["alpha_missing"].shape
    basis = torch.as_tensor(contrasts(k))
    slopes = t["w"][:, :, None, None] * (t["matrix"] @ basis).transpose(-1, -2)
    out = torch.empty((d, rows.shape[0], k), dtype=torch.float32)
    c, end = m * (k - 1), 1 + m * k
    for subject in np.unique(where):
        trial = torch.as_tensor(np.flatnonzero(where == subject))
        scaled = slopes * torch.exp(t["rho"][:, subject])[:, :, None, None]
        level = (t["alpha"] + t["delta"][:, subject])[:, None]
        eta = (
            rows[trial][:, 1 : 1 + c] @ scaled.reshape(d, c, k)
            + rows[trial][:, 1 + c : end] @ t["alpha_missing"]
            + level
        )
        if poor is not None:
            lost = t["quality_discount"][:, :, None, None] * scaled
            eta = eta + rows[trial][:, end:] @ lost.reshape(d, c, k)
        out[:, trial] = torch.log_softmax(eta, -1).float()
    return out.numpy()
