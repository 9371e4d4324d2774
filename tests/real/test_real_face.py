import av
import cv2
import numpy as np
import pytest

from bayesaffect.signals.face import detect_facial_landmarks, extract_block, track_faces
from bayesaffect.signals.face.tables import read_table
from bayesaffect.signals.video import read_frames
from bayesaffect.types import Video

pytestmark = pytest.mark.real


def opened(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return Video(str(path), 0.0, float(stream.average_rate)), stream.frames


def test_face_is_found_in_nearly_every_frame(real_data):
    video, count = opened(real_data("face") / "WolfgangLanger_Pexels.mp4")
    _, visible, points = track_faces(video, np.arange(count) / video.rate)
    assert count == 472 and visible.sum() >= 465
    # the head fills about the same part of the picture throughout
    assert np.nanstd(points[:, 1, 0] - points[:, 0, 0]) < 0.15 * np.nanmean(points[:, 1, 0] - points[:, 0, 0])


def rewritten(path, source, change, *, rate=8.0, seconds=8.0):
    """The first seconds of a video at ``rate``, with ``change`` done to every image."""
    every = round(source.rate / rate)
    wanted = np.arange(0, round(seconds * source.rate), every)
    writer = None
    for _, image in read_frames(source.path, wanted, colour=True):
        image = change(image)
        if writer is None:
            size, codec = image.shape[1::-1], cv2.VideoWriter_fourcc(*"MJPG")
            writer = cv2.VideoWriter(str(path), cv2.CAP_OPENCV_MJPEG, codec, rate, size)
            writer.set(cv2.VIDEOWRITER_PROP_QUALITY, 95)
        writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    writer.release()
    return Video(str(path), 0.0, rate), wanted.size


def test_alignment_is_the_same_at_640_and_1920(real_data, tmp_path):
    source, _ = opened(real_data("face") / "WolfgangLanger_Pexels.mp4")
    small, count = rewritten(tmp_path / "s.avi", source, lambda image: image)
    large, _ = rewritten(tmp_path / "l.avi", source, lambda image: cv2.resize(image, (1920, 1080), interpolation=2))
    times = np.arange(count) / small.rate
    (a, seen_a, at_a), (b, seen_b, at_b) = track_faces(small, times), track_faces(large, times)
    assert seen_a.all() and seen_b.all()
    back = (at_b[:, :2] + 0.5) / 3 - 0.5
    apart = np.linalg.norm(at_a[:, 1] - at_a[:, 0], axis=1)
    error = np.linalg.norm(at_a[:, :2] - back, axis=2) / apart[:, None]
    assert np.median(error) < 0.05 and np.quantile(error, 0.95) < 0.15
    alike = [np.corrcoef(p.ravel(), q.ravel())[0, 1] for p, q in zip(a, b, strict=True)]
    assert np.median(alike) > 0.9


def test_planted_defects_lower_the_quality_of_a_real_face(real_data, tmp_path):
    source, _ = opened(real_data("face") / "WolfgangLanger_Pexels.mp4")

    def covered(image):
        image = image.copy()
        image[200:] = 60  # everything below the eyes
        return image

    changes = {
        "clean": lambda image: image,
        "blurred": lambda image: cv2.GaussianBlur(image, (0, 0), 6),
        "dark": lambda image: (image * 0.2).astype(np.uint8),
        "covered": covered,
    }
    quality = {}
    for name, change in changes.items():
        video, _ = rewritten(tmp_path / f"{name}.avi", source, change, seconds=4.0)
        quality[name] = float(extract_block(video, [(0.0, 4.0)], rate=8.0).quality[0])
    assert quality["clean"] > 0.85
    assert max(v for name, v in quality.items() if name != "clean") < 0.75 * quality["clean"], quality


def test_no_face_is_found_where_there_is_none(real_data):
    video, count = opened(real_data("face") / "no_face.mp4")
    assert not track_faces(video, np.arange(count) / video.rate)[1].any()


def test_seeking_gives_the_frames_of_decoding_from_the_start(real_data):
    path = real_data("face") / "WolfgangLanger_Pexels.mp4"
    wanted = np.array([260, 261, 300])
    late = dict(read_frames(path, wanted))
    every = {k: image for k, image in read_frames(path, np.arange(301)) if k in wanted}
    assert list(late) == wanted.tolist()
    assert all(np.array_equal(late[k], every[k]) for k in wanted)


def test_block_of_a_real_video(real_data):
    video, _ = opened(real_data("face") / "WolfgangLanger_Pexels.mp4")
    block = extract_block(video, [(0.0, 6.0), (12.0, 18.0)], rate=4.0)
    assert block.present.all() and block.quality.min() > 0.85
    knit = block.data["features"].sel(feature="brow_knit_mean").values
    assert knit[0] > knit[1]  # she frowns first and laughs later


def test_landmarks_of_a_real_frame(real_data):
    _, image = next(read_frames(real_data("face") / "WolfgangLanger_Pexels.mp4", np.array([0])))
    found = detect_facial_landmarks(image)
    np.testing.assert_allclose(found.sel(point=["eye_left", "eye_right"]), [[367, 172], [468, 172]], atol=15)


def test_real_table_of_openface(real_data):
    path = real_data("face") / "OpenFace_Test.csv"
    table = read_table(path, rate=25.0)
    assert table.numbers.tolist() == list(range(100)) and table.track.visible.all()
    assert table.track.units.sizes == {"frame": 100, "unit": 18} and 0.88 < table.track.confidence.min() < 0.99
    np.testing.assert_allclose(
        table.track.landmarks.sel(point=["p36", "p45"])[0], [[297.654, 186.139], [364.607, 184.018]]
    )
    units = table.track.units
    assert float(units.sel(unit=[u for u in units["unit"].values if "present" not in u]).max()) <= 5
    film = Video(str(real_data("face") / "WolfgangLanger_Pexels.mp4"), 0.0, 24000 / 1001, str(path))
    block = extract_block(film, [(0.0, 2.0), (2.0, 4.0)], rate=8.0, backend="tables")
    assert block.present.all() and block.data["crops"].shape == (2, 16, 48, 48)
    assert np.isfinite(block.measures["features"].sel(feature=["AU12_mean", "AU12_peaks_per_min"])).all()


def test_real_table_of_pyfeat(real_data):
    table = read_table(real_data("face") / "Feat_Test.csv", rate=25.0)
    track = table.track
    assert table.numbers.tolist() == [0] and track.visible.all() and track.units.sizes["unit"] == 20
    assert float(track.units.sel(unit="AU12")[0]) == pytest.approx(0.96437927)
    assert str(track.emotions["level"].values[int(track.emotions.values[0].argmax())]) == "happiness"
    assert float(track.emotions.sum()) == pytest.approx(1, abs=1e-4) and float(track.confidence[0]) > 0.99
