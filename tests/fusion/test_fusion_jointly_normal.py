"""A person's ratings predicted together, against dense normal distributions."""

from __future__ import annotations

import numpy as np
import pytest

from bayesaffect.fusion.people import jointly_normal
from bayesaffect.simulate import OpinionModel, simulate_opinions
from bayesaffect.types import Target

VALENCE = Target("valence", (1, 9))
R = np.array([[1, 0.3, 0.2], [0.3, 1, -0.1], [0.2, -0.1, 1]])
D, N, M = 2, 5, 3


def opinions(missing=0.3):
    shape = OpinionModel(missing=missing)
    return simulate_opinions(subjects=1, trials=N, modalities=["x", "y", "z"], targets=(VALENCE,), seed=4, model=shape)[
        0
    ]


def parameters(seed=0, **extra):
    rng = np.random.default_rng(seed)
    values = {
        "mu": rng.normal(0, 0.2, D), "tau": rng.uniform(0.3, 0.5, D), "sd_delta": rng.uniform(0.1, 0.3, D),
        "a": rng.normal(0, 0.1, (D, M)), "b": rng.uniform(0.4, 1, (D, M)), "omega": rng.uniform(0.1, 0.3, (D, M)),
        "log_kappa": rng.normal(0, 0.2, (D, M)), "sd_rho": np.full((D, M), 0.3), "correlation": np.stack([R, R]),
    }  # fmt: skip
    return values | extra


EXTRA = [
    {},
    {"offset_correlation": np.stack([R.T[::-1, ::-1], R])},
    {"theta": np.array([0.7, 0.3]), "quality_discount": np.full((D, M), 0.4)},
]


def dense(values, rho, table, poor, d, variance):
    """Mean and covariance of (y, u) given the opinions, and log p(x), with the mean of the truths ~ N(mu, variance)."""
    here = table.present.values
    get = lambda name: values[name][d]  # noqa: E731
    gain = get("b") * np.exp((get("theta") if "theta" in values else 0.0) * rho[d])
    sd = np.exp(get("log_kappa") + rho[d]) * np.sqrt(np.nan_to_num(table.variance["valence"].values, nan=1.0))
    if "quality_discount" in values:
        sd = sd / (1 - get("quality_discount") * poor)
    shared = get("offset_correlation") if "offset_correlation" in values else np.eye(M)
    tau2 = get("tau") ** 2
    prior = np.zeros((N + M, N + M))
    prior[:N, :N] = tau2 * np.eye(N) + (variance - tau2 / N)
    prior[N:, N:] = shared * np.outer(get("omega"), get("omega"))
    reads, error = np.zeros((N * M, N + M)), np.zeros((N * M, N * M))
    for i in range(N):
        at = slice(i * M, i * M + M)
        reads[at, i], reads[at, N:], error[at, at] = gain, np.eye(M), np.outer(sd[i], sd[i]) * get("correlation")
    keep = here.ravel()
    reads, error = reads[keep], error[np.ix_(keep, keep)]
    rest = np.nan_to_num(table.mean["valence"].values).ravel()[keep]
    rest = rest - np.tile(get("a") + get("b") * get("mu"), N)[keep]
    cov = reads @ prior @ reads.T + error
    weight = prior @ reads.T @ np.linalg.inv(cov)
    mean = weight @ rest + np.concatenate([np.full(N, get("mu")), np.zeros(M)])
    log_p = -0.5 * (rest @ np.linalg.solve(cov, rest) + np.linalg.slogdet(cov)[1])
    return mean, prior - weight @ reads @ prior, log_p


@pytest.mark.parametrize("extra", EXTRA, ids=["plain", "correlated", "scaled"])
@pytest.mark.parametrize("variance", [0.004, 0.3])
def test_moments_and_evidence_are_those_of_the_joint_normal(extra, variance):
    """V below and above tau^2 / N: sets whose means differ less, and more, than chance."""
    values, table = parameters(**extra), opinions()
    rho, poor = np.random.default_rng(1).normal(0, 0.2, (D, M)), np.random.default_rng(2).random((N, M))
    these = jointly_normal.prepared(values, table, "valence", poor)
    found = jointly_normal.independent(values, rho, these)
    level, spread, evidence = jointly_normal.of_mean(values, found, np.full(D, variance))
    mean = found.mean + found.of_y * (level - found.level)[:, None]
    within = found.variance + found.of_y**2 * (spread - found.spread)[:, None]
    u = found.u + found.of_u * (level - found.level)[:, None]
    of_u = found.root @ np.swapaxes(found.root, 1, 2)
    for d in range(D):
        base = dense(values, rho, table, poor, d, values["tau"][d] ** 2 / N)
        expected = dense(values, rho, table, poor, d, variance)
        np.testing.assert_allclose(found.mean[d], base[0][:N], rtol=1e-9)
        np.testing.assert_allclose(of_u[d], base[1][N:, N:], atol=1e-12)
        np.testing.assert_allclose(np.append(mean[d], u[d]), expected[0], rtol=1e-9)
        np.testing.assert_allclose(within[d], np.diag(expected[1])[:N], rtol=1e-9)
        assert spread[d] == pytest.approx(expected[1][:N, :N].mean())
        assert evidence[d] == pytest.approx(expected[2] - base[2], abs=1e-9)


@pytest.mark.parametrize("extra", EXTRA, ids=["plain", "correlated", "scaled"])
def test_reliabilities_are_drawn_from_their_conditional(extra):
    """Against a grid of the first modality's rho given truths and offsets; the others are held by tiny sds."""
    size = 2000
    one = {n: v[:1] for n, v in parameters(**extra).items()}
    one["sd_rho"] = np.array([[0.5, 1e-6, 1e-6]])
    values = {n: np.repeat(v, size, 0) for n, v in one.items()}
    table, poor = opinions(), np.random.default_rng(2).random((N, M))
    rng = np.random.default_rng(3)
    y, u = rng.normal(0, 0.4, N), rng.normal(0, 0.2, M)
    these = jointly_normal.prepared(values, table, "valence", poor)
    rho = np.zeros((size, M))
    for _ in range(12):
        rho = jointly_normal.reliabilities(values, rho, these, np.tile(y, (size, 1)), np.tile(u, (size, 1)), rng)
    grid = np.linspace(-2.5, 2.5, 201)
    log_p = -0.5 * (grid / 0.5) ** 2
    for k, r in enumerate(grid):
        at = np.array([r, 0, 0])
        gain = one["b"][0] * np.exp((one["theta"][0] if "theta" in one else 0.0) * at)
        for i in range(N):
            seen = table.present.values[i]
            sd = np.exp(one["log_kappa"][0] + at) * np.sqrt(np.nan_to_num(table.variance["valence"].values[i], nan=1.0))
            if "quality_discount" in one:
                sd = sd / (1 - one["quality_discount"][0] * poor[i])
            cov = (np.outer(sd, sd) * R)[np.ix_(seen, seen)]
            rest = table.mean["valence"].values[i] - one["a"][0] - u - one["b"][0] * one["mu"][0]
            rest = (rest - gain * (y[i] - one["mu"][0]))[seen]
            log_p[k] -= 0.5 * (rest @ np.linalg.solve(cov, rest) + np.linalg.slogdet(cov)[1])
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    mean, sd = p @ grid, np.sqrt(p @ grid**2 - (p @ grid) ** 2)
    assert rho[:, 0].mean() == pytest.approx(mean, abs=5 * sd / np.sqrt(size))
    assert rho[:, 0].std() == pytest.approx(sd, rel=5 / np.sqrt(2 * size) * 1.5)


def test_sets_of_independent_truths_have_two_readings_that_agree_and_balanced_sets_do_not():
    rng = np.random.default_rng(0)
    values = {"tau": np.full(4000, 0.4), "sd_delta": np.full(4000, 0.2)}
    who = np.repeat(np.arange(300), 8)
    chance = 0.2 * rng.normal(size=300)[who] + 0.4 * rng.normal(size=who.size)
    for size in (3, 8, 20):
        free, like = jointly_normal.variances(values, chance, who, size, rng)
        np.testing.assert_allclose(free, 0.04 + 0.16 / size)
        if size <= 8:
            assert like.mean() == pytest.approx(free[0], rel=4 * np.sqrt(2 / 300))
    even = np.tile(np.linspace(-0.5, 0.5, 8), 300) + 0.01 * rng.normal(size=300)[who]
    _, like = jointly_normal.variances(values, even, who, 8, rng)
    assert like.mean() == pytest.approx(1e-4, rel=4 * np.sqrt(2 / 300))
    _, part = jointly_normal.variances(values, even, who, 2, rng)
    assert part.mean() == pytest.approx(1e-4 + 0.16 * (1 / 2 - 1 / 8), rel=0.01)


def test_few_people_teach_nothing_of_their_sets():
    values = {"tau": np.full(3, 0.4), "sd_delta": np.full(3, 0.2)}
    free, like = jointly_normal.variances(values, np.arange(6.0), np.repeat([0, 1, 2], 2), 2, np.random.default_rng(0))
    np.testing.assert_array_equal(free, like)


def test_the_reading_is_chosen_by_how_well_it_foresees_the_opinions():
    """Opinions that are all high contradict a set that covers the scale: it is believed less than before."""
    values = {n: np.repeat(v[:1], 400, 0) for n, v in parameters().items()}
    values["omega"] = np.full((400, M), 0.02)
    table = opinions(missing=0.0)
    narrow = (np.full(400, 0.09), np.full(400, 1e-4))
    wide = (narrow[0], narrow[0])
    for x, sure in ((0.9, False), (float(values["mu"][0]), True)):
        table.mean["valence"].values[:] = values["a"][0] + values["b"][0] * x
        these = jointly_normal.prepared(values, table, "valence")
        both, _ = jointly_normal.moments(values, these, narrow, 0.5, np.random.default_rng(0))
        free, _ = jointly_normal.moments(values, these, wide, 0.5, np.random.default_rng(0))
        moved = float(np.abs(both.mean() - free.mean()))
        assert moved < 0.02
        forced, _ = jointly_normal.moments(values, these, narrow, 1.0, np.random.default_rng(0))
        if not sure:
            assert abs(forced.mean() - free.mean()) > 0.2
