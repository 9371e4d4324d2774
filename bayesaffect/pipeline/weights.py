"""Posterior reliability weights of a workspace as tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from bayesaffect import fusion
from bayesaffect.errors import InputError
from bayesaffect.files import atomic
from bayesaffect.io import store
from bayesaffect.pipeline.fuse import LATE, load_posterior
from bayesaffect.pipeline.report import shares, stacked

LOW, HIGH = 0.05, 0.95
POPULATION = "a new person"


def tables(workspace: Path) -> dict[str, pd.DataFrame]:
    """Per target, what `wide` shows; the same numbers in long form go to ``WORKSPACE/fusion/weights_<target>.csv``."""
    workspace = store.open_workspace(workspace)
    found = sorted((workspace / "fusion").glob(f"{LATE}_*.nc"))
    if not found:
        raise InputError("has no posterior", where=workspace, remedy="run `bayesaffect fuse` first")
    result = {}
    for path in found:
        target = path.stem.removeprefix(f"{LATE}_")
        posterior = load_posterior(workspace, target)
        population = fusion.weights(posterior)["population"].expand_dims(subject=[POPULATION])
        everybody = xr.concat([stacked(population), shares(posterior)], "subject")
        frame = long(everybody)
        with atomic(workspace / "fusion" / f"weights_{target}.csv") as temporary:
            frame.to_csv(temporary, index=False)
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


def wide(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per subject for reading: median [90 % interval] per modality, and who is the least weighty sensor."""
    rows = []
    for subject, part in frame.groupby("subject", sort=False):
        cells = {r.modality: f"{r.median:.2f} [{r.low:.2f}, {r.high:.2f}]" for r in part.itertuples()}
        worst = part.loc[part["lowest"].idxmax()]
        rows.append({"subject": subject} | cells | {"least": f"{worst.modality} ({worst.lowest:.0%})"})
    return pd.DataFrame(rows)
