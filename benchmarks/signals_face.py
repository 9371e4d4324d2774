"""Faces on video against only decoding the same file with OpenCV: time, faces found, alignment at two sizes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from pairs import Row, costs, fact

from bayesaffect.signals.face import track_faces
from bayesaffect.simulate.face import draw_face, draw_looks
from bayesaffect.types import Video

RATE = 8.0  # analysed frames per second
LARGE = (1920, 1080)


def rows(repeats: int) -> Iterator[Row]:
    """The whole face analysis (decode, find, follow, align) at 640 x 360 and 1920 x 1080 over decoding alone."""
    with tempfile.TemporaryDirectory() as folder:
        path, note = _clip(Path(folder))
        files = {"640x360": (path, 1.3)}
        for codec in ("h264", "mpeg4"):
            if enlarged := _enlarge(path, Path(folder) / f"{codec}.mp4", codec):
                files[f"1920x1080 {codec}"] = (enlarged, 1.0)
        tracks = {}
        for name, (file, most) in files.items():
            video, times = _opened(file)
            tracks[name] = track_faces(video, times)
            ours, other = _analyse(video, times), _decode(file)
            yield costs(f"face at {name} over decoding", ours, other, most=most, repeats=repeats, note=note)
        for name, (_, visible, _) in tracks.items():
            share = float(visible.mean())
            yield fact(f"faces found at {name}", share, goal=">= 0.99", holds=share >= 0.99, note=note)
        small, *large = tracks
        for name in large:
            error = _misalignment(tracks[small], tracks[name])
            what = f"median eye misplacement, {small} to {name}"
            yield fact(what, error, goal="<= 0.05 eye distances", holds=error <= 0.05, note=note)


def _analyse(video: Video, times: np.ndarray) -> Callable[[], None]:
    return lambda: track_faces(video, times)


def _decode(path: Path) -> Callable[[], None]:
    def read_all() -> None:
        capture = cv2.VideoCapture(str(path))
        while capture.read()[0]:
            pass

    return read_all


def _opened(path: Path) -> tuple[Video, np.ndarray]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        rate, count = float(stream.average_rate), sum(1 for packet in container.demux(stream) if packet.size)
    return Video(str(path), 0.0, rate), np.arange(0, (count - 0.5) / rate, 1 / RATE)


def _clip(folder: Path) -> tuple[Path, str]:
    """The real clip where it is, else a drawn face of the same size and length."""
    data = Path(os.environ.get("BAYESAFFECT_DATA", Path(__file__).parents[2] / "shared" / "data"))
    real = data / "face" / "WolfgangLanger_Pexels.mp4"
    if real.is_file():
        return real, f"real clip, 472 frames, {RATE:g} analysed per s"
    looks = draw_looks(np.random.default_rng(0))
    images = (draw_face(np.sin(k / 40), np.cos(k / 60), 0.8, looks, (640, 360)) for k in range(472))
    frames = (av.VideoFrame.from_ndarray(image, format="bgr24") for image in images)
    return _write(folder / "drawn.mp4", frames, "mpeg4", Fraction(24)), f"drawn face, {RATE:g} analysed per s"


def _enlarge(path: Path, target: Path, codec: str) -> Path | None:
    """The video at 1920 x 1080, or ``None`` where this build has no such encoder."""
    try:
        av.Codec({"h264": "libx264"}.get(codec, codec), "w")
    except (ValueError, av.FFmpegError):
        return None
    with av.open(str(path)) as source:
        stream = source.streams.video[0]
        frames = (frame.reformat(*LARGE, "yuv420p", interpolation="BICUBIC") for frame in source.decode(stream))
        return _write(target, frames, codec, Fraction(stream.average_rate))


def _write(path: Path, frames: Iterator[av.VideoFrame], codec: str, rate: Fraction) -> Path:
    options = {"preset": "fast", "crf": "20"} if codec == "h264" else {"g": "12"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream({"h264": "libx264"}.get(codec, codec), rate=rate, options=options)
        stream.pix_fmt, stream.thread_type = "yuv420p", "AUTO"
        for k, frame in enumerate(frames):
            if not k:
                stream.width, stream.height = frame.width, frame.height
                if codec != "h264":
                    stream.bit_rate = 4 * frame.width * frame.height
            frame.pts, frame.time_base = k, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def _misalignment(small, large) -> float:
    """Median distance of the eyes in the two sizes, in eye distances."""
    both = small[1] & large[1]
    a, b = small[2][both, :2], large[2][both, :2]
    scale = LARGE[0] / 640
    apart = np.linalg.norm(a[:, 1] - a[:, 0], axis=1)
    return float(np.median(np.linalg.norm(a - ((b + 0.5) / scale - 0.5), axis=2) / apart[:, None]))
