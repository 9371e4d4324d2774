"""The fused posterior of the truth given opinions, for people the model knows and for people it has never seen."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.fusion import absence, discount, habits, idata
from bayesaffect.fusion.hybrid import prediction as hybrid_prediction
from bayesaffect.fusion.ratings import likelihoods
from bayesaffect.fusion.ratings.moments import fused_moments as fused_moments
from bayesaffect.fusion.statistics import contrasts, features
from bayesaffect.types import Opinions, Predictive

CONTINUOUS = ("mu", "sd_delta", "tau", "a", "b", "omega", "log_kappa", "sd_rho", "rho", "correlation", "u", "delta")
CATEGORICAL = ("w", "sd_delta", "sd_rho", "alpha", "alpha_missing", "matrix", "delta", "rho")
OPTIONAL = ("quality_discount", "offset_correlation", "habit", "habit_share", "tilt", "theta")


def read(values, names: tuple[str, ...]) -> tuple[str, ...]:
    """``names`` and, where the draws have them, the discount of poor signals, the subjects' habits and the
    correlations of their offsets."""
    return (*names, *(name for name in OPTIONAL if name in values))


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
    Predictive with ``mean`` and ``variance`` (draw, trial) on [-1, 1], means as `on_scale` has them, or ``log_prob``
    (draw, trial, level). A trial without any modality gets the prior (the population's, or the known subject's level).
    An ordinal fit gives both: the mean and variance of the reported rating, and the log-probabilities of its levels.

    Raises
    ------
    InputError : another target or other modalities than the fit's, or another word for ``subjects``.

    Notes
    -----
    Continuous, per draw: Sigma = U + D R D on the observed modalities, D = diag(k_m sqrt(v_im) / r_im) with r of
    `discount`, U = 0 given a known subject's u and diag(omega^2) for a new one, L = chol Sigma, g = L^-1 b,
    z = L^-1 (x - a - u - b m0): var = v0 / (1 + v0 g'g), mean = m0 + var g'z, with m0 = mu + delta_s, v0 = tau^2 for a
    known subject and m0 = mu, v0 = tau^2 + sd_delta^2 for a new one.
    """
    if subjects not in ("population", "known"):
        raise InputError(f"subjects is {subjects!r}", remedy="choose 'population' or 'known'")
    kind = idata.check_target(posterior, target)
    idata.check_modalities(posterior, opinions)
    names = CONTINUOUS if kind.kind == "continuous" else CATEGORICAL
    names = read(posterior["posterior"], names) + likelihoods.extra(likelihoods.of_fit(posterior))
    hybrid = hybrid_prediction.is_hybrid(posterior)
    names = hybrid_prediction.names(posterior["posterior"]) if hybrid else names
    values = idata.flattened(posterior, names, at_most=draws)
    poor = discount.of_fit(posterior, opinions)
    who, known = positions(posterior, opinions, use_known=subjects == "known")
    rng = np.random.default_rng(seed)
    values, where = with_population(values, who, opinions.subject.values, rng)
    coords = _index(opinions)
    found = {"trained_on": trained_on(posterior, opinions)}
    if kind.kind == "continuous":
        if hybrid:
            drawn = hybrid_prediction.fused(posterior, values, where, opinions, new=~known)
        else:
            drawn = likelihoods.fused(values, where, ~known, opinions, kind, poor=poor, rng=rng, posterior=posterior)
        for name, array in (("mean", on_scale(drawn["mean"])), ("variance", drawn["variance"])):
            found[name] = {target: xr.DataArray(array, dims=("draw", "trial"), coords=coords)}
        if "log_prob" in drawn:
            coords = coords | {"level": drawn["level"]}
            array = xr.DataArray(drawn["log_prob"], dims=("draw", "trial", "level"), coords=coords)
            found["log_prob"] = {target: array}
    else:
        if hybrid:
            array = hybrid_prediction.fused(posterior, values, where, opinions, new=~known)["log_prob"]
        else:
            shift = _habits(posterior, values, opinions, target, ~known, rng)
            left = absence.of_fit(posterior)
            array = fused_log_prob(values, where, opinions, target, poor, shift=shift, left=left)
        coords = coords | {"level": list(kind.levels)}
        found["log_prob"] = {target: xr.DataArray(array, dims=("draw", "trial", "level"), coords=coords)}
    who_is = xr.DataArray(opinions.subject.values, dims="trial", coords=_index(opinions))
    return Predictive((kind,), who_is, **found)


def _index(opinions: Opinions) -> dict:
    return {"trial": opinions.present["trial"].values, "subject": ("trial", opinions.subject.values)}


def on_scale(mean: np.ndarray) -> np.ndarray:
    """Expected ratings (draw, trial), those beyond the scale [-1, 1] moved to its end.

    Truths are normal in the model and bounded in fact, so a draw that holds a new person's opinions for surer than they
    are can expect a rating that cannot be given, and a few such draws carry the mean of all of them far away. No truth
    lies where a mean is taken from, so that every draw's squared error and log score can only gain (at its variance).
    """
    return np.clip(mean, -1.0, 1.0)


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
        if "tilt" in values:
            out["tilt"] = np.concatenate([values["tilt"], np.zeros((n, names.size, *values["tilt"].shape[2:]))], 1)
    where = who.copy()
    where[who < 0] = s + column
    return out, where


def _habits(posterior, values: dict, opinions: Opinions, target: str, new: np.ndarray, rng) -> np.ndarray | None:
    """What a trial says itself of the habit of its subject (N, M, K - 1), where that is not known for good.

    A draw c of what was known before, N(m, P), becomes a draw given the trial, c + G (f - centre - c - e) with e ~ N(0,
    T) and G = P (P + T)^-1 (Matheron's rule): the part without f goes to ``values``, the rest is returned. P = Omega
    for a new subject, what its labels left for one that was adapted to, and 0 for one of the fit.
    """
    found, constant = habits.of_fit(posterior), posterior["constant_data"]
    if found is None or "habit" not in values:
        return None
    basis = contrasts(found.centre.shape[1] + 1)
    size, known = values["w"].shape[0], values["habit"].shape[1]
    fresh = values["rho"].shape[1] - known
    unsure = np.ones_like(new) if "habit_left" in constant else new
    steps = [habits.gain(found.between, found.within)] * 2

    def given_a_trial(c, step):
        noise = habits.noise(found.within, c.shape[:2], rng)
        return (c - ((c + noise)[..., None, :] @ np.swapaxes(step, -1, -2))[..., 0, :]) @ basis.T

    if "habit_left" in constant:
        steps[0] = habits.gain(constant["habit_left"].values, found.within)
        values["habit"] = given_a_trial(values["habit"] @ basis, steps[0])
    if fresh:
        c = habits.noise(found.between, (size, fresh), rng)
        values["habit"] = np.concatenate([values["habit"], given_a_trial(c, steps[1])], 1)
    rest = np.where(opinions.present.values[:, :, None], features(opinions, target) - found.centre, 0.0)
    shift = np.einsum("nmab,nmb->nma", np.stack(steps)[new.astype(int)], rest)
    return np.where(unsure[:, None, None], shift, 0.0)


def trained_on(posterior, opinions: Opinions) -> xr.DataArray:
    """Subjects whose truth the fit has seen, for every trial (trial, trained_subject)."""
    has = posterior["constant_data"]["n_used"]
    names = [str(s) for s in has["subject"].values]
    seen = np.broadcast_to(has.values > 0, (opinions.present.sizes["trial"], len(names)))
    coords = {"trial": opinions.present["trial"].values, "trained_subject": names}
    return xr.DataArray(seen.copy(), dims=("trial", "trained_subject"), coords=coords)


def fused_log_prob(
    values,
    where: np.ndarray,
    opinions: Opinions,
    target: str,
    poor: np.ndarray | None = None,
    *,
    shift: np.ndarray | None = None,
    left: absence.Absence | None = None,
) -> np.ndarray:
    """log-probabilities (draw, trial, level) of the pool of `categorical`, float32.

    ``where`` (trial,) is the column of the subject's effects in ``values``; ``poor`` as in `fused_moments`; ``shift``
    (trial, modality, level - 1) is added to the habit of the subject. Without ``habit`` in ``values`` there is none,
    without ``tilt`` t of `tilts` is 0. ``left``: what the modalities that are left take over from missing ones; without
    it only alpha_missing does.
    """
    here = opinions.present.values
    t = {name: _single(array) for name, array in values.items()}
    d, k = t["alpha"].shape
    basis = _single(contrasts(k))
    f = features(opinions, target)
    # eta is linear in these columns: 1, missing; and per modality f, 1 and the shift, and those times its poorness
    read = [f, here[:, :, None]] + (
        [] if shift is None or "habit" not in t else [np.where(here[:, :, None], shift, 0.0)]
    )
    per_trial = np.concatenate([np.broadcast_to(part, (*here.shape, part.shape[2])) for part in read], 2)
    discounted = poor is not None and "quality_discount" in t
    blocks = [per_trial] + ([-np.where(here, poor, 0.0)[:, :, None] * per_trial] if discounted else [])
    flat = [block.reshape(here.shape[0], -1) for block in blocks]
    columns = _single(np.concatenate([np.ones((here.shape[0], 1)), ~here, *flat], 1)).T.contiguous()
    usual_slopes = t["w"][:, :, None, None] * (t["matrix"] @ basis).transpose(-1, -2)
    pattern = absence.position(left, here)
    out = torch.empty((d, here.shape[0], k), dtype=torch.float32)
    for subject, lacks in np.unique(np.stack([where, pattern]), axis=1).T:
        trial = np.flatnonzero((where == subject) & (pattern == lacks))
        slopes, level = usual_slopes, (t["alpha"] + t["delta"][:, subject])[:, None]
        if lacks >= 0:
            slopes = slopes + _single(left.slope[lacks]) @ basis.T
            hidden = t["alpha_missing"][:, ~left.present[lacks]].sum(1, keepdim=True)
            level = level + _single(left.level[lacks]) @ basis.T - hidden  # a_S in its place
        if trial[-1] - trial[0] == trial.size - 1:  # a slice is written at once
            trial = slice(trial[0], trial[-1] + 1)
        slope = torch.exp(t["rho"][:, subject])[:, :, None, None] * slopes
        if "tilt" in t:
            slope = (basis.T * (1 + t["tilt"][:, subject, :, None])) @ (basis @ slope)
        usual = torch.zeros_like(slope[:, :, :1])
        parts = [slope, usual]
        if "habit" in t:
            share = t["habit_share"][:, :, None, None]
            parts[1] = -share * ((t["habit"][:, subject] @ basis)[:, :, None] @ slope)
            parts += [] if shift is None else [-share * slope]
        each = torch.cat(parts, 2)
        rows = [level, t["alpha_missing"], each.reshape(d, -1, k)]
        if discounted:
            rows.append((t["quality_discount"][:, :, None, None] * each).reshape(d, -1, k))
        eta = torch.cat(rows, 1).transpose(1, 2) @ columns[:, trial]
        out[:, trial] = torch.log_softmax(eta, 1).transpose(1, 2)
    return out.numpy()


def _single(array: np.ndarray) -> torch.Tensor:
    """In single precision: 1e-6 of a log-odds is far below what draws leave open, and twice as fast."""
    return torch.as_tensor(np.ascontiguousarray(array, dtype=np.float32))
