from __future__ import annotations

import mne
import numpy as np
import pytest
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.io.mne_raw import to_raw
from bayesaffect.types import Recording, Segment


def signal(names, rate, seconds, units, start=0.0):
    time = start + np.arange(round(seconds * rate)) / rate
    values = np.arange(len(names))[:, None] + time
    coords = {"channel": names, "time": time}
    return xr.DataArray(values, dims=("channel", "time"), coords=coords, attrs={"units": units, "sampling_rate": rate})


@pytest.fixture
def recording():
    signals = {
        "eeg": signal(["FP1", "cz", "Oz", "mystery"], 128.0, 20, "uV"),
        "ecg": signal(["EXG1", "EXG2"], 128.0, 20, "uV"),
        "eda": signal(["GSR1"], 32.0, 18, "uS", start=0.5),
        "respiration": signal(["Resp"], 32.0, 20, "uV"),
        "temperature": signal(["Temp"], 4.0, 20, "degC"),
        "bvp": signal(["cz"], 64.0, 20, "au"),
    }
    return Recording("S01", "x.bdf", (), signals, (Segment("S01/T01", 5.0, 9.0, "film"),))


def test_types_units_and_times(recording):
    raw = to_raw(recording)
    kinds = dict(zip(raw.ch_names, raw.get_channel_types(), strict=True))
    assert kinds == {
        **dict.fromkeys(["FP1", "cz", "Oz", "mystery"], "eeg"),
        "EXG1": "ecg",
        "EXG2": "ecg",
        "GSR1": "gsr",
        "Resp": "resp",
        "Temp": "temperature",
        "bvp cz": "misc",
    }
    assert raw.info["sfreq"] == 128 and raw.times[-1] == pytest.approx(18 - 1 / 128)
    at = raw.time_as_index(2.0)[0]  # 2.5 s on the recording's clock
    now = {name: raw.get_data(picks=[name])[0, at] for name in raw.ch_names}
    assert now["Oz"] == pytest.approx((2 + 2.5) * 1e-6) and now["EXG2"] == pytest.approx((1 + 2.5) * 1e-6)
    assert now["GSR1"] == pytest.approx(2.5e-6) and now["Temp"] == pytest.approx(2.5)
    assert now["Resp"] == pytest.approx(2.5e-6) and now["bvp cz"] == pytest.approx(2.5)


def test_electrodes_are_placed_by_name_whatever_its_case(recording):
    raw = to_raw(recording)
    reference = mne.io.RawArray(np.zeros((2, 9)), mne.create_info(["Fp1", "Cz"], 128.0, "eeg"), verbose="error")
    reference.set_montage("biosemi32")
    for ours, theirs in (("FP1", "Fp1"), ("cz", "Cz")):
        place = raw.info["chs"][raw.ch_names.index(ours)]["loc"][:3]
        assert place == pytest.approx(reference.info["chs"][reference.ch_names.index(theirs)]["loc"][:3])
    assert np.isnan(raw.info["chs"][raw.ch_names.index("mystery")]["loc"][:3]).all()
    assert to_raw(recording, montage=None).get_montage() is None


def test_segments_become_annotations(recording):
    (note,) = to_raw(recording).annotations
    assert (note["onset"], note["duration"], note["description"]) == (4.5, 4.0, "film")


def test_what_cannot_be_put_on_one_clock_is_refused(recording):
    with pytest.raises(InputError, match="no montage 'round'"):
        to_raw(recording, montage="round")
    late = {"eeg": recording.signals["eeg"], "eda": signal(["GSR1"], 32.0, 5, "uS", start=50)}
    with pytest.raises(InputError, match="share no stretch"):
        to_raw(Recording("S01", "x", (), late, ()))
    with pytest.raises(InputError, match="no regularly sampled"):
        to_raw(Recording("S01", "x", (), {}, ()))
