"""Hybrid fusion: opinions and embeddings together, in the pool or the measurement model with heads under attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from bayesaffect.fusion import discount, habits, idata, linalg, statistics
from bayesaffect.fusion.attempts import settled, source
from bayesaffect.fusion.hybrid import attention, embedding
from bayesaffect.fusion.hybrid import categorical as hybrid_categorical
from bayesaffect.fusion.hybrid import continuous as hybrid_continuous
from bayesaffect.fusion.hybrid import prediction as hybrid_prediction
from bayesaffect.fusion.hybrid.trial_features import check_axes
from bayesaffect.fusion.ratings import continuous, padded
from bayesaffect.fusion.reliability import typical
from bayesaffect.fusion.settings import Priors, Sampling
from bayesaffect.types import Opinions

MODULES = {"continuous": hybrid_continuous, "categorical": hybrid_categorical}
FAMILY = "hybrid"


def fit_hybrid(
    opinions: Opinions,
    target: str,
    *,
    sampling: Sampling | None = None,
    priors: Priors | None = None,
    seed: int,
    held_out: Sequence[str] = (),
    cache: Path | None = None,
):
    """Posterior of the hybrid model of ``target`` given opinions, embeddings and the truth where it is known.

    Parameters and what is returned are those of `fit`; the equations are in `hybrid_categorical` and
    `hybrid_continuous`. The posterior also has ``head_weight`` (component, level) or (component), its scale
    ``head_sd``, ``gamma`` (head), ``lambda`` and ``nu`` of the `attention`, and ``takeover`` (pair, level, level_bis)
    or ``head_error`` (component). How embeddings were made short (`embedding`) is in constant_data, learned from the
    trials that the fit learns from. `predict` and `weights` take it as they take a late fit.

    Raises
    ------
    InputError : as `fit`; no modality with an embedding that varies, one with gaps, or embeddings of networks that were
        trained on different subjects (`with_features` gives the trials' own features instead).
    """
    sampling, priors = sampling or Sampling(), priors or Priors()
    kind = statistics.check_opinions_on(opinions, target).kind
    for modality in opinions.embedding:
        check_axes(opinions, modality)
    where = statistics.index(opinions, target, held_out)
    learnt = discount.learnable(opinions, where.used)
    poor = None if learnt is None else learnt[0]
    reduction = embedding.learn(opinions, target, where.used)
    moments, unsure = attention.unsure(opinions, target, where.used)
    module = MODULES[kind]
    data = module.data(opinions, target, where, priors, poor, unsure, reduction)
    name = f"hybrid {kind}:{source(module, attention, continuous, padded, linalg, discount)}"
    settings = {"priors": asdict(priors), "sampling": asdict(sampling), "seed": int(seed)}
    settings["held_out"] = [str(h) for h in held_out]

    def label(draws, values, refused):
        attrs = settings | {"refused": refused}
        return _labelled(draws, values, opinions, target, where, learnt, (reduction, moments), attrs)

    return settled(module, data, label, name=name, sampling=sampling, seed=seed, cache=cache)


def _labelled(draws, values, opinions: Opinions, target: str, where: statistics.Index, learnt, prepared, attrs):
    reduction, moments = prepared
    kind = opinions.target(target)
    subjects, names = list(where.subjects), list(opinions.modalities)
    constant, dims, coords = embedding.stored(reduction)
    per_subject, overall = typical(opinions, target, subjects, kind.kind == "continuous")
    constant |= {
        "n_used": where.counts,
        "typical_subject": per_subject,
        "typical": overall,
        "trial_subject": opinions.subject.values[where.used].astype(str),
        "unsure_moments": moments,
    }
    coords |= {
        "subject": subjects,
        "modality": names,
        "modality_bis": names,
        "pair": [f"{names[a]} without {names[b]}" for a, b in hybrid_categorical.pairs(len(names))],
        "trial": [str(t) for t in opinions.present["trial"].values[where.used]],
        "moment": ["mean", "sd"],
    }
    if kind.kind == "categorical":
        coords |= {"level": list(kind.levels), "level_bis": list(kind.levels)}
    dims |= MODULES[kind.kind].DIMS | {
        target: ["trial"],
        "n_used": ["subject"],
        "typical_subject": ["subject", "modality"],
        "typical": ["modality"],
        "trial_subject": ["trial"],
        "unsure_moments": ["moment", "modality"],
    }
    poor = None
    if learnt is not None:
        poor = learnt[0]
        constant |= {"poorness_subject": discount.by_subject(poor, opinions, subjects, learnt[1])}
        constant |= {"poorness": learnt[1]}
        dims |= {"poorness_subject": ["subject", "modality"], "poorness": ["modality"]}
    if kind.kind == "categorical":
        constant |= habits.stored(statistics.habits_of(opinions, target, where))
    given = hybrid_prediction.inputs(opinions, target, reduction, moments, poor)
    likelihood, predicted = _in_sample(values, opinions, target, where, attrs["seed"], given)
    groups = {
        "posterior": values,
        "sample_stats": draws.stats,
        "log_likelihood": {target: likelihood},
        "posterior_predictive": {target: predicted},
        "observed_data": {target: opinions.truth[target].values[where.used]},
        "constant_data": constant,
    }
    attrs = attrs | {
        **idata.described(kind),
        "family": FAMILY,
        "versions": idata.versions(),
    }
    return idata.build(groups, coords=coords, dims=dims, attrs=attrs)


def _in_sample(values, opinions: Opinions, target: str, where: statistics.Index, seed: int, given):
    """log p(truth | opinions, embeddings, draw) and truths drawn given them, (chain, draw, trial), thinned in draw."""
    used = opinions.select(where.used)
    who, truth = where.subject[where.used], used.truth[target].values
    given = {n: a[where.used] if n in ("z", "here", "pattern", "unsure", "poor") else a for n, a in given.items()}
    chains, number = values["rho"].shape[:2]
    kind = used.target(target)
    per_draw = truth.size * (1 if kind.kind == "continuous" else len(kind.levels))
    step = idata.thinning(chains * number, per_draw)
    kept = {n: values[n][:, ::step].reshape(-1, *values[n].shape[2:]) for n in hybrid_prediction.names(values)}
    rng = np.random.default_rng(np.random.SeedSequence([seed, 2]))
    if kind.kind == "continuous":
        mean, variance = hybrid_prediction.moments(kept, who, np.zeros(who.size, dtype=bool), used, target, given)
        likelihood = -0.5 * (np.log(2 * np.pi * variance) + (truth - mean) ** 2 / variance)
        predicted = mean + np.sqrt(variance) * rng.standard_normal(mean.shape)
    else:
        log_prob = hybrid_prediction.log_prob(kept, who, used, target, given)
        likelihood = np.take_along_axis(log_prob, truth.astype(int)[None, :, None], 2)[:, :, 0]
        predicted = statistics.drawn_classes(np.exp(log_prob), rng).astype(np.int16)
    return likelihood.reshape(chains, -1, truth.size), predicted.reshape(chains, -1, truth.size)
