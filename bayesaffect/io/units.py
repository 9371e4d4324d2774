"""What stored numbers are worth in the units that recordings carry: uV, uS, degC, g, s, 1/min."""

from __future__ import annotations

import numpy as np

from bayesaffect.errors import InputError

PLAUSIBLE = (0.5, 50.0)  # median skin conductance of a working sensor, uS

# unit as a file or a description writes it -> (unit handed on, factor, offset)
_LINEAR = {
    "V": ("uV", 1e6, 0.0),
    "mV": ("uV", 1e3, 0.0),
    "uV": ("uV", 1.0, 0.0),
    "nV": ("uV", 1e-3, 0.0),
    "S": ("uS", 1e6, 0.0),
    "mS": ("uS", 1e3, 0.0),
    "uS": ("uS", 1.0, 0.0),
    "nS": ("uS", 1e-3, 0.0),
    "31.25 nS": ("uS", 31.25e-3, 0.0),
    "degC": ("degC", 1.0, 0.0),
    "K": ("degC", 1.0, -273.15),
    "degF": ("degC", 5 / 9, -160 / 9),
    "g": ("g", 1.0, 0.0),
    "m/s2": ("g", 1 / 9.80665, 0.0),
    "s": ("s", 1.0, 0.0),
    "ms": ("s", 1e-3, 0.0),
    "1/min": ("1/min", 1.0, 0.0),
    "Hz": ("1/min", 60.0, 0.0),
    "au": ("au", 1.0, 0.0),
    "%": ("%", 1.0, 0.0),
}
_OHM = {"Ohm": 1.0, "kOhm": 1e3, "MOhm": 1e6}
_SPELT = {
    "C": "degC",
    "°C": "degC",
    "deg C": "degC",
    "Celsius": "degC",
    "degrees C": "degC",
    "°F": "degF",
    "bpm": "1/min",
    "m/s^2": "m/s2",
    "m/s²": "m/s2",
    "microsiemens": "uS",
    "Ω": "Ohm",
    "kΩ": "kOhm",
    "MΩ": "MOhm",
    "ohm": "Ohm",
    "Ohms": "Ohm",
    "OHM": "Ohm",
    "kohm": "kOhm",
    "UV": "uV",
    "uv": "uV",
    "MV": "mV",
    "mv": "mV",
    "NS": "nS",
    "US": "uS",
    "DEGC": "degC",
    "degc": "degC",
}
KNOWN = (*_LINEAR, *_OHM)


def canonical(unit: str) -> str | None:
    """The unit in this module's spelling (micro as u, ohm as Ohm), ``None`` for one that is not known."""
    text = unit.strip().replace("µ", "u").replace("μ", "u").replace("\u2126", "Ω")
    text = _SPELT.get(text, text)
    return text if text in KNOWN else None


def convert(values: np.ndarray, unit: str) -> tuple[np.ndarray, str]:
    """Values in the units that recordings carry, and which those are.

    Linear units: value x factor + offset; resistance becomes conductance, 1e6 / Ohm in uS, and 0 uS where
    there is no contact (Ohm <= 0).

    Raises
    ------
    InputError : a unit that is not in `KNOWN`.
    """
    known = canonical(unit)
    if known is None:
        raise InputError(f"the unit {unit!r} is not known", remedy=f"use one of {', '.join(KNOWN)}")
    with np.errstate(over="ignore"):  # a damaged file may hold any number; what overflows is not finite and so unknown
        if known in _OHM:
            return _inverse(np.asarray(values) * _OHM[known]), "uS"
        name, factor, offset = _LINEAR[known]
        return (values if factor == 1.0 and offset == 0.0 else values * factor + offset), name


def conductance(values: np.ndarray, unit: str) -> tuple[np.ndarray, dict]:
    """Skin conductance in uS from what a file stores, and how that was decided.

    From resistance 1e6 / Ohm; stored conductance x 31.25 / 1000 (a BioSemi module's counts), or / 1000 where only that
    gives a median within 0.5..50 uS. The header's unit decides, and where it says neither, the plausible range does.

    Returns
    -------
    values in uS, at most 1000, and ``decision`` (in words), ``plausible`` (whether the median lies in that range).
    """
    said = unit.strip().lower()
    ways = {
        "resistance in Ohm": _inverse(values),
        "conductance in 31.25 nS": np.maximum(values, 0) * 31.25 / 1000,
        "conductance in nS": np.maximum(values, 0) / 1000,
    }
    ways = {name: np.minimum(way, 1e3) for name, way in ways.items()}
    plausible = {name: is_plausible(way) for name, way in ways.items()}
    if said.startswith("ohm") or said == "Ω".lower():
        allowed = ["resistance in Ohm"]
    elif said == "ns":
        allowed = ["conductance in 31.25 nS", "conductance in nS"]
    elif said == "us":
        ways["conductance in uS"] = np.clip(values, 0, 1e3)
        plausible["conductance in uS"] = is_plausible(values)
        allowed = ["conductance in uS"]
    else:
        allowed = list(ways)
    chosen = next((name for name in allowed if plausible[name]), allowed[0])
    by = "header" if len(allowed) == 1 else "header and range" if said == "ns" else "range"
    attrs = {"decision": f"{chosen} (by {by}, unit {unit!r})", "plausible": bool(plausible[chosen])}
    return ways[chosen], attrs


def _inverse(ohm: np.ndarray) -> np.ndarray:
    """1e6 / Ohm in uS; 0 where there is no contact, NaN where nothing is known."""
    return np.where(ohm <= 0, 0.0, 1e6 / np.maximum(ohm, 1e-3))


def is_plausible(conductance_us: np.ndarray) -> bool:
    """Whether the median of what is finite lies in the range of a working skin conductance sensor."""
    finite = np.asarray(conductance_us)[np.isfinite(conductance_us)]
    return bool(finite.size and PLAUSIBLE[0] <= np.median(finite) <= PLAUSIBLE[1])
