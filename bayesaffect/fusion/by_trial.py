"""Which voice counts how much on each trial: given who is there, how sure they are and how clean their signals were."""

from __future__ import annotations

import numpy as np
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.fusion import discount, idata
from bayesaffect.fusion.people.effects_normal import gains
from bayesaffect.fusion.prediction import positions, read
from bayesaffect.fusion.reliability import PRIOR
from bayesaffect.fusion.statistics import masked
from bayesaffect.types import Opinions

CONTINUOUS = ("log_kappa", "rho", "correlation", "b", "omega", "tau", "sd_delta")
CATEGORICAL = ("w", "rho", "matrix", "alpha", "delta")
CHUNK = 200_000


def trial_weights(posterior, opinions: Opinions, *, subjects: str = "population", draws: int = 200) -> xr.DataArray:
    """Reliability weight of every modality and of the prior on every trial, with its posterior.

    The shares of `weights` at a trial's own predictive variances or log-probabilities and its own quality, among the
    modalities that it has: a missing one has weight 0, and a trial without any leaves all weight to the prior.

    Parameters
    ----------
    posterior : what `fit` returned.
    opinions : trials with the fit's modalities in the fit's order.
    subjects : ``"population"``: everybody is a new person, with rho = 0 and delta = 0; ``"known"``: subjects with data
        in the fit keep their own effects.
    draws : posterior draws used at most, evenly thinned.

    Returns
    -------
    DataArray (sample, trial, modality), modality ending with ``"prior"``; sums to 1 over modality.

    Raises
    ------
    InputError : other modalities than the fit's, or another word for ``subjects``.
    """
    if subjects not in ("population", "known"):
        raise InputError(f"subjects is {subjects!r}", remedy="choose 'population' or 'known'")
    idata.check_modalities(posterior, opinions)
    names = list(opinions.modalities)
    continuous = idata.attribute(posterior, "kind") == "continuous"
    target = idata.attribute(posterior, "target")["name"]
    wanted = read(posterior["posterior"], CONTINUOUS if continuous else CATEGORICAL)
    values = idata.flattened(posterior, wanted, at_most=draws)
    who, known = positions(posterior, opinions, use_known=subjects == "known")
    here, poor = opinions.present.values, discount.of_fit(posterior, opinions)
    if continuous:
        size = np.sqrt(np.where(here, opinions.variance[target].values, 1.0))
    else:
        centred = masked(opinions.log_prob[target].values, here).clip(np.log(1e-6))
        size = np.sqrt(((centred - centred.mean(-1, keepdims=True)) ** 2).mean(-1))
    left = 1.0 if poor is None else 1 - values["quality_discount"][:, None] * poor
    rho = np.where(known[:, None], values["rho"][:, who], 0.0)
    strength = size * np.exp(rho)
    strength = strength / left if continuous else strength * left
    if continuous:
        parts = _precisions(values, strength, here, known, rho)
    else:
        parts = _sizes(values, strength, here, who, known)
    return xr.DataArray(
        parts / parts.sum(-1, keepdims=True),
        dims=("sample", "trial", "modality"),
        coords={
            "trial": opinions.present["trial"].values,
            "subject": ("trial", opinions.subject.values),
            "modality": [*names, PRIOR],
        },
    )


def _precisions(values, strength: np.ndarray, here: np.ndarray, known: np.ndarray, rho: np.ndarray) -> np.ndarray:
    """b_m (Sigma^-1 b)_m on the observed modalities and 1 / v0: (draw, trial, modality + 1)."""
    n, m = here.shape
    d = np.exp(values["log_kappa"])[:, None] * strength
    out = np.zeros((*strength.shape[:2], m + 1))
    out[:, :, m] = 1 / (values["tau"][:, None] ** 2 + np.where(known, 0.0, values["sd_delta"][:, None] ** 2))
    omega = values["omega"]
    covariance = omega[:, :, None] * omega[:, None, :] * values.get("offset_correlation", np.eye(m))
    for rows in np.array_split(np.arange(n), max(1, n * d.shape[0] // CHUNK)):
        both = here[rows, :, None] & here[rows, None, :]
        sigma = values["correlation"][:, None] * d[:, rows, :, None] * d[:, rows, None, :]
        offset = np.where(known[rows, None, None], 0.0, covariance[:, None])
        sigma = np.where(both, sigma + offset, np.eye(m))
        b = np.where(here[rows], gains(values, rho[:, rows]), 0.0)
        out[:, rows, :m] = b * np.linalg.solve(sigma, b[..., None])[..., 0]
    return out


def _sizes(values, strength: np.ndarray, here: np.ndarray, who: np.ndarray, known: np.ndarray) -> np.ndarray:
    """w_m exp(rho_sm) r_im ||A_m||_F rms(clr log p_im) and ||alpha + delta_s||: (draw, trial, modality + 1)."""
    k = values["alpha"].shape[-1]
    norm = np.sqrt((values["matrix"] ** 2).sum((-1, -2)) / (k - 1))
    parts = np.where(here, (values["w"] * norm)[:, None] * strength, 0.0)
    level = values["alpha"][:, None] + np.where(known[:, None], values["delta"][:, who], 0.0)
    return np.concatenate([parts, np.sqrt((level**2).sum(-1) / k)[..., None]], -1)
