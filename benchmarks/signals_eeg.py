"""EEG: one filter against MNE's two, and spectra with connectivity in one pass against MNE and mne-connectivity.

Both sides use one thread (set OMP_NUM_THREADS=1 for linear algebra). "Used well" is one batched call of
`psd_array_multitaper` for all frames, and one call of `spectral_connectivity_epochs` with the four methods, band
averages included; "naive" is a loop over frames for the density and a call per method for connectivity.
"""

from __future__ import annotations

import os
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import mne
import numpy as np
import xarray as xr
from mne_connectivity import spectral_connectivity_epochs
from pairs import Row, fact, faster

from bayesaffect.signals import eeg
from bayesaffect.signals.eeg import connectivity, filters, spectral, tapers

DATA = Path(os.environ.get("BAYESAFFECT_DATA", Path(__file__).parents[2] / "shared" / "data"))
RATE, SECONDS, CHANNELS = 256, 75, 32
WINDOWS = [(60.0, 90.0)]
METHODS = ["coh", "imcoh", "plv", "wpli"]
LOW, HIGH = zip(*spectral.BANDS.values(), strict=True)
BETWEEN = {"fmin": LOW, "fmax": tuple(high - 0.5 for high in HIGH), "faverage": True, "verbose": "ERROR"}


def rows(repeats: int) -> Iterator[Row]:
    """Filtering, spectra and connectivity of one trial of 32 channels x 75 s at 256 Hz, and their errors."""
    warnings.filterwarnings("ignore", category=UserWarning, module="mne_connectivity")
    warnings.filterwarnings("ignore", message="fmin=.* corresponds to")
    signal, told = trial()
    upper = 0.25 * 45

    def cascade():
        first = mne.filter.filter_data(signal, RATE, 1.0, 45.0, h_trans_bandwidth=upper, verbose="ERROR")
        return mne.filter.notch_filter(first, RATE, [50.0], verbose="ERROR")

    def joined():
        return filters.filter_eeg(signal, RATE)

    yield faster("eeg filter / MNE band-pass then notch", joined, cascade, least=3, repeats=repeats, note=told)
    error = np.abs(joined() - cascade()).max()
    yield fact("eeg filter: largest difference in uV", error, goal="<= 1e-10", holds=error <= 1e-10, note=told)

    frames = np.ascontiguousarray(signal.reshape(CHANNELS, SECONDS, RATE).swapaxes(0, 1))
    yield faster(
        "eeg spectra + connectivity / MNE used well",
        lambda: ours(frames),
        lambda: peers(frames),
        least=5,
        repeats=repeats,
        note=told,
    )
    yield faster(
        "eeg spectra + connectivity / MNE used naively",
        lambda: ours(frames),
        lambda: naive(frames),
        least=15,
        repeats=max(1, repeats // 2),
        note=told,
    )
    mine, other = ours(frames), peers(frames)
    error = np.abs(10 ** mine[0] / (10 ** other[0]) - 1).max()
    yield fact("eeg band power: largest relative error", error, goal="<= 1e-6", holds=error <= 1e-6, note=told)
    below = np.tril_indices(CHANNELS, -1)
    for name, a, b in zip(connectivity.MEASURES, mine[1], other[1], strict=True):
        error = (np.abs(a[:, *below] - b[:, *below]) / np.abs(b[:, *below])).max()
        label = f"eeg {name.replace('_', ' ')}: largest relative error"
        yield fact(label, error, goal="<= 1e-6", holds=error <= 1e-6, note=told)

    recording = session(signal)
    for wanted in (True, False):
        with_or_not = "with" if wanted else "without"
        cost = milliseconds(lambda wanted=wanted: eeg.extract_block(recording, WINDOWS, connectivity=wanted), repeats)
        label = f"eeg block of a 30 s trial {with_or_not} connectivity: ms"
        yield fact(label, cost, goal="reported", holds=True, note=f"session of 135 s filtered whole; {told}")


def ours(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log band power (band, channel, frame) and connectivity (measure, band, channel, channel), one transform."""
    spectra = tapers.tapered_spectra(frames, RATE)
    power = spectral.log_band_power(spectra.density, spectra)
    return power, connectivity.band_connectivity(connectivity.cross_sums(spectra), len(frames), spectra)


def peers(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same by one call of each library."""
    density, freqs = mne.time_frequency.psd_array_multitaper(
        frames, RATE, fmin=1, fmax=45, bandwidth=4, normalization="full", verbose="ERROR"
    )
    found = spectral_connectivity_epochs(
        frames, method=METHODS, sfreq=RATE, mode="multitaper", mt_bandwidth=4, **BETWEEN
    )
    return _log(density, freqs), np.stack([np.moveaxis(each.get_data("dense"), 2, 0) for each in found])


def naive(frames: np.ndarray) -> None:
    """The same as a script would do it: frame by frame, method by method."""
    parts = []
    for frame in frames:
        density, freqs = mne.time_frequency.psd_array_multitaper(
            frame, RATE, bandwidth=4, normalization="full", verbose="ERROR"
        )
        parts.append(density)
    _log(np.stack(parts), freqs)
    for method in METHODS:
        spectral_connectivity_epochs(frames, method=method, sfreq=RATE, mode="multitaper", mt_bandwidth=4, **BETWEEN)


def session(signal: np.ndarray) -> xr.DataArray:
    """A session of 135 s as MAHNOB-HCI stores one clip, made from the trial twice."""
    names = mne.channels.make_standard_montage("biosemi32").ch_names
    data = np.concatenate([signal, signal[:, ::-1]], axis=1)[:, : 135 * RATE]
    coords = {"channel": names, "time": np.arange(data.shape[1]) / RATE}
    attrs = {"units": "uV", "sampling_rate": float(RATE)}
    return xr.DataArray(data, dims=("channel", "time"), coords=coords, attrs=attrs)


def milliseconds(work: Callable, repeats: int) -> float:
    """Median of so many runs after one that does not count."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def trial() -> tuple[np.ndarray, str]:
    """32 channels x 75 s in uV: the real recording resampled to 256 Hz where it is there, coloured noise otherwise."""
    path = DATA / "eeg" / "eeglab_data.set"
    if path.is_file():
        raw = mne.io.read_raw_eeglab(path, preload=True, verbose="ERROR")
        data = raw.resample(RATE, verbose="ERROR").get_data()[:CHANNELS, : SECONDS * RATE] * 1e6
        return np.ascontiguousarray(data), "real recording (eeglab_data, resampled to 256 Hz)"
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(CHANNELS, SECONDS * RATE))
    mixed = np.cumsum(noise, axis=1) * 0.02 + 8 * rng.normal(size=(CHANNELS, CHANNELS)) @ noise / CHANNELS
    return mixed, "simulated"


def _log(density: np.ndarray, freqs: np.ndarray) -> np.ndarray:
    bands = [
        density[..., (freqs >= low) & (freqs < high)].sum(-1) * (freqs[1] - freqs[0])
        for low, high in zip(LOW, HIGH, strict=True)
    ]
    return np.log10(np.stack(bands) + spectral.FLOOR).transpose(0, 2, 1)
