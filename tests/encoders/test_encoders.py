from __future__ import annotations

import pytest
import torch

from bayesaffect.encoders import build
from bayesaffect.encoders.heads import Heads, Standardise, leave_one_out
from bayesaffect.errors import InputError
from bayesaffect.types import Target

TARGETS = (Target("valence", bounds=(1, 9)), Target("emotion", levels=tuple("abcd")))
SPEC = {
    "eeg": {"encoder": "eeg", "shapes": {"maps": [5, 8, 30]}},
    "face": {"encoder": "face", "shapes": {"crops": [40, 48, 48], "visible": [40], "features": [6]}},
    "physio": {"encoder": "physio", "shapes": {"series": [3, 240], "features": [7]}},
    "wrist": {"encoder": "physio", "shapes": {"features": [2]}},
}
ALL = tuple(SPEC)


def inputs(batch, *, seed=0):
    generator = torch.Generator().manual_seed(seed)
    made = {
        m: {name: torch.randn(batch, *shape, generator=generator) for name, shape in s["shapes"].items()}
        for m, s in SPEC.items()
    }
    made["face"]["crops"] = torch.randint(0, 256, (batch, 40, 48, 48), generator=generator).to(torch.uint8)
    made["face"]["visible"] = (torch.rand(batch, 40, generator=generator) > 0.3).float()
    return made


def network(modalities, *, seed=0):
    made = build(SPEC, modalities, TARGETS, dropout=0.2, seed=seed).eval()
    torch.nn.init.normal_(made.heads.deep.weight, generator=torch.Generator().manual_seed(1))
    return made


@pytest.mark.parametrize("modalities", [*((m,) for m in SPEC), ALL])
def test_signature(modalities):
    output = network(modalities)(inputs(6), torch.ones(6, len(modalities), dtype=torch.bool))
    assert output.embedding.ndim == 2 and output.embedding.shape[0] == 6
    assert output.mean["valence"].shape == output.log_variance["valence"].shape == (6,)
    assert output.logits["emotion"].shape == (6, 4)
    assert output.embedding.std(0).max() > 0


@pytest.mark.parametrize("modalities", [*((m,) for m in SPEC), ALL])
def test_preparing_twice_changes_nothing(modalities):
    model, raw, present = network(modalities), inputs(4), torch.ones(4, len(modalities), dtype=torch.bool)
    once = model.prepare(raw)
    torch.testing.assert_close(model(once, present).embedding, model(raw, present).embedding)
    torch.testing.assert_close(model(model.prepare(once), present).embedding, model(raw, present).embedding)


@pytest.mark.parametrize("hidden", range(4))
def test_a_missing_modality_is_not_looked_at(hidden):
    model, one, other = network(ALL), inputs(5), inputs(5)
    name = ALL[hidden]
    other[name] = {k: torch.zeros_like(v) for k, v in other[name].items()}
    present = torch.ones(5, 4, dtype=torch.bool)
    assert not torch.equal(model(one, present).mean["valence"], model(other, present).mean["valence"])
    present[:, hidden] = False
    torch.testing.assert_close(model(one, present), model(other, present))


def test_invisible_frames_do_not_count():
    model, one, other = network(("face",)), inputs(3), inputs(3)
    other["face"]["crops"][one["face"]["visible"] == 0] = 7
    present = torch.ones(3, 1, dtype=torch.bool)
    torch.testing.assert_close(model(one, present), model(other, present))


def test_a_face_that_was_never_seen_is_finite():
    blank = inputs(2)
    blank["face"] = {k: torch.zeros_like(v) for k, v in blank["face"].items()}
    output = network(("face",))(blank, torch.ones(2, 1, dtype=torch.bool))
    assert torch.isfinite(output.mean["valence"]).all() and torch.isfinite(output.embedding).all()


def test_seed_fixes_the_weights_and_leaves_the_generator():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one, same, other = (build(SPEC, ("eeg",), TARGETS, dropout=0.1, seed=s).stem.out.weight for s in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert torch.equal(before, torch.get_rng_state())


def test_modality_dropout_only_in_training():
    model, some, present = network(ALL), inputs(4), torch.ones(4, 4, dtype=torch.bool)
    assert torch.equal(model(some, present).embedding, model(some, present).embedding)
    torch.manual_seed(0)
    hidden = torch.stack([model._hide(torch.ones(50, 4, dtype=torch.bool)) for _ in range(40)])
    assert abs(1 - hidden.float().mean().item() - model.absence) < 0.02 and hidden.any(-1).all()


def test_heads_start_at_the_regression_on_the_direct_input():
    generator = torch.Generator().manual_seed(0)
    direct = torch.randn(500, 3, generator=generator)
    valence = 0.3 * direct[:, 0] - 0.2 * direct[:, 1] + 0.1 + 0.05 * torch.randn(500, generator=generator)
    truth = {"valence": valence, "emotion": (direct[:, 2] > 0).long() * 3}
    heads = Heads(4, 3, TARGETS)
    heads.calibrate(truth, direct)
    output = heads(torch.zeros(500, 4), direct)
    centred = direct - direct.mean(0)
    ridge = torch.linalg.solve(centred.T @ centred / 500 + 0.1 * torch.eye(3), centred.T @ valence / 500)
    torch.testing.assert_close(heads.direct.weight[0].detach(), ridge, atol=1e-4, rtol=1e-4)
    assert (output.logits["emotion"].argmax(1) == truth["emotion"]).float().mean() > 0.95
    left = leave_one_out(direct, valence[:, None], [0.1]).square().mean().log()
    torch.testing.assert_close(output.log_variance["valence"], left.expand(500), atol=1e-3, rtol=1e-3)


def test_leave_one_out_equals_refitting():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(12, 20, generator=generator).double(), torch.randn(12, 2, generator=generator).double()
    found = leave_one_out(x, y, [0.7])[0]
    for i in (0, 7):
        keep = torch.arange(12) != i
        middle, centre = x[keep].mean(0), y[keep].mean(0)
        gram = (x[keep] - middle).T @ (x[keep] - middle) + 12 * 0.7 * torch.eye(20).double()
        weight = torch.linalg.solve(gram, (x[keep] - middle).T @ (y[keep] - centre))
        torch.testing.assert_close(found[i], y[i] - centre - (x[i] - middle) @ weight)


def test_more_features_than_trials_fall_back_to_the_prior():
    generator = torch.Generator().manual_seed(0)
    heads = Heads(4, 80, TARGETS)
    truth = {
        "valence": torch.randn(40, generator=generator),
        "emotion": torch.randint(0, 4, (40,), generator=generator),
    }
    heads.calibrate(truth, torch.randn(40, 80, generator=generator))
    output = heads(torch.zeros(40, 4), torch.randn(40, 80, generator=generator))
    assert output.mean["valence"].std() < 0.35
    assert abs(output.log_variance["valence"].exp().mean() - 1) < 0.5


def test_log_variance_is_bounded():
    heads = Heads(2, 0, TARGETS[:1])
    torch.nn.init.constant_(heads.deep.weight, 100.0)
    far = heads(torch.tensor([[1.0, 1.0], [-1.0, -1.0]])).log_variance["valence"]
    torch.testing.assert_close(far, heads.centre + torch.tensor([3.0, -3.0]))


def test_standardise_uses_the_marked_entries_only():
    x = torch.tensor([[1.0, 5.0], [3.0, 7.0], [999.0, 9.0]])
    layer = Standardise((2,))
    layer.calibrate(x, torch.tensor([[True, True], [True, True], [False, True]]))
    torch.testing.assert_close(layer.location, torch.tensor([2.0, 7.0]))
    torch.testing.assert_close(layer.scale, torch.tensor([1.0, (8 / 3) ** 0.5]))
    assert layer(x)[2, 0] == layer.limit


@pytest.mark.parametrize(("spec", "modalities"), [(SPEC, ("voice",)), (SPEC, ()), ({"a": {"encoder": "x"}}, ("a",))])
def test_what_cannot_be_built_is_refused(spec, modalities):
    with pytest.raises(InputError):
        build(spec, modalities, TARGETS, dropout=0.1, seed=0)
