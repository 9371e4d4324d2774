from __future__ import annotations

import numpy as np
import pytest

from bayesaffect.errors import InputError
from bayesaffect.fusion import compare, idata

N, S = 120, 6


def conjugate(seed, *, prior_sd=10.0, scale=1.0, order=None, target="valence", level=True):
    """A fit of y_i ~ N(theta, scale^2), theta ~ N(0, prior_sd^2) (0 without ``level``), drawn exactly."""
    y = np.random.default_rng(7).normal(0.8, 1.0, N)
    order = np.arange(N) if order is None else order
    precision = N / scale**2 + prior_sd**-2
    mean = y.sum() / scale**2 / precision
    theta = np.random.default_rng(seed).normal(mean, precision**-0.5, (4, 500)) if level else np.zeros((4, 500))
    log_likelihood = -0.5 * (np.log(2 * np.pi * scale**2) + ((y - theta[..., None]) / scale) ** 2)
    groups = {
        "posterior": {"theta": theta + 1e-9 * np.random.default_rng(seed).normal(size=theta.shape)},
        "log_likelihood": {target: log_likelihood[..., order]},
        "observed_data": {target: y[order]},
        "constant_data": {"trial_subject": np.array([f"S{i % S}" for i in order])},
    }
    coords = {"trial": [f"T{i}" for i in order]}
    dims = {target: ["trial"], "trial_subject": ["trial"]}
    return idata.build(groups, coords=coords, dims=dims, attrs={"target": {"name": target}}), y


def exact(y, *, prior_sd=10.0, scale=1.0, groups=None):
    """log p(y_i | y_-i) of the conjugate model, or log p(y_s | y_-s) of groups."""
    groups = np.arange(N) if groups is None else groups
    out = []
    for g in np.unique(groups):
        mine, rest = y[groups == g], y[groups != g]
        precision = rest.size / scale**2 + prior_sd**-2
        cov = scale**2 * np.eye(mine.size) + 1 / precision
        gap = mine - rest.sum() / scale**2 / precision
        out.append(-0.5 * (np.linalg.slogdet(2 * np.pi * cov)[1] + gap @ np.linalg.solve(cov, gap)))
    return np.array(out)


@pytest.mark.parametrize("by", ["trial", "subject"])
def test_elpd_is_the_density_of_what_was_left_out(by):
    one, y = conjugate(1)
    two, _ = conjugate(2, level=False)
    found = compare({"free": one, "fixed": two}, by=by)
    expected = exact(y, groups=None if by == "trial" else np.arange(N) % S)
    np.testing.assert_allclose(found.pointwise.sel(model="free"), expected, atol=0.05 if by == "trial" else 0.5)
    assert list(found.table.index) == ["free", "fixed"] and found.table["rank"].tolist() == [0, 1]
    assert found.table["elpd"]["free"] == pytest.approx(expected.sum(), abs=0.3 if by == "trial" else 1.5)
    assert found.table["weight"]["free"] > 0.9 and found.table["weight"].sum() == pytest.approx(1)
    gap = found.pointwise.sel(model="free") - found.pointwise.sel(model="fixed")
    assert found.table["elpd_diff"]["fixed"] == pytest.approx(float(gap.sum()), rel=1e-6)
    assert found.table["dse"]["fixed"] == pytest.approx(float(gap.std() * gap.size**0.5), rel=0.1)


def test_the_order_of_trials_does_not_matter():
    order = np.random.default_rng(0).permutation(N)
    plain = compare({"a": conjugate(1)[0], "b": conjugate(2, scale=2.0)[0]})
    mixed = compare({"a": conjugate(1)[0], "b": conjugate(2, scale=2.0, order=order)[0]})
    np.testing.assert_allclose(plain.pointwise, mixed.pointwise)


def test_models_that_say_the_same_are_not_told_apart():
    found = compare({"a": conjugate(1)[0], "b": conjugate(2)[0]})
    assert len(found.sentences) == 1 and "cannot be told apart" in found.sentences[0]
    assert not found.table["warning"].any()


def test_a_trial_that_made_the_posterior_is_reported():
    posterior = conjugate(1)[0]
    values = posterior["log_likelihood"]["valence"].values
    values[:, :, 5] = -60 * np.abs(np.random.default_rng(0).standard_t(2, size=values.shape[:2]))
    found = compare({"odd": posterior, "plain": conjugate(2)[0]})
    assert found.khat.sel(model="odd", trial="T5") > 0.7 and found.table["bad_k"]["odd"] == 1
    assert "k-hat of odd is above 0.7 for 1 of 120 trials" in found.sentences[0]


@pytest.mark.parametrize(
    ("posteriors", "options", "says"),
    [
        ({"a": {}}, {}, "1 fits cannot"),
        ({"a": {}, "b": {"target": "arousal"}}, {}, "is of 'arousal'"),
        ({"a": {}, "b": {"order": np.arange(N - 1)}}, {}, "other trials"),
        ({"a": {}, "b": {}}, {"by": "day"}, "by is 'day'"),
        ({"a": {}, "b": {}}, {"method": "votes"}, "no method"),
    ],
)
def test_what_cannot_be_compared_is_refused(posteriors, options, says):
    with pytest.raises(InputError, match=says):
        compare({name: conjugate(1, **how)[0] for name, how in posteriors.items()}, **options)
