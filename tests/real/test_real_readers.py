"""The described reader on real files: EEGLAB, EDF and BioSemi BDF."""

from __future__ import annotations

import mne
import numpy as np
import pytest

from bayesaffect.io import description

pytestmark = pytest.mark.real

TOML = """
layout = "table"
trials = "trials.csv"
[targets.valence]
bounds = [1, 9]
[signals.eeg]
file = "{file}"
"""


@pytest.mark.parametrize(
    ("file", "channels", "rate"), [("eeglab_data.set", 32, 128), ("test.edf", 16, 256), ("test.bdf", 16, 256)]
)
def test_eeg_of_every_kind_of_file_equals_what_mne_reads(real_data, tmp_path, file, channels, rate):
    path = real_data("eeg") / file
    (tmp_path / "trials.csv").write_text(f"subject,trial,start,stop,valence,file\nann,1,20,50,5,{path}\n")
    (tmp_path / "lab.toml").write_text(TOML)
    listing = description.scan(tmp_path / "lab.toml")
    recording, omissions = description.read(listing.sources[0], targets=listing.targets)
    eeg = recording.signals["eeg"]
    raw = mne.io.read_raw(path, preload=True, verbose="error")
    theirs = raw.get_data(picks=list(eeg["channel"].values), units="uV", verbose="error")
    first = round(float(eeg["time"][0]) * rate)
    assert eeg.sizes["channel"] == channels and eeg.attrs["sampling_rate"] == rate and not omissions
    assert np.allclose(eeg.values, theirs[:, first : first + eeg.sizes["time"]], rtol=1e-9, atol=1e-9)
    assert float(eeg["time"][-1]) >= 50
