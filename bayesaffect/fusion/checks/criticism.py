"""Does the fitted model look like the data it was fitted to? Posterior predictive checks of realised discrepancies.

For a posterior draw theta and a discrepancy T, T of the data's errors under theta is compared with T of errors that
theta itself makes; p = P(T_replicated >= T_observed) over draws (Gelman, Meng and Stern 1996). Values near 0 or 1 say
that the model does not make data like these. Since theta was fitted to them, p is drawn towards 1/2: fewer false
alarms than nominal. A check is flagged where 2 min(p, 1 - p), times the number of checks, is below 0.05 (Bonferroni).

What T is, for ratings and for classes: `bayesaffect.fusion.checks.discrepancies`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import norm

from bayesaffect.errors import InputError
from bayesaffect.fusion import discount, idata
from bayesaffect.fusion.checks.discrepancies import FUSED, TRUTH, of_classes, of_errors
from bayesaffect.fusion.people.effects_normal import gains
from bayesaffect.fusion.prediction import CATEGORICAL, CONTINUOUS, fused_log_prob, positions, read
from bayesaffect.fusion.ratings import likelihoods, ordinal, student
from bayesaffect.fusion.ratings.moments import fused_moments
from bayesaffect.fusion.statistics import drawn_classes
from bayesaffect.types import Opinions, Target

LEVEL = 0.05
PER_CHECK = 50
MOST = 200_000_000
SAYING = {
    "mean square": ("smaller errors than it expects", "larger errors than it expects"),
    "offsets": ("subjects that agree more than it expects", "subjects that are off by different amounts"),
    "scales": ("errors of more equal size across subjects than it expects", "subjects whose errors differ in size"),
    "skewness": ("errors with a long tail below", "errors with a long tail above"),
    "kurtosis": ("errors with lighter tails than it expects", "errors with heavier tails than it expects"),
    "largest": ("no error as large as it expects", "errors larger than any it expects"),
    "bend": ("opinions that bend down at the ends of the scale", "opinions that bend up at the ends of the scale"),
    "correlations": ("correlations closer to the model's than chance allows", "errors correlated in another way"),
    "coverage90": ("intervals that are too narrow", "intervals that are too wide"),
    "classes": ("class frequencies closer to its own than chance allows", "other class frequencies"),
    "classes by subject": ("subjects more alike than chance allows", "subjects with class frequencies of their own"),
    "confidence": ("hits closer to its confidence than chance allows", "hits that do not follow its confidence"),
    "accuracy": ("fewer hits than it expects", "more hits than it expects"),
    "log score": ("truths more probable than it expects", "truths less probable than it expects"),
    "largest surprise": ("no surprise as large as it expects", "a class that it held for all but impossible"),
}
REMEDY = {
    "kurtosis": " A Student-t likelihood allows for them.",
    "largest": " A Student-t likelihood allows for them.",
    "offsets": " Partial pooling allows for them.",
    "scales": " Partial pooling allows for them in opinions, nothing here does in the truth.",
}


@dataclass(frozen=True)
class Criticism:
    """``table`` with columns of (the voice, ``"truth"``, ``"fused"`` or ``"all"``), check, observed and replicated
    (means over draws), low and high (90 % of the replicated), p and flagged; ``sentences``, one per flagged check."""

    table: pd.DataFrame
    sentences: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing was flagged."""
        return not self.sentences


def criticise(posterior, opinions: Opinions, *, seed: int, draws: int | None = None) -> Criticism:
    """Posterior predictive checks of a fit on the trials it was fitted to; which ones, says `discrepancies`.

    Parameters
    ----------
    posterior : what `fit` returned.
    opinions : the opinions of the fit; trials without truth and subjects that were held out are left out.
    draws : pairs of a posterior draw and a replicate; ``None`` for fifty per check, fewer on very large tables.

    Raises
    ------
    InputError : other modalities than the fit's, or no trial of a subject that the fit knows.
    """
    target, fitted = idata.target_of(posterior), idata.modalities_of(posterior)
    idata.check_modalities(posterior, opinions)
    who, known = positions(posterior, opinions, use_known=True)
    use = known & opinions.labelled(target.name)
    if not use.any():
        raise InputError("no trial with truth is of a subject that the fit knows", remedy="give the fit's own opinions")
    opinions, who = opinions.select(use), who[use]
    checks = 6 if target.kind == "categorical" else 7 * len(fitted) + 8
    wanted = draws or min(PER_CHECK * checks, max(100, MOST // (use.sum() * 8 * (len(fitted) + 1))))
    rng = np.random.default_rng(np.random.SeedSequence([seed, 4]))
    run = _classes if target.kind == "categorical" else _ratings
    pairs = list(run(posterior, opinions, target, who, wanted, rng))
    names = list(pairs[0][0])
    observed, replicated = (np.array([[pair[k][n] for n in names] for pair in pairs]) for k in (0, 1))
    return _verdict(names, observed, replicated)


def _verdict(names, observed: np.ndarray, replicated: np.ndarray) -> Criticism:
    """Table and sentences of discrepancies (pair, check); checks that are undefined in some pair are left out."""
    fine = np.isfinite(observed).all(0) & np.isfinite(replicated).all(0)
    names = [n for n, keep in zip(names, fine, strict=True) if keep]
    observed, replicated = observed[:, fine], replicated[:, fine]
    p = np.array([tail(r - o) for o, r in zip(observed.T, replicated.T, strict=True)])
    low, high = np.quantile(replicated, [0.05, 0.95], axis=0)
    table = pd.DataFrame(
        {
            "of": [n[0] for n in names],
            "check": [n[1] for n in names],
            "observed": observed.mean(0),
            "replicated": replicated.mean(0),
            "low": low,
            "high": high,
            "p": p,
            "flagged": 2 * np.minimum(p, 1 - p) * len(names) < LEVEL,
        }
    )
    return Criticism(table, tuple(_sentence(row) for row in table[table["flagged"]].itertuples(index=False)))


def tail(difference: np.ndarray) -> float:
    """P(difference >= 0), ties counted half; where no pair or every pair says so, at most as far as a normal
    distribution of the differences goes."""
    n = difference.size
    share = float((difference > 0).mean() + 0.5 * (difference == 0).mean())
    if 0 < share < 1:
        return share
    spread = difference.std()
    far = norm.sf(abs(difference.mean()) / spread) if spread > 0 else 0.0
    return min(far, 1 / (n + 1)) if share == 0 else 1 - min(far, 1 / (n + 1))


def _sentence(row) -> str:
    high = row.p < 0.5
    subject = {TRUTH: "The truth has", FUSED: "The fused truth has", "all": "The data have"}.get(row.of)
    found = SAYING[row.check][1 if high else 0]
    numbers = f"{row.check} {row.observed:.3g}, the model's {row.low:.3g} to {row.high:.3g}"
    return f"{subject or f'{row.of} has'} {found} ({numbers}).{REMEDY.get(row.check, '') if high else ''}"


def _pairs(total: int, wanted: int) -> np.ndarray:
    """Positions of posterior draws (wanted,): evenly spread, each repeated as often as needed."""
    return np.linspace(0, total - 1, wanted).round().astype(int) if wanted <= total else np.arange(wanted) % total


def _ratings(posterior, opinions: Opinions, target: Target, who: np.ndarray, wanted: int, rng):
    model = likelihoods.of_fit(posterior)
    names = read(posterior["posterior"], CONTINUOUS) + likelihoods.extra(model)
    values = idata.flattened(posterior, names)
    pick = _pairs(values["mu"].size, wanted)
    here, poor = opinions.present.values, discount.of_fit(posterior, opinions)
    x = np.where(here, opinions.mean[target.name].values, np.nan)
    sd = np.sqrt(np.where(here, opinions.variance[target.name].values, np.nan))
    truth = opinions.truth[target.name].values
    seated = np.unique(who, return_inverse=True)[1]
    n, m = here.shape
    voices = [*opinions.modalities, TRUTH]
    block = max(1, int(4_000_000 // (n * m)))
    for begin in range(0, pick.size, block):
        v = {name: array[pick[begin : begin + block]] for name, array in values.items()}
        mean, variance = _given_opinions(v, who, opinions, target, poor, model, rng)
        for d in range(v["mu"].size):
            y = truth
            if model.likelihood == "ordinal":
                cell = ordinal.cells(truth, target, model.step)
                y = _within(mean[d], np.sqrt(variance[d]), v["cut"][d], cell, rng)
            left = 1.0 if poor is None else 1 - v["quality_discount"][d] * poor
            k = np.exp(v["log_kappa"][d] + v["rho"][d, who])
            gain = gains({n: v[n][d : d + 1] for n in ("b", "theta") if n in v}, v["rho"][d : d + 1, who])[0]
            e = x - v["a"][d] - v["b"][d] * v["mu"][d] - gain * (y - v["mu"][d])[:, None] - v["u"][d, who]
            e = e * left / (k * sd)
            level = (y - v["mu"][d] - v["delta"][d, who]) / v["tau"][d]
            made = rng.standard_normal((n, m)) @ np.linalg.cholesky(v["correlation"][d] + 1e-12 * np.eye(m)).T
            if "nu" in v:
                made /= np.sqrt(rng.gamma(v["nu"][d] / 2, 2 / v["nu"][d], n))[:, None]
            made_level, made_z = rng.standard_normal((2, n))
            made_y = v["mu"][d] + v["delta"][d, who] + v["tau"][d] * made_level
            z = (y - mean[d]) / np.sqrt(variance[d])
            r = v["correlation"][d]
            yield (
                of_errors(np.column_stack([e, level]), z, y, r, seated, voices),
                of_errors(
                    np.column_stack([np.where(here, made, np.nan), made_level]), made_z, made_y, r, seated, voices
                ),
            )


def _given_opinions(values, who, opinions: Opinions, target: Target, poor, model, rng):
    new = np.zeros(who.size, dtype=bool)
    if model.likelihood == "student":
        return student.draw(values, who, new, opinions, target.name, poor, rng)
    return fused_moments(values, who, new, opinions, target.name, poor)


def _within(mean, sd, cut, cell, rng) -> np.ndarray:
    """Normals (N,) inside their cells, by inverting the distribution function from the nearer tail."""
    edge = np.concatenate([[-np.inf], cut, [np.inf]])
    low, high = (edge[cell] - mean) / sd, (edge[cell + 1] - mean) / sd
    flip = low > 0
    low, high = np.where(flip, -high, low), np.where(flip, -low, high)
    below, above = norm.cdf(low), norm.cdf(high)
    z = norm.ppf(np.clip(below + rng.random(mean.size) * (above - below), 1e-300, 1 - 1e-16))
    return mean + sd * np.where(flip, -z, z)


def _classes(posterior, opinions: Opinions, target: Target, who: np.ndarray, wanted: int, rng):
    values = idata.flattened(posterior, read(posterior["posterior"], CATEGORICAL), at_most=wanted)
    poor = discount.of_fit(posterior, opinions)
    truth = opinions.truth[target.name].values.astype(int)
    seated = np.unique(who, return_inverse=True)[1]
    pick = _pairs(values["w"].shape[0], wanted)
    block = max(1, int(8_000_000 // (who.size * len(target.levels))))
    for begin in range(0, pick.size, block):
        v = {name: array[pick[begin : begin + block]] for name, array in values.items()}
        for log_p in fused_log_prob(v, who, opinions, target.name, poor).astype(float):
            p = np.exp(log_p)
            p /= p.sum(-1, keepdims=True)
            made = drawn_classes(p, rng)
            yield of_classes(p, truth, seated), of_classes(p, made, seated)
