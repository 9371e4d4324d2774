"""The signals of one simulated session as a BDF: in the names and units of MAHNOB-HCI, or of the tutorial's variant."""

from __future__ import annotations

import numpy as np
from edfio import Bdf, BdfSignal

from bayesaffect.simulate import brain
from bayesaffect.simulate import traps as defects_of
from bayesaffect.simulate.timing import Timing

SLOW = 32  # Hz of skin conductance, respiration and temperature in the tutorial's variant
_WIDE, _COUNT = (-262144.0, 262143.0), (-8388608.0, 8388607.0)


def write_bdf(
    path, eeg, body, timing: Timing, traits: dict, rate: int, *, defects: set = frozenset(), variant: str = "mahnob"
) -> None:
    """The 47 signals in the order, labels and units of MAHNOB-HCI; Status rises from 0 to 16 at clip start and stop."""
    n = eeg.shape[1]
    eda = np.full(n, 0.02) if traits["dead"] else body["eda"]
    gsr = (np.clip(1e6 / eda, 0, 8e6), "Ohm", _COUNT) if traits["ohm"] else (eda * 1000 / 31.25, "nS", _WIDE)
    status = np.full(n, float(defects_of.IDLE if "idle_status" in defects else 0))
    pulses = next((count for kind, count in defects_of.PULSES.items() if kind in defects), 2)
    for start in (timing.start, timing.stop, timing.stop + 0.6)[:pulses]:
        status[round(start * rate) : round((start + 0.25) * rate)] += 16
    blank = (np.zeros(n), "uV", _WIDE)
    columns = [(name, signal, "uV", _WIDE) for name, signal in zip(brain.CHANNELS, eeg, strict=True)]
    columns += [(f"EXG{k + 1}", *((body["ecg"][k], "uV", _WIDE) if k < 3 else blank)) for k in range(8)]
    columns += [("GSR1", *gsr), ("GSR2", *blank), ("Erg1", *blank), ("Erg2", *blank)]
    columns += [("Resp", body["respiration"], "uV", _WIDE), ("Temp", body["temperature"], "degC", (-1000.0, 1000.0))]
    timed = [(*column, rate) for column in columns]
    if variant == "tutorial":
        timed = tutorial_columns(eeg, body, eda, rate)
    timed.append(("Status", status, "Boolean", _COUNT, rate))
    signals = [
        BdfSignal(values.astype(float), hertz, label=label, physical_dimension=unit, physical_range=bounds)
        for label, values, unit, bounds, hertz in timed
    ]
    Bdf(signals, data_record_duration=1).write(path)


def tutorial_columns(eeg: np.ndarray, body: dict, eda: np.ndarray, rate: int) -> list[tuple]:
    """(label, samples, unit, physical range, rate) of every signal; slow ones are means of rate / 32 samples."""
    fast = [(name, row, "uV", _WIDE, rate) for name, row in zip(brain.CHANNELS, eeg, strict=True)]
    fast += [(f"ECG{k + 1}", body["ecg"][k], "uV", _WIDE, rate) for k in range(3)]
    slow = {"GSR": (eda, "uS", (-100.0, 100.0)), "RESP": (body["respiration"], "uV", _WIDE)}
    slow["TEMP"] = (body["temperature"], "degC", (-1000.0, 1000.0))
    mean = {name: values.reshape(-1, rate // SLOW).mean(1) for name, (values, _, _) in slow.items()}
    return fast + [(name, mean[name], unit, bounds, SLOW) for name, (_, unit, bounds) in slow.items()]
