"""What a few labelled trials of a new person teach: the person's effects, without refitting the population."""

from __future__ import annotations

import numpy as np

from bayesaffect.errors import InputError
from bayesaffect.fusion import discount, habits, idata
from bayesaffect.fusion.hybrid import prediction as hybrid_prediction
from bayesaffect.fusion.people import effects_normal, effects_pool, tilts
from bayesaffect.fusion.people.weighting import resampled, smoothed
from bayesaffect.fusion.prediction import CATEGORICAL, CONTINUOUS, read
from bayesaffect.fusion.ratings import likelihoods
from bayesaffect.fusion.statistics import contrasts
from bayesaffect.types import Opinions

ATTRIBUTES = ("target", "kind", "model", "priors", "seed")
CHUNK = 2_000_000


def adapt(posterior, opinions: Opinions, *, target: str, seed: int, subject: str | None = None, draws: int = 1000):
    """Posterior of one new subject's effects given its labelled trials.

    Parameters
    ----------
    posterior : what `fit` returned; the population's parameters come from it.
    opinions : trials of the subject, with truth where there is one; those without do not enter. None at all leave
        the population.
    target : the target of the fit.
    seed : for the draws of the effects and the choice among draws.
    subject : name of the subject; may be left out where ``opinions`` has one.
    draws : posterior draws used at most, evenly thinned.

    Returns
    -------
    InferenceData that `predict` takes with ``subjects="known"``: the effects of this subject alone, and the
    population's draws picked by how well they foresaw the labels. Its attribute ``khat`` judges the weights by which
    they were picked: above 0.7 the fit should be repeated with the subject in it. ``labelled`` counts the trials.

    Notes
    -----
    Continuous: (u, delta) in closed form (`effects_normal`), rho from the population and weighted. Categorical: the
    habit c in closed form, then delta, rho and t (`tilts`) by Laplace's approximation and weighted (`effects_pool`);
    what a trial to be predicted says itself of c is added when it is predicted.

    Raises
    ------
    InputError : opinions of several subjects, other modalities or another target than the fit's, a hybrid fit, or a
        likelihood that is not normal.
    """
    name = check(posterior, opinions, target, subject)
    mine = opinions.select(opinions.subject.values.astype(str) == name)
    mine = mine.select(mine.labelled(target))
    values = population(posterior, draws)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 4]))
    poor = discount.of_fit(posterior, mine)
    if idata.attribute(posterior, "kind") == "continuous":
        found, log_weight = ratings(values, mine, target, mine.truth[target].values.astype(float), poor=poor, rng=rng)
        constant = {}
    else:
        found, log_weight, spread = _classes(posterior, values, mine, target, poor, rng)
        constant = {"habit_left": spread}
    count = mine.present.sizes["trial"]
    return assembled(posterior, values | found, name, count=count, log_weight=log_weight, rng=rng, constant=constant)


def check(posterior, opinions: Opinions, target: str, subject: str | None) -> str:
    """The name of the one subject; refuses what `adapt` refuses."""
    idata.check_target(posterior, target)
    idata.check_modalities(posterior, opinions)
    if hybrid_prediction.is_hybrid(posterior):
        raise InputError("a hybrid fit cannot be adapted", remedy="adapt the late fit of the same opinions")
    if idata.attribute(posterior, "kind") == "continuous":
        kind = likelihoods.of_fit(posterior).likelihood
        if kind != "normal":
            raise InputError(f"a fit with the {kind} likelihood cannot be adapted", remedy="fit the normal one")
    names = sorted({str(s) for s in opinions.subject.values})
    if subject is None and len(names) != 1:
        raise InputError(f"these are opinions of {len(names)} subjects", remedy="adapt to one after the other")
    return names[0] if subject is None else str(subject)


def population(posterior, draws: int) -> dict[str, np.ndarray]:
    """Draws of the population's parameters, without anybody's effects."""
    continuous = idata.attribute(posterior, "kind") == "continuous"
    wanted = read(posterior["posterior"], CONTINUOUS if continuous else CATEGORICAL)
    values = idata.flattened(posterior, wanted, at_most=draws)
    return {n: v for n, v in values.items() if n not in ("u", "delta", "rho", "habit", "tilt")}


def ratings(values, opinions: Opinions, target: str, truth: np.ndarray, *, poor, rng):
    """Draws of u, delta and rho of a subject (draw, 1, ...) and log-weights of the draws: a continuous target."""
    rho = rng.standard_normal(values["sd_rho"].shape) * values["sd_rho"]
    mean, precision, log_weight = effects_normal.conditional(values, rho, opinions, target, truth=truth, poor=poor)
    v = effects_normal.draw(mean, precision, rng)
    return {"u": v[:, None, :-1], "delta": v[:, -1:], "rho": rho[:, None]}, log_weight


def _classes(posterior, values, opinions: Opinions, target: str, poor, rng):
    """Draws of delta, rho, t and c of a subject (draw, 1, ...), log-weights, and the variance of c."""
    size, m = values["w"].shape
    k = values["alpha"].shape[1]
    label = opinions.truth[target].values.astype(int)
    mean, spread = effects_pool.habit(habits.of_fit(posterior), opinions, target, label, (size, m, k - 1))
    c = mean + habits.noise(spread, (size,), rng)
    prior = effects_pool.prior(values, c, tilts.of_fit(posterior) if label.size else None)
    v, log_weight = np.empty(prior.mean.shape), np.empty(size)
    per_draw = max(1, label.size) * (v.shape[1] + m * k) * k
    for rows in np.array_split(np.arange(size), max(1, size * per_draw // CHUNK)):
        part = {n: a[rows] for n, a in values.items()}
        pool = effects_pool.pool(part, c[rows], opinions, target, poor)
        mine = effects_pool.Prior(*(a[rows] for a in prior))
        mode, lower = effects_pool.posterior(mine, pool, label)
        v[rows], density = effects_pool.draw(mode, lower, rng)
        log_weight[rows] = effects_pool.log_density(v[rows], mine, pool, label) - density
    basis = contrasts(k)
    found = {"delta": v[:, : k - 1] @ basis.T, "rho": v[:, k - 1 : k - 1 + m], "habit": c @ basis.T}
    if v.shape[1] > k - 1 + m:
        found["rho"], found["tilt"] = tilts.centred(found["rho"], v[:, k - 1 + m :].reshape(size, m, k))
    return {n: a[:, None] for n, a in found.items()}, log_weight, spread


def assembled(posterior, values, name: str, *, count: int, log_weight: np.ndarray, rng, constant):
    """One subject's draws, picked by their weights, as what `predict` and `weights` take."""
    weight, khat = smoothed(log_weight)
    keep = resampled(weight, rng)
    values = {n: v[keep][None] for n, v in values.items()}
    draws = posterior["posterior"]
    continuous = "log_kappa" in values
    scale = np.exp(values["log_kappa"]) if continuous else values["w"]
    values["reliability"] = scale[:, :, None] * np.exp(values["rho"])
    if continuous:
        values["kappa"] = scale
    dims = {n: [str(d) for d in draws[n].dims if d not in ("chain", "draw")] for n in values if n in draws}
    coords = {d: draws[d].values for d in draws.dims if d not in ("chain", "draw", "subject") and d in draws.coords}
    old = posterior["constant_data"]
    kept = {n: old[n].values for n in old if n.startswith(("habit_", "tilt_", "typical", "poorness"))}
    kept = {n: v for n, v in kept.items() if not n.endswith("_subject")}
    dims |= {n: ["modality"] for n in ("typical", "poorness") if n in kept}
    for base in ("typical", "poorness"):
        if base in kept:
            kept[f"{base}_subject"] = kept[base][None]
            dims[f"{base}_subject"] = ["subject", "modality"]
    dims |= {"n_used": ["subject"], "tilt": ["subject", "modality", "level"]}
    attrs = {n: idata.attribute(posterior, n) for n in ATTRIBUTES if n in draws.attrs}
    attrs |= {"labelled": count, "khat": None if not np.isfinite(khat) else round(khat, 3), "adapted_to": name}
    # without labels the subject is known all the same: its effects are those of the population
    groups = {"posterior": values, "constant_data": {"n_used": np.array([max(count, 1)]), **kept, **constant}}
    return idata.build(groups, coords=coords | {"subject": [name]}, dims=dims, attrs=attrs)
