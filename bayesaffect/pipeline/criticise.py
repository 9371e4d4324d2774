"""Do the fits of a workspace look like its data, and what did they believe before: checks, tables, pictures."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from bayesaffect import fusion, progress
from bayesaffect.files import write_text
from bayesaffect.pipeline.fits import load_posterior
from bayesaffect.pipeline.opinions import of_study
from bayesaffect.pipeline.settings import Settings
from bayesaffect.report.figures import criticism as figures_criticism
from bayesaffect.report.style import save

FOLDER = "criticism"


class Criticised(NamedTuple):
    """``table`` of `fusion.criticise`, its ``sentences`` on what is flagged, and the ``pictures`` that were drawn."""

    table: pd.DataFrame
    sentences: tuple[str, ...]
    pictures: tuple[Path, ...]


def criticise(workspace: Path, settings: Settings) -> dict[str, Criticised]:
    """Target -> posterior predictive checks of the late fit; tables and pictures go to ``WORKSPACE/criticism``.

    Pictures: ``<target>_checks`` (each discrepancy of the data among those that the model makes), ``<target>_prior``
    (what the model believed of ratings or classes before the data, and what the data are).
    """
    opinions = of_study(workspace, settings)
    folder, found = workspace / FOLDER, {}
    for target in progress.track(list(opinions.targets), "criticise"):
        posterior = load_posterior(workspace, settings, opinions, target.name)
        result = fusion.criticise(posterior, opinions, seed=settings.seed)
        write_text(folder / f"{target.name}_checks.csv", result.table.to_csv(index=False))
        model = settings.model if target.kind == "continuous" else None
        prior = fusion.prior_predictive(opinions, target.name, model=model, seed=settings.seed)
        drawn = [figures_criticism.checks(result.table, target), figures_criticism.prior(prior, posterior, target)]
        found[target.name] = Criticised(result.table, result.sentences, tuple(save(p, folder) for p in drawn))
    return found
