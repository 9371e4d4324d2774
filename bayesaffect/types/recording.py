"""What a reader hands on: where recordings lie, what they hold, what was left out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.types.target import Target


@dataclass(frozen=True)
class Omission:
    """Something left out: where it is, why, and what would bring it in. ``scope``: trial, modality or recording."""

    where: str
    what: str
    remedy: str = ""
    scope: str = "trial"

    @classmethod
    def from_error(cls, error: InputError, *, scope: str = "trial", where: str | os.PathLike | None = None) -> Omission:
        """The omission that an `InputError` caused."""
        return cls(error.where or str(where or "?"), error.what, error.remedy or "", scope)


@dataclass(frozen=True)
class Segment:
    """One trial inside a recording: from ``start`` to ``stop`` seconds on the recording's clock.

    ``truth`` holds ratings in their own units (float) or level names (str); an absent name is missing. ``version``
    names that of the session, the recording or the device, where a data set has several.
    """

    trial: str
    start: float
    stop: float
    stimulus: str
    truth: Mapping[str, float | str] = field(default_factory=dict)
    version: str | None = None

    def __post_init__(self):
        if not self.stop > self.start:
            raise InputError(f"segment runs from {self.start} s to {self.stop} s", where=self.trial)


@dataclass(frozen=True)
class Video:
    """A video file; its frame k was taken at ``start + k / rate`` seconds on the recording's clock.

    ``table`` is the file of an external face analysis of this video (OpenFace 2 or py-feat csv), where there is one.
    """

    path: str
    start: float
    rate: float
    table: str | None = None


@dataclass(frozen=True)
class Source:
    """A recording on disk that has not been read yet: its name, its subject, and the files it consists of.

    ``role`` is ``"stimulus"`` for trials that are analysed, ``"neutral"`` for a resting clip without ratings that
    only tells where the subject's zero lies.
    """

    name: str
    subject: str
    files: tuple[str, ...]
    role: str = "stimulus"


@dataclass(frozen=True)
class Listing:
    """What a reader found in a folder, before anything large is opened.

    ``modalities`` maps a modality to the names of the signals and videos it is made from, such as
    ``{"physio": ("ecg", "eda", "respiration", "temperature")}``; ``omissions`` say what cannot be read and why.
    """

    format: str
    folder: str
    targets: tuple[Target, ...]
    modalities: Mapping[str, tuple[str, ...]]
    sources: tuple[Source, ...]
    omissions: tuple[Omission, ...] = ()


@dataclass(frozen=True)
class Recording:
    """One subject's measurements on one clock, as read from disk.

    Parameters
    ----------
    subject : identifier, the same in every recording of this person.
    source : file or folder it was read from; messages name it.
    targets : the targets its segments may carry truth for.
    signals : name -> DataArray (channel, time); coordinate ``time`` in s, strictly increasing;
        ``attrs["units"]`` one unit for the array, and ``attrs["sampling_rate"]`` in Hz where it is regular.
    segments : the trials.
    videos : name -> `Video`, decoded later and never held in memory whole.
    baseline : a neutral stretch (start, stop) in s before the stimulus, where there is one.
    """

    subject: str
    source: str
    targets: tuple[Target, ...]
    signals: Mapping[str, xr.DataArray]
    segments: tuple[Segment, ...]
    videos: Mapping[str, Video] = field(default_factory=dict)
    baseline: tuple[float, float] | None = None

    def __post_init__(self):
        for name, array in self.signals.items():
            if array.dims != ("channel", "time"):
                raise InputError(f"signal {name!r} has dims {array.dims}, not (channel, time)", where=self.source)
            if not array.attrs.get("units"):
                raise InputError(f"signal {name!r} has no units", where=self.source, remedy='set attrs["units"]')
            if np.any(np.diff(array["time"].values) <= 0):
                raise InputError(f"times of signal {name!r} are not increasing", where=self.source)
