"""What a backend says about the face in a video, and the shared transform that brings faces to one place."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.types import Video

EYES = np.array([[0.3, 0.35], [0.7, 0.35]])  # where crops hold the eyes, as shares of their side
LEFT_EYE, RIGHT_EYE = (
    range(36, 42),
    range(42, 48),
)  # rings of the two eyes among 68 landmarks, left in the picture first
LANDMARKS = 68


class FaceTrack(NamedTuple):
    """The largest face of a video at some times; rows without a face are NaN, and 0 in ``crops``.

    Parameters
    ----------
    visible : bool (frame,).
    landmarks : float (frame, point, xy) in px of the video; points begin with ``eye_left`` and ``eye_right`` (as
        seen in the picture).
    confidence : float (frame,) in [0, 1]: how sure the backend is that this is a face; 0 where there is none.
    crops : uint8 (frame, row, column), aligned by the eyes; ``None`` where no picture could be read.
    units : (frame, unit), action units or their proxies; ``attrs["prominence"]`` is the least height of a peak.
    emotions : (frame, level), probabilities; ``None`` where the backend has none.
    affect : (frame, dimension) with valence and arousal in [-1, 1], or ``None``.
    pose : (frame, angle) as the backend gives it, or ``None``.
    """

    visible: np.ndarray
    landmarks: xr.DataArray
    confidence: np.ndarray
    crops: np.ndarray | None
    units: xr.DataArray
    emotions: xr.DataArray | None = None
    affect: xr.DataArray | None = None
    pose: xr.DataArray | None = None


Backend = Callable[..., FaceTrack]  # (video: Video, times: seconds on the recording's clock, *, size: px)


def frame_numbers(video: Video, times: np.ndarray) -> np.ndarray:
    """Number of the frame nearest to each time: floor((time - start) rate + 1/2), from 0 on.

    Times halfway between two frames, which odd ratios of the two rates bring about, all take the later one: rounding
    to even would take frames at uneven distances.
    """
    return np.floor((np.asarray(times, dtype=float) - video.start) * video.rate + (0.5 + 1e-6)).astype(int)


def rows_of(numbers: np.ndarray) -> dict[int, list[int]]:
    """frame number -> the rows that ask for it."""
    rows: dict[int, list[int]] = {}
    for row, number in enumerate(numbers):
        rows.setdefault(int(number), []).append(row)
    return rows


def nothing_decoded(video: Video, times: np.ndarray) -> InputError:
    what = f"the video holds no frame between {times.min():.2f} s and {times.max():.2f} s of the recording's clock"
    return InputError(what, where=video.path, remedy="check that the file is whole and its start on the clock")


def align(grey: np.ndarray, eyes: np.ndarray, size: int) -> np.ndarray:
    """The crop uint8 (size, size) in which the eyes (eye, xy) in px lie at ``EYES``.

    The similarity transform x -> t x + c of the plane of complex numbers with t = (e2' - e1') / (e2 - e1); where it
    shrinks the face, pixels are averaged over areas, so that crops of a large and a small picture of one face agree.
    Beyond the picture its edge is repeated. The eyes must be `credible`.
    """
    centre, along = eyes.mean(axis=0), eyes[1] - eyes[0]
    ratio = np.linalg.norm(along) / (size * (EYES[1, 0] - EYES[0, 0]))
    whole = max(1, int(ratio / 2))  # averaged away before the transform, which then reads few pixels
    # the crop's corners are within 0.93 sides of the eyes' middle, wherever it is turned
    reach = 0.93 * size * ratio + 2 * whole
    low = np.clip(np.floor(centre - reach), 0, None).astype(int)
    high = np.clip(np.ceil(centre + reach), 0, grey.shape[::-1]).astype(int)
    high -= (high - low) % whole
    region = grey[low[1] : high[1], low[0] : high[0]]
    if whole > 1:
        region = cv2.resize(region, (region.shape[1] // whole, region.shape[0] // whole), interpolation=cv2.INTER_AREA)
    places = (eyes + 0.5 - low) / whole - 0.5  # pixel k covers k - 0.5 to k + 0.5
    factor = max(1, round(ratio / whole))
    goal = EYES * size * factor - 0.5
    a, b = goal[1] - goal[0], places[1] - places[0]
    turn = complex(*a) / complex(*b)
    matrix = np.array([[turn.real, -turn.imag, 0.0], [turn.imag, turn.real, 0.0]])
    matrix[:, 2] = goal.mean(axis=0) - matrix[:, :2] @ places.mean(axis=0)
    side = (size * factor, size * factor)
    big = cv2.warpAffine(region, matrix, side, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return big if factor == 1 else cv2.resize(big, (size, size), interpolation=cv2.INTER_AREA)


def credible(eyes: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Whether eyes (eye, xy) can belong to a face in a picture of that shape.

    Their middle is inside it, and they are at least 4 px and at most half its width apart.
    """
    if not np.isfinite(eyes).all():
        return False
    (x, y), apart = eyes.mean(axis=0), np.linalg.norm(eyes[1] - eyes[0])
    return bool(0 <= x < shape[1] and 0 <= y < shape[0] and 4 <= apart <= shape[1] / 2)


def eyes_of(points: np.ndarray) -> np.ndarray:
    """Eye centres (..., eye, xy) from 68 landmarks (..., 68, xy): the means of the rings around the lids."""
    return np.stack([points[..., LEFT_EYE, :].mean(axis=-2), points[..., RIGHT_EYE, :].mean(axis=-2)], axis=-2)


def label_points(points: np.ndarray) -> xr.DataArray:
    """68 landmarks (frame, 68, xy) with the eye centres before them."""
    names = ["eye_left", "eye_right", *(f"p{k}" for k in range(LANDMARKS))]
    values = np.concatenate([eyes_of(points), points], axis=-2)
    return xr.DataArray(values, dims=("frame", "point", "xy"), coords={"point": names, "xy": ["x", "y"]})
