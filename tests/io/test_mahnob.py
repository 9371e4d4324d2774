from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy.signal import find_peaks

from bayesaffect.io import mahnob, mahnob_bdf
from bayesaffect.simulate import Layout, read_truth, write_mahnob
from bayesaffect.types import Source

LAYOUT = Layout(clip_seconds=(8.0, 10.0), margin=3.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_mahnob(tmp_path_factory.mktemp("mahnob") / "set", subjects=2, clips=2, seed=5, layout=LAYOUT)


@pytest.fixture(scope="module")
def listing(folder):
    return mahnob.scan(folder)


@pytest.fixture(scope="module")
def recordings(listing):
    return {source.name: mahnob.read(source)[0] for source in listing.sources}


@pytest.fixture(scope="module")
def trapped(tmp_path_factory):
    layout = Layout(clip_seconds=(2.0, 2.5), margin=1.5, video_rate=6.1)
    return write_mahnob(tmp_path_factory.mktemp("mahnob") / "traps", subjects=6, clips=6, seed=2, layout=layout)


def test_scan_lists_stimulus_sessions_in_order(listing, folder):
    assert [s.name for s in listing.sources] == ["S01/T01", "S01/T02", "S02/T01", "S02/T02"]
    assert [t.name for t in listing.targets] == ["valence", "arousal", "emotion"] and not listing.omissions
    assert listing.modalities["physio"] == ("ecg", "eda", "respiration", "temperature")
    assert mahnob.scan(folder / "Sessions").sources == listing.sources


def test_scan_opens_no_bdf(folder, monkeypatch):
    monkeypatch.setattr(mahnob, "read_bdf", lambda path: pytest.fail("opened a BDF"))
    assert len(mahnob.scan(folder).sources) == 4


def test_neutral_sessions_are_passed_over(tmp_path):
    layout = Layout(clip_seconds=(2, 2), margin=1, neutral=True, video_rate=5.3)
    listing = mahnob.scan(write_mahnob(tmp_path / "n", subjects=1, clips=1, seed=0, layout=layout))
    assert [s.name for s in listing.sources] == ["S01/T01"] and not listing.omissions


def test_clip_times_are_exact_to_a_sample(recordings, folder):
    for name, recording in recordings.items():
        session = next(folder.glob(f"Sessions/*/Part_{int(name[1:3])}_S_Trial{int(name[5:])}_*.bdf")).parent
        sheet = mahnob._read_sheet(session / "session.xml")
        (segment,) = recording.segments
        assert segment.start == 3.0
        assert segment.stop - segment.start == pytest.approx(sheet.value("cutLenSec"), abs=6e-4)
        assert (segment.stop * 256).is_integer()


def test_truth_comes_back(recordings, folder):
    trials = read_truth(folder).trials
    for name, recording in recordings.items():
        row, (segment,) = trials.sel(trial=name), recording.segments
        assert [segment.truth[t] for t in ("valence", "arousal")] == row["rating"].values.tolist()
        assert segment.truth["emotion"] == row["emotion"] and segment.stimulus == row["stimulus"]
        assert segment.trial == name and recording.subject == name[:3]


def test_units_and_sizes(recordings):
    signals = recordings["S01/T01"].signals
    units = {name: array.attrs["units"] for name, array in signals.items()}
    assert units == {"eeg": "uV", "ecg": "uV", "eda": "uS", "respiration": "uV", "temperature": "degC"}
    assert signals["eeg"].shape[0] == 32 and signals["ecg"].sizes["channel"] == 3
    assert 29 < float(signals["temperature"].mean()) < 35 and signals["eeg"].attrs["sampling_rate"] == 256
    ecg = np.subtract(*signals["ecg"].values[1:])
    assert 700 < np.ptp(ecg) < 2500


@pytest.mark.parametrize(("subject", "way"), [("S01", "resistance in Ohm"), ("S02", "conductance in 31.25 nS")])
def test_skin_conductance_from_either_unit(recordings, subject, way):
    eda = recordings[f"{subject}/T01"].signals["eda"]
    assert eda.attrs["decision"].startswith(way) and eda.attrs["plausible"]
    assert 2 < float(eda.median()) < 14


@pytest.mark.parametrize(
    ("stored", "unit", "expected"),
    [
        (2e5, "Ohm", 5.0),
        (160.0, "nS", 5.0),
        (5000.0, "nS", 5.0),
        (2e5, "", 5.0),
        (160.0, "", 5.0),
        (5.0, "uS", 5.0),
        (0.0, "Ohm", 0.0),
    ],
)
def test_conductance_by_header_and_range(stored, unit, expected):
    values, attrs = mahnob_bdf.conductance(np.full((1, 4), stored), unit)
    assert values == pytest.approx(expected) and attrs["plausible"] == (expected > 0)


def test_idle_level_of_status_need_not_be_zero():
    status = np.full(1000, 0x1FF00)
    status[200:220] = status[700:720] = 0x1FF10
    assert mahnob_bdf.clip_times(status, 100.0, "x.bdf") == (2.0, 7.0)


def test_channels_are_found_whatever_their_case(folder, tmp_path):
    source = mahnob.scan(folder).sources[0]
    data = bytearray(open(source.files[1], "rb").read())
    data[256 : 256 + 47 * 16] = bytes(data[256 : 256 + 47 * 16]).upper()
    changed = tmp_path / "upper.bdf"
    changed.write_bytes(data)
    recording, _ = mahnob.read(Source(source.name, source.subject, (source.files[0], str(changed))))
    assert recording.signals["eeg"]["channel"].values[0] == "Fp1" and not recording.videos


def closures_of_the_lids(video):
    """Middles of the stretches of at most 5 frames in which no white of the eye is seen, on the recording's clock."""
    film, light = cv2.VideoCapture(video.path), []
    while (frame := film.read())[0]:
        light.append(np.percentile(frame[1][50:68, 50:110].min(2), 97))
    dark = np.flatnonzero(light < (np.min(light) + np.median(light)) / 2)
    groups = np.split(dark, np.flatnonzero(np.diff(dark) > 1) + 1)
    return np.array([video.start + g.mean() / video.rate for g in groups if g.size <= 5])


def test_video_and_electrodes_see_the_same_blinks(recordings):
    offsets = []
    for recording in recordings.values():
        eeg = recording.signals["eeg"]
        wave = (eeg.sel(channel="Fp1") - eeg.sel(channel="Pz")).values
        peaks, _ = find_peaks(wave - np.median(wave), height=70, distance=60)
        closed = closures_of_the_lids(recording.videos["face"])
        offsets += [np.abs(closed - t).min() for t in eeg["time"].values[peaks] if closed[0] - 1 < t < closed[-1] + 1]
    assert len(offsets) >= 8 and np.median(offsets) < 0.07


def test_video_start_follows_the_audio_clock(recordings, folder):
    recording = recordings["S02/T01"]
    sheet = mahnob._read_sheet(folder / "Sessions" / "132" / "session.xml")
    lead = (sheet.value("audBeginSmp") - sheet.value("vidBeginSmp")) / sheet.value("audRate")
    video = recording.videos["face"]
    assert video.start == pytest.approx(3.0 - lead) and 1.0 < lead < 2.0 and video.rate == 15.02
    assert cv2.VideoCapture(video.path).get(cv2.CAP_PROP_FPS) == pytest.approx(15.02, abs=1e-3)


def test_centred_video_on_request(listing):
    recording, omissions = mahnob.read(listing.sources[0], align="centred")
    video, (segment,) = recording.videos["face"], recording.segments
    frames = cv2.VideoCapture(video.path).get(cv2.CAP_PROP_FRAME_COUNT)
    middle = video.start + frames / video.rate / 2
    assert middle == pytest.approx((segment.start + segment.stop) / 2) and not omissions


def test_cascade_finds_the_face_in_the_video(recordings):
    finder = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_alt2.xml")
    found = []
    for recording in recordings.values():
        film = cv2.VideoCapture(recording.videos["face"].path)
        while (frame := film.read())[0]:
            if len(found) % 3 == 0:
                found.append(len(finder.detectMultiScale(cv2.cvtColor(frame[1], cv2.COLOR_BGR2GRAY), 1.15, 3)) == 1)
            else:
                found.append(found[-1])
    assert len(found) > 400 and np.mean(found) >= 0.95


def test_traps_are_met(trapped):
    listing = mahnob.scan(trapped)
    assert len(listing.sources) == 34
    felt, video = sorted(listing.omissions, key=lambda o: o.scope, reverse=True)
    assert (felt.scope, video.scope) == ("trial", "modality")
    assert "felt" in felt.what and felt.where.endswith("session.xml")
    assert "video" in video.what and video.where.endswith(".avi")
    names = {s.name: s for s in listing.sources}
    assert "S03/T06" not in names and not mahnob.read(names["S05/T05"])[0].videos
    flat = mahnob.read(names["S02/T04"])[0].signals["eeg"].std("time")
    assert flat["channel"].values[flat.values < 0.01].tolist() == ["T8"]


def test_dead_skin_conductance_is_marked(trapped):
    people = read_truth(trapped).subjects
    dead = str(people["subject"].values[people["gsr_dead"].values][0])
    source = next(s for s in mahnob.scan(trapped).sources if s.subject == dead)
    assert not mahnob.read(source)[0].signals["eda"].attrs["plausible"]
