from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm, truncnorm

from bayesaffect.errors import InputError
from bayesaffect.fusion import criticise, idata
from bayesaffect.fusion.checks.criticism import _within, tail
from bayesaffect.fusion.checks.discrepancies import of_classes, of_errors
from bayesaffect.simulate import OpinionModel, simulate_opinions
from bayesaffect.types import Target

VALENCE, EMOTION = Target("valence", (1, 9)), Target("emotion", levels=("a", "b", "c"))
SUBJECTS, TRIALS, NAMES = 12, 25, ["voice", "face"]


def world(target, seed, **change):
    shape = OpinionModel(missing=0.1, tau=0.2, **change)
    return simulate_opinions(
        subjects=SUBJECTS, trials=TRIALS, modalities=NAMES, targets=(target,), seed=seed, model=shape
    )


def at_the_truth(target, known, **extra):
    """A posterior that sits on the parameters of the simulation, as if endless data had been seen."""
    t = known.sel(target=target.name)
    values = {"rho": t["rho"].values, "sd_rho": t["rho_sd"].values}
    if target.kind == "continuous":
        kappa, r = t["kappa"].values, known["correlation"].sel(target=target.name).values
        values |= {"mu": t["mu"].values, "sd_delta": t["delta_sd"].values, "tau": t["tau"].values}
        values |= {"a": t["intercept"].values, "b": t["gain"].values, "omega": t["offset_sd"].values}
        values |= {"log_kappa": np.log(kappa), "correlation": r, "u": t["offset"].values, "delta": t["delta"].values}
    else:
        k, m = len(target.levels), len(NAMES)
        values |= {"w": t["weight"].values, "sd_delta": np.array(0.4), "matrix": np.tile(np.eye(k), (m, 1, 1))}
        values |= {"alpha": known[f"alpha_{target.name}"].values, "delta": known[f"delta_{target.name}"].values}
        values |= {"alpha_missing": np.zeros((m, k))}
    values = {name: np.broadcast_to(v, (1, 4, *np.shape(v))) for name, v in (values | extra).items()}
    dims = {name: ["modality"] for name in ("a", "b", "omega", "log_kappa", "sd_rho", "w")}
    dims |= {"u": ["subject", "modality"], "rho": ["subject", "modality"]}
    coords = {"modality": NAMES, "subject": [f"S{i + 1:03d}" for i in range(SUBJECTS)]}
    attrs = {"target": {"name": target.name, "bounds": target.bounds, "levels": target.levels}, "kind": target.kind}
    groups = {"posterior": values, "constant_data": {"n_used": np.full(SUBJECTS, TRIALS)}}
    return idata.build(groups, coords=coords, dims=dims | {"n_used": ["subject"]}, attrs=attrs)


@pytest.mark.parametrize("target", [VALENCE, EMOTION], ids=lambda t: t.name)
def test_data_that_the_model_made_are_not_flagged(target):
    """Six worlds at a false-alarm rate of at most 0.05 each: more than two would happen once in 450 times."""
    alarms = 0
    for seed in range(6):
        opinions, known = world(target, seed)
        alarms += not criticise(at_the_truth(target, known), opinions, seed=seed, draws=200).passed
    assert alarms <= 2


def wrong(name, opinions, seed=0):
    """The same opinions, spoilt."""
    rng = np.random.default_rng(seed)
    x = opinions.mean["valence"].copy(deep=True)
    y = opinions.truth["valence"].values
    who = np.unique(opinions.subject.values, return_inverse=True)[1]
    if name == "kurtosis":
        x.values[:, 0] += 0.3 * rng.standard_t(2, y.size)
    elif name == "scales":
        x.values[:, 0] += rng.normal(size=y.size) * np.where(who % 2, 0.9, 0.0)
    elif name == "offsets":
        x.values[:, 0] += rng.normal(0, 0.5, SUBJECTS)[who]
    elif name == "bend":
        x.values[:, 0] += 6 * (y - y.mean()) ** 2
    elif name == "correlations":
        x.values += 0.4 * rng.normal(size=(y.size, 1))
    elif name == "mean square":
        x.values[:, 0] = x.values[:, 0] * 2 - y
    return replace(opinions, mean={"valence": x})


@pytest.mark.parametrize("name", ["kurtosis", "scales", "offsets", "bend", "correlations", "mean square"])
def test_a_planted_misfit_is_named(name):
    opinions, known = world(VALENCE, 3)
    found = criticise(at_the_truth(VALENCE, known), wrong(name, opinions), seed=0, draws=400)
    row = found.table.set_index(["of", "check"]).loc["all" if name == "correlations" else "voice", name]
    assert row["flagged"] and row["p"] < 0.01
    assert any(name in s and s.endswith(".") for s in found.sentences)


@pytest.mark.parametrize("name", ["scales", "kurtosis", "coverage90"])
def test_a_truth_unlike_the_models_is_named(name):
    opinions, known = world(VALENCE, 3)
    rng = np.random.default_rng(0)
    y, who = opinions.truth["valence"], np.unique(opinions.subject.values, return_inverse=True)[1]
    if name == "coverage90":
        known = known.assign(kappa=known["kappa"] / 3)
    else:
        factor = np.where(who % 2, 0.2, 1.8) if name == "scales" else np.where(rng.random(y.size) < 0.05, 5, 0.7)
        opinions = replace(opinions, truth=opinions.truth.assign(valence=("trial", (y.values * factor).clip(-1, 1))))
    found = criticise(at_the_truth(VALENCE, known), opinions, seed=0, draws=400)
    row = found.table.set_index(["of", "check"]).loc["fused" if name == "coverage90" else "truth", name]
    assert row["flagged"]


def test_wrong_class_probabilities_are_named():
    opinions, known = world(EMOTION, 3)
    sharp = known.assign(weight=known["weight"] * 3)
    found = criticise(at_the_truth(EMOTION, sharp), opinions, seed=0, draws=400)
    assert {"confidence", "accuracy"} & set(found.table["check"][found.table["flagged"]])
    own = known.assign(delta_emotion=known["delta_emotion"] + np.random.default_rng(1).normal(0, 2, (SUBJECTS, 3)))
    found = criticise(at_the_truth(EMOTION, own), opinions, seed=0, draws=400)
    assert "classes by subject" in set(found.table["check"][found.table["flagged"]])


def test_discrepancies_are_what_their_formulas_say():
    rng = np.random.default_rng(2)
    e, z, y = rng.normal(size=(40, 3)) + 0.3, rng.normal(size=40), rng.normal(size=40)
    who = np.repeat([0, 1, 2, 3], 10)
    r = np.array([[1, 0.2], [0.2, 1]])
    found = of_errors(e, z, y, r, who, ["a", "b", "truth"])
    one = e[:, 0]
    per = one.reshape(4, 10)
    assert found["a", "mean square"] == pytest.approx((one**2).mean())
    assert found["a", "offsets"] == pytest.approx((10 * per.mean(1) ** 2).sum())
    ratio = (per**2).mean(1) / (one**2).mean()
    assert found["a", "scales"] == pytest.approx((10 * np.log(ratio) ** 2).sum())
    assert found["a", "skewness"] == pytest.approx((one**3).mean() / (one**2).mean() ** 1.5)
    assert found["a", "kurtosis"] == pytest.approx((one**4).mean() / (one**2).mean() ** 2)
    assert found["a", "largest"] == np.abs(one).max()
    assert found["all", "correlations"] == pytest.approx(
        ((e[:, 0] @ e[:, 1]) / np.sqrt((e[:, 0] ** 2).sum() * (e[:, 1] ** 2).sum()) - 0.2) ** 2
    )
    assert found["fused", "coverage90"] == (np.abs(z) < norm.ppf(0.95)).mean()
    p = rng.dirichlet(np.ones(3), 40)
    found = of_classes(p, np.arange(40) % 3, who)
    expected = p.sum(0)
    assert found["all", "classes"] == pytest.approx(((np.array([14, 13, 13]) - expected) ** 2 / expected).sum())
    assert found["all", "log score"] == pytest.approx(-np.log(p[np.arange(40), np.arange(40) % 3]).mean())


def test_tail_counts_and_goes_on_as_a_normal_where_nothing_is_left_to_count():
    d = np.random.default_rng(0).normal(1, 1, 1000)
    assert tail(d) == (d > 0).mean()
    assert tail(d - 9) == pytest.approx(norm.sf((9 - d.mean()) / d.std()), rel=1e-6)
    assert tail(d + 9) == pytest.approx(1 - norm.sf((9 + d.mean()) / d.std()), abs=1e-12)
    assert tail(np.zeros(5)) == 0.5


def test_latent_truths_are_drawn_inside_their_level():
    cut = np.array([-0.5, 0.5])
    z = _within(np.full(4000, 0.2), np.full(4000, 0.4), cut, np.full(4000, 2), np.random.default_rng(0))
    expected = truncnorm((0.5 - 0.2) / 0.4, np.inf, 0.2, 0.4)
    assert (z > 0.5).all() and z.mean() == pytest.approx(expected.mean(), abs=5 * expected.std() / 63)


def test_strangers_are_refused():
    opinions, known = world(VALENCE, 0)
    posterior = at_the_truth(VALENCE, known)
    three = simulate_opinions(subjects=2, trials=2, modalities=["a", "b", "c"], targets=(VALENCE,), seed=0)[0]
    with pytest.raises(InputError, match="modalities"):
        criticise(posterior, three, seed=0)
    strangers = opinions.subject.copy(data=np.array([f"X{s}" for s in opinions.subject.values]))
    with pytest.raises(InputError, match="no trial with truth"):
        criticise(posterior, replace(opinions, present=opinions.present.assign_coords(subject=strangers)), seed=0)
