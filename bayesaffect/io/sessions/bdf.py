"""The BDF of a session: signals by name and unit, and the clip's start and stop from the trigger channel's pulses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.io import edf, units
from bayesaffect.io.layout import Sensor
from bayesaffect.types import Omission

AGAIN = "copy it again from the data base"
CERTAIN = ("S", "mS", "kOhm", "MOhm", "31.25 nS")  # units of a skin conductance file that leave nothing to decide


def read_bdf(
    path: Path, sensors: Mapping[str, Sensor], *, trigger: str = "Status", mask: int = 0xFFFF
) -> tuple[dict[str, xr.DataArray], tuple[float, float], list[Omission]]:
    """Signals of a BDF (or EDF) file, the clip's (start, stop) in s after its first sample, and what was left out.

    Every signal keeps its own sampling rate. A signal that lacks a channel, or whose unit or rate is another one, is
    left out with an omission of scope "modality"; skin conductance that is not physiological stays, with such a line.

    Raises
    ------
    InputError : no readable or a shortened file, no trigger channel, or not two pulses on it.
    """
    header = edf.read_header(path, remedy=AGAIN)
    if header.find(trigger) is None:
        raise InputError(f"has no {trigger} channel", where=path, remedy=AGAIN)
    stored = edf.Signals(path, header, trigger=trigger, remedy=AGAIN)
    status, status_rate, _ = stored.read([trigger])
    span = clip_times(status[0], status_rate, path, mask=mask, trigger=trigger)
    signals, omissions = {}, []
    for name, sensor in sensors.items():
        if absent := [label for label in sensor.channels if header.find(label) is None]:
            what = f"{name} lacks channel {', '.join(absent)}"
            omissions.append(Omission(str(path), what, "record it", "modality"))
            continue
        values, rate, said = stored.read(sensor.channels)
        try:
            signals[name] = to_signal(name, sensor, values, rate, said)
        except InputError as error:
            omissions.append(Omission(str(path), f"{name}: {error.what}", error.remedy or "", "modality"))
            continue
        if not signals[name].attrs.get("plausible", True):
            omissions.append(Omission(str(path), not_physiological(signals[name]), "check its electrodes", "modality"))
    return signals, span, omissions


def to_signal(name: str, sensor: Sensor, values: np.ndarray, rate: float, said: tuple[str, ...]) -> xr.DataArray:
    """Stored numbers (channel, sample) as a signal in the units that recordings carry; ``said`` are the file's units.

    Raises
    ------
    InputError : another rate than the sensor should have, a unit that is not known, or channels of different units.
    """
    if sensor.rate is not None and abs(rate - sensor.rate) > 1e-3 * sensor.rate:
        raise InputError(f"the file has {rate:g} Hz, not {sensor.rate:g} Hz", remedy="correct the rate or remove it")
    attrs = {"sampling_rate": rate}
    if name == "eda" and sensor.units is None and units.canonical(said[0]) not in CERTAIN:
        values, decided = units.conductance(values, said[0])
        unit, attrs = "uS", attrs | decided
    else:
        parts = [units.convert(row, _unit(sensor, text)) for row, text in zip(values, said, strict=True)]
        unit = parts[0][1]
        if any(other != unit for _, other in parts):
            raise InputError(f"its channels have the units {sorted(set(said))}", remedy="say which in a description")
        values = np.stack([row for row, _ in parts])
        if name == "eda" and unit == "uS":
            by = f"{said[0]} (by header)" if sensor.units is None else f"{sensor.units} (by the description)"
            attrs |= {"decision": by, "plausible": units.is_plausible(values)}
    coords = {"channel": list(sensor.channels), "time": np.arange(values.shape[1]) / rate}
    return xr.DataArray(values, dims=("channel", "time"), coords=coords, attrs={"units": unit} | attrs)


def _unit(sensor: Sensor, said: str) -> str:
    if sensor.units is not None:
        return sensor.units
    known = units.canonical(said)
    return known if known is not None else sensor.assumed or said


def not_physiological(eda: xr.DataArray) -> str:
    """What to say of skin conductance outside the plausible range, and of how its unit was decided."""
    low, high = units.PLAUSIBLE
    middle = float(np.nanmedian(eda.values)) if np.isfinite(eda.values).any() else float("nan")
    return f"eda: its median of {middle:.3g} uS is not within {low:g}..{high:g} uS; read as {eda.attrs['decision']}"


def clip_times(
    status: np.ndarray, rate: float, path: Path, *, mask: int = 0xFFFF, trigger: str = "Status"
) -> tuple[float, float]:
    """Start and stop of the clip (s): the two rising edges of the trigger channel.

    Only the bits of ``mask`` count, and the idle level is the most frequent value, whatever it is.
    """
    code = np.nan_to_num(status).astype(np.int64) & mask
    levels, counts = np.unique(code, return_counts=True)
    active = code != levels[counts.argmax()]
    edges = np.flatnonzero(active[1:] & ~active[:-1]) + 1
    if edges.size != 2:
        raise InputError(
            f"has {edges.size} trigger pulse{'s' * (edges.size != 1)} in {trigger}, not two (clip start and clip stop)",
            where=path,
            remedy="leave the trial out or restore the recording",
        )
    return float(edges[0] / rate), float(edges[1] / rate)
