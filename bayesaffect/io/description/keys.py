"""Keys of a TOML file, taken one by one with a check; every mistake is a sentence with file and key."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bayesaffect.errors import InputError
from bayesaffect.io import units


class Keys:
    """One table of the file, from which known keys are taken; what is left over in the end is unknown."""

    def __init__(self, raw: Mapping[str, Any], path: Path, name: str):
        self.raw, self.path, self.name = dict(raw), path, name
        self.asked: list[str] = []

    def fail(self, key: str, what: str, remedy: str | None = None):
        """Raise the sentence that names file and key."""
        full = f"{self.name}.{key}" if self.name else key
        raise InputError(f"{full} {what}", where=self.path, remedy=remedy or "correct the description")

    def take(self, key: str, check: Callable[[Any], Any], *default):
        """The checked value of a key; ``check`` returns it or raises ValueError with what is expected."""
        self.asked.append(key)
        if key not in self.raw:
            if default:
                return default[0]
            self.fail(key, "is missing", f"add it to {f'[{self.name}]' if self.name else 'the description'}")
        value = self.raw.pop(key)
        try:
            return check(value)
        except ValueError as error:
            self.fail(key, f"is {_shown(value)}", f"give {error}")

    def tables(self, key: str) -> dict[str, Keys]:
        """The tables [key.NAME] by name; none at all is an empty dict."""
        found = self.take(key, mapping, {})
        prefix = f"{self.name}.{key}" if self.name else key
        for name, value in found.items():
            if not re.fullmatch(r"[A-Za-z][\w-]*", name) or not isinstance(value, Mapping):
                self.fail(f"{key}.{name}", f"is {_shown(value)}", f"write it as a table [{prefix}.name]")
        return {name: Keys(value, self.path, f"{prefix}.{name}") for name, value in found.items()}

    def table(self, key: str) -> Keys:
        """The table [key]; an empty one where there is none."""
        return Keys(self.take(key, mapping, {}), self.path, f"{self.name}.{key}" if self.name else key)

    def done(self):
        """Refuse what nobody asked for."""
        for key in self.raw:
            near = difflib.get_close_matches(key, self.asked, 1)
            known = ", ".join(dict.fromkeys(self.asked))
            self.fail(key, "is unknown", f"did you mean {near[0]!r}?" if near else f"known are {known}")


def _shown(value) -> str:
    shown = " ".join(repr(value).split())
    return shown if len(shown) <= 60 else shown[:57] + "..."


def text(value) -> str:
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ValueError("a text in quotes")
    return value


def texts(value) -> tuple[str, ...]:
    good = isinstance(value, list) and value and all(isinstance(v, str) and v.strip() for v in value)
    if not good or len({v.lower() for v in value}) < len(value):
        raise ValueError('a list of different texts, such as ["Fp1", "Fp2"]')
    return tuple(value)


def mapping(value) -> dict:
    if not isinstance(value, dict):
        raise ValueError("a table")
    return value


def number(value) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("a number")
    return float(value)


def positive(value) -> float:
    try:
        found = number(value)
    except (ValueError, OverflowError):
        found = 0.0
    if not found > 0:
        raise ValueError("a positive number")
    return found


def whole(value) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 1 << 24:
        raise ValueError("a whole number between 1 and 16777215")
    return value


def number_or_text(value) -> float | str:
    if isinstance(value, str) and value.strip():
        return value
    try:
        return number(value)
    except (ValueError, OverflowError):
        raise ValueError("a number of seconds or the name of a column") from None


def positive_or_text(value) -> float | str:
    if isinstance(value, str) and value.strip():
        return value
    try:
        return positive(value)
    except ValueError:
        raise ValueError("a positive number or the name of a column") from None


def unit(value) -> str:
    known = units.canonical(value) if isinstance(value, str) else None
    if known is None:
        raise ValueError(f"one of {', '.join(units.KNOWN)}")
    return known


def one_of(*choices: str) -> Callable[[Any], str]:
    def check(value) -> str:
        if value not in choices:
            raise ValueError(" or ".join(f'"{choice}"' for choice in choices))
        return value

    return check


def bounds(value) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError("two numbers [low, high]")
    low, high = (number(v) for v in value)
    if not low < high:
        raise ValueError("[low, high] with low < high")
    return low, high


def levels(value) -> dict[str, str] | tuple[str, ...]:
    names = list(value.values()) if isinstance(value, dict) else value
    good = isinstance(names, list) and all(isinstance(n, str) and n.strip() for n in names)
    if not good or len(set(names)) < 2 or (isinstance(value, list) and len(set(names)) < len(names)):
        raise ValueError('at least two names, as a list ["calm", "tense"] or by code { "1" = "calm", "2" = "tense" }')
    return value if isinstance(value, dict) else tuple(value)


def missing(value) -> tuple[tuple[str, ...], float]:
    """``[-99, "none"]``: these; ``"<= 0"``: every number up to 0."""
    if isinstance(value, str) and (matched := re.fullmatch(r"\s*<=\s*(-?\d+(?:\.\d+)?)\s*", value)):
        return (), float(matched[1])
    if not isinstance(value, list) or any(isinstance(v, bool) or not isinstance(v, int | float | str) for v in value):
        raise ValueError('a list of values such as [0, -99], or "<= 0"')
    return tuple(str(v) for v in value), -math.inf
