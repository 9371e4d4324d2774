"""Whatever the samples and times are: a result, quality 0, or one clear sentence; no crash, no warning."""

import contextlib
import warnings

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bayesaffect.errors import InputError
from bayesaffect.signals.physio import KINDS, extract_block
from bayesaffect.signals.physio.cardiac import compute_hrv, compute_prv
from bayesaffect.signals.physio.clock import as_regular, regular
from bayesaffect.signals.physio.electrodermal import extract_scr_features
from bayesaffect.signals.physio.respiration import extract_respiration_features
from bayesaffect.signals.physio.skin import extract_temperature_features

WINDOWS = [(0.0, 15.0), (15.0, 30.0)]
UNITS = {"eda": "uS", "gsr": "nS"}
FUNCTIONS = [
    compute_hrv,
    compute_prv,
    extract_scr_features,
    extract_respiration_features,
    extract_temperature_features,
]
quick = settings(max_examples=25, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))


@st.composite
def broken(draw, seconds=30, rate=32):
    """A wave with a defect or several: (channel, sample)."""
    size = seconds * rate
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    time = np.arange(size) / rate
    values = draw(st.sampled_from([0.0, 3.0, 1e-9, -4.0, 1e9])) + draw(st.sampled_from([0.0, 1e-12, 1.0, 1e6])) * (
        np.sin(2 * np.pi * draw(st.sampled_from([0.01, 0.25, 1.2, 5.0])) * time) + 0.1 * rng.normal(size=size)
    )
    for _ in range(draw(st.integers(0, 4))):
        start, length = draw(st.integers(0, size - 1)), draw(st.integers(1, size))
        wrong = draw(st.sampled_from([np.nan, np.inf, -np.inf, 0.0, 1e308, -1e308, 1e11, 5e-324]))
        values[start : start + length : draw(st.sampled_from([1, 3, 50]))] = wrong
    return values


@st.composite
def clocks(draw, seconds=30, rate=32):
    """Times of such a wave: regular, or with gaps, repeats, steps back, or values that are no numbers."""
    time = np.arange(seconds * rate) / rate
    defect = draw(st.sampled_from(["none", "gap", "repeat", "back", "nan", "late", "huge", "jitter"]))
    k = draw(st.integers(1, time.size - 2))
    if defect == "gap":
        time[k:] += draw(st.sampled_from([0.1, 5.0, 1e9]))
    elif defect == "huge":
        time *= 1e12
    elif defect == "late":
        time += 1e6
    elif defect == "jitter":
        time += np.random.default_rng(k).uniform(-0.01, 0.01, time.size)
    elif defect != "none":
        time[k] = {"repeat": time[k - 1], "back": time[k - 1] - 1, "nan": np.nan}[defect]
    return time


@contextlib.contextmanager
def loud():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
@quick
@given(values=broken(), rate=st.sampled_from([32.0, 30, 256.0, 1e5, 1e12, 1e-6, 0, -1.0, np.nan, np.inf, None, "fast"]))
def test_a_window_of_anything_is_told_or_refused(function, values, rate):
    try:
        with loud():
            told = function(values, sampling_rate=rate)
    except InputError as error:
        assert str(error)
        return
    assert all(np.isfinite(value) or name in told.reasons for name, value in told.items())
    assert 0 <= told.get("quality", 0) <= 1


@pytest.mark.parametrize("name", [*KINDS, "glucose"])
@quick
@given(values=broken(), time=clocks(), rate=st.sampled_from([32.0, None, 0, -5.0, np.nan, 1000.0]))
def test_a_recording_of_anything_is_measured_or_absent(name, values, time, rate):
    if name == "ibi":
        values, time = values[::32], time[::32]
    attrs = {"units": UNITS.get(name, "au")} | ({} if rate is None else {"sampling_rate": rate})
    channels = np.stack([values, -values, values]) if name in ("ecg", "acceleration") else values[None]
    signal = xr.DataArray(channels, dims=("channel", "time"), coords={"time": time}, attrs=attrs)
    with loud():
        block = extract_block({name: signal}, WINDOWS, names=(name,), rate=4.0)
    assert ((block.quality >= 0) & (block.quality <= 1)).all() and (block.present == (block.quality > 0)).all()
    assert all(bool(why) != here for why, here in zip(block.reasons, block.present, strict=True))
    for array in block.data.data_vars.values():
        assert np.isfinite(array.values[block.present]).all() and np.isnan(array.values[~block.present]).all()
    assert np.isnan(block.measures["features"].values[~block.present]).all()


@pytest.mark.parametrize(
    ("time", "said"),
    [
        (np.r_[0.0, 1, 2, 2, 3], "stands still at sample 3"),
        (np.r_[0.0, 1, 2, 1.5, 3], "runs backwards at sample 3"),
        (np.r_[0.0, 1, np.nan, 3, 4], "not a finite number"),
        (np.r_[0.0, 1, 2, 3, 1e9], "gaps that leave 5 of 1e"),
        (np.r_[0.0], "fewer than two"),
    ],
)
def test_a_wrong_clock_is_named(time, said):
    signal = xr.DataArray(np.ones((1, time.size)), dims=("channel", "time"), coords={"time": time})
    with pytest.raises(InputError, match=said):
        regular(signal)


def test_a_rate_that_contradicts_the_times_is_refused():
    signal = xr.DataArray(np.ones((1, 9)), dims=("channel", "time"), coords={"time": np.arange(9) / 4})
    with pytest.raises(InputError, match=r"1000 Hz, the times say 4 Hz"):
        regular(signal.assign_attrs(sampling_rate=1000.0))
    assert regular(signal.assign_attrs(sampling_rate=0.0)).rate == 4


@pytest.mark.parametrize("values", [np.zeros((2, 3, 4)), [], "text", [["a"]]])
def test_what_is_no_signal_is_refused(values):
    with pytest.raises(InputError, match="signal"):
        as_regular(values, 10.0)


@pytest.mark.parametrize("windows", [[(0.0, np.nan)], [(5.0, 1.0)], [(0.0, np.inf)]])
def test_impossible_windows_are_refused(windows):
    signal = xr.DataArray(np.arange(40.0)[None], dims=("channel", "time"), coords={"time": np.arange(40.0)})
    with pytest.raises(InputError, match="window"):
        extract_block({"temperature": signal}, windows, names=("temperature",), rate=4.0)
