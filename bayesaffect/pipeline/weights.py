"""Posterior reliability weights of a workspace as tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from bayesaffect import fusion
from bayesaffect.errors import InputError
from bayesaffect.files import atomic, write_text
from bayesaffect.io import store
from bayesaffect.pipeline import settings as study_settings
from bayesaffect.pipeline.fits import LATE, load_posterior
from bayesaffect.pipeline.opinions import of_study
from bayesaffect.pipeline.report import shares, stacked
from bayesaffect.report.figures.weights import forest
from bayesaffect.report.style import save

LOW, HIGH = 0.05, 0.95
POPULATION = "a new person"


def tables(workspace: Path) -> dict[str, pd.DataFrame]:
    """Per target, what `wide` shows.

    Into ``WORKSPACE/fusion`` go the same numbers in long form, ``weights_<target>.csv``, a forest plot,
    ``weights_<target>.png`` and ``.pdf``, and the weights on every trial, ``weights_<target>_trials.csv``.
    """
    workspace = store.open_workspace(workspace)
    settings = study_settings.load(workspace)
    opinions = of_study(workspace, settings)
    found = sorted((workspace / "fusion").glob(f"{LATE}_*.nc"))
    if not found:
        raise InputError("has no posterior", where=workspace, remedy="run `bayesaffect fuse` first")
    result = {}
    for path in found:
        target = path.stem.removeprefix(f"{LATE}_")
        posterior = load_posterior(workspace, settings, opinions, target)
        population = fusion.weights(posterior)["population"].expand_dims(subject=[POPULATION])
        everybody = xr.concat([stacked(population), shares(posterior)], "subject")
        frame = long(everybody)
        with atomic(workspace / "fusion" / f"weights_{target}.csv") as temporary:
            frame.to_csv(temporary, index=False)
        by_trial = fusion.trial_weights(posterior, opinions, subjects="known")
        write_text(workspace / "fusion" / f"weights_{target}_trials.csv", trials(by_trial).to_csv(index=False))
        save(forest(shares(posterior), opinions.modalities, (), target), workspace / "fusion")
        result[target] = wide(frame)
    return result


def long(share: xr.DataArray) -> pd.DataFrame:
    """One row per subject and modality of (sample, subject, modality) shares.

    Columns: subject, modality, median, low, high (90 % interval), lowest: the probability that the modality is the
    subject's least weighty one; ``prior`` competes for weight but is no sensor, and has none.
    """
    sensors = [m for m in share["modality"].values if m != "prior"]
    lowest = share.sel(modality=sensors).argmin("modality")
    rows = []
    for subject in share["subject"].values:
        for modality in share["modality"].values:
            low, median, high = np.quantile(share.sel(subject=subject, modality=modality).values, [LOW, 0.5, HIGH])
            place = sensors.index(modality) if modality in sensors else None
            worst = np.nan if place is None else float((lowest.sel(subject=subject) == place).mean())
            rows.append((str(subject), str(modality), median, low, high, worst))
    return pd.DataFrame(rows, columns=["subject", "modality", "median", "low", "high", "lowest"])


def trials(share: xr.DataArray) -> pd.DataFrame:
    """One row per trial and modality of (sample, trial, modality) shares: median and 90 % interval."""
    low, median, high = np.quantile(share.transpose("sample", ...).values, [LOW, 0.5, HIGH], axis=0)
    index = pd.MultiIndex.from_product(
        [share["trial"].values.astype(str), share["modality"].values.astype(str)], names=["trial", "modality"]
    )
    frame = pd.DataFrame({"median": median.ravel(), "low": low.ravel(), "high": high.ravel()}, index).reset_index()
    frame.insert(1, "subject", np.repeat(share["subject"].values.astype(str), share.sizes["modality"]))
    return frame


def wide(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per subject for reading: median [90 % interval] per modality, and who is the least weighty sensor."""
    rows = []
    for subject, part in frame.groupby("subject", sort=False):
        cells = {r.modality: f"{r.median:.2f} [{r.low:.2f}, {r.high:.2f}]" for r in part.itertuples()}
        worst = part.loc[part["lowest"].idxmax()]
        rows.append({"subject": subject} | cells | {"least": f"{worst.modality} ({100 * worst.lowest:.0f} %)"})
    return pd.DataFrame(rows)
