"""Cross-validated fusion of opinions, and the posterior of the whole data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import arviz as az
import numpy as np

from bayesaffect import progress
from bayesaffect.errors import InputError
from bayesaffect.files import write_json
from bayesaffect.io import store
from bayesaffect.pipeline.fits import HYBRID, LATE, asked_for, fitted, fold_prediction, posterior_path
from bayesaffect.pipeline.opinions import check_truths, predictable
from bayesaffect.pipeline.settings import Settings
from bayesaffect.types import Opinions, Predictive


class Fused(NamedTuple):
    """``late``, ``hybrid``: fused out-of-fold predictions, ``hybrid`` where it was asked for and there are features;
    ``posteriors``: target -> late posterior on all subjects; ``failures``: what the gate found; ``repeated``: fits that
    passed, or were given up, after further attempts, one sentence each."""

    late: Predictive
    posteriors: dict[str, az.InferenceData]
    failures: tuple[str, ...]
    repeated: tuple[str, ...]
    hybrid: Predictive | None = None


def fuse(
    workspace: Path,
    settings: Settings,
    opinions: Callable[[int | None], Opinions],
    groups: Sequence[Sequence[str]],
) -> Fused:
    """Cross-validate the fusion, and fit it to all subjects.

    Parameters
    ----------
    opinions : group -> the opinions fusion may use when that group is tested; ``None`` -> out-of-fold
        opinions of everybody, for the posterior that is reported. Embeddings in them are what the hybrid model reads.
    groups : subject groups; the subjects of a group are predicted by a fusion that has not seen them, as new
        people drawn from the population. Where opinions are held out by something else (``held_out_by``), groups of
        that; people are then known, and a part of the sessions before which nothing is known is not predicted.

    Every fit is kept in the workspace under a key of what it was made from, and is not repeated.

    Raises
    ------
    InputError : a target without truth, or with none that may be learnt from when some group is tested.
    """
    whole = opinions(None)
    check_truths(whole, groups)
    families = asked_for(settings) if whole.embedding else (LATE,)
    posteriors: dict[str, dict] = {family: {} for family in families}
    fused: dict[str, list] = {family: [] for family in families}
    failures: list[str] = []
    repeated: list[str] = []

    def note(where: str, verdict: dict):
        failures.extend(f"{where}: {sentence}" for sentence in verdict["failures"])
        if verdict["refused"]:
            times = f"{len(verdict['refused']) + 1} times"
            repeated.append(f"{where}: drawn {times}; at first: {' '.join(verdict['refused'][0])}")

    with progress.bar("fuse", len(families) * len(whole.targets) * (len(groups) + 1)) as advance:
        for family in families:
            for target in whole.targets:
                called = target.name if family == LATE else f"{target.name} ({family})"
                path = posterior_path(workspace, target.name, family)
                posteriors[family][target.name], verdict = fitted(workspace, settings, whole, target.name, path, family)
                note(called, verdict)
                advance(1)
                parts = []
                for k, members in enumerate(groups):
                    if not predictable(opinions(k), members):
                        advance(1)
                        continue
                    part, verdict = fold_prediction(workspace, settings, opinions(k), target.name, members, family)
                    note(f"{called}, fold {k + 1} of {len(groups)}", verdict)
                    parts.append(part)
                    advance(1)
                if not parts:
                    raise InputError(f"no trial of {target.name!r} can be predicted", remedy="use fewer folds")
                fused[family].append(Predictive.concat(parts))
    found = {family: _in_order(_merge(parts), whole) for family, parts in fused.items()}
    for family, predictive in found.items():
        store.save_predictive(predictive, workspace / "opinions" / f"{family}.nc")
    write_json(workspace / "fusion" / "gate.json", {"failures": failures, "repeated": repeated})
    return Fused(found[LATE], posteriors[LATE], tuple(failures), tuple(repeated), found.get(HYBRID))


def _merge(predictives: Sequence[Predictive]) -> Predictive:
    """One value with all targets, from one value per target on the same trials."""
    first = predictives[0]
    return Predictive(
        tuple(t for p in predictives for t in p.targets),
        first.subject,
        {n: a for p in predictives for n, a in p.mean.items()},
        {n: a for p in predictives for n, a in p.variance.items()},
        {n: a for p in predictives for n, a in p.log_prob.items()},
        first.trained_on,
    )


def _in_order(predictive: Predictive, opinions: Opinions) -> Predictive:
    """The trials in the order of the index."""
    position = {str(t): k for k, t in enumerate(predictive.trial.values)}
    return predictive.select(
        np.array([position[str(t)] for t in opinions.present["trial"].values if str(t) in position])
    )
