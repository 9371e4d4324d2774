"""The file that describes a laboratory's data set, checked key by key."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bayesaffect.errors import InputError
from bayesaffect.io.description import keys as check
from bayesaffect.io.description.keys import Keys
from bayesaffect.io.layout import Rating, Sensor, SessionLayout
from bayesaffect.types import Target

FORMAT = "description"
HOW = (
    "a data set is described by a .toml file; `bayesaffect describe FILE.toml` writes one to fill in. Data under a "
    "licence must be signed for at their site, and lie where the file says"
)
_ANSWERS = {"valence": "feltVlnc", "arousal": "feltArsl", "emotion": "feltEmo"}
_COLUMNS = ("subject", "trial", "stimulus", "start", "stop", "role", "version")


@dataclass(frozen=True)
class FileSignal:
    """A signal in files of its own: pattern of their names, what is in them, and the time of their first sample.

    ``start`` is a number of seconds or the name of a column; ``time`` the column of sample times in s, ``array`` the
    name in an NPZ file. Without ``sensor.channels`` all channels of the file are taken.
    """

    file: str
    sensor: Sensor
    start: float | str = 0.0
    time: str | None = None
    array: str | None = None


@dataclass(frozen=True)
class FileVideo:
    """A video in files of its own; ``start`` and ``rate`` are numbers or columns, ``table`` the pattern of its csv."""

    file: str
    start: float | str = 0.0
    rate: float | str | None = None
    table: str | None = None


@dataclass(frozen=True)
class TableLayout:
    """A data set with a table of trials: its path, its columns by meaning, and the files its rows point to."""

    title: str
    trials: Path
    columns: Mapping[str, str]
    ratings: tuple[Rating, ...]
    signals: Mapping[str, FileSignal]
    videos: Mapping[str, FileVideo]
    modalities: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Description:
    """A checked description: where it lies, the folder of the data, and one of the two layouts."""

    path: Path
    home: Path
    layout: SessionLayout | TableLayout


def load(path: Path) -> Description:
    """Read a description and check every key.

    Raises
    ------
    InputError : no such file, no TOML, or a key that is unknown, missing, of the wrong type or out of its range.
    """
    if not path.is_file():
        raise InputError("there is no such description", where=path, remedy=HOW)
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"is no readable TOML ({reason})", where=path, remedy=HOW) from None
    top = Keys(raw, path, "")
    kind = top.take("layout", check.one_of("mahnob", "table"))
    title = top.take("title", check.text, path.stem)
    ratings = _ratings(top, kind)
    if kind == "mahnob":
        home = path.parent / top.take("sessions", check.text, ".")
        if not home.is_dir():
            raise InputError(f"sessions: there is no folder {str(home)!r}", where=path, remedy="correct the path")
        layout = _sessions(top, title, ratings)
    else:
        home = path.parent
        layout = _table(top, title, ratings)
    top.done()
    return Description(path, home, layout)


def _sessions(top: Keys, title: str, ratings: tuple[Rating, ...]) -> SessionLayout:
    signals = {}
    for name, keys in top.tables("signals").items():
        signals[name] = _sensor(keys, required=True)
        keys.done()
    video, trigger = top.table("video"), top.table("trigger")
    layout = SessionLayout(
        format=FORMAT,
        title=title,
        ratings=ratings,
        signals=signals,
        modalities=_modalities(top, signals, ("face",)),
        trigger=trigger.take("channel", check.text, "Status"),
        mask=trigger.take("mask", check.whole, 0xFFFF),
        video_rate=video.take("rate", check.positive, None),
        video_table=video.take("table", check.text, None),
        align=video.take("align", check.one_of("audio-clock", "centred"), "audio-clock"),
        obtain=HOW,
    )
    video.done()
    trigger.done()
    return layout


def _table(top: Keys, title: str, ratings: tuple[Rating, ...]) -> TableLayout:
    trials = top.path.parent / top.take("trials", check.text)
    if not trials.is_file():
        raise InputError(f"trials: there is no file {str(trials)!r}", where=top.path, remedy="correct the path")
    named, columns = top.table("columns"), {}
    for meaning in _COLUMNS:
        columns[meaning] = named.take(meaning, check.text, meaning)
    named.done()
    signals, videos = {}, {}
    for name, keys in top.tables("signals").items():
        file, time = keys.take("file", check.text), keys.take("time", check.text, None)
        start, array = keys.take("start", check.number_or_text, 0.0), keys.take("array", check.text, None)
        signals[name] = FileSignal(file, _sensor(keys, required=False), start, time, array)
        keys.done()
        if time is not None and signals[name].sensor.rate is not None:
            keys.fail("rate", "is given beside time", "give one of the two")
    for name, keys in top.tables("videos").items():
        file, table = keys.take("file", check.text), keys.take("table", check.text, None)
        start, rate = keys.take("start", check.number_or_text, 0.0), keys.take("rate", check.positive_or_text, None)
        videos[name] = FileVideo(file, start, rate, table)
        keys.done()
        if name in signals:
            keys.fail("file", "belongs to a video that is called like a signal", "rename one of them")
    return TableLayout(title, trials, columns, ratings, signals, videos, _modalities(top, signals, tuple(videos)))


def _sensor(keys: Keys, *, required: bool) -> Sensor:
    channels = keys.take("channels", check.texts, *([] if required else [()]))
    unit, rate = keys.take("units", check.unit, None), keys.take("rate", check.positive, None)
    return Sensor(channels, unit, None, rate)


def _modalities(top: Keys, signals: Mapping[str, Any], videos: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """[modalities], or else EEG, face and all other signals as physio."""
    if not signals and not videos:
        top.fail("signals", "is missing", "describe at least one signal as [signals.NAME]")
    keys = top.table("modalities")
    if not keys.raw:
        other = tuple(name for name in signals if name != "eeg")
        found = {"eeg": ("eeg",) if "eeg" in signals else (), **{v: (v,) for v in videos}, "physio": other}
        return {name: parts for name, parts in found.items() if parts}
    found = {name: keys.take(name, check.texts) for name in list(keys.raw)}
    for name, parts in found.items():
        for part in parts:
            if part not in signals and part not in videos:
                keys.fail(name, f"names {part!r}, which is no signal", f"there are {[*signals, *videos]}")
    return found


def _ratings(top: Keys, kind: str) -> tuple[Rating, ...]:
    ratings = []
    for name, keys in top.tables("targets").items():
        written = keys.take("from", check.text, _ANSWERS.get(name, name) if kind == "mahnob" else name)
        bounds, levels = keys.take("bounds", check.bounds, None), keys.take("levels", check.levels, None)
        missing, missing_to = keys.take("missing", check.missing, ((), -math.inf))
        keys.done()
        if (bounds is None) == (levels is None):
            keys.fail("bounds", "and levels: exactly one of them is needed", "bounds = [low, high] or levels = [...]")
        if bounds is not None:
            ratings.append(Rating(Target(name, bounds=bounds), written, {}, missing, missing_to))
            continue
        codes = levels if isinstance(levels, dict) else {level: level for level in levels}
        target = Target(name, levels=tuple(dict.fromkeys(codes.values())))
        ratings.append(Rating(target, written, codes, missing, missing_to, strict=not isinstance(levels, dict)))
    if not ratings:
        top.fail("targets", "is missing", "describe at least one rating as [targets.NAME]")
    return tuple(ratings)
