"""Writing opinions as the table that `bayesaffect.io.opinions` reads."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from bayesaffect.io.frames import write_frame
from bayesaffect.types import Opinions, Target


def to_frame(opinions: Opinions) -> pd.DataFrame:
    """The opinions as a table (columns: `bayesaffect.io.opinions`), ratings in rating units, trial by trial.

    Trials on which no modality is present have no row; `Opinions.trained_on` has no column.
    Variances are left out where they are unknown.
    """
    here = opinions.present.values
    trial, modality = np.nonzero(here)
    index = opinions.present
    columns = {"trial": index["trial"].values[trial], "subject": index["subject"].values[trial]}
    columns["modality"] = index["modality"].values[modality]
    for name in ("stimulus", "version"):
        if name in index.coords and (index[name].values.astype(str) != "").any():
            columns[name] = index[name].values[trial]
    classes = [t for t in opinions.targets if t.kind == "categorical" and t.name in opinions.log_prob]
    prefixed = len(classes) > 1 or any(":" in level for t in classes for level in t.levels)
    for target in opinions.targets:
        if target.name in opinions.mean:
            columns |= _continuous_columns(opinions, target, trial, modality)
        elif target in classes:
            prob = np.exp(opinions.log_prob[target.name].values[trial, modality])
            for k, level in enumerate(target.levels):
                columns[f"p_{target.name}:{level}" if prefixed else f"p_{level}"] = prob[:, k]
            code = opinions.truth[target.name].values.astype(int)[trial]
            columns[f"truth_{target.name}"] = np.array([*target.levels, ""], dtype=object)[code]
    if opinions.quality is not None:
        columns["quality"] = opinions.quality.values[trial, modality]
    names = list(dict.fromkeys(str(f) for block in opinions.embedding.values() for f in _feature_names(block)))
    features = np.full((trial.size, len(names)), np.nan)
    for k, name in enumerate(opinions.modalities):
        if (block := opinions.embedding.get(name)) is not None:
            rows, at = np.flatnonzero(modality == k), [names.index(str(f)) for f in _feature_names(block)]
            features[np.ix_(rows, at)] = block.values[trial[rows]]
    return pd.DataFrame(columns | {f"x_{name}": features[:, k] for k, name in enumerate(names)})


def _feature_names(block: xr.DataArray):
    return block["feature"].values if "feature" in block.coords else np.arange(block.shape[1])


def _continuous_columns(opinions: Opinions, target: Target, trial, modality) -> dict[str, np.ndarray]:
    name, out = target.name, {}
    out[f"mean_{name}"] = target.from_unit(opinions.mean[name].values[trial, modality])
    if opinions.variance_known:
        out[f"var_{name}"] = opinions.variance[name].values[trial, modality] * target.half_range**2
    # clipped, because the way back from the unit scale may miss an end of the rating scale by a rounding error
    out[f"truth_{name}"] = target.from_unit(opinions.truth[name].values[trial]).clip(*target.bounds)
    if f"spread_{name}" in opinions.truth:
        out[f"spread_{name}"] = opinions.truth[f"spread_{name}"].values[trial] * target.half_range
    low, high = target.bounds
    return out | {f"low_{name}": np.full(trial.size, low), f"high_{name}": np.full(trial.size, high)}


def write_table(opinions: Opinions, path: str | os.PathLike) -> Path:
    """Write an opinions table that `read_table` reads back (what it cannot hold: see `to_frame`)."""
    return write_frame(to_frame(opinions), path)
