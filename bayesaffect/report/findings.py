"""What a study found, in the one value that every figure and table is made from."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.types import Omission, Predictive, Target

if TYPE_CHECKING:
    import arviz

# a sentence of the summary that begins with one of these and a colon is shown under it
HEADS = ("What was asked", "How well", "How sure", "Which sensor to believe", "For whom it fails")
CAUTION = "A caution: "  # a sentence of the summary that begins so stands among what to be careful with, too
SCORE_COLUMNS = ("model", "target", "score", "value", "low", "high")


@dataclass(frozen=True)
class Findings:
    """The results of a study, ready to be shown.

    Parameters
    ----------
    title, command : the page's heading, and the command that makes the study again.
    protocol : label -> sentence (folds, standardisation, leakage guard, seeds, ...).
    summary : plain sentences, shown near the top; those that begin with one of ``HEADS`` and a colon stand under it.
    failures : what the gate on diagnostics refused; shown before everything else.
    targets : as in `bayesaffect.types.Trials`.
    data : index subject; one column per modality = trials present; column ``trials`` = all trials of the subject.
    omissions : what was left out and why.
    quality : (trial, modality) in [0, 1] with coordinate ``subject``, or ``None``.
    present : bool (trial, modality), which of them fusion could use; ``None``: those whose quality is above 0.
    scores : columns model, target, score, value, low, high, then anything (trials, subjects).
    differences : paired differences a - b: columns a, b, target, score, value, low, high; or ``None``.
    predictives : model -> predictions on trials the model's maker has not seen.
    headline : the model of ``predictives`` shown in detail.
    truth : Dataset over trial with coordinate ``subject``, as in `bayesaffect.types.Trials`.
    weights : target -> (sample, subject, modality), shares that sum to 1 over modality; modality may hold ``prior``.
    posteriors : name of a fit -> InferenceData, for the diagnostics.
    learning_curves : columns network, fit, member, epoch, train_loss, validation_loss; or ``None``.
    versions : package -> version.
    repeated : fits that were drawn more than once because the gate refused them, one sentence each.
    sheets : name -> flat table; each is written as ``tables/<name>.csv`` and ``.tex``, and figures are made from them.
    cautions : sentences on what looks wrong without being a failure; shown right after the failures.
    notes : section of the page (`bayesaffect.report.sections.SECTIONS`) -> sentences shown at its head.
    hashes : what the study was made from (settings, opinions, ...) -> digest, for those who make it again.
    """

    title: str
    command: str
    protocol: Mapping[str, str]
    summary: tuple[str, ...]
    failures: tuple[str, ...]
    targets: tuple[Target, ...]
    data: pd.DataFrame
    omissions: tuple[Omission, ...]
    quality: xr.DataArray | None
    scores: pd.DataFrame
    differences: pd.DataFrame | None
    predictives: Mapping[str, Predictive]
    headline: str
    truth: xr.Dataset
    weights: Mapping[str, xr.DataArray] = field(default_factory=dict)
    posteriors: Mapping[str, arviz.InferenceData] = field(default_factory=dict)
    learning_curves: pd.DataFrame | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    present: xr.DataArray | None = None
    repeated: tuple[str, ...] = ()
    sheets: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    cautions: tuple[str, ...] = ()
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self):
        if missing := [c for c in SCORE_COLUMNS if c not in self.scores.columns]:
            raise InputError(f"the scores lack the columns {missing}", remedy=f"give {list(SCORE_COLUMNS)}")
        if self.headline not in self.predictives:
            raise InputError(
                f"no predictions of the headline model {self.headline!r}", remedy=f"there are {list(self.predictives)}"
            )
        if "trials" not in self.data.columns:
            raise InputError(
                "the table of data lacks the column 'trials'", remedy="add each subject's number of trials"
            )
        if "subject" not in self.truth.coords:
            raise InputError("the truth lacks the coordinate 'subject'")
        for name, share in self.weights.items():
            if set(share.dims) != {"sample", "subject", "modality"}:
                raise InputError(f"weights of {name!r} have dims {share.dims}, not (sample, subject, modality)")

    @property
    def modalities(self) -> tuple[str, ...]:
        """The single modalities, in the order of the table of data."""
        return tuple(str(c) for c in self.data.columns if c != "trials")

    @property
    def models(self) -> tuple[str, ...]:
        """Modalities first, then combinations, the headline model last."""
        known = [*self.predictives, *self.scores["model"]]
        names = [m for m in self.modalities if m in known]
        names += [m for m in dict.fromkeys(known) if m not in names and m != self.headline]
        return (*names, self.headline)

    def plainest(self, most: int = 8) -> tuple[str, ...]:
        """All models but the headline one; where they are too many to be told apart, modalities and simple pools."""
        others = tuple(m for m in self.models if m != self.headline)
        if len(others) <= most:
            return others
        wanted = [*self.modalities, "early", "hybrid", "equal", "prior"]
        return tuple(m for m in wanted if m in others)[:most] or others[:most]

    @property
    def continuous(self) -> tuple[Target, ...]:
        return tuple(t for t in self.targets if t.kind == "continuous")

    @property
    def categorical(self) -> tuple[Target, ...]:
        return tuple(t for t in self.targets if t.kind == "categorical")

    @property
    def discounts(self) -> dict[str, xr.DataArray]:
        """Fit -> (sample, modality): the strength that an opinion loses as its signal's quality falls from 1 to 0."""
        found = {name: fit.posterior for name, fit in self.posteriors.items()}
        return {
            name: draws["quality_discount"].stack(sample=("chain", "draw"), create_index=False)
            for name, draws in found.items()
            if "quality_discount" in draws
        }

    def told(self, head: str) -> list[tuple[str, list[str]]]:
        """The summary under ``head`` (``""``: under none): (target, sentences on it that follow one another).

        ``""`` is the target of sentences that begin with no target's name and a colon.
        """
        known = {t.name.lower(): t.name for t in self.targets}
        out: list[tuple[str, list[str]]] = []
        for sentence in self.summary:
            under = next((h for h in HEADS if sentence.startswith(f"{h}: ")), "")
            if under != head:
                continue
            text = sentence.removeprefix(f"{under}: ")
            name, colon, rest = text.partition(": ")
            target = known.get(name.lower(), "") if colon else ""
            if not out or out[-1][0] != target or not target:
                out.append((target, []))
            out[-1][1].append(rest if target else text)
        return out

    @property
    def doubts(self) -> tuple[str, ...]:
        """The cautions of the summary, with the names of their targets."""
        told = (each for head in ("", *HEADS) for each in self.told(head))
        said = [(target, sentence) for target, sentences in told for sentence in sentences]
        found = [(target, s.removeprefix(CAUTION)) for target, s in said if s.startswith(CAUTION)]
        return tuple(f"{target[:1].upper()}{target[1:]}: {text}" if target else text for target, text in found)

    def target(self, name: str) -> Target:
        """The target called ``name``."""
        return next(t for t in self.targets if t.name == name)

    def value(self, model: str, target: str, score: str) -> pd.Series | None:
        """The row of the scores table, or ``None``."""
        place = self._places.get((model, target, score))
        return None if place is None else self.scores.iloc[place]

    @functools.cached_property
    def _places(self) -> dict[tuple[str, str, str], int]:
        """(model, target, score) -> its first row: figures and tables ask for hundreds of them."""
        names = zip(self.scores["model"], self.scores["target"], self.scores["score"], strict=True)
        out: dict[tuple[str, str, str], int] = {}
        for place, name in enumerate(names):
            out.setdefault(name, place)
        return out

    def best_single(self, target: str) -> str | None:
        """The modality with the lowest negative log-likelihood of ``target`` in the scores table."""
        rows = self.scores[(self.scores["target"] == target) & (self.scores["score"] == "nll")]
        rows = rows[rows["model"].isin(self.modalities) & rows["model"].isin(list(self.predictives))]
        rows = rows.dropna(subset=["value"])
        return None if rows.empty else str(rows.loc[rows["value"].idxmin(), "model"])


def natural(name: object) -> tuple:
    """Sort key under which S2 comes before S10."""
    return tuple(
        (0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", str(name)) if part
    )
