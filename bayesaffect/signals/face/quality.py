"""How far a trial's face can be trusted: was it there, was it followed, and can anything be seen on it."""

from __future__ import annotations

import numpy as np

CONTRAST = 24.0  # grey levels: sd of a crop below which it is too dark, too bright or veiled
DETAIL = 0.22  # share of a crop's gradients that a 3 x 3 mean removes, below which it is blurred


def judge(visible: np.ndarray, confidence: np.ndarray, crops: np.ndarray | None) -> float:
    """Quality of a trial in [0, 1].

    (share of frames with a face) x (mean confidence) x (mean over these frames of sharpness x contrast); the last
    factor is 1 where there are no pictures. 0 without any face.

    Parameters
    ----------
    visible, confidence : bool and float in [0, 1] (frame,).
    crops : uint8 (frame, row, column), or ``None``.
    """
    visible = np.asarray(visible, dtype=bool)
    if not visible.any():
        return 0.0
    quality = visible.mean() * np.clip(confidence[visible], 0, 1).mean()
    if crops is not None:
        seen = crops[visible]
        quality *= np.mean(sharpness(seen) * contrast(seen))
    return float(np.clip(quality, 0, 1))


def sharpness(crops: np.ndarray) -> np.ndarray:
    """min(1, lost / 0.22) per crop (frame,): lost = the share of neighbour differences that a 3 x 3 mean removes.

    lost = 1 - sum |d(mean(x))| / sum |d(x)| over both directions, d the difference between neighbours: blurring what
    is already blurred changes little (Crété-Roffet et al. 2007). A crop without any difference has sharpness 0.
    """
    picture = crops.astype(np.float32)
    smooth = np.stack([_mean3(p) for p in picture]) if len(picture) else picture
    before, after = _differences(picture), _differences(smooth)
    lost = np.where(before > 0, 1 - after / np.maximum(before, 1e-9), 0.0)
    return np.clip(lost / DETAIL, 0, 1)


def contrast(crops: np.ndarray) -> np.ndarray:
    """min(1, sd of the grey levels / 24) per crop (frame,): low in the dark, in glare and behind a veil."""
    return np.clip(crops.std(axis=(1, 2), dtype=np.float64) / CONTRAST, 0, 1)


def _mean3(picture: np.ndarray) -> np.ndarray:
    rows = picture[:-2] + picture[1:-1] + picture[2:]
    return (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / 9


def _differences(pictures: np.ndarray) -> np.ndarray:
    """Mean absolute difference of neighbours, (frame,)."""
    return np.abs(np.diff(pictures, axis=1)).mean((1, 2)) + np.abs(np.diff(pictures, axis=2)).mean((1, 2))
