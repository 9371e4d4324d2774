"""What is to be predicted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bayesaffect.errors import InputError


@dataclass(frozen=True)
class Target:
    """What is to be predicted: a rating with bounds, or one of several levels.

    Its kind fixes the network's head, the likelihood of the fusion and the scores that are legal.

    Parameters
    ----------
    name : such as ``"valence"`` or ``"emotion"``.
    bounds : (low, high) of the rating scale; given for a continuous target.
    levels : class names in a fixed order; given for a categorical target.
    """

    name: str
    bounds: tuple[float, float] | None = None
    levels: tuple[str, ...] | None = None

    def __post_init__(self):
        if (self.bounds is None) == (self.levels is None):
            raise InputError(f"target {self.name!r} needs either bounds or levels, exactly one of them")
        if self.bounds is not None and not self.bounds[0] < self.bounds[1]:
            raise InputError(f"target {self.name!r} has bounds {self.bounds}", remedy="give (low, high), low < high")
        if self.levels is not None and (len(self.levels) < 2 or len(set(self.levels)) != len(self.levels)):
            raise InputError(
                f"target {self.name!r} has levels {self.levels}", remedy="give at least two, all different"
            )

    @property
    def kind(self) -> str:
        """``"continuous"`` or ``"categorical"``."""
        return "continuous" if self.bounds is not None else "categorical"

    @property
    def half_range(self) -> float:
        """Rating units per unit of the internal scale: (high - low) / 2."""
        low, high = self.bounds
        return (high - low) / 2

    def to_unit(self, rating):
        """Rating -> [-1, 1]: 2 (rating - low) / (high - low) - 1."""
        low, high = self.bounds
        return 2 * (np.asarray(rating, dtype=float) - low) / (high - low) - 1

    def from_unit(self, value):
        """[-1, 1] -> rating; the inverse of `to_unit`."""
        low, high = self.bounds
        return low + (np.asarray(value, dtype=float) + 1) * (high - low) / 2
