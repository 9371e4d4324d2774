"""One face followed from frame to frame: cascades now and then, correlation in between."""

from __future__ import annotations

import functools
from typing import NamedTuple

import cv2
import numpy as np

BOX_EYES = np.array([[0.30, 0.40], [0.70, 0.40]])  # where the cascade's box holds the eyes, until they are found
WIDTH = 160  # px: faces are searched for in a picture this wide
EYE_WIDTH = 112  # px: eyes are searched for in a face this wide
DETECT_EVERY, SEARCH_EVERY, HOLD = 1.0, 5.0, 3.0  # s: cascade near the last box; over the frame; trust in tracking
MATCH = 0.6  # normalised cross-correlation below which tracking has lost the face
ROLLS = (25.0, -25.0)  # degrees: heads on one side, which the upright cascade misses
EYE_HEIGHT = 0.68  # of the eye cascades' boxes, which begin at the brow: where the eye lies in them
EYE_ROLL = 20.0  # degrees: how far off the box's roll eyes are looked for
STEADY = 0.06  # of the box: eyes that moved less are averaged with their last place
EYE_CASCADES = ("righteye_2splits", "lefteye_2splits")  # the person's right eye is on the picture's left


class Face(NamedTuple):
    """A face in a picture: box (x, y, side), eyes as shares of the box (eye, xy), roll in degrees clockwise."""

    x: float
    y: float
    side: float
    eyes: np.ndarray
    roll: float = 0.0


class Tracker:
    """State between frames of one video: the last box, the patch it showed, and when it was last detected.

    ``confidence`` of the last frame = correlation of the tracked patch (1 where a cascade has just found the face),
    less (seconds since then - 1) / 3 beyond the second in which the cascade should have found it again.
    """

    def __init__(self):
        self.face: Face | None = None
        self.patch: np.ndarray | None = None
        self.left: Face | None = None
        self.detected = self.searched = self.lost = -np.inf
        self.eyes_found = False
        self.confidence = 0.0

    def follow(self, grey: np.ndarray, time: float) -> Face | None:
        """The face in the next frame (grey, at ``time`` s), in px of that frame."""
        scale = min(1.0, WIDTH / grey.shape[1])
        small = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else grey
        score = self._match(small)
        if self.face is None or score < MATCH or time - self.detected >= DETECT_EVERY:
            self._detect(small, grey, scale, time, score)
        if self.face is None:
            self.confidence = 0.0
            return None
        late = max(0.0, time - self.detected - DETECT_EVERY) / HOLD
        fresh = 1.0 if self.detected == time else score
        self.confidence = float(np.clip(fresh - late, 0.0, 1.0))
        face = self.face
        return face._replace(x=face.x / scale, y=face.y / scale, side=face.side / scale)

    def _match(self, small: np.ndarray) -> float:
        """Move the box to where its patch is found again; the correlation there."""
        if self.face is None or self.patch is None:
            return 0.0
        height, width = self.patch.shape
        reach = int(np.ceil(0.25 * self.face.side))
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
        near = self.face or (self.left if time - self.lost <= HOLD else None)
        box, roll = None, 0.0
        if self.face is not None and time - self.searched < SEARCH_EVERY:
            box = find_face(small, self.face)
        if box is None:
            box, self.searched = find_face(small, near, everywhere=True), time
        if box is None and near is not None:
            for roll in ROLLS:  # last and only where a face has just been: an upright one is found rolled, too
                box = find_face(small, near, roll)
                if box is not None:
                    break
        if box is None:
            if self.face is not None and (score < MATCH or time - self.detected > HOLD):
                self.left, self.lost = self.face, time
                self.face = self.patch = None
            return
        self._accept(box, roll, small, grey, scale)
        self.detected = time

    def _accept(self, box: tuple[float, float, float], roll: float, small: np.ndarray, grey: np.ndarray, scale: float):
        x, y, side = box
        old = self.face
        if old is not None and max(abs(x - old.x), abs(y - old.y), abs(side - old.side)) < 0.15 * side:
            side = (side + old.side) / 2  # halves the jitter of the cascade's boxes
            x = (x + box[2] / 2 + old.x + old.side / 2 - side) / 2
            y = (y + box[2] / 2 + old.y + old.side / 2 - side) / 2
        before = turned(BOX_EYES, roll) if old is None else turned(old.eyes, roll - old.roll)
        found = find_eyes(grey, np.array([x, y, side]) / scale, roll, before)
        self.eyes_found = found is not None
        eyes = before if found is None else found
        if found is not None and old is not None and np.abs(found - before).max() < STEADY:
            eyes = 0.5 * (before + found)
        self.face = Face(float(max(0, x)), float(max(0, y)), side, eyes, roll)
        left, top, span = max(0, round(x)), max(0, round(y)), round(side)
        self.patch = small[top : top + span, left : left + span].copy()


def find_face(
    small: np.ndarray, near: Face | None, roll: float = 0.0, *, everywhere: bool = False
) -> tuple[float, float, float] | None:
    """The largest face of the picture, or of the region around ``near`` turned by ``roll``: (x, y, side) in its px.

    Frontal-face cascade of Viola and Jones (2001). A face that was ``near`` is no smaller than 0.7 of its old side
    there, and no smaller than half of it anywhere.
    """
    least, region, x0, y0 = 20, small, 0, 0
    if near is not None:
        least = max(20, int((0.5 if everywhere else 0.7) * near.side))
    if near is not None and not everywhere:
        reach = 0.4 * near.side
        x0, y0 = max(0, int(near.x - reach)), max(0, int(near.y - reach))
        region = small[y0 : int(near.y + near.side + reach), x0 : int(near.x + near.side + reach)]
    if min(region.shape) < least:
        return None
    if roll:
        region, matrix = _turn(region, roll)
    boxes = _cascade("frontalface_alt2").detectMultiScale(region, 1.15, 3, minSize=(least, least))
    if not len(boxes):
        return None
    x, y, width, height = max(boxes, key=lambda b: b[2] * b[3])
    side = float(max(width, height))
    if roll:  # back to the picture as it is: the box is placed by its centre
        x, y = cv2.invertAffineTransform(matrix) @ [x + side / 2, y + side / 2, 1.0] - side / 2
    return float(x0 + x), float(y0 + y), side


def find_eyes(grey: np.ndarray, box: np.ndarray, roll: float, before: np.ndarray) -> np.ndarray | None:
    """Eye centres as shares of the box (eye, xy); ``None`` where no credible one is found.

    Looked for in the face turned back by ``roll`` degrees, and where that shows no pair, by 20 degrees more and less.
    One eye alone moves both by its distance from where it was (``before``).
    """
    x, y, side = box
    left, top, right, bottom = max(0, round(x)), max(0, round(y)), round(x + side), round(y + side)
    shown = grey[top:bottom, left:right]
    if min(shown.shape) < 16:
        return None
    scale = EYE_WIDTH / side
    shown = cv2.resize(shown, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    shift = np.array([left - x, top - y]) / side
    single = None
    for turn in (roll, roll + EYE_ROLL, roll - EYE_ROLL):
        seen = _eyes_upright(shown if turn == 0 else _turn(shown, turn)[0], shift)
        if all(eye is not None for eye in seen):
            pair = np.array(seen)
            tilt = np.degrees(np.arctan2(*(pair[1] - pair[0])[::-1]))
            if 0.28 < np.linalg.norm(pair[1] - pair[0]) < 0.55 and abs(tilt) < 20:
                return turned(pair, turn)
        elif single is None and turn == roll:
            single = seen
    for eye in range(2):
        if single is not None and single[eye] is not None:
            return before + turned(single[eye][None], roll)[0] - before[eye]
    return None


def _eyes_upright(shown: np.ndarray, shift: np.ndarray) -> list[np.ndarray | None]:
    """The likeliest left and right eye of an upright face ``EYE_WIDTH`` px wide, as shares of its box."""
    first, last, middle = (round(share * EYE_WIDTH) for share in (0.15, 0.65, 0.5))
    least, most = (round(share * EYE_WIDTH) for share in (0.16, 0.4))
    halves = ((0, shown[first:last, :middle]), (middle, shown[first:last, middle:]))
    found = []
    for name, (offset, strip), place in zip(EYE_CASCADES, halves, BOX_EYES, strict=True):
        eyes = ()
        if min(strip.shape) >= least:
            eyes = _cascade(name).detectMultiScale(strip, 1.15, 2, minSize=(least, least), maxSize=(most, most))
        centres = [
            np.array([offset + u + w / 2, first + v + EYE_HEIGHT * h]) / EYE_WIDTH + shift for u, v, w, h in eyes
        ]
        distance = [np.linalg.norm(centre - place) for centre in centres]
        found.append(centres[int(np.argmin(distance))] if distance and min(distance) < 0.14 else None)
    return found


def turned(eyes: np.ndarray, roll: float) -> np.ndarray:
    """Points (point, xy) in shares of a box, turned clockwise by ``roll`` degrees about its centre (y points down)."""
    c, s = np.cos(np.radians(roll)), np.sin(np.radians(roll))
    return (eyes - 0.5) @ np.array([[c, s], [-s, c]]) + 0.5


def _turn(region: np.ndarray, roll: float) -> tuple[np.ndarray, np.ndarray]:
    """The region turned back by ``roll`` degrees about its centre, so that a head rolled so far stands upright."""
    centre = ((region.shape[1] - 1) / 2, (region.shape[0] - 1) / 2)
    matrix = cv2.getRotationMatrix2D(centre, roll, 1.0)  # counter-clockwise as seen, where y points down
    return cv2.warpAffine(region, matrix, region.shape[::-1], borderMode=cv2.BORDER_REPLICATE), matrix


@functools.cache
def _cascade(name: str) -> cv2.CascadeClassifier:
    return cv2.CascadeClassifier(f"{cv2.data.haarcascades}haarcascade_{name}.xml")


def _peak(scores: np.ndarray, best: int) -> float:
    """Place of the maximum by a parabola through its neighbours."""
    if not 0 < best < scores.size - 1:
        return float(best)
    before, at, after = (float(s) for s in scores[best - 1 : best + 2])
    bend = before - 2 * at + after
    return best + (0.5 * (before - after) / bend if bend < 0 else 0.0)
