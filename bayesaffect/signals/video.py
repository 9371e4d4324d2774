"""Grey frames of a video file, decoded once, in order, with one frame in memory at a time."""

from __future__ import annotations

import bisect
import os
from collections.abc import Callable, Iterator

import av
import numpy as np

from bayesaffect.errors import InputError

AHEAD = 5.0  # s: a first frame later than this is worth a seek
LATE = 0.5  # s: the frame that stands in for a dropped one may be this much later
Convert = Callable[[av.VideoFrame], np.ndarray]


def read_frames(
    path: str | os.PathLike, wanted: np.ndarray, *, colour: bool = False
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (frame number, image uint8) for the frame numbers ``wanted``, in increasing order.

    Images are grey (row, column), or RGB (row, column, 3) for ``colour``. Frames are counted from 0 at the file's
    nominal rate, by time stamps where there are any. Where every frame is coded on its own (MJPEG), the others are
    not decoded; elsewhere decoding begins at the last key frame before the first one wanted, ends at the last one
    wanted, and leaves out the frames between that no other frame refers to. Numbers beyond the file's end are not
    yielded.

    Raises
    ------
    InputError : the file cannot be opened, holds no video, or breaks off before any frame was decoded.
    """
    wanted = np.unique(np.asarray(wanted, dtype=int))
    wanted = wanted[wanted >= 0]
    if not os.path.isfile(path):
        raise InputError("the video file does not exist", where=path, remedy="restore it, or leave the face out")
    if not wanted.size:
        return
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise InputError(
                    "the file holds no video stream", where=path, remedy="restore it, or leave the face out"
                )
            if container.streams.video[0].codec_context is None:
                what = "the video's coding is not one that can be decoded"
                raise InputError(what, where=path, remedy="restore or re-encode it, or leave the face out")
            rate = float(container.streams.video[0].average_rate or 25)
            yield from _pick(_frames(container, wanted), wanted, rate, _colours if colour else _luma)
    except av.FFmpegError as error:
        what = f"the video cannot be read ({error.strerror or type(error).__name__})"
        raise InputError(what, where=path, remedy="restore or re-encode it, or leave the face out") from None


def _pick(
    frames: Iterator[tuple[int, av.VideoFrame]], wanted: np.ndarray, rate: float, convert: Convert
) -> Iterator[tuple[int, np.ndarray]]:
    position = 0
    for number, frame in frames:
        image = None
        while position < wanted.size and number >= wanted[position]:
            if number - wanted[position] <= LATE * rate:
                image = convert(frame) if image is None else image
                yield int(wanted[position]), image
            position += 1
        if position == wanted.size:
            return


def _frames(container, wanted: np.ndarray) -> Iterator[tuple[int, av.VideoFrame]]:
    stream = container.streams.video[0]
    rate = float(stream.average_rate or 25)
    if stream.codec_context.codec.intra_only:
        yield from _independent_frames(container, stream, set(wanted.tolist()))
        return
    stream.thread_type = "AUTO"
    origin = stream.start_time or 0
    target = wanted[0] / rate - 1
    if target > AHEAD:
        container.seek(origin + int(target / stream.time_base), stream=stream, backward=True)
        first = next(container.decode(stream), None)
        landed = None if first is None or first.pts is None else _number(first, origin, stream.time_base, rate)
        if landed is not None and 0 <= landed <= wanted[0]:
            yield landed, first
        else:
            container.seek(origin, stream=stream, backward=True)
    count = 0
    for frame in _until_broken(_needed(container, stream, wanted, origin, rate)):
        yield (count if frame.pts is None else _number(frame, origin, stream.time_base, rate)), frame
        count += 1


def _needed(container, stream, wanted: np.ndarray, origin: int, rate: float) -> Iterator[av.VideoFrame]:
    """Decoded frames, without those that are not wanted, stand in for none that is missing, and are not referred to."""
    numbers, seen = wanted.tolist(), set()
    context, step, stamped = stream.codec_context, float(stream.time_base) * rate, True
    for packet in container.demux(stream):
        stamped = stamped and (not packet.size or packet.pts is not None)
        if packet.size and stamped:
            number = round((packet.pts - origin) * step)
            seen.add(number)
            last = bisect.bisect_right(numbers, number) - 1  # the latest one wanted up to here
            skip = last < 0 or (numbers[last] != number and numbers[last] in seen)
            context.skip_frame = "NONREF" if skip else "DEFAULT"
        elif packet.size:  # without time stamps frames are counted, so all of them are needed
            context.skip_frame = "DEFAULT"
        yield from packet.decode()


def _independent_frames(container, stream, wanted: set[int]) -> Iterator[tuple[int, av.VideoFrame]]:
    last = max(wanted)
    for number, packet in enumerate(p for p in _until_broken(container.demux(stream)) if p.size):
        if number in wanted:
            try:
                frames = packet.decode()
            except av.FFmpegError:  # one damaged frame does not cost the others
                continue
            if frames:
                yield number, frames[0]
        if number >= last:
            return


def _until_broken(items: Iterator) -> Iterator:
    """The items before a decoding error; the error itself only when there are none."""
    some = False
    items = iter(items)
    while True:
        try:
            item = next(items)
        except StopIteration:
            return
        except av.FFmpegError:
            if not some:
                raise
            return
        some = True
        yield item


def _number(frame: av.VideoFrame, origin: int, time_base, rate: float) -> int:
    return round(float((frame.pts - origin) * time_base) * rate)


def _luma(frame: av.VideoFrame) -> np.ndarray:
    """First plane of a planar 8-bit YUV frame, which is its grey image; other formats are converted."""
    if frame.format.name.startswith(("yuv4", "yuvj4", "nv12", "gray")) and frame.format.components[0].bits == 8:
        plane = frame.planes[0]
        if frame.format.is_planar or frame.format.name == "gray":
            rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
            return rows[: frame.height, : frame.width]  # a view keeps its frame alive, and costs nothing
    return frame.to_ndarray(format="gray")


def _colours(frame: av.VideoFrame) -> np.ndarray:
    return frame.to_ndarray(format="rgb24")
