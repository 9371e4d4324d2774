"""What folds hold apart: people, film clips, or parts of what each person has done."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable

import numpy as np
import xarray as xr

from bayesaffect.errors import InputError

SUBJECT = "subject"
WHOLE = (SUBJECT, "stimulus")
INSIDE = ("version", "part", "fold")


def units(present: xr.DataArray, by: str) -> xr.DataArray:
    """Name of the unit that each trial belongs to (trial,).

    ``subject`` and ``stimulus``: the coordinate of that name. ``version``, ``part`` and ``fold`` are cut out of what
    each subject has done, ``S01@part 2``, so that validation within a training may still be drawn by subject.
    """
    if by == SUBJECT:
        return present[SUBJECT]
    if by not in WHOLE + INSIDE:
        raise InputError(f"there is no unit {by!r}", remedy=f"choose one of {', '.join(WHOLE + INSIDE)}")
    if by not in present.coords:
        raise InputError(f"the trials lack the coordinate {by!r} by which they are held out")
    values = present[by].values.astype(str)
    if by in INSIDE:
        subject = present[SUBJECT].values.astype(str)
        values = np.array([f"{s}@{by} {v}" for s, v in zip(subject, values, strict=True)], dtype=str)
    return xr.DataArray(values, dims="trial", coords={"trial": present["trial"].values}, name="unit")


def plural(by: str) -> str:
    """``subjects``, ``stimuli``, ``parts``."""
    return "stimuli" if by == "stimulus" else f"{by}s"


def forbidden(by: str, own: np.ndarray, trained: np.ndarray) -> np.ndarray:
    """Whether a network that has seen a unit may not predict another: bool (own, trained).

    ``subject``, ``stimulus``, ``fold``: the unit itself. ``version``: that version, of anybody. ``part``: that part of
    the session or a later one, of anybody, for the future is not there to learn from.
    """
    own, trained = np.asarray(own, dtype=str), np.asarray(trained, dtype=str)
    if by in ("version", "part"):
        own, trained = (np.array([name.rpartition("@")[2] for name in names], dtype=str) for names in (own, trained))
    if by == "part":
        own, trained = (
            np.array([int(name.rpartition(" ")[2]) for name in names], dtype=int) for names in (own, trained)
        )
        return trained[None, :] >= own[:, None]
    return own[:, None] == trained[None, :]


def check_names(names: Iterable[str], kind: str):
    """Refuse names that differ only in capitals, spaces, or how a number is written, such as ``S1``, ``s1``, ``S01``.

    They are most likely one person (stimulus, version) spelt in two ways, who would be learned from and tested on.

    Raises
    ------
    InputError : two names of ``kind`` that are alike.
    """
    alike = defaultdict(set)
    for name in {str(name) for name in names}:
        alike[_plain(name)].add(name)
    for same in (sorted(found) for found in alike.values() if len(found) > 1):
        raise InputError(
            f"the {plural(kind)} {', '.join(map(repr, same))} differ only in capitals, spaces or how a number is "
            "written, and one that goes by two names would be in training and test",
            remedy=f"spell each {kind} alike everywhere, or rename those that are not the same",
        )


def _plain(name: str) -> str:
    """``S 01``, ``s1`` and ``S1.0`` as ``s1``; numbers before the last one are left as they are."""
    text = re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFKC", name)).strip().casefold()
    return re.sub(r"^(\D*?) ?0*(\d+)(\.0+)?$", r"\1\2", text)
