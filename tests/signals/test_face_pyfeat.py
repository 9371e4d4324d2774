"""py-feat's real package, with networks of its own classes that have not been trained: their values mean nothing, but
the loading, the batches, the masks, the columns and the frames are real. Skipped where py-feat is not installed."""

import json
from dataclasses import asdict

import cv2
import numpy as np
import pytest

from bayesaffect.errors import InputError
from bayesaffect.signals import face
from bayesaffect.signals.face import pyfeat
from bayesaffect.simulate.face import draw_face, draw_looks
from bayesaffect.types import Video

SIZE, RATE, COUNT = (320, 240), 10.0, 12
LOOKS = draw_looks(np.random.default_rng(0))
EMPTY = np.full((240, 320, 3), 30, np.uint8)


@pytest.fixture(scope="module")
def feat():
    return pytest.importorskip("feat", reason="py-feat is not installed: pip install 'bayesaffect[face]'")


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    path = tmp_path_factory.mktemp("film") / "v.avi"
    writer = cv2.VideoWriter(str(path), cv2.CAP_OPENCV_MJPEG, cv2.VideoWriter_fourcc(*"MJPG"), RATE, SIZE)
    for k in range(COUNT):
        writer.write(EMPTY if 4 <= k < 7 else draw_face(np.sin(k / 3), 0.0, 0.8, LOOKS, SIZE))
    writer.release()
    return Video(str(path), 0.0, RATE)


@pytest.fixture(scope="module")
def untrained(feat, tmp_path_factory):
    """A hub cache with weights as they are before training, in the place where py-feat looks."""
    import torch
    from feat.face_detectors.Retinaface.Retinaface_model import RETINAFACE_R34_CFG, RetinaFace
    from feat.multitask.inference import HF_REPO, HF_WEIGHTS_FILE
    from feat.multitask.model_v2 import MEGraphAUv2, ModelV2Config
    from safetensors.torch import save_file

    cache = tmp_path_factory.mktemp("hub")
    torch.manual_seed(0)
    config = ModelV2Config(
        n_au=20, n_emotion=7, n_blendshape=52, mesh_normalized=True, use_head_v3=True, pretrained=False
    )
    models = {
        ("py-feat/retinaface_r34", "model.safetensors"): (RetinaFace(RETINAFACE_R34_CFG), {}),
        (HF_REPO, HF_WEIGHTS_FILE): (MEGraphAUv2(config), {"config": json.dumps(asdict(config))}),
    }
    for (repository, name), (model, metadata) in models.items():
        folder = cache / f"models--{repository.replace('/', '--')}"
        (folder / "refs").mkdir(parents=True)
        (folder / "refs" / "main").write_text("0" * 40)
        (folder / "snapshots" / ("0" * 40)).mkdir(parents=True)
        state = {key: value.clone().contiguous() for key, value in model.state_dict().items()}
        save_file(state, folder / "snapshots" / ("0" * 40) / name, metadata)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("feat.utils.io.get_resource_path", lambda: str(cache))
        pyfeat.load_detector.cache_clear()
        yield pyfeat.load_detector("cpu")
        pyfeat.load_detector.cache_clear()


@pytest.fixture
def two_faces(untrained, monkeypatch):
    """Where the picture is bright, boxes of two faces, the larger one second; elsewhere none. Eyes are in their place
    in the box, which networks that have not been trained do not know."""
    from feat.multitask.inference import _DLIB68_IDX

    def find(frames):
        boxes = [[5.0, 5.0, 45.0, 50.0, 0.95], [105.0, 60.0, 225.0, 200.0, 0.9]]
        return [boxes if float(frame.mean()) > 60 else [] for frame in frames]

    kind = type(untrained.multitask)
    think = kind.__call__

    def see(self, chips):
        found = think(self, chips)
        for eye, x in ((slice(36, 42), 0.35), (slice(42, 48), 0.65)):
            found.mesh478[:, _DLIB68_IDX[eye].numpy(), :2] = [x, 0.4]
        return found

    monkeypatch.setattr(untrained, "face_detector", find)
    monkeypatch.setattr(kind, "__call__", see)
    return untrained


def test_without_the_package_the_extra_is_named(film, monkeypatch):
    def absent(name):
        raise ModuleNotFoundError("No module named 'feat'", name="feat")

    pyfeat.load_detector.cache_clear()
    monkeypatch.setattr(pyfeat.importlib, "import_module", absent)
    with pytest.raises(InputError, match=r"feat is not installed.*bayesaffect\[face\]"):
        pyfeat.analyse(film, np.array([0.0]))


def test_frames_are_given_as_the_loader_asks():
    images = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    frames = pyfeat.Frames(images)
    assert frames.size(0) == 2 and np.array_equal(frames[1, ...], images[1])


def test_without_weights_it_says_at_once_how_to_get_them(feat, film, tmp_path, monkeypatch):
    import importlib
    import time

    import torch

    importlib.import_module("feat.detector_v2")  # takes seconds, the answer must not
    monkeypatch.setattr("feat.utils.io.get_resource_path", lambda: str(tmp_path / "empty"))
    monkeypatch.delenv("FEAT_MULTITASK_WEIGHTS", raising=False)
    pyfeat.load_detector.cache_clear()
    before = time.perf_counter()
    with pytest.raises(InputError, match=r"weights .* not on this machine; run python -c .*Detectorv2"):
        face.extract_block(film, [(0.0, 1.0)], backend="pyfeat")
    assert time.perf_counter() - before < 10
    assert torch.is_grad_enabled()  # py-feat turns them off for the process
    import huggingface_hub.constants

    assert not huggingface_hub.constants.HF_HUB_OFFLINE


@pytest.mark.slow
def test_the_whole_path_runs_with_networks_before_training(untrained, film, monkeypatch):
    import torch

    monkeypatch.setattr(untrained.face_detector, "keep_top_k", 2)  # before training it finds hundreds of faces
    track = pyfeat.analyse(film, np.arange(3) / RATE)
    assert torch.is_grad_enabled()
    assert track.visible.shape == (3,) and track.crops.shape == (3, 48, 48)
    assert np.isnan(track.units.values[~track.visible]).all()


@pytest.mark.slow
def test_largest_face_is_taken_and_frames_without_one_are_masked(two_faces, film):
    times = np.array([0.0, 0.5, 1.1, 0.6, 0.2, 9.0])
    track = pyfeat.analyse(film, times, size=32)
    assert track.visible.tolist() == [True, False, True, False, True, False]
    assert track.units.shape == (6, 20) and track.emotions["level"].values.tolist()[:2] == ["neutral", "happiness"]
    np.testing.assert_allclose(track.emotions.sum("level")[track.visible], 1, atol=1e-5)
    assert np.isnan(track.units[~track.visible]).all() and np.isnan(track.affect[~track.visible]).all()
    np.testing.assert_allclose(track.confidence, [0.9, 0, 0.9, 0, 0.9, 0], atol=1e-6)
    assert not track.crops[~track.visible].any() and track.landmarks.sizes["point"] == 70


@pytest.mark.slow
def test_batch_size_changes_nothing(two_faces, film):
    times = np.array([0.0, 0.3, 0.5, 0.8])
    one, other = pyfeat.analyse(film, times, batch=1), pyfeat.analyse(film, times, batch=3)
    assert one.visible.tolist() == [True, True, False, True]
    np.testing.assert_array_equal(one.visible, other.visible)
    np.testing.assert_allclose(one.units, other.units, atol=1e-4)
    np.testing.assert_allclose(one.landmarks, other.landmarks, atol=0.05)
    np.testing.assert_allclose(one.affect, other.affect, atol=1e-4)


@pytest.mark.slow
def test_block_of_pyfeat_reads_like_that_of_a_table(two_faces, film):
    block = face.extract_block(film, [(0.0, 0.6), (0.6, 1.2)], rate=5.0, backend="pyfeat")
    assert block.present.all() and 0 < block.quality.max() <= 0.9
    names = block.measures["feature"].values.tolist()
    assert {"AU12_mean", "AU12_peaks_per_min", "coactivation_AU06_AU12", "emotion_happiness_mean"} <= set(names)
    assert np.isfinite(block.data["features"]).all() and block.data["crops"].shape == (2, 3, 48, 48)
