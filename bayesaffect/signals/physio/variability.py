"""Heart rate variability of beat intervals: in time, in frequency, non-linear, and with the breath.

Short windows are refused quantity by quantity: what a window cannot tell is NaN, and a sentence says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import neurokit2 as nk
import numpy as np
from scipy.signal import lombscargle

from bayesaffect.signals.physio.clock import inside, quiet
from bayesaffect.signals.physio.quantities import Quantities

PLAUSIBLE_S = (0.3, 2.0)
BANDS_HZ = {"lf_power_ms2": (0.04, 0.15), "hf_power_ms2": (0.15, 0.40), "total_power_ms2": (0.0033, 0.40)}
# ten periods of the band's lower edge for HF, five for LF, and the standard five minutes (Task Force 1996)
SHORTEST_S = {"lf_power_ms2": 120.0, "hf_power_ms2": 60.0, "lf_hf_ratio": 120.0, "total_power_ms2": 300.0}
COVERED = 0.8
ENTROPY_BEATS, DFA_BEATS, DFA_SCALES = 100, 160, (4, 16)
NAMES = (
    *("heart_rate", "mean_nn_ms", "sdnn_ms", "rmssd_ms", "pnn50", "beats"),
    *("lf_power_ms2", "hf_power_ms2", "lf_hf_ratio", "total_power_ms2"),
    *("sd1_ms", "sd2_ms", "sample_entropy", "dfa_alpha1"),
)


class Beats(NamedTuple):
    """Beat to beat intervals: ``time`` of the later beat (s), ``interval`` (s), ``fine``: an interval to be trusted."""

    time: np.ndarray
    interval: np.ndarray
    fine: np.ndarray

    def within(self, start: float, stop: float) -> Beats:
        here = inside(self.time, start, stop)
        return Beats(self.time[here], self.interval[here], self.fine[here])


def beats(time: np.ndarray, interval: np.ndarray) -> Beats:
    """Mark intervals as fine that last 0.3 to 2 s and lie within 30 % of the median of the nine around them."""
    if not time.size:
        return Beats(time, interval, np.zeros(0, dtype=bool))
    padded = np.pad(interval, 4, mode="reflect" if interval.size > 4 else "edge")
    around = np.median(np.lib.stride_tricks.sliding_window_view(padded, 9), axis=1)
    fine = (interval >= PLAUSIBLE_S[0]) & (interval <= PLAUSIBLE_S[1]) & (np.abs(interval - around) <= 0.3 * around)
    return Beats(time, interval, fine)


def variability(found: Beats) -> dict[str, float]:
    """Time-domain heart rate variability of fine intervals NN (ms), D = differences of adjacent fine ones.

    heart_rate = 60000 / mean NN; sdnn = sd of NN (n - 1); rmssd = sqrt(mean D^2); pnn50 = 100 share(|D| > 50 ms).
    """
    nn = 1000 * found.interval[found.fine]
    steps = _steps(found)
    return {
        "heart_rate": 60000 / nn.mean() if nn.size else np.nan,
        "sdnn_ms": nn.std(ddof=1) if nn.size > 1 else np.nan,
        "rmssd_ms": np.sqrt((steps**2).mean()) if steps.size else np.nan,
        "pnn50": 100 * (np.abs(steps) > 50).mean() if steps.size else np.nan,
        "mean_nn_ms": nn.mean() if nn.size else np.nan,
        "beats": float(nn.size),
    }


def band_power(found: Beats, bands: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """Power (ms^2) of the fine intervals in bands (Hz), from Lomb's periodogram of the unevenly timed intervals.

    With P(f) = Lomb's periodogram of the N intervals (ms) less their straight line over T seconds, the one-sided
    density is S(f) = 2 T P(f) / N and a band's power is its integral: A^2 / 2 for A sin(2 pi f t) inside the
    band. No interval is interpolated, so a missed beat adds no slow wave (Clifford and Tarassenko 2005, IEEE Trans
    Biomed Eng 52:630).
    """
    time, nn = found.time[found.fine], 1000 * found.interval[found.fine]
    span = float(nn.sum()) / 1000  # seconds that were observed; a hole adds none
    if nn.size < 4 or time[-1] <= time[0]:
        return dict.fromkeys(bands, np.nan)
    rest = nn - np.polynomial.Polynomial.fit(time, nn, 1)(time)
    power = {}
    for name, (low, high) in bands.items():
        steps = max(2, int(np.ceil(4 * (high - low) * span)))
        edges = np.linspace(low, high, steps + 1)
        middle = (edges[1:] + edges[:-1]) / 2
        density = 2 * span * lombscargle(time - time[0], rest, 2 * np.pi * middle) / nn.size
        power[name] = float(density.mean() * (high - low))
    return power


def poincare(found: Beats) -> tuple[float, float]:
    """Widths of the cloud of successive fine intervals (x, y), in ms.

    SD1 = sd((x - y) / sqrt 2) across and SD2 = sd((x + y) / sqrt 2) along the line x = y, sd with n - 1 (Brennan et
    al. 2001, IEEE Trans Biomed Eng 48:1342); NaN for fewer than two pairs.
    """
    pairs = _adjacent(found)
    if pairs.sum() < 2:
        return np.nan, np.nan
    first, second = 1000 * found.interval[:-1][pairs], 1000 * found.interval[1:][pairs]
    return float((first - second).std(ddof=1) / np.sqrt(2)), float((first + second).std(ddof=1) / np.sqrt(2))


def hrv(found: Beats, seconds: float) -> Quantities:
    """All of `NAMES` for the beats of one window that lasts ``seconds``.

    In time: see `variability`. In frequency: see `band_power`; LF 0.04-0.15, HF 0.15-0.40, total 0.0033-0.40 Hz.
    Non-linear: ``sd1_ms``, ``sd2_ms``, see `poincare`; ``sample_entropy`` = -log of the share of pairs of runs of two
    intervals alike within 0.2 sd that stay alike for a third (natural log); ``dfa_alpha1``, slope of log
    fluctuation against log scale over 4 to 16 beats.

    Refused, that is NaN with a reason: HF below 60 s, LF and LF/HF below 120 s, total power below 300 s (Task Force
    1996), all of these where fine intervals cover less than 80 % of the window; entropy below 100 = 10^2 intervals
    (Richman and Moorman 2000, Am J Physiol 278:H2039); DFA below 160, ten times its largest scale (Hu et al. 2001,
    Phys Rev E 64:011114; scales of Peng et al. 1995, Chaos 5:82).
    """
    values, reasons = dict.fromkeys(NAMES, np.nan), {}
    values |= variability(found)
    values["sd1_ms"], values["sd2_ms"] = poincare(found)
    nn = 1000 * found.interval[found.fine]
    covered = found.interval[found.fine].sum() / seconds if seconds > 0 else 0.0
    told = [name for name, least in SHORTEST_S.items() if seconds >= least - 0.5]
    for name, least in SHORTEST_S.items():
        if name not in told:
            reasons[name] = f"the window lasts {seconds:.3g} s, it takes {least:g} s"
        elif covered < COVERED:
            reasons[name] = f"trustworthy intervals cover {100 * covered:.0f} % of the window, it takes 80 %"
    values |= band_power(found, {name: band for name, band in BANDS_HZ.items() if name not in reasons})
    if "lf_hf_ratio" not in reasons:
        if values["hf_power_ms2"] > 1e-6:
            values["lf_hf_ratio"] = values["lf_power_ms2"] / values["hf_power_ms2"]
        else:
            reasons["lf_hf_ratio"] = "there is no power in the high band"
    spread = nn.std(ddof=1) if nn.size > 1 else 0.0
    for name, least, measure in (
        ("sample_entropy", ENTROPY_BEATS, _sample_entropy),
        ("dfa_alpha1", DFA_BEATS, _dfa),
    ):
        if nn.size < least:
            reasons[name] = f"the window holds {nn.size} trustworthy intervals, it takes {least}"
        elif spread < 1e-6:
            reasons[name] = "all intervals are alike"
        else:
            values[name] = measure(nn)
    for name in NAMES:
        if np.isnan(values[name]):
            reasons.setdefault(name, f"{nn.size} trustworthy intervals do not tell it")
    return Quantities(values, reasons)


def sinus_arrhythmia(found: Beats, peaks: np.ndarray, troughs: np.ndarray) -> tuple[float, int]:
    """Respiratory sinus arrhythmia in ms by peak to trough, and the number of breaths it rests on.

    For each breath from trough a over peak p (end of inspiration) to trough b (s): the longest fine interval inside
    [p, b + 0.75 s] less the shortest inside [a, p + 0.75 s], 0 where negative; the mean over breaths (Grossman, van
    Beek and Wientjes 1990, Psychophysiology 27:702). NaN for fewer than three breaths with beats in both phases.

    Parameters
    ----------
    found : beats around the breaths.
    peaks, troughs : (breath,) and (breath + 1,) s; trough k, peak k and trough k + 1 in this order.
    """
    end, length = found.time[found.fine], 1000 * found.interval[found.fine]
    begin = end - length / 1000
    each = []
    for start, top, stop in zip(troughs[:-1], peaks, troughs[1:], strict=True):
        breathing_in = length[(begin >= start) & (end < top + 0.75)]
        breathing_out = length[(begin >= top) & (end < stop + 0.75)]
        if breathing_in.size and breathing_out.size:
            each.append(max(0.0, breathing_out.max() - breathing_in.min()))
    return (float(np.mean(each)) if len(each) >= 3 else np.nan), len(each)


def _adjacent(found: Beats) -> np.ndarray:
    """Whether interval k and k + 1 are both fine and share a beat, for k < n - 1."""
    return found.fine[1:] & found.fine[:-1] & (np.abs(np.diff(found.time) - found.interval[1:]) < 0.02)


def _steps(found: Beats) -> np.ndarray:
    return 1000 * np.diff(found.interval)[_adjacent(found)]


def _sample_entropy(nn: np.ndarray) -> float:
    with quiet():
        value = nk.entropy_sample(nn, delay=1, dimension=2, tolerance=0.2 * nn.std(ddof=1))[0]
    return float(value) if np.isfinite(value) else np.nan


def _dfa(nn: np.ndarray) -> float:
    with quiet():
        value = nk.fractal_dfa(nn, scale=np.arange(DFA_SCALES[0], DFA_SCALES[1] + 1))[0]
    return float(value) if np.isfinite(value) else np.nan
