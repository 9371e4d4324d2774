from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from edfio import Bdf, BdfSignal
from scipy.signal import find_peaks

from bayesaffect.errors import InputError
from bayesaffect.io import edf, mahnob, sessions, units
from bayesaffect.io.sessions import bdf
from bayesaffect.io.sessions import sheet as sheets
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
    """Every trap in one set; trap -> trial."""
    layout = Layout(clip_seconds=(2.0, 2.5), margin=1.5, video_rate=6.1, traps="all")
    folder = write_mahnob(tmp_path_factory.mktemp("mahnob") / "traps", subjects=6, clips=4, seed=2, layout=layout)
    return folder, json.loads((folder / "truth.json").read_text())["settings"]["traps"]


@pytest.fixture(scope="module")
def trap_listing(trapped):
    return mahnob.scan(trapped[0])


def session_of(trial, role="S"):
    subject, number = int(trial[1:3]), int(trial[5:])
    return str((subject - 1) * 130 + 2 * number - (role == "N"))


def test_scan_lists_stimulus_sessions_in_order(listing, folder):
    assert [s.name for s in listing.sources] == ["S01/T01", "S01/T02", "S02/T01", "S02/T02"]
    assert [t.name for t in listing.targets] == ["valence", "arousal", "emotion"] and not listing.omissions
    assert listing.modalities["physio"] == ("ecg", "eda", "respiration", "temperature")
    assert mahnob.scan(folder / "Sessions").sources == listing.sources


def test_scan_opens_no_bdf(folder, monkeypatch):
    monkeypatch.setattr(sessions, "read_bdf", lambda path: pytest.fail("opened a BDF"))
    assert len(mahnob.scan(folder).sources) == 4


def test_neutral_sessions_are_sources_of_their_own_and_can_be_read(tmp_path):
    layout = Layout(clip_seconds=(2, 2), margin=1, neutral=True, video_rate=5.3)
    listing = mahnob.scan(write_mahnob(tmp_path / "n", subjects=1, clips=1, seed=0, layout=layout))
    assert [(s.name, s.role) for s in listing.sources] == [("S01/N01", "neutral"), ("S01/T01", "stimulus")]
    recording, omissions = mahnob.read(listing.sources[0])
    (segment,) = recording.segments
    assert (segment.trial, segment.stimulus, segment.truth) == ("S01/N01", "neutral", {}) and not omissions
    assert set(recording.signals) == set(mahnob.LAYOUT.signals) and "face" in recording.videos


def test_clip_times_are_exact_to_a_sample(recordings, folder):
    for name, recording in recordings.items():
        session = next(folder.glob(f"Sessions/*/Part_{int(name[1:3])}_S_Trial{int(name[5:])}_*.bdf")).parent
        sheet = sheets.read_sheet(session / "session.xml")
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
    values, attrs = units.conductance(np.full((1, 4), stored), unit)
    assert values == pytest.approx(expected) and attrs["plausible"] == (expected > 0)


def test_idle_level_of_status_need_not_be_zero():
    status = np.full(1000, 0x1FF00)
    status[200:220] = status[700:720] = 0x1FF10
    assert bdf.clip_times(status, 100.0, "x.bdf") == (2.0, 7.0)


def test_only_the_bits_of_the_mask_count():
    status = np.zeros(1000)
    status[100:150] = 4  # another device on another bit
    status[200:220] = status[700:720] = 1
    assert bdf.clip_times(status, 100.0, "x.bdf", mask=1) == (2.0, 7.0)
    with pytest.raises(InputError, match="has 3 trigger pulses in Trig"):
        bdf.clip_times(status, 100.0, "x.bdf", trigger="Trig")


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
    sheet = sheets.read_sheet(folder / "Sessions" / "132" / "session.xml")
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
            if len(found) % 6 == 0:
                found.append(len(finder.detectMultiScale(cv2.cvtColor(frame[1], cv2.COLOR_BGR2GRAY), 1.15, 3)) == 1)
            else:
                found.append(found[-1])
    assert len(found) > 400 and np.mean(found) >= 0.95


def test_every_session_folder_is_a_source_or_an_omission_that_names_it(trapped, trap_listing):
    sources = [str(Path(s.files[0]).parent) for s in trap_listing.sources]
    omitted = [o.where for o in trap_listing.omissions if o.scope == "trial"]
    folders = sorted(str(f) for f in (trapped[0] / "Sessions").iterdir())
    assert sorted(sources + omitted) == folders and len(folders) == 23 + 6
    assert all(o.what and o.remedy for o in trap_listing.omissions)


@pytest.mark.parametrize(
    ("trap", "said"),
    [
        ("no_felt", "no felt\\* rating"),
        ("rating_ten", 'feltVlnc="10" is above 9'),
        ("no_bdf", "session.xml names the BDF 'Part_.*bdf', which is missing"),
        ("xml_broken", "no readable XML"),
        ("no_xml", "session.xml is missing"),
    ],
)
def test_traps_that_cost_a_trial_are_found_by_scan(trapped, trap_listing, trap, said):
    trial = trapped[1][trap]
    assert trial not in {s.name for s in trap_listing.sources}
    (omission,) = [o for o in trap_listing.omissions if Path(o.where).name == session_of(trial)]
    assert omission.scope == "trial" and re.search(said, omission.what)


@pytest.mark.parametrize(
    ("trap", "said"),
    [
        ("one_trigger", "has 1 trigger pulse in Status"),
        ("no_trigger", "has 0 trigger pulses"),
        ("three_triggers", "has 3 trigger pulses"),
        ("bdf_cut", r"is cut short, 5\d % of its data"),
    ],
)
def test_traps_that_cost_a_trial_are_found_by_read(trapped, trap_listing, trap, said):
    source = next(s for s in trap_listing.sources if s.name == trapped[1][trap])
    with pytest.raises(InputError, match=said) as error:
        mahnob.read(source)
    assert error.value.where.endswith("_emotion.bdf") and error.value.remedy


@pytest.mark.parametrize(
    ("trap", "lost"),
    [("no_valence", "valence"), ("rating_zero", "arousal"), ("emotion_other", "emotion"), ("idle_status", None)],
)
def test_traps_that_cost_at_most_an_answer(trapped, trap_listing, trap, lost):
    recording, omissions = mahnob.read(next(s for s in trap_listing.sources if s.name == trapped[1][trap]))
    assert set(recording.segments[0].truth) == {"valence", "arousal", "emotion"} - {lost}
    assert recording.segments[0].start == 1.5 and not [o for o in omissions if not o.what.startswith("eda")]


@pytest.mark.parametrize(("trap", "said"), [("no_video", "missing"), ("one_track", "missing")])
def test_a_missing_video_is_reported_once(trapped, trap_listing, trap, said):
    source = next(s for s in trap_listing.sources if s.name == trapped[1][trap])
    recording, omissions = mahnob.read(source)
    home = str(Path(source.files[0]).parent)
    every = [o for o in (*trap_listing.omissions, *omissions) if "video" in o.what and o.where.startswith(home)]
    assert not recording.videos and [o.scope for o in every] == ["modality"] and said in every[0].what


@pytest.mark.parametrize(("trap", "said"), [("bad_video", "cannot be opened"), ("no_clock", "gives no usable audRate")])
def test_traps_that_cost_the_video(trapped, trap_listing, trap, said):
    recording, omissions = mahnob.read(next(s for s in trap_listing.sources if s.name == trapped[1][trap]))
    about = [o for o in omissions if not o.what.startswith("eda")]
    assert not recording.videos and [o.scope for o in about] == ["modality"] and said in about[0].what


def test_a_constant_channel_stays_for_the_eeg_stage_to_repair(trapped, trap_listing):
    source = next(s for s in trap_listing.sources if s.name == trapped[1]["constant_channel"])
    flat = mahnob.read(source)[0].signals["eeg"].std("time")
    assert flat["channel"].values[flat.values < 0.01].tolist() == ["T8"]


def test_missing_trials_gaze_tables_and_spaces_are_no_matter(trapped, trap_listing):
    names = {s.name for s in trap_listing.sources}
    assert "S03/T04" not in names and len(names) == 23 + 6 - 5
    whole = next(s for s in trap_listing.sources if s.role == "stimulus" and len(s.files) == 3)
    home = Path(whole.files[0]).parent
    (gaze,) = home.glob("*.tsv")
    assert gaze.name in (home / "session.xml").read_text() and len(gaze.read_text().splitlines()) > 100
    assert " " in Path(whole.files[2]).name and mahnob.read(whole)[0].videos["face"].rate == 6.1


def test_neutral_clips_of_a_subject_without_a_usable_stimulus_are_left_out(tmp_path):
    layout = Layout(clip_seconds=(2, 2), margin=1, neutral=1, video_rate=5.3)
    folder = write_mahnob(tmp_path / "n", subjects=2, clips=2, seed=0, layout=layout)
    for number in (2, 4):
        (folder / "Sessions" / str(number) / "session.xml").unlink()
    listing = mahnob.scan(folder)
    assert [s.name for s in listing.sources] == ["S02/N01", "S02/T01", "S02/T02"]
    assert [Path(o.where).name for o in listing.omissions] == ["2", "4", "1"]
    assert "without any stimulus session" in listing.omissions[-1].what


def test_a_second_copy_of_a_trial_and_other_folders_are_listed(folder, tmp_path):
    place = Path(shutil.copytree(folder, tmp_path / "set")) / "Sessions"
    shutil.copytree(place / "2", place / "999")
    (place / "notes").mkdir()
    (place / "4" / "session.xml").write_text(
        (place / "4" / "session.xml").read_text().replace("emotion elicitation", "implicit tagging")
    )
    listing = mahnob.scan(place.parent)
    assert [s.name for s in listing.sources] == ["S01/T01", "S02/T01", "S02/T02"]
    said = {Path(o.where).name: o.what for o in listing.omissions}
    assert set(said) == {"4", "999", "notes"} and "tagging experiment" in said["4"]
    assert "same subject and trial (S01/T01) as 2" in said["999"]


def test_dead_skin_conductance_is_marked_and_listed(trapped, trap_listing):
    people = read_truth(trapped[0]).subjects
    dead = str(people["subject"].values[people["gsr_dead"].values][0])
    source = next(s for s in trap_listing.sources if s.subject == dead and s.role == "neutral")
    recording, (omission,) = mahnob.read(source)
    assert not recording.signals["eda"].attrs["plausible"]
    assert omission.scope == "modality" and re.match(
        r"eda: its median of .* uS is not within 0\.5\.\.50", omission.what
    )
    alive = next(s for s in trap_listing.sources if s.subject != dead and s.role == "neutral")
    assert mahnob.read(alive)[0].signals["eda"].attrs["plausible"] and not mahnob.read(alive)[1]


@pytest.mark.parametrize(
    ("attribute", "bdf", "expected"),
    [
        ('isStim="0"', "Part_1_S_Trial1_emotion.bdf", False),
        ("", "Part_1_S_Trial1_emotion.bdf", True),
        ("", "Part_1_N_Trial1_emotion.bdf", False),
        ('feltVlnc="3"', "Trial1.bdf", True),
        ("", "Trial1.bdf", False),
    ],
)
def test_what_is_a_stimulus(tmp_path, attribute, bdf, expected):
    path = tmp_path / "session.xml"
    path.write_text(f'<session {attribute}><subject id="1"/><track type="Physiological" filename="{bdf}"/></session>')
    assert sheets.read_sheet(path).stimulus is expected


def test_mixed_rates_are_each_read_at_their_own(tmp_path):
    ramp = np.arange(320.0)
    signals = [BdfSignal(np.sin(np.arange(2560) / 9), 256, label="Cz", physical_dimension="uV", physical_range=(-2, 2))]
    signals.append(BdfSignal(ramp, 32, label="GSR", physical_dimension="mV", physical_range=(-400, 400)))
    Bdf(signals, data_record_duration=1).write(tmp_path / "mixed.bdf")
    header = edf.read_header(tmp_path / "mixed.bdf")
    values, rate, said = edf.Signals(tmp_path / "mixed.bdf", header).read(["gsr"], span=(1.0, 3.01))
    assert rate == 32 and said == ("mV",) and values[0] == pytest.approx(ramp[32:97], abs=1e-3)
    with pytest.raises(InputError, match=r"at \[32.0, 256.0\] Hz"):
        edf.Signals(tmp_path / "mixed.bdf", header).read(["Cz", "GSR"])


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (2.0, "mV", (2000.0, "uV")),
        (3.0, "kOhm", (1e3 / 3, "uS")),
        (0.0, "Ohm", (0.0, "uS")),
        (160.0, "31.25 nS", (5.0, "uS")),
        (98.6, "degF", (37.0, "degC")),
        (300.0, "K", (26.85, "degC")),
        (9.80665, "m/s²", (1.0, "g")),
        (800.0, "ms", (0.8, "s")),
        (1.2, "Hz", (72.0, "1/min")),
        (7.0, "µV", (7.0, "uV")),
    ],
)
def test_units(value, unit, expected):
    values, name = units.convert(np.array([value]), unit)
    assert (values[0], name) == (pytest.approx(expected[0]), expected[1])


@pytest.mark.parametrize("unit", ["Ohm", "kOhm", "nS", "uS", "K", "uV"])
def test_what_is_not_known_stays_unknown(unit):
    assert np.isnan(units.convert(np.array([np.nan]), unit)[0]).all()


def test_unknown_units_are_refused():
    with pytest.raises(InputError, match="'furlong' is not known"):
        units.convert(np.zeros(1), "furlong")
