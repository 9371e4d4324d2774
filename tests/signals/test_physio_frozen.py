"""What networks read of physiology is frozen: scores were measured with these numbers, and models trained on them."""

import numpy as np
import pytest
import xarray as xr

from bayesaffect.signals.physio import extract_block

WINDOWS = [(5.0, 35.0), (40.0, 70.0), (75.0, 105.0)]


def body():
    """Two minutes of seven signals without any defect, from formulas and fixed seeds."""
    rng, signals = np.random.default_rng(11), {}

    def add(name, rate, units, values):
        values = np.atleast_2d(values)
        coords = {"time": np.arange(values.shape[1]) / rate}
        attrs = {"units": units, "sampling_rate": float(rate)}
        signals[name] = xr.DataArray(values, dims=("channel", "time"), coords=coords, attrs=attrs)

    def clock(rate):
        time = np.arange(0, 110, 1 / rate)
        heart = np.cumsum(1.2 + 0.08 * np.sin(2 * np.pi * 0.25 * time) + 0.04 * np.sin(2 * np.pi * 0.09 * time)) / rate
        return time, heart % 1

    time, phase = clock(256)
    beat = np.exp(-((phase - 0.5) ** 2) / (2 * 0.012**2)) + 0.25 * np.exp(-((phase - 0.8) ** 2) / (2 * 0.05**2))
    drift = 200 * np.sin(2 * np.pi * time / 37)
    leads = np.array([[-350.0], [650.0], [-350.0]]) * beat + drift
    add("ecg", 256, "uV", leads + 6 * rng.normal(size=leads.shape))
    time, phase = clock(64)
    pulse = np.exp(-((phase - 0.4) ** 2) / 0.02) + 0.3 * np.exp(-((phase - 0.75) ** 2) / 0.02)
    add("bvp", 64, "au", 50 * pulse * (1 + 0.2 * np.sin(time / 9)) + 0.5 * rng.normal(size=time.size))
    time, _ = clock(256)
    onset = np.array([8.0, 22.0, 30.0, 47.0, 58.0, 66.0, 81.0, 99.0])
    after = np.maximum(time - onset[:, None], 0)
    eda = 4 + 0.003 * time + 0.4 * (np.exp(-after / 4) - np.exp(-after / 0.8)).sum(0)
    add("eda", 256, "uS", eda + 0.003 * rng.normal(size=time.size))
    belt = 3000 * np.sin(2 * np.pi * 0.25 * time + 0.5 * np.sin(time / 15)) * (1 + 0.2 * np.sin(time / 11))
    add("respiration", 256, "uV", belt + 20 * rng.normal(size=time.size))
    add("temperature", 256, "degC", 32 + 0.001 * time + 0.002 * rng.normal(size=time.size))
    walk = np.cumsum(0.02 * rng.normal(size=(3, 32 * 110)), axis=1)
    add("acceleration", 32, "g", np.array([[0.1], [0.5], [0.8]]) + 0.1 * np.sin(walk))
    add("heart_rate", 1, "1/min", 72 + 5 * np.sin(np.arange(110) / 13))
    return signals


FEATURES = {
    "ecg_heart_rate": 72,
    "ecg_heart_rate_slope": 2.05427,
    "ecg_heart_rate_sd": 3.61471,
    "ecg_log_rmssd": 1.67529,
    "ecg_log_sdnn": 1.63894,
    "ecg_pnn50": 37.1429,
    "ecg_heart_rate_low": 67.2213,
    "ecg_heart_rate_high": 77.1859,
    "ecg_change": -0.221438,
    "ecg_valid": 1,
    "bvp_heart_rate": 71.968,
    "bvp_heart_rate_slope": 2.00843,
    "bvp_heart_rate_sd": 3.60443,
    "bvp_log_rmssd": 1.67399,
    "bvp_log_sdnn": 1.63741,
    "bvp_pnn50": 40,
    "bvp_heart_rate_low": 67.314,
    "bvp_heart_rate_high": 76.8662,
    "bvp_change": -0.264346,
    "bvp_log_amplitude": 1.67713,
    "bvp_amplitude_variation": 0.0631706,
    "bvp_amplitude_change": -0.0545329,
    "bvp_valid": 1,
    "eda_log_level": 0.631991,
    "eda_level_slope": 0.492512,
    "eda_level_sd": -1.01232,
    "eda_scr_count": 6,
    "eda_scr_amplitude": 1.30978,
    "eda_scr_rise_time": 1.77083,
    "eda_phasic_area": 1.93423,
    "eda_phasic_sd": -1.19607,
    "eda_change": 0.0126784,
    "eda_valid": 1,
    "respiration_rate_mean": 14.7714,
    "respiration_rate_sd": 0.122191,
    "respiration_log_depth": 3.72268,
    "respiration_depth_variation": 0.0746433,
    "respiration_inhale_share": 0.50055,
    "respiration_change": -0.252335,
    "respiration_valid": 1,
    "temperature_mean": 32.055,
    "temperature_slope": 0.0601244,
    "temperature_sd": 0.00890508,
    "temperature_low": 32.0429,
    "temperature_high": 32.067,
    "temperature_change": 0.0349984,
    "temperature_valid": 1,
    "acceleration_log_magnitude_sd": -1.97494,
    "acceleration_log_jerk": -1.20421,
    "acceleration_log_energy": -4.65491,
    "acceleration_still": 1,
    "acceleration_x": 0.0601026,
    "acceleration_y": 0.421852,
    "acceleration_z": 0.896032,
    "acceleration_x_sd": 0.0106869,
    "acceleration_y_sd": 0.0265451,
    "acceleration_z_sd": 0.00295562,
    "acceleration_change": -0.0756735,
    "acceleration_valid": 1,
    "heart_rate_mean": 68.5609,
    "heart_rate_slope": -10.0156,
    "heart_rate_sd": 1.64466,
    "heart_rate_low": 67.0425,
    "heart_rate_high": 71.2115,
    "heart_rate_change": -6.68003,
    "heart_rate_valid": 1,
}
SERIES = {
    "ecg_heart_rate": (74.8144, 72.0332, 3.22861),
    "bvp_heart_rate": (74.8325, 72.0396, 3.22765),
    "bvp_log_amplitude": (1.63503, 1.67994, 0.0632044),
    "eda_log_level": (0.637788, 0.631812, 0.00974467),
    "eda_phasic": (0.945532, -0.0630914, 0.788596),
    "respiration_wave": (0.0363118, 0.0173212, 0.2916),
    "respiration_rate": (14.7059, 14.7702, 0.104426),
    "temperature_level": (32.05, 32.0549, 0.00867562),
    "acceleration_activity": (-2.34902, -2.33802, 0.0912044),
    "acceleration_x": (0.0663203, 0.0601405, 0.0106805),
    "acceleration_y": (0.421844, 0.422165, 0.0268152),
    "acceleration_z": (0.896144, 0.896045, 0.00295683),
    "heart_rate_level": (68.7615, 68.508, 1.58699),
}


def test_networks_read_what_they_always_read():
    block = extract_block(body(), WINDOWS, names=tuple(body()), rate=4.0)
    features = dict(zip(block.data["feature"].values, block.data["features"].values[1], strict=True))
    series = dict(zip(block.data["signal"].values, block.data["series"].values[1], strict=True))
    assert list(features) == list(FEATURES) and list(series) == list(SERIES)
    # 1e-3: libraries of another version may round a peak's place differently
    assert list(features.values()) == pytest.approx(list(FEATURES.values()), rel=1e-3, abs=1e-4)
    found = {name: (row[40], row.mean(), row.std()) for name, row in series.items()}
    for name, expected in SERIES.items():
        assert found[name] == pytest.approx(expected, rel=1e-3, abs=1e-4), name
