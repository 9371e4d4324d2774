"""Where on the scalp, and in which band, EEG tells what it tells: one channel, or one band, taken away at a time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from bayesaffect import progress
from bayesaffect.evaluate.robustness import average
from bayesaffect.pipeline.examination import disturbed
from bayesaffect.pipeline.examination.disturbed import Asked, Groups
from bayesaffect.pipeline.fits import LATE
from bayesaffect.pipeline.settings import Settings
from bayesaffect.signals.eeg.electrodes import standard_labels
from bayesaffect.signals.eeg.spectral import BANDS
from bayesaffect.types import Trials

CHANNEL, BAND = "channel", "band"
NUMBERS = ["value", "low", "high", "trials"]
COLUMNS = {CHANNEL: ["target", "model", CHANNEL, "electrode", *NUMBERS], BAND: ["target", "model", BAND, *NUMBERS]}


def scalp(
    workspace: Path,
    settings: Settings,
    opinions: Asked,
    groups: Groups,
    trials: Trials,
    *,
    most: int = disturbed.MOST_TRIALS,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What the EEG network, and late fusion, lose when one channel, or one band, is taken away at test time.

    Taken away is by `without`; the loss is the NLL without minus the NLL with everything, in nats per trial, so that
    positive is needed, with a 90 % interval of a bootstrap over subjects (paired by trial). Importance by occlusion
    (Zeiler & Fergus 2014) is that of a network for what it says: what two neighbours tell alike counts for neither.

    Returns
    -------
    Two tables, empty without EEG. Of channels: target, model (the EEG modality, or ``late``), channel, electrode (its
    name in the standard montage, empty where the name is not known), value, low, high, trials. Of bands: target, model,
    band, value, low, high, trials. Kept in the workspace.
    """
    modality = next((m for m, b in trials.inputs.items() if "maps" in b and m in opinions(None).modalities), None)
    if modality is None:
        return tuple(pd.DataFrame(columns=COLUMNS[what]) for what in (CHANNEL, BAND))
    made_from = disturbed.made_from(settings, opinions, groups, most)
    frame = disturbed.remembered(
        workspace, "scalp", made_from, lambda: _measured(workspace, settings, opinions, groups, trials, modality, most)
    )
    tables = []
    for what in (CHANNEL, BAND):
        part = frame[frame["taken"] == what].drop(columns="taken").rename(columns={"name": what})
        if what == CHANNEL:
            names = part[CHANNEL].astype(str).drop_duplicates()
            labels = dict(zip(names, standard_labels(tuple(names))[1], strict=True))
            part["electrode"] = [labels[str(n)] or "" for n in part[CHANNEL]]
        tables.append(part[COLUMNS[what]].reset_index(drop=True))
    return tuple(tables)


def without(trials: Trials, modality: str, what: str, name: str) -> Trials:
    """The trials without one ``"channel"`` or ``"band"`` of their EEG.

    Maps become 0, the subject's own mean of that channel and band (for inputs of `standardise`). Raw samples beside
    them become 0 in a channel; of a band, its frequencies are taken out of the window's spectrum. Nothing is filled in
    from neighbours.
    """
    block = trials.inputs[modality]
    maps = block["maps"].copy(deep=True)
    maps.loc[{what: name}] = 0
    changed = {"maps": maps}
    if "raw" in block:
        raw = block["raw"].copy(deep=True)
        if what == CHANNEL:
            raw.loc[{CHANNEL: name}] = 0
        elif name in BANDS:
            changed["raw"] = _notched(raw, *BANDS[name])
        changed.setdefault("raw", raw)
    changed = {n: a.where(trials.present.sel(modality=modality, drop=True).values[(...,) + (None,) * (a.ndim - 1)])
               for n, a in changed.items()}  # fmt: skip
    return replace(trials, inputs={**trials.inputs, modality: block.assign(changed)})


def _notched(raw: xr.DataArray, low: float, high: float) -> xr.DataArray:
    """``raw`` (trial, channel, time) without its frequencies from ``low`` to ``high`` Hz."""
    at = raw["time"].values.astype(float)
    spectrum = np.fft.rfft(raw.values, axis=-1)
    frequency = np.fft.rfftfreq(at.size, (at[-1] - at[0]) / max(at.size - 1, 1))
    spectrum[..., (frequency >= low) & (frequency < high)] = 0
    return raw.copy(data=np.fft.irfft(spectrum, at.size, axis=-1).astype(raw.dtype))


def _measured(workspace, settings, opinions, groups, trials, modality, most) -> pd.DataFrame:
    block, whole = trials.inputs[modality], opinions(None)
    rows = disturbed.examined(opinions, groups, most)
    whole, given = whole.select(rows), trials.select(rows)
    known = disturbed.networks(workspace, settings, trials)
    taken = [(CHANNEL, str(n)) for n in block[CHANNEL].values] + [(BAND, str(n)) for n in block[BAND].values]
    with progress.bar("EEG on the scalp", len(taken) + len(whole.targets) * len(groups) * (len(taken) + 1)) as advance:
        versions = [disturbed.hear(known, whole, given, modality)]
        for what, name in taken:
            versions.append(disturbed.hear(known, whole, without(given, modality, what, name), modality))
            advance(1)
        fused = disturbed.fused(workspace, settings, opinions, groups, versions, advance=advance)
    alone = [disturbed.alone(version, modality) for version in versions]
    subject, out = whole.subject.values.astype(str), []
    for target in whole.targets:
        for model, found in ((modality, [a[target.name] for a in alone]), (LATE, fused[target.name])):
            if "nll" not in found[0]:
                continue
            for (what, name), scored in zip(taken, found[1:], strict=True):
                loss = scored["nll"] - found[0]["nll"]
                estimate = average(loss, subject, seed=settings.seed)
                out.append((target.name, model, what, name, *estimate, int(np.isfinite(loss).sum())))
    return pd.DataFrame(out, columns=["target", "model", "taken", "name", *NUMBERS])
