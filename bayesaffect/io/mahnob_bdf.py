"""The BDF of a MAHNOB-HCI session: signals by name and unit, and the clip's start and stop from the Status pulses."""

from __future__ import annotations

from pathlib import Path

import mne
import numpy as np
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.types import Omission

EEG = tuple(
    (
        "Fp1 AF3 F3 F7 FC5 FC1 C3 T7 CP5 CP1 P3 P7 PO3 O1 Oz Pz Fp2 AF4 Fz F4 F8 FC6 FC2 Cz C4 T8 CP6 CP2 P4 P8 PO4 O2"
    ).split()
)
ECG = ("EXG1", "EXG2", "EXG3")
_PLAUSIBLE = (0.5, 50.0)  # median skin conductance of a working sensor, uS


def _header(path: Path) -> tuple[dict[str, str], float]:
    """Units by lower-case label, and the share of the announced data that the file really holds."""
    try:
        with open(path, "rb") as stream:
            head = stream.read(256)
            count = int(head[252:256])
            body = stream.read(256 * count)
        records, size = int(head[236:244]), path.stat().st_size
        if head[:8] != b"\xffBIOSEMI" or len(body) != 256 * count or count < 1:
            raise ValueError("its header is incomplete or of another format")
        labels = [body[16 * k : 16 * (k + 1)].decode("latin1").strip().lower() for k in range(count)]
        units = [body[96 * count + 8 * k : 96 * count + 8 * (k + 1)].decode("latin1").strip() for k in range(count)]
        samples = [int(body[216 * count + 8 * k : 216 * count + 8 * (k + 1)]) for k in range(count)]
    except (OSError, ValueError) as error:
        raise InputError(
            f"is no readable BDF ({error})", where=path, remedy="copy it again from the data base"
        ) from None
    expected = records * sum(samples) * 3
    return dict(zip(labels, units, strict=True)), (size - 256 * (count + 1)) / expected if expected > 0 else 1.0


def read_bdf(path: Path) -> tuple[dict[str, xr.DataArray], tuple[float, float], list[Omission]]:
    units, share = _header(path)
    if share < 1 - 1e-9:
        raise InputError(
            f"is cut short, {share:.0%} of its data are there", where=path, remedy="copy it again from the data base"
        )
    try:
        raw = mne.io.read_raw_bdf(path, preload=False, stim_channel="auto", verbose="error")
        name = {n.lower(): n for n in raw.ch_names}
        if "status" not in name:
            raise InputError("has no Status channel", where=path, remedy="copy it again from the data base")
        rate = float(raw.info["sfreq"])
        start, stop = clip_times(raw.get_data(picks=[name["status"]], verbose="error")[0], rate, path)
        time = np.arange(raw.n_times) / rate
        signals, omissions = {}, []

        def take(signal: str, channels: tuple[str, ...], unit: str) -> None:
            if absent := [c for c in channels if c.lower() not in name]:
                omissions.append(
                    Omission(str(path), f"{signal} lacks channel {', '.join(absent)}", "record it", "modality")
                )
                return
            values = raw.get_data(picks=[name[c.lower()] for c in channels], verbose="error")
            # MNE scales uV and mV to V and leaves every other unit as it is
            volts = [units[c.lower()].lower().replace("µ", "u").replace("μ", "u") in ("uv", "mv") for c in channels]
            values = values * np.where(volts, 1e6, 1.0)[:, None]
            attrs = {"units": unit, "sampling_rate": rate}
            if signal == "eda":
                values, said = conductance(values, units[channels[0].lower()])
                attrs |= said
            signals[signal] = xr.DataArray(
                values, dims=("channel", "time"), coords={"channel": list(channels), "time": time}, attrs=attrs
            )

        take("eeg", EEG, "uV")
        take("ecg", ECG, "uV")
        take("eda", ("GSR1",), "uS")
        take("respiration", ("Resp",), "uV")
        take("temperature", ("Temp",), "degC")
    except InputError:
        raise
    except (OSError, ValueError, RuntimeError, IndexError) as error:
        raise InputError(
            f"is no readable BDF ({error})", where=path, remedy="copy it again from the data base"
        ) from None
    return signals, (start, stop), omissions


def clip_times(status: np.ndarray, rate: float, path: Path) -> tuple[float, float]:
    """Start and stop of the clip (s): the two rising edges of the Status channel."""
    code = status.astype(np.int64) & 0xFFFF
    levels, counts = np.unique(code, return_counts=True)
    active = code != levels[counts.argmax()]
    edges = np.flatnonzero(active[1:] & ~active[:-1]) + 1
    if edges.size != 2:
        raise InputError(
            f"has {edges.size} trigger pulse{'s' * (edges.size != 1)} in Status, not two (clip start and clip stop)",
            where=path,
            remedy="leave the trial out or restore the recording",
        )
    return float(edges[0] / rate), float(edges[1] / rate)


def conductance(values: np.ndarray, unit: str) -> tuple[np.ndarray, dict]:
    """Skin conductance in uS from what the file stores, and how that was decided (see `read`)."""
    said = unit.strip().lower()
    with np.errstate(divide="ignore"):
        ways = {
            "resistance in Ohm": np.where(values > 0, 1e6 / np.maximum(values, 1e-3), 0.0),
            "conductance in 31.25 nS": np.maximum(values, 0) * 31.25 / 1000,
            "conductance in nS": np.maximum(values, 0) / 1000,
        }
    ways = {name: np.minimum(way, 1e3) for name, way in ways.items()}
    plausible = {name: _PLAUSIBLE[0] <= np.median(way) <= _PLAUSIBLE[1] for name, way in ways.items()}
    if said.startswith("ohm") or said == "Ω".lower():
        allowed = ["resistance in Ohm"]
    elif said == "ns":
        allowed = ["conductance in 31.25 nS", "conductance in nS"]
    elif said == "us":
        ways["conductance in uS"] = np.clip(values, 0, 1e3)
        plausible["conductance in uS"] = _PLAUSIBLE[0] <= np.median(values) <= _PLAUSIBLE[1]
        allowed = ["conductance in uS"]
    else:
        allowed = list(ways)
    chosen = next((name for name in allowed if plausible[name]), allowed[0])
    by = "header" if len(allowed) == 1 else "header and range" if said == "ns" else "range"
    attrs = {"decision": f"{chosen} (by {by}, unit {unit!r})", "plausible": bool(plausible[chosen])}
    return ways[chosen], attrs
