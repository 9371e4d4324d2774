"""From a recording to trials: one window per segment, every modality cut, cleaned and judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.signals.window import Block, cut_windows
from bayesaffect.types import Omission, Recording, Segment, Target, Trials

EEG_INPUTS = ("maps", "raw")


@dataclass(frozen=True)
class Extraction:
    """Settings of `extract`.

    Parameters
    ----------
    window_s : seconds taken from each segment; ``None`` takes segments whole, which must then be equally long.
    anchor : ``"end"``, the last seconds of a segment, or ``"start"``, the first.
    eeg_frame_s : length of a frame of band power in s.
    eeg_input : what networks read of EEG: ``maps`` of band power, or ``raw`` windows beside them.
    line_frequency : mains in Hz.
    connectivity : also measure the connectivity of EEG channels (not read by networks; the slowest part of EEG).
    face_backend : what finds faces: ``embedded``, ``pyfeat``, or ``tables`` of an external analysis beside the videos.
    face_rate, face_size : faces per second, and side of a crop in px.
    series_rate : samples per second of physiological series.
    minimum_quality : a modality below it is masked in that trial and listed.
    """

    window_s: float | None = 30.0
    anchor: str = "end"
    eeg_frame_s: float = 1.0
    eeg_input: str = "maps"
    line_frequency: float = 50.0
    connectivity: bool = True
    face_backend: str = "embedded"
    face_rate: float = 4.0
    face_size: int = 48
    series_rate: float = 4.0
    minimum_quality: float = 0.1

    def __post_init__(self):
        if self.eeg_input not in EEG_INPUTS:
            what = f"networks cannot read {self.eeg_input!r} of EEG"
            raise InputError(what, remedy=f"choose one of {', '.join(EEG_INPUTS)}")


def extract(recording: Recording, modalities: Mapping[str, tuple[str, ...]], settings: Extraction) -> Trials:
    """Inputs, presence, quality and truth of a recording's trials.

    A modality that includes a video is a face, one that includes a signal ``"eeg"`` is EEG, any other is made
    of physiological series; ``attrs["encoder"]`` of its Dataset says which. Whatever cannot be used is listed in
    ``omissions``: a trial whose window does not fit (left out), a modality of which the recording has nothing or
    that cannot be read (left out of ``inputs``), a modality that fails or is too poor in one trial (masked), a rating
    outside its scale (missing truth).

    Parameters
    ----------
    recording : one subject's signals and videos on one clock.
    modalities : modality -> names of the signals and videos it is made from.
    settings : window, rates and thresholds.

    Raises
    ------
    InputError : no trial fits the window, or no modality could be read at all.
    """
    segments, windows, omissions = cut_windows(recording, settings.window_s, anchor=settings.anchor)
    omissions = list(omissions)
    if not segments:
        reason = omissions[0].what if omissions else "it has no segments"
        raise InputError(
            f"no trial is left: {reason}", where=recording.source, remedy=omissions[0].remedy if omissions else None
        )
    blocks: dict[str, Block] = {}
    for modality, names in modalities.items():
        try:
            blocks[modality] = _block(recording, names, windows, settings)
        except InputError as error:
            where = recording.source if error.where is None else error.where
            remedy = error.remedy or "the trials go on without this modality"
            omissions.append(Omission(where, f"{modality}: {error.what}", remedy, "modality"))
            continue
        if missing := [name for name in names if name not in recording.signals and name not in recording.videos]:
            what = f"{modality}: the recording has no {', '.join(missing)}"
            omissions.append(Omission(recording.source, what, "the modality goes on with the others", "modality"))
    if not blocks:
        reason = omissions[-1].what if omissions else "none was asked for"
        raise InputError(
            f"none of the modalities {list(modalities)} can be used ({reason})",
            where=recording.source,
            remedy="look at the other recordings, or leave this one out",
        )
    trial = [segment.trial for segment in segments]
    inputs, measures = {}, {}
    for modality, block in blocks.items():
        block, left_out = _mask(block, modality, trial, settings.minimum_quality)
        blocks[modality] = block
        omissions += left_out
        inputs[modality] = block.data.assign_coords(trial=trial)
        if block.measures is not None:
            measures[modality] = block.measures.assign_coords(trial=trial)
    coords = {
        "trial": trial,
        "modality": list(blocks),
        "subject": ("trial", [recording.subject] * len(trial)),
        "stimulus": ("trial", [segment.stimulus for segment in segments]),
    }
    if any(segment.version is not None for segment in segments):
        coords["version"] = ("trial", [segment.version or "" for segment in segments])
    dims = ("trial", "modality")
    present = xr.DataArray(np.stack([b.present for b in blocks.values()], axis=1), dims=dims, coords=coords)
    quality = xr.DataArray(np.stack([b.quality for b in blocks.values()], axis=1), dims=dims, coords=coords)
    truth, wrong = _truth(segments, recording.targets)
    return Trials(recording.targets, inputs, present, truth, quality, tuple(omissions + wrong), measures)


def _block(recording: Recording, names: tuple[str, ...], windows, settings: Extraction) -> Block:
    """The block of one modality; each family is imported only when it is needed."""
    videos = [name for name in names if name in recording.videos]
    signals = tuple(name for name in names if name in recording.signals)
    if videos:
        from bayesaffect.signals import face

        family = "face"
        block = face.extract_block(
            recording.videos[videos[0]],
            windows,
            rate=settings.face_rate,
            size=settings.face_size,
            backend=settings.face_backend,
        )
    elif "eeg" in signals:
        from bayesaffect.signals import eeg

        family = "eeg"
        block = eeg.extract_block(
            recording.signals["eeg"],
            windows,
            frame_s=settings.eeg_frame_s,
            raw=settings.eeg_input == "raw",
            line_frequency=settings.line_frequency,
            connectivity=settings.connectivity,
        )
    elif signals:
        from bayesaffect.signals import physio

        family = "physio"
        block = physio.extract_block(recording.signals, windows, names=names, rate=settings.series_rate)
    else:
        raise InputError(
            f"the recording has none of {', '.join(names)}", remedy="the trials go on without this modality"
        )
    return block._replace(data=block.data.assign_attrs(encoder=block.data.attrs.get("encoder", family)))


def _mask(block: Block, modality: str, trial: list[str], minimum: float) -> tuple[Block, list[Omission]]:
    """The block with what is absent or too poor blanked (NaN in floats, 0 in integers), and a line for each."""
    present, quality = np.asarray(block.present, bool), np.clip(np.asarray(block.quality, float), 0, 1)
    omissions = []
    for k, name in enumerate(trial):
        if not present[k]:
            remedy = "the trial goes on without this modality; check the sensor or the file"
            omissions.append(Omission(name, f"{modality}: {block.reasons[k]}", remedy, "modality"))
        elif quality[k] < minimum:
            what = f"{modality}: quality {quality[k]:.2f} is below {minimum:g}"
            omissions.append(Omission(name, what, "masked; lower minimum_quality to keep it", "modality"))
    present = present & (quality >= minimum)
    quality = np.where(np.asarray(block.present, bool), quality, 0.0)

    def blank(array: xr.DataArray) -> xr.DataArray:
        values = array.values.copy()
        values[~present] = np.nan if values.dtype.kind == "f" else 0
        return array.copy(data=values)

    measures = None if block.measures is None else block.measures.map(blank, keep_attrs=True)
    data = block.data.map(blank, keep_attrs=True)
    return block._replace(data=data, present=present, quality=quality, measures=measures), omissions


def _truth(segments: tuple[Segment, ...], targets: tuple[Target, ...]) -> tuple[xr.Dataset, list[Omission]]:
    """Ratings on [-1, 1] and levels as indices; what is not on its scale is missing and listed."""
    columns, omissions = {}, []
    for target in targets:
        column = []
        for segment in segments:
            value = segment.truth.get(target.name)
            try:
                column.append(_code(value, target))
            except InputError as error:
                omissions.append(Omission(segment.trial, error.what, error.remedy or ""))
                column.append(_code(None, target))
        columns[target.name] = ("trial", np.array(column, dtype=float if target.kind == "continuous" else np.int64))
    return xr.Dataset(columns, coords={"trial": [segment.trial for segment in segments]}), omissions


def _code(value: float | str | None, target: Target) -> float | int:
    if target.kind == "categorical":
        if value is None:
            return -1
        if value not in target.levels:
            raise InputError(
                f"{target.name} is {value!r}, not one of {list(target.levels)}", remedy="its truth is taken as missing"
            )
        return target.levels.index(value)
    try:
        rating = np.nan if value is None else float(value)
    except (TypeError, ValueError):
        rating = np.inf
    low, high = target.bounds
    if not (np.isnan(rating) or low <= rating <= high):
        raise InputError(
            f"{target.name} is {value!r}, outside {low:g}..{high:g}", remedy="its truth is taken as missing"
        )
    return float(target.to_unit(rating))
