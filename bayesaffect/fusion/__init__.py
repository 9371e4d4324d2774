"""Bayesian fusion of opinions: `fit`, `predict`, `weights`, `trial_weights`, `gate`, `refused`; settings."""

from __future__ import annotations

import importlib

_HOME = {
    "Sampling": "settings",
    "Priors": "settings",
    "fit": "late",
    "predict": "prediction",
    "weights": "reliability",
    "trial_weights": "by_trial",
    "gate": "diagnostics",
    "refused": "diagnostics",
    "Gate": "diagnostics",
}
__all__ = ["Gate", "Priors", "Sampling", "fit", "gate", "predict", "refused", "trial_weights", "weights"]


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
