import cv2
import numpy as np
import pytest

from bayesaffect.signals import face
from bayesaffect.signals.face.quality import CONTRAST, DETAIL, contrast, judge, sharpness
from bayesaffect.simulate.face import draw_face, draw_looks
from bayesaffect.types import Video

SIZE = (320, 240)


@pytest.fixture(scope="module")
def images():
    looks = draw_looks(np.random.default_rng(0))
    return [draw_face(np.sin(k / 9), np.cos(k / 7), 0.8, looks, SIZE) for k in range(32)]


def quality(path, images):
    writer = cv2.VideoWriter(str(path), cv2.CAP_OPENCV_MJPEG, cv2.VideoWriter_fourcc(*"MJPG"), 8.0, SIZE)
    for image in images:
        writer.write(image)
    writer.release()
    block = face.extract_block(Video(str(path), 0.0, 8.0), [(0.0, 4.0)], rate=8.0)
    return float(block.quality[0])


def occluded(images):
    """A hand before the face from the second second on."""
    covered = [image.copy() for image in images]
    for image in covered[8:]:
        image[50:200, 90:230] = (90, 110, 150)
    return covered


def test_planted_defects_lower_the_quality(tmp_path, images):
    clean = quality(tmp_path / "clean.avi", images)
    defects = {
        "blurred": [cv2.GaussianBlur(i, (0, 0), 4) for i in images],
        "dark": [(i * 0.2).astype(np.uint8) for i in images],
        "occluded": occluded(images),
        "empty": [np.full((240, 320, 3), 120, np.uint8)] * 32,
    }
    found = {name: quality(tmp_path / f"{name}.avi", frames) for name, frames in defects.items()}
    assert clean > 0.85 and found["empty"] == 0
    assert all(value < 0.75 * clean for value in found.values()), found


def test_quality_is_the_product_of_its_parts():
    rng = np.random.default_rng(0)
    crops = cv2.GaussianBlur(rng.integers(0, 256, (48, 48)).astype(np.uint8), (0, 0), 2)[None].repeat(4, 0)
    visible, confidence = np.array([1, 1, 0, 1], bool), np.array([1.0, 0.5, 0.0, 0.9])
    picture = (sharpness(crops) * contrast(crops))[0]
    assert 0.1 < picture < 0.9
    assert judge(visible, confidence, crops) == pytest.approx(0.75 * 0.8 * picture)
    assert judge(visible, confidence, None) == pytest.approx(0.75 * 0.8)
    assert judge(np.zeros(4, bool), confidence, crops) == 0


def test_sharpness_is_the_share_of_differences_that_smoothing_removes():
    picture = cv2.GaussianBlur(np.random.default_rng(1).integers(0, 256, (30, 30)).astype(np.uint8), (0, 0), 2.5)
    smooth = cv2.blur(picture.astype(float), (3, 3))[1:-1, 1:-1]

    def differences(p):
        return np.abs(np.diff(p.astype(float), axis=0)).mean() + np.abs(np.diff(p.astype(float), axis=1)).mean()

    lost = 1 - differences(smooth) / differences(picture)
    assert 0 < lost < DETAIL
    assert sharpness(picture[None])[0] == pytest.approx(lost / DETAIL, rel=1e-4)
    assert sharpness(np.full((1, 30, 30), 9, np.uint8))[0] == 0


def test_contrast_is_the_spread_of_grey():
    crop = np.tile(np.array([100, 112], np.uint8), (20, 10))
    assert contrast(crop[None])[0] == pytest.approx(6 / CONTRAST)
