from __future__ import annotations

import os
import pickle
import re

import numpy as np
import pandas as pd
import pytest
import scipy.io

from bayesaffect.errors import InputError
from bayesaffect.io import deap, pickled
from bayesaffect.signals.extract import Extraction, extract


def content(subject, trials=2):
    """What a file of the published layout holds; sample t of channel c of trial k is 1000 k + c + sin(...)."""
    rng = np.random.default_rng(subject)
    t = np.arange(8064) / 128
    data = 1000.0 * np.arange(trials)[:, None, None] + np.arange(40)[:, None] + np.sin(2 * np.pi * 10 * t)
    data[:, :32] = rng.normal(0, 5, (trials, 32, 8064)).cumsum(-1) % 7 + 10 * np.sin(2 * np.pi * 10 * t)
    labels = np.round(rng.uniform(1, 9, (trials, 4)), 2)
    return {"labels": labels, "data": data}


def write_dat(path, found, protocol=2):
    with open(path, "wb") as stream:
        pickle.dump(found, stream, protocol=protocol)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Subject 1 in Python's form, subject 2 in Matlab's; what both hold."""
    home = tmp_path_factory.mktemp("deap")
    for name in ("data_preprocessed_python", "data_preprocessed_matlab"):
        (home / name).mkdir()
    write_dat(home / "data_preprocessed_python" / "s01.dat", content(1))
    scipy.io.savemat(home / "data_preprocessed_matlab" / "s02.mat", content(2))
    return home


def source(folder, name):
    return next(s for s in deap.scan(folder).sources if s.name == name)


def test_scan_lists_forty_trials_per_subject_without_opening_a_file(folder, monkeypatch):
    monkeypatch.setattr(deap, "_load", lambda *a: pytest.fail("opened a file"))
    listing = deap.scan(folder)
    assert len(listing.sources) == 80 and listing.sources[0].name == "S01/T01" and not listing.omissions
    assert [t.name for t in listing.targets] == ["valence", "arousal"]
    assert deap.scan(folder / "data_preprocessed_python").sources == listing.sources[:40]


@pytest.mark.parametrize(("name", "subject"), [("S01/T02", 1), ("S02/T02", 2)])
def test_a_trial_in_either_form(folder, name, subject):
    recording, omissions = deap.read(source(folder, name))
    found, signals = content(subject), recording.signals
    (segment,) = recording.segments
    assert (segment.start, segment.stop, segment.stimulus) == (3.0, 63.0, "video02") and not omissions
    assert segment.truth == {"valence": found["labels"][1, 0], "arousal": found["labels"][1, 1]}
    for name, (channels, rows, units) in deap.SIGNALS.items():
        assert np.allclose(signals[name].values, found["data"][1, list(rows)], rtol=1e-6), name
        assert signals[name]["channel"].values.tolist() == list(channels) and signals[name].attrs["units"] == units
    assert signals["eeg"]["channel"].values[[2, 3, 16]].tolist() == ["F3", "F7", "Fp2"]
    assert signals["ppg"].values[0, 0] == pytest.approx(1038) and signals["ppg"].attrs["sampling_rate"] == 128
    assert "not above zero" in signals["skin_resistance"].attrs["note"] and recording.baseline == (0.0, 3.0)


def test_other_targets_on_request(folder):
    recording, _ = deap.read(source(folder, "S01/T01"), targets=deap.ALL_TARGETS)
    assert list(recording.segments[0].truth.values()) == content(1)["labels"][0].tolist()
    with pytest.raises(InputError, match="no target 'stress'"):
        deap.scan(folder, targets=(deap.Target("stress", bounds=(0, 1)),))


def test_one_file_is_read_once_and_at_most_one_is_kept(folder):
    deap._load.cache_clear()
    for name in ("S01/T01", "S01/T02", "S02/T01", "S02/T02"):
        deap.read(source(folder, name))
    info = deap._load.cache_info()
    assert (info.misses, info.hits, info.currsize) == (2, 2, 1)


def test_the_signal_stage_takes_it(folder):
    listing = deap.scan(folder)
    recording, _ = deap.read(listing.sources[0], targets=listing.targets)
    trials = extract(recording, listing.modalities, Extraction(window_s=10.0))
    assert set(trials.modalities) <= {"eeg", "physio"} and trials.present.sel(modality="eeg").all()
    assert [str(f) for f in trials.inputs["physio"]["signal"].values if "skin_resistance" in str(f)]


@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
def test_pickles_of_every_protocol(tmp_path, protocol):
    write_dat(tmp_path / "a.dat", {"x": np.arange(6.0).reshape(2, 3).T, "y": np.array([1, 2], np.int16)}, protocol)
    found = pickled.load_arrays(tmp_path / "a.dat", remedy="-")
    assert found["x"].tolist() == [[0, 3], [1, 4], [2, 5]] and found["y"].dtype == np.int16


def test_a_pickle_as_python_2_wrote_it(tmp_path):
    numbers = np.array([1.5, -2.0]).tobytes()
    text = (
        b"\x80\x02}q\x01U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85"
        b"U\x01b\x87R(K\x01K\x02\x85cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tb\x89U\x10" + numbers + b"tbs."
    )
    (tmp_path / "a.dat").write_bytes(text)
    assert pickled.load_arrays(tmp_path / "a.dat", remedy="-")["data"].tolist() == [1.5, -2.0]


class Planted:
    """A pickle that writes a file when a careless reader opens it."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_planted_program_is_refused_and_not_run(folder, tmp_path):
    write_dat(tmp_path / "s01.dat", {"data": Planted(tmp_path / "harm"), "labels": np.zeros((40, 4))})
    with pytest.raises(InputError, match=rf"the name {os.mkdir.__module__}.mkdir is not admitted"):
        deap.read(source(tmp_path, "S01/T01"))
    assert not (tmp_path / "harm").exists()
    with open(tmp_path / "s01.dat", "rb") as stream:  # the plant works on a careless reader
        pickle.load(stream)
    assert (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    "what",
    [
        {"data": np.array([{}], dtype=object)},
        {"data": np.array(["a"])},
        {"data": np.zeros(2, dtype=[("a", "f8")])},
        {"data": [1.0, 2.0]},
        [np.zeros(2)],
        {"data": np.dtype("f8")},
        {},
    ],
)
def test_what_is_no_array_of_numbers_is_refused(tmp_path, what):
    write_dat(tmp_path / "a.dat", what)
    with pytest.raises(InputError, match=r"is no pickle of|is no readable pickle"):
        pickled.load_arrays(tmp_path / "a.dat", remedy="-")


@pytest.mark.parametrize("form", ["dat", "mat"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_file_cut_short(tmp_path, folder, form, share):
    original = next(folder.rglob(f"s0?.{form}")).read_bytes()
    (tmp_path / f"s05.{form}").write_bytes(original[: int(share * len(original))])
    with pytest.raises(InputError, match=r"s05\.(dat|mat): (is no readable|holds nothing)") as error:
        deap.read(source(tmp_path, "S05/T01"))
    assert "\n" not in str(error.value) and error.value.remedy


def test_a_file_of_matlab_7_3_is_one_sentence(tmp_path):
    """Saved with -v7.3, which is HDF5: SciPy says so by NotImplementedError."""
    head = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
    (tmp_path / "s05.mat").write_bytes(head.ljust(512, b"\0") + b"\x89HDF\r\n\x1a\n".ljust(4096))
    with pytest.raises(
        InputError, match=r"s05\.mat: is no readable Matlab file \(Please use HDF reader for matlab v7\.3"
    ):
        deap.read(source(tmp_path, "S05/T01"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"data": np.zeros((2, 32, 8064))}, "holds shape (2, 32, 8064) as 'data', not (trials, 40, 8064)"),
        ({"labels": np.zeros((2, 3))}, "holds shape (2, 3) as 'labels'"),
        ({"labels": np.zeros((3, 4))}, "holds 2 trials and 3 rows of labels"),
        ({"data": np.zeros((1, 40, 8064)), "labels": np.ones((1, 4))}, "holds 1 trials, not 40: trial 2 is missing"),
    ],
)
def test_another_layout_is_named(tmp_path, change, said):
    write_dat(tmp_path / "s01.dat", content(1) | change)
    with pytest.raises(InputError, match=re.escape(said)):
        deap.read(source(tmp_path, "S01/T02"))


def test_a_rating_outside_the_scale_is_missing_and_listed(tmp_path):
    found = content(1)
    found["labels"][0, :2] = 0.4, 9
    write_dat(tmp_path / "s01.dat", found)
    recording, (omission,) = deap.read(source(tmp_path, "S01/T01"))
    assert recording.segments[0].truth == {"arousal": 9.0} and "valence of S01/T01 is 0.4" in omission.what


def test_the_table_of_ratings_is_checked_by_experiment_not_by_order(tmp_path):
    (tmp_path / "data_preprocessed_python").mkdir()
    found = content(1)
    write_dat(tmp_path / "data_preprocessed_python" / "s01.dat", found)
    rows = [{"Participant_id": 1, "Trial": 9 - k, "Experiment_id": k + 1, "Valence": v, "Arousal": a}
            for k, (v, a) in enumerate(found["labels"][:, :2])]  # fmt: skip
    pd.DataFrame(rows[::-1]).to_csv(tmp_path / "participant_ratings.csv", index=False)
    first = source(tmp_path, "S01/T01")
    assert len(first.files) == 2 and not deap.read(first)[1]
    rows[0]["Valence"] += 1
    pd.DataFrame(rows).to_csv(tmp_path / "participant_ratings.csv", index=False)
    (omission,) = deap.read(first)[1]
    assert "rates S01/T01 otherwise" in omission.what
    (tmp_path / "participant_ratings.csv").write_text("nothing\n")
    assert "is no table of ratings" in deap.read(first)[1][0].what


@pytest.mark.parametrize("kind", ["absent", "empty", "other", "hollow"])
def test_wrong_folder_says_how_the_data_are_obtained(tmp_path, kind):
    path = tmp_path / "deap"
    if kind != "absent":
        path.mkdir()
    if kind in ("other", "hollow"):
        (path / ("s01.dat" if kind == "hollow" else "s01.txt")).write_bytes(b"x")
    with pytest.raises(
        InputError, match=r"signed end user licence agreement; unpack data_preprocessed_python"
    ) as error:
        deap.scan(path)
    assert "\n" not in str(error.value)
