"""Disjoint sets of subjects, or of whatever else is held apart."""

from __future__ import annotations

from dataclasses import dataclass

from bayesaffect.errors import InputError
from bayesaffect.types.unit import plural


@dataclass(frozen=True)
class Fold:
    """Units a model learns from, is tuned on, and is tested on: three disjoint sets; units are subjects unless told."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    by: str = "subject"

    def __post_init__(self):
        sets = {"train": set(self.train), "validation": set(self.validation), "test": set(self.test)}
        for a, b in (("train", "validation"), ("train", "test"), ("validation", "test")):
            if shared := sorted(sets[a] & sets[b]):
                raise InputError(
                    f"{plural(self.by)} {shared} are in both {a} and {b}", remedy=f"folds must be {self.by}-disjoint"
                )
