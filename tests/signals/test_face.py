from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from bayesaffect.errors import InputError
from bayesaffect.signals import face
from bayesaffect.signals.face.cascade import turned
from bayesaffect.signals.face.expression import MEASURES, measure_expression
from bayesaffect.signals.face.track import align, credible, frame_numbers
from bayesaffect.signals.video import read_frames
from bayesaffect.simulate.face import draw_face, draw_looks
from bayesaffect.types import Video

SIZE = (320, 240)
LOOKS = draw_looks(np.random.default_rng(0))


def picture(smile=0.0, arousal=0.0, lids=0.8, shift=(0, 0)):
    image = draw_face(smile, arousal, lids, LOOKS, SIZE)
    return cv2.warpAffine(image, np.float32([[1, 0, shift[0]], [0, 1, shift[1]]]), SIZE, borderMode=1)


EMPTY = np.full((240, 320, 3), 120, np.uint8)


def write(path, images, rate=10.0):
    writer = cv2.VideoWriter(str(path), cv2.CAP_OPENCV_MJPEG, cv2.VideoWriter_fourcc(*"MJPG"), rate, SIZE)
    for image in images:
        writer.write(image)
    writer.release()
    return Video(str(path), 100.0, rate)


def write_numbered(path, codec, count=200, rate=20):
    """Grey frames whose brightness is their number, coded with one key frame in 25 where the codec predicts."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options={"g": "25"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.bit_rate = 4_000_000
        for k in range(count):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64), k % 256, np.uint8), format="gray")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(("name", "codec"), [("a.avi", "mjpeg"), ("a.mp4", "mpeg4"), ("b.avi", "mpeg4")])
@pytest.mark.parametrize("wanted", [[0, 3, 4, 90], [150, 151, 199, 500]])
def test_frames_are_those_asked_for_whatever_the_codec(tmp_path, name, codec, wanted):
    path = write_numbered(tmp_path / name, codec)
    found = {number: float(image.mean()) for number, image in read_frames(path, wanted)}
    assert list(found) == [k for k in wanted if k < 200]
    order = {k: float(image.mean()) for k, image in read_frames(path, np.arange(200))}
    slope = (order[199] - order[0]) / 199  # full or limited range of grey
    assert all(abs(value - order[0] - slope * k) < 1.5 for k, value in found.items())


def test_decoding_stays_near_the_window(tmp_path, monkeypatch):
    path = write_numbered(tmp_path / "a.mp4", "mpeg4", count=400)
    seen = []
    from bayesaffect.signals import video

    monkeypatch.setattr(video, "_until_broken", lambda items: (seen.append(1) or x for x in items))
    assert len(list(read_frames(path, np.arange(300, 320)))) == 20
    assert 20 <= len(seen) < 80


def test_crops_put_the_eyes_where_they_belong_and_follow_the_head(tmp_path):
    shifts = [(int(20 * np.sin(k / 8)), int(6 * np.cos(k / 5))) for k in range(60)]
    video = write(tmp_path / "v.avi", [picture(shift=s) for s in shifts])
    crops, visible, points = face.track_faces(video, 100 + np.arange(0, 6, 0.2), size=48)
    assert crops.shape == (30, 48, 48) and crops.dtype == np.uint8 and visible.all()
    moved = points[:, 0] - points[0, 0]
    truth = np.array(shifts[::2]) - shifts[0]
    assert np.abs(moved - truth).max() < 6  # px of a picture 320 px wide
    dark = crops[:, 8:26].mean(axis=0).min(axis=0)  # eyes and brows are the darkest above the nose
    assert dark[10:20].min() < dark[22:26].min() and dark[28:38].min() < dark[22:26].min()


def test_face_that_leaves_is_invisible_until_it_returns(tmp_path):
    images = [picture()] * 20 + [EMPTY] * 20 + [picture()] * 20
    crops, visible, points = face.track_faces(write(tmp_path / "v.avi", images), 100 + np.arange(60) / 10)
    assert visible[:20].all() and not visible[20:40].any() and visible[40:].all()
    assert not crops[20:40].any() and np.isnan(points[20:40]).all()


def test_frames_are_taken_at_even_distances_whatever_the_two_rates():
    video = Video("v.avi", 3.0, 20.0)
    assert set(np.diff(frame_numbers(video, 3 + (np.arange(40) + 0.5) / 4))) == {5}
    assert frame_numbers(video, np.array([3.0, 3.024, 3.026, 2.9])).tolist() == [0, 0, 1, -2]


def test_times_beyond_the_video_are_invisible_and_none_inside_is_an_error(tmp_path):
    video = write(tmp_path / "v.avi", [picture()] * 10)
    assert face.track_faces(video, np.array([100.5, 90.0, 130.0]))[1].tolist() == [True, False, False]
    with pytest.raises(InputError, match="holds no frame"):
        face.track_faces(video, np.array([300.0]))


@pytest.mark.parametrize("content", [None, b"", b"not a video at all" * 100])
def test_unreadable_video_names_file_and_remedy(tmp_path, content):
    path = tmp_path / "broken.avi"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"broken\.avi.*face out"):
        face.track_faces(Video(str(path), 0.0, 25.0), np.array([0.0]))


def test_coding_that_nobody_knows_names_file_and_remedy(tmp_path):
    write(tmp_path / "odd.avi", [EMPTY] * 3)
    content = (tmp_path / "odd.avi").read_bytes().replace(b"MJPG", b"\xfe\xff\x00\x01")
    (tmp_path / "odd.avi").write_bytes(content)
    with pytest.raises(InputError, match=r"odd\.avi.*re-encode"):
        list(read_frames(tmp_path / "odd.avi", np.arange(2)))


def test_half_a_video_gives_its_half(tmp_path):
    video = write(tmp_path / "v.avi", [picture()] * 40)
    whole = (tmp_path / "v.avi").read_bytes()
    (tmp_path / "v.avi").write_bytes(whole[: len(whole) // 2])
    visible = face.track_faces(video, 100 + np.arange(40) / 10)[1]
    assert visible[:15].all() and not visible[25:].any()


def test_frames_that_nothing_refers_to_may_be_left_out_and_none_else(tmp_path):
    """Frames between wanted ones are skipped by the decoder; what is shown is what decoding everything shows."""
    path, rng = tmp_path / "b.mp4", np.random.default_rng(3)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=20, options={"g": "12", "bf": "2"})
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 64, 48, "yuv420p", 2_000_000
        for k in range(60):
            stamp = k if k < 29 else k + 1  # frame 29 was dropped when this was recorded; a B frame stands in for it
            frame = av.VideoFrame.from_ndarray(rng.integers(0, 256, (48, 64)).astype(np.uint8), format="gray")
            frame.pts, frame.time_base = stamp, Fraction(1, 20)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with av.open(str(path)) as container:
        kinds = [str(frame.pict_type) for frame in container.decode(video=0)]
    assert len(set(kinds)) > 2  # there are frames that nothing refers to
    every = dict(read_frames(path, np.arange(61)))
    for wanted in ([1, 7, 29, 44], [2, 29], np.arange(0, 61, 7)):
        some = dict(read_frames(path, np.array(wanted)))
        assert list(some) == list(wanted) and all(np.array_equal(every[k], some[k]) for k in some)


def test_colours_are_those_of_the_picture(tmp_path):
    colour = (200, 60, 30)  # BGR
    video = write(tmp_path / "v.avi", [np.full((240, 320, 3), colour, np.uint8)] * 3)
    _, image = next(read_frames(video.path, np.array([1]), colour=True))
    np.testing.assert_allclose(image.mean(axis=(0, 1)), colour[::-1], atol=6)


@pytest.mark.parametrize("roll", [-28, 28])
def test_head_on_one_side_is_followed_and_set_upright(tmp_path, roll):
    upright = picture()
    turn = cv2.getRotationMatrix2D((160, 125), -roll, 1.0)
    images = [upright] * 10 + [cv2.warpAffine(upright, turn, SIZE, borderMode=1)] * 20
    crops, visible, points = face.track_faces(write(tmp_path / "v.avi", images), 100 + np.arange(30) / 10)
    assert visible.all()
    right = points[:, 1] - points[:, 0]
    tilt = np.degrees(np.arctan2(right[:, 1], right[:, 0]))
    assert abs(tilt[8]) < 8 and abs(tilt[-1] - roll) < 10
    likeness = np.corrcoef(crops[8].ravel(), crops[-1].ravel())[0, 1]
    assert likeness > 0.75


def test_crops_are_the_similarity_that_puts_the_eyes_in_place():
    rows, columns = np.mgrid[0:400, 0:500]
    for eyes in ([[180.0, 200.0], [300.0, 215.0]], [[200.0, 190.0], [222.0, 184.0]], [[20.0, 30.0], [140.0, 25.0]]):
        eyes = np.array(eyes)
        spread = 0.06 * np.linalg.norm(eyes[1] - eyes[0])
        dots = sum(np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * spread**2)) for x, y in eyes)
        crop = align(np.round(40 + 200 * dots).astype(np.uint8), eyes, 40).astype(float) - 40
        at = np.arange(40) + 0.5
        for half, goal in ((slice(0, 20), 0.3), (slice(20, 40), 0.7)):
            part = np.maximum(crop[:, half] - 20, 0)
            np.testing.assert_allclose(part.sum(0) @ at[half] / part.sum(), 40 * goal, atol=0.35)
            np.testing.assert_allclose(part.sum(1) @ at / part.sum(), 40 * 0.35, atol=0.35)


@pytest.mark.parametrize(
    ("eyes", "good"),
    [
        ([[100, 90], [160, 95]], True),
        ([[100, 90], [100, 90]], False),
        ([[100, 90], [np.nan, 95]], False),
        ([[-400, 90], [-340, 90]], False),
        ([[20, 90], [300, 95]], False),
    ],
)
def test_eyes_that_no_face_has_are_not_aligned(eyes, good):
    assert credible(np.array(eyes, float), (240, 320)) == good


def test_points_turn_clockwise_about_the_middle_of_the_box():
    np.testing.assert_allclose(turned(np.array([[0.9, 0.5], [0.5, 0.9]]), 90), [[0.5, 0.9], [0.1, 0.5]], atol=1e-12)
    c, s = np.cos(np.radians(30)), np.sin(np.radians(30))
    np.testing.assert_allclose(turned(np.array([[0.7, 0.4]]), 30), [[0.5 + 0.2 * c + 0.1 * s, 0.5 + 0.2 * s - 0.1 * c]])


def test_landmarks_of_a_picture():
    found = face.detect_facial_landmarks(picture())
    centre, scale = np.array([160 + 320 * LOOKS["place"][0], 240 * (0.53 + LOOKS["place"][1])]), 2.0
    for name, x in (("eye_left", -13.5), ("eye_right", 13.5)):
        np.testing.assert_allclose(found.sel(point=name), centre + scale * np.array([x * LOOKS["width"], -5]), atol=6)
    assert found.sel(point="mouth", xy="y") > found.sel(point="eye_left", xy="y") + 30
    assert found.attrs["eyes_found"]


@pytest.mark.parametrize("image", [EMPTY, EMPTY.astype(float), np.zeros((4, 4, 2), np.uint8)])
def test_picture_without_a_face_is_refused(image):
    with pytest.raises(InputError):
        face.detect_facial_landmarks(image)


@pytest.mark.parametrize(
    ("cause", "measure", "least"),
    [
        ("smile", "lip_corner_lift", 0.95),
        ("smile", "lip_width", 0.9),
        ("arousal", "brow_height", 0.95),
        ("arousal", "mouth_opening", 0.9),
        ("lids", "eye_opening", 0.95),
    ],
)
def test_proxies_follow_what_moves_the_face(tmp_path, cause, measure, least):
    level = np.linspace(-1, 1, 9) if cause != "lids" else np.linspace(0, 1, 9)
    video = write(tmp_path / "v.avi", [picture(**{cause: x}) for x in level], rate=4.0)
    crops, visible, _ = face.track_faces(video, 100 + np.arange(9) / 4)
    values = measure_expression(crops)[:, MEASURES.index(measure)]
    truth = np.maximum(level, 0) if measure == "mouth_opening" else level  # the drawn lips part from arousal 0 on
    assert visible.all() and np.corrcoef(truth, values)[0, 1] > least


def test_statistics_skip_hidden_frames():
    crops = np.random.default_rng(0).integers(0, 256, (4, 48, 48), dtype=np.uint8)
    track = measure_expression(crops)[:, 0]
    found = face.extract_action_units(crops, np.array([1, 1, 0, 1]))
    seen = track[[0, 1, 3]]
    expected = [seen.mean(), seen.std(), abs(track[1] - track[0])]
    np.testing.assert_allclose([found.sel(feature=f"brow_height_{s}") for s in ("mean", "sd", "velocity")], expected)
    assert np.isnan(face.extract_action_units(crops, np.zeros(4))).all()
    with pytest.raises(InputError):
        face.extract_action_units(crops, np.ones(3))


def test_uniform_crop_gives_finite_proxies():
    assert np.isfinite(measure_expression(np.full((2, 48, 48), 7, np.uint8))).all()


def test_block_marks_the_trial_without_a_face(tmp_path):
    video = write(tmp_path / "v.avi", [picture()] * 30 + [EMPTY] * 30)
    block = face.extract_block(video, [(100.0, 102.0), (103.5, 105.5), (102.0, 104.0)], rate=4.0, size=32)
    assert block.present.tolist() == [True, False, True]
    assert block.quality[0] > 0.8 and block.quality[1] == 0 and 0.3 < block.quality[2] <= 0.5
    units, seen = block.data["units"].values, block.data["visible"].values.astype(bool)
    assert not units[~seen].any() and (units[seen] != 0).any(axis=1).all()
    assert "no face" in block.reasons[1] and block.data["crops"].shape == (3, 8, 32, 32)
    assert block.data["visible"].dtype == np.uint8 and np.isfinite(block.data["features"][[0, 2]]).all()


def test_block_holds_what_networks_had_and_measures_beside_it(tmp_path):
    video = write(tmp_path / "v.avi", [picture(smile=np.sin(k / 5)) for k in range(50)])
    windows = [(100.0, 102.0), (102.5, 104.5)]
    block = face.extract_block(video, windows, rate=5.0)
    crops, visible, _ = face.track_faces(video, 100 + np.concatenate([np.arange(10), 12.5 + np.arange(10)]) / 5 + 0.1)
    np.testing.assert_array_equal(block.data["crops"].values.reshape(-1, 48, 48), crops)
    expected = face.extract_action_units(crops[10:], visible[10:])
    np.testing.assert_allclose(block.data["features"][1], expected, rtol=1e-6)
    assert list(block.data["feature"].values) == list(expected["feature"].values)
    assert block.data["units"].dims == ("trial", "frame", "unit") and block.data["units"].dtype == np.float32
    np.testing.assert_allclose(block.data["units"][1], measure_expression(crops[10:]), rtol=1e-6)
    measured = block.measures["features"].sel(feature=["lip_width_mean", "lip_width_velocity_per_s"])[1]
    wanted = expected.sel(feature=["lip_width_mean", "lip_width_velocity"]) * [1, 5]
    np.testing.assert_allclose(measured, wanted, rtol=1e-5)
    assert block.measures["coactivation"].shape == (2, 7, 7)


def test_backends_are_known_by_name(tmp_path):
    with pytest.raises(InputError, match=r"embedded, pyfeat, tables"):
        face.extract_block(Video("v.avi", 0.0, 10.0), [(0.0, 1.0)], backend="mediapipe")
