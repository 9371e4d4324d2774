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

LATE, HYBRID = "late", "hybrid"


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
        people drawn from the population.

    Every fit is kept in the workspace under a key of what it was made from, and is not repeated.
    """
    whole = opinions(None)
    families = (LATE, HYBRID) if settings.hybrid and whole.embedding else (LATE,)
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
                posteriors[family][target.name], verdict = _posterior(workspace, settings, whole, target.name, family)
                note(called, verdict)
                advance(1)
                parts = []
                for k, members in enumerate(groups):
                    part, verdict = _fold(workspace, settings, opinions(k), target.name, members, family)
                    note(f"{called}, fold {k + 1} of {len(groups)}", verdict)
                    parts.append(part)
                    advance(1)
                fused[family].append(Predictive.concat(parts))
    found = {family: _in_order(_merge(parts), whole) for family, parts in fused.items()}
    for family, predictive in found.items():
        store.save_predictive(predictive, workspace / "opinions" / f"{family}.nc")
    write_json(workspace / "fusion" / "gate.json", {"failures": failures, "repeated": repeated})
    return Fused(found[LATE], posteriors[LATE], tuple(failures), tuple(repeated), found.get(HYBRID))


def load_posterior(workspace: Path, target: str, family: str = LATE) -> az.InferenceData:
    """The posterior of a target that `fuse` left in the workspace."""
    path = posterior_path(workspace, target, family)
    if not path.is_file():
        raise InputError(
            f"has no {family} posterior of {target!r}", where=workspace, remedy="run `bayesaffect fuse` first"
        )
    return az.from_netcdf(path)


def posterior_path(workspace: Path, target: str, family: str = LATE) -> Path:
    """Where the posterior of a target lies."""
    return workspace / "fusion" / f"{family}_{target}.nc"


def fitted(workspace: Path, settings: Settings, opinions: Opinions, target: str, path: Path, family: str = LATE):
    """The fit to all subjects in ``path``, made now unless it was made from the same before; and what the gate says."""
    made_from = _key(settings, opinions, target, family)
    stamp = path.with_suffix(".json")
    if path.is_file() and stamp.is_file():
        known = json.loads(stamp.read_text(encoding="utf-8"))
        if known["key"] == made_from:
            return az.from_netcdf(path), known
    posterior = _fit(workspace, settings, opinions, target, (), family)
    known = {"key": made_from, **_verdict(posterior)}
    save_posterior(posterior, path)
    write_json(stamp, known)
    return az.from_netcdf(path), known


def save_posterior(posterior, path: Path):
    """Write a posterior whole or not at all."""
    with atomic(path) as temporary:
        posterior.to_netcdf(str(temporary), engine=store.ENGINE)


def _posterior(workspace: Path, settings: Settings, opinions: Opinions, target: str, family: str):
    return fitted(workspace, settings, opinions, target, posterior_path(workspace, target, family), family)


def fold_posterior(
    workspace: Path,
    settings: Settings,
    opinions: Opinions,
    target: str,
    members: Sequence[str],
    family: str = LATE,
) -> az.InferenceData:
    """The fit without the subjects ``members``, made now unless it lies in the workspace; `fusion.predict` takes it.

    ``opinions`` are those that fusion may use when ``members`` are tested. Of the groups of a fit, ``posterior`` and
    ``constant_data`` are kept.
    """
    path = _fold_path(workspace, settings, opinions, target, members, family)
    kept = path.with_name(f"{path.stem}-posterior.nc")
    if not kept.is_file():
        _fit_fold(workspace, settings, opinions, target, members, family)
    return az.from_netcdf(kept)


def _fold(workspace: Path, settings: Settings, opinions: Opinions, target: str, members: Sequence[str], family: str):
    """Predictions of one test group, from a fit without its subjects."""
    path = _fold_path(workspace, settings, opinions, target, members, family)
    stamp = path.with_suffix(".json")
    if path.is_file() and stamp.is_file():
        return store.load_predictive(path), json.loads(stamp.read_text(encoding="utf-8"))
    posterior = _fit_fold(workspace, settings, opinions, target, members, family)
    tested = opinions.select(opinions.subject.isin(list(members)).values)
    predictive = fusion.predict(posterior, tested, target=target, seed=settings.seed)
    store.save_predictive(predictive, path)
    verdict = _verdict(posterior)
    write_json(stamp, verdict)
    return predictive, verdict


def _fold_path(workspace: Path, settings: Settings, opinions: Opinions, target: str, members: Sequence[str], family):
    name = f"{target}-{_key(settings, opinions, target, family, sorted(members))}"
    return workspace / "fusion" / "folds" / f"{name}.nc"


def _fit_fold(workspace: Path, settings: Settings, opinions: Opinions, target: str, members: Sequence[str], family):
    """Fit without ``members`` and keep what predictions need of it."""
    posterior = _fit(workspace, settings, opinions, target, members, family)
    path = _fold_path(workspace, settings, opinions, target, members, family)
    save_posterior(fusion.reduced(posterior), path.with_name(f"{path.stem}-posterior.nc"))
    return posterior


def _verdict(posterior) -> dict[str, list]:
    """What the gate says of a fit, and what it said of the attempts before."""
    return {"failures": list(fusion.gate(posterior).failures), "refused": fusion.refused(posterior)}


def _fit(workspace: Path, settings: Settings, opinions: Opinions, target: str, held_out: Sequence[str], family: str):
    given = {
        "sampling": settings.sampling,
        "seed": settings.seed,
        "held_out": tuple(held_out),
        "cache": workspace / "fusion" / "compiled",
    }
    if family == HYBRID:
        return fusion.fit_hybrid(opinions, target, **given)
    continuous = opinions.target(target).kind == "continuous"
    return fusion.fit(opinions, target, model=settings.model if continuous else None, **given)


def _key(settings: Settings, opinions: Opinions, target: str, family: str, *parts) -> str:
    asked = [asdict(settings.sampling), settings.seed, target, family]
    model = asdict(settings.model) if family == LATE and opinions.target(target).kind == "continuous" else None
    return key(__version__, *asked, model, fingerprint(opinions, embedded=family == HYBRID), *parts)


def fingerprint(opinions: Opinions, *, embedded: bool = False) -> str:
    """SHA-256 over everything in the opinions that a fit depends on; a hybrid one on what is ``embedded`` as well."""
    digest = hashlib.sha256(repr(opinions.targets).encode())
    index = opinions.present
    for name in ("trial", "modality", "subject"):
        digest.update("\n".join(map(str, index[name].values)).encode())
    arrays = [index, *(opinions.truth[t.name] for t in opinions.targets)]
    arrays += [] if opinions.quality is None else [opinions.quality]
    arrays += [a for group in (opinions.mean, opinions.variance, opinions.log_prob) for _, a in sorted(group.items())]
    if embedded:
        digest.update("\n".join(sorted(opinions.embedding)).encode())
        arrays += [a for _, a in sorted(opinions.embedding.items())]
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
