"""A recording as MNE-Python's own type, with channel types, units, electrode positions and annotations set."""

from __future__ import annotations

import mne
import numpy as np

from bayesaffect.errors import InputError
from bayesaffect.types import Recording

MONTAGES = ("biosemi32", "biosemi64", "standard_1020", "standard_1005")
# signal -> type of its channels in MNE; any other is "misc"
TYPES = {
    "eeg": "eeg",
    "eog": "eog",
    "emg": "emg",
    "ecg": "ecg",
    "eda": "gsr",
    "respiration": "resp",
    "temperature": "temperature",
}
# what MNE keeps a type in: V, S and degC -> factor from the units of recordings
_FACTOR = {"uV": 1e-6, "uS": 1e-6}


def to_raw(recording: Recording, *, montage: str | None = "biosemi32") -> mne.io.RawArray:
    """All signals of a recording on one clock.

    The clock is that of the signal with the highest sampling rate; slower ones are interpolated linearly at its
    samples. The stretch that all signals cover is kept, and its first sample is time 0 of the result. Voltages are in
    V, skin conductance in S, temperature in degC, everything else as it is (type "misc").

    Parameters
    ----------
    recording : its segments become annotations, described by their stimulus.
    montage : of the EEG channels, found by name whatever their case; ``None`` leaves positions out, and so does a name
        that the montage lacks.

    Raises
    ------
    InputError : no signals, none that is sampled regularly, signals that share no time, or an unknown montage.
    """
    arrays = recording.signals
    if montage is not None and montage not in MONTAGES:
        raise InputError(f"there is no montage {montage!r}", remedy=f"use one of {', '.join(MONTAGES)}")
    rates = {name: a.attrs["sampling_rate"] for name, a in arrays.items() if a.attrs.get("sampling_rate")}
    if not rates:
        raise InputError("has no regularly sampled signal", where=recording.source, remedy="resample one first")
    clock = arrays[max(rates, key=rates.get)]["time"].values
    first = max(float(a["time"][0]) for a in arrays.values())
    last = min(float(a["time"][-1]) + 1 / rates.get(name, np.inf) for name, a in arrays.items())
    clock = clock[(clock >= first - 1e-9) & (clock < last)]
    if clock.size < 2:
        raise InputError("its signals share no stretch of time", where=recording.source, remedy="check their clocks")
    names, types, rows = [], [], []
    for signal, array in arrays.items():
        kind, time = TYPES.get(signal, "misc"), array["time"].values
        own = time[(time >= first - 1e-9) & (time < last)]
        same = own.size == clock.size and np.allclose(own, clock, rtol=0, atol=1e-9)
        factor = 1.0 if kind == "misc" else _FACTOR.get(array.attrs["units"], 1.0)
        for channel, values in zip(array["channel"].values, array.values, strict=True):
            row = values[np.searchsorted(time, own[0]) :][: own.size] if same else np.interp(clock, time, values)
            names.append(str(channel) if str(channel) not in names else f"{signal} {channel}")
            types.append(kind)
            rows.append(row * factor)
    info = mne.create_info(names, max(rates.values()), types)
    raw = mne.io.RawArray(np.stack(rows), info, verbose="error")
    if montage is not None:
        raw.set_montage(montage, match_case=False, on_missing="ignore", verbose="error")
    onsets = [segment.start - clock[0] for segment in recording.segments]
    lengths = [segment.stop - segment.start for segment in recording.segments]
    raw.set_annotations(mne.Annotations(onsets, lengths, [s.stimulus for s in recording.segments]), emit_warning=False)
    return raw
