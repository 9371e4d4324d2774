import cv2
import numpy as np
import pandas as pd
import pytest

from bayesaffect.errors import InputError
from bayesaffect.signals import face
from bayesaffect.signals.face.tables import read_table
from bayesaffect.simulate.face import draw_face, draw_looks
from bayesaffect.types import Video

SIZE, RATE, COUNT = (320, 240), 10.0, 40
LOOKS = draw_looks(np.random.default_rng(0))
EYES = np.array([[140.0, 118.0], [190.0, 118.0]])


def landmarks(count=COUNT):
    """68 points of which 36-41 ring the left eye and 42-47 the right one, as seen in the picture."""
    points = np.tile([165.0, 160.0], (count, 68, 1))
    ring = 6 * np.stack([np.cos(np.arange(6) * np.pi / 3), np.sin(np.arange(6) * np.pi / 3)], axis=1)
    points[:, 36:42], points[:, 42:48] = EYES[0] + ring, EYES[1] + ring
    return {f"{axis}_{k}": points[:, k, i] for i, axis in enumerate("xy") for k in range(68)}


def openface(path, spaces=", ", **changes):
    columns = {"frame": np.arange(COUNT) + 1, "timestamp": np.arange(COUNT) / 30, "confidence": np.full(COUNT, 0.9)}
    columns |= {"success": np.ones(COUNT, int), **landmarks()}
    columns |= {"AU06_r": 2 + np.sin(np.arange(COUNT)), "AU12_r": 3 + np.sin(np.arange(COUNT) + 1)}
    columns |= {"AU12_c": np.ones(COUNT), "AU28_c": np.arange(COUNT) % 2, **changes}
    rows = [spaces.join(columns)]
    rows += [spaces.join(f"{float(values[k]):g}" for values in columns.values()) for k in range(COUNT)]
    path.write_text("\n".join(rows) + "\n")
    return str(path)


def pyfeat(path, **changes):
    columns = {"frame": np.arange(COUNT), "FaceRectWidth": np.full(COUNT, 90.0), "FaceRectHeight": np.full(COUNT, 95.0)}
    columns |= {"FaceScore": np.full(COUNT, 0.8), **landmarks(), "AU06": np.linspace(0, 1, COUNT)}
    columns |= {"AU12": np.linspace(1, 0, COUNT), "Happy": np.full(COUNT, 0.7), "Neutral": np.full(COUNT, 0.3)}
    columns |= {"valence": np.full(COUNT, 0.4), "arousal": np.full(COUNT, -0.2), "input": ["v.avi"] * COUNT, **changes}
    pd.DataFrame(columns).to_csv(path, index=False)
    return str(path)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    path = tmp_path_factory.mktemp("film") / "v.avi"
    writer = cv2.VideoWriter(str(path), cv2.CAP_OPENCV_MJPEG, cv2.VideoWriter_fourcc(*"MJPG"), RATE, SIZE)
    for k in range(COUNT):
        writer.write(draw_face(np.sin(k / 5), 0.0, 0.8, LOOKS, SIZE))
    writer.release()
    return str(path)


def test_openface_is_read_by_frame_number_with_its_mask(tmp_path):
    success = np.ones(COUNT, int)
    success[7:10] = 0
    table = read_table(openface(tmp_path / "o.csv", success=success), rate=RATE)
    assert table.numbers.tolist() == list(range(COUNT))
    assert np.flatnonzero(~table.track.visible).tolist() == [7, 8, 9]
    units = table.track.units
    assert units["unit"].values.tolist() == ["AU06", "AU12", "AU28_present"]
    assert np.isnan(units[8]).all() and float(units.sel(unit="AU12")[3]) == pytest.approx(3 + np.sin(4), abs=1e-4)
    assert table.track.confidence[8] == 0 and table.track.confidence[3] == 0.9
    np.testing.assert_allclose(table.track.landmarks.sel(point=["eye_left", "eye_right"])[3], EYES, atol=1e-4)


def test_pyfeat_is_read_with_emotions_and_affect(tmp_path):
    units = np.linspace(0, 1, COUNT)
    units[5] = np.nan
    table = read_table(pyfeat(tmp_path / "p.csv", AU06=units), rate=RATE)
    assert np.flatnonzero(~table.track.visible).tolist() == [5]
    assert table.track.emotions["level"].values.tolist() == ["happiness", "neutral"]
    np.testing.assert_allclose(table.track.affect[3], [0.4, -0.2])
    assert np.isnan(table.track.emotions[5]).all()


def test_largest_of_several_faces_counts_in_whatever_order_rows_come(tmp_path):
    path = pyfeat(tmp_path / "p.csv")
    frame = pd.read_csv(path)
    other = frame.assign(FaceRectWidth=40.0, AU12=0.123)
    pd.concat([other, frame]).sample(frac=1, random_state=0).to_csv(path, index=False)
    table = read_table(path, rate=RATE)
    assert table.numbers.tolist() == list(range(COUNT))
    np.testing.assert_allclose(table.track.units.sel(unit="AU12"), np.linspace(1, 0, COUNT))


def test_time_stamps_stand_in_for_missing_frame_numbers(tmp_path):
    path = openface(tmp_path / "o.csv", timestamp=np.arange(COUNT) / RATE)
    frame = pd.read_csv(path, skipinitialspace=True).drop(columns="frame")
    frame.to_csv(path, index=False)
    assert read_table(path, rate=RATE).numbers.tolist() == list(range(COUNT))


def test_block_of_a_table_has_aligned_crops_and_dynamics(tmp_path, film):
    success = np.ones(COUNT, int)
    success[20:30] = 0
    video = Video(film, 100.0, RATE, openface(tmp_path / "o.csv", success=success))
    block = face.extract_block(video, [(100.0, 102.0), (102.0, 104.0)], rate=RATE, backend="tables")
    assert block.data["visible"].values.sum(axis=1).tolist() == [19, 10] and block.data.attrs["encoder"] == "face"
    seen = block.data["visible"].values.astype(bool)
    assert block.data["crops"].values[seen].std() > 20 and not block.data["crops"].values[~seen].any()
    mouth = block.data["crops"].values[0, :, 30:46].astype(float)  # the drawn face smiles and frowns
    assert mouth.std(axis=0).max() > 10
    x = 2 + np.sin(np.arange(1, 20))  # frame 20 is hidden
    found = block.data["features"].sel(feature=["AU06_mean", "AU06_sd", "AU06_velocity"])[0]
    np.testing.assert_allclose(found, [x.mean(), x.std(), np.abs(np.diff(x)).mean()], rtol=1e-3)
    measured = block.measures["features"].sel(feature=["AU06_mean", "AU06_velocity_per_s"])[0]
    np.testing.assert_allclose(measured, [x.mean(), RATE * np.abs(np.diff(x)).mean()], rtol=1e-3)
    assert block.quality[1] < 0.7 * block.quality[0] and block.present.all()


def test_emotions_reach_networks_and_measures(tmp_path, film):
    video = Video(film, 0.0, RATE, pyfeat(tmp_path / "p.csv"))
    block = face.extract_block(video, [(0.0, 4.0)], rate=RATE, backend="tables")
    names = ["emotion_happiness_mean", "face_valence_mean", "face_arousal_mean"]
    np.testing.assert_allclose(block.measures["features"].sel(feature=names)[0], [0.7, 0.4, -0.2], rtol=1e-6)
    np.testing.assert_allclose(block.data["features"].sel(feature=names)[0], [0.7, 0.4, -0.2], rtol=1e-6)
    series = block.data["units"].sel(unit=["emotion_happiness", "face_valence"])[0]
    seen = block.data["visible"][0].values.astype(bool)
    np.testing.assert_allclose(series[seen], np.tile([0.7, 0.4], (seen.sum(), 1)), rtol=1e-6)
    np.testing.assert_allclose(block.measures["features"].sel(feature="coactivation_AU06_AU12"), -1, atol=1e-6)


@pytest.mark.parametrize("content", [None, b"no video"])
def test_table_without_its_video_gives_series_and_no_black_pictures(tmp_path, content):
    gone = tmp_path / "gone.avi"
    if content is not None:
        gone.write_bytes(content)
    success = np.ones(COUNT, int)
    success[3:6] = 0
    video = Video(str(gone), 0.0, RATE, openface(tmp_path / "o.csv", success=success))
    block = face.extract_block(video, [(0.0, 2.0), (50.0, 52.0)], rate=RATE, backend="tables")
    assert set(block.data.data_vars) == {"series", "features"} and block.data.attrs["encoder"] == "physio"
    assert block.present.tolist() == [True, False] and "o.csv" in block.reasons[1]
    line = block.data["series"].sel(signal="AU12")[0].values
    assert np.isfinite(line).all()
    np.testing.assert_allclose(np.diff(line[1:6], 2), 0, atol=1e-6)  # a straight line where nobody was found


def test_frames_without_a_picture_do_not_count(tmp_path, film):
    half = tmp_path / "half.avi"
    content = open(film, "rb").read()
    half.write_bytes(content[: len(content) // 2])
    video = Video(str(half), 0.0, RATE, openface(tmp_path / "o.csv"))
    block = face.extract_block(video, [(0.0, 4.0)], rate=RATE, backend="tables")
    seen = block.data["visible"].values[0].astype(bool)
    assert seen[:10].all() and not seen[30:].any()
    assert (block.data["crops"].values[0, seen].std(axis=(1, 2)) > 5).all()


def test_landmarks_that_are_no_face_are_not_shown(tmp_path, film):
    at = landmarks()
    at |= {name: np.where(np.arange(COUNT) < 10, values * 50, values) for name, values in at.items()}
    video = Video(film, 0.0, RATE, openface(tmp_path / "o.csv", **at))
    block = face.extract_block(video, [(0.0, 3.0)], rate=RATE, backend="tables")
    seen = block.data["visible"].values[0]
    assert not seen[:9].any() and seen[10:].all() and block.data["crops"].values[0, 15].any()


def test_nobody_in_the_windows_keeps_the_shape_of_the_block(tmp_path, film):
    video = Video(film, 0.0, RATE, openface(tmp_path / "o.csv", success=np.zeros(COUNT, int)))
    block = face.extract_block(video, [(0.0, 2.0)], rate=RATE, backend="tables")
    assert "crops" in block.data and not block.present.any() and block.quality.tolist() == [0]


@pytest.mark.parametrize(
    "content",
    [None, b"", b"\x00\xff\xfe\x00" * 50, b"frame,a,b\n1,2,3\n", b"frame,success,AU12_r\n", b'"unclosed'],
)
def test_table_that_is_none_is_one_sentence(tmp_path, film, content):
    path = tmp_path / "t.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"t\.csv: .*(face out|py-feat wrote)"):
        face.extract_block(Video(film, 0.0, RATE, str(path)), [(0.0, 1.0)], backend="tables")


def test_missing_table_and_foreign_time_are_told(tmp_path, film):
    with pytest.raises(InputError, match="no table"):
        face.extract_block(Video(film, 0.0, RATE), [(0.0, 1.0)], backend="tables")
    with pytest.raises(InputError, match="holds no frame between"):
        face.extract_block(Video(film, 0.0, RATE, pyfeat(tmp_path / "p.csv")), [(90.0, 91.0)], backend="tables")


def test_table_cut_anywhere_gives_rows_or_a_sentence(tmp_path):
    whole = open(openface(tmp_path / "o.csv"), "rb").read()
    cut = tmp_path / "cut.csv"
    kept = []
    for end in range(0, len(whole), len(whole) // 23):
        cut.write_bytes(whole[:end])
        try:
            track = read_table(cut, rate=RATE).track
        except InputError:
            continue
        assert np.isfinite(track.units.values[track.visible]).all()
        kept.append(int(track.visible.sum()))
    assert kept == sorted(kept) and kept[-1] > COUNT / 2


def test_values_that_are_no_numbers_mask_their_row(tmp_path):
    path = tmp_path / "o.csv"
    lines = open(openface(path)).read().splitlines()
    lines[4] = lines[4].replace("0.9", "inf", 1)
    lines[6] = lines[6].rsplit(", ", 3)[0] + ", ??, 1, 0"
    path.write_text("\n".join(lines))
    visible = read_table(path, rate=RATE).track.visible
    assert np.flatnonzero(~visible).tolist() == [3, 5]
