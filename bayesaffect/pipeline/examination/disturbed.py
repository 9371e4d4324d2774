"""Trials that were changed after the study, through its networks and its fusion: what each makes of them."""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from bayesaffect import __version__, fusion, splits
from bayesaffect.evaluate import baselines
from bayesaffect.evaluate import robustness as scoring
from bayesaffect.files import file_hash, key, write_text
from bayesaffect.pipeline import train as training
from bayesaffect.pipeline.fits import LATE, fingerprint, fold_posterior
from bayesaffect.pipeline.fits import subjects as known_or_new
from bayesaffect.pipeline.opinions import predictable
from bayesaffect.pipeline.settings import Settings
from bayesaffect.types import Opinions, Trials
from bayesaffect.uncertainty.crossfit import Execution
from bayesaffect.uncertainty.predict import predict
from bayesaffect.uncertainty.work import Work

FOLDER = "disturbed"
MOST_TRIALS = 240
PASSES = 4
DRAWS = 200
NOT_ASKED = ("dataset", "hybrid", "robustness")  # of the settings: they change nothing in what is measured
Groups = Sequence[Sequence[str]]
Asked = Callable[[int | None], Opinions]


@dataclass(frozen=True)
class Networks:
    """The trained networks of a study and what they were recalibrated by."""

    work: Work
    record: tuple[Mapping, ...]


def networks(workspace: Path, settings: Settings, trials: Trials) -> Networks:
    """The networks that `train` left in the workspace for all ``trials`` of the study."""
    work = training.lay_out(settings, trials, Execution(workspace / training.FOLDER, settings.nested, 1))
    record = json.loads((workspace / training.DONE).read_text(encoding="utf-8"))["recalibration"]
    return Networks(work, tuple(record))


def hear(known: Networks, opinions: Opinions, trials: Trials, modality: str) -> Opinions:
    """``opinions`` with what the networks of ``modality`` say of ``trials``: the same trials, changed at that sensor.

    Every trial is predicted by networks that have not seen its unit (`Opinions.unit`), recalibrated as in the study. At
    most 4 passes are drawn, from the same random numbers for any change, so that two changes differ by what they did to
    the trials. Opinions that carry the features of their trials, which the hybrid model reads, get those of the changed
    ones.
    """
    asked = known.work.ensemble
    said = predict(
        known.work,
        trials,
        recalibration=known.record,
        names=[modality],
        ensemble=replace(asked, passes=min(asked.passes, PASSES)),
    )
    told = Opinions.from_predictives(said, trials) if said else None
    heard = replaced(replace(opinions, quality=_quality(opinions, trials)), modality, told)
    return fusion.with_features(heard, trials) if opinions.embedding else heard


def replaced(opinions: Opinions, modality: str, told: Opinions | None) -> Opinions:
    """``opinions`` with the first modality of ``told`` in place of ``modality``; ``None``: it is missing throughout."""
    column = opinions.modalities.index(modality)

    def put(arrays: Mapping, name: str) -> dict:
        out = {}
        for target, array in arrays.items():
            out[target] = array.copy(deep=True)
            out[target].values[:, column] = np.nan if told is None else getattr(told, name)[target].values[:, 0]
        return out

    present = opinions.present.copy(deep=True)
    present.values[:, column] = False if told is None else told.present.values[:, 0]
    return replace(
        opinions,
        present=present,
        mean=put(opinions.mean, "mean"),
        variance=put(opinions.variance, "variance"),
        log_prob=put(opinions.log_prob, "log_prob"),
    )


def thinned(subject: np.ndarray, most: int = MOST_TRIALS) -> np.ndarray:
    """Positions of at most about ``most`` trials, evenly spaced within every subject."""
    names, group = np.unique(subject, return_inverse=True)
    each = max(2, -(-most // names.size))
    rows = [np.flatnonzero(group == k) for k in range(names.size)]
    picked = [r[np.unique(np.linspace(0, r.size - 1, min(each, r.size)).round().astype(int))] for r in rows]
    return np.sort(np.concatenate(picked))


def examined(opinions: Asked, groups: Groups, most: int = MOST_TRIALS) -> np.ndarray:
    """Positions of the trials that are looked at: at most about ``most`` of those that fusion predicts (`thinned`)."""
    whole, predicted = opinions(None), np.zeros(opinions(None).subject.size, dtype=bool)
    for k, members in enumerate(groups):
        if predictable(opinions(k), members):
            predicted |= splits.tested(whole, members)
    rows = np.flatnonzero(predicted)
    return rows[thinned(whole.subject.values.astype(str)[rows], most)]


def fused(
    workspace: Path,
    settings: Settings,
    opinions: Asked,
    groups: Groups,
    variants: Sequence[Opinions],
    *,
    advance: Callable[[float], None],
    family: str = LATE,
) -> dict[str, list[dict[str, np.ndarray]]]:
    """Scores of late (or hybrid) fusion, trial by trial, on several versions of the same trials.

    Every trial is predicted by the fit that held out its group: its subject as somebody new where subjects are held
    out, else as somebody known (`fits.subjects`). The effects of new people are drawn from the same random numbers for
    every version. Trials of a group before which nothing can be learnt from stay NaN.

    Returns
    -------
    target -> for every version: `pointwise` scores (trial,), and of late fusion ``weight`` (trial, modality), the mean
    over draws of the share that each modality has in the fused posterior.
    """
    whole, first = opinions(None), variants[0]
    subject = first.subject.values.astype(str)
    found: dict[str, list[dict[str, np.ndarray]]] = {}
    for target in whole.targets:
        found[target.name] = [{} for _ in variants]
        for k, members in enumerate(groups):
            rows, allowed = np.flatnonzero(splits.tested(first, members)), opinions(k)
            if not (rows.size and predictable(allowed, members)):
                advance(len(variants))
                continue
            posterior = fold_posterior(workspace, settings, allowed, target.name, members, family)
            who = {"subjects": known_or_new(allowed)}
            for group in ("posterior", "constant_data"):
                posterior[group].load()
            for out, variant in zip(found[target.name], variants, strict=True):
                part = variant.select(rows)
                said = fusion.predict(posterior, part, target=target.name, seed=settings.seed, draws=DRAWS, **who)
                scored = scoring.pointwise(said, first.truth, target)
                if family == LATE:
                    share = fusion.trial_weights(posterior, part, draws=50, **who).mean("sample")
                    scored["weight"] = share.sel(modality=list(whole.modalities)).values
                for name, values in scored.items():
                    out.setdefault(name, np.full((subject.size, *values.shape[1:]), np.nan))[rows] = values
                advance(1)
    return found


def alone(opinions: Opinions, modality: str) -> dict[str, dict[str, np.ndarray]]:
    """target -> `pointwise` scores (trial,) of a modality's own opinions, NaN where it has none.

    Nothing for ratings that came without variances, whose likelihood alone is nobody's statement.
    """
    here = opinions.present.sel(modality=modality).values
    found = {}
    for target in opinions.targets:
        found[target.name] = {}
        if not here.any() or (target.kind == "continuous" and not opinions.variance_known):
            continue
        said = baselines.equal_weights(opinions.select(here).only([modality]))
        for name, values in scoring.pointwise(said, opinions.truth, target).items():
            found[target.name][name] = np.full(here.size, np.nan)
            found[target.name][name][here] = values
    return found


def remembered(workspace: Path, name: str, made_from: str, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """The table called ``name`` as it lies in the workspace, made now unless it was made from the same before."""
    path = workspace / FOLDER / f"{name}-{made_from}.csv"
    if not path.is_file():
        write_text(path, make().to_csv(index=False))
    text = path.read_text(encoding="utf-8")
    return pd.read_csv(io.StringIO(text), keep_default_na=False, na_values=[""], float_precision="round_trip")


def made_from(settings: Settings, opinions: Asked, groups: Groups, *more) -> str:
    """A key of everything that scores on changed trials follow from, this package's own rules for them included."""
    asked = {name: value for name, value in asdict(settings).items() if name not in NOT_ASKED}
    said = [fingerprint(opinions(k)) for k in (None, *range(len(groups)))]
    apart = opinions(None).held_out_by, opinions(None).unit.values.astype(str).tolist()
    return key(__version__, asked, [list(map(str, group)) for group in groups], apart, said, _rules(), *more)


@functools.cache
def _rules() -> list[str]:
    """Hashes of the files that say what a disturbance is and how it is scored."""
    here = Path(__file__).parent
    names = ("corrupt.py", "corrupt_quality.py", "disturbed.py", "robustness.py", "scalp.py")
    return [file_hash(path) for path in (*(here / name for name in names), Path(scoring.__file__))]


def _quality(opinions: Opinions, trials: Trials):
    """Quality of the changed trials, where opinions have one."""
    if opinions.quality is None:
        return None
    return trials.quality.reindex(modality=list(opinions.modalities), fill_value=0.0)
