"""How poor extraction would have found the signals that `corrupt` disturbs, as far as the disturbance says it."""

from __future__ import annotations

import numpy as np
import xarray as xr

from bayesaffect.types import Trials


def names_of(block: xr.Dataset) -> list[str]:
    """Names of the features; none where they have no names."""
    return [str(n) for n in block["feature"].values] if "feature" in block.coords else []


def dead_channels(channels: int, strength: float) -> int:
    """How many of the channels a strength kills: at least one, and never the last two; none of one or two."""
    return max(min(max(round(strength * channels), 1), channels - 2), 0)


def quality_left(trials: Trials, modality: str, changed: xr.Dataset, *, kind: str, strength: float) -> np.ndarray:
    """What is left of the quality (trial,), as extraction judges it: 1 where a disturbance does not say.

    ``changed`` is the modality's block after `corrupt`. EEG: share of channels that live, share of frames that are not
    flat. Physiology: sum of the qualities of the signals that stay valid, over that of all.
    """
    count = trials.present.sizes["trial"]
    family = str(changed.attrs.get("encoder")).removesuffix("_raw")
    if family == "eeg" and kind in ("channels", "flat"):
        names = changed["channel"].size
        lost = dead_channels(names, strength) / names if kind == "channels" else strength
        return np.full(count, 1 - lost)
    if family != "physio" or "features" not in changed:
        return np.ones(count)
    flags = [n for n in names_of(changed) if n.endswith("_valid")]
    if not flags:
        return np.ones(count)
    before, after = (b["features"].sel(feature=flags).values > 0.5 for b in (trials.inputs[modality], changed))
    measured = trials.measures.get(modality, xr.Dataset())
    wanted = [f"{n.removesuffix('_valid')}_quality" for n in flags]
    each = before.astype(float)
    if "features" in measured and set(wanted) <= set(names_of(measured)):
        each = np.nan_to_num(measured["features"].sel(feature=wanted).values)
    total = (each * before).sum(1)
    return np.where(total > 0, (each * after).sum(1) / np.where(total > 0, total, 1.0), 1.0)
