"""EEG: filtering, repair of bad channels, average reference, band power and connectivity, quality per trial."""

from bayesaffect.signals.eeg.block import extract_block
from bayesaffect.signals.eeg.connectivity import extract_connectivity_features
from bayesaffect.signals.eeg.measures import extract_hjorth_features
from bayesaffect.signals.eeg.preprocess import preprocess_eeg
from bayesaffect.signals.eeg.repair import find_bad_channels
from bayesaffect.signals.eeg.spectral import (
    BANDS,
    differential_entropy,
    extract_spectral_features,
    frontal_asymmetry,
    spectral_slope,
    welch_density,
)

__all__ = [
    "BANDS",
    "differential_entropy",
    "extract_block",
    "extract_connectivity_features",
    "extract_hjorth_features",
    "extract_spectral_features",
    "find_bad_channels",
    "frontal_asymmetry",
    "preprocess_eeg",
    "spectral_slope",
    "welch_density",
]
