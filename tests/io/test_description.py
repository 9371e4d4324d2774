from __future__ import annotations

import re
import tomllib
from pathlib import Path

import cv2
import mne
import numpy as np
import pandas as pd
import pytest
from edfio import Edf, EdfSignal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bayesaffect.errors import InputError
from bayesaffect.io import description
from bayesaffect.io.description import document
from bayesaffect.simulate import Layout, read_truth, write_tutorial
from bayesaffect.simulate.sheet import stored_rating

TOML = """
layout = "table"
trials = "trials.csv"
[targets.valence]
bounds = [-10, 10]
missing = [-99]
[targets.mood]
levels = ["calm", "tense"]
[signals.eeg]
file = "{subject}.edf"
channels = ["cz", "Pz"]
[signals.eda]
file = "eda_{subject}.csv"
channels = ["EDA"]
units = "kOhm"
rate = 4
start = "late"
[signals.respiration]
file = "belt_{trial:02}.npz"
array = "belt"
channels = ["chest", "waist"]
units = "au"
rate = 32.0
[videos.face]
file = "{subject}.avi"
start = 1.5
"""
TRIALS = """subject,trial,stimulus,start,stop,late,valence,mood,role
ann,1,film,200,210,-3.5,0,calm,
ann,2,song,230,240,-3.5,-99,tense,
bob,1,film,10,20,0,10,,
ann,0,rest,5,15,-3.5,,,neutral
"""


@pytest.fixture
def lab(tmp_path):
    """Two persons; EDF with a ramp on Pz, EDA as a table in kOhm, belts as NPZ, one video."""
    for subject in ("ann", "bob"):
        t = np.arange(256 * 300) / 256
        waves = {"Cz": np.sin(t), "Pz": t}
        edf = [
            EdfSignal(v, 256, label=k, physical_dimension="mV", physical_range=(-400, 400)) for k, v in waves.items()
        ]
        Edf(edf).write(tmp_path / f"{subject}.edf")
        pd.DataFrame({"EDA": 100 + np.arange(1200.0)}).to_csv(tmp_path / f"eda_{subject}.csv", index=False)
    for trial in (0, 1, 2):
        np.savez(tmp_path / f"belt_{trial:02}.npz", belt=np.arange(32 * 300 * 2.0).reshape(-1, 2), other=np.zeros(3))
    film = cv2.VideoWriter(str(tmp_path / "ann.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 12.5, (32, 32))
    for _ in range(25):
        film.write(np.zeros((32, 32, 3), np.uint8))
    film.release()
    (tmp_path / "trials.csv").write_text(TRIALS)
    (tmp_path / "lab.toml").write_text(TOML)
    return tmp_path / "lab.toml"


def read(path, name, **options):
    listing = description.scan(path)
    source = next(s for s in listing.sources if s.name == name)
    return description.read(source, targets=listing.targets, **options)


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_rows_become_sources_and_missing_files_are_listed(lab):
    listing = description.scan(lab)
    assert [(s.name, s.subject, s.role) for s in listing.sources] == [
        ("ann/1", "ann", "stimulus"),
        ("ann/2", "ann", "stimulus"),
        ("bob/1", "bob", "stimulus"),
        ("ann/0", "ann", "neutral"),
    ]
    assert listing.modalities == {"eeg": ("eeg",), "face": ("face",), "physio": ("eda", "respiration")}
    (omission,) = listing.omissions
    assert (omission.where, omission.scope) == ("bob/1", "modality") and "bob.avi" in omission.what
    assert listing.sources[0].files[-1] == str(lab) and len(listing.sources[0].files) == 6
    assert description.scan(lab.parent).sources == listing.sources


def test_signals_lie_on_the_clock_of_the_table_in_the_units_of_recordings(lab):
    recording, omissions = read(lab, "ann/1")
    signals = recording.signals
    assert {k: v.attrs["units"] for k, v in signals.items()} == {"eeg": "uV", "eda": "uS", "respiration": "au"}
    pz = signals["eeg"].sel(channel="Pz")
    assert pz["time"].values[0] == 50 and pz["time"].values[-1] == pytest.approx(240 - 1 / 256)
    assert pz.sel(time=205.0) == pytest.approx(205e3, abs=10)  # mV stored, uV handed on
    eda = signals["eda"]
    assert eda.sel(time=100.5).item() == pytest.approx(1e3 / (100 + 4 * 104)) and eda["time"].values[0] == 50.0
    assert signals["respiration"].sel(time=60.0).values.tolist() == [2 * 60 * 32, 2 * 60 * 32 + 1]
    assert recording.videos["face"].start == 1.5 and recording.videos["face"].rate == 12.5 and not omissions
    (segment,) = recording.segments
    assert (segment.start, segment.stop, segment.stimulus) == (200, 210, "film")


def test_answers_with_zero_legal_and_one_code_for_missing(lab):
    assert read(lab, "ann/1")[0].segments[0].truth == {"valence": 0.0, "mood": "calm"}
    assert read(lab, "ann/2")[0].segments[0].truth == {"mood": "tense"}
    assert read(lab, "bob/1")[0].segments[0].truth == {"valence": 10.0}
    neutral = read(lab, "ann/0")[0].segments[0]
    assert neutral.truth == {} and neutral.stimulus == "neutral"


def test_a_version_goes_with_its_trial(lab):
    assert read(lab, "ann/1")[0].segments[0].version is None
    rows = TRIALS.splitlines()
    table = [f"{row},{end}" for row, end in zip(rows, ["version", "old", "new", "", "old"], strict=True)]
    (lab.parent / "trials.csv").write_text("\n".join(table) + "\n")
    names = ("ann/1", "ann/2", "bob/1")
    assert [read(lab, name)[0].segments[0].version for name in names] == ["old", "new", ""]


def test_numbers_up_to_one_can_be_missing(lab):
    edit(lab, "missing = [-99]", 'missing = "<= 0"')
    edit(lab.parent / "trials.csv", "bob,1,film,10,20,0,10", "bob,1,film,10,20,0,0")
    listing = description.scan(lab)
    assert [s.name for s in listing.sources] == ["ann/1", "ann/2", "ann/0"]
    assert listing.omissions[0].where.endswith("trials.csv row 4") and "no rating" in listing.omissions[0].what


def test_conductance_without_units_is_decided_by_range(lab):
    edit(lab, 'units = "kOhm"', 'units = "Ohm"')
    _, (omission,) = read(lab, "ann/1")
    assert omission.scope == "modality" and "not within 0.5..50 uS; read as Ohm (by the description)" in omission.what


def test_irregular_times_from_a_column(lab):
    edit(lab, "rate = 4\n", 'time = "t"\n')
    path = lab.parent / "eda_ann.csv"
    table = pd.DataFrame({"t": np.r_[0:300:0.25], "EDA": 200.0}).drop(index=range(900, 940))
    table.to_csv(path, index=False)
    eda = read(lab, "ann/1")[0].signals["eda"]
    assert "sampling_rate" not in eda.attrs and float(np.diff(eda["time"]).max()) == 10.25
    table["t"] = table["t"].iloc[::-1].to_numpy()
    table.to_csv(path, index=False)
    recording, (omission,) = read(lab, "ann/1")
    assert "eda" not in recording.signals and "times in 't' do not increase at row" in omission.what


def test_trials_without_times_are_whole_files(lab):
    frame = pd.read_csv(lab.parent / "trials.csv").drop(columns=["start", "stop"])
    frame.to_csv(lab.parent / "trials.csv", index=False)
    (segment,) = read(lab, "ann/1")[0].segments
    assert (segment.start, segment.stop) == (0.0, pytest.approx(1200 / 4 - 3.5))


BRAINVISION = """Brain Vision Data Exchange Header File Version 1.0
[Common Infos]
DataFile=ann_raw.eeg
DataFormat=BINARY
DataOrientation=MULTIPLEXED
NumberOfChannels=3
SamplingInterval=10000
[Binary Infos]
BinaryFormat=IEEE_FLOAT_32
[Channel Infos]
Ch1=Cz,,1,µV
Ch2=Pz,,1,µV
Ch3=A1,,1,µV
"""


@pytest.mark.parametrize("kind", [".fif", ".vhdr"])
def test_other_formats_through_mne(lab, kind):
    waves = np.arange(3 * 30000.0).reshape(3, -1)  # uV at 100 Hz
    if kind == ".fif":
        info = mne.create_info(["Cz", "Pz", "A1"], 100.0, "eeg")
        mne.io.RawArray(1e-6 * waves, info, verbose="error").save(lab.parent / "ann_raw.fif", verbose="error")
    else:
        (lab.parent / "ann_raw.vhdr").write_text(BRAINVISION, encoding="utf-8")
        waves.T.astype("<f4").tofile(lab.parent / "ann_raw.eeg")
    edit(lab, '"{subject}.edf"', f'"{{subject}}_raw{kind}"')
    pz = read(lab, "ann/1")[0].signals["eeg"].sel(channel="Pz")
    assert float(pz.sel(time=205.0)) == pytest.approx(30000 + 20500, rel=1e-5) and pz.attrs["units"] == "uV"
    edit(lab, '["cz", "Pz"]\n', '["cz", "Pz"]\nunits = "uS"\n')
    recording, omissions = read(lab, "ann/1")
    assert "eeg" not in recording.signals and "tells volts" in omissions[0].what


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('layout = "table"', 'layout = "heap"', 'layout is \'heap\'; give "mahnob" or "table"'),
        ('layout = "table"\n', "", "layout is missing"),
        ('trials = "trials.csv"', 'trials = "gone.csv"', "trials: there is no file"),
        ("rate = 4\n", "rate = -4\n", "signals.eda.rate is -4; give a positive number"),
        ("rate = 4\n", "rate = 0\n", "signals.eda.rate is 0; give a positive number"),
        ("rate = 4\n", "rate = nan\n", "signals.eda.rate is nan; give a positive number"),
        ("rate = 4\n", "rate = true\n", "signals.eda.rate is True; give a positive number"),
        ("rate = 4\n", 'rate = 4\ntime = "t"\n', "signals.eda.rate is given beside time"),
        ("rate = 4\n", "raet = 4\n", "signals.eda.raet is unknown; did you mean 'rate'?"),
        ('units = "kOhm"', 'units = "furlong"', "signals.eda.units is 'furlong'; give one of V, mV, uV"),
        ('channels = ["EDA"]', 'channels = "EDA"', "signals.eda.channels is 'EDA'; give a list of different texts"),
        ('channels = ["cz", "Pz"]', 'channels = ["cz", "CZ"]', "signals.eeg.channels is ['cz', 'CZ']"),
        (
            "bounds = [-10, 10]",
            "bounds = [10, -10]",
            "targets.valence.bounds is [10, -10]; give [low, high] with low <",
        ),
        ("bounds = [-10, 10]\n", "", "targets.valence.bounds and levels: exactly one of them"),
        ('levels = ["calm", "tense"]', 'levels = ["calm"]', "targets.mood.levels is ['calm']; give at least two names"),
        ("missing = [-99]", 'missing = "few"', "targets.valence.missing is 'few'"),
        ('start = "late"', 'start = "later"', "signals.eda.start: the table trials.csv has no column 'later'"),
        ("{trial:02}", "{number}", "signals.respiration.file: the table trials.csv has no column 'number'"),
        (
            "[videos.face]",
            '[modalities]\nall = ["nose"]\n[videos.face]',
            "modalities.all names 'nose', which is no signal",
        ),
        ("[videos.face]", "[videos.eda]", "videos.eda.file belongs to a video that is called like a signal"),
        ("[signals.eeg]", "[signals]\neeg = 3\n[signals.x]", "signals.eeg is 3; write it as a table [signals.name]"),
        ("[targets.valence]", "[targets.valence", "is no readable TOML"),
        (
            "[targets.valence]",
            "surprise = 1\n[targets.valence]",
            "surprise is unknown; known are layout, title, targets",
        ),
    ],
)
def test_a_mistake_is_one_sentence_with_file_and_key(lab, old, new, said):
    edit(lab, old, new)
    with pytest.raises(InputError) as error:
        description.scan(lab)
    text = str(error.value)
    assert said in text and text.startswith(f"{lab}: ") and "\n" not in text and error.value.remedy


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("valence,mood", "pleasure,mood", "targets.valence.from: the table trials.csv has no column 'valence'"),
        ("trial,stimulus,start,stop", "trial,stimulus,start,end", "columns.start and columns.stop"),
        ("subject,trial", "who,trial", "columns.subject: the table trials.csv has no column 'subject'"),
    ],
)
def test_a_table_that_does_not_fit_is_one_sentence_too(lab, old, new, said):
    edit(lab.parent / "trials.csv", old, new)
    with pytest.raises(InputError, match=re.escape(said)):
        description.scan(lab)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("ann,1,film,1,2,0,5,calm,", "repeats the trial ann/1"),
        ("ann,7,film,9,2,0,5,calm,", "runs from '9' to '2' s"),
        ("ann,7,film,9,x,0,5,calm,", "runs from '9' to 'x' s"),
        ("ann,7,film,1,2,0,55,calm,", 'valence="55" is above 10'),
        ("ann,7,film,1,2,0,high,calm,", 'valence="high" is not a number'),
        ("ann,7,film,1,2,0,5,clam,", "mood=\"clam\" is none of ['calm', 'tense']"),
        ("ann,7,film,1,2,0,,,", "has no rating"),
        (",7,film,1,2,0,5,calm,", "names no subject"),
        ("../ann,7,film,1,2,0,5,calm,", "calls its subject '../ann'"),
        ("ann,7,film,1,2,0,5,calm,rest", "has the role 'rest'"),
        ("eve,7,film,1,2,0,5,calm,", "has none of its files"),
    ],
)
def test_a_row_that_cannot_be_used_is_left_out_and_named(lab, row, said):
    table = lab.parent / "trials.csv"
    table.write_text(TRIALS + row + "\n")
    listing = description.scan(lab)
    assert len(listing.sources) == 4
    (omission,) = [o for o in listing.omissions if o.scope == "trial"]
    assert omission.where == f"{table} row 6" and said in omission.what and omission.remedy


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("ann.edf", b"", "no readable EDF"),
        ("ann.edf", b"0       " + b"x" * 3000, "no readable EDF"),
        ("eda_ann.csv", b"", "cannot be read"),
        ("eda_ann.csv", b"SCL\n1\n2\n", "lacks column EDA"),
        ("eda_ann.csv", b"EDA\n" + b"x\n" * 1200, "0 % of its values are numbers"),
        ("eda_ann.csv", b"EDA\n1\n2\n", "has no sample between 50.00 s and 240.00 s"),
        ("eda_ann.csv", bytes(range(256)) * 9, "cannot be read"),
        ("belt_01.npz", b"PK\x03\x04" + b"x" * 99, "cannot be read"),
        ("belt_01.npz", b"", "cannot be read"),
        ("ann.avi", b"no film", "cannot be opened"),
    ],
)
def test_a_damaged_file_costs_only_its_signal(lab, file, content, said):
    (lab.parent / file).write_bytes(content)
    recording, (omission,) = read(lab, "ann/1")
    assert len(recording.signals) + len(recording.videos) == 3
    assert omission.scope == "modality" and omission.where.endswith(file) and said in omission.what and omission.remedy


def test_pickled_arrays_are_refused(lab):
    np.savez(lab.parent / "belt_01.npz", belt=np.array([{"a": 1}], dtype=object))
    recording, (omission,) = read(lab, "ann/1")
    assert "respiration" not in recording.signals and "allow_pickle=False" in omission.what


def test_no_description_says_how_to_write_one(tmp_path):
    for path in (tmp_path, tmp_path / "gone.toml"):
        with pytest.raises(InputError, match=r"bayesaffect describe FILE\.toml.*licence"):
            description.scan(path)


def test_tables_of_external_face_analyses_go_along_with_their_videos(lab):
    edit(lab, "start = 1.5", 'start = 1.5\nrate = 20.0\ntable = "faces_{subject}.csv"')
    (lab.parent / "bob.avi").write_bytes((lab.parent / "ann.avi").read_bytes())
    (lab.parent / "faces_ann.csv").write_text("frame\n1\n")
    (omission,) = description.scan(lab).omissions
    assert omission.where == "bob/1" and "faces_bob.csv" in omission.what and omission.scope == "modality"
    video = read(lab, "ann/1")[0].videos["face"]
    assert video.table == str(lab.parent / "faces_ann.csv") and video.rate == 20.0
    assert read(lab, "bob/1")[0].videos["face"].table is None


def test_alignment_is_not_for_tables(lab):
    with pytest.raises(InputError, match="knows no alignment"):
        read(lab, "ann/1", align="centred")


def test_the_example_is_a_description_that_loads(tmp_path):
    path = description.write_example(tmp_path / "mine.toml")
    (tmp_path / "trials.csv").write_text("x\n1\n")
    loaded = document.load(path)
    assert set(loaded.layout.signals) == {"eeg", "ecg", "eda", "respiration"} and len(loaded.layout.ratings) == 3
    with pytest.raises(InputError, match="is there already"):
        description.write_example(path)
    with pytest.raises(InputError, match=r"call it mine\.toml"):
        description.write_example(tmp_path / "mine.txt")
    below = path.read_text().split("# Session folders")[1].split("#\n", 1)[1]
    folders = re.sub(r"^# ?", "", below, flags=re.MULTILINE)
    (tmp_path / "Sessions").mkdir()
    path.write_text(folders)
    assert tomllib.loads(folders)["layout"] == "mahnob" and document.load(path).layout.video_rate == 24.0


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory):
    layout = Layout(clip_seconds=(3.0, 3.5), margin=2.0, neutral=1)
    return write_tutorial(tmp_path_factory.mktemp("tutorial") / "set", subjects=2, clips=2, seed=3, layout=layout)


def test_tutorial_variant_is_read_through_its_description(tutorial):
    listing = description.scan(tutorial)
    assert [s.name for s in listing.sources][:3] == ["S01/N01", "S01/T01", "S01/T02"] and not listing.omissions
    assert [t.bounds for t in listing.targets[:2]] == [(-10, 10), (-10, 10)]
    trials = read_truth(tutorial.parent).trials
    for source in listing.sources:
        recording, omissions = description.read(source, targets=listing.targets)
        rates = {name: a.attrs["sampling_rate"] for name, a in recording.signals.items()}
        assert rates == {"eeg": 256, "ecg": 256, "eda": 32, "respiration": 32, "temperature": 32} and not omissions
        assert recording.videos["face"].rate == 24.0 and recording.signals["ecg"]["channel"].values[1] == "ECG2"
        assert 25 < float(recording.signals["temperature"].mean()) < 36
        assert recording.signals["eda"].attrs["plausible"]
        if source.role == "stimulus":
            row, truth = trials.sel(trial=source.name), recording.segments[0].truth
            said = [stored_rating(int(r)) for r in row["rating"].values]
            assert [truth["valence"], truth["arousal"]] == said and truth["emotion"] == row["emotion"]


def test_a_rate_that_is_not_the_described_one_costs_the_signal(tutorial, tmp_path):
    path = tmp_path / "other.toml"
    sessions = (tutorial.parent / "Sessions").as_posix()
    path.write_text(tutorial.read_text().replace('"Sessions"', f'"{sessions}"').replace("rate = 32", "rate = 64"))
    recording, omissions = read(path, "S01/T01")
    assert set(recording.signals) == {"eeg", "ecg"} and "the file has 32 Hz, not 64 Hz" in omissions[0].what


def test_video_tables_and_alignment_of_sessions(tutorial, tmp_path):
    path, sessions = tmp_path / "other.toml", (tutorial.parent / "Sessions").as_posix()
    changed = tutorial.read_text().replace('"Sessions"', f'"{sessions}"')
    path.write_text(changed + 'align = "centred"\ntable = "{video}_faces.csv"\n')
    listing = description.scan(path)
    assert {o.what for o in listing.omissions} == {"the table of the video is missing"} and len(listing.omissions) == 6
    source = next(s for s in listing.sources if s.name == "S01/T01")
    film = Path(next(f for f in source.files if f.endswith(".avi")))
    table = film.with_name(f"{film.stem}_faces.csv")
    table.write_text("frame\n1\n")
    try:
        recording, _ = read(path, "S01/T01")
    finally:
        table.unlink()
    video, (segment,) = recording.videos["face"], recording.segments
    frames = cv2.VideoCapture(str(film)).get(cv2.CAP_PROP_FRAME_COUNT)
    assert video.table == str(table)
    assert video.start + frames / 24 / 2 == pytest.approx((segment.start + segment.stop) / 2)


def test_another_trigger_channel_is_named_where_it_is_missing(tutorial, tmp_path):
    path, sessions = tmp_path / "other.toml", (tutorial.parent / "Sessions").as_posix()
    changed = tutorial.read_text().replace('"Sessions"', f'"{sessions}"') + '[trigger]\nchannel = "'
    path.write_text(changed + 'STATUS"\nmask = 255\n')
    assert read(path, "S01/T01")[0].segments[0].start == 2.0
    path.write_text(changed + 'Marker"\n')
    with pytest.raises(InputError, match="has no Marker channel"):
        read(path, "S01/T01")


def test_sessions_without_face_in_their_modalities_need_no_video(tutorial, tmp_path):
    path, sessions = tmp_path / "other.toml", (tutorial.parent / "Sessions").as_posix()
    path.write_text(tutorial.read_text().replace('"Sessions"', f'"{sessions}"').replace('face = ["face"]\n', ""))
    listing = description.scan(path)
    assert list(listing.modalities) == ["eeg", "physio"] and all(len(s.files) == 3 for s in listing.sources)
    assert not description.read(listing.sources[0], targets=listing.targets)[0].videos


def test_rating_of_zero_is_legal_there(tutorial, tmp_path):
    source = next(s for s in description.scan(tutorial).sources if s.name == "S01/T01")
    xml = Path(source.files[0])
    text = xml.read_text()
    try:
        xml.write_text(re.sub(r'valence="[^"]*"', 'valence="0"', re.sub(r'arousal="[^"]*"', 'arousal="-99"', text)))
        assert {k: v for k, v in read(tutorial, "S01/T01")[0].segments[0].truth.items() if k != "emotion"} == {
            "valence": 0.0
        }
    finally:
        xml.write_text(text)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_change_of_a_description_is_read_or_refused_in_one_sentence(tmp_path, data):
    lines = TOML.strip().splitlines()
    at = data.draw(st.integers(0, len(lines) - 1))
    key = lines[at].split(" = ")[0]
    value = data.draw(
        st.sampled_from(["-1", "0", "1e999", "nan", '""', "[]", "{}", "[[]]", "true", '"x"', "1979-05-27"])
    )
    lines[at] = data.draw(st.sampled_from([f"{key} = {value}", "", lines[at][: len(lines[at]) // 2], "\\u0000"]))
    (tmp_path / "trials.csv").write_text(TRIALS)
    (tmp_path / "d.toml").write_text("\n".join(lines))
    try:
        document.load(tmp_path / "d.toml")
    except InputError as error:
        assert str(error).startswith(str(tmp_path / "d.toml")) and "\n" not in str(error) and error.remedy
