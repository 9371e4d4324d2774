"""What became of every session of a data set: used, in part, as a baseline, or left out, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from bayesaffect.types import Listing, Omission, Source, Trials

COLUMNS = ("session", "subject", "role", "outcome", "trials", "modalities", "why", "decided")


def outcomes(listing: Listing, results: Mapping[str, Trials | Omission | None]) -> pd.DataFrame:
    """One row per session in the order of the listing, then those that were never read.

    Parameters
    ----------
    results : name of a source -> its trials, the reason why there are none, or ``None`` where it was not asked for.

    Outcome is ``used``, ``used in part`` (a modality or a trial of it is missing or masked), ``baseline``,
    ``not used`` (a neutral clip without ``--baseline neutral``) or ``left out``; ``why`` joins the reasons,
    ``decided`` tells what the reader decided about a signal's unit.
    """
    rows = [_row(source, results.get(source.name), listing) for source in listing.sources]
    for omission in listing.omissions:
        if omission.scope != "modality":
            rows.append((Path(omission.where).name or omission.where, "", "", "left out", 0, "", omission.what, ""))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row(source: Source, result: Trials | Omission | None, listing: Listing) -> tuple:
    head = (source.name, source.subject, source.role)
    if result is None:
        return (*head, "not used", 0, "", "neutral clips were not asked for", "")
    if isinstance(result, Omission):
        return (*head, "left out", 0, "", result.what, "")
    here = [m for m in result.modalities if result.present.sel(modality=m).any()]
    mine = [o for o in listing.omissions if o.scope == "modality" and _within(o.where, source)]
    reasons = list(dict.fromkeys(o.what for o in [*mine, *result.omissions]))
    whole = len(here) == len(listing.modalities) and bool(result.present.all()) and not reasons
    outcome = "baseline" if source.role == "neutral" else "used" if whole else "used in part"
    decided = "; ".join(text for block in result.inputs.values() if (text := block.attrs.get("decision")))
    return (*head, outcome, result.present.sizes["trial"], " ".join(here), "; ".join(reasons), decided)


def _within(where: str, source: Source) -> bool:
    """Whether a place named in an omission is the source, or lies in the folder of its first file."""
    return where == source.name or (
        bool(source.files) and Path(source.files[0]).parent in (Path(where), *Path(where).parents)
    )


def counts(table: pd.DataFrame) -> str:
    """How many sessions had which outcome, in one line."""
    order: Sequence[str] = ("used", "used in part", "baseline", "not used", "left out")
    found = table["outcome"].value_counts()
    return ", ".join(f"{found[name]} {name}" for name in order if name in found)
