"""What scores accept: one prediction beside one known truth per trial, and at least one trial.

What would otherwise be scored in silence is refused: an unknown label (-1) as the last level, an unknown rating (NaN)
as one outside its interval, shapes that broadcast, log-odds given as probabilities.
"""

from __future__ import annotations

import numpy as np

from bayesaffect.errors import InputError

_ROUNDING = 1e-3  # of single precision summed over many classes
_KNOWN = "leave out the trials whose truth is unknown"


def check_classes(prob: np.ndarray, label: np.ndarray) -> None:
    """Raise `InputError` unless ``prob`` (n, k) are probabilities and ``label`` (n,) are integers 0, ..., k - 1."""
    if np.ndim(prob) != 2 or np.shape(label) != np.shape(prob)[:1] or not np.size(label):
        raise _shapes("probabilities", prob, "labels", label, "(n, k) and (n,)")
    _probabilities(prob)
    if (gap := np.abs(prob.sum(1) - 1).max()) > _ROUNDING:
        raise InputError(f"probabilities of a trial sum to 1 only within {gap:.3g}", remedy="divide by their sum")
    if not np.issubdtype(label.dtype, np.integer):
        raise InputError(f"labels are {label.dtype}, not whole numbers", remedy=f"{_KNOWN}, then give them as integers")
    if label.min() < 0 or label.max() >= prob.shape[1]:
        raise InputError(
            f"labels reach from {label.min()} to {label.max()}, levels from 0 to {prob.shape[1] - 1}", remedy=_KNOWN
        )


def check_event(probability: np.ndarray, outcome: np.ndarray) -> None:
    """Raise `InputError` unless both are (n,), one in [0, 1] and the other 0 or 1."""
    if np.ndim(probability) != 1 or np.shape(outcome) != np.shape(probability) or not np.size(outcome):
        raise _shapes("probabilities", probability, "outcomes", outcome, "(n,) both")
    _probabilities(np.asarray(probability))
    if not np.isin(outcome, (0, 1)).all():
        raise InputError("outcomes are not all 0 or 1", remedy=_KNOWN)


def check_ratings(mean: np.ndarray, truth: np.ndarray) -> None:
    """Raise `InputError` unless both are (n,) and finite."""
    if np.ndim(mean) != 1 or np.shape(truth) != np.shape(mean) or not np.size(truth):
        raise _shapes("predictions", mean, "truths", truth, "(n,) both")
    check_known(mean, truth)


def check_known(*values: np.ndarray) -> None:
    """Raise `InputError` unless there is a value and all are finite."""
    for each in values:
        if not np.size(each):
            raise InputError("there is no trial", remedy="give at least one")
        if unknown := int((~np.isfinite(each)).sum()):
            raise InputError(f"{unknown} of {np.size(each)} values are not finite", remedy=_KNOWN)


def check_positive(name: str, values: np.ndarray | float) -> None:
    """Raise `InputError` unless all are above 0."""
    if not (np.asarray(values) > 0).all():
        raise InputError(f"{name} reaches down to {np.min(values):.3g}", remedy="give values above 0")


def check_level(level: np.ndarray | float) -> None:
    """Raise `InputError` unless all levels lie strictly between 0 and 1."""
    if not ((np.asarray(level) > 0) & (np.asarray(level) < 1)).all():
        raise InputError(f"level {level} is not between 0 and 1", remedy="give 0.9 for 90 %")


def _probabilities(prob: np.ndarray) -> None:
    if not ((prob >= -_ROUNDING) & (prob <= 1 + _ROUNDING)).all():  # NaN is refused as well
        raise InputError(
            f"probabilities reach from {np.min(prob):.3g} to {np.max(prob):.3g}, not within 0 and 1",
            remedy="give probabilities, not their logarithms or log-odds",
        )


def _shapes(first: str, a: np.ndarray, second: str, b: np.ndarray, expected: str) -> InputError:
    return InputError(
        f"{first} of shape {np.shape(a)} do not fit {second} of shape {np.shape(b)}",
        remedy=f"give {expected}, with n of at least 1",
    )
