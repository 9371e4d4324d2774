"""Data that nobody should have, and somebody has: an answer with honest uncertainty or one clear sentence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.fusion import (
    Model,
    Priors,
    Sampling,
    attempts,
    categorical,
    fit,
    predict,
    statistics,
    trial_weights,
    weights,
)
from bayesaffect.fusion.engine import capture, sample
from bayesaffect.fusion.ratings import likelihoods
from bayesaffect.simulate import OpinionModel, simulate_opinions
from bayesaffect.types import Opinions, Target

VALENCE, EMOTION = Target("valence", (1, 9)), Target("emotion", levels=("a", "b", "c"))


def table(target=VALENCE, *, subjects=5, trials=6, names=("x", "y", "z"), seed=0):
    shape = OpinionModel(missing=0.2)
    found, _ = simulate_opinions(
        subjects=subjects, trials=trials, modalities=list(names), targets=(target,), seed=seed, model=shape
    )
    return found


def changed(opinions: Opinions, *, present=None, mean=None, truth=None, log_prob=None, variance=None) -> Opinions:
    """The same table with other presence, values or truth; what is no longer present is blanked."""
    target = opinions.targets[0].name
    here = opinions.present if present is None else opinions.present.copy(data=present)
    out = {"present": here}
    for name, new in (("mean", mean), ("variance", variance), ("log_prob", log_prob)):
        if (array := getattr(opinions, name).get(target)) is not None:
            values = array.values if new is None else new
            seen = here.values.reshape(here.shape + (1,) * (values.ndim - 2))
            out[name] = {target: array.copy(data=np.where(seen, values, np.nan))}
    if truth is not None:
        out["truth"] = opinions.truth.assign({target: ("trial", truth)})
    return replace(opinions, **out)


def one_trial_subject(opinions):
    who = opinions.subject.values
    return opinions.select((who != "S002") | (np.arange(who.size) == np.flatnonzero(who == "S002")[0]))


def never_present(opinions):
    here = opinions.present.values.copy()
    here[:, 1] = False
    return changed(opinions, present=here)


def one_subject(opinions):
    return opinions.select(opinions.subject.values == "S003")


def duplicated_trials(opinions):
    """The same trials twice, under other names."""
    names = np.array([f"{t}-again" for t in opinions.present["trial"].values])
    return joined(opinions, renamed(opinions, names))


def renamed(opinions, names):
    def new(array):
        return array.assign_coords(trial=names)

    return replace(
        opinions,
        present=new(opinions.present),
        truth=new(opinions.truth),
        mean={n: new(a) for n, a in opinions.mean.items()},
        variance={n: new(a) for n, a in opinions.variance.items()},
        log_prob={n: new(a) for n, a in opinions.log_prob.items()},
    )


def joined(one, two):
    def both(a, b):
        return xr.concat([a, b], "trial")

    return replace(
        one,
        present=both(one.present, two.present),
        truth=both(one.truth, two.truth),
        mean={n: both(a, two.mean[n]) for n, a in one.mean.items()},
        variance={n: both(a, two.variance[n]) for n, a in one.variance.items()},
        log_prob={n: both(a, two.log_prob[n]) for n, a in one.log_prob.items()},
    )


def copied_modality(opinions):
    here = opinions.present.values.copy()
    here[:, 2] = here[:, 1]
    arrays = {}
    for name, group in (("mean", opinions.mean), ("variance", opinions.variance), ("log_prob", opinions.log_prob)):
        for array in group.values():
            arrays[name] = array.values.copy()
            arrays[name][:, 2] = arrays[name][:, 1]
    return changed(opinions, present=here, **arrays)


def rare_class(opinions):
    return changed(opinions, truth=np.where(opinions.truth["emotion"].values == 2, 0, opinions.truth["emotion"].values))


def constant_classes(opinions):
    """One modality that says 1 / K about everything."""
    p = opinions.log_prob["emotion"].values.copy()
    p[:, 0] = -np.log(3)
    return changed(opinions, log_prob=p)


def certain_classes(opinions):
    """One modality with probabilities of 0 and 1."""
    p = np.full(opinions.log_prob["emotion"].shape, np.log(1e-12))
    p[..., 1] = np.log(1 - 2e-12)
    p[:, 1:] = opinions.log_prob["emotion"].values[:, 1:]
    return changed(opinions, log_prob=p)


GENERAL = [one_trial_subject, never_present, one_subject, duplicated_trials]
CASES = [(c, VALENCE, likelihood) for c in GENERAL for likelihood in ("normal", "student")]
CASES += [(c, EMOTION, "normal") for c in [*GENERAL, copied_modality, rare_class, constant_classes, certain_classes]]


def not_sampled(model, data, *, seed, **_):
    """Draws around the origin; every one must have a finite density and gradient."""
    density = capture.capture(model, data)
    flat = density.pack(data)
    z = np.random.default_rng(seed).normal(0, 0.5, (1, 4, density.ndim))
    for point in z[0]:
        assert torch.isfinite(density.value_and_gradient(torch.as_tensor(point), flat)).all()
    return sample.Draws(z, density, {"diverging": np.zeros((1, 4), dtype=bool)})


@pytest.mark.parametrize(("spoil", "target", "likelihood"), CASES, ids=lambda c: getattr(c, "__name__", None))
def test_an_answer_is_given_and_finite(monkeypatch, spoil, target, likelihood):
    monkeypatch.setattr(attempts, "sample", not_sampled)
    opinions = spoil(table(target))
    posterior = fit(opinions, target.name, seed=1, model=Model(likelihood))
    assert all(np.isfinite(posterior["posterior"][n]).all() for n in posterior["posterior"].data_vars)
    assert np.isfinite(posterior["log_likelihood"][target.name]).all()
    for subjects in ("known", "population"):
        p = predict(posterior, opinions, target=target.name, seed=0, subjects=subjects)
        assert np.isfinite((p.mean or p.log_prob)[target.name]).all()
    assert np.isfinite(weights(posterior)["population"]).all()
    w = trial_weights(posterior, opinions)
    np.testing.assert_allclose(w.sum("modality"), 1)


def constant(opinions):
    return changed(opinions, mean=np.full(opinions.present.shape, 0.3))


def leak(opinions):
    x = opinions.mean["valence"].values.copy()
    x[:, 1] = 0.1 + 0.8 * opinions.truth["valence"].values
    return changed(opinions, mean=x)


def flat_truth(opinions):
    return changed(opinions, truth=np.full(opinions.present.sizes["trial"], 0.2))


def crowd(opinions):
    return table(names=[f"e{k}" for k in range(200)], subjects=2, trials=4)


SENTENCES = [
    (constant, "x says the same about 'valence'"),
    (leak, "y is an exact function of the truth"),
    (flat_truth, "the truth of 'valence' is the same"),
    (crowd, "200 modalities have 19900 error correlations"),
]


@pytest.mark.slow
def test_two_hundred_experts_on_classes_have_an_answer(monkeypatch):
    """Unlike a continuous target, where every pair of experts has a correlation: that is refused."""
    monkeypatch.setattr(attempts, "sample", not_sampled)
    opinions = table(EMOTION, names=[f"e{k}" for k in range(200)], subjects=4, trials=10)
    posterior = fit(opinions, "emotion", seed=1)
    assert np.isfinite(predict(posterior, opinions, target="emotion", seed=0).log_prob["emotion"]).all()
    np.testing.assert_allclose(weights(posterior)["population"].sum("modality"), 1)


@pytest.mark.parametrize("likelihood", ["normal", "student"])
@pytest.mark.parametrize(("spoil", "sentence"), SENTENCES, ids=lambda c: getattr(c, "__name__", None))
def test_what_has_no_answer_is_said_in_one_sentence(spoil, sentence, likelihood):
    with pytest.raises(InputError, match=sentence):
        fit(spoil(table()), "valence", seed=1, model=Model(likelihood))


def test_what_looks_degenerate_and_is_not_passes():
    """A truth that differs between subjects only, with one trial each, and a linear modality with no freedom left."""
    one = table(subjects=6, trials=1)
    where = statistics.index(one, "valence")
    assert likelihoods.data(one, "valence", where, Priors(), Model())["n_truth"].sum() == 6
    two = leak(table(subjects=3, trials=2))
    likelihoods.data(two, "valence", statistics.index(two, "valence"), Priors(), Model())


def test_many_patterns_in_many_subjects_do_not_fit_into_memory():
    names = [f"e{k}" for k in range(20)]
    opinions = table(subjects=150, trials=10, names=names)
    with pytest.raises(InputError, match="combinations of missing modalities in 150 subjects"):
        fit(opinions, "valence", seed=1)


def test_zero_variances_and_repeated_trials_are_refused_where_opinions_are_made():
    opinions = table()
    with pytest.raises(InputError, match="zero or negative"):
        replace(opinions, variance={"valence": opinions.variance["valence"] * 0})
    with pytest.raises(InputError, match="occurs 2 times"):
        joined(opinions, opinions)


@pytest.mark.slow
@pytest.mark.statistical
def test_a_nearly_copied_modality_hardly_narrows_the_posterior(tmp_path):
    """Errors of near copies correlate: sds of new people's truths shrink by less than 5 %, where independent evidence
    as good as the copy takes off more than twice as much."""
    shape = OpinionModel(tau=0.3)
    short = Sampling(draws=400, tune=400, chains=2, pilot=100, attempts=1)
    opinions, _ = simulate_opinions(
        subjects=15, trials=15, modalities=["x", "y", "z"], targets=(VALENCE,), seed=3, model=shape
    )
    sds = {}
    for name, table_ in (
        ("copy", nearly(copied_modality(opinions))),
        ("own", opinions),
        ("pair", without_third(opinions)),
    ):
        posterior = fit(table_, "valence", seed=1, sampling=short, cache=tmp_path)
        variance = predict(posterior, table_, target="valence", seed=0).moments("valence")[1]
        sds[name] = float(np.sqrt(variance).mean())
    assert sds["copy"] > 0.95 * sds["pair"]
    assert sds["own"] < 0.9 * sds["pair"]


def nearly(opinions):
    """The third modality with noise of its own, a third of the size of its errors."""
    x, v = opinions.mean["valence"].values.copy(), opinions.variance["valence"].values
    x[:, 2] += 0.45 * np.sqrt(v[:, 2]) * np.random.default_rng(8).standard_normal(len(x))
    return changed(opinions, mean=x)


def test_a_copied_modality_is_told():
    with pytest.raises(InputError, match="say the same about 'valence' on every trial"):
        fit(copied_modality(table()), "valence", seed=1)


def without_third(opinions):
    here = opinions.present.values.copy()
    here[:, 2] = False
    return changed(opinions, present=here)


def test_categorical_data_of_a_class_that_never_occurs_are_zero_not_missing():
    opinions = rare_class(table(EMOTION))
    data = categorical.data(
        statistics.categorical(opinions, "emotion", statistics.index(opinions, "emotion")), Priors()
    )
    assert all(np.isfinite(v).all() for v in data.values())
