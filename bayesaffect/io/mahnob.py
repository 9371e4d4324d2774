"""The door for MAHNOB-HCI: ``Sessions/<sid>/`` with session.xml, a BDF and a colour video per film clip.

`scan` looks at the XML files only; `read` opens one session. Ratings are 1..9; the nine emotion keywords are levels.
Data base: Soleymani, Lichtenauer, Pun, Pantic (2012), A multimodal database for affect recognition and implicit
tagging, IEEE Transactions on Affective Computing 3(1).
"""

from __future__ import annotations

import math
import os
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

import cv2

from bayesaffect.errors import InputError
from bayesaffect.io.mahnob_bdf import read_bdf
from bayesaffect.types import Listing, Omission, Recording, Segment, Source, Target, Video

FORMAT = "mahnob"
KEYWORDS = {
    0: "neutral",
    1: "anger",
    2: "disgust",
    3: "fear",
    4: "joy",
    5: "sadness",
    6: "surprise",
    11: "amusement",
    12: "anxiety",
}
TARGETS = (
    Target("valence", bounds=(1, 9)),
    Target("arousal", bounds=(1, 9)),
    Target("emotion", levels=tuple(KEYWORDS.values())),
)
MODALITIES = {"eeg": ("eeg",), "face": ("face",), "physio": ("ecg", "eda", "respiration", "temperature")}

_RATING = {"valence": "feltVlnc", "arousal": "feltArsl"}
_OBTAIN = (
    "the data need a licence signed at the MAHNOB-HCI site; unpack them so that Sessions/<number>/session.xml "
    "lies below this folder, or simulate a set of the same form"
)


def scan(folder: str | os.PathLike, *, targets: tuple[Target, ...] = TARGETS) -> Listing:
    """What a MAHNOB-HCI folder holds, found by reading its session.xml files.

    Parameters
    ----------
    folder : the folder that holds ``Sessions`` (or ``Sessions`` itself).
    targets : those of `TARGETS` that are wanted.

    Sources are the stimulus sessions (isStim="1") in the order of subject and trial, named "S03/T07". Left out, and
    listed as omissions: sessions without session.xml, BDF or any felt* rating, with an unreadable XML, or with a
    rating above 9. A session without its colour video stays, with an omission of scope "modality".

    Raises
    ------
    InputError : the folder is not there, holds no session, or none that can be used.
    """
    folder = Path(folder)
    home = folder / "Sessions" if (folder / "Sessions").is_dir() else folder
    if not home.is_dir():
        raise InputError("there is no such folder", where=folder, remedy=_OBTAIN)
    folders = [f for f in home.iterdir() if f.is_dir() and (f.name.isdigit() or (f / "session.xml").exists())]
    if not folders:
        raise InputError("holds no MAHNOB-HCI session", where=folder, remedy=_OBTAIN)
    found, omissions = [], []
    for session in sorted(folders, key=lambda f: (len(f.name), f.name)):
        try:
            sheet = _read_sheet(session / "session.xml")
            if not sheet.stimulus:
                continue
            if not sheet.bdf.is_file():
                raise InputError(
                    "the BDF named in session.xml is missing", where=sheet.bdf, remedy="copy it from the data base"
                )
            if not _truth(sheet, targets):
                raise InputError(
                    "has no felt* rating", where=session / "session.xml", remedy="the trial is of no use without one"
                )
        except InputError as error:
            omissions.append(Omission.from_error(error, where=session))
            continue
        files = [session / "session.xml", sheet.bdf]
        if sheet.avi is not None and sheet.avi.is_file():
            files.append(sheet.avi)
        else:
            where = str(sheet.avi or session / "session.xml")
            omissions.append(Omission(where, "the colour video is missing", "copy it from the data base", "modality"))
        source = Source(sheet.name, sheet.subject, tuple(str(f) for f in files))
        found.append(((sheet.number, sheet.trial), source))
    if not found:
        raise InputError(
            f"holds no stimulus session that can be used, the first of {len(omissions)} reasons: "
            f"{omissions[0].where} {omissions[0].what}"
            if omissions
            else "holds no stimulus session",
            where=folder,
            remedy=_OBTAIN,
        )
    sources = tuple(source for _, source in sorted(found, key=lambda pair: pair[0]))
    return Listing(FORMAT, str(folder), tuple(targets), MODALITIES, sources, tuple(omissions))


def read(
    source: Source, *, targets: tuple[Target, ...] = TARGETS, align: str = "audio-clock"
) -> tuple[Recording, tuple[Omission, ...]]:
    """One session as a `Recording`; time 0 is the first sample of its BDF.

    Signals: ``eeg`` (32 channels, uV, no reference), ``ecg`` (EXG1-3, uV), ``eda`` (uS), ``respiration`` (uV),
    ``temperature`` (degC). Channels are found by name whatever their case. A signal with a channel missing is left out
    (omission of scope "modality"), and so is a video that cannot be opened or aligned.

    The one segment lies between the two rising edges of Status (16 bits; idle level = its most frequent value).
    Its truth holds the ratings that are given: 0 and below is missing, and so is an emotion code that is none of the
    nine keywords. A video that is missing altogether is the business of `scan`, and not reported again.

    Skin conductance: from resistance 1e6 / Ohm; stored conductance x 31.25 / 1000, or / 1000 where only that gives a
    median within 0.5..50 uS. The header's unit decides, and where it says neither, the plausible range does;
    ``attrs["decision"]`` tells which, ``attrs["plausible"]`` whether the median lies in the range. No contact
    (Ohm <= 0) is 0 uS.

    Video: with ``align="audio-clock"``, both files are tied to the clock of the audio recording, on which the clip
    starts at sample audBeginSmp and the video's first frame was taken at vidBeginSmp::

        video start = clip start + (vidBeginSmp - audBeginSmp) / audRate

    Attributes missing, or a length (vidEndSmp - vidBeginSmp) / audRate further than max(1 s, 5 %) from the file's
    own: the video is left out. ``align="centred"`` asks for the rule without a clock (good to some seconds)::

        video start = clip start - (video length - clip length) / 2

    Raises
    ------
    InputError : session.xml or BDF unreadable or cut short, not two pulses in Status, a rating above 9.
    """
    if align not in ("audio-clock", "centred"):
        raise InputError(f"alignment {align!r} is unknown", remedy='use "audio-clock" or "centred"')
    xml, bdf, *videos = source.files
    sheet = _read_sheet(Path(xml))
    signals, (start, stop), omissions = read_bdf(Path(bdf))
    film = {}
    for path in videos:
        try:
            film["face"] = _align(path, sheet, start, stop, align)
        except InputError as error:
            omissions.append(Omission.from_error(error, scope="modality"))
    segment = Segment(sheet.name, start, stop, sheet.stimulus_name, _truth(sheet, targets))
    baseline = (0.0, start) if start > 1.0 else None
    recording = Recording(sheet.subject, str(bdf), tuple(targets), signals, (segment,), film, baseline)
    return recording, tuple(omissions)


@dataclass(frozen=True)
class _Sheet:
    """What one session.xml says."""

    path: Path
    number: int
    trial: int
    stimulus: bool
    stimulus_name: str
    bdf: Path
    avi: Path | None
    attributes: dict[str, str]

    @property
    def subject(self) -> str:
        return f"S{self.number:02d}"

    @property
    def name(self) -> str:
        return f"{self.subject}/T{self.trial:02d}"

    def value(self, name: str) -> float | None:
        """A number among the attributes; ``None`` when it is absent or empty."""
        text = self.attributes.get(name, "").strip()
        if not text:
            return None
        try:
            value = float(text.replace(",", "."))
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise InputError(
                f'{name}="{text}" is not a number', where=self.path, remedy="correct it or remove the attribute"
            )
        return value


def _read_sheet(path: Path) -> _Sheet:
    if not path.is_file():
        raise InputError("session.xml is missing", where=path, remedy="copy it from the data base")
    try:
        root = ET.parse(path).getroot()
    except (ET.ParseError, UnicodeDecodeError, OSError) as error:
        raise InputError(
            f"is no readable XML ({error})", where=path, remedy="copy it again from the data base"
        ) from None
    person = root.find("subject")
    tracks = root.findall("track")
    bdf = [t.get("filename") for t in tracks if t.get("filename", "").lower().endswith(".bdf")]
    colour = [t for t in tracks if t.get("type") == "Video" and t.get("filename")]
    colour.sort(key=lambda t: (t.get("color") != "1", "C1" not in t.get("filename")))
    stimulus = root.get("isStim") == "1"
    if stimulus and (not bdf or person is None or not (person.get("id") or "").strip().isdigit()):
        raise InputError("names no subject or no BDF", where=path, remedy="copy it again from the data base")
    number = int(person.get("id")) if person is not None and (person.get("id") or "").strip().isdigit() else 0
    matched = re.search(r"Trial(\d+)", bdf[0]) if bdf else None
    cut = root.get("cutNr", "")
    if stimulus and not matched and not cut.isdigit():
        raise InputError(
            "neither the BDF's name nor cutNr tells the trial", where=path, remedy="restore the original name"
        )
    trial = int(matched[1]) if matched else (int(cut) + 1) // 2 if cut.isdigit() else 0
    name = root.get("mediaFile") or f"cut {cut or trial}"
    home = path.parent
    avi = home / colour[0].get("filename") if colour else None
    return _Sheet(path, number, trial, stimulus, name, home / bdf[0] if bdf else home, avi, dict(root.attrib))


def _truth(sheet: _Sheet, targets: tuple[Target, ...]) -> dict[str, float | str]:
    """The ratings that were given, for the targets that are wanted."""
    truth: dict[str, float | str] = {}
    for target in targets:
        if target.name in _RATING:
            value = sheet.value(_RATING[target.name])
            if value is not None and value > target.bounds[1]:
                raise InputError(
                    f'{_RATING[target.name]}="{value:g}" is above {target.bounds[1]:g}',
                    where=sheet.path,
                    remedy="ratings run from 1 to 9, 0 for a missing one; correct the file",
                )
            if value is not None and value > 0:
                truth[target.name] = max(value, target.bounds[0])
        elif target.name == "emotion":
            keyword = KEYWORDS.get(sheet.value("feltEmo"))
            if keyword in target.levels:
                truth["emotion"] = keyword
        else:
            raise InputError(f"MAHNOB-HCI has no target {target.name!r}", remedy=f"it has {[t.name for t in TARGETS]}")
    return truth


def _align(path: str, sheet: _Sheet, start: float, stop: float, align: str) -> Video:
    """Where the video lies on the clock of the BDF (see `read`)."""
    film = cv2.VideoCapture(path)
    try:
        frames, stated = film.get(cv2.CAP_PROP_FRAME_COUNT), film.get(cv2.CAP_PROP_FPS)
        if not film.isOpened() or frames < 1 or not film.read()[0]:
            raise InputError("the video cannot be opened", where=path, remedy="copy it again from the data base")
    finally:
        film.release()
    rate = sheet.value("vidRate") or stated
    if not 0 < rate < 1e4:
        raise InputError(f"the video has {rate:g} frames per second", where=path, remedy="give vidRate in session.xml")
    length = frames / rate
    if align == "centred":
        return Video(path, start - (length - (stop - start)) / 2, rate)
    clock = {name: sheet.value(name) for name in ("audRate", "audBeginSmp", "vidBeginSmp")}
    if absent := [name for name, value in clock.items() if value is None or (name == "audRate" and value <= 0)]:
        raise InputError(
            f"gives no usable {', '.join(absent)}, so the video cannot be put on the clock of the BDF",
            where=sheet.path,
            remedy='ask for align="centred" to place it by its length',
        )
    end = sheet.value("vidEndSmp")
    said = length if end is None else (end - clock["vidBeginSmp"]) / clock["audRate"]
    if abs(said - length) > max(1.0, 0.05 * length):
        raise InputError(
            f"gives the video {said:.1f} s on the audio clock, but the file lasts {length:.1f} s",
            where=sheet.path,
            remedy='ask for align="centred" to place it by its length',
        )
    return Video(path, start + (clock["vidBeginSmp"] - clock["audBeginSmp"]) / clock["audRate"], rate)
