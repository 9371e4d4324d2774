"""Predictions by every subset of modalities, from the fits that cross-validation made; and what follows from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from bayesaffect import __version__, fusion, progress, splits
from bayesaffect.evaluate import baselines, coalitions, complementarity, importance, refitted
from bayesaffect.files import atomic, key
from bayesaffect.io import store
from bayesaffect.pipeline.fits import fingerprint, fold_posterior
from bayesaffect.pipeline.fits import subjects as known_or_new
from bayesaffect.pipeline.opinions import predictable
from bayesaffect.pipeline.settings import Settings
from bayesaffect.types import Opinions, Predictive, Target

DRAWS, VARIANCES, MEANS = 400, 5, 4


def subsets(
    workspace: Path,
    settings: Settings,
    opinions_of_group: Callable[[int | None], Opinions],
    groups: Sequence[Sequence[str]],
) -> dict[str, Predictive]:
    """What late fusion predicts of every test subject with only some of the modalities there.

    Parameters
    ----------
    opinions_of_group, groups : as `pipeline.fuse.fuse` takes them.

    Returns
    -------
    name of a coalition of `coalitions.plan` (``eeg+face``; ``prior`` for none) -> predictions of the same trials, in
    the order of the index, of all targets. The fold's posterior predicts with the other modalities missing; trials on
    which a coalition has no modality are predicted by the prior (`baselines.prior_only`; by the fit without any
    opinion where a training set has no truth to make one from).

    Of ratings the draws are merged into 20 Gaussians (`merged`), of classes into their average. Kept in
    ``WORKSPACE/fusion/subsets`` under a key of what they were made from.
    """
    return _every(workspace, settings, opinions_of_group, groups, _by_fusion)


def refits(
    workspace: Path,
    settings: Settings,
    opinions_of_group: Callable[[int | None], Opinions],
    groups: Sequence[Sequence[str]],
) -> dict[str, Predictive]:
    """The same as `subsets` for categorical targets, by a pool fitted to each coalition anew (`evaluate.refitted`).

    Empty without a categorical target.
    """
    return _every(workspace, settings, opinions_of_group, groups, _by_pools)


def _every(workspace: Path, settings: Settings, opinions_of_group, groups, made_by: Callable) -> dict[str, Predictive]:
    whole = opinions_of_group(None)
    plan = coalitions.plan(whole.modalities)
    prior = baselines.prior_only(whole, groups)
    targets = [t for t in whole.targets if made_by is _by_fusion or t.kind == "categorical"]
    found: dict[str, dict[str, Predictive]] = {name: {} for name in plan.names if targets}
    with progress.bar("subsets", len(targets) * len(groups)) as advance:
        for target in targets:
            parts: dict[str, list[Predictive]] = {name: [] for name in plan.names}
            for k, members in enumerate(groups):
                if not predictable(opinions_of_group(k), members):
                    advance(1)
                    continue
                part = _group(workspace, settings, opinions_of_group(k), target, members, prior, made_by)
                for name, predictive in part.items():
                    parts[name].append(predictive)
                advance(1)
            for name in plan.names:
                found[name][target.name] = Predictive.concat(parts[name])
    return {name: _of_all(by_target, whole) for name, by_target in found.items()}


def _group(
    workspace: Path,
    settings: Settings,
    opinions: Opinions,
    target: Target,
    members: Sequence[str],
    prior: Predictive,
    made_by: Callable,
) -> dict[str, Predictive]:
    """Coalition -> predictions of one target of one test group, made now unless they lie in the workspace."""
    tested = opinions.select(splits.tested(opinions, members))
    plan = coalitions.plan(opinions.modalities)
    guess = _guess(prior, tested, target)
    made_of = key(
        __version__,
        made_by.__name__,
        *(["joint"] if settings.joint and made_by is _by_fusion else []),
        *(repr(settings.sampling), repr(settings.model), settings.seed),
        fingerprint(opinions),
        (opinions.held_out_by, opinions.unit.values.tolist()),
        sorted(members),
        plan.names,
        None if guess is None else [a.tolist() for a in guess],
        (DRAWS, VARIANCES, MEANS),
    )
    path = workspace / "fusion" / "subsets" / f"{target.name}-{made_of}.nc"
    if not path.is_file():
        rows = made_by(workspace, settings, opinions, target, members)
        if guess is not None:
            rows = [_guessed(row, tested, c, guess) for row, c in zip(rows, plan.coalitions, strict=True)]
        _save(rows, plan.names, tested, path)
    return _load(path, tested, target)


def _by_fusion(workspace: Path, settings: Settings, opinions: Opinions, target: Target, members: Sequence[str]):
    """Arrays of every coalition by the posterior of the fit without ``members``."""
    posterior = fold_posterior(workspace, settings, opinions, target.name, members)
    tested = opinions.select(splits.tested(opinions, members))
    given = {"target": target.name, "seed": settings.seed, "subjects": known_or_new(opinions)}
    given["draws"] = DRAWS if target.kind == "continuous" else 1000
    return [
        _arrays(fusion.predict(posterior, tested.only(c), **given), target)
        for c in coalitions.plan(opinions.modalities).coalitions
    ]


def _by_pools(workspace: Path, settings: Settings, opinions: Opinions, target: Target, members: Sequence[str]):
    """Log-probabilities of every coalition by a pool fitted to it alone."""
    plan = coalitions.plan(opinions.modalities)
    tested, learnt = splits.tested(opinions, members), splits.learnt(opinions, members)
    made = refitted.predict(opinions, target, plan.coalitions, tested=tested, learnt=learnt)
    return [(array[None],) for array in made]


def _guessed(row: tuple[np.ndarray, ...], tested: Opinions, coalition, guess) -> tuple[np.ndarray, ...]:
    """The prior's guess where nothing of the coalition is there."""
    blind = ~tested.only(coalition).present.values.any(1)
    return tuple(
        np.where(blind.reshape(1, -1, *(1,) * (array.ndim - 2)), other, array)
        for array, other in zip(row, guess, strict=True)
    )


def _arrays(drawn: Predictive, target: Target) -> tuple[np.ndarray, ...]:
    """(mean, variance), each (20, trial), or (log-probability (1, trial, level),)."""
    if target.kind == "continuous":
        return merged(drawn.mean[target.name].values, drawn.variance[target.name].values)
    return (np.log(np.maximum(drawn.probability(target.name).values, 1e-300))[None],)


def _guess(prior: Predictive, tested: Opinions, target: Target) -> tuple[np.ndarray, ...] | None:
    """The prior's arrays on the tested trials, each with one draw."""
    known = prior.mean if target.kind == "continuous" else prior.log_prob
    if target.name not in known:
        return None
    place = {str(t): k for k, t in enumerate(prior.trial.values)}
    row = [place.get(str(t), -1) for t in tested.present["trial"].values]
    if min(row, default=-1) < 0:
        return None
    if target.kind == "continuous":
        return prior.mean[target.name].values[:, row], prior.variance[target.name].values[:, row]
    return (prior.log_prob[target.name].values[:, row],)


def merged(mean: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Few Gaussians (20, trial) in place of the many of a mixture (draw, trial), with its mean and total variance.

    Draws are sorted by variance into 5 blocks and within each by mean into 4; a block becomes one Gaussian with the
    block's mean and variance E[v] + Var[m]. Blocks are of equal size: up to 19 draws at the end are left out; fewer
    than 20 draws are returned as they are.
    """
    size = mean.shape[0] // (VARIANCES * MEANS)
    if size < 1:
        return mean, variance
    kept = size * VARIANCES * MEANS

    def ordered(by, *arrays):
        order = np.argsort(by, axis=1, kind="stable")
        return [np.take_along_axis(a, order, 1) for a in arrays]

    m, v = (a[None, :kept] for a in (mean, variance))
    m, v = (a.reshape(VARIANCES, kept // VARIANCES, -1) for a in ordered(v, m, v))
    m, v = (a.reshape(VARIANCES * MEANS, size, -1) for a in ordered(m, m, v))
    return m.mean(1), v.mean(1) + m.var(1)


def _save(rows: Sequence[tuple[np.ndarray, ...]], names: Sequence[str], tested: Opinions, path: Path):
    stacked = [np.stack(part).astype(np.float32) for part in zip(*rows, strict=True)]
    data = xr.Dataset(
        {f"array{k}": (("subset", "draw", "trial", "level")[: a.ndim], a) for k, a in enumerate(stacked)},
        coords={
            "subset": np.array(names, dtype=object),
            "trial": tested.present["trial"].values.astype(str).astype(object),
        },
    )
    with atomic(path) as temporary:
        data.to_netcdf(temporary, engine=store.ENGINE)


def _load(path: Path, tested: Opinions, target: Target) -> dict[str, Predictive]:
    data = xr.load_dataset(path, engine=store.ENGINE)
    index = {"trial": tested.present["trial"].values, "subject": ("trial", tested.subject.values)}
    who = xr.DataArray(tested.subject.values, dims="trial", coords=index)
    out = {}
    for k, name in enumerate(data["subset"].values.astype(str).tolist()):
        arrays = [data[f"array{j}"].values[k] for j in range(len(data.data_vars))]
        if target.kind == "continuous":
            mean, variance = (xr.DataArray(a, dims=("draw", "trial"), coords=index) for a in arrays)
            out[name] = Predictive((target,), who, {target.name: mean}, {target.name: variance})
        else:
            coords = index | {"level": list(target.levels)}
            logs = xr.DataArray(arrays[0], dims=("draw", "trial", "level"), coords=coords)
            out[name] = Predictive((target,), who, log_prob={target.name: logs})
    return out


def _of_all(by_target: Mapping[str, Predictive], whole: Opinions) -> Predictive:
    """One value with all targets, in the order of the index."""
    parts = list(by_target.values())
    together = replace(
        parts[0],
        targets=whole.targets,
        mean={n: a for p in parts for n, a in p.mean.items()},
        variance={n: a for p in parts for n, a in p.variance.items()},
        log_prob={n: a for p in parts for n, a in p.log_prob.items()},
    )
    place = {str(t): k for k, t in enumerate(together.trial.values)}
    return together.select(
        np.array([place[str(t)] for t in whole.present["trial"].values if str(t) in place], dtype=int)
    )


def sheets(
    workspace: Path,
    settings: Settings,
    opinions_of_group: Callable[[int | None], Opinions],
    groups: Sequence[Sequence[str]],
    *,
    singles: Mapping[str, Predictive],
    fused: Predictive,
) -> tuple[dict[str, pd.DataFrame], tuple[str, ...]]:
    """The tables subsets, shapley, removed, leaning, pairs and helped, and the sentences that sum them up.

    ``singles``: each modality's own opinions as predictions, others are not looked at; ``fused``: those of late fusion.
    """
    opinions = opinions_of_group(None)
    given = {"truth": opinions.truth, "targets": opinions.targets, "seed": settings.seed}
    made_from = (workspace, settings, opinions_of_group, groups)
    by_subset, again = subsets(*made_from), refits(*made_from)
    found = importance.sheets(by_subset, modalities=opinions.modalities, refits=again, **given)
    stimulus = opinions.present["stimulus"]
    singles = {m: singles[m] for m in opinions.modalities if m in singles}
    found |= {
        "pairs": complementarity.pairs(singles, **given),
        "helped": complementarity.helped(fused, singles, stimulus=stimulus, **given),
    }
    return found, (*importance.sentences(found), *complementarity.sentences(found))
