"""What other people said of a stimulus, and experts that share a prior: by hand, and where the truth is planted."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from scipy.special import gammaln
from scipy.stats import norm

from bayesaffect.errors import InputError
from bayesaffect.evaluate import baselines, scores
from bayesaffect.evaluate.baselines.stimuli import concentration
from bayesaffect.types import Opinions, Target

RATING, CLASS = Target("valence", bounds=(0, 10)), Target("mood", levels=("a", "b", "c"))
GROUPS = (("S0", "S1"), ("S2", "S3"), ("S4", "S5"))


def study(*, clips=8, seed=0, clip_sd=0.4, noise=0.15, names=True, shown_to=6, variance_known=True):
    """Six subjects see the clips; ratings and classes depend on the clip and on chance. 15 % of opinions miss."""
    rng = np.random.default_rng(seed)
    who, clip = np.divmod(np.arange(6 * clips), clips)
    seen = (clip != 0) | (who < shown_to)  # the first clip is shown to some only
    who, clip = who[seen], clip[seen]
    level = rng.normal(0, clip_sd, clips)
    y = np.clip(level[clip] + rng.normal(0, noise, clip.size), -1, 1)
    label = np.digitize(y, [-0.2, 0.2])
    here = rng.random((clip.size, 2)) < 0.85
    trial = [f"T{k}" for k in range(clip.size)]
    coords = {"trial": trial, "modality": ["x", "y"], "subject": ("trial", [f"S{k}" for k in who])}
    coords["stimulus"] = ("trial", [f"clip{k}" if names else "" for k in clip])
    x = np.where(here, y[:, None] + rng.normal(0, 0.15, here.shape), np.nan)
    v = np.where(here, rng.uniform(0.01, 0.12, here.shape), np.nan) if variance_known else np.ones(here.shape)
    logits = rng.normal(size=(*here.shape, 3)) + 1.5 * np.eye(3)[label][:, None]
    logs = np.where(here[..., None], logits - np.log(np.exp(logits).sum(-1, keepdims=True)), np.nan)
    return Opinions(
        (RATING, CLASS),
        xr.DataArray(here, dims=("trial", "modality"), coords=coords),
        xr.Dataset({"valence": ("trial", y), "mood": ("trial", label)}, coords={"trial": trial}),
        {"valence": xr.DataArray(x, dims=("trial", "modality"))},
        {"valence": xr.DataArray(v, dims=("trial", "modality"))},
        {"mood": xr.DataArray(logs, dims=("trial", "modality", "level"))},
        variance_known=variance_known,
    )


def losses(data, predictive):
    """Mean negative log-likelihood of the rating and of the class."""
    y = data.truth["valence"].sel(trial=predictive.trial.values).values
    label = data.truth["mood"].sel(trial=predictive.trial.values).values
    density = norm.logpdf(y, predictive.mean["valence"].values[0], np.sqrt(predictive.variance["valence"].values[0]))
    return -density.mean(), scores.nll(predictive.probability("mood").values, label)


def test_stimulus_is_shrunk_by_hand():
    data = study(shown_to=3)
    got = baselines.stimulus(data, GROUPS)
    assert got.trial.size == data.present.sizes["trial"]
    test = np.isin(data.subject.values, GROUPS[0])
    y, clip = data.truth["valence"].values[~test], data.present["stimulus"].values[~test]
    parts = [y[clip == c] for c in np.unique(clip)]  # the first holds one trial, the other seven hold four
    n = np.array([part.size for part in parts])
    within = sum(((part - part.mean()) ** 2).sum() for part in parts) / (y.size - n.size)
    between = sum(part.size * (part.mean() - y.mean()) ** 2 for part in parts) / (n.size - 1)
    signal = (between - within) * (n.size - 1) / (y.size - (n**2).sum() / y.size)
    for name, count in (("clip0", 1), ("clip3", 4)):
        at = int(np.flatnonzero(test & (data.present["stimulus"].values == name))[0])
        part = y[clip == name]
        kept = count * signal / (count * signal + within)
        assert part.size == count and 0.5 < kept < 1
        assert got.mean["valence"].values[0, at] == pytest.approx(y.mean() + kept * (part.mean() - y.mean()))
        assert got.variance["valence"].values[0, at] == pytest.approx(within + signal * (1 - kept))


def test_shares_of_a_stimulus_by_hand():
    data = study()
    got = baselines.stimulus(data, GROUPS).probability("mood").values
    test = np.isin(data.subject.values, GROUPS[1])
    label, clip = data.truth["mood"].values[~test], data.present["stimulus"].values[~test]
    prior = (np.bincount(label, minlength=3) + 1) / (label.size + 3)
    counts = np.array([np.bincount(label[clip == c], minlength=3) for c in np.unique(clip)])
    c = concentration(counts, prior)
    rows = np.flatnonzero(test)
    expected = [(counts[k] + c * prior) / (counts[k].sum() + c) for k in range(8)]
    assert 1 <= c < 20
    assert np.allclose([got[i] for i in rows], [expected[int(data.present["stimulus"].values[i][4:])] for i in rows])


def test_concentration_is_where_the_likelihood_is_largest():
    counts, prior = np.array([[5, 1, 0], [1, 4, 2], [3, 3, 1], [0, 2, 6]]), np.array([0.4, 0.35, 0.25])

    def likelihood(c):
        each = gammaln(c) - gammaln(counts.sum(1) + c)
        return (each + (gammaln(counts + c * prior) - gammaln(c * prior)).sum(1)).sum()

    grid = np.exp(np.linspace(0, np.log(1e4), 20_001))
    best = grid[np.argmax([likelihood(c) for c in grid])]
    assert 1.5 < best < 100 and concentration(counts, prior) == pytest.approx(best, rel=1e-2)
    alike = np.tile(np.round(40 * prior).astype(int), (6, 1))
    assert concentration(alike, prior) > 5000  # groups more alike than chance: the prior says it all


@pytest.mark.parametrize("how", ["unnamed", "once"])
def test_without_a_stimulus_seen_before_the_prior_is_left(how):
    data = study(names=how != "unnamed")
    if how == "once":
        alone = [f"only{k}" for k in range(data.present.sizes["trial"])]
        present = data.present.assign_coords(stimulus=("trial", alone))
        data = Opinions(data.targets, present, data.truth, data.mean, data.variance, data.log_prob)
    got, prior = baselines.stimulus(data, GROUPS), baselines.prior_only(data, GROUPS)
    assert np.allclose(got.mean["valence"], prior.mean["valence"])
    assert np.allclose(got.variance["valence"], prior.variance["valence"])
    assert np.allclose(got.log_prob["mood"], prior.log_prob["mood"])


def test_a_stimulus_never_seen_gets_the_prior_beside_known_ones():
    data = study()
    names = data.present["stimulus"].values.astype(object).copy()
    own = np.flatnonzero(data.subject.values == "S0")
    names[own[2]] = "new"
    present = data.present.assign_coords(stimulus=("trial", names.astype(str)))
    data = Opinions(data.targets, present, data.truth, data.mean, data.variance, data.log_prob)
    got, prior = baselines.stimulus(data, GROUPS), baselines.prior_only(data, GROUPS)
    assert got.mean["valence"].values[0, own[2]] == pytest.approx(prior.mean["valence"].values[0, own[2]])
    assert np.allclose(got.log_prob["mood"][0, own[2]], prior.log_prob["mood"][0, own[2]])
    assert not np.isclose(got.mean["valence"].values[0, own[3]], prior.mean["valence"].values[0, own[3]])


def test_stimulus_wins_where_ratings_depend_on_the_clip_and_claims_nothing_where_they_do_not():
    data = study(clips=30)
    stimulus, prior = (losses(data, p) for p in (baselines.stimulus(data, GROUPS), baselines.prior_only(data, GROUPS)))
    assert stimulus[0] < prior[0] - 0.5 and stimulus[1] < prior[1] - 0.3
    rng = np.random.default_rng(1)
    order = rng.permutation(data.present.sizes["trial"])  # the planted defect: clips that say nothing
    present = data.present.assign_coords(stimulus=("trial", data.present["stimulus"].values[order]))
    mixed = Opinions(data.targets, present, data.truth, data.mean, data.variance, data.log_prob)
    stimulus = losses(mixed, baselines.stimulus(mixed, GROUPS))
    assert abs(stimulus[0] - prior[0]) < 0.1 and abs(stimulus[1] - prior[1]) < 0.1


@pytest.mark.parametrize("learn", [baselines.stimulus, baselines.product])
def test_nobody_is_predicted_from_their_own_truth(learn):
    data = study(variance_known=False)
    own = np.isin(data.subject.values, GROUPS[2])
    changed = data.truth.copy(deep=True)
    changed["mood"][own], changed["valence"][own] = 0, 1.0
    other = Opinions(data.targets, data.present, changed, data.mean, data.variance, data.log_prob, variance_known=False)
    a, b = (learn(d, GROUPS) for d in (data, other))
    tested = np.isin(a.subject.values, GROUPS[2])
    for one, two in ((a.mean["valence"][0], b.mean["valence"][0]), (a.log_prob["mood"][0], b.log_prob["mood"][0])):
        same = np.isclose(one, two).reshape(tested.size, -1).all(1)
        assert same[tested].all() and not same[~tested].all()
    seen = a.trained_on.sel(trained_subject=xr.DataArray(a.subject.values, dims="trial"))
    assert not seen.values.any() and (a.trained_on.sum("trained_subject") == 4).all()


def test_product_counts_the_prior_once_by_hand():
    data = study()
    got, prior = baselines.product(data, GROUPS), baselines.prior_only(data, GROUPS)
    here = data.present.values
    assert got.trial.size == here.any(1).sum() < here.shape[0]
    place = {t: k for k, t in enumerate(got.trial.values)}
    vague = sure = 0
    for i in np.flatnonzero(here.any(1))[:20]:
        k, both = place[data.present["trial"].values[i]], here[i]
        q = np.exp(prior.log_prob["mood"].values[0, i])
        p = np.exp(data.log_prob["mood"].values[i, both])
        expected = p.prod(0) * q ** (1 - both.sum())
        assert got.probability("mood").values[k] == pytest.approx(expected / expected.sum())
        m0, v0 = prior.mean["valence"].values[0, i], prior.variance["valence"].values[0, i]
        x, v = data.mean["valence"].values[i, both], data.variance["valence"].values[i, both]
        surer = v < v0
        vague, sure = vague + (~surer).sum(), sure + surer.sum()
        precision = (1 / v[surer]).sum() + (1 - surer.sum()) / v0
        mean = ((x[surer] / v[surer]).sum() + (1 - surer.sum()) * m0 / v0) / precision
        assert got.variance["valence"].values[0, k] == pytest.approx(1 / precision)
        assert got.mean["valence"].values[0, k] == pytest.approx(mean)
    assert vague > 3 and sure > 3


def test_product_learns_unknown_variances_per_modality():
    data = study(variance_known=False)
    got, prior = baselines.product(data, GROUPS), baselines.prior_only(data, GROUPS)
    train = ~np.isin(data.subject.values, GROUPS[0])
    squared = (data.mean["valence"].values - data.truth["valence"].values[:, None]) ** 2
    v = np.nanmean(np.where(data.present.values, squared, np.nan)[train], axis=0)
    i = int(np.flatnonzero(data.present.values.all(1))[0])
    m0, v0 = prior.mean["valence"].values[0, i], prior.variance["valence"].values[0, i]
    assert (v < v0).all() and data.subject.values[i] in GROUPS[0]
    k = list(got.trial.values).index(data.present["trial"].values[i])
    precision = (1 / v).sum() - 1 / v0
    assert got.variance["valence"].values[0, k] == pytest.approx(1 / precision)
    x = data.mean["valence"].values[i]
    assert got.mean["valence"].values[0, k] == pytest.approx(((x / v).sum() - m0 / v0) / precision)


def held_out(data, by, values):
    present = data.present if by == "stimulus" else data.present.assign_coords({by: ("trial", values)})
    return replace(data, present=present, held_out_by=by)


def test_held_out_stimuli_are_learned_from_by_nobody():
    clips = [[f"clip{k}" for k in range(j, 8, 2)] for j in range(2)]
    data = held_out(study(), "stimulus", None)
    got, prior = baselines.stimulus(data, clips), baselines.prior_only(data, clips)
    assert np.allclose(got.mean["valence"], prior.mean["valence"])  # no clip was seen before
    first = np.isin(data.present["stimulus"].values, clips[0])
    y = data.truth["valence"].values
    assert prior.mean["valence"].values[0, first] == pytest.approx(y[~first].mean())
    assert list(prior.trained_on.dims) == ["trial", "trained_stimulus"]
    own = prior.trained_on.sel(trained_stimulus=xr.DataArray(data.present["stimulus"].values, dims="trial"))
    assert not own.values.any() and prior.trained_on.values.any(1).all()


@pytest.mark.parametrize("learn", [baselines.prior_only, baselines.product, baselines.stimulus])
def test_parts_of_sessions_are_predicted_from_earlier_ones_only(learn):
    data = study(clips=9)
    part = 1 + np.arange(54) % 9 // 3
    data = held_out(data, "part", part)
    groups = [np.unique(data.unit.values[part == p]) for p in (1, 2, 3)]
    got = learn(data, groups)
    kept = part[np.isin(data.present["trial"].values, got.trial.values)]
    assert set(kept) == {2, 3}  # nothing comes before the first part
    changed = data.truth.copy(deep=True)
    changed["valence"][part == 3], changed["mood"][part == 3] = 1.0, 0
    other = learn(replace(data, truth=changed), groups)
    assert np.allclose(got.mean["valence"], other.mean["valence"]) and np.allclose(
        got.log_prob["mood"], other.log_prob["mood"]
    )
    changed["valence"][part == 2], changed["mood"][part == 2] = 1.0, 0
    other = learn(replace(data, truth=changed), groups)
    same = np.isclose(got.mean["valence"], other.mean["valence"])[0]
    assert same[kept == 2].all() and not same[kept == 3].all()


def test_groups_that_no_trial_belongs_to_are_refused():
    with pytest.raises(InputError, match="may be learned from"):
        baselines.prior_only(study(), (("nobody",), ("no one",)))
