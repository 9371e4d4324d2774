"""Opinions drawn from the fusion models themselves, with every parameter known: for recovery and calibration tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.types import Opinions, Target

_DEFAULT_TARGETS = (Target("valence", bounds=(1, 9)), Target("arousal", bounds=(1, 9)))


@dataclass(frozen=True)
class OpinionModel:
    """What `simulate_opinions` draws its parameters from.

    Parameters
    ----------
    level_sd : sd of mu between targets; alpha between classes has four times as much.
    tau : sd of the truth within a subject; with the defaults fewer than 1 in 1,000 truths would leave the scale.
    subject_level_sd : sd of delta, the subject's level of the truth; four times as much for class log-odds.
    offset_sd : sd of u, a subject's offset in a modality's opinion.
    variance : centre of the predictive variances v; their log has sd ``variance_spread``.
    overconfidence : centre of kappa (continuous) and of c (categorical); log sd 0.25 between modalities.
    reliability_sd : sd of rho between subjects.
    correlation : correlation of the modalities' errors, the same for each pair (continuous targets).
    sharpness : centre of d, the distance in sd between the right class and the others; log sd 0.25 between modalities.
    missing : probability that a modality lacks a trial (each trial keeps at least one).
    discount : lambda, what an opinion loses on a useless signal, in [0, 1), one for all or one per modality; above 0
        for any of them, opinions carry a quality drawn from Beta(``quality``) for every trial and modality.
    """

    level_sd: float = 0.05
    tau: float = 0.25
    subject_level_sd: float = 0.10
    offset_sd: float = 0.08
    variance: float = 0.04
    variance_spread: float = 0.4
    overconfidence: float = 1.4
    reliability_sd: float = 0.35
    correlation: float = 0.0
    sharpness: float = 1.3
    missing: float = 0.0
    discount: float | tuple[float, ...] = 0.0
    quality: tuple[float, float] = (1.5, 1.0)


def simulate_opinions(
    *,
    subjects: int,
    trials: int,
    modalities: Sequence[str],
    targets: Sequence[Target] = _DEFAULT_TARGETS,
    seed: int,
    model: OpinionModel | None = None,
) -> tuple[Opinions, xr.Dataset]:
    """Opinions of ``modalities`` on ``trials`` trials of each subject, and the parameters they were drawn with.

    Continuous target t, trial i of subject s, modality m (design, section 5)::

        y_it ~ Normal(mu_t + delta_st, tau^2)
        x_im = a_m + b_m y_i + u_sm + e_im,   e_i ~ Normal(0, D_i R D_i),
        D_i = diag(kappa_m exp(rho_sm) sqrt(v_im) / r_im),   r_im = 1 - lambda_m (1 - quality_im)

    Truths are drawn anew until they lie within [-1, 1]. Categorical target with K levels::

        y_i ~ Categorical(softmax(alpha + delta_s))
        z_imk ~ Normal(d_m exp(rho_sm) r_im [k = y_i], 1);   log p_im = log_softmax(c_m d_m z_im)

    so that the log-likelihood ratios are w_m exp(rho_sm) r_im log p_imk with w_m = 1 / c_m: the log-linear pool with
    A_m = I is exact. Quality is drawn from a stream of its own: with lambda = 0 everything else is the same.

    Returns
    -------
    Opinions, and a Dataset with dims (target, subject, modality, modality_other), NaN where a variable does not
    belong to a target's kind. Continuous: mu, tau, delta_sd (target); delta (target, subject); intercept, gain,
    offset_sd, kappa, rho_sd, discount (target, modality); offset, rho (target, subject, modality); correlation (target,
    modality, modality_other). Categorical: weight = w, sharpness = d, rho_sd, discount (target, modality); rho; and
    ``alpha_<target>`` (level_<target>), ``delta_<target>`` (subject, level_<target>).

    Raises
    ------
    InputError : no subject, trial, modality or target, a correlation that makes R indefinite, a discount of 1.
    """
    model, modalities, targets = model or OpinionModel(), list(modalities), tuple(targets)
    if subjects < 1 or trials < 1 or not modalities or not targets:
        raise InputError(
            f"{subjects} subjects, {trials} trials, {len(modalities)} modalities and {len(targets)} targets "
            "leave nothing to draw",
            remedy="give at least one of each",
        )
    count = len(modalities)
    if not (-1 / max(count - 1, 1) < model.correlation < 1 and 0 <= model.missing < 1):
        raise InputError(
            f"errors of {count} modalities cannot all correlate by {model.correlation}, "
            f"or be missing at a rate of {model.missing}",
            remedy=f"choose a correlation between {-1 / max(count - 1, 1):.2f} and 1 and a rate in [0, 1)",
        )
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(subjects), trials)
    names = [f"S{k + 1:03d}" for k in range(subjects)]
    index = {
        "trial": [f"{names[s]}/T{k % trials + 1:04d}" for k, s in enumerate(who)],
        "modality": modalities,
        "subject": ("trial", np.array(names)[who]),
        "stimulus": ("trial", [f"clip{k % trials + 1:04d}" for k in range(who.size)]),
    }
    here = rng.random((who.size, count)) >= model.missing
    here[np.arange(who.size), rng.integers(count, size=who.size)] |= ~here.any(1)
    left, quality = _quality(model, here, seed)
    mean, variance, log_prob, truth, known = {}, {}, {}, {}, []
    for target in targets:
        if target.kind == "continuous":
            y, x, v, parameters = _draw_continuous(who, subjects, left, model, rng)
            mean[target.name] = _table(x, here, index)
            variance[target.name] = _table(v, here, index)
            truth[target.name] = ("trial", y)
        else:
            y, p, parameters = _draw_categorical(target, who, subjects, left, model, rng)
            log_prob[target.name] = _table(p, here, index, level=list(target.levels))
            truth[target.name] = ("trial", y)
        lost = {"discount": (("modality",), np.broadcast_to(model.discount, count))}
        known.append(_label(parameters | lost, target, names, modalities))
    opinions = Opinions(
        targets,
        xr.DataArray(here, dims=("trial", "modality"), coords=index),
        xr.Dataset(truth, coords={name: index[name] for name in ("trial", "subject", "stimulus")}),
        mean,
        variance,
        log_prob,
        quality=None if quality is None else _table(quality, here, index),
    )
    merged = xr.merge(known, join="outer", compat="no_conflicts")
    return opinions, merged.sel(target=[t.name for t in targets])


def _quality(model: OpinionModel, here: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray | None]:
    """r (trial, modality), what is left of each opinion, and the quality it follows from, if any."""
    discount = np.atleast_1d(np.asarray(model.discount, float))
    if discount.size not in (1, here.shape[1]) or not ((discount >= 0) & (discount < 1)).all():
        raise InputError(
            f"discount is {model.discount} for {here.shape[1]} modalities",
            remedy="give one number from 0 to below 1, or one per modality",
        )
    if not discount.any():
        return np.ones(here.shape), None
    quality = np.random.default_rng([seed, 1]).beta(*model.quality, here.shape)
    return 1 - discount * (1 - quality), quality


def _draw_continuous(who, subjects, left, model, rng):
    count = left.shape[1]
    mu, tau = rng.normal(0, model.level_sd), model.tau
    delta = rng.normal(0, model.subject_level_sd, subjects)
    y = rng.normal(mu + delta[who], tau)
    while (wild := np.abs(y) > 1).any():
        y[wild] = rng.normal(mu + delta[who][wild], tau)
    a, b = rng.normal(0, 0.08, count), np.exp(rng.normal(-0.1, 0.2, count))
    u = rng.normal(0, model.offset_sd, (subjects, count))
    kappa = model.overconfidence * np.exp(rng.normal(0, 0.25, count))
    rho = rng.normal(0, model.reliability_sd, (subjects, count))
    v = model.variance * np.exp(rng.normal(0, model.variance_spread, (who.size, count)))
    r = np.full((count, count), model.correlation) + (1 - model.correlation) * np.eye(count)
    e = rng.normal(size=(who.size, count)) @ np.linalg.cholesky(r).T
    x = a + b * y[:, None] + u[who] + kappa * np.exp(rho[who]) * np.sqrt(v) * e / left
    parameters = {
        "mu": ((), mu),
        "tau": ((), tau),
        "delta_sd": ((), model.subject_level_sd),
        "delta": (("subject",), delta),
        "intercept": (("modality",), a),
        "gain": (("modality",), b),
        "offset_sd": (("modality",), np.full(count, model.offset_sd)),
        "offset": (("subject", "modality"), u),
        "kappa": (("modality",), kappa),
        "rho_sd": (("modality",), np.full(count, model.reliability_sd)),
        "rho": (("subject", "modality"), rho),
        "correlation": (("modality", "modality_other"), r),
    }
    return y, x, v, parameters


def _draw_categorical(target, who, subjects, left, model, rng):
    count = left.shape[1]
    levels = len(target.levels)
    alpha = rng.normal(0, 4 * model.level_sd, levels)
    delta = rng.normal(0, 4 * model.subject_level_sd, (subjects, levels))
    eta = (alpha + delta)[who]
    y = (eta + rng.gumbel(size=eta.shape)).argmax(1)
    d = model.sharpness * np.exp(rng.normal(0, 0.25, count))
    c = model.overconfidence * np.exp(rng.normal(0, 0.25, count))
    rho = rng.normal(0, model.reliability_sd, (subjects, count))
    z = rng.normal(size=(who.size, count, levels))
    z[np.arange(who.size)[:, None], np.arange(count), y[:, None]] += d * np.exp(rho[who]) * left
    score = (c * d)[:, None] * z
    score -= score.max(-1, keepdims=True)
    log_p = score - np.log(np.exp(score).sum(-1, keepdims=True))
    level = f"level_{target.name}"
    parameters = {
        "weight": (("modality",), 1 / c),
        "sharpness": (("modality",), d),
        "rho_sd": (("modality",), np.full(count, model.reliability_sd)),
        "rho": (("subject", "modality"), rho),
        f"alpha_{target.name}": ((level,), alpha),
        f"delta_{target.name}": (("subject", level), delta),
    }
    return y, log_p, parameters


def _table(values: np.ndarray, here: np.ndarray, index: dict, **inner) -> xr.DataArray:
    """(trial, modality, ...) with NaN where a modality is missing."""
    shape = here.shape + (1,) * (values.ndim - 2)
    return xr.DataArray(
        np.where(here.reshape(shape), values, np.nan), dims=("trial", "modality", *inner), coords=index | inner
    )


def _label(parameters: dict, target: Target, names: list[str], modalities: list[str]) -> xr.Dataset:
    own = f"_{target.name}"
    coords = {"target": [target.name], "subject": names, "modality": modalities, "modality_other": modalities}
    if target.levels is not None:
        coords[f"level{own}"] = list(target.levels)
    values = {}
    for name, (dims, value) in parameters.items():
        lead = () if name in (f"alpha{own}", f"delta{own}") else ("target",)
        values[name] = ((*lead, *dims), np.asarray(value, float)[None] if lead else np.asarray(value, float))
    return xr.Dataset(values, coords=coords)
