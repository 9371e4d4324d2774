"""Speed of the signal stage against the libraries it could have called: ``python benchmarks/signals.py [PART ...]``."""

from __future__ import annotations

import sys

import pairs
import signals_eeg
import signals_face
import signals_physio
import signals_prepare
import signals_quality

PARTS = {
    "eeg": signals_eeg.rows,
    "face": signals_face.rows,
    "physio": signals_physio.rows,
    "prepare": signals_prepare.rows,
    "quality": signals_quality.rows,
}

if __name__ == "__main__":
    sys.exit(pairs.main(PARTS, __doc__))
