"""The backend that works offline: cascades, tracking and eye-based alignment of OpenCV, proxies of action units."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import cv2
import numpy as np
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.signals.face.cascade import Face, Tracker
from bayesaffect.signals.face.expression import proxies
from bayesaffect.signals.face.track import FaceTrack, align, frame_numbers, nothing_decoded, rows_of
from bayesaffect.signals.video import read_frames
from bayesaffect.types import Video

POINTS = ("eye_left", "eye_right", "mouth", "mouth_left", "mouth_right", "box_top_left", "box_bottom_right")
MOUTH = np.array([[0.0, 1.05], [-0.42, 1.0], [0.42, 1.0]])  # mouth, corners from the eyes' middle, in eye distances


def analyse(video: Video, times: np.ndarray, *, size: int = 48) -> FaceTrack:
    """Face, crops and proxies of action units at the given times.

    The file is decoded once, in order; only frames nearest to ``times`` are looked at, one at a time. A frontal-face
    cascade (Viola and Jones 2001) runs about once a second around the last box, upright and rolled by 25 degrees, and
    over the whole frame every 5 s or when the face is lost; between detections the face is followed by normalised
    cross-correlation. Eyes that are not found keep their last place in the box. Confidence: see `Tracker`.

    Parameters
    ----------
    video : file and its clock; frame k was taken at start + k / rate.
    times : s on the recording's clock, any order.
    size : side of a crop in px, at least 24.

    Raises
    ------
    InputError : the file cannot be read, or holds none of the times.
    """
    crops, visible, points, confidence = _follow(video, np.asarray(times, dtype=float), size)
    landmarks = _labelled(points, ("frame", "point", "xy"))
    return FaceTrack(visible, landmarks, confidence, crops, proxies(crops, visible))


def track_faces(video: Video, times: np.ndarray, *, size: int = 48) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Aligned crops of the largest face at the given times, by the embedded detector (see `analyse`).

    Crops are similarity transforms that put the eyes at (0.3, 0.35) and (0.7, 0.35) of the side.

    Returns
    -------
    crops uint8 (frame, row, column), 0 where there is no face; visible bool (frame,);
    landmarks float (frame, point, xy) in px of the video, points as in ``POINTS``, NaN where there is no face.

    Raises
    ------
    InputError : the file cannot be read, or holds none of the times.
    """
    crops, visible, points, _ = _follow(video, np.asarray(times, dtype=float), size)
    return crops, visible, points


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
    found = _labelled(_landmarks(face), ("point", "xy"))
    return found.assign_attrs(units="px", eyes_found=tracker.eyes_found)


def _follow(video: Video, times: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    numbers = frame_numbers(video, times)
    crops = np.zeros((times.size, size, size), np.uint8)
    visible, confidence = np.zeros(times.size, bool), np.zeros(times.size)
    landmarks = np.full((times.size, len(POINTS), 2), np.nan)
    rows, tracker, decoded = rows_of(numbers), Tracker(), 0
    with _one_thread():
        for number, grey in read_frames(video.path, numbers):
            decoded += 1
            face = tracker.follow(grey, number / video.rate)
            if face is not None:
                where, points = rows[number], _landmarks(face)
                landmarks[where], visible[where], confidence[where] = points, True, tracker.confidence
                crops[where] = align(grey, points[:2], size)
    if times.size and not decoded:
        raise nothing_decoded(video, times)
    return crops, visible, landmarks, confidence


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """OpenCV with one thread, then as before: pictures this small lose more time in waiting than they gain."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _labelled(points: np.ndarray, dims: tuple[str, ...]) -> xr.DataArray:
    return xr.DataArray(points, dims=dims, coords={"point": list(POINTS), "xy": ["x", "y"]})


def _landmarks(face: Face) -> np.ndarray:
    """Points in px of the picture, where pixel k covers k - 0.5 to k + 0.5."""
    corner = np.array([face.x, face.y]) - 0.5
    eyes = corner + face.side * face.eyes
    along = eyes[1] - eyes[0]
    down = np.array([-along[1], along[0]])
    mouth = eyes.mean(axis=0) + MOUTH[:, :1] * along + MOUTH[:, 1:] * down
    return np.concatenate([eyes, mouth, corner[None], corner[None] + face.side])
