"""Peripheral physiology: heart, skin conductance, breathing, temperature, motion; series and features per trial."""

from bayesaffect.signals.physio.block import KINDS, extract_block
from bayesaffect.signals.physio.cardiac import compute_hrv, compute_prv
from bayesaffect.signals.physio.electrodermal import extract_scr_features
from bayesaffect.signals.physio.respiration import extract_respiration_features
from bayesaffect.signals.physio.skin import extract_temperature_features

__all__ = [
    "KINDS",
    "compute_hrv",
    "compute_prv",
    "extract_block",
    "extract_respiration_features",
    "extract_scr_features",
    "extract_temperature_features",
]
