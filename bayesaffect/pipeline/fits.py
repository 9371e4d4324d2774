"""The fits of a study: each is kept in the workspace under a key of what it was made from, and is not repeated."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import arviz as az
import numpy as np
import xarray as xr

from bayesaffect import __version__, fusion, splits
from bayesaffect.errors import InputError
from bayesaffect.files import atomic, key, write_json
from bayesaffect.io import store
from bayesaffect.pipeline.opinions import unlabelled
from bayesaffect.pipeline.settings import Settings
from bayesaffect.types import Opinions, Predictive

LATE, HYBRID = "late", "hybrid"


def asked_for(settings: Settings) -> tuple[str, ...]:
    """The families of fusion that the study is to have."""
    return (LATE, HYBRID) if settings.hybrid else (LATE,)


def load_posterior(
    workspace: Path, settings: Settings, opinions: Opinions, target: str, family: str = LATE
) -> az.InferenceData:
    """The posterior of a target that `fuse` left in the workspace.

    Raises
    ------
    InputError : there is none, or it was not made from these opinions with these settings.
    """
    path = posterior_path(workspace, target, family)
    if not path.is_file():
        raise InputError(
            f"has no {family} posterior of {target!r}", where=workspace, remedy="run `bayesaffect fuse` first"
        )
    check_current(workspace, settings, opinions, [target], family)
    return az.from_netcdf(path)


def posterior_path(workspace: Path, target: str, family: str = LATE) -> Path:
    """Where the posterior of a target lies."""
    return workspace / "fusion" / f"{family}_{target}.nc"


def fitted(workspace: Path, settings: Settings, opinions: Opinions, target: str, path: Path, family: str = LATE):
    """The fit to all subjects in ``path``, made now unless it was made from the same before; and what the gate says."""
    known = _stamp(path)
    if path.is_file() and known.get("key") == _key(settings, opinions, target, family):
        return az.from_netcdf(path), known
    usual = path == posterior_path(workspace, target, family)  # others lie where their own call looks for them
    for name, posterior in _fits(workspace, settings, opinions, (), target, family).items():
        if name != target and not usual:
            continue
        other = path if name == target else posterior_path(workspace, name, family)
        save_posterior(posterior, other)
        known = {"key": _key(settings, opinions, name, family), **_verdict(posterior)}
        write_json(other.with_suffix(".json"), known)
    return az.from_netcdf(path), _stamp(path)


def key_of_fit(workspace: Path, target: str, family: str = LATE) -> str | None:
    """Under which key of opinions and settings the posterior in the workspace was made."""
    return _stamp(posterior_path(workspace, target, family)).get("key")


def _stamp(path: Path) -> dict:
    """What was noted beside a posterior: its key and the gate's verdict; empty where nothing was."""
    stamp = path.with_suffix(".json")
    return json.loads(stamp.read_text(encoding="utf-8")) if stamp.is_file() else {}


def check_current(workspace: Path, settings: Settings, opinions: Opinions, targets: Sequence[str], family: str = LATE):
    """Raise `InputError` where a posterior in the workspace was not made from these opinions with these settings."""
    for target in targets:
        if key_of_fit(workspace, target, family) != _key(settings, opinions, target, family):
            raise InputError(
                f"its {family} fusion of {target!r} was fitted to other opinions, with other settings, or by another "
                "version",
                where=workspace,
                remedy="run `bayesaffect fuse` again",
            )


def save_posterior(posterior, path: Path):
    """Write a posterior whole or not at all."""
    with atomic(path) as temporary:
        posterior.to_netcdf(str(temporary), engine=store.ENGINE)


def fold_posterior(
    workspace: Path,
    settings: Settings,
    opinions: Opinions,
    target: str,
    members: Sequence[str],
    family: str = LATE,
) -> az.InferenceData:
    """The fit without the subjects ``members``, made now unless it lies in the workspace; `fusion.predict` takes it.

    Where ``opinions`` are held out by something else, ``members`` are names of that. `subjects` says what
    `fusion.predict` has to be told.

    ``opinions`` are those that fusion may use when ``members`` are tested. Of the groups of a fit, ``posterior`` and
    ``constant_data`` are kept.
    """
    kept = _fold_path(workspace, settings, opinions, target, members, family, "posterior")
    if not (kept.is_file() and kept.with_suffix(".json").is_file()):
        for name, posterior in _fits(workspace, settings, *_without(opinions, members), target, family).items():
            path = _fold_path(workspace, settings, opinions, name, members, family, "posterior")
            save_posterior(fusion.reduced(posterior), path)
            write_json(path.with_suffix(".json"), _verdict(posterior))
    return fusion.in_memory(az.from_netcdf(kept))


def fold_prediction(
    workspace: Path,
    settings: Settings,
    opinions: Opinions,
    target: str,
    members: Sequence[str],
    family: str = LATE,
) -> tuple[Predictive, dict[str, list]]:
    """Predictions of one test group by `fold_posterior`, and what the gate says of that fit.

    They, too, are made now unless they lie in the workspace.
    """
    where = workspace, settings, opinions, target, members, family
    path = _fold_path(*where, "predicted")
    if path.is_file() and (verdict := _stamp(path)):
        return store.load_predictive(path), verdict
    posterior = fold_posterior(workspace, settings, opinions, target, members, family)
    tested = opinions.select(splits.tested(opinions, members))
    predictive = fusion.predict(posterior, tested, target=target, seed=settings.seed, subjects=subjects(opinions))
    if opinions.held_out_by != splits.SUBJECT:
        predictive = replace(predictive, trained_on=_seen(opinions, tested, target, members))
    store.save_predictive(predictive, path)
    verdict = _stamp(_fold_path(*where, "posterior"))
    write_json(path.with_suffix(".json"), verdict)
    return predictive, verdict


def _fold_path(
    workspace: Path,
    settings: Settings,
    opinions: Opinions,
    target: str,
    members: Sequence[str],
    family: str,
    what: str,
) -> Path:
    """Where the ``posterior`` of a fold lies, or what was ``predicted`` with it."""
    by = opinions.held_out_by
    apart = () if by == splits.SUBJECT else (by, opinions.unit.values.tolist())
    name = f"{target}-{_key(settings, opinions, target, family, sorted(members), *apart)}"
    return workspace / "fusion" / "folds" / f"{name}-{what}.nc"


def _verdict(posterior) -> dict[str, list]:
    """What the gate says of a fit, and what it said of the attempts before."""
    return {"failures": list(fusion.gate(posterior).failures), "refused": fusion.refused(posterior)}


def subjects(opinions: Opinions) -> str:
    """Whether tested people are new (``population``) or ``known`` to the fit by other trials of theirs."""
    return "population" if opinions.held_out_by == splits.SUBJECT else "known"


def _without(opinions: Opinions, members: Sequence[str]) -> tuple[Opinions, tuple[str, ...]]:
    """The opinions without truths that may not be learnt from, and the subjects that are held out as a whole."""
    if opinions.held_out_by == splits.SUBJECT:
        return opinions, tuple(members)
    return unlabelled(opinions, ~splits.learnt(opinions, members)), ()


def _seen(opinions: Opinions, tested: Opinions, target: str, members: Sequence[str]) -> xr.DataArray:
    """Units whose truth the fit has seen, for every tested trial."""
    unit, dim = opinions.unit.values.astype(str), f"trained_{opinions.held_out_by}"
    names = np.unique(unit)
    seen = np.isin(names, unit[splits.learnt(opinions, members) & opinions.labelled(target)])
    trial = tested.present["trial"].values
    return xr.DataArray(np.tile(seen, (trial.size, 1)), dims=("trial", dim), coords={"trial": trial, dim: names})


def _fits(
    workspace: Path, settings: Settings, opinions: Opinions, held_out: Sequence[str], target: str, family: str
) -> dict:
    """Target -> posterior: of ``target``, and where targets are fitted jointly of all others, too."""
    given = {
        "sampling": settings.sampling,
        "seed": settings.seed,
        "held_out": tuple(held_out),
        "cache": workspace / "fusion" / "compiled",
    }
    if family == HYBRID:
        return {target: fusion.fit_hybrid(opinions, target, **given)}
    if settings.joint and len(opinions.targets) > 1:
        return fusion.fit_joint(opinions, model=settings.model, **given)
    continuous = opinions.target(target).kind == "continuous"
    return {target: fusion.fit(opinions, target, model=settings.model if continuous else None, **given)}


def _key(settings: Settings, opinions: Opinions, target: str, family: str, *parts) -> str:
    asked = [asdict(settings.sampling), settings.seed, target, family]
    model = asdict(settings.model) if family == LATE and opinions.target(target).kind == "continuous" else None
    asked += ["joint"] if settings.joint and family == LATE else []
    return key(__version__, *asked, model, fingerprint(opinions, embedded=family == HYBRID), *parts)


def fingerprint(opinions: Opinions, *, embedded: bool = False) -> str:
    """SHA-256 over everything in the opinions that a fit depends on; a hybrid one on what is ``embedded`` as well.

    Numbers go in with single precision: the last bits of a mean over draws follow the layout of the array in memory
    and the processor, and a fit does not become another one by them. They are stretched by pi before: means of a few
    single-precision numbers often stand exactly half-way between two of them, where a last bit decides the rounding.
    """
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
        values = (np.pi * array.values).astype(np.float32) if array.dtype.kind == "f" else array.values
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()[:16]
