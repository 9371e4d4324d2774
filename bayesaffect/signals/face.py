"""Faces on video: detection with tracking between detections, aligned crops, landmarks, action-unit proxies."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.signals.expression import extract_action_units
from bayesaffect.signals.video import read_frames
from bayesaffect.signals.window import Block, frame_times
from bayesaffect.types import Video

__all__ = ["POINTS", "detect_facial_landmarks", "extract_action_units", "extract_block", "track_faces"]

POINTS = ("eye_left", "eye_right", "mouth", "mouth_left", "mouth_right", "box_top_left", "box_bottom_right")
EYES = np.array([[0.3, 0.35], [0.7, 0.35]])  # where crops hold the eyes, as shares of their side
BOX_EYES = np.array([[0.30, 0.40], [0.70, 0.40]])  # where the cascade's box holds them, until they are found
MOUTH = np.array(
    [[0.0, 1.05], [-0.42, 1.0], [0.42, 1.0]]
)  # mouth and its corners from the eyes' middle, in eye distances
WIDTH = 160  # px: faces are searched for in a picture this wide
EYE_WIDTH = 112  # px: eyes are searched for in a face this wide
DETECT_EVERY, SEARCH_EVERY, HOLD = (
    1.0,
    5.0,
    3.0,
)  # s: cascade near the last box; over the frame; trust in tracking alone
MATCH = 0.6  # normalised cross-correlation below which tracking has lost the face


class Face(NamedTuple):
    """A face in a picture: box (x, y, side) and eyes as shares of the box, (eye, xy)."""

    x: float
    y: float
    side: float
    eyes: np.ndarray


def track_faces(video: Video, times: np.ndarray, *, size: int = 48) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Aligned crops of the largest face at the given times.

    The file is decoded once, in order; only frames nearest to ``times`` are looked at. A frontal-face cascade (Viola
    and Jones 2001) runs about once a second around the last box, and over the whole frame every 5 s or when the face
    is lost; between detections the face is followed by normalised cross-correlation. Crops are similarity transforms
    that put the eyes at (0.3, 0.35) and (0.7, 0.35) of the side; eyes that are not found keep their last place in
    the box.

    Parameters
    ----------
    video : file and its clock; frame k was taken at start + k / rate.
    times : s on the recording's clock, any order.
    size : side of a crop in px.

    Returns
    -------
    crops uint8 (frame, row, column), 0 where there is no face; visible bool (frame,);
    landmarks float (frame, point, xy) in px of the video, points as in ``POINTS``, NaN where there is no face.

    Raises
    ------
    InputError : the file cannot be read, or holds none of the times.
    """
    times = np.asarray(times, dtype=float)
    numbers = np.round((times - video.start) * video.rate).astype(int)
    crops = np.zeros((times.size, size, size), np.uint8)
    visible, landmarks = np.zeros(times.size, bool), np.full((times.size, len(POINTS), 2), np.nan)
    rows: dict[int, list[int]] = {}
    for row, number in enumerate(numbers):
        rows.setdefault(int(number), []).append(row)
    tracker, decoded = Tracker(), 0
    with _one_thread():
        for number, grey in read_frames(video.path, numbers):
            decoded += 1
            face = tracker.follow(grey, number / video.rate)
            if face is not None:
                where = rows[number]
                crops[where], visible[where], landmarks[where] = _crop(grey, face, size), True, _landmarks(face)
    if times.size and not decoded:
        what = f"the video holds no frame between {times.min():.2f} s and {times.max():.2f} s of the recording's clock"
        raise InputError(what, where=video.path, remedy="check that the file is whole and its start on the clock")
    return crops, visible, landmarks


def detect_facial_landmarks(image: np.ndarray) -> xr.DataArray:
    """Landmarks of the largest frontal face in a picture.

    Eyes come from a cascade (or from the face's box where it finds none: ``attrs["eyes_found"]``); the mouth and its
    corners lie at fixed places relative to the eyes, so they say where a mouth is and nothing about its expression.

    Parameters
    ----------
    image : (row, column) grey or (row, column, 3) BGR, uint8.

    Returns
    -------
    (point, xy) in px, points as in ``POINTS``; left and right as seen in the picture.

    Raises
    ------
    InputError : the picture is not uint8 of one of those shapes, or shows no frontal face.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise InputError(
            f"the picture has type {image.dtype} and shape {image.shape}", remedy="give uint8, grey or BGR"
        )
    grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    tracker = Tracker()
    face = tracker.follow(grey, 0.0)
    if face is None:
        raise InputError("no frontal face was found in the picture", remedy="give one that shows a face from the front")
    attrs = {"units": "px", "eyes_found": tracker.eyes_found}
    return xr.DataArray(
        _landmarks(face), dims=("point", "xy"), coords={"point": list(POINTS), "xy": ["x", "y"]}, attrs=attrs
    )


def extract_block(video: Video, windows: Sequence[tuple[float, float]], *, rate: float = 4.0, size: int = 48) -> Block:
    """Crops, visibility and action-unit proxies of the windows of one recording.

    Variables: ``crops`` uint8 (trial, frame, row, column), ``visible`` uint8 (trial, frame), ``features`` float32
    (trial, feature). Quality of a trial = share of its frames with a face; a trial without any is not present.
    """
    times = frame_times(windows, rate)
    crops, visible, _ = track_faces(video, times.ravel(), size=size)
    crops, visible = crops.reshape(*times.shape, size, size), visible.reshape(times.shape)
    rows = [extract_action_units(c, v) for c, v in zip(crops, visible, strict=True)]
    features = np.stack([row.values for row in rows]).astype(np.float32)
    present = visible.any(axis=1)
    reasons = tuple("" if here else f"no face was found in {times.shape[1]} frames of {video.path}" for here in present)
    data = xr.Dataset(
        {
            "crops": (("trial", "frame", "row", "column"), crops),
            "visible": (("trial", "frame"), visible.astype(np.uint8)),
            "features": (("trial", "feature"), features),
        },
        coords={"frame": (np.arange(times.shape[1]) + 0.5) / rate, "feature": rows[0]["feature"].values},
    )
    return Block(data, present, visible.mean(axis=1), reasons)


class Tracker:
    """State between frames of one video: the last box, the patch it showed, and when it was last detected."""

    def __init__(self):
        self.face: Face | None = None
        self.patch: np.ndarray | None = None
        self.detected = self.searched = -np.inf
        self.eyes_found = False

    def follow(self, grey: np.ndarray, time: float) -> Face | None:
        """The face in the next frame (grey, at ``time`` s), in px of that frame."""
        scale = min(1.0, WIDTH / grey.shape[1])
        small = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else grey
        score = self._match(small)
        if self.face is None or score < MATCH or time - self.detected >= DETECT_EVERY:
            self._detect(small, grey, scale, time, score)
        if self.face is None:
            return None
        return self.face._replace(x=self.face.x / scale, y=self.face.y / scale, side=self.face.side / scale)

    def _match(self, small: np.ndarray) -> float:
        """Move the box to where its patch is found again; the correlation there."""
        if self.face is None or self.patch is None:
            return 0.0
        height, width = self.patch.shape
        reach = int(np.ceil(0.35 * self.face.side))
        left, top = round(self.face.x), round(self.face.y)
        x0, y0 = max(0, left - reach), max(0, top - reach)
        region = small[y0 : top + height + reach, x0 : left + width + reach]
        if region.shape[0] < height or region.shape[1] < width:
            return 0.0
        scores = cv2.matchTemplate(region, self.patch, cv2.TM_CCOEFF_NORMED)
        _, best, _, (column, row) = cv2.minMaxLoc(scores)
        if best >= MATCH:
            dx, dy = _peak(scores[row], column), _peak(scores[:, column], row)
            self.face = self.face._replace(x=x0 + dx, y=y0 + dy)
        return float(best)

    def _detect(self, small: np.ndarray, grey: np.ndarray, scale: float, time: float, score: float):
        everywhere = self.face is None or time - self.searched >= SEARCH_EVERY
        box = None if everywhere else _find_face(small, self.face)
        if box is None:
            box, self.searched = _find_face(small, None), time
        if box is None:
            if score < MATCH or time - self.detected > HOLD:
                self.face = self.patch = None
            return
        x, y, side = box
        old = self.face
        if old is not None and max(abs(x - old.x), abs(y - old.y), abs(side - old.side)) < 0.15 * side:
            side = (side + old.side) / 2  # halves the jitter of the cascade's boxes
            x, y = (
                (x + box[2] / 2 + old.x + old.side / 2 - side) / 2,
                (y + box[2] / 2 + old.y + old.side / 2 - side) / 2,
            )
        eyes = _find_eyes(grey, np.array([x, y, side]) / scale)
        self.eyes_found = eyes is not None
        before = old.eyes if old is not None else BOX_EYES
        self.face = Face(x, y, side, before if eyes is None else eyes if old is None else 0.5 * (before + eyes))
        left, top, span = max(0, round(x)), max(0, round(y)), round(side)
        self.face = self.face._replace(x=float(max(0, x)), y=float(max(0, y)))
        self.patch = small[top : top + span, left : left + span].copy()
        self.detected = time


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """OpenCV with one thread, then as before: pictures this small lose more time in waiting than they gain."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


@functools.cache
def _cascade(name: str) -> cv2.CascadeClassifier:
    return cv2.CascadeClassifier(f"{cv2.data.haarcascades}haarcascade_{name}.xml")


def _find_face(small: np.ndarray, near: Face | None) -> tuple[float, float, float] | None:
    """The largest face of the picture, or of the region around ``near``: (x, y, side) in its px."""
    x0 = y0 = 0
    least, region = 20, small
    if near is not None:
        reach = 0.4 * near.side
        x0, y0 = max(0, int(near.x - reach)), max(0, int(near.y - reach))
        region = small[y0 : int(near.y + near.side + reach), x0 : int(near.x + near.side + reach)]
        least = max(20, int(0.7 * near.side))
    if min(region.shape) < least:
        return None
    boxes = _cascade("frontalface_alt2").detectMultiScale(region, 1.15, 3, minSize=(least, least))
    if not len(boxes):
        return None
    x, y, width, height = max(boxes, key=lambda b: b[2] * b[3])
    return float(x0 + x), float(y0 + y), float(max(width, height))


def _find_eyes(grey: np.ndarray, box: np.ndarray) -> np.ndarray | None:
    """Eye centres as shares of the box (eye, xy); ``None`` unless one credible pair is found."""
    x, y, side = (round(v) for v in box)
    top, left = max(0, y + round(0.15 * side)), max(0, x)
    strip = grey[top : y + round(0.65 * side), left : x + side]
    if min(strip.shape) < 16:
        return None
    scale = EYE_WIDTH / side
    strip = cv2.resize(strip, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    least, most = (round(share * EYE_WIDTH) for share in (0.16, 0.4))
    found = _cascade("eye_tree_eyeglasses").detectMultiScale(
        strip, 1.15, 2, minSize=(least, least), maxSize=(most, most)
    )
    shift = (left - x) / side, (top - y) / side
    places = [[(u + w / 2) / EYE_WIDTH + shift[0], (v + h / 2) / EYE_WIDTH + shift[1]] for u, v, w, h in found]
    centres = np.array(places).reshape(-1, 2)
    best = [
        centres[d.argmin()] if d.size and d.min() < 0.14 else None
        for d in (np.linalg.norm(centres - e, axis=1) for e in BOX_EYES)
    ]
    if any(b is None for b in best):
        return None
    pair = np.array(best)
    tilt = np.degrees(np.arctan2(*(pair[1] - pair[0])[::-1]))
    return pair if 0.28 < np.linalg.norm(pair[1] - pair[0]) < 0.55 and abs(tilt) < 20 else None


def _crop(grey: np.ndarray, face: Face, size: int) -> np.ndarray:
    """Similarity transform of the face to ``size`` x ``size``, by areas where that shrinks it."""
    eyes = np.array([face.x, face.y]) + face.side * face.eyes
    ratio = np.linalg.norm(eyes[1] - eyes[0]) / (size * (EYES[1, 0] - EYES[0, 0]))
    factor = int(np.clip(round(ratio), 1, 8))
    goal = EYES * size * factor
    a, b = goal[1] - goal[0], eyes[1] - eyes[0]
    turn = complex(*a) / complex(*b)
    matrix = np.array([[turn.real, -turn.imag, 0.0], [turn.imag, turn.real, 0.0]])
    matrix[:, 2] = goal.mean(axis=0) - matrix[:, :2] @ eyes.mean(axis=0)
    big = cv2.warpAffine(
        grey, matrix, (size * factor, size * factor), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return big if factor == 1 else cv2.resize(big, (size, size), interpolation=cv2.INTER_AREA)


def _landmarks(face: Face) -> np.ndarray:
    corner = np.array([face.x, face.y])
    eyes = corner + face.side * face.eyes
    along = eyes[1] - eyes[0]
    down = np.array([-along[1], along[0]])
    mouth = eyes.mean(axis=0) + MOUTH[:, :1] * along + MOUTH[:, 1:] * down
    return np.concatenate([eyes, mouth, corner[None], corner[None] + face.side])


def _peak(scores: np.ndarray, best: int) -> float:
    """Place of the maximum by a parabola through its neighbours."""
    if not 0 < best < scores.size - 1:
        return float(best)
    before, at, after = (float(s) for s in scores[best - 1 : best + 2])
    bend = before - 2 * at + after
    return best + (0.5 * (before - after) / bend if bend < 0 else 0.0)
