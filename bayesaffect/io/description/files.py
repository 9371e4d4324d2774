"""Signals from files of every usual kind, cut to the time that is wanted: EDF, BDF, what MNE reads, CSV, NPY."""

from __future__ import annotations

import functools
import os
import zipfile
from pathlib import Path

import mne
import numpy as np
import pandas as pd
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.io import edf
from bayesaffect.io.description.document import FileSignal
from bayesaffect.io.edf import UNREADABLE, sample_span
from bayesaffect.io.layout import Sensor
from bayesaffect.io.sessions.bdf import to_signal

_TEXT = {".csv": ",", ".tsv": "\t", ".txt": None}
_ARRAYS = (".npy", ".npz")
_VOLT, _SIEMENS, _CELSIUS = 107, 113, 112  # FIFF codes of the units that MNE gives to channels


def read_signal(name: str, wanted: FileSignal, path: Path, *, start: float, span: tuple[float, float]) -> xr.DataArray:
    """One signal of a recording between the seconds ``span`` of its clock, as far as the file has them.

    Parameters
    ----------
    name : of the signal; ``"eda"`` without stated units is read as skin conductance by header and range.
    start : time of the file's first sample on the recording's clock (s); a column of times is added to it.

    Units: what the description says holds for tables, arrays, EDF and BDF; where it says nothing a file must, and
    other formats (FIF, SET, BrainVision) always tell volts themselves.

    Raises
    ------
    InputError : a file that cannot be read, has other channels, other units or another rate, or nothing in ``span``.
    """
    inside = (span[0] - start, span[1] - start)
    suffix = path.suffix.lower()
    try:
        if suffix in _TEXT:
            signal = _from_table(name, wanted, path, inside)
        elif suffix in _ARRAYS:
            signal = _from_array(name, wanted, path, inside)
        elif suffix in (".edf", ".bdf"):
            signal = _from_edf(name, wanted.sensor, path, inside)
        else:
            signal = _from_mne(name, wanted.sensor, path, inside)
    except InputError as error:
        raise InputError(error.what, where=error.where or path, remedy=error.remedy) from None
    except (*UNREADABLE, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        remedy = "export it again as EDF, CSV or NPY"
        raise InputError(f"cannot be read ({reason[:200]})", where=path, remedy=remedy) from None
    if signal.sizes["time"] < 2:
        what = f"has no sample between {span[0]:.2f} s and {span[1]:.2f} s of the recording's clock"
        raise InputError(what, where=path, remedy="check start in the description")
    return signal.assign_coords(time=signal["time"].values + start)


def _from_edf(name: str, sensor: Sensor, path: Path, inside: tuple[float, float]) -> xr.DataArray:
    header = edf.read_header(path)
    own = [c.label for c in header.channels if c.label.lower() not in ("status", "edf annotations", "bdf annotations")]
    channels = sensor.channels or tuple(own)
    values, rate, said = edf.Signals(path, header).read(channels, span=inside)
    return _shifted(to_signal(name, _named(sensor, channels), values, rate, said), inside)


def _from_mne(name: str, sensor: Sensor, path: Path, inside: tuple[float, float]) -> xr.DataArray:
    raw = mne.io.read_raw(path, preload=False, verbose="error")
    rate, known = float(raw.info["sfreq"]), {channel.lower(): k for k, channel in enumerate(raw.ch_names)}
    channels = sensor.channels or tuple(raw.ch_names)
    if absent := [channel for channel in channels if channel.lower() not in known]:
        raise InputError(f"lacks channel {', '.join(absent)}", remedy=f"it has {', '.join(raw.ch_names[:40])}")
    picks = [known[channel.lower()] for channel in channels]
    first, last = sample_span(inside, rate, raw.n_times)
    values = raw.get_data(picks=picks, start=first, stop=last, verbose="error")
    codes = {_VOLT: "V", _SIEMENS: "S", _CELSIUS: "degC"}
    said = tuple(codes.get(int(raw.info["chs"][k]["unit"]), "") for k in picks)
    stated = sensor.units
    if "V" in said and stated is not None:
        if not stated.endswith("V"):
            what = f"tells volts of {channels[said.index('V')]}, the description {stated}"
            raise InputError(what, remedy="remove the units, or export the signal as EDF or CSV")
        stated = None  # the reader has scaled what is stored to volts
    return _shifted(to_signal(name, _named(sensor, channels, stated), values, rate, said), inside)


def _from_array(name: str, wanted: FileSignal, path: Path, inside: tuple[float, float]) -> xr.DataArray:
    sensor = wanted.sensor
    _require(sensor, "rate", "units")
    if path.suffix.lower() == ".npy":
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
    else:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as archive:
            key = wanted.array or (archive.files[0] if len(archive.files) == 1 else None)
            if key is None or key not in archive.files:
                raise InputError(f"has no array {key!r}", remedy=f"set array to one of {archive.files}")
            loaded = archive[key]
    if loaded.dtype.kind not in "fiub" or loaded.ndim not in (1, 2) or 0 in loaded.shape:
        what = f"holds {loaded.dtype} of shape {loaded.shape}"
        raise InputError(what, remedy="store numbers as (channel, sample) or (sample,)")
    table = loaded[None] if loaded.ndim == 1 else loaded
    count = len(sensor.channels) or min(table.shape)
    if table.shape[0] != count:
        table = table.T
    if table.shape[0] != count:
        raise InputError(f"holds an array of shape {loaded.shape}, not {count} channels", remedy="correct channels")
    channels = sensor.channels or tuple(f"{name}{k + 1}" for k in range(count))
    first, last = sample_span(inside, sensor.rate, table.shape[1])
    values = np.array(table[:, first:last], dtype=float)
    return _shifted(to_signal(name, _named(sensor, channels), values, sensor.rate, (sensor.units,) * count), inside)


def _from_table(name: str, wanted: FileSignal, path: Path, inside: tuple[float, float]) -> xr.DataArray:
    sensor = wanted.sensor
    _require(sensor, "units")
    if wanted.time is None and sensor.rate is None:
        raise InputError("is a table, and neither rate nor time is described", remedy="add one of the two")
    table = _numbers(str(path), os.stat(path).st_mtime_ns)
    channels = sensor.channels or tuple(c for c in table.columns if c != wanted.time)
    columns = (*channels, *([wanted.time] if wanted.time else []))
    if absent := [column for column in columns if column not in table]:
        raise InputError(
            f"lacks column {', '.join(absent)}", remedy=f"it has {', '.join(map(str, table.columns[:40]))}"
        )
    said = (sensor.units,) * len(channels)
    if wanted.time is None:
        first, last = sample_span(inside, sensor.rate, len(table))
        values = table[list(channels)].to_numpy(float)[first:last].T
        return _shifted(_told(to_signal(name, _named(sensor, channels), values, sensor.rate, said), path), inside)
    time = table[wanted.time].to_numpy(float)
    if not np.isfinite(time).all() or (np.diff(time) <= 0).any():
        row = int(np.argmin(np.isfinite(time) & np.r_[True, np.diff(time) > 0])) + 2
        raise InputError(f"times in {wanted.time!r} do not increase at row {row}", remedy="sort the rows, drop repeats")
    here = slice(*np.searchsorted(time, inside))
    values, time = table[list(channels)].to_numpy(float)[here].T, time[here]
    step = float(np.median(np.diff(time))) if time.size > 1 else 1.0
    signal = _told(to_signal(name, _named(sensor, channels), values, 1 / step, said), path)
    if time.size > 1 and np.abs(time - time[0] - step * np.arange(time.size)).max() > step / 2:
        del signal.attrs["sampling_rate"]
    return signal.assign_coords(time=time)


@functools.lru_cache(maxsize=2)
def _numbers(path: str, changed: int) -> pd.DataFrame:
    """A table of numbers, kept while trials of the same file follow one another; what is no number is NaN."""
    separator = _TEXT[Path(path).suffix.lower()]
    options = {"sep": separator} if separator else {"sep": None, "engine": "python"}
    table = pd.read_csv(path, skipinitialspace=True, encoding="utf-8-sig", **options)
    table.columns = [str(column).strip() for column in table.columns]
    return table.apply(pd.to_numeric, errors="coerce").astype(float)


def _told(signal: xr.DataArray, path: Path) -> xr.DataArray:
    if signal.size and (share := float(np.isfinite(signal.values).mean())) < 0.5:
        told = f"only {100 * share:.0f} % of its values are numbers"
        raise InputError(told, where=path, remedy="check channels and file")
    return signal


def _named(sensor: Sensor, channels: tuple[str, ...], unit: str | None = "") -> Sensor:
    return Sensor(channels, sensor.units if unit == "" else unit, sensor.assumed, sensor.rate)


def _require(sensor: Sensor, *names: str) -> None:
    for name in names:
        if getattr(sensor, name) is None:
            raise InputError(f"does not say its {name}, nor does the description", remedy=f"add {name} to the signal")


def _shifted(signal: xr.DataArray, inside: tuple[float, float]) -> xr.DataArray:
    """Times from the file's first sample on, not from the first one that was read."""
    rate = signal.attrs["sampling_rate"]
    return signal.assign_coords(time=signal["time"].values + max(int(np.floor(inside[0] * rate)), 0) / rate)
