"""Electrodes by name: where they sit, and how a bad one follows from the good."""

from __future__ import annotations

import re
from functools import lru_cache

import mne
import numpy as np

MONTAGES = ("biosemi32", "biosemi64", "colin27_1020", "standard_1020", "colin27_1005", "standard_1005")
NAME = re.compile(r"(?:eeg[ _-]*)?([a-z]+\d*h?)\.*(?:[-_ ](?:ref|le|re|av|avg|a1|a2|m1|m2|cz))?\.*")


def plain_name(name: str) -> str:
    """The name of an electrode in lower case, without decoration: ``EEG Fp1-REF`` and ``Fp1..`` are ``fp1``.

    A name of another form, such as the bipolar ``Fp1-F3``, comes back whole.
    """
    lower = name.strip().casefold()
    found = NAME.fullmatch(lower)
    return found.group(1) if found else lower


@lru_cache(maxsize=64)
def spline_weights(names: tuple[str, ...], bad: tuple[bool, ...]) -> np.ndarray:
    """What each good channel contributes to each bad one: (bad, good), from the names of the channels."""
    flags = np.array(bad)
    weights = np.full((flags.sum(), (~flags).sum()), 1 / (~flags).sum())
    montage, labels = standard_labels(names)
    known = np.array([label is not None for label in labels])
    if (known & ~flags).sum() < 4 or not (known & flags).any():
        return weights
    used = [label for label in labels if label is not None]
    unit = np.zeros((len(used), (known & ~flags).sum()))
    unit[~flags[known]] = np.eye(unit.shape[1])  # splines are linear: their answer to each good channel alone
    raw = mne.io.RawArray(unit, mne.create_info(used, 1.0, "eeg"), verbose="ERROR")
    raw.set_montage(mne.channels.make_standard_montage(montage), verbose="ERROR")
    raw.info["bads"] = [label for label, flag in zip(used, flags[known], strict=True) if flag]
    raw.interpolate_bads(verbose="ERROR")
    rows = np.zeros(((known & flags).sum(), weights.shape[1]))
    rows[:, known[~flags]] = raw.get_data()[flags[known]]
    weights[known[flags]] = rows
    weights.flags.writeable = False
    return weights


@lru_cache(maxsize=64)
def standard_labels(names: tuple[str, ...]) -> tuple[str, tuple[str | None, ...]]:
    """The standard montage that knows most of the names, and the label in it of every channel, or ``None``.

    Names count as in `plain_name`; of two channels with one label only the first is taken to be there.
    """
    plain = [plain_name(name) for name in names]
    plain = [name if name not in plain[:k] else None for k, name in enumerate(plain)]
    best, there = (MONTAGES[0], (None,) * len(names)), set(mne.channels.get_builtin_montages())
    for montage in MONTAGES:
        if montage not in there or montage.replace("standard", "colin27") in there - {montage}:
            continue  # MNE 1.13 renamed two of them
        known = {label.casefold(): label for label in mne.channels.make_standard_montage(montage).ch_names}
        labels = tuple(known.get(name) for name in plain)
        if sum(label is not None for label in labels) > sum(label is not None for label in best[1]):
            best = montage, labels
    return best
