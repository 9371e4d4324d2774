"""The one exception a user's mistake raises: what is wrong, where, and what to do about it."""

from __future__ import annotations

import os


class InputError(ValueError):
    """Input that cannot be used, told in one sentence.

    The command line prints the sentence and exits with code 2; a caller of the library catches it
    like any ``ValueError``.

    Parameters
    ----------
    what : the rule that was broken and the offending value ("probabilities sum to 1.3, not 1").
    where : the file, row or object that holds it; left out of the sentence when ``None``.
    remedy : what the user can do; left out when ``None``.
    """

    def __init__(self, what: str, *, where: str | os.PathLike | None = None, remedy: str | None = None):
        what = " ".join(what.split())  # a library's message quoted in it may have several lines
        self.what, self.where, self.remedy = what, None if where is None else str(where), remedy
        sentence = what if where is None else f"{self.where}: {what}"
        super().__init__(sentence if remedy is None else f"{sentence}; {remedy}")

    def __reduce__(self):  # keyword-only fields survive the trip back from a worker process
        return _rebuild, (self.what, self.where, self.remedy)


def first_line(error: BaseException) -> str:
    """What a library's error says, for a sentence of ours: its first line, or its type where it has no text."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _rebuild(what: str, where: str | None, remedy: str | None) -> InputError:
    return InputError(what, where=where, remedy=remedy)
