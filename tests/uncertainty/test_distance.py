from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import t as student

from bayesaffect.encoders import build
from bayesaffect.types import Target
from bayesaffect.uncertainty import data, distance

CHANGE = (251 + 241) / 2  # of a picture of 4 and 14 to one of 255
SPEC = {"encoder": "physio", "shapes": {"series": [2, 40], "features": [4]}}
TARGETS = (Target("valence", bounds=(1.0, 9.0)), Target("mood", levels=("low", "middle", "high")))


@pytest.fixture(scope="module")
def known(trials):
    """Network, its data and what the method learns from it."""
    some = data.from_trials(trials)
    network = build(data.describe(trials), ("physio", "wrist"), trials.targets, dropout=0.4, seed=0)
    network.calibrate(some.inputs, some.present, some.truth)
    return network.eval(), some, distance.fit(network, some)


def changed(some: data.Data, modality: str, change) -> data.Data:
    block = {name: change(value) for name, value in some.inputs[modality].items()}
    return replace(some, inputs={**some.inputs, modality: block})


def test_description_of_a_course():
    course = torch.tensor([[[0.0, 2.0, 0.0, 2.0], [1.0, 1.0, 1.0, 1.0]]])
    found = distance.describe({"series": course})["series"]
    expected = [1.0, 1.0, np.log(1.01), np.log(0.01), np.log(2.01), np.log(0.01)]
    np.testing.assert_allclose(found[0], expected, rtol=1e-6)


def test_what_is_known_not_to_be_there_does_not_count():
    course = torch.randn(50, 3, 40, generator=torch.Generator().manual_seed(0))
    course[0, 1], course[1] = 0, 0
    columns = distance.describe({"series": course})["series"]
    assert torch.isnan(columns[0, 1::3]).all() and torch.isfinite(columns[0, [0, 2]]).all()
    assert torch.isfinite(columns[1:]).all()  # all entries 0: nobody has said that
    learnt = distance.learn(columns[2:])
    apart = distance.squared(columns, learnt)
    assert apart[0] < 3 and apart[1] > 10
    flag = torch.cat([columns[2:], torch.ones(48, 1)], dim=1)
    assert torch.isinf(distance.learn(flag)["scale"][-1])
    changed = flag.clone()
    changed[:, -1] = 0
    torch.testing.assert_close(distance.squared(changed, distance.learn(flag)), apart[2:])


def test_description_of_pictures_sees_frames_with_a_face_only():
    crops = torch.zeros(1, 3, 2, 2, dtype=torch.uint8)
    crops[0, :2, :, 1] = 10
    crops[0, 2] = 255
    found = distance.describe({"crops": crops, "visible": torch.tensor([[1, 1, 0]], dtype=torch.uint8)})["crops"]
    contrast = torch.tensor([0.0, 10.0, 0.0, 10.0]).std().item()
    np.testing.assert_allclose(found[0], [np.log(contrast + 1), np.log(11), 0, 0], rtol=1e-6)
    moving = crops.clone()
    moving[0, 1] += 4
    again = distance.describe({"crops": moving, "visible": torch.ones(1, 3)})["crops"]
    np.testing.assert_allclose(again[0, 2], np.log((4 + CHANGE) / 2 + 1), rtol=1e-6)
    np.testing.assert_allclose(again[0, 3], np.log(4 + 0.25 * (CHANGE - 4) + 1), rtol=1e-6)


def test_squared_distance_is_that_of_the_shrunk_covariance():
    generator = torch.Generator().manual_seed(0)
    columns = torch.randn(60, 5, generator=generator).double() @ torch.randn(5, 5, generator=generator).double()
    learnt = distance.learn(columns)
    z = (columns - columns.mean(0)) / columns.std(0, correction=0)
    covariance = learnt["basis"] @ torch.diag(learnt["values"]) @ learnt["basis"].T
    exact = (z @ covariance.inverse() * z).sum(1) / 5
    torch.testing.assert_close(distance.squared(columns, learnt), exact)
    assert float(covariance.diagonal().mean()) == pytest.approx(1)  # shrinking keeps the trace


def test_probability_by_hand_and_towards_both_ends():
    found = distance.probability(torch.tensor([1.0, 2.5, 9.0]).double(), 1.0, 0.5, 9)
    usual = 0.99 * 20 * student.pdf(3.0, 8)
    assert float(found[1]) == pytest.approx(0.01 / (0.01 + usual))
    assert found[0] < 0.003 and found[2] > 0.9
    assert distance.probability(torch.tensor([-9.0]), 1.0, 0.5, 9) == pytest.approx(float(found[0]))


def test_new_subjects_are_usual_and_flat_or_noisy_inputs_are_not(known, maker):
    _, _, state = known
    other = data.from_trials(maker(seed=5))
    usual = distance.foreign(state, other)
    assert usual[other.present].quantile(0.9) < 0.02
    generator = torch.Generator().manual_seed(0)
    noisy = changed(other, "physio", lambda v: v + 3 * torch.randn(v.shape, generator=generator))
    flat = changed(other, "physio", lambda v: v if v.ndim == 2 else v.mean(-1, keepdim=True).expand_as(v))
    for strange in (noisy, flat):
        found = distance.foreign(state, strange)
        assert found[:, 0].median() > 0.3 and torch.equal(found[:, 1], usual[:, 1])


def test_missing_modalities_are_not_foreign(known):
    _, some, state = known
    assert (distance.foreign(state, some)[~some.present] == 0).all()


def test_a_wholly_foreign_trial_gets_the_prior(known, monkeypatch):
    network, some, state = known
    monkeypatch.setattr(distance, "foreign", lambda state, data: data.present.double())
    draws = distance.sample(network, state, some, passes=8, seed=0)
    mean, sd = state["prior/valence"].tolist()
    np.testing.assert_allclose(draws["mean/valence"].mean(0), mean, atol=1e-6)
    np.testing.assert_allclose(draws["mean/valence"].var(0, correction=0), sd**2, rtol=1e-5)
    share = draws["log_prob/mood"].exp().mean((0, 1))
    torch.testing.assert_close(share, state["prior/mood"].exp(), atol=0.05, rtol=0)


def test_half_a_doubt_is_half_the_pull(known, monkeypatch):
    _, some, state = known
    some = some.rows(np.flatnonzero(some.present.all(1).numpy())).only(("physio",))
    monkeypatch.setattr(distance, "foreign", lambda state, data: torch.zeros(data.present.shape).double())
    one = build({"physio": SPEC}, ("physio",), TARGETS, dropout=0.4, seed=0)
    plain = distance.sample(one, state, some, passes=8, seed=0)
    monkeypatch.setattr(distance, "foreign", lambda state, data: torch.full(data.present.shape, 0.5).double())
    pulled = distance.sample(one, state, some, passes=8, seed=0)
    expected = 0.5 * plain["mean/valence"].mean(0) + 0.5 * state["prior/valence"][0]
    torch.testing.assert_close(pulled["mean/valence"].mean(0), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(pulled["variance/valence"], plain["variance/valence"])


def test_one_foreign_modality_leaves_the_joint_network_the_other(known):
    network, some, state = known
    rows = np.flatnonzero(some.present.all(1).numpy())
    strange, blind = changed(some, "physio", lambda v: 40 + 0 * v).rows(rows), some.rows(rows)
    blind = replace(blind, present=blind.present & torch.tensor([False, True]))
    assert (distance.foreign(state, strange)[:, 0] > 0.95).all()
    drawn, without = (
        distance.sample(network, state, some, passes=30, seed=0)["mean/valence"].mean(0) for some in (strange, blind)
    )
    plain = network(strange.inputs, strange.present).mean["valence"].detach()
    assert float((drawn - without).abs().mean()) < 0.2 * float((plain - without).abs().mean())


def test_with_two_subjects_nothing_can_be_called_foreign(maker):
    some = data.from_trials(maker(subjects=2))
    network = build(data.describe(maker(subjects=2)), ("physio",), maker(subjects=2).targets, dropout=0.4, seed=0)
    state = distance.fit(network, some.only(("physio",)))
    assert (distance.foreign(state, changed(some.only(("physio",)), "physio", lambda v: v + 40)) == 0).all()


def test_quantiles_are_standard_over_passes():
    found = distance.quantiles((7, 50), torch.Generator().manual_seed(0))
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(found.var(0, correction=0), 1)
    assert found.std(1).min() > 0.5  # in another order for every trial
    assert distance.quantiles((1, 2000), torch.Generator().manual_seed(0)).var() == pytest.approx(1, abs=0.2)
