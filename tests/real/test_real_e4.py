import time

import numpy as np
import pytest

from bayesaffect.io import e4
from bayesaffect.signals.physio import extract_block

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def listing(real_data):
    return e4.scan(real_data("stress_predict"))


@pytest.fixture(scope="module")
def recording(listing):
    return e4.read(listing.sources[0], targets=listing.targets)[0]


def test_every_participant_is_found(listing):
    assert len(listing.sources) == 23 and not listing.omissions


def test_runs_of_the_label_are_the_seven_blocks_of_the_protocol(recording):
    blocks = list(dict.fromkeys(s.stimulus for s in recording.segments))
    assert blocks == ["rest-1", "stress-1", "rest-2", "stress-2", "rest-3", "stress-3", "rest-4"]


def test_label_changes_fall_on_the_button_presses(recording, real_data):
    # the tags mark the tasks' ends independently of the table: a time-zone or start error would show here
    folder = real_data("stress_predict") / "Raw_data" / recording.subject
    start = float((folder / "BVP.csv").read_text().split("\n", 1)[0])
    pressed = np.loadtxt(folder / f"tags_{recording.subject}.csv") - start
    first = next(s for s in recording.segments if s.stimulus == "stress-1")
    assert abs(first.start - pressed[0]) < 30 + 2


def test_good_wristband_data_is_not_masked(listing, recording):
    windows = [(s.start, s.stop) for s in recording.segments]
    quality = {
        name: extract_block(recording.signals, windows, names=(name,), rate=4.0).quality
        for name in ("eda", "temperature", "acceleration", "bvp")
    }
    assert all((quality[name] > 0.9).mean() > 0.95 for name in ("eda", "temperature", "acceleration"))
    assert np.median(quality["bvp"]) > 0.4  # a wrist in motion: about half of the pulses can be trusted


def test_measures_of_the_wristband_are_in_raw_units(listing, recording):
    windows = [(s.start, s.stop) for s in recording.segments]
    told = extract_block(recording.signals, windows, names=listing.modalities["cardiac"], rate=4.0).measures["features"]
    usual = told.median("trial")
    assert 50 < usual.sel(feature="bvp_heart_rate_per_min") < 110
    assert usual.sel(feature="bvp_heart_rate_per_min") == pytest.approx(
        float(usual.sel(feature="heart_rate_mean_per_min")), abs=8
    )
    assert 10 < usual.sel(feature="bvp_rmssd_ms") < 250 and usual.sel(feature="bvp_hf_power_ms2") > 10
    assert np.isnan(told.sel(feature="bvp_lf_power_ms2")).all()  # windows of 60 s


def test_an_hour_is_measured_in_seconds_and_heart_rates_agree(listing, recording):
    windows = [(s.start, s.stop) for s in recording.segments]
    began = time.perf_counter()
    blocks = {m: extract_block(recording.signals, windows, names=n, rate=4.0) for m, n in listing.modalities.items()}
    assert time.perf_counter() - began < 6
    assert all(block.present.mean() > 0.95 for block in blocks.values())
    table = blocks["cardiac"].data["features"]
    ours, theirs = (table.sel(feature=name).values for name in ("bvp_heart_rate", "heart_rate_mean"))
    valid = table.sel(feature="bvp_valid").values > 0
    assert np.median(np.abs(ours - theirs)[valid]) < 6
