"""The trials' own features in place of networks' embeddings: numbers that mean the same on every trial.

A cross-fitted opinion comes from the network that has not seen its subject, so that a table holds as many networks as
there are folds, and each found axes of its own: with any rotation Q, an embedding Q h and a read-out B Q' say what h
and B say. One head H over all of them would add up numbers that have nothing to do with one another. Turning them onto
one another (Procrustes) needs trials that two networks have predicted and neither has learned from, which a cross-fit
without nesting does not have; averaged over an ensemble's members, embeddings mix axes besides. And the opinion is
linear in its own network's embedding already.

Features that the networks were given - band power, action units, heart rate and its variability - have one meaning,
were learned from nobody's truth, are z-scored within subjects, so that they hold no habit of a face or a body, and a
new recording has them before any network is asked.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.types import Opinions, Trials


def with_features(opinions: Opinions, trials: Trials) -> Opinions:
    """``opinions`` with the features of ``trials`` as embeddings (trial, feature) instead of what they carried.

    Per modality they are the block's ``features`` and, of ``maps`` (trial, band, channel, frame), the mean over frames
    of every band and channel. A modality without either gets no embedding, and so no head in `fit_hybrid`. Trials may
    come in any order and be more than those of the opinions.

    Raises
    ------
    InputError : a trial of the opinions that ``trials`` lacks, or no modality with features.
    """
    wanted, known = opinions.present["trial"].values, trials.present["trial"].values
    place = {t: k for k, t in enumerate(known)}
    if lacking := [t for t in wanted if t not in place]:
        raise InputError(
            f"{len(lacking)} trials of the opinions are not among the recordings", where=f"trial {lacking[0]}"
        )
    rows = np.array([place[t] for t in wanted], dtype=int)
    found = {}
    for k, name in enumerate(opinions.modalities):
        block = _block(trials.inputs[name]) if name in trials.inputs else None
        if block is not None:
            here = opinions.present.values[:, k] & trials.present.sel(modality=name).values[rows]
            values = np.where(here[:, None], block.values[rows], np.nan)
            coords = {"trial": wanted, "feature": block["feature"].values}
            found[name] = xr.DataArray(values, dims=("trial", "feature"), coords=coords)
    if not found:
        raise InputError(
            f"none of {list(opinions.modalities)} has features in the recordings", remedy="use the late model: fit"
        )
    return replace(opinions, embedding=found)


def _block(inputs: xr.Dataset) -> xr.DataArray | None:
    """Named features (trial, feature) of a modality's inputs."""
    parts = []
    if "features" in inputs:
        parts.append(inputs["features"].transpose("trial", "feature").reset_coords(drop=True))
    if "maps" in inputs:
        power = inputs["maps"].mean("frame").transpose("trial", "band", "channel")
        names = [f"{b}_{c}" for b in power["band"].values for c in power["channel"].values]
        values = power.values.reshape(power.shape[0], -1)
        parts.append(xr.DataArray(values, dims=("trial", "feature"), coords={"feature": names}))
    if not parts:
        return None
    names = np.concatenate([np.asarray(p["feature"].values, dtype=str) for p in parts])
    values = np.concatenate([np.asarray(p.values, dtype=float) for p in parts], 1)
    return xr.DataArray(values, dims=("trial", "feature"), coords={"feature": names})


def check_axes(opinions: Opinions, modality: str) -> None:
    """Refuse embeddings whose axes change from trial to trial.

    Those are embeddings without names of their features, from networks that were trained on different subjects.
    """
    block, seen = opinions.embedding[modality], opinions.trained_on
    if "feature" in block.coords or seen is None:
        return
    place = opinions.modalities.index(modality)
    here = opinions.present.values[:, place]
    networks = len(np.unique(seen.values[here, place], axis=0))
    if networks > 1:
        raise InputError(
            f"the embeddings of {modality} come from {networks} networks, whose axes have nothing in common",
            remedy="use features of the trials (with_features), or the late model: fit",
        )
