"""Each modality disturbed at test time, at five strengths: what fusion loses, and what becomes of the weight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from bayesaffect import progress
from bayesaffect.evaluate.robustness import ERROR, Estimate, average
from bayesaffect.pipeline.examination import disturbed
from bayesaffect.pipeline.examination.corrupt import KINDS, STRENGTHS, corrupt
from bayesaffect.pipeline.examination.disturbed import Asked, Groups
from bayesaffect.pipeline.fits import HYBRID, LATE, asked_for, fingerprint
from bayesaffect.pipeline.settings import Settings
from bayesaffect.types import Opinions, Target, Trials

COLUMNS = ["target", "modality", "kind", "strength", "score", "value", "low", "high", "trials"]
OF_OPINIONS = ("noise", "swapped", "missing")
FEW = 4  # trials that tell whether a kind can change a modality
Version = tuple[str, str, float]  # modality, kind, strength


def robustness(
    workspace: Path,
    settings: Settings,
    opinions: Asked,
    groups: Groups,
    *,
    trials: Trials | None = None,
    most: int = disturbed.MOST_TRIALS,
) -> pd.DataFrame:
    """Fusion when one modality is disturbed and the others are not: late, and hybrid where the study has it.

    Recordings are disturbed at the sensor (`corrupt`; ``missing`` on a share of the trials), go through the networks
    that have not seen their subject, or what else the protocol holds out, and are fused by the fit that has not either.
    Opinions made elsewhere are disturbed themselves (`disturb`).

    Parameters
    ----------
    opinions, groups : as `fuse` takes them.
    trials : all trials of the study; ``None`` for a table of opinions.
    most : about as many of the predicted trials are used at most, evenly spaced within each subject.

    Returns
    -------
    target, modality, kind, strength (0 is untouched, once for every kind), score, value, low, high (90 %, bootstrap
    over subjects), trials. Scores: of fusion ``nll``, ``accuracy`` or ``rmse`` and ``coverage90``; ``weight``, the
    disturbed modality's mean share of the fused posterior; ``nll_alone``, the modality's own; and the paired
    ``nll_loss`` = nll - nll at strength 0, and ``nll_spared`` = nll_alone - nll on the trials where the modality has an
    opinion. Of hybrid fusion ``hybrid_nll``, ``hybrid_nll_loss`` and so on, and ``hybrid_gain`` = nll - hybrid_nll, all
    with the features of the disturbed trials. A kind that cannot change a modality, such as dead channels of an EEG
    with two, has no rows. Kept in the workspace.
    """
    both = HYBRID in _families(settings, opinions(None))
    more = (fingerprint(opinions(None), embedded=True),) if both else ()
    made_from = disturbed.made_from(settings, opinions, groups, most, trials is not None, *more)
    return disturbed.remembered(
        workspace,
        "robustness",
        made_from,
        lambda: _measured(workspace, settings, opinions, groups, trials, most),
    )


def _measured(workspace, settings, opinions, groups, trials, most) -> pd.DataFrame:
    whole = opinions(None)
    rows = disturbed.examined(opinions, groups, most)
    families = _families(settings, whole)
    whole = whole.select(rows)
    if HYBRID not in families:
        whole = replace(whole, embedding={})
    if trials is None:
        plan = [(m, kind, s) for m in whole.modalities for kind in OF_OPINIONS for s in STRENGTHS]
        known, given = None, None
    else:
        known, given = disturbed.networks(workspace, settings, trials), trials.select(rows)
        plan = [(m, kind, s) for m in whole.modalities for kind in _kinds(given, m) for s in STRENGTHS]
    total = len(plan) + len(families) * len(whole.targets) * len(groups) * (len(plan) + 1)
    with progress.bar("disturb every modality", total) as advance:
        versions: dict[Version | None, Opinions] = {}
        if known is not None:  # untouched trials count as the others do: with the same few passes
            for modality in whole.modalities:
                whole = disturbed.hear(known, whole, given, modality)
        versions[None] = whole
        for modality, kind, strength in plan:
            if known is None or kind == "missing":
                changed = disturb(whole, modality, kind, strength, seed=settings.seed)
            else:
                other = corrupt(given, modality, kind, strength, seed=settings.seed)
                changed = disturbed.hear(known, whole, other, modality)
            versions[modality, kind, strength] = changed
            advance(1)
        made_from = (workspace, settings, opinions, groups, list(versions.values()))
        found = {family: disturbed.fused(*made_from, advance=advance, family=family) for family in families}
    return _table(versions, found, settings.seed)


def _families(settings: Settings, opinions: Opinions) -> tuple[str, ...]:
    """Which fusions the study has fitted, as `fuse` decides it."""
    return asked_for(settings) if opinions.embedding else (LATE,)


def _kinds(trials: Trials, modality: str) -> list[str]:
    """What can be done to a modality's inputs; ``missing`` comes last."""
    block = trials.inputs[modality]
    family = str(block.attrs.get("encoder")).removesuffix("_raw")
    pictures = family != "face" or "crops" in block
    kinds = [kind for kind in KINDS.get(family, {}) if kind != "missing" and (pictures or kind == "shift")]
    return [*(kind for kind in kinds if _felt(trials, modality, kind)), "missing"]


def _felt(trials: Trials, modality: str, kind: str) -> bool:
    """Whether a disturbance at full strength changes a few trials at all."""
    here = np.flatnonzero(trials.present.sel(modality=modality).values)[:FEW]
    if not here.size:
        return False
    usual = trials.select(here)
    other = corrupt(usual, modality, kind, 1.0, seed=0)
    return not (other.present.equals(usual.present) and other.inputs[modality].equals(usual.inputs[modality]))


def disturb(opinions: Opinions, modality: str, kind: str, strength: float, *, seed: int) -> Opinions:
    """Copies of the opinions with those of one modality disturbed, where no sensor is there to be disturbed.

    Kinds, with strength s in (0, 1]:

    - ``noise``: ratings + s times the sd of all of the modality's ratings times e, log-probabilities + s times the
      sd of its log-probabilities (centred within trials) times e, normalised again; e standard normal. The variance
      that the opinion claims stays; log-probabilities that scatter more claim more than they did.
    - ``swapped``: a share s of the trials gets another of these trials' opinions, with the features that came along.
    - ``missing``: a share s of the trials has no opinion.

    A larger strength hits the trials that a smaller one hits, with the same e.
    """
    column = opinions.modalities.index(modality)
    here = np.flatnonzero(opinions.present.values[:, column])
    rng = np.random.default_rng([seed, column, OF_OPINIONS.index(kind)])
    order = rng.permutation(here)
    hit = order[: round(strength * here.size)]
    present, into = opinions.present.copy(deep=True), hit
    if kind == "missing":
        present.values[hit, column] = False

    def changed(arrays: Mapping, name: str) -> dict:
        out = {}
        for target, array in arrays.items():
            out[target] = array.copy(deep=True)
            values = out[target].values
            if kind == "missing":
                values[hit, column] = np.nan
            elif kind == "swapped" and hit.size > 1:
                values[into, column] = values[np.roll(hit, 1), column]
            elif kind == "noise" and name != "variance":
                values[here, column] = _noisy(values[here, column], strength, rng, classes=name == "log_prob")
        return out

    embedding = dict(opinions.embedding)
    if modality in embedding and kind != "noise":
        embedding[modality] = embedding[modality].astype(float)
        values = embedding[modality].values
        values[hit] = np.nan if kind == "missing" else values[np.roll(hit, 1)]
    return replace(
        opinions,
        present=present,
        mean=changed(opinions.mean, "mean"),
        variance=changed(opinions.variance, "variance"),
        log_prob=changed(opinions.log_prob, "log_prob"),
        embedding=embedding,
    )


def _noisy(values: np.ndarray, strength: float, rng: np.random.Generator, *, classes: bool) -> np.ndarray:
    if not values.size:
        return values
    if not classes:
        return values + strength * values.std() * rng.standard_normal(values.shape)
    centred = values - values.mean(-1, keepdims=True)
    moved = centred + strength * centred.std() * rng.standard_normal(values.shape)
    return moved - np.log(np.exp(moved).sum(-1, keepdims=True))


def _table(versions: Mapping[Version | None, Opinions], found: Mapping, seed: int) -> pd.DataFrame:
    """The rows of `robustness`; ``found``: family -> target -> scores of every version, in their order."""
    untouched = versions[None]
    given = {"subject": untouched.subject.values.astype(str), "seed": seed}
    names = list(untouched.modalities)
    own: dict[Version | None, Mapping] = {v: disturbed.alone(o, v[0]) for v, o in versions.items() if v is not None}
    before = {m: disturbed.alone(untouched, m) for m in names}
    place = {version: k for k, version in enumerate(versions)}
    kinds = dict.fromkeys((m, kind) for m, kind, _ in own)
    rows = []
    for target in untouched.targets:
        late = found[LATE][target.name]
        first = late[place[None]]
        if "nll" not in first:
            continue
        for modality, kind in kinds:
            strengths = [0.0, *(s for m, k, s in own if (m, k) == (modality, kind))]
            for strength in strengths:
                version = (modality, kind, strength)
                at = place[version if strength else None]
                said = own[version] if strength else before[modality]
                scores = _fused(late[at], first, target, **given)
                scores |= _beside(late[at], first, said[target.name], names.index(modality), **given)
                if HYBRID in found:
                    other = found[HYBRID][target.name]
                    hybrid = _fused(other[at], other[place[None]], target, **given)
                    scores |= {f"hybrid_{name}": estimate for name, estimate in hybrid.items()}
                    scores["hybrid_gain"] = average(late[at]["nll"] - other[at]["nll"], **given)
                used = int(np.isfinite(late[at]["nll"]).sum())
                rows += [(target.name, *version, name, *estimate, used) for name, estimate in scores.items()]
    return pd.DataFrame(rows, columns=COLUMNS)


def _fused(scored: Mapping, first: Mapping, target: Target, *, subject: np.ndarray, seed: int) -> dict[str, Estimate]:
    """Scores of fusion; ``first``: on the untouched trials."""
    values = {"nll": scored["nll"], "nll_loss": scored["nll"] - first["nll"]}
    kind = "accuracy" if target.kind == "categorical" else "coverage90"
    out = {name: average(v, subject, seed=seed) for name, v in (values | {kind: scored[kind]}).items()}
    if target.kind == "continuous":
        out["rmse"] = average(scored[ERROR], subject, seed=seed, root=True)
    return out


def _beside(scored: Mapping, first: Mapping, said: Mapping, column: int, *, subject: np.ndarray, seed: int):
    """The disturbed modality beside late fusion: alone, what fusion spares, and its weight."""
    own = np.where(np.isfinite(first["nll"]), said.get("nll", np.full(subject.size, np.nan)), np.nan)
    values = {"nll_alone": own, "nll_spared": own - scored["nll"], "weight": scored["weight"][:, column]}
    return {name: average(v, subject, seed=seed) for name, v in values.items()}
