"""A simulated face on video, drawn so that OpenCV's frontal-face cascades find it and its expression moves.

Mouth curvature follows the face's evidence of valence; brow height, lid opening and mouth opening follow arousal.
"""

from __future__ import annotations

import os

import cv2
import numpy as np

from bayesaffect.errors import InputError
from bayesaffect.simulate.timing import Timing, response

_FINE = 2  # drawn this much larger, then shrunk, so that small movements are smooth
_STEPS = np.array([12, 10, 6])  # expressions are drawn on a grid of so many steps per unit, and kept


def draw_looks(rng: np.random.Generator) -> dict:
    """What is constant for a subject's face: colours (BGR), proportions, resting expression."""
    light = rng.uniform(0.75, 1.05)
    return {
        "skin": np.clip(np.array([150, 180, 222]) * light + rng.normal(0, 5, 3), 60, 250),
        "hair": np.clip(np.array([30, 40, 52]) * rng.uniform(0.6, 1.6) + rng.normal(0, 2, 3), 8, 90),
        "wall": np.clip(np.array([128, 120, 112]) * rng.uniform(0.85, 1.15) + rng.normal(0, 6, 3), 60, 180),
        "width": rng.uniform(0.94, 1.06),
        "rest": rng.normal(0, 0.06, 3),
        "place": rng.uniform(-0.03, 0.03, 2),
    }


def expressions(evidence: np.ndarray, timing: Timing, rng: np.random.Generator) -> np.ndarray:
    """Smile, arousal and lid opening of every frame (frame, 3): the first two in about [-1, 1], lids 0 closed to 1.

    smile = tanh(v) x response + a slow wander of sd 0.06, arousal likewise; lids = 0.75 + 0.25 arousal, less blinks.
    """
    t = timing.video_start + np.arange(timing.frames) / timing.video_rate
    answer = response(t, timing, delay=0.4, rise=0.9)
    swell = 1 + 0.12 * np.sin(2 * np.pi * t[:, None] / rng.uniform(4, 9, 2) + rng.uniform(0, 6, 2))
    full = np.tanh(evidence) * answer[:, None] * swell
    knots = np.arange(0, timing.frames / timing.video_rate + 2.0)
    wander = np.stack([np.interp(t - t[0], knots, rng.normal(0, 0.07, knots.size)) for _ in range(2)], 1)
    smile, arousal = (full + wander).T
    distance = np.abs(t[:, None] - timing.blinks).min(1) if timing.blinks.size else np.full(t.size, 9.0)
    lids = np.clip(0.75 + 0.25 * arousal, 0.2, 1.0) * np.clip((distance - 0.04) / 0.08, 0, 1)
    return np.stack([smile, arousal, lids], 1)


def draw_face(smile: float, arousal: float, lids: float, looks: dict, size: tuple[int, int]) -> np.ndarray:
    """One image (row, column, 3), BGR, of ``size`` (width, height) with a face."""
    width, height = size
    fine = (width * _FINE, height * _FINE)
    image = np.empty((fine[1], fine[0], 3), np.uint8)
    image[:] = looks["wall"]
    u = fine[1] / 120  # lengths below are in 1/120 of the image height
    cx, cy = fine[0] / 2 + looks["place"][0] * fine[0], fine[1] * (0.53 + looks["place"][1])
    skin, hair, w = looks["skin"], looks["hair"], looks["width"]
    smile, arousal = smile + looks["rest"][0], arousal + looks["rest"][1]

    def point(x: float, y: float) -> tuple[int, int]:
        return round((cx + x * u * w) * 16), round((cy + y * u) * 16)

    def ellipse(x, y, a, b, colour, angle=0.0, arc=(0, 360), thick=-1):
        axes = (round(a * u * w * 16), round(b * u * 16))
        line = -1 if thick < 0 else max(1, round(thick * u))
        cv2.ellipse(image, point(x, y), axes, angle, *arc, tuple(map(float, colour)), line, cv2.LINE_AA, 4)

    def curve(points, colour, thick):
        at = np.array([point(*p) for p in points], np.int32)
        line = max(1, round(thick * u))
        cv2.polylines(image, [at], False, tuple(map(float, colour)), line, cv2.LINE_AA, 4)

    ellipse(0, 62, 46, 26, looks["wall"] * 0.45)  # shoulders
    ellipse(0, 42, 13, 20, skin * 0.80)  # neck
    ellipse(0, -8, 39, 47, hair)
    ellipse(0, 4, 32, 42, skin)
    ellipse(0, 8, 25, 32, np.minimum(skin * 1.05, 255))
    for side in (-1, 1):
        ellipse(side * 13.5, -6, 10.5, 6.5, skin * 0.74)  # socket
        ellipse(side * 17, 14, 7, 5, skin * np.array([0.93, 0.95, 1.02]))  # cheek
        opening = 4.2 * lids
        if opening > 0.5:
            ellipse(side * 13.5, -5, 7.2, opening, (238, 240, 240))
            ellipse(side * 13.5, -5, min(3.3, opening), min(3.3, opening), (35, 30, 30))
        ellipse(side * 13.5, -5, 7.4, max(opening, 0.5), skin * 0.42, arc=(180, 360), thick=1.2)  # upper lid
        lift = 4.2 * arousal
        tilt = 1.6 * smile
        brow = [
            (side * (5 + 17 * s), -15.5 - lift - 3.0 * np.sin(np.pi * s) - (tilt * (1 - s)))
            for s in np.linspace(0, 1, 9)
        ]
        curve(brow, hair * 0.8, 3.6)
    ellipse(0, 5, 3.2, 13, np.minimum(skin * 1.13, 255))  # bridge of the nose
    ellipse(-4, 16, 2.0, 1.3, skin * 0.50)
    ellipse(4, 16, 2.0, 1.3, skin * 0.50)
    ellipse(0, 18.5, 6, 1.6, skin * 0.80)
    bend, gape = 8.0 * smile, 1.2 + 2.2 * max(arousal, 0)
    half = 12.5 + 2.2 * smile
    s = np.linspace(-1, 1, 17)
    upper = np.stack([half * s, 28.5 + bend * (0.5 - s**2) - gape * (1 - s**2)], 1)
    lower = np.stack([half * s, 28.5 + bend * (0.5 - s**2) + (gape + 2.2) * (1 - s**2)], 1)
    lips = np.array([point(*p) for p in np.concatenate([upper, lower[::-1]])], np.int32)
    cv2.fillPoly(image, [lips], (72.0, 62.0, 165.0), cv2.LINE_AA, 4)
    curve(upper + (lower - upper) * 0.45, (40, 30, 80), 1.0 + 0.9 * gape / 2)
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(image, (3, 3), 0)


def write_video(
    path: str | os.PathLike,
    evidence: np.ndarray,
    timing: Timing,
    looks: dict,
    size: tuple[int, int],
    *,
    rng: np.random.Generator,
    drawn: dict | None = None,
) -> None:
    """Write the session's AVI (MJPG): expression, blinks, small head movements, camera noise of two grey levels.

    ``drawn`` keeps the images of one subject's expressions between sessions.
    """
    drawn = {} if drawn is None else drawn
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*"MJPG"), timing.video_rate, size)
    if not writer.isOpened():
        raise InputError(
            "OpenCV cannot write this video", where=path, remedy="check the folder and the free disk space"
        )
    grain = rng.integers(0, 5, (8, size[1], size[0], 3), dtype=np.uint8)
    t = np.arange(timing.frames) / timing.video_rate
    sway = np.sin(2 * np.pi * t[:, None] / rng.uniform(3, 11, 3) + rng.uniform(0, 6, 3)) * (0.007, 0.006, 0.8)
    try:
        for k, now in enumerate(expressions(evidence, timing, rng)):
            key = tuple(np.rint(np.clip(now, -1.3, 1.3) * _STEPS).astype(int).tolist())
            if key not in drawn:
                drawn[key] = draw_face(*(np.array(key) / _STEPS), looks, size)
            move = cv2.getRotationMatrix2D((size[0] / 2, size[1] * 0.6), sway[k, 2], 1.0)
            move[:, 2] += sway[k, 0] * size[0], sway[k, 1] * size[1]
            image = cv2.warpAffine(drawn[key], move, size, borderMode=cv2.BORDER_REPLICATE)
            writer.write(cv2.add(image, grain[rng.integers(len(grain))]))
    finally:
        writer.release()
