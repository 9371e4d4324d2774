"""Bayesian fusion of opinions: `fit`, `predict`, `weights`, `gate` and what goes with them; `Model`, `Priors`."""

from __future__ import annotations

import importlib

_HOME = {
    "Sampling": "settings",
    "Priors": "settings",
    "Model": "settings",
    "fit": "late",
    "fit_hybrid": "hybrid.fit",
    "fit_joint": "joint",
    "attention_weights": "hybrid.attended",
    "with_features": "hybrid.trial_features",
    "compare": "checks.comparison",
    "Comparison": "checks.comparison",
    "predict": "prediction",
    "predict_jointly": "people.jointly",
    "adapt": "people.adaptation",
    "weights": "reliability",
    "trial_weights": "by_trial",
    "prior_predictive": "checks.prior",
    "criticise": "checks.criticism",
    "Criticism": "checks.criticism",
    "to_inference_data": "predicted",
    "assumes": "people.jointly",
    "attribute": "idata",
    "in_memory": "idata",
    "reduced": "idata",
    "target_of": "idata",
    "modalities_of": "idata",
    "is_hybrid": "hybrid.prediction",
    "gate": "checks.diagnostics",
    "refused": "checks.diagnostics",
    "Gate": "checks.diagnostics",
}
__all__ = [
    "Comparison",
    "Criticism",
    "Gate",
    "Model",
    "Priors",
    "Sampling",
    "adapt",
    "assumes",
    "attention_weights",
    "attribute",
    "compare",
    "criticise",
    "fit",
    "fit_hybrid",
    "fit_joint",
    "gate",
    "in_memory",
    "is_hybrid",
    "modalities_of",
    "predict",
    "predict_jointly",
    "prior_predictive",
    "reduced",
    "refused",
    "target_of",
    "to_inference_data",
    "trial_weights",
    "weights",
    "with_features",
]


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
