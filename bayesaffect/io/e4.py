"""Empatica E4 wristbands with per-second labels, laid out as in Stress-Predict (Iqbal et al. 2022, Sensors 22:8135).

``Raw_data/S<NN>/{BVP,EDA,TEMP,ACC,HR,IBI}.csv``: the first row is the start in unix seconds (UTC), the second the
rate in Hz, then one sample per row; IBI.csv holds (seconds since the start, interval in s) and no rate.
``Processed_data/*.csv`` is a table with the columns Participant, Time(sec) (unix, UTC), Label (0 or 1) and perhaps
respr (1/min). Signals and labels share the unix clock, so no synchronisation is needed beyond each file's own start.

In Stress-Predict every session has the same order of tasks, so whatever drifts with time tells part of the label.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.types import Listing, Omission, Recording, Segment, Source, Target

LEVELS = ("rest", "stress")
TARGETS = (Target("stress", levels=LEVELS),)
MODALITIES: Mapping[str, tuple[str, ...]] = {
    "cardiac": ("bvp", "heart_rate", "ibi", "respiratory_rate"),
    "electrodermal": ("eda",),
    "temperature": ("temperature",),
    "motion": ("acceleration",),
}
LAYOUT = (
    "the folder must hold Raw_data/S<NN>/{BVP,EDA,TEMP,ACC,HR,IBI}.csv "
    "and Processed_data/<labels>.csv with Participant, Time(sec), Label"
)


class _File(NamedTuple):
    """A wristband file: the signal's name, its channels, its units, and what one count is worth in them."""

    signal: str
    channels: tuple[str, ...]
    units: str
    scale: float = 1.0


FILES: Mapping[str, _File] = {
    "BVP.csv": _File("bvp", ("bvp",), "au"),
    "EDA.csv": _File("eda", ("eda",), "uS"),
    "TEMP.csv": _File("temperature", ("temperature",), "degC"),
    "ACC.csv": _File("acceleration", ("x", "y", "z"), "g", 1 / 64),
    "HR.csv": _File("heart_rate", ("heart_rate",), "1/min"),
    "IBI.csv": _File("ibi", ("ibi",), "s"),
}


def scan(folder: str | os.PathLike) -> Listing:
    """List the wristband recordings of a folder; only the table of labels is opened.

    Raises
    ------
    InputError
        The folder has no Raw_data, no table of labels, or no subject with both.
    """
    folder = Path(folder)
    if not (folder / "Raw_data").is_dir():
        raise InputError("there is no folder Raw_data", where=folder, remedy=LAYOUT)
    labels, path = _labels(folder)
    known = set(labels["Participant"].unique())
    sources, omissions = [], []
    for place in sorted(p for p in (folder / "Raw_data").iterdir() if p.is_dir()):
        number = re.search(r"(\d+)$", place.name)
        files = tuple(str(place / name) for name in FILES if (place / name).is_file())
        if number is None:
            omissions.append(
                Omission(str(place), "the folder's name has no participant number", "name it S<NN>", "recording")
            )
        elif not files:
            omissions.append(
                Omission(str(place), "no wristband file", "it must hold BVP.csv, EDA.csv, ...", "recording")
            )
        elif int(number[1]) not in known:
            what = f"participant {int(number[1])} has no labels in {path.name}"
            omissions.append(Omission(str(place), what, "add its rows to the table", "recording"))
        else:
            sources.append(Source(place.name, place.name, (*files, str(path))))
            gone = [name for name in FILES if not (place / name).is_file()]
            omissions += [Omission(str(place / name), "there is no such file", "", "modality") for name in gone]
    if not sources:
        raise InputError("no participant with both wristband files and labels", where=folder, remedy=LAYOUT)
    return Listing("e4", str(folder), TARGETS, dict(MODALITIES), tuple(sources), tuple(omissions))


def read(
    source: Source, *, targets: tuple[Target, ...], window_s: float = 60.0, step_s: float = 30.0
) -> tuple[Recording, tuple[Omission, ...]]:
    """Read one participant: signals on one clock, and windows of one label as segments.

    The clock's zero is the earliest start of any file. Windows of ``window_s`` begin every ``step_s`` from the first
    label on; one is kept if labels cover all of it and are all the same. Its stimulus names the run of
    that label: ``rest-1``, ``stress-1``, ``rest-2``, ... in the order of the session.

    Returns
    -------
    The recording, and what was left out: files that cannot be read, and how many windows had mixed or missing labels.

    Raises
    ------
    InputError
        No file of the participant can be used, or no window has one label.
    """
    if not (window_s > 0 and step_s > 0):
        raise InputError(f"windows of {window_s} s every {step_s} s", remedy="both must be positive")
    raw, omissions = {}, []
    for path in map(Path, source.files):
        if path.name in FILES:
            try:
                raw[FILES[path.name].signal] = _read_file(path)
            except InputError as error:
                omissions.append(Omission.from_error(error, scope="modality"))
    where = str(Path(source.files[0]).parent) if source.files else source.name
    if not raw:
        remedy = "export the session again: each file holds start, rate, then samples"
        raise InputError(
            f"no wristband file can be used ({omissions[0].what if omissions else 'none is there'})",
            where=where,
            remedy=remedy,
        )
    zero = min(array.attrs["start"] for array in raw.values())
    table_path = Path(source.files[-1])
    table = _table(table_path)
    table = table[table["Participant"] == int(re.search(r"(\d+)$", source.name)[1])]
    if table.empty:
        raise InputError(f"no labels of {source.name}", where=table_path, remedy="add its rows to the table")
    time = table["Time(sec)"].to_numpy(float) - zero
    order = np.unique(time, return_index=True)[1]
    if order.size < time.size:
        what = f"{time.size - order.size} seconds are labelled twice; the first label is taken"
        omissions.append(Omission(f"{table_path} ({source.name})", what, "remove the repeated rows"))
    time, label = time[order], table["Label"].to_numpy()[order]
    signals = {name: _shifted(array, zero) for name, array in raw.items()}
    last = max(float(array["time"][-1]) for array in signals.values())
    if "respr" in table:
        signals |= _respiratory_rate(time, table["respr"].to_numpy(float)[order])
    segments, mixed = _segments(time, label, source.name, window_s=window_s, step_s=step_s, last=last)
    if mixed:
        omissions.append(Omission(source.name, f"{mixed} windows with a mixed or missing label left out"))
    if not segments:
        shift = (
            "labels and signals do not overlap"
            if time[0] > last or time[-1] < 0
            else f"no window of {window_s:g} s has one label"
        )
        raise InputError(shift, where=where, remedy="check that both are in unix seconds UTC, or shorten the window")
    wanted = {t.name for t in targets}
    segments = tuple(
        Segment(s.trial, s.start, s.stop, s.stimulus, {k: v for k, v in s.truth.items() if k in wanted})
        for s in segments
    )
    return Recording(source.subject, where, targets, signals, segments), tuple(omissions)


def _segments(
    time: np.ndarray, label: np.ndarray, name: str, *, window_s: float, step_s: float, last: float
) -> tuple[list[Segment], int]:
    """Windows of one label throughout, and how many were left out; a label holds for at most two steps."""
    step = float(np.median(np.diff(time))) if time.size > 1 else 1.0
    run = np.cumsum(np.r_[True, (label[1:] != label[:-1])])
    first_of_run = label[np.r_[True, (label[1:] != label[:-1])]].astype(int)
    within = {k + 1: int((first_of_run[: k + 1] == first_of_run[k]).sum()) for k in range(first_of_run.size)}
    segments, mixed = [], 0
    for start in np.arange(time[0], time[-1] + step - window_s + 1e-6, step_s):
        stop = start + window_s
        if start < 0 or stop > last + 0.05:
            mixed += 1
            continue
        here = slice(*np.searchsorted(time, (start - 1e-6, stop - 1e-6)))
        runs, inner = run[here], np.r_[start, time[here], stop]
        if not runs.size or runs[0] != runs[-1] or np.diff(inner).max() > 2 * step:
            mixed += 1
            continue
        level = LEVELS[int(label[here][0])]
        stimulus = f"{level}-{within[int(runs[0])]}"
        trial = f"{name}/{len(segments):04d}"
        segments.append(Segment(trial, float(start), float(stop), stimulus, {"stress": level}))
    return segments, mixed


def _labels(folder: Path) -> tuple[pd.DataFrame, Path]:
    """The table of labels: the first in Processed_data that has the columns."""
    paths = sorted((folder / "Processed_data").glob("*.csv"))
    for path in paths:
        try:
            return _table(path), path
        except InputError as error:
            problem = error
    if paths:
        raise problem
    raise InputError("there is no table of labels in Processed_data", where=folder, remedy=LAYOUT)


def _table(path: Path) -> pd.DataFrame:
    columns = ["Participant", "Time(sec)", "Label"]
    try:
        table = pd.read_csv(path, skipinitialspace=True)
    except (OSError, ValueError) as error:
        raise InputError(f"the table of labels cannot be read ({error})", where=path, remedy=LAYOUT) from None
    table.columns = [str(name).strip() for name in table.columns]
    if lacking := [name for name in columns if name not in table]:
        raise InputError(
            f"the table of labels lacks the columns {lacking}", where=path, remedy=f"it has {list(table.columns)}"
        )
    for name in (*columns, *(["respr"] if "respr" in table else [])):
        table[name] = pd.to_numeric(table[name], errors="coerce")
    table = table.dropna(subset=columns)
    if table.empty:
        raise InputError("the table of labels has no complete row", where=path, remedy=LAYOUT)
    if not table["Label"].isin((0, 1)).all():
        bad = table["Label"][~table["Label"].isin((0, 1))].iloc[0]
        raise InputError(f"the label {bad:g} is neither 0 nor 1", where=path, remedy="0 is rest, 1 is stress")
    return table


def _read_file(path: Path) -> xr.DataArray:
    """One wristband file, as (channel, time) on its own clock, with its start (unix s) in ``attrs``."""
    kind = FILES[path.name]
    try:
        lines = pd.read_csv(path, header=None, skipinitialspace=True, dtype=str, keep_default_na=False, nrows=2)
    except pd.errors.EmptyDataError:
        raise InputError("the file is empty", where=path, remedy="export the session again") from None
    except (OSError, ValueError) as error:
        raise InputError(f"the file cannot be read ({error})", where=path, remedy="export the session again") from None
    irregular = path.name == "IBI.csv"
    head = 1 if irregular else 2
    start = _number(lines, 0, path, "start in unix seconds")
    rate = float("nan") if irregular else _number(lines, 1, path, "rate in Hz")
    if not irregular and not 0 < rate < 1e5:
        raise InputError(f"the rate in the second row is {rate:g} Hz", where=path, remedy="it must be positive")
    try:
        body = pd.read_csv(
            path, header=None, skiprows=head, skipinitialspace=True, on_bad_lines="skip", low_memory=False
        )
    except (pd.errors.EmptyDataError, pd.errors.ParserError):
        raise InputError("there is no sample after the header", where=path, remedy="export the session again") from None
    except (OSError, ValueError) as error:
        raise InputError(f"the file cannot be read ({error})", where=path, remedy="export the session again") from None
    values = body.apply(pd.to_numeric, errors="coerce").to_numpy(float).T
    wanted = 2 if irregular else len(kind.channels)
    if values.shape[0] < wanted:
        raise InputError(
            f"{values.shape[0]} columns where {wanted} are needed", where=path, remedy="export the session again"
        )
    values = values[:wanted]
    if irregular:
        time, values = values[0], values[1:]
        keep = np.isfinite(time) & np.isfinite(values[0])
        time, values = time[keep], values[:, keep]
        if time.size and (np.diff(time) <= 0).any():
            raise InputError("times are not increasing", where=path, remedy="sort the rows and remove repeated ones")
    else:
        time = np.arange(values.shape[1]) / rate
    share = np.isfinite(values).mean() if values.size else 0.0
    if time.size < 2 or share < 0.5:
        raise InputError(
            f"only {100 * share:.0f} % of {values.size} samples are numbers",
            where=path,
            remedy="export the session again",
        )
    attrs = {"units": kind.units, "start": start} | ({} if irregular else {"sampling_rate": rate})
    coords = {"channel": list(kind.channels), "time": time}
    return xr.DataArray(values * kind.scale, dims=("channel", "time"), coords=coords, attrs=attrs, name=kind.signal)


def _number(lines: pd.DataFrame, row: int, path: Path, what: str) -> float:
    try:
        value = float(str(lines.iloc[row, 0]).strip())
    except (ValueError, IndexError):
        value = float("nan")
    if not np.isfinite(value):
        raise InputError(f"row {row + 1} holds no {what}", where=path, remedy="export the session again")
    return value


def _shifted(array: xr.DataArray, zero: float) -> xr.DataArray:
    out = array.assign_coords(time=array["time"].values + (array.attrs["start"] - zero))
    del out.attrs["start"]
    return out


def _respiratory_rate(time: np.ndarray, values: np.ndarray) -> dict[str, xr.DataArray]:
    """The table's respiratory rate, where it has at least half of it; {} otherwise."""
    if time.size < 2 or np.isfinite(values).mean() < 0.5:
        return {}
    coords = {"channel": ["respiratory_rate"], "time": time}
    array = xr.DataArray(values[None], dims=("channel", "time"), coords=coords, attrs={"units": "1/min"})
    return {"respiratory_rate": array}
