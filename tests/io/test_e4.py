import numpy as np
import pandas as pd
import pytest

from bayesaffect.errors import InputError
from bayesaffect.io import e4

START = 1_600_000_000


@pytest.fixture
def folder(tmp_path):
    """One participant, 300 s: rest 120 s, stress 90 s, rest 90 s."""
    place = tmp_path / "Raw_data" / "S07"
    place.mkdir(parents=True)
    rng = np.random.default_rng(0)

    def write(name, rate, values, start=START):
        head = [",".join([str(float(v))] * values.shape[1]) for v in (start, rate)]
        rows = [",".join(f"{v:g}" for v in row) for row in values]
        (place / name).write_text("\n".join([*head, *rows]) + "\n")

    write("BVP.csv", 64, rng.normal(size=(64 * 300, 1)))
    write("EDA.csv", 4, 2 + rng.random((1200, 1)))
    write("TEMP.csv", 4, 33 + rng.random((1200, 1)))
    write("ACC.csv", 32, np.tile([[0, 32, 64]], (32 * 300, 1)))
    write("HR.csv", 1, 70 + rng.random((290, 1)), start=START + 10)
    (place / "IBI.csv").write_text(f"{START}.0, IBI\n5.5,0.8\n6.25,0.75\n40.0,0.7\n")
    label = np.repeat([0, 1, 0], [120, 90, 90])
    table = {"Participant": 7, "HR": 70, "respr": 13.0, "Time(sec)": START + np.arange(300), "Label": label}
    (tmp_path / "Processed_data").mkdir()
    pd.DataFrame(table).to_csv(tmp_path / "Processed_data" / "labels.csv", index=False)
    return tmp_path


def read(folder, **keywords):
    listing = e4.scan(folder)
    return e4.read(listing.sources[0], targets=listing.targets, **keywords)


def test_scan_lists_subjects_and_modalities(folder):
    listing = e4.scan(folder)
    assert [s.subject for s in listing.sources] == ["S07"] and listing.omissions == ()
    assert listing.modalities["electrodermal"] == ("eda",) and listing.targets[0].levels == ("rest", "stress")


def test_signals_are_on_one_clock_with_units(folder):
    recording, _ = read(folder)
    signals = recording.signals
    assert set(signals) == {name for names in e4.MODALITIES.values() for name in names}
    assert signals["heart_rate"]["time"].values[0] == 10 and signals["bvp"].attrs["sampling_rate"] == 64
    assert (
        signals["acceleration"].values[:, 0].tolist() == [0, 0.5, 1] and signals["acceleration"].attrs["units"] == "g"
    )
    assert signals["ibi"]["time"].values.tolist() == [5.5, 6.25, 40.0]


def test_windows_have_one_label_and_name_their_run(folder):
    recording, omissions = read(folder)
    spans = [(s.start, s.stimulus, s.truth["stress"]) for s in recording.segments]
    rest, stress = "rest", "stress"
    assert spans == [
        *((t, "rest-1", rest) for t in (0, 30, 60)),
        *((t, "stress-1", stress) for t in (120, 150)),
        *((t, "rest-2", rest) for t in (210, 240)),
    ]
    assert recording.segments[3].trial == "S07/0003" and "2 windows" in omissions[0].what


def test_a_hole_in_the_labels_costs_the_windows_over_it(folder):
    path = folder / "Processed_data" / "labels.csv"
    table = pd.read_csv(path)
    table.drop(index=range(70, 80)).to_csv(path, index=False)
    recording, _ = read(folder)
    assert [s.start for s in recording.segments] == [0, 120, 150, 210, 240]


def test_a_signal_that_starts_late_is_shifted_not_stretched(folder):
    path = folder / "Raw_data" / "S07" / "EDA.csv"
    path.write_text(path.read_text().replace(f"{float(START)}", f"{float(START + 7)}"))
    recording, _ = read(folder)
    assert recording.signals["eda"]["time"].values[[0, 4]].tolist() == [7, 8]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("EDA.csv", ""),
        ("EDA.csv", f"{START}\n"),
        ("EDA.csv", f"{START}\n0\n1\n2\n3\n"),
        ("EDA.csv", f"{START}\n4\nx\ny\nz\n"),
        ("EDA.csv", "monday\n4\n1\n2\n"),
        ("ACC.csv", f"{START}\n32\n1\n2\n3\n"),
        ("IBI.csv", f"{START}, IBI\n5,0.8\n4,0.9\n6,0.8\n"),
        ("IBI.csv", f"{START}, IBI\n"),
    ],
)
def test_a_garbled_file_is_left_out_and_named(folder, name, text):
    (folder / "Raw_data" / "S07" / name).write_text(text)
    recording, omissions = read(folder)
    assert e4.FILES[name].signal not in recording.signals
    assert name in omissions[0].where and omissions[0].scope == "modality"


def test_binary_rubbish_is_left_out(folder):
    (folder / "Raw_data" / "S07" / "TEMP.csv").write_bytes(bytes(range(256)) * 8)
    recording, omissions = read(folder)
    assert "temperature" not in recording.signals and "TEMP.csv" in omissions[0].where


def test_a_missing_file_is_listed(folder):
    (folder / "Raw_data" / "S07" / "BVP.csv").unlink()
    assert "BVP.csv" in e4.scan(folder).omissions[0].where
    assert "bvp" not in read(folder)[0].signals


def test_nothing_usable_is_an_error(folder):
    for path in (folder / "Raw_data" / "S07").iterdir():
        path.write_text("")
    with pytest.raises(InputError, match="no wristband file can be used"):
        read(folder)


@pytest.mark.parametrize("gone", ["Raw_data", "Processed_data"])
def test_a_folder_laid_out_otherwise_is_told_how(folder, gone):
    (folder / gone).rename(folder / "elsewhere")
    with pytest.raises(InputError, match="must hold Raw_data"):
        e4.scan(folder)


def test_labels_must_have_their_columns_and_be_binary(folder):
    path = folder / "Processed_data" / "labels.csv"
    table = pd.read_csv(path)
    table.assign(Label=3).to_csv(path, index=False)
    with pytest.raises(InputError, match="neither 0 nor 1"):
        e4.scan(folder)
    table.drop(columns="Label").to_csv(path, index=False)
    with pytest.raises(InputError, match="lacks the columns"):
        e4.scan(folder)


def test_labels_on_another_clock_do_not_overlap(folder):
    path = folder / "Processed_data" / "labels.csv"
    table = pd.read_csv(path)
    table.assign(**{"Time(sec)": table["Time(sec)"] + 36000}).to_csv(path, index=False)
    with pytest.raises(InputError, match="do not overlap"):
        read(folder)


def test_participants_without_labels_or_number_are_omitted(folder):
    for name in ("S08", "notes"):
        (folder / "Raw_data" / name).mkdir()
        (folder / "Raw_data" / name / "EDA.csv").write_text(f"{START}\n4\n1\n2\n")
    assert len(e4.scan(folder).sources) == 1 and len(e4.scan(folder).omissions) >= 2
