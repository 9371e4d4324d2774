"""Feature tables for analyses outside the package: one row per trial, one file per modality."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from bayesaffect.errors import InputError
from bayesaffect.files import atomic
from bayesaffect.types import Trials

SUFFIXES = ("csv", "parquet", "npz")


def table(trials: Trials, modality: str) -> pd.DataFrame:
    """Index columns (trial, subject, stimulus, truth), quality, and the features of a modality where it is present.

    Feature columns are the block's ``features``; of EEG maps, the mean over frames of every band and channel
    (``alpha_Fz``). They are standardised within subjects, as the networks see them.
    """
    block = trials.inputs[modality]
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
    index = {
        "trial": trials.present["trial"].values,
        "subject": trials.subject.values,
        "stimulus": trials.present["stimulus"].values,
        **{t.name: _truth(trials, t) for t in trials.targets},
        "quality": trials.quality.sel(modality=modality).values,
    }
    return pd.DataFrame(index | columns)[trials.present.sel(modality=modality).values]


def export(trials: Trials, folder: Path, *, suffix: str = "csv") -> list[Path]:
    """Write `table` of every modality to ``folder/<modality>.<suffix>``.

    NPZ holds one array per column and no pickled object (text columns are fixed-width unicode).
    """
    if suffix not in SUFFIXES:
        raise InputError(f"there is no table format {suffix!r}", remedy=f"choose one of {', '.join(SUFFIXES)}")
    paths = []
    for modality in trials.modalities:
        frame, path = table(trials, modality), folder / f"{modality}.{suffix}"
        with atomic(path) as temporary:
            if suffix == "csv":
                frame.to_csv(temporary, index=False)
            elif suffix == "parquet":
                frame.to_parquet(temporary, index=False)
            else:
                np.savez(temporary, **{n: _plain(frame[n]) for n in frame})
        paths.append(path)
    return paths


def _truth(trials: Trials, target) -> np.ndarray:
    """Truth as a person reads it: ratings in their units, class names, empty where missing."""
    values = trials.truth[target.name].values
    if target.kind == "continuous":
        return target.from_unit(values)
    return np.array([target.levels[int(v)] if v >= 0 else "" for v in values])


def _plain(column: pd.Series) -> np.ndarray:
    return column.to_numpy(dtype=str) if column.dtype == object else column.to_numpy()
