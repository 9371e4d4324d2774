"""What differs between data sets of one kind: names of channels, units, rating scales, codes of emotions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from bayesaffect.errors import InputError
from bayesaffect.types import Target


@dataclass(frozen=True)
class Sensor:
    """One signal of a recording.

    Parameters
    ----------
    channels : their labels in the file, found whatever their case, and named so in the recording.
    units : in which the numbers are stored, whatever the file says; ``None`` believes the file.
    assumed : the unit where the file gives none that is known.
    rate : samples per second it should have; another one in the file is an error.
    """

    channels: tuple[str, ...]
    units: str | None = None
    assumed: str | None = None
    rate: float | None = None


@dataclass(frozen=True)
class Rating:
    """How the answer to one target is written down.

    Parameters
    ----------
    name : of the attribute in session.xml, or of the column in a table.
    codes : what is written -> level; for a categorical target.
    missing : texts or numbers that stand for no answer; ``missing_to``: so does any number up to it.
    strict : an answer that is no code is an error, not a missing one.
    """

    target: Target
    name: str
    codes: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    missing_to: float = -math.inf
    strict: bool = False


@dataclass(frozen=True)
class SessionLayout:
    """A data set of session folders as in MAHNOB-HCI.

    Parameters
    ----------
    format, title : of the listing; what messages call it.
    ratings, signals, modalities : what is read and how.
    trigger, mask : channel of the pulses at clip start and stop, and its bits that count.
    video_rate : frames per second, whatever session.xml or the file says.
    video_table : pattern of the csv of an external face analysis beside a video; ``{video}`` is the video's stem.
    align : "audio-clock" or "centred", unless the caller asks for one.
    obtain : how the data are obtained and laid out.
    """

    format: str
    title: str
    ratings: tuple[Rating, ...]
    signals: Mapping[str, Sensor]
    modalities: Mapping[str, tuple[str, ...]]
    trigger: str = "Status"
    mask: int = 0xFFFF
    video_rate: float | None = None
    video_table: str | None = None
    align: str = "audio-clock"
    obtain: str = "check the folder"

    @property
    def targets(self) -> tuple[Target, ...]:
        return tuple(rating.target for rating in self.ratings)


def choose(ratings: tuple[Rating, ...], targets: tuple[Target, ...], title: str) -> tuple[Rating, ...]:
    """The ratings of the wanted targets, in their order.

    Raises
    ------
    InputError : a target that the data set does not have.
    """
    known = {rating.target.name: rating for rating in ratings}
    if unknown := [target.name for target in targets if target.name not in known]:
        raise InputError(f"{title} has no target {unknown[0]!r}", remedy=f"it has {list(known)}")
    return tuple(known[target.name] for target in targets)


def number(text: str) -> float | None:
    """The finite number that a text holds (a decimal comma is understood), else ``None``."""
    try:
        value = float(text.strip().replace(",", "."))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def decode(rating: Rating, text: str | None, *, where: str) -> float | str | None:
    """An answer as a rating or a level; ``None`` where there is none.

    Raises
    ------
    InputError : no number where one is expected, a rating outside its bounds, or an unknown level if ``strict``.
    """
    text = (text or "").strip()
    value = number(text)
    if not text or text.lower() == "nan" or _is_one_of(text, value, rating.missing):
        return None
    if rating.target.kind == "categorical":
        for code, level in rating.codes.items():
            if _is_one_of(text, value, (code,)):
                return level if level in rating.target.levels else None
        if rating.strict or (value is None and all(number(code) is not None for code in rating.codes)):
            what = f'{rating.name}="{text}" is none of {list(rating.codes)}'
            raise InputError(what, where=where, remedy="correct it or leave it empty")
        return None
    if value is None:
        raise InputError(f'{rating.name}="{text}" is not a number', where=where, remedy="correct it or leave it empty")
    if value <= rating.missing_to:
        return None
    low, high = rating.target.bounds
    if not low <= value <= high:
        side = f"above {high:g}" if value > high else f"below {low:g}"
        remedy = f"ratings run from {low:g} to {high:g}{_said_missing(rating)}; correct the file"
        raise InputError(f'{rating.name}="{value:g}" is {side}', where=where, remedy=remedy)
    return value


def _said_missing(rating: Rating) -> str:
    if math.isfinite(rating.missing_to):
        return f", and {rating.missing_to:g} or less is a missing one"
    return f", and {' or '.join(rating.missing)} is a missing one" if rating.missing else ""


def _is_one_of(text: str, value: float | None, texts: tuple[str, ...]) -> bool:
    for other in texts:
        if text.lower() == other.strip().lower() or (value is not None and value == number(other)):
            return True
    return False
