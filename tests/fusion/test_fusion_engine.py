from __future__ import annotations

import logging

import arviz
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.fusion import Sampling, gate, idata
from bayesaffect.fusion.engine import nuts, pareto, sample, svi

PRECISION = np.array([[2.0, 0.8, 0.0], [0.8, 1.0, -0.3], [0.0, -0.3, 0.5]])
CENTRE = np.array([1.0, -2.0, 0.5])


def gaussian(z):
    step = PRECISION @ (z - CENTRE)
    return float(-0.5 * step @ (z - CENTRE)), -step


def funnel(z):
    """z_0 ~ N(0, 3^2), the others ~ N(0, exp(z_0)): what subject effects with a vague scale look like."""
    inner = (z[1:] ** 2).sum() * np.exp(-z[0])
    return -(z[0] ** 2) / 18 - inner / 2 - z[0], np.r_[-z[0] / 9 + inner / 2 - 1, -z[1:] * np.exp(-z[0])]


def approximated(evaluate, tune=200, seed=1, draws=1000):
    sampling = Sampling(draws=draws, tune=tune, chains=2, engine="svi")
    return svi.run(evaluate, np.zeros(3), sampling, seed=seed, advance=lambda n: None)


def test_a_gaussian_posterior_is_found_and_its_weights_are_all_the_same(caplog):
    with caplog.at_level(logging.WARNING):
        z, stats = approximated(gaussian)
    flat = z.reshape(-1, 3)
    cov = np.linalg.inv(PRECISION)
    assert z.shape == (2, 1000, 3)
    assert np.abs(flat.mean(0) - CENTRE).max() < 0.2
    np.testing.assert_allclose(np.cov(flat.T), cov, atol=0.15 * cov.max())
    assert pareto.khat(stats["log_weight"]) < 0.7
    log_q = stats["lp"] - stats["log_weight"]
    exact = -0.5 * np.linalg.slogdet(2 * np.pi * cov)[1]
    assert float(log_q.max()) == pytest.approx(exact, abs=0.3)
    assert "not from the posterior" in caplog.text


def test_a_funnel_is_told_by_k_hat():
    _, stats = approximated(funnel)
    khat = pareto.khat(stats["log_weight"])
    assert khat > pareto.GOOD and "misses the posterior" in svi.sentence(khat)


def test_same_seed_same_approximation_and_the_users_parameters_are_left_alone():
    pyro.get_param_store().clear()
    pyro.param("mine", torch.tensor(3.0))
    one, two, other = (approximated(gaussian, tune=5, seed=s, draws=30)[0] for s in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)
    assert list(pyro.get_param_store().keys()) == ["mine"]
    pyro.get_param_store().clear()


def test_where_the_density_overflows_it_has_no_slope():
    def broken(z):
        if z[0] > 0:
            raise FloatingPointError("too far")
        return gaussian(z)

    values, gradients = svi._rows(broken, np.array([[1.0, 0, 0], [-1.0, 0, 0]]))
    assert values[0] == svi.NOWHERE and not gradients[0].any()
    assert values[1] == gaussian(np.array([-1.0, 0, 0]))[0]


@pytest.mark.parametrize("k", [0.2, 0.6, 1.2])
def test_k_hat_is_the_shape_of_a_pareto_tail(k):
    """Weights u^-k have a generalised Pareto tail of shape k; the estimate's sd is about (1 + k) / sqrt(n)."""
    weight = -k * np.log(np.random.default_rng(3).random(40_000))
    tail = 3 * np.sqrt(weight.size)
    assert pareto.khat(weight) == pytest.approx((tail * k + 5) / (tail + 10), abs=5 * (1 + k) / np.sqrt(tail))
    assert pareto.khat(weight - 700) == pytest.approx(pareto.khat(weight))


def test_k_hat_of_weights_that_say_nothing():
    assert np.isnan(pareto.khat(np.zeros(20)))
    assert pareto.khat(np.zeros(100)) == 0
    assert pareto.khat(np.r_[0.0, np.full(99, -800.0)]) == np.inf
    assert pareto.khat(np.r_[np.nan, np.zeros(99)]) == np.inf


def model(data):
    scale = pyro.sample("scale", dist.HalfNormal(data["prior"]))
    pyro.factor("data", -0.5 * (data["y"] * data["y"]).sum() / (scale * scale) - data["y"].shape[0] * torch.log(scale))


DATA = {"prior": np.array(2.0), "y": np.array([0.5, -1.2, 0.3, 2.0])}


@pytest.fixture(scope="module")
def drawn():
    sampling = Sampling(draws=60, tune=100, chains=2)
    return [sample.sample(model, DATA, name="toy", sampling=sampling, seed=s, compile_code=False) for s in (1, 1, 2)]


def test_draws_come_back_as_plain_arrays_and_a_seed_fixes_them(drawn):
    one, two, other = drawn
    assert one.z.shape == (2, 60, 1)
    assert {"diverging", "energy", "lp", "n_steps", "step_size"} <= set(one.stats)
    assert all(v.shape == (2, 60) for v in one.stats.values())
    assert one.stats["diverging"].dtype == bool
    np.testing.assert_array_equal(one.z, two.z)
    assert not np.array_equal(one.z, other.z)
    flat = one.density.pack(DATA)
    expected = [float(one.density.log_prob(torch.as_tensor(z), flat)) for z in one.z[1]]
    np.testing.assert_allclose(one.stats["lp"][1], expected, rtol=1e-9)


def test_svi_through_the_engine_is_labelled_and_refused_by_the_gate():
    sampling = Sampling(draws=100, tune=40, chains=2, engine="svi")
    draws = sample.sample(model, DATA, name="toy", sampling=sampling, seed=1, compile_code=False)
    groups = {"posterior": {"scale": np.exp(draws.z[..., 0])}, "sample_stats": draws.stats}
    posterior = idata.build(groups, coords={}, dims={}, attrs={"kind": "toy"})
    khat = pareto.khat(draws.stats["log_weight"])
    assert idata.attribute(posterior, "khat") == pytest.approx(khat, abs=1e-3)
    verdict = gate(posterior)
    assert not verdict.passed
    assert "Gaussian approximation" in verdict.failures[0] and f"{khat:.2f}" in verdict.failures[0]


def test_an_approximation_is_neither_piloted_nor_repeated():
    asked = Sampling(engine="svi", pilot=200, attempts=3)
    assert (asked.pilot, asked.attempts) == (0, 1)
    with pytest.raises(InputError, match="no engine"):
        Sampling(engine="advi")


def test_an_import_that_names_a_class_of_old_arviz_gets_one(monkeypatch):
    monkeypatch.delitem(vars(arviz), "InferenceData", raising=False)
    with nuts._named_class():
        assert arviz.InferenceData is xr.DataTree
    assert "InferenceData" not in vars(arviz)


def test_groups_and_files_are_the_same_for_either_arviz(tmp_path):
    groups = {
        "posterior": {"w": np.random.default_rng(0).normal(size=(2, 10, 3))},
        "sample_stats": {"diverging": np.zeros((2, 10), bool)},
        "observed_data": {"y": np.arange(4.0)},
    }
    labels = {
        "coords": {"modality": list("abc")},
        "dims": {"w": ["modality"]},
        "attrs": {"kind": "toy", "levels": None},
    }
    made = idata.build(groups, **labels)
    idata.save(made, tmp_path / "posterior.nc")
    read = idata.load(tmp_path / "posterior.nc")
    assert type(read) is type(made)
    assert set(groups) <= set(idata.groups(made)) and set(idata.groups(made)) == set(idata.groups(read))
    xr.testing.assert_equal(made["posterior"]["w"], read["posterior"]["w"])
    assert idata.attribute(read, "kind") == "toy" and idata.attribute(read, "levels") is None


def test_a_tool_chain_that_fails_without_a_word_leaves_the_traced_graph(monkeypatch, caplog):
    def fails(*_):
        raise AssertionError

    monkeypatch.setattr(sample, "compiler", lambda: "cc")
    monkeypatch.setattr(sample, "compiled", fails)
    sampling = Sampling(draws=20, tune=20, chains=1, pilot=0, attempts=1)
    with caplog.at_level(logging.WARNING):
        draws = sample.sample(
            lambda data: pyro.sample("x", dist.Normal(0 * data["at"], 1 + 0 * data["at"])),
            {"at": np.zeros(1)},
            name="silent",
            sampling=sampling,
            seed=1,
        )
    assert draws.z.shape == (1, 20, 1)
    assert "AssertionError" in caplog.text
