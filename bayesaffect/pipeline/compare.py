"""Late, hybrid, each modality alone and equal weights side by side: PSIS-LOO of the fits, scores of held-out people."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from bayesaffect import fusion, progress
from bayesaffect.errors import InputError
from bayesaffect.evaluate import baselines
from bayesaffect.evaluate.summary import score_table
from bayesaffect.files import write_text
from bayesaffect.io import store
from bayesaffect.pipeline import train as training
from bayesaffect.pipeline.baselines import single
from bayesaffect.pipeline.fits import HYBRID, LATE, asked_for, fitted, load_posterior, posterior_path
from bayesaffect.pipeline.opinions import of_study
from bayesaffect.pipeline.settings import Settings
from bayesaffect.types import Opinions

ALONE = "alone"
SHOWN = {"categorical": ("nll", "accuracy", "ece"), "continuous": ("nll", "rmse", "coverage90")}


class Compared(NamedTuple):
    """``loo``: a row per model, best first, as `fusion.compare`; ``scores``: a row per model, held-out scores with
    90 % intervals; ``sentences``: what has to be known before they are believed."""

    loo: pd.DataFrame
    scores: pd.DataFrame
    sentences: tuple[str, ...]


def compare(workspace: Path, settings: Settings, *, by: str = "trial") -> dict[str, Compared]:
    """Target -> comparison of its models; the tables go to ``WORKSPACE/fusion/comparison_<target>_<loo|scores>.csv``.

    The late model is fitted to each modality alone as well, to the same trials; such fits are kept. Equal weights have
    no posterior, and so no row in ``loo``.
    """
    opinions = of_study(workspace, settings)
    models = _held_out(workspace, settings, opinions)
    table = score_table(models, opinions.truth, opinions.targets, seed=settings.seed)
    found = {}
    with progress.bar("single modalities", len(opinions.targets) * len(opinions.modalities)) as advance:
        for target in opinions.targets:
            posteriors = {LATE: load_posterior(workspace, settings, opinions, target.name)}
            if settings.hybrid and posterior_path(workspace, target.name, HYBRID).is_file():
                posteriors[HYBRID] = load_posterior(workspace, settings, opinions, target.name, HYBRID)
            for modality in opinions.modalities:
                path = workspace / "fusion" / ALONE / f"{modality}_{target.name}.nc"
                alone = opinions.only([modality])
                posteriors[modality] = fitted(workspace, settings, alone, target.name, path)[0]
                advance(1)
            compared = fusion.compare(posteriors, by=by)
            scores = _wide(table, target.name, SHOWN[target.kind])
            loo = compared.table.rename_axis("model").reset_index()
            for name, frame in (("loo", loo), ("scores", scores)):
                write_text(workspace / "fusion" / f"comparison_{target.name}_{name}.csv", frame.to_csv(index=False))
            found[target.name] = Compared(loo, scores, compared.sentences)
    return found


def _held_out(workspace: Path, settings: Settings, opinions: Opinions) -> dict:
    """Out-of-fold predictions of every model, by name."""
    found, groups = {}, training.groups(settings, opinions)
    for family in asked_for(settings):
        path = workspace / "opinions" / f"{family}.nc"
        if path.is_file():
            found[family] = store.load_predictive(path)
    if LATE not in found:
        raise InputError("has no fused predictions", where=workspace, remedy="run `bayesaffect fuse` first")
    return found | single(opinions, groups) | {"equal": baselines.equal_weights(opinions, groups)}


def _wide(table: pd.DataFrame, target: str, scores: tuple[str, ...]) -> pd.DataFrame:
    """A row per model, the lowest NLL first: value [interval] of each score, and the trials it covers."""
    part = table[table["target"] == target].set_index(["model", "score"])
    order = part.xs("nll", level="score")["value"].sort_values().index
    rows = []
    for model in order:
        row = {"model": model}
        for score in scores:
            found = part.loc[(model, score)]
            row[score] = f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"
        rows.append(row | {"trials": int(part.loc[(model, "nll")].trials)})
    return pd.DataFrame(rows)
