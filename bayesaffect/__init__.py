"""Uncertainty-aware emotion recognition: hierarchical Bayesian fusion of EEG, face and peripheral physiology.

The functions that users look for by name can be taken from here; the libraries behind them are loaded only then.
"""

from __future__ import annotations

import importlib

__version__ = "0.1.0"
_HOME = {
    "preprocess_eeg": "signals",
    "extract_spectral_features": "signals",
    "extract_connectivity_features": "signals",
    "detect_facial_landmarks": "signals",
    "extract_action_units": "signals",
    "compute_hrv": "signals",
    "extract_scr_features": "signals",
    "early_fusion": "pipeline.fusions",
    "late_fusion": "pipeline.fusions",
    "hybrid_fusion": "pipeline.fusions",
}


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
