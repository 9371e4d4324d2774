"""Posterior reliability weights of a workspace as tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.files import atomic
from bayesaffect.io import store
from bayesaffect.pipeline.fuse import LATE, load_posterior
from bayesaffect.pipeline.report import shares

LOW, HIGH = 0.05, 0.95


def tables(workspace: Path) -> dict[str, pd.DataFrame]:
    """Per target: median and 90 % interval of every modality's weight for every subject, least reliable first.

    Columns: subject, modality, median, low, high, lowest (probability that it is the subject's least
    weighty modality). Also written to ``WORKSPACE/fusion/weights_<target>.csv``.
    """
    workspace = store.open_workspace(workspace)
    found = sorted((workspace / "fusion").glob(f"{LATE}_*.nc"))
    if not found:
        raise InputError("has no posterior", where=workspace, remedy="run `bayesaffect fuse` first")
    result = {}
    for path in found:
        target = path.stem.removeprefix(f"{LATE}_")
        result[target] = table(shares(load_posterior(workspace, target)))
        with atomic(workspace / "fusion" / f"weights_{target}.csv") as temporary:
            result[target].to_csv(temporary, index=False)
    return result


def table(share: xr.DataArray) -> pd.DataFrame:
    """Summary of (sample, subject, modality) shares; ``prior`` competes for weight but is no sensor."""
    sensors = [m for m in share["modality"].values if m != "prior"]
    lowest = share.sel(modality=sensors).argmin("modality")
    rows = []
    for subject in share["subject"].values:
        for modality in share["modality"].values:
            draws = share.sel(subject=subject, modality=modality).values
            low, median, high = np.quantile(draws, [LOW, 0.5, HIGH])
            is_lowest = (
                lowest.sel(subject=subject).values == sensors.index(modality) if modality in sensors else [np.nan]
            )
            rows.append((str(subject), str(modality), median, low, high, float(np.mean(is_lowest))))
    return pd.DataFrame(rows, columns=["subject", "modality", "median", "low", "high", "lowest"])
