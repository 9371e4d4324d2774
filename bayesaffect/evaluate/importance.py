"""What each modality is worth: Shapley values in nats, and what is lost when it is taken away.

A coalition S is a set of modalities, its value v(S) the mean log score of predictions made with S alone. Everything
here is linear in the log scores of single trials, so that a resample of subjects costs one matrix product.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.evaluate import scores
from bayesaffect.evaluate.aligned import Aligned, align
from bayesaffect.evaluate.coalitions import Plan, named, plan, shapley
from bayesaffect.evaluate.summary import resample_counts
from bayesaffect.types import Predictive, Target

REFIT = "nll_refit"
NOTED = 0.05
FOR_CAUTION = ("shapley", "removed")
LEVEL = 0.9
COLUMNS = {
    "subsets": ["subset", "size", "score", "value", "low", "high", "trials", "subjects"],
    "shapley": ["modality", "value", "low", "high", "monte_carlo", "refit"],
    "removed": ["modality", "measure", "value", "low", "high", "refit"],
    "leaning": ["subject", "modality", "value", "trials"],
}


@dataclass(frozen=True)
class Scored:
    """Scores of the coalitions on the same n trials, and the subjects of the trials.

    ``each``: score -> (C, n), whose mean over trials is the score: nll in nats; accuracy of classes; of ratings
    rmse (the mean of its squares) and coverage90.
    """

    each: Mapping[str, np.ndarray]
    subject: np.ndarray


def scored(predictives: Mapping[str, Predictive], truth: xr.Dataset, target: Target, plan: Plan) -> Scored | None:
    """Scores of every trial whose truth is known; ``None`` when there is no such trial.

    Raises
    ------
    InputError : a coalition is missing or predicts other trials.
    """
    rows, first = [], None
    for name in plan.names:
        if name not in predictives:
            raise InputError(f"there are no predictions of {name!r}", remedy="predict every coalition of the plan")
        data = align(predictives[name], truth, target)
        if data is None:
            return None
        first = data if first is None else first
        if not np.array_equal(first.trial, data.trial):
            raise InputError(f"{name!r} predicts other trials than {plan.names[0]!r}", remedy="predict the same trials")
        rows.append(_each(data, target))
    return Scored({score: np.stack([row[score] for row in rows]) for score in rows[0]}, first.subject)


def _each(data: Aligned, target: Target) -> dict[str, np.ndarray]:
    if target.kind == "categorical":
        right = data.prob.argmax(1) == data.truth
        return {"nll": each_nll(data, target), "accuracy": right.astype(float)}
    squared = (target.half_range * (data.mean.mean(0) - data.truth)) ** 2
    inside = scores.covered(data.mean, data.variance, data.truth, 0.9)
    return {"nll": each_nll(data, target), "rmse": squared, "coverage90": inside.astype(float)}


def each_nll(data: Aligned, target: Target) -> np.ndarray:
    """Negative log score (n,) of `align`-ed predictions in nats, densities per rating unit."""
    if target.kind == "categorical":
        return scores.nll_each(data.prob, data.truth)
    return scores.mixture_nll(data.mean, data.variance, data.truth) + np.log(target.half_range)


def sheets(
    predictives: Mapping[str, Predictive],
    truth: xr.Dataset,
    targets: Sequence[Target],
    modalities: Sequence[str],
    *,
    seed: int,
    resamples: int = 1000,
    refits: Mapping[str, Predictive] | None = None,
) -> dict[str, pd.DataFrame]:
    """Four tables, with 90 % intervals from a bootstrap over subjects, the same resamples throughout.

    Parameters
    ----------
    predictives : name of a coalition -> its predictions, for every coalition of `plan` of the modalities.
    refits : the same by models fitted to each coalition anew (`refitted`), for some of the targets or ``None``.

    Returns
    -------
    subsets : target, subset, size, score, value, low, high, trials, subjects; of sampled plans those of up to two, of
        all but one and of all modalities. With refits, nll_refit as well.
    shapley : target, modality (and ``total``), value (nats per trial gained over the prior), low, high, monte_carlo
        (standard error from sampling orders; not in the interval).
    removed : target, modality, measure, value, low, high: ``alone``, v({m}) - v(empty), and ``last``, v(all) - v(all
        but m).
    leaning : target, subject, modality, value, trials: Shapley values of each subject's own mean log score.

    shapley and removed have the column refit, the value made with refits, NaN without.
    """
    chosen = plan(modalities)
    parts: dict[str, list[tuple]] = {}
    for target in targets:
        found = scored(predictives, truth, target, chosen)
        again = scored(refits, truth, target, chosen) if refits else None
        if found is not None and again is not None:
            found = Scored({**found.each, REFIT: again.each["nll"]}, found.subject)
        if found is not None:
            for name, rows in _tables(found, chosen, seed, resamples).items():
                parts.setdefault(name, []).extend((target.name, *row) for row in rows)
    return {name: pd.DataFrame(rows, columns=["target", *COLUMNS[name]]) for name, rows in parts.items()}


def _tables(found: Scored, plan: Plan, seed: int, resamples: int) -> dict[str, list[tuple]]:
    place, players = {c: k for k, c in enumerate(plan.coalitions)}, plan.players
    subjects, group = np.unique(found.subject, return_inverse=True)
    counts = resample_counts(subjects.size, resamples, seed)
    trials = np.bincount(group).astype(float)

    def per_subject(each):
        sums = np.zeros((subjects.size, len(place)))
        np.add.at(sums, group, each.T)
        return sums

    def resampled(sums):
        return (counts @ sums) / (counts @ trials)[:, None]

    def limits(draws):
        return np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if subjects.size > 1 else (np.nan, np.nan)

    rows = []
    shown = [c for c in plan.coalitions if plan.exact or len(c) in (0, 1, 2, len(players) - 1, len(players))]
    for score, each in found.each.items():
        drawn = resampled(per_subject(each))
        final = np.sqrt if score == "rmse" else np.asarray
        for c in shown:
            k = place[c]
            value = float(final(each[k].mean()))
            rows.append((named(c), len(c), score, value, *limits(final(drawn[:, k])), each.shape[1], subjects.size))
    tables = {"subsets": rows}

    sums = -per_subject(found.each["nll"])
    mean, drawn = sums.sum(0) / trials.sum(), resampled(sums).T
    again = -found.each[REFIT].mean(1) if REFIT in found.each else np.full(mean.shape, np.nan)
    (value, error), (spread, _), (refit, _) = (shapley(v, plan) for v in (mean, drawn, again))
    rows = [(m, value[k], *limits(spread[k]), error[k], refit[k]) for k, m in enumerate(players)]
    rows.append(("total", value.sum(), *limits(spread.sum(0)), 0.0, refit.sum()))
    tables["shapley"] = rows

    rows = []
    for m in players:
        others = tuple(p for p in players if p != m)
        for measure, more, less in (("alone", (m,), ()), ("last", players, others)):
            a, b = place[more], place[less]
            rows.append((m, measure, mean[a] - mean[b], *limits(drawn[a] - drawn[b]), again[a] - again[b]))
    tables["removed"] = rows

    own, _ = shapley((sums / trials[:, None]).T, plan)
    rows = [(s, m, own[j, k], int(trials[k])) for k, s in enumerate(subjects.tolist()) for j, m in enumerate(players)]
    tables["leaning"] = rows
    return tables


def sentences(sheets: Mapping[str, pd.DataFrame]) -> tuple[str, ...]:
    """Per target: to whom the gain over the prior is owed, and what taking each modality away costs; and a caution
    about each modality that would gain `NOTED` nats more alone, were fusion fitted to it alone."""
    if "shapley" not in sheets or "removed" not in sheets:
        return ()
    lines = []
    for target, rows in sheets["shapley"].groupby("target", sort=False):
        table = rows.set_index("modality")
        total, each = table.loc["total"], table.drop("total").sort_values("value", ascending=False)
        shares = ", ".join(f"{m} {_told(row)}" for m, row in each.iterrows())
        sampled = ", estimated from sampled orders" if (each["monte_carlo"] > 0).any() else ""
        over = "gain {} nats per trial over" if total["value"] >= 0 else "gain nothing, {} nats per trial, over"
        lines.append(
            f"{str(target).capitalize()}: the modalities together {over.format(_told(total))} a guess from the "
            f"frequencies alone; of these, as Shapley values{sampled}: {shares}."
        )
        if len(each) == 1:
            continue
        last = sheets["removed"]
        last = last[(last["target"] == target) & (last["measure"] == "last")].sort_values("value", ascending=False)
        lines.append(f"{str(target).capitalize()}: {_losses(last)}.")
        lines += cautions(
            {name: rows[rows["target"] == target] for name, rows in sheets.items() if name in FOR_CAUTION}
        )
    return tuple(lines)


def cautions(sheets: Mapping[str, pd.DataFrame]) -> list[str]:
    """A sentence per modality whose evidence the joint fit takes from others, and which therefore seems worthless."""
    lines = []
    worth = sheets["shapley"].set_index(["target", "modality"])
    alone = sheets["removed"][sheets["removed"]["measure"] == "alone"]
    for row in alone[alone["refit"] - alone["value"] > NOTED].itertuples():
        share = worth.loc[(row.target, row.modality)]
        lines.append(
            f"{str(row.target).capitalize()}, a caution: {row.modality} alone gains {row.value:.3f} nats as late "
            f"fusion reads it, and {row.refit:.3f} by a pool fitted to it alone; by such pools its Shapley value is "
            f"{share.refit:.3f}, not {share.value:.3f}."
        )
    return lines


def _losses(last: pd.DataFrame) -> str:
    parts = []
    for row in last.itertuples():
        if row.low > 0:
            parts.append(f"taking {row.modality} away from the others costs {_told(row)} nats")
        elif row.high < 0:
            parts.append(f"predictions are better without {row.modality} ({_told(row)} nats)")
        else:
            parts.append(f"{row.modality} adds nothing clear once the others are there ({_told(row)} nats)")
    return "; ".join(parts)


def _told(row) -> str:
    return f"{row.value:.3f} [{row.low:.3f}, {row.high:.3f}]"
