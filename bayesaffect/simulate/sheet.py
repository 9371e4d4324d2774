"""What session.xml says of a simulated session."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np

from bayesaffect.simulate.timing import Timing
from bayesaffect.simulate.truth import EMOTIONS

_AUDIO_RATE = 48000


def describe_session(number, section, row, timing: Timing, bdf: str, avi: str, *, felt: bool, rng) -> ET.Element:
    """The root of session.xml; on the audio clock the clip starts at audBeginSmp and the video at vidBeginSmp."""
    zero = rng.uniform(1e6, 9e6)  # the audio recording was started long before

    def sample(seconds: float) -> str:
        return f"{zero + seconds * _AUDIO_RATE:.3f}"

    rating = {str(k): int(v) for k, v in zip(row["target"].values, row["rating"].values, strict=True)}
    attributes = {
        "sessionId": str((number - 1) * 130 + section),
        "date": f"2010-01-{number:02d}",
        "time": f"10:{section:02d}:00",
        "experimentType": "emotion elicitation",
        "isStim": "1" if section % 2 == 0 else "0",
        "cutNr": str(section),
        "cutLenSec": f"{timing.stop - timing.start:.3f}",
        "mediaFile": str(row["stimulus"].values) if section % 2 == 0 else "neutral.avi",
        "vidRate": f"{timing.video_rate:.6f}",
        "vidBeginSmp": sample(timing.video_start),
        "vidEndSmp": sample(timing.video_start + timing.frames / timing.video_rate),
        "audRate": str(_AUDIO_RATE),
        "audBeginSmp": sample(timing.start),
        "audEndSmp": sample(timing.stop),
    }
    if felt:
        attributes |= {
            "feltEmo": str(EMOTIONS[str(row["emotion"].values)][0]),
            "feltArsl": str(rating["arousal"]),
            "feltVlnc": str(rating["valence"]),
            "feltCtrl": str(int(rng.integers(1, 10))),
            "feltPred": str(int(rng.integers(1, 10))),
        }
    root = ET.Element("session", attributes)
    ET.SubElement(root, "subject", id=str(number))
    ET.SubElement(root, "track", type="Video", filename=avi, color="1")
    ET.SubElement(root, "track", type="Physiological", filename=bdf)
    return root


def rename_answers(root: ET.Element) -> None:
    """The answers as the tutorial's variant writes them: other names, ratings from -10 to 10, -99 for none."""
    for old, new in (("feltVlnc", "valence"), ("feltArsl", "arousal")):
        felt = root.attrib.pop(old, None)
        root.set(new, "-99" if felt is None else str(stored_rating(int(felt))))
    root.set("emotion", root.attrib.pop("feltEmo", ""))


def stored_rating(rating: int) -> int:
    """A rating of 1..9 on the scale -10..10: round(2.5 (rating - 5))."""
    return int(np.rint(2.5 * (rating - 5)))
