"""The backend of py-feat (Cheong et al. 2023): action units, emotions, valence and arousal by Detectorv2.

The only module that imports ``feat``, and only when it is used.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
from collections.abc import Iterator

import numpy as np
import pandas as pd

from bayesaffect.errors import InputError
from bayesaffect.signals.face.tables import keep, one_per_frame, select, track_of
from bayesaffect.signals.face.track import FaceTrack, align, credible, frame_numbers, nothing_decoded, rows_of
from bayesaffect.signals.video import read_frames
from bayesaffect.types import Video

PIXELS = 2_000_000  # of the frames that are in memory at once
MOST = 16  # frames at once
DOWNLOAD = 'python -c "import feat; feat.Detectorv2(identity_model=None)"'


def analyse(
    video: Video, times: np.ndarray, *, size: int = 48, device: str = "cpu", batch: int | None = None
) -> FaceTrack:
    """Faces, action units, emotions, valence and arousal at the given times, by py-feat.

    The file is decoded once; at most ``batch`` frames are in memory. How many does not change what is said about
    them. The largest face of a frame is taken; a frame in which py-feat finds none (NaN) is not visible. Crops are
    aligned by the eyes among its 68 landmarks.

    Parameters
    ----------
    video, times, size : as in `embedded.analyse`.
    device : where the networks run: ``"cpu"``, ``"cuda"``, ``"auto"``.
    batch : frames at once; as many as two million pixels hold, at most 16, if ``None``.

    Raises
    ------
    InputError : py-feat is not installed, its weights are not on this machine, or the video cannot be used.
    """
    times = np.asarray(times, dtype=float)
    detector = load_detector(device)
    numbers = frame_numbers(video, times)
    rows = rows_of(numbers)
    crops, shown = np.zeros((times.size, size, size), np.uint8), np.zeros(times.size, bool)
    tables, decoded = [], []
    for group in _groups(read_frames(video.path, numbers, colour=True), batch):
        table = _detect(detector, group)
        track = track_of(table, "pyfeat")
        eyes = track.landmarks.sel(point=["eye_left", "eye_right"]).values
        for k, (number, image) in enumerate(group):
            if track.visible[k] and credible(eyes[k], image.shape):
                crops[rows[number]], shown[rows[number]] = align(_grey(image), eyes[k], size), True
        tables.append(table)
        decoded += [number for number, _ in group]
    if not decoded:
        raise nothing_decoded(video, times)
    place = {number: k for k, number in enumerate(decoded)}
    nearest = np.array([place.get(int(number), 0) for number in numbers], dtype=int)
    found = select(track_of(pd.concat(tables, ignore_index=True), "pyfeat"), nearest, shown)
    return found._replace(crops=crops)


@functools.lru_cache(maxsize=1)
def load_detector(device: str):
    """``feat.Detectorv2`` without its identity model, from weights that are on this machine.

    Nothing is downloaded: without weights py-feat would try the network for most of a minute, for every recording.

    Raises
    ------
    InputError : py-feat is not installed, or its weights are not here.
    """
    try:
        module = importlib.import_module("feat.detector_v2")
    except (ImportError, RuntimeError, OSError) as error:  # the latter: torchvision of another torch
        missing = getattr(error, "name", None)
        what = f"py-feat cannot be imported ({f'{missing} is not installed' if missing else error})"
        remedy = 'pip install "bayesaffect[face]", or use the backend "embedded"'
        raise InputError(what, remedy=remedy) from None
    with _offline(), _gradients_kept(module.torch):
        try:
            return module.Detectorv2(device=device, identity_model=None)
        except OSError:  # what the hub's client raises offline, whichever file is missing
            remedy = f"run {DOWNLOAD} once where there is a network"
            raise InputError("the weights of py-feat's Detectorv2 are not on this machine", remedy=remedy) from None


class Frames:
    """Pictures (frame, channel, row, column) with the two methods that py-feat asks of a tensor before batching."""

    def __init__(self, images: np.ndarray):
        self.images = images

    def size(self, axis: int) -> int:
        return self.images.shape[axis]

    def __getitem__(self, where) -> np.ndarray:
        return self.images[where]


def _detect(detector, group: list[tuple[int, np.ndarray]]) -> pd.DataFrame:
    """The largest face of each frame: one row per frame, the columns that count."""
    images = np.stack([image for _, image in group]).transpose(0, 3, 1, 2)
    found = detector.detect(Frames(images), data_type="tensor", batch_size=len(group), progress_bar=False)
    table = pd.DataFrame({name: np.asarray(found[name], dtype=float) for name in found.columns if keep(name)})
    table = table.iloc[one_per_frame(table, table["frame"].values, "pyfeat")].set_index("frame")
    return table.reindex(np.arange(len(group), dtype=float)).reset_index()


def _groups(frames: Iterator[tuple[int, np.ndarray]], batch: int | None) -> Iterator[list[tuple[int, np.ndarray]]]:
    group: list[tuple[int, np.ndarray]] = []
    for number, image in frames:
        group.append((number, image))
        most = batch or int(np.clip(PIXELS // (image.shape[0] * image.shape[1]), 1, MOST))
        if len(group) >= most:
            yield group
            group = []
    if group:
        yield group


def _grey(image: np.ndarray) -> np.ndarray:
    """Luma of an RGB picture (ITU-R BT.601)."""
    return np.round(image @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """The hub's client answers from its cache alone, then as before."""
    constants = importlib.import_module("huggingface_hub.constants")
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


@contextlib.contextmanager
def _gradients_kept(torch) -> Iterator[None]:
    """py-feat's detector turns gradients off for the whole process; networks that train later need them."""
    before = torch.is_grad_enabled()
    try:
        yield
    finally:
        torch.set_grad_enabled(before)
