"""Smooth calibration error: calibration without bins, at the scale at which miscalibration can be told from noise."""

from __future__ import annotations

import numpy as np
from scipy.fft import dct, idct

from bayesaffect.evaluate.calibration import confidence
from bayesaffect.evaluate.scores.accepted import check_event

GRID = 512
_STEPS = 12
_ROWS = 256


def smooth_ece(prob: np.ndarray, label: np.ndarray) -> float:
    """`smooth_gap` of the confidence: does the most probable class come true as often as it claims?"""
    return smooth_gap(*confidence(prob, label))


def smooth_gap(probability: np.ndarray, outcome: np.ndarray) -> float:
    """Smooth calibration error of one event (Błasiok & Nakkiran 2023): the s that solves g(s) = s, where

    g(s) = integral_0^1 |(1/n) sum_i (outcome_i - p_i) K_s(t, p_i)| dt

    and K_s is the Gaussian kernel of width s reflected at 0 and 1. g falls in s, so there is one solution.
    ``probability`` (n,) in [0, 1], ``outcome`` (n,) 0 or 1. It is taken on a grid of 512 cells (relative error
    about (0.002 / s)^2). No bin edges, so a small change of a probability changes it little. Raises `InputError` for
    what is no probability or no outcome, and where there is no trial.
    """
    check_event(probability, outcome)
    return float(fixed_point(gridded(probability, np.asarray(outcome, dtype=float) - probability)[None])[0])


def gridded(probability: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """Residuals shared out between the two nearest cells of the grid over [0, 1], as a mean over trials (GRID,)."""
    position = np.clip(np.asarray(probability) * GRID - 0.5, 0, GRID - 1)
    left = np.minimum(position.astype(int), GRID - 2)
    part = position - left
    total = np.bincount(left, residual * (1 - part), minlength=GRID)
    total += np.bincount(left + 1, residual * part, minlength=GRID)
    return total / max(len(residual), 1)


def fixed_point(residuals: np.ndarray) -> np.ndarray:
    """Smooth calibration error of each row of gridded residuals (m, GRID) -> (m,): bisection, then a straight line.

    In cosines the reflected kernel of width s multiplies the k-th coefficient by exp(-(s pi k)^2 / 2).
    """
    square = -0.5 * (np.pi * np.arange(GRID)) ** 2
    out = np.empty(len(residuals))
    for start in range(0, len(residuals), _ROWS):
        waves = dct(residuals[start : start + _ROWS], axis=1, norm="ortho")
        low, high = np.zeros(len(waves)), np.ones(len(waves))
        over, under = np.abs(residuals[start : start + _ROWS]).sum(1), -np.ones(len(waves))  # g(s) - s at both ends
        for _ in range(_STEPS):
            width = (low + high) / 2
            smooth = idct(waves * np.exp(square * width[:, None] ** 2), axis=1, norm="ortho")
            excess = np.abs(smooth).sum(1) - width
            low, over = np.where(excess > 0, (width, excess), (low, over))
            high, under = np.where(excess > 0, (high, under), (width, excess))
        out[start : start + _ROWS] = low + (high - low) * over / np.maximum(over - under, 1e-300)
    return out
