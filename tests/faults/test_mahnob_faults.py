from __future__ import annotations

import re
import shutil

import pytest
from edfio import Bdf, read_bdf

from bayesaffect.errors import InputError
from bayesaffect.io import mahnob
from bayesaffect.simulate import Layout, write_mahnob
from bayesaffect.types import Target


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    layout = Layout(clip_seconds=(2.0, 2.0), margin=1.5, video_rate=6.1)
    return write_mahnob(tmp_path_factory.mktemp("faults") / "set", subjects=1, clips=2, seed=0, layout=layout)


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "set")


def file(folder, kind):
    return next((folder / "Sessions" / "2").glob(f"*{kind}"))


def edit_xml(folder, pattern, replacement):
    path = file(folder, ".xml")
    text, count = re.subn(pattern, replacement, path.read_text())
    assert count
    path.write_text(text)


def first(folder):
    return mahnob.scan(folder).sources[0]


def sentence(error):
    text = str(error.value)
    assert "\n" not in text and error.value.remedy
    return text


def left_out(folder):
    listing = mahnob.scan(folder)
    assert [s.name for s in listing.sources] == ["S01/T02"]
    (omission,) = listing.omissions
    assert omission.scope == "trial" and "Sessions/2" in omission.where and omission.remedy
    return omission.what


def test_missing_session_xml(folder):
    file(folder, ".xml").unlink()
    assert "missing" in left_out(folder)


@pytest.mark.parametrize("content", ["<session", "", "\x00\x01"])
def test_unreadable_xml(folder, content):
    source = first(folder)
    file(folder, ".xml").write_text(content)
    assert "no readable XML" in left_out(folder)
    with pytest.raises(InputError, match=r"session\.xml: is no readable XML") as error:
        mahnob.read(source)
    sentence(error)


def test_missing_bdf(folder):
    file(folder, ".bdf").unlink()
    assert "BDF" in left_out(folder)


@pytest.mark.parametrize("value", ["12", "ten"])
def test_rating_out_of_range(folder, value):
    source = first(folder)
    edit_xml(folder, r'feltVlnc="\d"', f'feltVlnc="{value}"')
    assert "feltVlnc" in left_out(folder)
    with pytest.raises(InputError, match="feltVlnc"):
        mahnob.read(source)


def test_xml_without_subject(folder):
    edit_xml(folder, "<subject[^>]*>", "")
    assert "subject" in left_out(folder)


@pytest.mark.parametrize("code", [7, 10, 0.5])
def test_emotion_code_without_keyword_is_missing(folder, code):
    edit_xml(folder, r'feltEmo="\d+"', f'feltEmo="{code}"')
    truth = mahnob.read(first(folder))[0].segments[0].truth
    assert set(truth) == {"valence", "arousal"}


def test_rating_of_zero_is_missing(folder):
    edit_xml(folder, r'feltArsl="\d"', 'feltArsl="0"')
    assert set(mahnob.read(first(folder))[0].segments[0].truth) == {"valence", "emotion"}


@pytest.mark.parametrize("share", [0.5, 0.02, 0.0])
def test_bdf_cut_short(folder, share):
    path = file(folder, ".bdf")
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(InputError, match=r"_emotion\.bdf: is (cut short|no readable BDF)") as error:
        mahnob.read(first(folder))
    assert "copy it again" in sentence(error)


@pytest.mark.parametrize(
    ("place", "field"),
    [
        (236, b"-1      "),  # number of records
        (236, b"99999999"),
        (244, b"0       "),  # seconds per record
        (244, b"nan     "),
        (252, b"0   "),  # number of signals
        (252, b"-1  "),
        (252, b"9999"),
        (256 + 216 * 47, b"0       "),  # samples per record
        (256 + 216 * 47, b"x       "),
        (256 + 216 * 47, b"99999999"),
        (256 + 104 * 47, b"nan     "),  # physical minimum
        (256 + 120 * 47, b"        "),  # digital minimum
        (168, b"99.99.99"),  # start date
        (192, b"BIOSEMI "),
    ],
)
def test_a_wrong_field_of_the_header_is_survived(folder, place, field):
    path = file(folder, ".bdf")
    data = bytearray(path.read_bytes())
    data[place : place + len(field)] = field
    path.write_bytes(data)
    try:
        recording, _ = mahnob.read(first(folder))
    except InputError as error:
        assert "_emotion.bdf" in str(error) and "\n" not in str(error) and error.remedy
    else:
        assert recording.signals


def test_bdf_of_another_kind(folder):
    file(folder, ".bdf").write_bytes(b"not a recording" * 1000)
    with pytest.raises(InputError, match="no readable BDF"):
        mahnob.read(first(folder))


@pytest.mark.parametrize("pulses", [0, 1])
def test_too_few_triggers(folder, pulses):
    path = file(folder, ".bdf")
    bdf = read_bdf(path)
    status = bdf.get_signal("Status")
    data = status.data.copy()
    data[(250 if pulses == 0 else 600) :] = 0
    status.update_data(data, sampling_frequency=256, keep_physical_range=True)
    bdf.write(path)
    with pytest.raises(InputError, match=f"has {pulses} trigger pulses? in Status, not two") as error:
        mahnob.read(first(folder))
    assert "_emotion.bdf" in sentence(error)


def test_bdf_without_a_channel_loses_only_that_signal(folder):
    path = file(folder, ".bdf")
    bdf = read_bdf(path)
    Bdf([s for s in bdf.signals if s.label not in ("GSR1", "Cz")], data_record_duration=1).write(path)
    recording, omissions = mahnob.read(first(folder))
    assert set(recording.signals) == {"ecg", "respiration", "temperature"}
    assert [o.scope for o in omissions] == ["modality"] * 2 and "Cz" in omissions[0].what


def test_missing_video(folder):
    file(folder, ".avi").unlink()
    listing = mahnob.scan(folder)
    assert [o.scope for o in listing.omissions] == ["modality"] and len(listing.sources) == 2
    assert not mahnob.read(listing.sources[0])[0].videos


@pytest.mark.parametrize("content", [b"", b"RIFF" + bytes(5000)])
def test_unreadable_video(folder, content):
    file(folder, ".avi").write_bytes(content)
    recording, (omission,) = mahnob.read(first(folder))
    assert not recording.videos and "eeg" in recording.signals
    assert omission.scope == "modality" and omission.where.endswith(".avi") and "cannot be opened" in omission.what


@pytest.mark.parametrize("change", [("audRate", ""), ("vidBeginSmp", "17"), ("audRate", "0")])
def test_video_without_a_usable_clock(folder, change):
    name, value = change
    edit_xml(folder, rf'{name}="[^"]*"', f'{name}="{value}"' if value else "")
    recording, (omission,) = mahnob.read(first(folder))
    assert not recording.videos and omission.scope == "modality" and "centred" in omission.remedy
    assert "face" in mahnob.read(first(folder), align="centred")[0].videos


def test_unknown_alignment(folder):
    with pytest.raises(InputError, match="unknown"):
        mahnob.read(first(folder), align="by eye")


def test_unknown_target(folder):
    with pytest.raises(InputError, match="no target 'stress'"):
        mahnob.scan(folder, targets=(Target("stress", bounds=(0, 1)),))


@pytest.mark.parametrize("kind", ["absent", "empty", "other"])
def test_wrong_folder_says_how_the_data_are_obtained(tmp_path, kind):
    path = tmp_path / "data"
    if kind != "absent":
        path.mkdir()
    if kind == "other":
        (path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match="licence signed at the MAHNOB-HCI site") as error:
        mahnob.scan(path)
    assert "Sessions/<number>/session.xml" in sentence(error)


def test_folder_with_nothing_usable(folder):
    for path in folder.glob("Sessions/*/session.xml"):
        path.write_text("<")
    with pytest.raises(InputError, match="no MAHNOB-HCI stimulus session that can be used") as error:
        mahnob.scan(folder)
    sentence(error)
