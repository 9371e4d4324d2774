"""The model card of a release: what it is for, what it was made from, how well it does, what it must not be used for.

The headings follow Mitchell et al. (2019), Model cards for model reporting.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bayesaffect.evaluate.summary import difference
from bayesaffect.report.figures.weights import NEGATIVE
from bayesaffect.types import Target

FUSED = ("late", "hybrid")
CHANCE = "prior"
SHOWN = {
    "categorical": ("accuracy", "macro_f1", "nll", "ece"),
    "continuous": ("rmse", "ccc", "nll", "coverage90"),
}
TITLES = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "nll": "NLL (nats)",
    "ece": "ECE",
    "rmse": "RMSE",
    "ccc": "CCC",
    "coverage90": "coverage of 90 % intervals",
}
LAW = """\
Regulation (EU) 2024/1689 (the AI Act), Article 5(1)(f), prohibits placing on the market, putting into service for
this purpose, or using AI systems that infer emotions of a natural person in the areas of **workplace and education
institutions**, except for medical or safety reasons; this has applied since 2 February 2025. **Do not use this
release there.** Elsewhere, AI systems intended for emotion recognition from biometric data in general count as
high-risk (Article 6(2), Annex III, point 1(c)) as far as their use is permitted at all, and whoever uses one has to
inform the people exposed to it (Article 50(3)). Systems developed and put into service for the sole purpose of
scientific research and development are outside its scope (Article 2(6)). EEG, faces and physiological signals are
personal data, often of the special categories of Article 9 of Regulation (EU) 2016/679 (the GDPR). This is no legal
advice."""


@dataclass(frozen=True)
class Facts:
    """What a card is written from.

    Parameters
    ----------
    counts : ``subjects``, ``trials``, and modality -> trials in which it is present.
    protocol : label -> how the scores were made.
    scores : columns model, target, score, value, low, high, of people never seen before.
    differences : columns a, b, target, score, value, low, high, paired over people: score of a minus that of b.
    weights : columns target, subject, modality, q05, median, q95, of which the rows of subject ``(mean)`` are told.
    failures : what the diagnostics refused; those with ``, fold `` are of the fits behind the scores.
    removed : what of the study is not in the release.
    """

    name: str
    version: str
    targets: tuple[Target, ...]
    modalities: tuple[str, ...]
    counts: Mapping[str, int]
    protocol: Mapping[str, str]
    scores: pd.DataFrame
    differences: pd.DataFrame | None = None
    weights: pd.DataFrame | None = None
    failures: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


def text(facts: Facts) -> str:
    """The card, in Markdown. Numbers come with their intervals; nobody of the study is named."""
    parts = [
        f"# {facts.name}",
        _summary(facts),
        "## Intended use",
        "Research with people who agreed to be recorded: estimating what people would report, from recordings like the "
        "study's, with an uncertainty for every answer, and finding out which sensor to believe. Predictions are for "
        "people whom the study has not seen.",
        "**Not intended**: decisions about a person; diagnosis, treatment or monitoring (this is no medical device); "
        "hiring, work, schools, policing, advertising; recordings made without consent; other stimuli, "
        "sensors, ages or cultures than the study's, before it was evaluated on them.",
        "## What it predicts",
        _bullets(_target(target) for target in facts.targets),
        "## Data",
        _data(facts),
        "## Protocol",
        _bullets(f"**{label}**: {sentence}." for label, sentence in facts.protocol.items()),
        "## Scores on people never seen before",
        *(_scores(facts, target) for target in facts.targets),
        "## Calibration",
        _bullets(_calibration(facts, target) for target in facts.targets),
        "## Which sensor to believe",
        _weights(facts),
        "## Diagnostics",
        _diagnostics(facts),
        "## Limits",
        _bullets(_limits(facts)),
        "## The law on emotion inference",
        LAW,
        "## What is in the folder, and what was removed",
        "`manifest.json` lists every file with its SHA-256; `bayesaffect predict` checks them first. Removed:",
        _bullets(f"{line}." for line in facts.removed),
        "What remains was learned from the participants (weights, population parameters, centres and spreads of inputs "
        "over all of them). It holds none of their records; that nothing about them could be inferred from it was not "
        "shown.",
        "## Use",
        f"```sh\nbayesaffect predict --model {facts.name} RECORDINGS OUT\n```",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _bullets(lines) -> str:
    return "\n".join(f"- {line}" for line in lines if line)


def _summary(facts: Facts) -> str:
    names = _listed([target.name for target in facts.targets])
    return (
        f"Predicts {names} from {_listed(facts.modalities)}, by Bayesian fusion with uncertainty. Learned from "
        f"{facts.counts['subjects']} people and {facts.counts['trials']} trials. Made with bayesaffect {facts.version}."
    )


def _listed(names) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _target(target: Target) -> str:
    if target.kind == "categorical":
        return f"**{target.name}**: one of {', '.join(target.levels)}, with the probability of each."
    low, high = target.bounds
    return f"**{target.name}**: a rating from {low:g} to {high:g}, with its standard deviation and 90 % interval."


def _data(facts: Facts) -> str:
    rows = [f"{facts.counts['subjects']} subjects, {facts.counts['trials']} trials."]
    rows += [f"{m}: in {facts.counts[m]} trials." for m in facts.modalities if m in facts.counts]
    if facts.counts["subjects"] < 20:
        rows.append("With so few subjects, what holds for people in general is poorly known; see the intervals.")
    return _bullets(rows)


def _row(facts: Facts, model: str, target: Target, score: str) -> pd.Series | None:
    table = facts.scores
    rows = table[(table["model"] == model) & (table["target"] == target.name) & (table["score"] == score)]
    return None if rows.empty or not np.isfinite(rows.iloc[0]["value"]) else rows.iloc[0]


def _interval(row: pd.Series) -> str:
    reach = f" [{row['low']:.2f}, {row['high']:.2f}]" if np.isfinite([row["low"], row["high"]]).all() else ""
    return f"{row['value']:.2f}{reach}"


def _scores(facts: Facts, target: Target) -> str:
    """A table: fused models, each modality alone, and the prior, by score."""
    names = [score for score in SHOWN[target.kind] if _row(facts, FUSED[0], target, score) is not None]
    models = [*FUSED, *facts.modalities, CHANCE]
    lines = [f"| {target.name} | " + " | ".join(TITLES[n] for n in names) + " |", "|---|" + "---|" * len(names)]
    for model in models:
        cells = [_row(facts, model, target, name) for name in names]
        if any(cell is not None for cell in cells):
            shown = {CHANCE: "(knowing no sensor)"}.get(model, model)
            shown = f"**{shown}**" if model in FUSED else shown
            lines.append(f"| {shown} | " + " | ".join("" if c is None else _interval(c) for c in cells) + " |")
    return "\n".join(lines)


def _calibration(facts: Facts, target: Target) -> str:
    score, said = ("ece", "off by") if target.kind == "categorical" else ("coverage90", "hold")
    row = _row(facts, FUSED[0], target, score)
    if row is None:
        return f"{target.name}: not measured."
    if said == "off by":
        return (
            f"{target.name}: the stated probabilities are {said} {_interval(row)} on average (ECE of the fused model)."
        )
    verdict = ""
    if np.isfinite([row["low"], row["high"]]).all() and not row["low"] <= 0.9 <= row["high"]:
        verdict = "; they are too narrow" if row["high"] < 0.9 else "; they are too wide"
    return f"{target.name}: the fused 90 % intervals {said} {_interval(row)} of the true ratings{verdict}."


def _weights(facts: Facts) -> str:
    if facts.weights is None:
        return "Not told."
    mean = facts.weights[facts.weights["subject"] == "(mean)"]
    lines = []
    for target in facts.targets:
        rows = mean[mean["target"] == target.name].sort_values("median", ascending=False)
        shares = [f"{r.modality} {r.median:.2f} [{r.q05:.2f}, {r.q95:.2f}]" for r in rows.itertuples()]
        lines.append(f"{target.name}: {', '.join(shares)}." if shares else "")
    told = (
        "Share of each modality, and of the prior, in the fused answer: mean over subjects, median [90 % interval]."
        + (" " + NEGATIVE if (mean["q05"].round(2) < 0).any() else "")
        + "\n\n"
    )
    return told + _bullets(lines)


def _diagnostics(facts: Facts) -> str:
    if not facts.failures:
        return "All fits passed (R-hat < 1.01, effective samples > 400, no divergences, E-BFMI > 0.3)."
    ours = [sentence for sentence in dict.fromkeys(facts.failures) if ", fold " not in sentence]
    folds = sum(", fold " in sentence for sentence in facts.failures)
    lines = [*ours, f"{folds} findings on the fits behind the scores." if folds else ""]
    return f"**Some fits failed their diagnostics; take the intervals with reserve:**\n\n{_bullets(lines)}"


def _limits(facts: Facts) -> list[str]:
    lines = ["What people report is not what they feel; the release predicts reports."]
    for target in facts.targets:
        row = None if facts.differences is None else difference(facts.differences, FUSED[0], CHANCE, target.name)
        if row is None:
            lines.append(f"{target.name}: not compared with knowing no sensor at all.")
        elif not row["high"] < 0:
            by = f"{row['value']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}] nats per trial"
            lines.append(f"{target.name}: not clearly better than knowing no sensor at all (its NLL differs by {by}).")
    lines.append("A missing sensor is allowed; the answer then leans on the others and on the prior.")
    lines.append("A person of the study who is recorded again counts as a new one, and is predicted too well.")
    return lines
