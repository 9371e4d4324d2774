"""Disjoint sets of subjects."""

from __future__ import annotations

from dataclasses import dataclass

from bayesaffect.errors import InputError


@dataclass(frozen=True)
class Fold:
    """Subjects a model learns from, is tuned on, and is tested on: three disjoint sets."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    def __post_init__(self):
        sets = {"train": set(self.train), "validation": set(self.validation), "test": set(self.test)}
        for a, b in (("train", "validation"), ("train", "test"), ("validation", "test")):
            if shared := sorted(sets[a] & sets[b]):
                raise InputError(f"subjects {shared} are in both {a} and {b}", remedy="folds must be subject-disjoint")
