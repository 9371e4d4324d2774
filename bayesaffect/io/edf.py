"""BDF and EDF files: what their headers say, and signals as stored, each at its own sampling rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import mne
import numpy as np

from bayesaffect.errors import InputError

# whatever a damaged file may provoke in the library that reads it
UNREADABLE = (
    OSError,
    ValueError,
    RuntimeError,
    LookupError,
    TypeError,
    ArithmeticError,
    AssertionError,
    MemoryError,
    EOFError,
)
_BYTES = {"BDF": 3, "EDF": 2}


class Channel(NamedTuple):
    """A signal of the file: its label, its unit as the header spells it, and samples per second."""

    label: str
    unit: str
    rate: float


class Header(NamedTuple):
    """Kind of file (BDF or EDF), its channels, and the share of the announced data that it really holds."""

    kind: str
    channels: tuple[Channel, ...]
    share: float

    def find(self, label: str) -> Channel | None:
        """The channel of that label, whatever its case."""
        wanted = label.strip().lower()
        return next((c for c in self.channels if c.label.lower() == wanted), None)


def read_header(path: Path, *, remedy: str = "copy or export it again") -> Header:
    """Read the header of a BDF or EDF file.

    Raises
    ------
    InputError : the file is neither, its header is incomplete or makes no sense, or it is cut short.
    """
    kind = "EDF" if path.suffix.lower() == ".edf" else "BDF"
    try:
        with open(path, "rb") as stream:
            head = stream.read(256)
            kind = "BDF" if head[:8] == b"\xffBIOSEMI" else kind
            count = int(head[252:256])
            body = stream.read(256 * count) if count > 0 else b""
        if (kind == "BDF") != (head[:8] == b"\xffBIOSEMI") or len(body) != 256 * count or count < 1:
            raise ValueError("its header is incomplete or of another format")
        records, seconds, size = int(head[236:244]), float(head[244:252]), path.stat().st_size

        def fields(start: int, width: int) -> list[str]:
            at = start * count
            return [body[at + width * k : at + width * (k + 1)].decode("latin1").strip() for k in range(count)]

        labels, units = fields(0, 16), fields(96, 8)
        samples = [int(text) for text in fields(216, 8)]
        if not seconds > 0 or min(samples) < 1:
            raise ValueError(f"its header gives {min(samples)} samples per record of {seconds:g} s")
    except (OSError, ValueError) as error:
        raise InputError(f"is no readable {kind} ({error})", where=path, remedy=remedy) from None
    expected = records * sum(samples) * _BYTES[kind]
    share = (size - 256 * (count + 1)) / expected if expected > 0 else 1.0
    if share < 1 - 1e-9:
        raise InputError(f"is cut short, {100 * share:.0f} % of its data are there", where=path, remedy=remedy)
    channels = [Channel(a, b, n / seconds) for a, b, n in zip(labels, units, samples, strict=True)]
    return Header(kind, tuple(channels), share)


class Signals:
    """Reads channels of one BDF or EDF file; files whose channels all share a rate are opened only once."""

    def __init__(
        self, path: Path, header: Header, *, trigger: str | None = None, remedy: str = "copy or export it again"
    ):
        self.path, self.header, self.trigger, self.remedy = path, header, trigger, remedy
        self._whole: mne.io.BaseRaw | None = None

    def read(
        self, labels: Sequence[str], *, span: tuple[float, float] | None = None
    ) -> tuple[np.ndarray, float, tuple[str, ...]]:
        """Stored numbers (channel, sample) in the units of the header, their rate in Hz, and those units.

        The channel named as ``trigger`` is read as whole numbers, without scaling. ``span``: only the samples from
        (and including) the one at or before span[0] s to the one before span[1] s, as far as the file has them.

        Raises
        ------
        InputError : a channel that is not there, channels of different rates, or data that cannot be read.
        """
        found = [self.header.find(label) for label in labels]
        if absent := [label for label, channel in zip(labels, found, strict=True) if channel is None]:
            raise InputError(f"lacks channel {', '.join(absent)}", where=self.path, remedy="record it, or leave it out")
        rates = {channel.rate for channel in found}
        if len(rates) > 1:
            what = f"holds {', '.join(labels)} at {sorted(rates)} Hz"
            raise InputError(what, where=self.path, remedy="make signals of channels that share a rate")
        try:
            raw = self._open([channel.label for channel in found])
            names = {name.lower(): name for name in raw.ch_names}
            missing = [c.label for c in found if c.label.lower() not in names]
            if missing:
                raise ValueError(f"the label {missing[0]!r} stands for several channels")
            first, last = sample_span(span, found[0].rate, raw.n_times)
            picks = [names[channel.label.lower()] for channel in found]
            values = raw.get_data(picks=picks, start=first, stop=last, verbose="error")
        except UNREADABLE as error:
            what = f"is no readable {self.header.kind} ({str(error).strip() or type(error).__name__})"
            raise InputError(what.replace("\n", " "), where=self.path, remedy=self.remedy) from None
        units = tuple(channel.unit for channel in found)
        return values * np.array([[_undo(unit)] for unit in units]), rates.pop(), units

    def _open(self, labels: list[str]) -> mne.io.BaseRaw:
        if self._whole is not None:
            return self._whole
        # MNE brings the channels of one object to one rate by Fourier interpolation, which rings: never mix rates
        mixed = len({channel.rate for channel in self.header.channels}) > 1
        read = mne.io.read_raw_bdf if self.header.kind == "BDF" else mne.io.read_raw_edf
        status = None if self.trigger is None else self.header.find(self.trigger)
        options = {"stim_channel": [status.label] if status else "auto"} | ({"include": labels} if mixed else {})
        raw = read(self.path, preload=False, encoding="latin1", verbose="error", **options)
        if not mixed:
            self._whole = raw
        return raw


def sample_span(span: tuple[float, float] | None, rate: float, count: int) -> tuple[int, int]:
    """First sample and the one after the last that lie in ``span`` (s after the first sample), of ``count``."""
    if span is None:
        return 0, count
    first = min(max(math.floor(span[0] * rate), 0), count)
    return first, min(max(math.ceil(span[1] * rate), first), count)


def _undo(unit: str) -> float:
    """What turns MNE's number back into the stored one: it scales uV and mV to V and leaves every other unit."""
    text = unit.replace("µ", "u").replace("μ", "u")
    return {"uV": 1e6, "mV": 1e3}.get(text, 1.0)
