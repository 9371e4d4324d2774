"""From recordings to trials: synchronised windows, cleaned signals, features and their quality.

Nothing here is estimated across subjects. `bayesaffect.signals.extract` is the entry point; `eeg`, `face` and `physio`
hold one modality family each. The functions that users look for by name can be taken from here; the libraries behind
them (mne, cv2, neurokit2) are loaded only then.
"""

from __future__ import annotations

import importlib

_HOME = {
    "preprocess_eeg": "eeg",
    "extract_spectral_features": "eeg",
    "extract_connectivity_features": "eeg",
    "detect_facial_landmarks": "face",
    "extract_action_units": "face",
    "compute_hrv": "physio",
    "compute_prv": "physio",
    "extract_scr_features": "physio",
    "extract_respiration_features": "physio",
    "extract_temperature_features": "physio",
}
__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
