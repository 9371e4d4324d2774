"""Uncertainty-aware emotion recognition: hierarchical Bayesian fusion of EEG, face and peripheral physiology."""

__version__ = "0.1.0"
