"""Discrepancies between a model and data, computed alike of what was observed and of what the model makes.

Continuous target, errors e_im = (x - a - b y - u_s) r_im / (k_sm sqrt(v_im)) of each modality, e_i0 = (y - mu -
delta_s) / tau of the truth, and z_i = (y - E[y | x]) / sd[y | x] of the fused truth:

    mean square       mean e^2                                size of the errors
    offsets           sum_s n_s (mean_s e)^2                  subjects that are off by different amounts
    scales            sum_s n_s log(mean_s e^2 / mean e^2)^2  subjects whose errors differ in size
    skewness          mean e^3 / (mean e^2)^(3/2)
    kurtosis          mean e^4 / (mean e^2)^2
    largest           max |e|
    bend              correlation of e with (y - mean y)^2    opinions that are not linear in the truth
    correlations      sum_(m<n) (corr(e_m, e_n) - R_mn)^2
    coverage90        share of |z| < 1.645

Categorical target, with the fused probabilities p_ik of each draw, y_i the class, c_i = max_k p_ik:

    classes           sum_k (O_k - E_k)^2 / E_k               class frequencies
    classes by subject  the same over subjects and classes
    confidence        sum_b (right_b - sum_b c)^2 / sum_b c (1 - c), ten bins of c
    accuracy          share of y_i = argmax p_i
    log score         mean -log p_iy
    largest surprise  max -log p_iy
"""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

TRUTH, FUSED = "truth", "fused"


def of_errors(e: np.ndarray, z: np.ndarray, y: np.ndarray, r: np.ndarray, who: np.ndarray, voices: list[str]):
    """The discrepancies of the module, {(voice, check): value}, of errors (N, M + 1) with NaN where missing."""
    here = np.isfinite(e)
    e = np.where(here, e, 0.0)
    n = here.sum(0)
    s = who.max() + 1
    count = np.stack([np.bincount(who, h, s) for h in here.T])
    total = np.stack([np.bincount(who, v, s) for v in e.T])
    square = np.stack([np.bincount(who, v * v, s) for v in e.T])
    enough = count >= 3
    with np.errstate(divide="ignore", invalid="ignore"):
        m2, m3, m4 = ((e**k).sum(0) / n for k in (2, 3, 4))
        scale = np.where(enough, count * np.log(square / count / m2[:, None]) ** 2, 0.0).sum(1)
        bent = (y - y.mean()) ** 2
        bent = np.where(here, bent[:, None] - (here * bent[:, None]).sum(0) / n, 0.0)
        bend = (e * bent).sum(0) / np.sqrt((e**2).sum(0) * (bent**2).sum(0))
        both = here[:, :-1].astype(float).T @ here[:, :-1]
        power = (e[:, :-1] ** 2).T @ here[:, :-1]
        gap = (e[:, :-1].T @ e[:, :-1]) / np.sqrt(power * power.T) - r
    per_voice = {
        "mean square": m2,
        "offsets": np.where(count > 0, total**2 / np.maximum(count, 1), 0.0).sum(1),
        "scales": np.where(enough.sum(1) > 1, scale, np.nan),
        "skewness": m3 / m2**1.5,
        "kurtosis": m4 / m2**2,
        "largest": np.abs(e).max(0),
        "bend": np.where(np.arange(e.shape[1]) < e.shape[1] - 1, bend, np.nan),
    }
    found = {
        (voice, check): float(array[k])
        for check, array in per_voice.items()
        for k, voice in enumerate(voices)
        if n[k] > 9
    }
    pairs = np.triu(both > 9, 1)
    if pairs.any():
        found["all", "correlations"] = float((gap[pairs] ** 2).sum())
    found[FUSED, "coverage90"] = float((np.abs(z) < norm.ppf(0.95)).mean())
    return {name: value for name, value in found.items() if name[1] != "bend" or name[0] != TRUTH}


def of_classes(p: np.ndarray, y: np.ndarray, who: np.ndarray):
    """The discrepancies of the module of classes y (N,) under probabilities p (N, K)."""
    n, k = p.shape
    cell = who * k + y
    observed = np.bincount(cell, minlength=(who.max() + 1) * k).reshape(-1, k)
    expected = np.stack([np.bincount(who, column) for column in p.T], 1)
    confidence, right = p.max(1), p.argmax(1) == y
    bins = np.minimum((confidence * 10).astype(int), 9)
    gap = np.bincount(bins, right - confidence, 10)
    chance = np.bincount(bins, confidence * (1 - confidence), 10)
    surprise = -np.log(np.maximum(p[np.arange(n), y], 1e-300))
    found = {
        "classes": ((observed.sum(0) - expected.sum(0)) ** 2 / expected.sum(0)).sum(),
        "classes by subject": ((observed - expected) ** 2 / np.maximum(expected, 1e-9)).sum(),
        "confidence": (gap**2 / np.maximum(chance, 1e-9)).sum(),
        "accuracy": right.mean(),
        "log score": surprise.mean(),
        "largest surprise": surprise.max(),
    }
    return {("all", name): float(value) for name, value in found.items()}
