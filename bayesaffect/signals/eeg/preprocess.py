"""EEG made fit for analysis: filters, repair of bad channels, average reference."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.signals.eeg.filters import filter_eeg
from bayesaffect.signals.eeg.repair import CLIPPED, LOST, clipped, find_bad_channels, repair
from bayesaffect.signals.window import sampling_rate

MICROVOLT = {"uV": 1.0, "µV": 1.0, "μV": 1.0, "mV": 1e3, "V": 1e6}


def preprocess_eeg(
    eeg: xr.DataArray, *, line_frequency: float = 50.0, band: tuple[float, float] = (1.0, 45.0)
) -> xr.DataArray:
    """Clean EEG: band-pass, mains notch, repair of bad channels, average reference.

    Zero-phase FIR filters (MNE's defaults: Hamming window, firwin design) pass ``band``; mains and its harmonics are
    notched where the band-pass still lets them through (`filter_eeg`). Flat and noisy channels (`find_bad_channels`),
    and those with more than a tenth of their samples missing or on the rail of the converter, are replaced by
    spherical splines (Perrin et al. 1989) where their names are known in a standard montage, and by the mean of the
    good channels otherwise. Last, the mean over channels is subtracted from every sample.

    Parameters
    ----------
    eeg : (channel, time), ``attrs["units"]`` uV, mV or V, regular sampling.
    line_frequency : mains in Hz, 0 for none.
    band : pass band in Hz.

    Returns
    -------
    (channel, time) in uV, float64; ``attrs["bad_channels"]`` lists the repaired ones.

    Raises
    ------
    InputError : units that are not a voltage, irregular sampling, a band beyond half the rate, a signal shorter than
        the filter (3.3 s at 1 Hz), or fewer than two usable channels.
    """
    clean = filtered(eeg, line_frequency, band)
    bad = clean.bad()
    attrs = {"units": "uV", "sampling_rate": clean.rate, "bad_channels": tuple(np.array(clean.names)[bad].tolist())}
    return eeg.copy(data=repair(clean.data, bad, clean.names)).assign_attrs(dict(eeg.attrs) | attrs)


class Filtered(NamedTuple):
    """Samples after the filters in uV, and which of them were missing or on the rail before."""

    data: np.ndarray
    lost: np.ndarray
    railed: np.ndarray
    rate: float
    names: tuple[str, ...]

    def bad(self) -> np.ndarray:
        return find_bad_channels(self.data, self.rate) | (self.spoilt(slice(None)).mean(axis=1) > LOST)

    def spoilt(self, part: slice) -> np.ndarray:
        return self.lost[:, part] | self.railed[:, part]

    def spoilt_frames(self, part: slice, count: int, step: int) -> np.ndarray:
        """Frames (channel, frame) with a missing sample, or with more than 5 % of them on the rail."""
        lost, railed = (a[:, part][:, : count * step].reshape(-1, count, step) for a in (self.lost, self.railed))
        return lost.any(axis=2) | (railed.mean(axis=2) > CLIPPED)


def filtered(eeg: xr.DataArray, line_frequency: float, band: tuple[float, float]) -> Filtered:
    rate = sampling_rate(eeg, where="EEG")
    if eeg.attrs.get("units") not in MICROVOLT:
        raise InputError(f"EEG has units {eeg.attrs.get('units')!r}", remedy="give uV, mV or V")
    if not 0 < band[0] < band[1] < rate / 2:
        raise InputError(
            f"band {band[0]}-{band[1]} Hz does not fit a rate of {rate:g} Hz", remedy="lower the upper edge"
        )
    if eeg.sizes["time"] < 3.3 / band[0] * rate + 1:
        seconds = eeg.sizes["time"] / rate
        raise InputError(
            f"EEG of {seconds:.2g} s is shorter than its filter", remedy="give more data or raise the lower edge"
        )
    data = eeg.values.astype(float) * MICROVOLT[eeg.attrs["units"]]
    lost = ~np.isfinite(data)
    data = _fill(data, lost)
    railed = clipped(data)
    data = filter_eeg(data, rate, band=band, line_frequency=line_frequency)
    return Filtered(data, lost, railed, rate, tuple(str(name) for name in eeg["channel"].values))


def _fill(data: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """Missing samples on the straight line between their neighbours; a channel without any becomes 0."""
    index = np.arange(data.shape[1])
    for c in np.flatnonzero(lost.any(axis=1)):
        kept = ~lost[c]
        data[c] = np.interp(index, index[kept], data[c, kept]) if kept.any() else 0.0
    return data
