import av
import numpy as np
import pytest

from bayesaffect.signals.face import detect_facial_landmarks, extract_block, track_faces
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
    assert block.present.all() and block.quality.min() > 0.95
    knit = block.data["features"].sel(feature="brow_knit_mean").values
    assert knit[0] > knit[1]  # she frowns first and laughs later


def test_landmarks_of_a_real_frame(real_data):
    _, image = next(read_frames(real_data("face") / "WolfgangLanger_Pexels.mp4", np.array([0])))
    found = detect_facial_landmarks(image)
    np.testing.assert_allclose(found.sel(point=["eye_left", "eye_right"]), [[367, 172], [468, 172]], atol=15)
