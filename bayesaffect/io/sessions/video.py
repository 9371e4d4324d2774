"""Where a session's video lies on the clock of its BDF."""

from __future__ import annotations

from pathlib import Path

import cv2

from bayesaffect.errors import InputError
from bayesaffect.io.sessions.sheet import Sheet
from bayesaffect.types import Video

WAYS = ("audio-clock", "centred")


def length_of(path: str | Path) -> tuple[float, float]:
    """Frames of a video and its frames per second, as the file states them.

    Raises
    ------
    InputError : the file cannot be opened, or not one frame of it can be decoded.
    """
    film = cv2.VideoCapture(str(path))
    try:
        frames, stated = film.get(cv2.CAP_PROP_FRAME_COUNT), film.get(cv2.CAP_PROP_FPS)
        if not film.isOpened() or frames < 1 or not film.read()[0]:
            raise InputError("the video cannot be opened", where=path, remedy="copy it again from the data base")
    finally:
        film.release()
    return frames, stated


def align_video(
    path: str, sheet: Sheet, span: tuple[float, float], *, align: str = "audio-clock", rate: float | None = None
) -> Video:
    """The video on the clock of the BDF, in which the clip lasts from ``span[0]`` to ``span[1]`` s.

    ``rate`` overrules vidRate, and that the file. The equations are those of `bayesaffect.io.mahnob.read`.

    Raises
    ------
    InputError : a video that cannot be opened, no usable rate, or for "audio-clock" attributes that are absent, or
        that give the video another length than it has.
    """
    frames, stated = length_of(path)
    rate = rate or sheet.value("vidRate") or stated
    if not 0 < rate < 1e4:
        raise InputError(f"the video has {rate:g} frames per second", where=path, remedy="give vidRate in session.xml")
    length, (start, stop) = frames / rate, span
    if align == "centred":
        return Video(path, start - (length - (stop - start)) / 2, rate)
    clock = {name: sheet.value(name) for name in ("audRate", "audBeginSmp", "vidBeginSmp")}
    remedy = 'ask for align="centred" to place it by its length'
    if absent := [name for name, value in clock.items() if value is None or (name == "audRate" and value <= 0)]:
        what = f"gives no usable {', '.join(absent)}, so the video cannot be put on the clock of the BDF"
        raise InputError(what, where=sheet.path, remedy=remedy)
    end = sheet.value("vidEndSmp")
    said = length if end is None else (end - clock["vidBeginSmp"]) / clock["audRate"]
    if abs(said - length) > max(1.0, 0.05 * length):
        what = f"gives the video {said:.1f} s on the audio clock, but the file lasts {length:.1f} s"
        raise InputError(what, where=sheet.path, remedy=remedy)
    return Video(path, start + (clock["vidBeginSmp"] - clock["audBeginSmp"]) / clock["audRate"], rate)
