import functools
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from bayesaffect import splits
from bayesaffect.errors import InputError
from bayesaffect.evaluate import baselines, scores
from bayesaffect.pipeline.baselines import by_evidence
from bayesaffect.types import Opinions, Target

RATING, CLASS = Target("valence", bounds=(0, 10)), Target("mood", levels=("a", "b", "c"))
GROUPS = (("S0", "S1"), ("S2", "S3"), ("S4", "S5"))


def opinions(n=120, seed=0, variance_known=True):
    rng = np.random.default_rng(seed)
    trial = [f"T{k}" for k in range(n)]
    subject = np.array([f"S{k % 6}" for k in range(n)])
    here = rng.random((n, 2)) < 0.85
    here[0], here[1] = [False, False], [True, True]
    coords = {"trial": trial, "modality": ["x", "y"], "subject": ("trial", subject), "stimulus": ("trial", trial)}
    present = xr.DataArray(here, dims=("trial", "modality"), coords=coords)
    y, label = rng.uniform(-1, 1, n), rng.integers(0, 3, n)
    x = np.where(here, 0.5 * y[:, None] + 0.2 + rng.normal(0, 0.2, (n, 2)), np.nan)
    v = np.where(here, rng.uniform(0.02, 0.2, (n, 2)), np.nan) if variance_known else np.ones((n, 2))
    logits = 3 * np.eye(3)[(label + 1) % 3][:, None] + rng.normal(size=(n, 2, 3))  # a fixed confusion to unlearn
    logs = np.where(here[..., None], logits - np.log(np.exp(logits).sum(-1, keepdims=True)), np.nan)
    return Opinions(
        (RATING, CLASS),
        present,
        xr.Dataset({"valence": ("trial", y), "mood": ("trial", label)}, coords={"trial": trial}),
        {"valence": xr.DataArray(x, dims=("trial", "modality"))},
        {"valence": xr.DataArray(v, dims=("trial", "modality"))},
        {"mood": xr.DataArray(logs, dims=("trial", "modality", "level"))},
        variance_known=variance_known,
    )


def truth_of(data, predictive, name):
    return data.truth[name].sel(trial=predictive.trial.values).values


def test_equal_weights_are_the_moments_of_the_pool():
    data = opinions()
    got = baselines.equal_weights(data)
    x, v = data.mean["valence"].values[1], data.variance["valence"].values[1]
    assert "T0" not in got.trial.values and got.trial.values[0] == "T1"
    assert got.mean["valence"].values[0, 0] == pytest.approx(x.mean())
    assert got.variance["valence"].values[0, 0] == pytest.approx(v.mean() + x.var())
    assert got.probability("mood").values[0] == pytest.approx(np.exp(data.log_prob["mood"].values[1]).mean(0))
    assert got.trained_on is None


def test_product_of_experts_adds_precision_and_evidence():
    data = opinions()
    got = baselines.product_of_experts(data)
    x, v = data.mean["valence"].values[1], data.variance["valence"].values[1]
    assert got.mean["valence"].values[0, 0] == pytest.approx((x / v).sum() / (1 / v).sum())
    assert got.variance["valence"].values[0, 0] == pytest.approx(1 / (1 / v).sum())
    product = np.exp(data.log_prob["mood"].values[1]).prod(0)
    assert got.probability("mood").values[0] == pytest.approx(product / product.sum())


@pytest.mark.parametrize("pool", [baselines.equal_weights, baselines.product_of_experts])
def test_a_single_present_modality_speaks_for_itself(pool):
    data = opinions()
    k = int(np.flatnonzero(data.present.values.sum(1) == 1)[1])
    m = int(data.present.values[k].argmax())
    got = pool(data).select(np.array([t == f"T{k}" for t in pool(data).trial.values]))
    assert got.mean["valence"].item() == pytest.approx(data.mean["valence"].values[k, m])
    assert got.probability("mood").values[0] == pytest.approx(np.exp(data.log_prob["mood"].values[k, m]))


def test_unknown_variance_is_learned_on_the_other_groups():
    data = opinions(variance_known=False)
    got = baselines.equal_weights(data, GROUPS)
    squared = (got.mean["valence"].values[0] - truth_of(data, got, "valence")) ** 2
    own = np.isin(got.subject.values, GROUPS[0])
    assert got.variance["valence"].values[0, own] == pytest.approx(squared[~own].mean())
    assert (baselines.equal_weights(data).variance["valence"].values >= 1 - 1e-12).all()


def test_a_modality_of_unknown_quality_adds_nothing_to_the_product():
    """No variances, and ``y`` is there for people of one group only: nobody else can say how good it is."""
    data = opinions(variance_known=False)
    own = np.isin(data.subject.values, GROUPS[0])
    only = Opinions(
        data.targets,
        data.present & ((data.present["modality"] == "x") | xr.DataArray(own, dims="trial")),
        data.truth, data.mean, data.variance, data.log_prob, variance_known=False,
    )  # fmt: skip
    got, alone = baselines.product(only, GROUPS), baselines.product(only.only(["x"]), GROUPS)
    both = got.select(np.isin(got.trial.values, alone.trial.values))
    assert both.mean["valence"].values == pytest.approx(alone.mean["valence"].values)
    assert both.variance["valence"].values == pytest.approx(alone.variance["valence"].values)
    lone = ~np.isin(got.trial.values, alone.trial.values)
    prior = baselines.prior_only(data, GROUPS)
    prior = prior.select(np.isin(prior.trial.values, got.trial.values[lone]))
    assert lone.any() and got.mean["valence"].values[:, lone] == pytest.approx(prior.mean["valence"].values)


POOLS = {
    "prior": baselines.prior_only,
    "equal": baselines.equal_weights,
    "product": baselines.product,
    "stimulus": baselines.stimulus,
    "stacking": functools.partial(baselines.stacking, seed=0),
    "order": functools.partial(baselines.order_only, seed=0),
    "evidential": functools.partial(by_evidence, seed=0),
}


@pytest.mark.parametrize("protocol", ["subject", "elicitor", "time"])
@pytest.mark.parametrize("name", POOLS)
def test_no_baseline_reads_a_truth_that_it_may_not(name, protocol):
    """Truths that may not be learned from are dealt anew: what is said of the tested trials stays to the last bit."""
    data = opinions(n=72, variance_known=name == "evidential")
    clips = data.present.assign_coords(stimulus=("trial", [f"c{k // 6 % 4}" for k in range(72)]))
    data = splits.apart(replace(data, present=clips), protocol, 3, seed=0)
    groups, rng = splits.groups(data, 3, seed=0), np.random.default_rng(1)
    before, members = POOLS[name](data, groups), groups[-1]
    hidden = ~splits.learnt(data, members)
    truth = data.truth.copy(deep=True)
    truth["valence"][hidden], truth["mood"][hidden] = rng.uniform(-1, 1, hidden.sum()), rng.integers(0, 3, hidden.sum())
    after = POOLS[name](replace(data, truth=truth), groups)
    tested = np.isin(before.trial.values, data.present["trial"].values[splits.tested(data, members)])
    pairs = [(getattr(before, kind), getattr(after, kind)) for kind in ("mean", "variance", "log_prob")]
    for one, other in ((a[target].values, b[target].values) for a, b in pairs for target in a):
        assert tested.any() and np.array_equal(one[:, tested], other[:, tested])
        if protocol == "subject" and name in ("prior", "stacking"):
            assert not np.array_equal(one[:, ~tested], other[:, ~tested])  # the truths of others do count


def test_prior_only_by_hand():
    data = opinions()
    got = baselines.prior_only(data, GROUPS)
    train = ~np.isin(data.subject.values, GROUPS[1])
    own = np.isin(got.subject.values, GROUPS[1])
    y, label = data.truth["valence"].values[train], data.truth["mood"].values[train]
    assert got.mean["valence"].values[0, own] == pytest.approx(y.mean())
    assert got.variance["valence"].values[0, own] == pytest.approx(y.var(ddof=1))
    expected = (np.bincount(label, minlength=3) + 1) / (label.size + 3)
    assert got.probability("mood").values[own] == pytest.approx(np.tile(expected, (own.sum(), 1)))


def test_no_subject_is_predicted_from_itself():
    for got in (baselines.prior_only(opinions(), GROUPS), baselines.stacking(opinions(), GROUPS, seed=0)):
        seen = got.trained_on.sel(trained_subject=xr.DataArray(got.subject.values, dims="trial"))
        assert not seen.values.any()
        assert (got.trained_on.sum("trained_subject") == 4).all()


def test_changing_a_groups_truth_leaves_its_own_stacking_alone():
    data = opinions()
    own = np.isin(data.subject.values, GROUPS[2])
    changed = data.truth.copy(deep=True)
    changed["mood"][own] = 0
    changed["valence"][own] = 1.0
    other = Opinions(data.targets, data.present, changed, data.mean, data.variance, data.log_prob)
    a, b = (baselines.stacking(d, GROUPS, seed=0) for d in (data, other))
    own = np.isin(a.subject.values, GROUPS[2])
    same = np.isclose(a.probability("mood"), b.probability("mood")).all(1)
    assert same[own].all() and not same[~own].all()
    assert np.allclose(a.mean["valence"][0, own], b.mean["valence"][0, own])


def test_stacking_unlearns_a_fixed_confusion_and_a_gain():
    data = opinions(n=300)
    stacked, equal = baselines.stacking(data, GROUPS, seed=0), baselines.equal_weights(data)
    label = truth_of(data, stacked, "mood")
    assert scores.accuracy(stacked.probability("mood").values, label) > 0.8
    assert scores.accuracy(equal.probability("mood").values, label) < 0.2
    y = truth_of(data, stacked, "valence")
    moments = stacked.mean["valence"].values, stacked.variance["valence"].values
    assert scores.rmse(moments[0][0], y) < 0.8 * scores.rmse(equal.mean["valence"].values[0], y)
    assert 0.84 < scores.coverage(*moments, y, 0.9) < 0.95


def test_a_class_that_training_never_shows_keeps_some_probability():
    data = opinions()
    label = data.truth["mood"].values.copy()
    label[(label == 2) & ~np.isin(data.subject.values, GROUPS[0])] = -1
    data = Opinions(data.targets, data.present, data.truth.assign(mood=("trial", label)), log_prob=data.log_prob)
    got = baselines.stacking(data, GROUPS, seed=0)
    assert got.probability("mood").values[np.isin(got.subject.values, GROUPS[0]), 2].max() < 2e-3
    assert np.isfinite(got.log_prob["mood"]).all()


def test_a_target_without_truth_is_left_out():
    data = opinions()
    blank = data.truth.assign(mood=("trial", np.full(120, -1)))
    data = Opinions(data.targets, data.present, blank, data.mean, data.variance, data.log_prob)
    assert list(baselines.stacking(data, GROUPS, seed=0).log_prob) == []
    assert list(baselines.prior_only(data, GROUPS).mean) == ["valence"]


def test_what_the_networks_saw_is_carried_on():
    data = opinions()
    seen = np.zeros((120, 2, 1), dtype=bool)
    seen[::6, 1] = True  # the second network of S0 was trained on S9
    coords = {"trial": data.present["trial"].values, "trained_subject": ["S9"]}
    seen = xr.DataArray(seen, dims=("trial", "modality", "trained_subject"), coords=coords)
    data = Opinions(data.targets, data.present, data.truth, data.mean, data.variance, data.log_prob, seen)
    got = baselines.stacking(data, GROUPS, seed=0).trained_on
    expected = (np.arange(120) % 6 == 0) & data.present.values[:, 1]
    assert (got.sel(trained_subject="S9").values == expected[data.present.values.any(1)]).all()
    assert got.sel(trained_subject="S4").values.sum() > 0


def test_overlapping_groups_are_refused():
    with pytest.raises(InputError, match="without a common subject"):
        baselines.prior_only(opinions(), (("S0", "S1"), ("S1", "S2")))


def test_order_only_sees_a_fixed_order_and_nothing_in_a_shuffled_one():
    rng = np.random.default_rng(3)
    labels = np.tile(np.repeat([0, 1], 10), 6)

    def score(label):
        names = [f"t{k}" for k in range(label.size)]
        coords = {"trial": names, "modality": ["m"], "subject": ("trial", [f"s{k // 20}" for k in range(label.size)])}
        coords["stimulus"] = ("trial", [""] * label.size)
        present = xr.DataArray(np.ones((label.size, 1), dtype=bool), dims=("trial", "modality"), coords=coords)
        truth = xr.Dataset({"task": ("trial", label)}, {"trial": names})
        index = Opinions((Target("task", levels=("rest", "stress")),), present, truth)
        groups = [(f"s{k}",) for k in range(6)]
        prob = baselines.order_only(index, groups, seed=0).probability("task").values
        return -np.log(prob[np.arange(label.size), label]).mean()

    assert score(labels) < 0.2
    shuffled = np.concatenate([rng.permutation(part) for part in labels.reshape(6, 20)])
    assert abs(score(shuffled) - np.log(2)) < 0.15
