"""Which voice counts how much, for whom, and how sure that is."""

from __future__ import annotations

import numpy as np
import xarray as xr

from bayesaffect.fusion import discount, idata
from bayesaffect.types import Opinions

PRIOR = "prior"


def weights(posterior, opinions: Opinions | None = None) -> xr.Dataset:
    """Reliability weight of every modality and of the prior, with its posterior.

    Continuous target: the share of the posterior precision of the truth, all modalities present,

        share_m = b_m (Sigma^-1 b)_m / (1 / v0 + b' Sigma^-1 b),    share_prior = (1 / v0) / (1 / v0 + b' Sigma^-1 b),

    at the median predictive variances of the subject's trials (of all trials where it has none). For a subject
    Sigma = D R D and v0 = tau^2 (its offset and level are known to the draw); for the population, a new person with
    rho = 0, Sigma = diag(omega^2) + D R D and v0 = tau^2 + sd_delta^2. The shares sum to 1; with strongly correlated
    errors one can be negative (it corrects another).

    Categorical target: log-linear coefficients add up on the log-odds scale, so the analogue is the share of their
    size: c_m = w_m exp(rho_sm) ||A_m||_F rms(clr log p_m), c_prior = ||alpha + delta_s||, shares c / sum c; ||A||_F is
    divided by sqrt(K - 1), so that the identity has norm 1, and rms is over the modality's opinions.

    Where the fit has a discount of poor signals, opinions count with the share r of `discount` that the mean quality of
    the subject's trials leaves (of all trials, for the population): D is divided, c multiplied by it.

    Parameters
    ----------
    posterior : what `fit` returned.
    opinions : other trials whose variances (spread of log-probabilities) shall be used; ``None`` takes those of the
    fit.

    Returns
    -------
    Dataset with dims (chain, draw, subject, modality), modality ending with ``"prior"``: ``weight``, ``population``
    (no subject), and of a clean signal ``reliability`` = kappa_m exp(rho_sm) (smaller is better) or w_m exp(rho_sm)
    (larger is better), ``scale`` = kappa_m or w_m, and ``rho``, all three NaN at the prior.

    Raises
    ------
    InputError : ``opinions`` of other modalities than the fit's.
    """
    draws, names = posterior["posterior"], idata.modalities_of(posterior)
    if opinions is not None:
        idata.check_modalities(posterior, opinions)
    continuous = idata.attribute(posterior, "kind") == "continuous"
    typical = _typical(posterior, opinions, continuous)
    left = _left(posterior, opinions)
    subject, population = (_precision if continuous else _size)(draws, typical, left)
    keep = {d: draws[d].values for d in ("chain", "draw", "subject")}
    coords = keep | {"modality": [*names, PRIOR]}
    short = {d: coords[d] for d in ("chain", "draw", "modality")}
    scale = draws["kappa" if continuous else "w"]
    out = {
        "weight": xr.DataArray(subject, dims=("chain", "draw", "subject", "modality"), coords=coords),
        "population": xr.DataArray(population, dims=("chain", "draw", "modality"), coords=short),
    }
    for name, array in (("reliability", draws["reliability"]), ("scale", scale), ("rho", draws["rho"])):
        out[name] = array.reindex(modality=[*names, PRIOR])
    return xr.Dataset(out)


def _typical(posterior, opinions: Opinions | None, continuous: bool) -> tuple[np.ndarray, np.ndarray]:
    """Predictive sd (or rms log-probability) of each modality, per subject of the fit (S, M) and overall (M,)."""
    if opinions is None:
        kept = posterior["constant_data"]
        return kept["typical_subject"].values, kept["typical"].values
    target = idata.attribute(posterior, "target")["name"]
    return typical(opinions, target, [str(s) for s in posterior["posterior"]["subject"].values], continuous)


def typical(opinions: Opinions, target: str, subjects: list[str], continuous: bool) -> tuple[np.ndarray, np.ndarray]:
    """Square root of the median variance, or rms of the centred log-probabilities, per subject (S, M) and overall
    (M,)."""
    present = opinions.present.values
    if continuous:
        size = np.where(present, opinions.variance[target].values, np.nan)
    else:
        centred = opinions.log_prob[target].values.clip(np.log(1e-6))
        centred = centred - centred.mean(-1, keepdims=True)
        size = np.where(present, (centred**2).mean(-1), np.nan)

    def middle(block):
        out = np.ones(block.shape[1])
        for k, column in enumerate(block.T):
            seen = column[np.isfinite(column)]
            out[k] = (np.median(seen) if continuous else seen.mean()) if seen.size else np.nan
        return np.sqrt(out)

    overall = np.nan_to_num(middle(size), nan=1.0)
    who = opinions.subject.values.astype(str)
    rows = np.stack([middle(size[who == s]) for s in subjects])
    return np.where(np.isfinite(rows), rows, overall), overall


def _left(posterior, opinions: Opinions | None) -> tuple[np.ndarray, np.ndarray] | tuple[float, float]:
    """r = 1 - lambda_m h_m at each subject's mean h (C, D, S, M) and at the overall one (C, D, M); 1 without lambda."""
    draws = posterior["posterior"]
    if "quality_discount" not in draws:
        return 1.0, 1.0
    share, kept = draws["quality_discount"].values, posterior["constant_data"]
    per_subject, overall = kept["poorness_subject"].values, kept["poorness"].values
    if opinions is not None:
        poor = discount.of_fit(posterior, opinions)
        overall = discount.average(poor, opinions.present.values)
        overall = np.where(np.isfinite(overall), overall, kept["poorness"].values)
        per_subject = discount.by_subject(poor, opinions, [str(s) for s in draws["subject"].values], overall)
    return 1 - share[:, :, None] * per_subject, 1 - share * overall


def _precision(draws, typical, left):
    per_subject, overall = typical
    r, b = draws["correlation"].values, draws["b"].values
    tau2, sd2 = draws["tau"].values ** 2, draws["sd_delta"].values ** 2

    def shares(d, offset, v0, b):
        sigma = r.reshape(r.shape[:2] + (1,) * (d.ndim - 3) + r.shape[-2:]) * d[..., :, None] * d[..., None, :]
        sigma = sigma + offset
        parts = b * np.linalg.solve(sigma, np.broadcast_to(b, d.shape)[..., None])[..., 0]
        whole = np.concatenate([parts, np.broadcast_to((1 / v0)[..., None], (*d.shape[:-1], 1))], -1)
        return whole / whole.sum(-1, keepdims=True)

    omega = draws["omega"].values
    shared = draws["offset_correlation"].values if "offset_correlation" in draws else np.eye(b.shape[-1])
    covariance = omega[..., :, None] * omega[..., None, :] * shared
    gain = b[:, :, None]
    if "theta" in draws:
        gain = gain * np.exp(draws["theta"].values[:, :, None, None] * draws["rho"].values)
    subject = shares(draws["reliability"].values * per_subject / left[0], 0.0, tau2[:, :, None], gain)
    population = shares(draws["kappa"].values * overall / left[1], covariance, tau2 + sd2, b)
    return subject, population


def _size(draws, typical, left):
    per_subject, overall = typical
    matrix = draws["matrix"].transpose("chain", "draw", "modality", "level", "level_bis").values
    norm = np.sqrt((matrix**2).sum((-1, -2)) / (matrix.shape[-1] - 1))
    alpha = draws["alpha"].values
    k = alpha.shape[-1]

    def shares(size, level):
        whole = np.concatenate([size, np.sqrt((level**2).sum(-1) / k)[..., None]], -1)
        return whole / whole.sum(-1, keepdims=True)

    subject = shares(
        draws["reliability"].values * norm[:, :, None] * per_subject * left[0],
        alpha[:, :, None] + draws["delta"].values,
    )
    return subject, shares(draws["w"].values * norm * overall * left[1], alpha)
