"""Data sets of session folders, each with a session.xml, a BDF and perhaps a colour video (MAHNOB-HCI and its kin)."""

from __future__ import annotations

import os
from pathlib import Path

from bayesaffect.errors import InputError
from bayesaffect.io.layout import Rating, SessionLayout, choose, decode
from bayesaffect.io.sessions.bdf import read_bdf
from bayesaffect.io.sessions.sheet import Sheet, read_sheet
from bayesaffect.io.sessions.video import WAYS, align_video
from bayesaffect.types import Listing, Omission, Recording, Segment, Source, Target


def scan_sessions(
    folder: str | os.PathLike, layout: SessionLayout, *, targets: tuple[Target, ...], extra: tuple[str, ...] = ()
) -> Listing:
    """What a folder of sessions holds, found by reading its session.xml files only.

    Every session folder becomes a `Source` or is named as the ``where`` of an `Omission`. ``extra`` files
    (a description, say) come after every source's own.

    Raises
    ------
    InputError : the folder is not there, holds no session, or no stimulus session that can be used.
    """
    folder = Path(folder)
    ratings = choose(layout.ratings, targets, layout.title)
    found: dict[str, tuple[Sheet, Source]] = {}
    omissions: list[Omission] = []
    for session in _session_folders(folder, layout):
        try:
            sheet = _look(session, ratings)
            if sheet.name in found:
                other = found[sheet.name][0].path.parent.name
                what = f"holds the same subject and trial ({sheet.name}) as {other}"
                raise InputError(what, where=session / "session.xml", remedy="remove one of the two folders")
        except InputError as error:
            where = str(error.where or "")
            named = "" if where in ("", str(session)) or error.what.startswith(Path(where).name) else Path(where).name
            what = f"{named} {error.what}".strip()
            omissions.append(Omission(str(session), what, error.remedy or ""))
            continue
        files, missing = _files(sheet, layout)
        omissions += missing
        role = "stimulus" if sheet.stimulus else "neutral"
        found[sheet.name] = sheet, Source(sheet.name, sheet.subject, (*files, *extra), role)
    usable = {sheet.subject for sheet, _ in found.values() if sheet.stimulus}
    for sheet, _ in [pair for pair in found.values() if pair[0].subject not in usable]:
        del found[sheet.name]
        what = "a neutral clip of a subject without any stimulus session that can be used"
        omissions = [o for o in omissions if not o.where.startswith(str(sheet.path.parent) + os.sep)]
        omissions.append(Omission(str(sheet.path.parent), what, "restore the subject's stimulus sessions"))
    if not found:
        what = f"holds no {layout.title} stimulus session"
        if omissions:
            first = omissions[0]
            what += f" that can be used, the first of {len(omissions)} reasons: {first.where} {first.what}"
        raise InputError(what, where=folder, remedy=layout.obtain)
    sources = tuple(source for _, source in sorted(found.values(), key=lambda pair: pair[0].order))
    return Listing(layout.format, str(folder), targets, layout.modalities, sources, tuple(omissions))


def _session_folders(folder: Path, layout: SessionLayout) -> list[Path]:
    home = folder / "Sessions" if (folder / "Sessions").is_dir() else folder
    if not home.is_dir():
        what = "is a file, not a folder" if home.is_file() else "there is no such folder"
        raise InputError(what, where=folder, remedy=layout.obtain)
    inside = [f for f in home.iterdir() if f.is_dir() and not f.name.startswith(".")]
    sessions = [f for f in inside if f.name.isdigit() or (f / "session.xml").exists()]
    if not sessions:
        raise InputError(f"holds no {layout.title} session", where=folder, remedy=layout.obtain)
    chosen = inside if home.name == "Sessions" else sessions
    return sorted(chosen, key=lambda f: (len(f.name), f.name))


def _look(session: Path, ratings: tuple[Rating, ...]) -> Sheet:
    """The session.xml of a folder, if it names a recording that is there and, for a stimulus, any answer."""
    sheet = read_sheet(session / "session.xml")
    if not sheet.bdf.is_file():
        what = f"names the BDF {sheet.bdf.name!r}, which is missing"
        raise InputError(what, where=sheet.path, remedy="copy it from the data base")
    if sheet.stimulus and not _truth(sheet, ratings):
        names = ", ".join(rating.name for rating in ratings)
        what = f"has no felt* rating ({names})" if names else "was asked for no target"
        raise InputError(what, where=sheet.path, remedy="the trial is of no use without one")
    return sheet


def _files(sheet: Sheet, layout: SessionLayout) -> tuple[tuple[str, ...], list[Omission]]:
    """XML, BDF, and where they are there the video and its table; a missing video is one omission."""
    files = [sheet.path, sheet.bdf]
    if "face" not in {name for names in layout.modalities.values() for name in names}:
        return tuple(str(f) for f in files), []
    if sheet.avi is None or not sheet.avi.is_file():
        where = str(sheet.avi or sheet.path)
        gone = Omission(where, "the colour video is missing", "copy it from the data base", "modality")
        return tuple(str(f) for f in files), [gone]
    files.append(sheet.avi)
    missing = []
    table = sheet.path.parent / (layout.video_table or "{video}.csv").replace("{video}", sheet.avi.stem)
    if table.is_file():
        files.append(table)
    elif layout.video_table is not None:
        remedy = "analyse the video, or remove video.table from the description"
        missing.append(Omission(str(table), "the table of the video is missing", remedy, "modality"))
    return tuple(str(f) for f in files), missing


def read_session(
    source: Source, layout: SessionLayout, *, targets: tuple[Target, ...], align: str | None = None
) -> tuple[Recording, tuple[Omission, ...]]:
    """One session as a `Recording`; time 0 is the first sample of its BDF (see `bayesaffect.io.mahnob.read`)."""
    align = align or layout.align
    if align not in WAYS:
        raise InputError(f"alignment {align!r} is unknown", remedy='use "audio-clock" or "centred"')
    ratings = choose(layout.ratings, targets, layout.title)
    xml, bdf, *more = (file for file in source.files if Path(file).suffix.lower() != ".toml")
    sheet = read_sheet(Path(xml))
    signals, span, omissions = read_bdf(Path(bdf), layout.signals, trigger=layout.trigger, mask=layout.mask)
    film = {}
    for path, table in zip(more[:1], [*more[1:2], None], strict=False):
        try:
            video = align_video(path, sheet, span, align=align, rate=layout.video_rate)
            film["face"] = video if table is None else type(video)(video.path, video.start, video.rate, table)
        except InputError as error:
            omissions.append(Omission.from_error(error, scope="modality"))
    truth = _truth(sheet, ratings) if sheet.stimulus else {}
    segment = Segment(sheet.name, *span, sheet.stimulus_name, truth)
    baseline = (0.0, span[0]) if span[0] > 1.0 else None
    recording = Recording(sheet.subject, str(bdf), tuple(targets), signals, (segment,), film, baseline)
    return recording, tuple(omissions)


def _truth(sheet: Sheet, ratings: tuple[Rating, ...]) -> dict[str, float | str]:
    """The answers that were given, for the ratings that are wanted."""
    answers = {r.target.name: decode(r, sheet.attributes.get(r.name), where=str(sheet.path)) for r in ratings}
    return {name: answer for name, answer in answers.items() if answer is not None}
