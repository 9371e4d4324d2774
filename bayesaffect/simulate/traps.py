"""The defects of real recordings, put into simulated sessions on purpose."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from pathlib import Path

from bayesaffect.errors import InputError
from bayesaffect.simulate.brain import CHANNELS

# what each defect is; the first four are in every larger simulated set
KINDS = {
    "constant_channel": "EEG channel T8 has one value throughout",
    "one_trigger": "Status has one pulse",
    "no_video": "session.xml names a video that is not there",
    "no_felt": "session.xml has no felt* attribute",
    "no_trigger": "Status has no pulse",
    "three_triggers": "Status has three pulses",
    "idle_status": "the idle level of Status is not 0, and bits above the lower 16 are set",
    "no_valence": "only feltVlnc is absent",
    "rating_zero": "feltArsl is 0, which means missing",
    "rating_ten": "feltVlnc is 10, above its scale",
    "emotion_other": "feltEmo is 9 (sleepy), which is none of the nine keywords",
    "no_clock": "the video's samples on the audio clock are absent",
    "one_track": "session.xml has one child besides the subject, so it names no video",
    "bad_video": "the video is no film",
    "bdf_cut": "the last part of the BDF is gone",
    "no_bdf": "the BDF is not there",
    "xml_broken": "session.xml ends in the middle",
    "no_xml": "there is no session.xml",
}
USUAL = ("constant_channel", "one_trigger", "no_video", "no_felt")
PULSES = {"no_trigger": 0, "one_trigger": 1, "three_triggers": 3}
IDLE = 0x1FF00


def place_usual(numbers: list[int], clips: int) -> dict[str, str]:
    """Which trial carries which of the usual defects; spread over subjects so that none loses much."""
    where = {"constant_channel": (1, 3), "one_trigger": (3, 2), "no_video": (4, 4), "no_felt": (5, 1)}
    return {kind: _name(numbers[subject % len(numbers)], 1 + trial % clips) for kind, (subject, trial) in where.items()}


def place_all(numbers: list[int], clips: int, missing: dict[int, int]) -> dict[str, str]:
    """Every defect of `KINDS` on a trial of its own, in turns over the subjects.

    Raises
    ------
    InputError : fewer than six subjects (a dead skin conductance sensor comes from six on), or too few trials.
    """
    trials = [_name(n, k) for k in range(1, clips + 1) for n in numbers if k <= clips - missing.get(n, 0)]
    if len(numbers) < 6 or len(trials) < len(KINDS):
        what = f"{len(numbers)} subjects x {clips} clips cannot carry all {len(KINDS)} defects"
        raise InputError(what, remedy="simulate at least 6 subjects x 4 clips")
    return dict(zip(KINDS, trials, strict=False))


def _name(number: int, trial: int) -> str:
    return f"S{number:02d}/T{trial:02d}"


def spoil_eeg(eeg, defects: set[str]) -> None:
    """Change EEG (channel, sample) in place."""
    if "constant_channel" in defects:
        eeg[CHANNELS.index("T8")] = -1234.5


def spoil_sheet(root: ET.Element, defects: set[str]) -> None:
    """Change what session.xml says, in place."""
    changes = {"rating_zero": ("feltArsl", "0"), "rating_ten": ("feltVlnc", "10"), "emotion_other": ("feltEmo", "9")}
    for kind, (name, value) in changes.items():
        if kind in defects:
            root.set(name, value)
    absent = {"no_valence": ["feltVlnc"], "no_clock": ["audRate", "audBeginSmp", "audEndSmp", "vidBeginSmp"]}
    for kind, names in absent.items():
        for name in names if kind in defects else ():
            del root.attrib[name]
    if "one_track" in defects:
        for track in [t for t in root.findall("track") if t.get("type") == "Video"]:
            root.remove(track)


def cut_short(path: Path) -> None:
    """Take away the last 40 % of a file."""
    os.truncate(path, int(0.6 * path.stat().st_size))


def gaze_table(seconds: float, *, rate: float = 60.0) -> str:
    """A gaze table as an eye tracker exports it: 23 lines of header, then a row per sample, separated by tabs."""
    head = [f"Property {k}:\tvalue {k}" for k in range(1, 23)] + ["Timestamp\tGazePointXLeft\tGazePointYLeft"]
    rows = [f"{1000 * k / rate:.0f}\t{640 + k % 7}\t{400 - k % 5}" for k in range(round(seconds * rate))]
    return "\n".join([*head, *rows]) + "\n"
