"""The door for MAHNOB-HCI: ``Sessions/<sid>/`` with session.xml, a BDF and a colour video per film clip.

`scan` looks at the XML files only; `read` opens one session. Ratings are 1..9; the nine emotion keywords are levels.
The data base's own results leave out subjects 9, 12 and 15; here everyone who has a usable session stays.
Data base: Soleymani, Lichtenauer, Pun, Pantic (2012), A multimodal database for affect recognition and implicit
tagging, IEEE Transactions on Affective Computing 3(1).
"""

from __future__ import annotations

import os

from bayesaffect.io.layout import Rating, Sensor, SessionLayout
from bayesaffect.io.sessions import read_session, scan_sessions
from bayesaffect.types import Listing, Omission, Recording, Source, Target

EEG = tuple(
    (
        "Fp1 AF3 F3 F7 FC5 FC1 C3 T7 CP5 CP1 P3 P7 PO3 O1 Oz Pz Fp2 AF4 Fz F4 F8 FC6 FC2 Cz C4 T8 CP6 CP2 P4 P8 PO4 O2"
    ).split()
)
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
LAYOUT = SessionLayout(
    format="mahnob",
    title="MAHNOB-HCI",
    ratings=(
        Rating(TARGETS[0], "feltVlnc", missing_to=0),
        Rating(TARGETS[1], "feltArsl", missing_to=0),
        Rating(TARGETS[2], "feltEmo", codes={str(code): level for code, level in KEYWORDS.items()}),
    ),
    signals={
        "eeg": Sensor(EEG, assumed="uV"),
        "ecg": Sensor(("EXG1", "EXG2", "EXG3"), assumed="uV"),
        "eda": Sensor(("GSR1",)),
        "respiration": Sensor(("Resp",), assumed="uV"),
        "temperature": Sensor(("Temp",), units="degC"),
    },
    modalities=MODALITIES,
    obtain=(
        "the data need a licence signed at the MAHNOB-HCI site; unpack them so that Sessions/<number>/session.xml "
        "lies below this folder, or simulate a set of the same form"
    ),
)


def scan(folder: str | os.PathLike, *, targets: tuple[Target, ...] = TARGETS) -> Listing:
    """What a MAHNOB-HCI folder holds, found by reading its session.xml files.

    Parameters
    ----------
    folder : the folder that holds ``Sessions`` (or ``Sessions`` itself).
    targets : those of `TARGETS` that are wanted.

    Sources are the sessions in the order of subject and trial: stimuli (isStim="1") named "S03/T07", and the neutral
    clips before them, role "neutral" and named "S03/N07", of subjects with a usable stimulus. Every other folder
    below ``Sessions`` is the ``where`` of an omission: without session.xml, BDF or any felt* rating, with
    an unreadable XML or a rating outside 1..9 (0 and below is a missing one), of the tagging experiment, or a second
    copy of a trial. A session without its colour video stays, with one omission of scope "modality".

    Raises
    ------
    InputError : the folder is not there, holds no session, or none that can be used.
    """
    return scan_sessions(folder, LAYOUT, targets=tuple(targets))


def read(
    source: Source, *, targets: tuple[Target, ...] = TARGETS, align: str = "audio-clock"
) -> tuple[Recording, tuple[Omission, ...]]:
    """One session as a `Recording`; time 0 is the first sample of its BDF.

    Signals: ``eeg`` (32 channels, uV, no reference), ``ecg`` (EXG1-3, uV), ``eda`` (uS), ``respiration`` (uV),
    ``temperature`` (degC). Channels are found by name whatever their case. A signal with a channel missing is left out
    (omission of scope "modality"), and so is a video that cannot be opened or aligned.

    The one segment lies between the two rising edges of Status (16 bits; idle level = its most frequent value).
    Its truth holds the ratings that are given: 0 and below is missing, and so is an emotion code that is none of the
    nine keywords. A neutral clip is read in the same way; its stimulus is "neutral" and it has no truth. A video that
    is missing altogether is the business of `scan`, and not reported again; the gaze table is not read.

    Skin conductance: from resistance 1e6 / Ohm; stored conductance x 31.25 / 1000, or / 1000 where only that gives a
    median within 0.5..50 uS. The header's unit decides, and where it says neither, the plausible range does;
    ``attrs["decision"]`` tells which, ``attrs["plausible"]`` whether the median lies in the range (an omission says so
    where it does not). No contact (Ohm <= 0) is 0 uS.

    Video: with ``align="audio-clock"``, both files are tied to the clock of the audio recording, on which the clip
    starts at sample audBeginSmp and the video's first frame was taken at vidBeginSmp::

        video start = clip start + (vidBeginSmp - audBeginSmp) / audRate

    Attributes missing, or a length (vidEndSmp - vidBeginSmp) / audRate further than max(1 s, 5 %) from the file's
    own: the video is left out. ``align="centred"`` asks for the rule without a clock (good to some seconds)::

        video start = clip start - (video length - clip length) / 2

    Raises
    ------
    InputError : session.xml or BDF unreadable or cut short, not two pulses in Status, a rating outside 1..9.
    """
    return read_session(source, LAYOUT, targets=tuple(targets), align=align)
