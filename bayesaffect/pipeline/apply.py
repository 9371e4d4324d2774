"""A fitted study applied to people it has not seen: predict their trials, learn from a few labelled ones."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import arviz as az
import numpy as np
import pandas as pd

from bayesaffect import fusion, progress
from bayesaffect.errors import InputError
from bayesaffect.files import write_text
from bayesaffect.pipeline.fits import HYBRID, LATE, check_current, key_of_fit, save_posterior
from bayesaffect.pipeline.opinions import of_new, of_study
from bayesaffect.pipeline.settings import Settings
from bayesaffect.types import Opinions, Predictive, Target

ADAPTED = "adapted"
LOW, HIGH = 0.05, 0.95
REPEATS = 5


@dataclass(frozen=True)
class Predicted:
    """``table``: a row per trial; ``paths``: what was written; ``milliseconds``: median time to fuse one trial;
    ``people``: how many subjects are new, adapted to, or of the fit; ``assumes``: what was presumed, if anything."""

    table: pd.DataFrame
    paths: tuple[Path, ...]
    milliseconds: float
    seconds: float
    people: dict[str, int]
    assumes: str = ""


def predict(
    workspace: Path,
    settings: Settings,
    source: Path,
    folder: Path,
    *,
    family: str = LATE,
    jointly: bool = False,
    jobs: int = 1,
) -> Predicted:
    """Predict new recordings (or a new table of opinions) with the study in ``workspace``.

    Writes ``folder/predictions.csv``, a row per trial: for every continuous target the fused mean, sd and 90 %
    interval in rating units, for a categorical one its most probable class and the probabilities of all; what each
    modality said, and its weight. And ``folder/<target>.nc``, the draws for ArviZ.

    Parameters
    ----------
    family : ``"late"`` or ``"hybrid"``.
    jointly : a new person's trials are predicted together (`fusion.predict_jointly`).
    jobs : processes that read recordings.
    """
    posteriors = load_posteriors(workspace / "fusion", family)
    check_fits(workspace, settings, {family: posteriors})
    modalities, targets = fitted_of(posteriors)
    opinions = of_new(workspace, settings, source, modalities, targets, jobs=jobs)
    return write_predictions(
        posteriors, opinions, folder, seed=settings.seed, family=family, jointly=jointly, workspace=workspace
    )


def write_predictions(
    posteriors: dict[str, az.InferenceData],
    opinions: Opinions,
    folder: Path,
    *,
    seed: int,
    family: str = LATE,
    jointly: bool = False,
    workspace: Path | None = None,
) -> Predicted:
    """Fuse ``opinions`` with every posterior, and write what `predict` says into ``folder``.

    ``workspace``: where the effects of people that were adapted to are kept, if anywhere.
    """
    tables, paths, people, assumes = [_index(opinions)], [], {}, ""
    spent = 0.0
    for target, posterior in progress.track(list(posteriors.items()), "predict"):
        kind = fusion.target_of(posterior)
        before = time.perf_counter()
        predictive, people = _one_target(workspace, posterior, opinions, target, seed, jointly)
        spent += time.perf_counter() - before
        if jointly:
            assumes = fusion.assumes(posterior)
        tables.append(_columns(predictive, kind))
        tables.append(_said(opinions, kind))
        if family == LATE:
            tables.append(_weights(posterior, opinions, target))
        path = folder / f"{target}.nc"
        save_posterior(fusion.to_inference_data(predictive, target, seed=seed), path)
        paths.append(path)
    first = opinions.select(np.array([0]))
    name, posterior = next(iter(posteriors.items()))
    single = []
    for _ in range(REPEATS):
        before = time.perf_counter()
        fusion.predict(posterior, first, target=name, seed=seed)
        single.append(time.perf_counter() - before)
    table = pd.concat(tables, axis=1)
    paths.insert(0, write_text(folder / "predictions.csv", table.to_csv(index=False)))
    return Predicted(table, tuple(paths), 1e3 * float(np.median(single)), spent, people, assumes)


def adapt(workspace: Path, settings: Settings, source: Path, *, jobs: int = 1) -> pd.DataFrame:
    """Learn the effects of every subject of ``source`` from its labelled trials; `predict` uses them from then on.

    Returns a row per subject and target: labelled trials, k-hat, and each modality's weight before and after (median).

    Raises
    ------
    InputError : no trial has truth on any target of the fit.
    """
    posteriors = load_posteriors(workspace / "fusion", LATE)
    check_fits(workspace, settings, {LATE: posteriors})
    modalities, targets = fitted_of(posteriors)
    opinions = of_new(workspace, settings, source, modalities, targets, jobs=jobs)
    subject = opinions.subject.values.astype(str)
    rows = []
    for target, posterior in posteriors.items():
        known = opinions.labelled(target) if target in opinions.truth else np.zeros(subject.size, dtype=bool)
        before = fusion.weights(posterior)["population"].median(("chain", "draw"))
        for name in np.unique(subject[known]):
            mine = opinions.select(known & (subject == name))
            adapted = fusion.adapt(posterior, mine, target=target, seed=settings.seed, subject=str(name))
            save_posterior(adapted, _adapted(workspace, str(name), target))
            after = fusion.weights(adapted)["weight"].isel(subject=0).median(("chain", "draw"))
            row = {"subject": str(name), "target": target, "labelled": int((known & (subject == name)).sum())}
            khat = fusion.attribute(adapted, "khat")
            row["khat"] = np.nan if khat is None else khat
            for modality in after["modality"].values:
                was, now = (float(w.sel(modality=modality)) for w in (before, after))
                row[str(modality)] = f"{was:.2f} -> {now:.2f}"
            rows.append(row)
    if not rows:
        raise InputError(
            f"has no truth on {', '.join(posteriors)}", where=source, remedy="adapting needs a few labelled trials"
        )
    return pd.DataFrame(rows).sort_values(["subject", "target"], ignore_index=True)


def load_posteriors(folder: Path, family: str) -> dict[str, az.InferenceData]:
    """Every target's posterior ``folder/<family>_<target>.nc``.

    Raises
    ------
    InputError : there is none.
    """
    found = sorted(folder.glob(f"{family}_*.nc"))
    if not found:
        raise InputError(
            f"has no {family} posterior",
            where=folder,
            remedy="fit it with `bayesaffect fuse --hybrid`" if family == HYBRID else "run `bayesaffect fuse` first",
        )
    posteriors = {path.stem.removeprefix(f"{family}_"): az.from_netcdf(path) for path in found}
    for posterior in posteriors.values():
        for group in ("posterior", "constant_data"):  # read lazily, each prediction would go to the disk again
            posterior[group].load()
    return posteriors


def fitted_of(posteriors: dict[str, az.InferenceData]) -> tuple[tuple[str, ...], tuple[Target, ...]]:
    """The modalities and the targets that these posteriors were fitted to."""
    first = next(iter(posteriors.values()))
    return fusion.modalities_of(first), tuple(fusion.target_of(posterior) for posterior in posteriors.values())


def check_fits(workspace: Path, settings: Settings, posteriors: dict[str, dict[str, az.InferenceData]]):
    """Raise `InputError` where fits, family -> target -> posterior, are of other networks than those that are there."""
    if settings.format == "opinions":  # the table of the study may be elsewhere by now, and nothing is trained
        return
    opinions = of_study(workspace, settings)
    for family, found in posteriors.items():
        check_current(workspace, settings, opinions, tuple(found), family)


def _adapted(workspace: Path, subject: str, target: str) -> Path:
    """Where a person's effects lie; those that were learned by another fit lie elsewhere and are not found."""
    return workspace / "fusion" / ADAPTED / quote(subject, safe="") / f"{target}-{key_of_fit(workspace, target)}.nc"


def _one_target(workspace, posterior, opinions: Opinions, target: str, seed: int, jointly: bool):
    """Predictions in the order of the trials, and how many people were new, adapted to, or of the fit."""
    subject = opinions.subject.values.astype(str)
    has = posterior["constant_data"]["n_used"]
    fitted = {str(s) for s, n in zip(has["subject"].values, has.values, strict=True) if n > 0}
    adapted: set[str] = set()
    if workspace is not None and not fusion.is_hybrid(posterior):
        adapted = {s for s in np.unique(subject) if s not in fitted and _adapted(workspace, s, target).is_file()}
    new = [s for s in np.unique(subject) if s not in fitted and s not in adapted]
    parts: list[tuple[np.ndarray, Predictive]] = []
    for name in sorted(adapted):
        rows = np.flatnonzero(subject == name)
        own = az.from_netcdf(_adapted(workspace, name, target))
        mine = opinions.select(rows)
        parts.append((rows, fusion.predict(own, mine, target=target, seed=seed, subjects="known")))
    together = np.flatnonzero(np.isin(subject, new)) if jointly else np.array([], dtype=int)
    if together.size:
        parts.append((together, fusion.predict_jointly(posterior, opinions.select(together), target=target, seed=seed)))
    rest = np.setdiff1d(np.arange(subject.size), np.concatenate([r for r, _ in parts]) if parts else [])
    if rest.size:
        mine = opinions.select(rest)
        parts.append((rest, fusion.predict(posterior, mine, target=target, seed=seed, subjects="known")))
    order = np.argsort(np.concatenate([rows for rows, _ in parts]))
    whole = parts[0][1] if len(parts) == 1 else _joined([p for _, p in parts])
    people = {"new": len(new), "adapted to": len(adapted), "of the fit": len(set(subject) & fitted)}
    return whole.select(order), people


def _joined(parts: list[Predictive]) -> Predictive:
    """Parts from several posteriors as one; whose labels each has seen differs, and is left out."""
    draws = min(next(iter({**p.mean, **p.log_prob}.values())).sizes["draw"] for p in parts)

    def cut(arrays):
        return {n: a.isel(draw=slice(draws)) for n, a in arrays.items()}

    return Predictive.concat(
        Predictive(p.targets, p.subject, *map(cut, (p.mean, p.variance, p.log_prob))) for p in parts
    )


def _index(opinions: Opinions) -> pd.DataFrame:
    index = opinions.present
    return pd.DataFrame({n: index[n].values.astype(str) for n in ("trial", "subject", "stimulus") if n in index.coords})


def _columns(predictive: Predictive, target: Target) -> pd.DataFrame:
    """The fused posterior of a target in numbers."""
    name = target.name
    if target.kind == "categorical":
        p = predictive.probability(name).values
        best = {name: np.array(target.levels)[p.argmax(1)]}
        return pd.DataFrame(best | {f"{name}_p_{level}": p[:, k] for k, level in enumerate(target.levels)})
    mean, variance = (m.values for m in predictive.moments(name))
    rng = np.random.default_rng(0)
    draws = predictive.mean[name].transpose("draw", "trial").values
    spread = np.sqrt(predictive.variance[name].transpose("draw", "trial").values)
    low, high = np.quantile(draws + spread * rng.standard_normal(draws.shape), [LOW, HIGH], axis=0)
    columns = {f"{name}_mean": mean, f"{name}_low": low, f"{name}_high": high}
    frame = {column: target.from_unit(values) for column, values in columns.items()}
    frame[f"{name}_sd"] = np.sqrt(variance) * target.half_range
    return pd.DataFrame({c: frame[c] for c in (f"{name}_mean", f"{name}_sd", f"{name}_low", f"{name}_high")})


def _said(opinions: Opinions, target: Target) -> pd.DataFrame:
    """What each modality said alone: its mean rating, or its most probable class; empty where it is missing."""
    here, columns = opinions.present.values, {}
    for k, modality in enumerate(opinions.modalities):
        if target.kind == "continuous":
            rating = target.from_unit(opinions.mean[target.name].values[:, k])
            columns[f"{target.name}_{modality}"] = np.where(here[:, k], rating, np.nan)
        else:
            log_p = np.where(here[:, k, None], opinions.log_prob[target.name].values[:, k], 0.0)
            columns[f"{target.name}_{modality}"] = np.where(here[:, k], np.array(target.levels)[log_p.argmax(1)], "")
    return pd.DataFrame(columns)


def _weights(posterior, opinions: Opinions, target: str) -> pd.DataFrame:
    """Median weight of each modality, and of the prior, on each trial."""
    share = fusion.trial_weights(posterior, opinions, subjects="known").median("sample")
    return pd.DataFrame({f"{target}_weight_{m}": share.sel(modality=m).values for m in share["modality"].values})
