"""Data sets with a table of trials: one row per trial, and patterns that say in which files its signals are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from bayesaffect.errors import InputError
from bayesaffect.io.description.document import FORMAT, HOW, Description, TableLayout
from bayesaffect.io.description.files import read_signal
from bayesaffect.io.frames import read_frame
from bayesaffect.io.layout import Rating, choose, decode, number
from bayesaffect.io.sessions.bdf import not_physiological
from bayesaffect.io.sessions.video import length_of
from bayesaffect.types import Listing, Omission, Recording, Segment, Source, Target, Video

BEFORE, AFTER = 150.0, 30.0  # s read around a trial: what filters and baselines look at
_FOREVER = 1e7


def scan_table(described: Description, *, targets: tuple[Target, ...]) -> Listing:
    """The trials of the table, one `Source` per row; a row that cannot be used is an omission that names it.

    Raises
    ------
    InputError : no table, a table without its columns, a pattern with an unknown column, or no usable row.
    """
    layout = described.layout
    table = _frame(described)
    ratings = choose(layout.ratings, targets, layout.title)
    _check_patterns(described, table)
    sources, omissions, known = [], [], set()
    for row, cells in table.iterrows():
        where = f"{layout.trials} row {row}"
        try:
            source, missing = _row(described, cells, ratings, where)
            if source.name in known:
                raise InputError(f"repeats the trial {source.name}", where=where, remedy="give it a name of its own")
        except InputError as error:
            omissions.append(Omission(where, error.what, error.remedy or ""))
            continue
        known.add(source.name)
        sources.append(source)
        omissions += missing
    if not any(source.role == "stimulus" for source in sources):
        reason = (
            f", the first of {len(omissions)} reasons: {omissions[0].where} {omissions[0].what}" if omissions else ""
        )
        raise InputError(f"holds no trial that can be used{reason}", where=layout.trials, remedy=HOW)
    return Listing(FORMAT, str(described.path), targets, layout.modalities, tuple(sources), tuple(omissions))


def read_table(
    described: Description, source: Source, *, targets: tuple[Target, ...]
) -> tuple[Recording, tuple[Omission, ...]]:
    """One trial with the signals around it; times are those of the table.

    Without start and stop columns a trial is all that its signals cover together.

    Raises
    ------
    InputError : the row is gone, or none of its signals and videos can be read.
    """
    layout = described.layout
    cells, where = _cells(described, source)
    ratings = choose(layout.ratings, targets, layout.title)
    start, stop = _times(layout, cells, where)
    span = (-_FOREVER, _FOREVER) if start is None else (start - BEFORE, stop + AFTER)
    signals, videos, omissions = {}, {}, []
    for name, wanted in layout.signals.items():
        path = _path(described, wanted.file, cells)
        if path is None or not path.is_file():
            continue  # scan has said so
        try:
            at = _value(layout, cells, wanted.start, f"signals.{name}.start", where)
            signals[name] = read_signal(name, wanted, path, start=at, span=span)
            if not signals[name].attrs.get("plausible", True):
                what = not_physiological(signals[name])
                omissions.append(Omission(str(path), what, "check the units and the electrodes", "modality"))
        except InputError as error:
            omissions.append(Omission.from_error(error, scope="modality", where=path))
    for name, wanted in layout.videos.items():
        path, table = _path(described, wanted.file, cells), None
        if path is None or not path.is_file():
            continue
        try:
            _, stated = length_of(path)
            at = _value(layout, cells, wanted.start, f"videos.{name}.start", where)
            rate = stated if wanted.rate is None else _value(layout, cells, wanted.rate, f"videos.{name}.rate", where)
            if not 0 < rate < 1e4:
                raise InputError(f"has {rate:g} frames per second", where=path, remedy="describe its rate")
            if wanted.table is not None and (found := _path(described, wanted.table, cells)) and found.is_file():
                table = str(found)
            videos[name] = Video(str(path), at, rate, table)
        except InputError as error:
            omissions.append(Omission.from_error(error, scope="modality", where=path))
    if not signals and not videos:
        reason = f" ({omissions[0].where}: {omissions[0].what})" if omissions else ""
        raise InputError(f"no signal and no video of the trial can be read{reason}", where=where, remedy=HOW)
    if start is None:
        start, stop = _covered(signals, where)
    role_neutral = source.role == "neutral"
    stimulus = str(cells.get(layout.columns["stimulus"], "")).strip() or source.name.split("/")[-1]
    truth = {} if role_neutral else _truth(ratings, cells, where)
    version = cells.get(layout.columns["version"])
    version = None if version is None else str(version).strip()
    segment = Segment(source.name, start, stop, "neutral" if role_neutral else stimulus, truth, version)
    recording = Recording(source.subject, where, tuple(targets), signals, (segment,), videos)
    return recording, tuple(omissions)


def _frame(described: Description) -> pd.DataFrame:
    layout = described.layout
    table = read_frame(layout.trials)
    needed = {
        "columns.subject": layout.columns["subject"],
        "columns.trial": layout.columns["trial"],
        **{f"targets.{rating.target.name}.from": rating.name for rating in layout.ratings},
    }
    for key, column in needed.items():
        if column not in table:
            what = f"{key}: the table {layout.trials.name} has no column {column!r}"
            raise InputError(what, where=described.path, remedy=f"it has {', '.join(map(str, table.columns))}")
    if (layout.columns["start"] in table) != (layout.columns["stop"] in table):
        what = f"columns.start and columns.stop: the table {layout.trials.name} has only one of them"
        raise InputError(what, where=described.path, remedy="give both, or none to take whole files")
    return table


def _check_patterns(described: Description, table: pd.DataFrame) -> None:
    layout = described.layout
    patterns = {f"signals.{name}.file": wanted.file for name, wanted in layout.signals.items()}
    columns = {f"signals.{name}.start": wanted.start for name, wanted in layout.signals.items()}
    for name, wanted in layout.videos.items():
        patterns |= {f"videos.{name}.file": wanted.file, f"videos.{name}.table": wanted.table or ""}
        columns |= {f"videos.{name}.start": wanted.start, f"videos.{name}.rate": wanted.rate}
    asked = [(key, column) for key, pattern in patterns.items() for column, _ in _fields(pattern)]
    asked += [(key, column) for key, column in columns.items() if isinstance(column, str)]
    for key, column in asked:
        if column not in table:
            what = f"{key}: the table {layout.trials.name} has no column {column!r}"
            raise InputError(what, where=described.path, remedy=f"it has {', '.join(map(str, table.columns))}")


def _row(
    described: Description, cells: Mapping[str, str], ratings: tuple[Rating, ...], where: str
) -> tuple[Source, list[Omission]]:
    """The source of a row, and its missing files."""
    layout = described.layout
    subject, trial = (str(cells[layout.columns[key]]).strip() for key in ("subject", "trial"))
    if not subject or not trial:
        raise InputError("names no subject or no trial", where=where, remedy="fill in both")
    if not all(re.fullmatch(r"\w[\w .+-]*", name) for name in (subject, trial)):
        what = f"calls its subject {subject!r} and its trial {trial!r}"
        raise InputError(
            what, where=where, remedy="use letters, digits, space and . + - _ only, a letter or digit first"
        )
    role = str(cells.get(layout.columns["role"], "")).strip().lower() or "stimulus"
    if role not in ("stimulus", "neutral"):
        raise InputError(f"has the role {role!r}", where=where, remedy='use "stimulus" or "neutral"')
    _times(layout, cells, where)
    if role == "stimulus" and not _truth(ratings, cells, where):
        raise InputError("has no rating", where=where, remedy="the trial is of no use without one")
    name, files, missing = f"{subject}/{trial}", [], []
    for kind, wanted in [*layout.signals.items(), *layout.videos.items()]:
        path = _path(described, wanted.file, cells)
        if path is None or not path.is_file():
            what = f"{kind}: there is no file {path}" if path else f"{kind}: row {where.split()[-1]} names no file"
            missing.append(Omission(name, what, f"restore it or leave {kind} out", "modality"))
            continue
        files.append(str(path))
        table = _path(described, getattr(wanted, "table", None) or "", cells)
        if table is not None and table.is_file():
            files.append(str(table))
        elif table is not None:
            what = f"{kind}: there is no table {table} of the video"
            missing.append(Omission(name, what, f"restore it, or remove videos.{kind}.table", "modality"))
    if not files:
        raise InputError(f"has none of its files ({missing[0].what})", where=where, remedy="restore one of them")
    files += [str(layout.trials), str(described.path)]
    return Source(name, subject, tuple(dict.fromkeys(files)), role), missing


def _cells(described: Description, source: Source) -> tuple[Mapping[str, str], str]:
    layout = described.layout
    table = _frame(described)
    subject, trial = (table[layout.columns[key]].astype(str).str.strip() for key in ("subject", "trial"))
    rows = table.index[(subject + "/" + trial == source.name).to_numpy()]
    if not len(rows):
        raise InputError(f"has no trial {source.name} any more", where=layout.trials, remedy="scan the data set again")
    return table.loc[rows[0]], f"{layout.trials} row {rows[0]}"


def _times(layout: TableLayout, cells: Mapping[str, str], where: str) -> tuple[float | None, float | None]:
    if layout.columns["start"] not in cells:
        return None, None
    start, stop = (number(str(cells[layout.columns[key]])) for key in ("start", "stop"))
    if start is None or stop is None or not start < stop:
        said = [str(cells[layout.columns[key]]) for key in ("start", "stop")]
        raise InputError(f"runs from {said[0]!r} to {said[1]!r} s", where=where, remedy="give start < stop in seconds")
    return start, stop


def _truth(ratings: tuple[Rating, ...], cells: Mapping[str, str], where: str) -> dict[str, float | str]:
    answers = {r.target.name: decode(r, str(cells[r.name]), where=where) for r in ratings}
    return {name: answer for name, answer in answers.items() if answer is not None}


def _value(layout: TableLayout, cells: Mapping[str, str], given: float | str, key: str, where: str) -> float:
    if not isinstance(given, str):
        return given
    value = number(str(cells[given]))
    if value is None:
        raise InputError(f"{key}: the cell {given!r} is {cells[given]!r}", where=where, remedy="fill in a number")
    return value


def _covered(signals: Mapping, where: str) -> tuple[float, float]:
    """The stretch that all signals cover."""
    if not signals:
        raise InputError("has neither start and stop nor any signal", where=where, remedy="add the two columns")
    start = max(float(s["time"][0]) for s in signals.values())
    stop = min(float(s["time"][-1]) + 1 / s.attrs.get("sampling_rate", 1e9) for s in signals.values())
    if not start < stop:
        raise InputError("its signals share no stretch of time", where=where, remedy="add start and stop to the table")
    return start, stop


def _fields(pattern: str) -> list[tuple[str, str]]:
    """(column, digits) of every {column} and {column:03} in a pattern."""
    return re.findall(r"\{([^{}:]+)(?::0?(\d+))?\}", pattern)


def _path(described: Description, pattern: str, cells: Mapping[str, str]) -> Path | None:
    """The file that a pattern names for a row; ``None`` where a cell it needs is empty."""
    if not pattern:
        return None
    values = {column: str(cells[column]).strip() for column, _ in _fields(pattern)}
    if not all(values.values()):
        return None

    def fill(found: re.Match) -> str:
        text, digits = values[found[1]], found[2]
        return text.zfill(int(digits)) if digits else text

    return described.home / re.sub(r"\{([^{}:]+)(?::0?(\d+))?\}", fill, pattern)
