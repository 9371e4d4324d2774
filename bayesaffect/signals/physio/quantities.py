"""Named numbers of one window, some of which the window may be unable to tell."""

from __future__ import annotations

from collections.abc import Mapping


class Quantities(dict[str, float]):
    """Name -> value, every name always there; NaN where the window cannot tell it, and ``reasons`` says why.

    Parameters
    ----------
    values : the quantities; units are in the names, where there are any.
    reasons : name -> one sentence, for those that are NaN.
    """

    def __init__(self, values: Mapping[str, float], reasons: Mapping[str, str] | None = None):
        super().__init__({name: float(value) for name, value in values.items()})
        self.reasons = dict(reasons or {})

    def __reduce__(self):  # a dict would travel to another process without its reasons
        return type(self), (dict(self), self.reasons)
