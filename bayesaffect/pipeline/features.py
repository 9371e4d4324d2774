"""Feature tables for analyses outside the package: one row per trial, one file per modality."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.files import atomic
from bayesaffect.types import Target, Trials

SUFFIXES = ("csv", "parquet", "npz")


def table(trials: Trials, modality: str, *, standardised: bool = False) -> pd.DataFrame:
    """Index columns (trial, subject, stimulus, truth), quality, and the features of a modality where it is present.

    Features are the measures in raw units (the names tell them; empty where a quantity could not be told), or with
    ``standardised`` what the networks read of them, z-scored within subjects: the block's ``features`` and, of EEG
    maps, the mean over frames of every band and channel.
    """
    columns = _standardised(trials.inputs[modality]) if standardised else _measured(trials, modality)
    frame = pd.DataFrame(_index(trials, modality) | columns)
    return frame[trials.present.sel(modality=modality).values].reset_index(drop=True)


def export(trials: Trials, folder: Path, *, suffix: str = "csv", standardised: bool = False) -> list[Path]:
    """Write `table` of every modality to ``folder/<modality>.<suffix>``.

    NPZ holds one array per index column, ``features`` (trial, feature) with their names in ``feature``, and the wide
    measures (``connectivity``) with their coordinates as ``<measure>_<coordinate>``; no pickled object (text is
    fixed-width unicode).
    """
    if suffix not in SUFFIXES:
        raise InputError(f"there is no table format {suffix!r}", remedy=f"choose one of {', '.join(SUFFIXES)}")
    paths = []
    for modality in trials.modalities:
        frame, path = table(trials, modality, standardised=standardised), folder / f"{modality}.{suffix}"
        with atomic(path) as temporary:
            if suffix == "csv":
                frame.to_csv(temporary, index=False)
            elif suffix == "parquet":
                _write_parquet(frame, temporary)
            else:
                np.savez(temporary, **_arrays(trials, modality, frame, wide=not standardised))
        paths.append(path)
    return paths


def _write_parquet(frame: pd.DataFrame, path: Path):
    try:
        frame.to_parquet(path, index=False)
    except ImportError:
        raise InputError("Parquet files need the package pyarrow", remedy="install it, or choose csv or npz") from None


def _index(trials: Trials, modality: str) -> dict[str, np.ndarray]:
    return {
        "trial": trials.present["trial"].values,
        "subject": trials.subject.values,
        "stimulus": trials.present["stimulus"].values,
        **{t.name: _truth(trials, t) for t in trials.targets},
        "quality": trials.quality.sel(modality=modality).values,
    }


def _measured(trials: Trials, modality: str) -> dict[str, np.ndarray]:
    if modality not in trials.measures or "features" not in trials.measures[modality]:
        return {}
    features = trials.measures[modality]["features"].transpose("trial", "feature")
    return {str(name): features.values[:, k] for k, name in enumerate(features["feature"].values)}


def _standardised(block: xr.Dataset) -> dict[str, np.ndarray]:
    columns = {}
    if "features" in block:
        columns |= {str(n): block["features"].sel(feature=n).values for n in block["feature"].values}
    if "maps" in block:
        power = block["maps"].mean("frame")
        columns |= {
            f"{band}_{channel}": power.sel(band=band, channel=channel).values
            for band in power["band"].values
            for channel in power["channel"].values
        }
    return columns


def _arrays(trials: Trials, modality: str, frame: pd.DataFrame, *, wide: bool) -> dict[str, np.ndarray]:
    index = list(_index(trials, modality))
    arrays = {name: _plain(frame[name]) for name in index}
    names = [name for name in frame.columns if name not in index]
    arrays |= {"feature": np.array(names, dtype=str), "features": frame[names].to_numpy(np.float32)}
    here = trials.present.sel(modality=modality).values
    measures = trials.measures.get(modality, xr.Dataset()) if wide else xr.Dataset()
    for name, array in measures.data_vars.items():
        if name != "features":
            arrays[str(name)] = array.values[here]
            for label, coord in array.coords.items():
                if label != "trial":
                    arrays[f"{name}_{label}"] = _plain(coord.to_series())
    return arrays


def _truth(trials: Trials, target: Target) -> np.ndarray:
    """Truth as a person reads it: ratings in their units, class names, empty where missing."""
    values = trials.truth[target.name].values
    if target.kind == "continuous":
        return target.from_unit(values)
    return np.array([target.levels[int(v)] if v >= 0 else "" for v in values])


def _plain(column: pd.Series) -> np.ndarray:
    return column.to_numpy() if column.dtype.kind in "fiub" else column.to_numpy(dtype=str)
