"""Physiology against NeuroKit: the same beats, breaths and pulses without what its ``*_process`` do besides."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import neurokit2 as nk
import numpy as np
from pairs import Row, fact, faster

from bayesaffect.signals.physio.cardiac import compute_hrv, compute_prv
from bayesaffect.signals.physio.clock import as_regular
from bayesaffect.signals.physio.electrodermal import extract_scr_features
from bayesaffect.signals.physio.heartbeats import corrected, pulses, vote
from bayesaffect.signals.physio.respiration import breaths, extract_respiration_features

DATA = Path(os.environ.get("BAYESAFFECT_DATA", Path(__file__).parents[2] / "shared" / "data"))
SECONDS, RATE = 75, 256


def rows(repeats: int) -> Iterator[Row]:
    """ECG on simulated and real recordings, pulse, respiration and skin conductance on simulated ones."""
    simulated = f"simulated, {SECONDS} s at {RATE} Hz, one lead"
    yield from _ecg(
        "ECG", nk.ecg_simulate(SECONDS, sampling_rate=RATE, heart_rate=70, random_state=1), RATE, repeats, simulated
    )
    ecg = DATA / "biosignals" / "ecg.txt"
    if ecg.is_file():
        yield from _ecg("real ECG", np.loadtxt(ecg), 1000, repeats, "biosignals/ecg.txt, 15 s at 1000 Hz")
    leads = np.stack([nk.ecg_simulate(SECONDS, sampling_rate=RATE, heart_rate=70, random_state=1)] * 3)
    leads = leads * np.array([[-0.35], [0.65], [-0.3]]) + 0.01 * np.random.default_rng(0).normal(size=leads.shape)
    yield faster(
        "vote over three leads and their differences, ecg_process of each",
        lambda: compute_hrv(leads, sampling_rate=RATE),
        lambda: [nk.ecg_process(lead, sampling_rate=RATE) for lead in leads],
        least=15,
        repeats=max(1, repeats // 2),
        note=f"simulated, {SECONDS} s at {RATE} Hz; ours looks at six signals, the other at three",
    )
    note = f"simulated, {SECONDS} s at {RATE} Hz"
    pulse = nk.ppg_simulate(SECONDS, RATE, heart_rate=75, random_state=1)
    yield faster(
        "pulse features over ppg_process",
        lambda: compute_prv(pulse, sampling_rate=RATE),
        lambda: nk.ppg_process(pulse, sampling_rate=RATE),
        least=5,
        repeats=repeats,
        note=note,
    )
    theirs = nk.ppg_process(pulse, sampling_rate=RATE)[1]["PPG_Peaks"] / RATE
    yield _apart("pulses: largest distance in ms to ppg_process", pulses(as_regular(pulse, RATE)).time, theirs, most=20)
    breath = nk.rsp_simulate(SECONDS, sampling_rate=RATE, respiratory_rate=15, random_state=1)
    yield faster(
        "breath features over rsp_process",
        lambda: extract_respiration_features(breath, sampling_rate=RATE),
        lambda: nk.rsp_process(breath, sampling_rate=RATE),
        least=5,
        repeats=repeats,
        note=note,
    )
    theirs = nk.rsp_process(breath, sampling_rate=RATE)[1]["RSP_Peaks"] / RATE
    yield _apart(
        "breaths: largest distance in ms to rsp_process", breaths(as_regular(breath, RATE)).peak, theirs, most=60
    )
    skin = 3 + nk.eda_simulate(SECONDS, RATE, scr_number=8, random_state=1)
    yield faster(
        "skin conductance features over eda_process",
        lambda: extract_scr_features(skin, sampling_rate=RATE),
        lambda: nk.eda_process(skin, sampling_rate=RATE),
        least=1,
        repeats=repeats,
        note=note,
    )


def _ecg(name: str, ecg: np.ndarray, rate: int, repeats: int, note: str) -> Iterator[Row]:
    yield faster(
        f"{name} features over ecg_process",
        lambda: compute_hrv(ecg, sampling_rate=rate),
        lambda: nk.ecg_process(ecg, sampling_rate=rate),
        least=15,
        repeats=repeats,
        note=note,
    )
    theirs = np.asarray(nk.ecg_process(ecg, sampling_rate=rate)[1]["ECG_R_Peaks"])
    lead = vote(as_regular(ecg, rate))
    ours = corrected(lead.peaks, rate)
    differ = float(np.setxor1d(ours, theirs).size)
    yield fact(
        f"{name}: peaks that differ from ecg_process", differ, goal="0", holds=differ == 0, note=f"{ours.size} peaks"
    )


def _apart(name: str, ours: np.ndarray, theirs: np.ndarray, *, most: float) -> Row:
    """Largest distance (ms) of a peak of either to the nearest of the other, both less those at the ends."""
    inner = theirs[(theirs > ours[0] - 0.1) & (theirs < ours[-1] + 0.1)]
    distance = 1000 * np.abs(ours[:, None] - inner)
    worst = float(max(distance.min(0).max(), distance.min(1)[1:-1].max()))
    return fact(name, worst, goal=f"<= {most:g}", holds=worst <= most, note=f"{ours.size} and {theirs.size} peaks")
