"""Cautions: what in a table of opinions looks like a mistake of whoever made it, one sentence each.

Every check leans towards silence: family-wise error `ALPHA` over all modalities and targets, *and* an effect large
enough to matter. None proves a mistake; each says what to check.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from bayesaffect.evaluate import slopes
from bayesaffect.evaluate.duplicates import duplicates
from bayesaffect.evaluate.said import Said, gathered
from bayesaffect.evaluate.shift import shifted
from bayesaffect.types import Opinions

ALPHA = 0.01
OVER, UNDER = 2.5, 0.5  # errors this many times what was said
NEAR_PERFECT = {"correlation": 0.95, "accuracy": 0.97}
FAR = 6.0  # people's errors have a log sd of about 0.4: 4.5 of those
MANY = 50.0
FLAT = 0.3


def cautions(opinions: Opinions) -> tuple[str, ...]:
    """Sentences on leaks, over- and under-confidence, time shifts, constant opinions and classes never predicted.

    Looked for, per modality and target: people predicted far better than the rest allows, or everybody almost without
    error (a leak); the same opinions under two names; errors much larger or smaller than announced; opinions that
    fit the truth of a neighbouring trial better than that of their own; opinions that never change; classes
    that are never the most probable one. Empty for a study without any of these.
    """
    lines = list(duplicates(opinions))
    said = list(gathered(opinions))
    checks = (constant, leak, confidence, shifted, silent)
    for one in said:
        for check in checks:
            options = {"alpha": ALPHA / len(said)} if check in (leak, confidence, shifted) else {}
            if check is confidence and one.prob is None and not opinions.variance_known:
                continue
            found = check(one, **options)
            lines += [found] if found else []
            if found and check is constant:
                break
    return tuple(lines)


def constant(said: Said) -> str:
    """Opinions that are the same in all trials, or in all trials of some people (with at least three)."""
    values = said.prob if said.mean is None else said.mean[:, None]
    fixed = [
        s
        for s in said.people
        if (said.subject == s).sum() >= 3 and np.ptp(values[said.subject == s], axis=0).max() < 1e-9
    ]
    if not fixed:
        return ""
    who = "everybody" if len(fixed) == len(said.people) else _listed(fixed)
    return (
        f"{said.modality}, {said.target.name}: the opinion is the same in all trials of {who}; check that its "
        "signals arrived and that the network was trained."
    )


def leak(said: Said, *, alpha: float) -> str:
    """People predicted far better than the rest allows, or everybody almost without error.

    Per person, the log of the root mean squared error, or the share of wrong answers as arcsin sqrt; outliers downwards
    (`extremes`), at most a third of the people, whose errors must be 2.5 times, or odds of being wrong, (wrong + 1/2) /
    (right + 1/2), 5 times smaller than the median, and smaller than the best of the others can have by chance (F or
    binomial test at 0.01); people with at least 8, or 20, trials. Errors of ratings 6 times smaller than the median
    need not be outliers; people whose own ratings hardly vary (a standard deviation below 0.3 times the median one) are
    passed over, because a constant answer is easily hit. Everybody: a correlation above 0.95, or an accuracy above 0.97
    where no class has 90 % of the trials.
    """
    if said.mean is not None:
        good = np.corrcoef(said.mean, said.truth)[0, 1] if np.ptp(said.mean) and np.ptp(said.truth) else 0.0
        what = f"a correlation of {good:.3f} with the truth"
        error, apart, word = (said.mean - said.truth) ** 2, 2.5, "errors"
    else:
        error, apart, word = (said.prob.argmax(1) != said.truth).astype(float), 5.0, "odds of being wrong"
        good = (1 - error.mean()) * (np.bincount(said.truth).max() <= 0.9 * said.truth.size)
        what = f"{100 * good:.1f} % of trials right"
    check = "check that its inputs hold no answers and that no network was trained on the people it judges"
    if good > NEAR_PERFECT["accuracy" if said.mean is None else "correlation"]:
        return f"{said.modality}, {said.target.name}: too good to be true, with {what}; {check}."
    fewest = 8 if said.mean is not None else 20  # right a dozen times in a row happens to the easily read
    people = np.array([s for s in said.people if (said.subject == s).sum() >= fewest])
    if said.mean is not None and people.size:
        spread = np.array([said.truth[said.subject == s].std() for s in people])
        people = people[spread >= FLAT * np.median(spread)]
    sums = [(error[rows].sum(), rows.sum()) for rows in (said.subject == s for s in people)]
    total, n = np.array(sums).reshape(-1, 2).T
    if said.mean is not None:
        size = value = np.log(np.maximum(total / n, 1e-8)) / 2
    else:
        size, value = np.log((total + 0.5) / (n - total + 0.5)), np.arcsin(np.sqrt((total + 0.375) / (n + 0.75)))
    far = np.flatnonzero(size < np.median(size) - np.log(FAR)) if said.mean is not None and n.size > 2 else []
    found = [k for k in sorted({*extremes(value, alpha), *far}) if size[k] < np.median(size) - np.log(apart)]
    if found:
        best = min((k for k in range(n.size) if k not in found), key=lambda k: size[k])
        found = [k for k in found if _chance(said, total, n, k, best) < 0.01]
    if not found:
        return ""
    ratio = np.exp(np.median(np.delete(size, found)) - size[found]).min()
    return (
        f"{said.modality}, {said.target.name}: {_listed(people[found].tolist())} "
        f"{'is' if len(found) == 1 else 'are'} predicted too well to be true, with {word} at least {ratio:.1f} times "
        f"smaller than those of the others; {check}."
    )


def _chance(said: Said, total: np.ndarray, n: np.ndarray, k: int, best: int) -> float:
    """P(at most the errors of person k) if k were as good as the best of those who are not outliers."""
    if said.mean is not None:
        return float(stats.f.cdf(total[k] / n[k] / max(total[best] / n[best], 1e-12), n[k], n[best]))
    return float(stats.binom.cdf(total[k], n[k], (total[best] + 0.5) / (n[best] + 1)))


def extremes(value: np.ndarray, alpha: float) -> list[int]:
    """Positions of the outliers below, by generalised extreme Studentised deviates, one-sided (Rosner 1983).

    For i = 1..m, m = n/3, the smallest value is taken away and R_i = (mean - min) / sd compared with
    (n - i) t / sqrt((n - i - 1 + t^2)(n - i + 1)), t the 1 - alpha / (m (n - i + 1)) quantile of Student's t with
    n - i - 1 degrees of freedom; the outliers are those taken up to the last i whose R_i is larger. (Rosner has no
    division by m: with few people that gives too many.) Fewer than six values: none.
    """
    n, left, last = value.size, np.argsort(value, kind="stable"), 0
    if n < 6:
        return []
    for i in range(1, n // 3 + 1):
        rest = value[left[i - 1 :]]
        t = stats.t.ppf(1 - alpha / (n // 3 * (n - i + 1)), n - i - 1)
        critical = (n - i) * t / np.sqrt((n - i - 1 + t**2) * (n - i + 1))
        if rest.std(ddof=1) > 0 and (rest.mean() - rest[0]) / rest.std(ddof=1) > critical:
            last = i
    return sorted(left[:last].tolist())


def confidence(said: Said, *, alpha: float) -> str:
    """Errors much larger, or smaller, than announced.

    Ratings: per person the root mean square of (mean - truth) / sd; over people the geometric mean with Student's
    interval of its logarithm. Classes: 1 / the calibration slope (`slopes.class_slope`, errors clustered by person).
    Told when the 1 - alpha interval lies above 2.5 or below 0.5.
    """
    if len(said.people) < 3:
        return ""
    quantile = stats.t.ppf(1 - alpha / 2, len(said.people) - 1)
    if said.mean is not None:
        squared = (said.mean - said.truth) ** 2 / said.variance
        each = [np.log(max(squared[said.subject == s].mean(), 1e-12)) / 2 for s in said.people]
        reach = quantile * np.std(each, ddof=1) / np.sqrt(len(each))
        factor, low, high = np.exp(np.mean(each) + np.array([0, -reach, reach]))
        told = f"its errors are {factor:.1f} times what it announces ({low:.1f} to {high:.1f})"
    else:
        line = slopes.class_slope(said.prob, said.truth)
        reach = quantile * slopes.clustered_error(line, said.subject)
        if not np.isfinite(reach):
            return ""
        bounds = np.array([line.slope, line.slope + reach, line.slope - reach])
        factor, low, high = 1 / np.maximum(bounds, 1e-3)
        told = f"its log-odds are {_times(factor)} times what the truth bears out ({_times(low)} to {_times(high)})"
        if bounds[2] <= 0:
            reached = f"calibration slope {bounds[0]:.2f}, {bounds[2]:.2f} to {bounds[1]:.2f}, 1 would be right"
            told = f"its probabilities have hardly anything to do with the truth ({reached})"
    if not (low > OVER or high < UNDER):
        return ""
    word = "over-confident" if low > OVER else "under-confident"
    return (
        f"{said.modality}, {said.target.name}: {word}, {told}; fusion corrects what is common to all people, but check "
        "how its uncertainty was made."
    )


def _times(factor: float) -> str:
    return f"{factor:.1f}" if factor < MANY else f"more than {MANY:.0f}"


def silent(said: Said) -> str:
    """Classes with at least 10 trials and half an even share of them that are never the most probable one.

    They must also get less than half the probability that their share of the trials calls for: what a weak modality
    says honestly stays near the shares, and its rarer classes never win.
    """
    if said.prob is None:
        return ""
    k = said.prob.shape[1]
    seen = np.bincount(said.truth, minlength=k)
    guessed = np.bincount(said.prob.argmax(1), minlength=k)
    starved = (guessed == 0) & (said.prob.sum(0) < seen / 2)
    missing = np.flatnonzero(starved & (seen >= max(10, said.truth.size / (2 * k))))
    if not missing.size:
        return ""
    names = [f"{said.target.levels[c]} ({seen[c]} trials)" for c in missing]
    return (
        f"{said.modality}, {said.target.name}: {_listed(names)} {'is' if len(names) == 1 else 'are'} never its most "
        "probable class; check the order of its classes and the balance of its training."
    )


def _listed(names: Sequence[str], most: int = 5) -> str:
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
