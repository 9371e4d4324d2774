"""What a study is asked after its scores: who contributes, what a disturbed sensor does, whether intervals hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from bayesaffect import splits
from bayesaffect.evaluate import conformal, excess
from bayesaffect.evaluate.cautions import cautions
from bayesaffect.evaluate.records import records
from bayesaffect.pipeline.examination import disturbed_words
from bayesaffect.pipeline.examination import robustness as robust
from bayesaffect.pipeline.examination import scalp as scalps
from bayesaffect.pipeline.examination import subsets as coalitions
from bayesaffect.pipeline.examination.selective import selective
from bayesaffect.pipeline.fits import HYBRID, LATE
from bayesaffect.pipeline.settings import Settings
from bayesaffect.pipeline.train import EARLY
from bayesaffect.types import Opinions, Predictive, Trials

Groups = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Examined:
    """``sheets`` name -> flat table; ``notes`` section of the page -> sentences; ``cautions``: what looks wrong."""

    sheets: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    cautions: tuple[str, ...] = ()


def examine(
    workspace: Path,
    settings: Settings,
    opinions: Callable[[int | None], Opinions],
    groups: Groups,
    *,
    models: Mapping[str, Predictive],
    singles: Mapping[str, Predictive],
    trials: Trials | None = None,
) -> Examined:
    """Every table of the page beside weights; that of scores is made from the records.

    Parameters
    ----------
    opinions, groups : as `fuse.fuse` takes them.
    models, singles : predictions of every model; of every modality's own opinions.
    trials : of recordings, which are then disturbed at the sensor; ``None`` for a table of opinions.

    Subsets and disturbances are predicted by the fits of the folds, under every protocol; disturbances are left out
    where ``settings.robustness`` is off. What takes long is kept in the workspace.
    """
    whole = opinions(None)
    given = {"truth": whole.truth, "targets": whole.targets}
    held_out = conformal.conformal_table(models[LATE], **given, seed=settings.seed)
    flat = records(models, **given, groups=_people(whole, settings, groups), seed=settings.seed)
    sheets = {"records": flat, "conformal": held_out}
    sheets["ece"] = excess.ece_table({**singles, **models}, **given, seed=settings.seed)
    unseen = "new people" if settings.protocol == splits.SUBJECT else "known people on held-out trials"
    sets = conformal.disagreements(held_out, unseen=unseen)
    notes = {"calibration": (*excess.sentences(sheets["ece"], LATE), *sets)}
    asked = (LATE, *(m for m in (HYBRID, EARLY) if m in models), *singles)
    best = {target.name: asked for target in whole.targets}
    sheets["selective"] = selective({**singles, **models}, **given, models=best, seed=settings.seed)
    if len(whole.modalities) > 1:
        made_from = (workspace, settings, opinions, groups)
        found, told = coalitions.sheets(*made_from, singles=singles, fused=models[LATE])
        sheets |= found
        notes["importance"] = told
    if settings.robustness:
        sheets["robustness"] = robust.robustness(workspace, settings, opinions, groups, trials=trials)
        if trials is not None:
            sheets["scalp"], sheets["bands"] = scalps.scalp(workspace, settings, opinions, groups, trials)
            notes["importance"] = (*notes.get("importance", ()), *disturbed_words.of_eeg(sheets))
        notes["robustness"] = (*disturbed_words.sentences(sheets), *disturbed_words.cautions(sheets))
    kept = {name: sheet for name, sheet in sheets.items() if len(sheet)}
    return Examined(kept, {name: lines for name, lines in notes.items() if lines}, cautions(whole))


def _people(opinions: Opinions, settings: Settings, groups: Groups) -> Groups:
    """Groups of subjects for the records; under protocols that do not hold out people, everybody is in one."""
    everybody = (tuple(sorted(set(opinions.subject.values.astype(str)))),)
    return groups if settings.protocol == splits.SUBJECT else everybody
