"""Cross-validated fusion of opinions, and the posterior of the whole data set."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import arviz as az
import numpy as np

from bayesaffect import __version__, fusion, progress
from bayesaffect.errors import InputError
from bayesaffect.files import atomic, key, write_json
from bayesaffect.io import store
from bayesaffect.pipeline.settings import Settings
from bayesaffect.types import Opinions, Predictive

LATE = "late"


class Fused(NamedTuple):
    """``late``: fused out-of-fold predictions; ``posteriors``: target -> posterior on all subjects; ``failures``: what
    the gate found; ``repeated``: fits that passed, or were given up, after further attempts, one sentence each."""

    late: Predictive
    posteriors: dict[str, az.InferenceData]
    failures: tuple[str, ...]
    repeated: tuple[str, ...]


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
        opinions of everybody, for the posterior that is reported.
    groups : subject groups; the subjects of a group are predicted by a fusion that has not seen them, as new
        people drawn from the population.

    Every fit is kept in the workspace under a key of what it was made from, and is not repeated.
    """
    whole = opinions(None)
    fits = len(whole.targets) * (len(groups) + 1)
    posteriors, fused = {}, []
    failures: list[str] = []
    repeated: list[str] = []

    def note(where: str, verdict: dict):
        failures.extend(f"{where}: {sentence}" for sentence in verdict["failures"])
        if verdict["refused"]:
            times = f"{len(verdict['refused']) + 1} times"
            repeated.append(f"{where}: drawn {times}; at first: {' '.join(verdict['refused'][0])}")

    with progress.bar("fuse", fits) as advance:
        for target in whole.targets:
            posteriors[target.name], verdict = _posterior(workspace, settings, whole, target.name)
            note(target.name, verdict)
            advance(1)
            parts = []
            for k, members in enumerate(groups):
                part, verdict = _fold(workspace, settings, opinions(k), target.name, members)
                note(f"{target.name}, fold {k + 1} of {len(groups)}", verdict)
                parts.append(part)
                advance(1)
            fused.append(Predictive.concat(parts))
    late = _in_order(_merge(fused), whole)
    store.save_predictive(late, workspace / "opinions" / f"{LATE}.nc")
    write_json(workspace / "fusion" / "gate.json", {"failures": failures, "repeated": repeated})
    return Fused(late, posteriors, tuple(failures), tuple(repeated))


def load_posterior(workspace: Path, target: str) -> az.InferenceData:
    """The posterior of a target that `fuse` left in the workspace."""
    path = posterior_path(workspace, target)
    if not path.is_file():
        raise InputError(f"has no posterior of {target!r}", where=workspace, remedy="run `bayesaffect fuse` first")
    return az.from_netcdf(path)


def posterior_path(workspace: Path, target: str) -> Path:
    """Where the posterior of a target lies."""
    return workspace / "fusion" / f"{LATE}_{target}.nc"


def _posterior(workspace: Path, settings: Settings, opinions: Opinions, target: str):
    """Fit all subjects, or read the fit of an earlier run that was made from the same."""
    path = posterior_path(workspace, target)
    made_from = _key(settings, opinions, target)
    stamp = path.with_suffix(".json")
    if path.is_file() and stamp.is_file():
        known = json.loads(stamp.read_text(encoding="utf-8"))
        if known["key"] == made_from:
            return az.from_netcdf(path), known
    posterior = _fit(workspace, settings, opinions, target, ())
    known = {"key": made_from, **_verdict(posterior)}
    with atomic(path) as temporary:
        posterior.to_netcdf(str(temporary), engine=store.ENGINE)
    write_json(stamp, known)
    return az.from_netcdf(path), known


def _fold(workspace: Path, settings: Settings, opinions: Opinions, target: str, members: Sequence[str]):
    """Predictions of one test group, from a fit without its subjects."""
    path = workspace / "fusion" / "folds" / f"{target}-{_key(settings, opinions, target, sorted(members))}.nc"
    stamp = path.with_suffix(".json")
    if path.is_file() and stamp.is_file():
        return store.load_predictive(path), json.loads(stamp.read_text(encoding="utf-8"))
    posterior = _fit(workspace, settings, opinions, target, members)
    verdict = _verdict(posterior)
    tested = opinions.select(opinions.subject.isin(list(members)).values)
    predictive = fusion.predict(posterior, tested, target=target, seed=settings.seed)
    store.save_predictive(predictive, path)
    write_json(stamp, verdict)
    return predictive, verdict


def _verdict(posterior) -> dict[str, list]:
    """What the gate says of a fit, and what it said of the attempts before."""
    return {"failures": list(fusion.gate(posterior).failures), "refused": fusion.refused(posterior)}


def _fit(workspace: Path, settings: Settings, opinions: Opinions, target: str, held_out: Sequence[str]):
    return fusion.fit(
        opinions,
        target,
        sampling=settings.sampling,
        seed=settings.seed,
        held_out=tuple(held_out),
        cache=workspace / "fusion" / "compiled",
    )


def _key(settings: Settings, opinions: Opinions, target: str, *parts) -> str:
    return key(__version__, asdict(settings.sampling), settings.seed, target, fingerprint(opinions), *parts)


def fingerprint(opinions: Opinions) -> str:
    """SHA-256 over everything in the opinions that a fit depends on."""
    digest = hashlib.sha256(repr(opinions.targets).encode())
    index = opinions.present
    for name in ("trial", "modality", "subject"):
        digest.update("\n".join(map(str, index[name].values)).encode())
    arrays = [index, *(opinions.truth[t.name] for t in opinions.targets)]
    arrays += [] if opinions.quality is None else [opinions.quality]
    arrays += [a for group in (opinions.mean, opinions.variance, opinions.log_prob) for _, a in sorted(group.items())]
    for array in arrays:
        digest.update(np.ascontiguousarray(array.values).tobytes())
    return digest.hexdigest()[:16]


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
