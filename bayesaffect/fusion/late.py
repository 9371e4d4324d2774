"""Late fusion: fit the measurement model or the log-linear pool to opinions, whichever the target asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType

import numpy as np

from bayesaffect.errors import InputError
from bayesaffect.fusion import absence, categorical, discount, habits, idata, linalg, prediction, statistics
from bayesaffect.fusion.attempts import settled, source
from bayesaffect.fusion.engine.sample import Draws
from bayesaffect.fusion.people import tilts
from bayesaffect.fusion.ratings import continuous, likelihoods, padded
from bayesaffect.fusion.reliability import typical
from bayesaffect.fusion.settings import Model, Priors, Sampling
from bayesaffect.types import Opinions


def fit(
    opinions: Opinions,
    target: str,
    *,
    sampling: Sampling | None = None,
    priors: Priors | None = None,
    seed: int,
    held_out: Sequence[str] = (),
    cache: Path | None = None,
    model: Model | None = None,
):
    """Posterior of the late fusion model of ``target`` given everybody's opinions and the truth where it is known.

    Parameters
    ----------
    opinions : out-of-fold predictions of every modality, with truth.
    target : one of its targets; its kind picks the model (`continuous`, `categorical`).
    sampling, priors : settings; ``None`` for the defaults.
    seed : fixes starting points, sampler and effects; same seed, same draws.
    held_out : subjects whose truth does not enter. All arrays keep the shapes of ``opinions``, so that one
        compiled density serves every fold; the effects of these subjects come from their prior.
    cache : folder of compiled densities; ``None`` for the user's cache folder.
    model : likelihood and pooling of a continuous target; ``None`` for normal errors, partially pooled.

    Returns
    -------
    InferenceData with groups posterior, sample_stats, log_likelihood (log p(truth | opinions) per trial),
    posterior_predictive (the truth drawn given the opinions), observed_data and constant_data (``n_used`` per subject,
    what `weights` needs), thinned in the per-trial groups to about eight million numbers each. Attributes carry target,
    kind, priors, sampling, seed, versions, ``evidence`` (`dependence`) and ``refused``: what the `gate` found in each
    attempt before the one that is returned.

    Where the opinions carry a quality that varies, the posterior has ``quality_discount`` (modality), what a poor
    signal costs (`discount`); ``dataclasses.replace(opinions, quality=None)`` fits without.

    Raises
    ------
    InputError : unknown target or subjects, a quality outside [0, 1], no trial with truth, no opinions on the target.
    """
    sampling = sampling or Sampling()
    ready = prepared(opinions, target, priors=priors or Priors(), model=model, held_out=held_out)
    modules = [ready.module, *([continuous, padded] if ready.module is not categorical else []), linalg, discount]
    name = f"late {opinions.target(target).kind}:{source(*modules)}"

    def label(draws, values, refused):
        return labelled(draws, values, opinions, ready, sampling=sampling, seed=seed, refused=refused)

    return settled(ready.module, ready.data, label, name=name, sampling=sampling, seed=seed, cache=cache)


@dataclass(frozen=True)
class Prepared:
    """What a fit of ``target`` starts from: the ``module`` of its model, the ``data`` of its density, which trials
    enter (``where``), and what it was made from; ``learnt``: see `discount.learnable`."""

    target: str
    module: ModuleType
    data: Mapping[str, np.ndarray]
    where: statistics.Index
    learnt: tuple | None
    priors: Priors
    model: Model
    held_out: tuple[str, ...]


def prepared(
    opinions: Opinions, target: str, *, priors: Priors, model: Model | None = None, held_out: Sequence[str] = ()
) -> Prepared:
    """Check what `fit` is given, and reduce the opinions to what the density reads."""
    model = model or Model()
    kind = statistics.check_opinions_on(opinions, target).kind
    if kind == "categorical" and model != Model():
        raise InputError(
            f"target {target!r} is categorical, and {model.likelihood} with {model.pooling} pooling is not",
            remedy="leave out the model",
        )
    where = statistics.index(opinions, target, held_out)
    learnt = discount.learnable(opinions, where.used)
    poor = None if learnt is None else learnt[0]
    if kind == "continuous":
        module = likelihoods.MODULES[model.likelihood]
        data = likelihoods.data(opinions, target, where, priors, model, poor)
    else:
        module = categorical
        sums = statistics.categorical(opinions, target, where, poor)
        data = categorical.data(sums, priors, discounted=poor is not None)
    return Prepared(target, module, data, where, learnt, priors, model, tuple(str(h) for h in held_out))


def labelled(
    draws: Draws, values, opinions: Opinions, ready: Prepared, *, sampling: Sampling, seed: int, refused: list
):
    """Draws of a prepared fit as the object that `fit` returns; ``values``: what people read, of every draw."""
    target, where, module, learnt = ready.target, ready.where, ready.module, ready.learnt
    priors, model = ready.priors, ready.model
    kind = opinions.target(target)
    subjects = list(where.subjects)
    is_continuous = kind.kind == "continuous"
    per_subject, overall = typical(opinions, target, subjects, is_continuous)
    coords = {
        "subject": subjects,
        "modality": list(opinions.modalities),
        "modality_bis": list(opinions.modalities),
        "trial": [str(t) for t in opinions.present["trial"].values[where.used]],
    }
    if not is_continuous:
        coords |= {"level": list(kind.levels), "level_bis": list(kind.levels)}
    dims = module.DIMS | {
        target: ["trial"],
        "coupling": ["modality"],
        "n_used": ["subject"],
        "typical_subject": ["subject", "modality"],
        "typical": ["modality"],
        "trial_subject": ["trial"],
    }
    poor, constant = None, {}
    if learnt is not None:
        poor = learnt[0]
        constant = {"poorness_subject": discount.by_subject(poor, opinions, subjects, learnt[1]), "poorness": learnt[1]}
        dims |= {name: dims[f"typical{name.removeprefix('poorness')}"] for name in constant}
    if not is_continuous:
        found = statistics.habits_of(opinions, target, where)
        constant |= habits.stored(found) | tilts.stored(tilts.learned(values, found, opinions, target, where, poor))
        own = np.asarray(values["habit"])[0, 0] @ statistics.contrasts(len(kind.levels))
        options = {"habit_of": own, "poor": poor}
        constant |= absence.stored(absence.learned(values, opinions, target, where, priors, **options))
    likelihood, predicted = _in_sample(values, opinions, target, where, seed, poor, model)
    attrs = {
        **idata.described(kind),
        "model": asdict(model),
        "priors": asdict(priors),
        "sampling": asdict(sampling),
        "seed": int(seed),
        "held_out": list(ready.held_out),
        "evidence": 1.0 if is_continuous else statistics.evidence_of(opinions, target, where),
        "refused": refused,
        "versions": idata.versions(),
    }
    groups = {
        "posterior": values,
        "sample_stats": draws.stats,
        "log_likelihood": {target: likelihood},
        "posterior_predictive": {target: predicted},
        "observed_data": {target: opinions.truth[target].values[where.used]},
        "constant_data": {
            "n_used": where.counts,
            "typical_subject": per_subject,
            "typical": overall,
            "trial_subject": opinions.subject.values[where.used].astype(str),
            **constant,
        },
    }
    return idata.build(groups, coords=coords, dims=dims, attrs=attrs)


def _in_sample(values, opinions: Opinions, target: str, where: statistics.Index, seed: int, poor, model):
    """log p(truth | opinions, draw) and truths drawn given the opinions, (chain, draw, trial), thinned along draw."""
    used = opinions.select(where.used)
    who, truth = where.subject[where.used], used.truth[target].values
    chains, number = values["rho"].shape[:2]
    is_continuous = used.target(target).kind == "continuous"
    per_draw = truth.size * (
        likelihoods.cost(used.target(target), model) if is_continuous else len(used.target(target).levels)
    )
    step = idata.thinning(chains * number, per_draw)
    names = prediction.read(values, prediction.CONTINUOUS if is_continuous else prediction.CATEGORICAL)
    names += likelihoods.extra(model)
    poor = None if poor is None else poor[where.used]
    kept = {n: values[n][:, ::step].reshape(-1, *values[n].shape[2:]) for n in names}
    rng = np.random.default_rng(np.random.SeedSequence([seed, 2]))
    if is_continuous:
        spec = used.target(target)
        likelihood, predicted = likelihoods.in_sample(kept, who, used, spec, poor=poor, rng=rng, model=model)
    else:
        log_prob = prediction.fused_log_prob(kept, who, used, target, poor)
        likelihood = np.take_along_axis(log_prob, truth.astype(int)[None, :, None], 2)[:, :, 0]
        predicted = statistics.drawn_classes(np.exp(log_prob), rng).astype(np.int16)
    return likelihood.reshape(chains, -1, truth.size), predicted.reshape(chains, -1, truth.size)
