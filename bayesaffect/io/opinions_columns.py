"""What each column of an opinions table is for, by its name (`bayesaffect.io.opinions` lists the names)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bayesaffect.errors import InputError
from bayesaffect.io.frames import KEYS

UNNAMED = "class"


class Columns(NamedTuple):
    """``continuous``: targets with a mean_ column; ``levels``: categorical target -> its classes, in the order of the
    columns; ``probabilities``: categorical target -> the names of those columns."""

    continuous: list[str]
    levels: dict[str, list[str]]
    probabilities: dict[str, list[str]]


def by_role(columns: Sequence[str], path: Path) -> Columns:
    """The targets that the columns of a table speak of.

    Raises
    ------
    InputError : a column is missing, has no role, or contradicts another; ``path`` is named.
    """
    if absent := [c for c in KEYS if c not in columns]:
        raise InputError(
            f"lacks the columns {absent}; found {columns}",
            where=path,
            remedy="one row per trial and modality, commas between columns",
        )
    continuous = [c.removeprefix("mean_") for c in columns if c.startswith("mean_")]
    levels, probabilities = _categorical(columns, continuous, path)
    if not continuous and not levels:
        raise InputError(
            f"has no mean_<target> and no p_<class> column; found {columns}",
            where=path,
            remedy="add the predictions",
        )
    legal = {*KEYS, "stimulus", "version", "quality", *(f"truth_{t}" for t in levels)}
    legal |= {f"{p}_{t}" for t in continuous for p in ("mean", "var", "low", "high", "truth", "spread")}
    legal |= {c for names in probabilities.values() for c in names} | {c for c in columns if c.startswith("x_")}
    legal |= {"truth"} if len(levels) == 1 and f"truth_{next(iter(levels))}" not in columns else set()
    if unknown := [c for c in columns if c not in legal]:
        raise InputError(
            f"column {unknown[0]!r} belongs to no predicted target",
            where=path,
            remedy="remove it, or call it x_<name> if it is a feature",
        )
    if both := sorted(set(continuous) & set(levels)):
        raise InputError(
            f"target {both[0]!r} has mean_ and p_ columns", where=path, remedy="give the targets two names"
        )
    return Columns(continuous, levels, probabilities)


def _categorical(columns: Sequence[str], continuous: list[str], path: Path) -> tuple[dict, dict]:
    """Classes and p_ columns of every categorical target."""
    found = [c for c in columns if c.startswith("p_")]
    named = [c for c in found if ":" in c]
    if named and len(named) < len(found):
        raise InputError(f"mixes p_<class> and p_<target>:<class> ({found})", where=path, remedy="use one form")
    if not found:
        return {}, {}
    if named:
        split = [c.removeprefix("p_").split(":", 1) for c in found]
    else:
        truths = [c.removeprefix("truth_") for c in columns if c.startswith("truth_")]
        truths = [t for t in truths if t not in continuous]
        if len(truths) > 1:
            raise InputError(
                f"has truth columns of {truths}, and p_ columns without a target",
                where=path,
                remedy="call them p_<target>:<class>",
            )
        split = [(truths[0] if truths else UNNAMED, c.removeprefix("p_")) for c in found]
    levels, names = {}, {}
    for (target, level), column in zip(split, found, strict=True):
        levels.setdefault(target, []).append(level)
        names.setdefault(target, []).append(column)
    return levels, names
