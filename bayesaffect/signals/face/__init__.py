"""The face on video: one small interface, three backends, and what a trial's face looks like and does.

A backend is a function (video, times, size=) -> `FaceTrack`:

- ``"embedded"``: OpenCV cascades, tracking and alignment; works offline; proxies of action units.
- ``"pyfeat"``: py-feat's Detectorv2: action units, emotions, valence and arousal; needs the extra ``[face]``.
- ``"tables"``: csv files of OpenFace 2 and py-feat that were computed elsewhere.
"""

from bayesaffect.signals.face.block import BACKENDS, extract_block, require
from bayesaffect.signals.face.embedded import POINTS, detect_facial_landmarks, track_faces
from bayesaffect.signals.face.expression import extract_action_units
from bayesaffect.signals.face.track import FaceTrack

__all__ = [
    "BACKENDS",
    "POINTS",
    "FaceTrack",
    "detect_facial_landmarks",
    "extract_action_units",
    "extract_block",
    "require",
    "track_faces",
]
