import numpy as np
import pytest
import xarray as xr

from bayesaffect.signals.face.dynamics import coactivate, describe

RATE = 8.0
TIME = np.arange(0, 30, 1 / RATE)


def units(prominence=0.0, **columns):
    table = np.stack(list(columns.values()), axis=1)
    coords = {"unit": list(columns)}
    return xr.DataArray(table, dims=("frame", "unit"), coords=coords, attrs={"prominence": prominence})


def bumps(at, height=1.0, width=0.4):
    return sum(height * np.exp(-((TIME - t) ** 2) / (2 * width**2)) for t in at)


def test_level_spread_and_speed_are_those_of_the_visible_frames():
    x = np.array([0.0, 1.0, 4.0, np.nan, 2.0, 2.5, 1.0, 0.0, 3.0, 1.0])
    found = describe(units(AU12=x), rate=4.0)
    seen = x[np.isfinite(x)]
    np.testing.assert_allclose(found.sel(feature="AU12_mean"), seen.mean())
    np.testing.assert_allclose(found.sel(feature="AU12_sd"), seen.std())
    steps = [1, 3, 0.5, 1.5, 1, 3, 2]  # none across the frame without a face
    np.testing.assert_allclose(found.sel(feature="AU12_velocity_per_s"), 4 * np.mean(steps))


def test_peaks_are_counted_per_minute():
    found = describe(units(AU12=bumps([4, 11, 19, 26]), AU06=0.2 * TIME), rate=RATE)
    assert float(found.sel(feature="AU12_peaks_per_min")) == pytest.approx(4 / 0.5)
    assert float(found.sel(feature="AU06_peaks_per_min")) == 0


def test_a_peak_below_the_least_prominence_or_at_an_edge_does_not_count():
    low = bumps([4, 11, 19], height=0.3)
    assert float(describe(units(AU12=low), rate=RATE).sel(feature="AU12_peaks_per_min")) == pytest.approx(6)
    assert float(describe(units(0.5, AU12=low), rate=RATE).sel(feature="AU12_peaks_per_min")) == 0
    cut = bumps([4, 11, 19])
    cut[(TIME > 10.9) & (TIME < 12)] = np.nan  # the face is lost on the way up
    share = np.isfinite(cut).mean()
    assert float(describe(units(AU12=cut), rate=RATE).sel(feature="AU12_peaks_per_min")) == pytest.approx(4 / share)


def test_coactivation_is_a_correlation():
    rng = np.random.default_rng(0)
    a = rng.normal(size=TIME.size)
    b = 0.6 * a + 0.8 * rng.normal(size=TIME.size)
    a[5:9] = np.nan
    table = units(AU06=a, AU12=b, AU25=np.full(TIME.size, 0.3))
    expected = np.corrcoef(np.delete(a, slice(5, 9)), np.delete(b, slice(5, 9)))[0, 1]
    matrix = coactivate(table)
    assert float(matrix.sel(unit="AU06", other_unit="AU12")) == pytest.approx(expected)
    assert np.isnan(matrix.sel(unit="AU25", other_unit=["AU06", "AU12", "AU25"])).all()
    found = describe(table, rate=RATE)
    assert float(found.sel(feature="coactivation_AU06_AU12")) == pytest.approx(expected)
    assert np.isnan(found.sel(feature="coactivation_AU12_AU25"))


def test_what_cannot_be_told_is_nan():
    short = units(AU06=np.r_[0.1, 0.5, np.full(20, np.nan)], AU12=np.r_[0.3, 0.2, np.full(20, np.nan)])
    found = describe(short, rate=RATE)
    assert np.isfinite(found.sel(feature=["AU06_mean", "AU06_sd", "AU06_velocity_per_s"])).all()
    assert np.isnan(found.sel(feature=["AU06_peaks_per_min", "coactivation_AU06_AU12"])).all()
    nobody = describe(units(AU06=np.full(22, np.nan), AU12=np.full(22, np.nan)), rate=RATE)
    assert np.isnan(nobody).all() and list(nobody["feature"].values) == list(found["feature"].values)
