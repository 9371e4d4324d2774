"""The backend that reads what another program said: csv files of OpenFace 2 (FeatureExtraction) and of py-feat."""

from __future__ import annotations

import os
import re
import warnings
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from bayesaffect.errors import InputError, first_line
from bayesaffect.signals.face.track import (
    LANDMARKS,
    FaceTrack,
    align,
    credible,
    eyes_of,
    frame_numbers,
    label_points,
    rows_of,
)
from bayesaffect.signals.video import read_frames
from bayesaffect.types import Video

UNIT = re.compile(r"AU\d{2}")
INTENSITY, PRESENCE = re.compile(r"(AU\d{2})_r"), re.compile(r"(AU\d{2})_c")
PROMINENCE = {"openface": 0.5, "pyfeat": 0.1}  # half a level of FACS intensity (0-5); a tenth of a probability
EMOTIONS = {  # py-feat's columns, of Detectorv1 and of Detectorv2, and what the level is called
    **{name: name for name in ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")},
    **{"Anger": "anger", "Disgust": "disgust", "Fear": "fear", "Happy": "happiness", "Sad": "sadness"},
    **{"Surprise": "surprise", "Neutral": "neutral", "Contempt": "contempt"},
}
AFFECT = ("valence", "arousal")
POSES = {"openface": ("pose_Rx", "pose_Ry", "pose_Rz"), "pyfeat": ("Pitch", "Roll", "Yaw")}
FOUND = {"openface": ("confidence", "success"), "pyfeat": ("FaceScore",)}
BOX = ("FaceRectWidth", "FaceRectHeight")
CLOCK = ("frame", "timestamp")
REMEDY = "give the csv that OpenFace's FeatureExtraction or py-feat wrote"
PX = tuple(f"{axis}_{k}" for axis in "xy" for k in range(LANDMARKS))
_WANTED = frozenset({*PX, *EMOTIONS, *AFFECT, *BOX, *CLOCK, *sum(POSES.values(), ()), *sum(FOUND.values(), ())})


class Table(NamedTuple):
    """Rows of a table in order of their frames, one per frame: numbers (row,), and a `FaceTrack` without crops."""

    numbers: np.ndarray
    track: FaceTrack


def analyse(video: Video, times: np.ndarray, *, size: int = 48) -> FaceTrack:
    """The rows of ``video.table`` nearest to the given times, and crops from the video where it can be decoded.

    A row answers for a time if it is no further than half the usual distance between rows, or one frame. Crops are
    aligned by the eyes that the table holds. Without landmarks in the table, or without a video that can be decoded,
    ``crops`` is ``None``.

    Raises
    ------
    InputError : no table is named, it cannot be used, or it holds no row at any of the times.
    """
    if video.table is None:
        what = "no table of an external face analysis belongs to the video"
        raise InputError(what, where=video.path, remedy='name one, or use the backend "embedded"')
    times = np.asarray(times, dtype=float)
    table = read_table(video.table, rate=video.rate)
    numbers = frame_numbers(video, times)
    gap = np.median(np.diff(table.numbers)) if table.numbers.size > 1 else 1
    right = np.clip(np.searchsorted(table.numbers, numbers), 1, max(1, table.numbers.size - 1))
    left = right - 1
    right = np.minimum(right, table.numbers.size - 1)
    nearest = np.where(numbers - table.numbers[left] <= table.numbers[right] - numbers, left, right)
    answered = np.abs(table.numbers[nearest] - numbers) <= max(1, gap / 2)
    if times.size and not answered.any():
        what = f"the table holds no frame between {times.min():.2f} s and {times.max():.2f} s of the recording's clock"
        raise InputError(what, where=video.table, remedy="check that table and video belong together")
    return with_crops(video, times, select(table.track, nearest, answered), size)


def select(track: FaceTrack, rows: np.ndarray, answered: np.ndarray) -> FaceTrack:
    """The given rows of a track without crops; nobody is seen where ``answered`` is False."""
    visible = track.visible[rows] & answered

    def pick(array: xr.DataArray | None) -> xr.DataArray | None:
        if array is None:
            return None
        values = array.values[rows].copy()
        values[~visible] = np.nan
        return xr.DataArray(values, dims=array.dims, coords=array.coords, attrs=array.attrs)

    confidence = np.where(visible, track.confidence[rows], 0.0)
    parts = [pick(part) for part in (track.units, track.emotions, track.affect, track.pose)]
    return FaceTrack(visible, pick(track.landmarks), confidence, None, *parts)


def with_crops(video: Video, times: np.ndarray, track: FaceTrack, size: int) -> FaceTrack:
    """The track with crops aligned by its eyes, one frame in memory at a time.

    A frame then counts as visible where both its row and its picture are there, and show a face. ``crops`` stay
    ``None`` if the track has no eyes or the video cannot be decoded at these times.
    """
    eyes, numbers = track.landmarks.sel(point=["eye_left", "eye_right"]).values, frame_numbers(video, times)
    if not np.isfinite(eyes[track.visible]).all():
        return track
    crops, shown, rows, decoded = (
        np.zeros((times.size, size, size), np.uint8),
        track.visible & False,
        rows_of(numbers),
        0,
    )
    try:
        for number, grey in read_frames(video.path, numbers[track.visible] if track.visible.any() else numbers[:1]):
            decoded += 1
            for row in rows[number]:
                if track.visible[row] and credible(eyes[row], grey.shape):
                    crops[row], shown[row] = align(grey, eyes[row], size), True
    except InputError:
        return track
    if not decoded:
        return track
    return select(track, np.arange(times.size), shown)._replace(crops=crops)


def read_table(path: str | os.PathLike, *, rate: float) -> Table:
    """A csv of OpenFace 2 or py-feat, told apart by its columns; one row per frame, masked where no face was found.

    - OpenFace 2: ``success`` 0 or a value that is no number masks the row; confidence is its own; units are the
      intensities ``AU.._r`` in 0-5 and, for a unit that has none, the presence ``AU.._c`` as ``AU.._present``.
      Frames count from 1.
    - py-feat: a row whose action units are no numbers is masked; confidence is ``FaceScore``; units are
      probabilities ``AU..``; emotions get one spelling (``Happy`` is ``happiness``). Frames count from 0.

    Of several faces in a frame the largest is taken (py-feat), or the surest (OpenFace). Time stamps are used only
    where there are no frame numbers, because they are only as good as the frame rate that the program assumed.

    Parameters
    ----------
    path : csv.
    rate : frames per second of the video, for tables without frame numbers.

    Raises
    ------
    InputError : the file cannot be read, is neither kind of table, or has no row.
    """
    frame = _numbers_of(path)
    names = list(frame.columns)
    kind = _kind(names, path)
    if "frame" in names:
        numbers = frame["frame"].values - (1 if kind == "openface" else 0)
    elif "timestamp" in names:
        numbers = frame["timestamp"].values * rate
    else:
        numbers = np.arange(len(frame), dtype=float)
    order = one_per_frame(frame, numbers, kind)
    if not order.size:
        raise InputError("the table has no row with a frame number", where=path, remedy=REMEDY)
    frame, numbers = frame.iloc[order], np.round(numbers[order]).astype(np.int64)
    return Table(numbers, track_of(frame, kind))


def _numbers_of(path: str | os.PathLike) -> pd.DataFrame:
    """The columns that count, as numbers; NaN where a field is none."""
    if not os.path.isfile(path):
        raise InputError("the table does not exist", where=path, remedy="restore it, or leave the face out")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pd.errors.ParserWarning)
            frame = pd.read_csv(path, usecols=keep, skipinitialspace=True, low_memory=False, on_bad_lines="skip")
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeError, ValueError, OSError) as error:
        what = f"the table cannot be read ({first_line(error)})"
        raise InputError(what, where=path, remedy=REMEDY) from None
    frame.columns = [str(name).strip() for name in frame.columns]
    frame = frame.loc[:, ~frame.columns.duplicated()]
    frame = frame.apply(pd.to_numeric, errors="coerce").astype(float)
    return frame.replace([np.inf, -np.inf], np.nan)


def keep(name: str) -> bool:
    """Whether a column of that name is read."""
    return name.strip() in _WANTED or UNIT.match(name.strip()) is not None


def _kind(names: list[str], path: str | os.PathLike) -> str:
    if any(INTENSITY.fullmatch(name) for name in names) and "success" in names:
        return "openface"
    if any(UNIT.fullmatch(name) for name in names):
        return "pyfeat"
    what = "the table is neither OpenFace's (columns AU.._r and success) nor py-feat's (columns AU..)"
    raise InputError(what, where=path, remedy=REMEDY)


def one_per_frame(frame: pd.DataFrame, numbers: np.ndarray, kind: str) -> np.ndarray:
    """Positions of the rows to keep, one per frame number and in their order: the largest or surest face."""
    rank = np.zeros(len(frame))
    if kind == "pyfeat" and set(BOX) <= set(frame.columns):
        rank = frame[BOX[0]].values * frame[BOX[1]].values
    elif kind == "openface" and "confidence" in frame.columns:
        rank = frame["confidence"].values
    rank = np.nan_to_num(rank, nan=-1.0)
    legal = np.flatnonzero(np.isfinite(numbers) & (np.abs(numbers) < 2**40))
    order = legal[np.lexsort((-rank[legal], np.round(numbers[legal])))]
    _, first = np.unique(np.round(numbers[order]), return_index=True)
    return order[first]


def track_of(frame: pd.DataFrame, kind: str) -> FaceTrack:
    """Columns of a program, all numbers, one row per frame, as a track without crops; see `read_table`."""
    columns = {name: frame[name].values for name in frame.columns}
    if kind == "openface":
        units = {m[1]: columns[n] for n in columns if (m := INTENSITY.fullmatch(n))}
        only = {m[1]: columns[n] for n in columns if (m := PRESENCE.fullmatch(n)) and m[1] not in units}
        units |= {f"{name}_present": values for name, values in only.items()}
        found = columns["success"] > 0.5
        confidence = columns.get("confidence", np.ones(len(frame)))
    else:
        units = {name: values for name, values in columns.items() if UNIT.fullmatch(name)}
        found = np.ones(len(frame), dtype=bool)
        confidence = columns.get("FaceScore", np.ones(len(frame)))
    emotions = {EMOTIONS[n]: columns[n] for n in columns if n in EMOTIONS and kind == "pyfeat"}
    affect = {name: columns[name] for name in AFFECT if name in columns}
    pose = {name: columns[name] for name in POSES[kind] if name in columns}
    visible = np.array(found) & np.isfinite(confidence)
    for part in (units, emotions, affect):
        for values in part.values():
            visible &= np.isfinite(values)
    points = np.full((len(frame), LANDMARKS, 2), np.nan)
    if set(PX) <= set(columns):
        points = np.stack([[columns[f"{axis}_{k}"] for k in range(LANDMARKS)] for axis in "xy"]).transpose(2, 1, 0)
        visible &= np.isfinite(eyes_of(points)).all(axis=(1, 2))
    points[~visible] = np.nan

    def part(values: dict[str, np.ndarray], dim: str, attrs: dict | None = None) -> xr.DataArray | None:
        if not values:
            return None
        table = np.stack(list(values.values()), axis=1).astype(float)
        table[~visible] = np.nan
        return xr.DataArray(table, dims=("frame", dim), coords={dim: list(values)}, attrs=attrs or {})

    return FaceTrack(
        visible,
        label_points(points),
        np.where(visible, np.clip(np.nan_to_num(confidence), 0, 1), 0.0),
        None,
        part(units, "unit", {"prominence": PROMINENCE[kind]}),
        part(emotions, "level"),
        part(affect, "dimension"),
        part(pose, "angle"),
    )
