"""The other usual form of such data: slow sensors at 32 Hz, 24 frames/s, ratings from -10 to 10, its own names.

A laboratory that records like this describes it in a file; `write_tutorial` writes data and description.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bayesaffect.files import write_text
from bayesaffect.simulate.bdf import SLOW
from bayesaffect.simulate.brain import CHANNELS
from bayesaffect.simulate.recordings import Layout, write_mahnob
from bayesaffect.simulate.truth import EMOTIONS

DESCRIPTION = "dataset.toml"


def write_tutorial(
    folder: str | Path, *, subjects: int = 8, clips: int = 8, seed: int, layout: Layout | None = None, jobs: int = 1
) -> Path:
    """Write a data set of the tutorial kind with its description; returns the path of the description.

    As `write_mahnob`, except: channels are named ECG1..3, GSR (in uS), RESP and TEMP; the last three have 32 Hz; videos
    have 24 frames/s; a rating r of 1..9 is stored as round(2.5 (r - 5)), from -10 to 10, where 0 is a legal rating
    and -99 a missing one; session.xml calls the answers valence, arousal and emotion.
    """
    layout = replace(layout or Layout(), variant="tutorial", video_rate=24.0)
    folder = write_mahnob(folder, subjects=subjects, clips=clips, seed=seed, layout=layout, jobs=jobs)
    return write_text(folder / DESCRIPTION, describe())


def describe() -> str:
    """The description of such a data set."""
    eeg = ", ".join(f'"{name}"' for name in CHANNELS)
    codes = ", ".join(f'"{code}" = "{name}"' for name, (code, _, _) in sorted(EMOTIONS.items(), key=lambda e: e[1][0]))
    return f"""# 32-channel EEG, ECG, skin conductance, respiration, temperature and a face video per session folder
layout = "mahnob"
title = "tutorial set"
sessions = "Sessions"

[signals.eeg]
channels = [{eeg}]
units = "uV"

[signals.ecg]
channels = ["ECG1", "ECG2", "ECG3"]
units = "uV"

[signals.eda]
channels = ["GSR"]
units = "uS"
rate = {SLOW}

[signals.respiration]
channels = ["RESP"]
rate = {SLOW}

[signals.temperature]
channels = ["TEMP"]
units = "degC"
rate = {SLOW}

[modalities]
eeg = ["eeg"]
face = ["face"]
physio = ["ecg", "eda", "respiration", "temperature"]

[targets.valence]
from = "valence"
bounds = [-10, 10]
missing = [-99]

[targets.arousal]
from = "arousal"
bounds = [-10, 10]
missing = [-99]

[targets.emotion]
from = "emotion"
levels = {{ {codes} }}

[video]
rate = 24.0
"""
