import numpy as np
import pytest
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.signals.window import cut_windows, frame_times, sampling_rate, window_slices
from bayesaffect.types import Recording, Segment, Video


def recording(*spans, seconds=100.0, rate=10.0, start=0.0):
    time = start + np.arange(int(seconds * rate)) / rate
    attrs = {"units": "uV", "sampling_rate": rate}
    signal = xr.DataArray(np.zeros((1, time.size)), dims=("channel", "time"), coords={"time": time}, attrs=attrs)
    segments = tuple(Segment(f"S/T{k}", a, b, f"clip{k}") for k, (a, b) in enumerate(spans))
    return Recording("S", "folder", (), {"eeg": signal}, segments)


@pytest.mark.parametrize(("anchor", "expected"), [("end", (30.0, 40.0)), ("start", (20.0, 30.0))])
def test_window_lies_at_the_asked_end_of_the_segment(anchor, expected):
    assert cut_windows(recording((20, 40)), 10.0, anchor=anchor)[1] == (expected,)


def test_short_and_outlying_segments_are_left_out_with_a_reason():
    segments, windows, omissions = cut_windows(recording((0, 5), (20, 40), (90, 104)), 10.0)
    assert [s.trial for s in segments] == ["S/T1"] and windows == ((30.0, 40.0),)
    assert [o.where for o in omissions] == ["S/T0", "S/T2"]
    assert "shorter" in omissions[0].what and "outside" in omissions[1].what


def test_last_sample_counts_for_its_whole_interval():
    assert len(cut_windows(recording((90, 100)), 10.0)[0]) == 1


def test_whole_segments_must_be_equally_long():
    assert cut_windows(recording((0, 10), (20, 30)), None)[1] == ((0, 10), (20, 30))
    with pytest.raises(InputError, match="5 s to 10 s"):
        cut_windows(recording((0, 10), (20, 25)), None)


@pytest.mark.parametrize("options", [{"window_s": 0.0}, {"window_s": -1.0}, {"window_s": 5.0, "anchor": "middle"}])
def test_impossible_settings_are_refused(options):
    with pytest.raises(InputError):
        cut_windows(recording((0, 10)), **options)


def test_video_alone_gives_no_recorded_time():
    alone = Recording("S", "x", (), {}, (Segment("a", 0, 9e3, "c"),), {"face": Video("v.avi", 0.0, 25.0)})
    assert len(cut_windows(alone, 5.0)[0]) == 1


def test_slices_hold_the_samples_of_the_window():
    time = 3.0 + np.arange(100) / 10
    first, gone = window_slices(time, [(4.0, 6.0), (12.0, 14.0)], 10.0)
    assert (first.start, first.stop) == (10, 30) and gone is None
    np.testing.assert_allclose(time[first][[0, -1]], [4.0, 5.9])


def test_frames_lie_at_the_middle_of_equal_parts():
    np.testing.assert_allclose(frame_times([(2.0, 3.0), (10.0, 11.0)], 2.0), [[2.25, 2.75], [10.25, 10.75]])
    with pytest.raises(InputError, match="equally long"):
        frame_times([(0.0, 1.0), (0.0, 3.0)], 2.0)


def test_irregular_sampling_is_refused():
    time = np.r_[np.arange(10), 15.0]
    signal = xr.DataArray(np.zeros((1, 11)), dims=("channel", "time"), coords={"time": time})
    with pytest.raises(InputError, match="gap of 6 s"):
        sampling_rate(signal)
    assert sampling_rate(signal[:, :10]) == 1.0
