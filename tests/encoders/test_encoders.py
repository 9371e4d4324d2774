from __future__ import annotations

import pytest
import torch

from bayesaffect.encoders import build
from bayesaffect.errors import InputError
from bayesaffect.types import Target

TARGETS = (Target("valence", bounds=(1, 9)), Target("emotion", levels=tuple("abcd")))
SPEC = {
    "eeg": {"encoder": "eeg", "shapes": {"maps": [5, 8, 30]}},
    "brain": {"encoder": "eeg_raw", "shapes": {"raw": [8, 256], "maps": [5, 8, 4]}},
    "face": {"encoder": "face", "shapes": {"crops": [40, 48, 48], "visible": [40], "units": [40, 3], "features": [6]}},
    "plain": {"encoder": "face", "shapes": {"crops": [12, 32, 32], "visible": [12]}},
    "physio": {"encoder": "physio", "shapes": {"series": [3, 240], "features": [7]}},
    "wrist": {"encoder": "physio", "shapes": {"features": [2]}},
}
ALL = tuple(SPEC)
NETWORKS = [*((m,) for m in SPEC), ALL]


def inputs(batch, *, seed=0):
    generator = torch.Generator().manual_seed(seed)
    made = {
        m: {name: torch.randn(batch, *shape, generator=generator) for name, shape in s["shapes"].items()}
        for m, s in SPEC.items()
    }
    for m in ("face", "plain"):
        for name, high in (("crops", 256), ("visible", 2)):
            shape = (batch, *SPEC[m]["shapes"][name])
            made[m][name] = torch.randint(0, high, shape, generator=generator).to(torch.uint8)
    made["face"]["units"] *= made["face"]["visible"][..., None]
    return made


def network(modalities, *, seed=0):
    made = build(SPEC, modalities, TARGETS, dropout=0.2, seed=seed).eval()
    generator = torch.Generator().manual_seed(1)
    for part in (made.heads.deep, made.heads.direct):
        if part is not None:
            torch.nn.init.normal_(part.weight, generator=generator)
    return made


def everyone(batch, modalities):
    return torch.ones(batch, len(modalities), dtype=torch.bool)


@pytest.mark.parametrize("modalities", NETWORKS)
def test_signature(modalities):
    output = network(modalities)(inputs(6), everyone(6, modalities))
    assert output.mean["valence"].shape == output.log_variance["valence"].shape == (6,)
    assert output.logits["emotion"].shape == (6, 4)
    assert output.embedding.shape == (6, 16 if len(modalities) == 1 else 24)
    assert torch.isfinite(output.embedding).all() and output.embedding.std(0).max() > 0


@pytest.mark.parametrize("modalities", NETWORKS)
def test_outputs_are_read_off_the_embedding_and_the_direct_input(modalities):
    model, present = network(modalities), everyone(5, modalities)
    block = model.prepare(inputs(5))
    output = model(block, present)
    if len(modalities) > 1:
        direct = model._summary(block, present)
    else:
        direct = model.stem.summary(block[modalities[0]]) if model.stem.direct else None
    torch.testing.assert_close(model.heads(output.embedding, direct), output)
    without = model.heads(torch.zeros_like(output.embedding), direct)
    assert not torch.allclose(without.mean["valence"], output.mean["valence"])


@pytest.mark.parametrize("modalities", NETWORKS)
def test_preparing_twice_changes_nothing(modalities):
    model, raw, present = network(modalities), inputs(4), everyone(4, modalities)
    once = model.prepare(raw)
    torch.testing.assert_close(model(once, present).embedding, model(raw, present).embedding)
    torch.testing.assert_close(model(model.prepare(once), present).embedding, model(raw, present).embedding)


@pytest.mark.parametrize("hidden", range(len(ALL)))
def test_a_missing_modality_is_not_looked_at(hidden):
    model, one, other = network(ALL), inputs(5), inputs(5)
    name = ALL[hidden]
    other[name] = {k: torch.ones_like(v) for k, v in other[name].items()}
    present = everyone(5, ALL)
    assert not torch.equal(model(one, present).mean["valence"], model(other, present).mean["valence"])
    present[:, hidden] = False
    torch.testing.assert_close(model(one, present), model(other, present))


@pytest.mark.parametrize("modalities", NETWORKS)
def test_a_missing_trial_does_not_count_in_calibration(modalities):
    one, other, present = inputs(12), inputs(12), everyone(12, modalities)
    truth = {"valence": torch.linspace(-1, 1, 12), "emotion": torch.arange(12) % 4}
    place, gone = (len(modalities) - 1) // 2, slice(3, 6)
    present[gone, place] = False
    for value in other[modalities[place]].values():
        value[gone] = 1
    first, second = network(modalities), network(modalities)
    for model, data in ((first, one), (second, other)):
        model.calibrate(model.prepare(data), present, truth)
    torch.testing.assert_close(first.state_dict(), second.state_dict())
    assert not torch.equal(first.heads.deep.bias, network(modalities).heads.deep.bias)


@pytest.mark.parametrize("modalities", NETWORKS)
def test_gradient_reaches_every_parameter(modalities):
    model, present = network(modalities), everyone(6, modalities)
    if len(modalities) > 1:  # learned stand-ins are read where something is missing
        present = torch.arange(6)[:, None] != torch.arange(len(modalities))
    output = model(inputs(6), present)
    parts = [output.mean["valence"], output.log_variance["valence"], output.logits["emotion"].square().sum(1)]
    sum(part.sum() for part in parts).backward()
    used = {name for name, p in model.named_parameters() if p.grad is not None and (p.grad != 0).any()}
    without = {name for name, p in model.named_parameters() if p.numel()} - used
    # alone, physiology has no gaps to fill
    expected = {"stem.missing_signal", "stem.missing_feature"} if len(modalities) == 1 else set()
    assert without <= expected


@pytest.mark.parametrize("name", ["face", "plain"])
def test_invisible_frames_do_not_count(name):
    model, one, other = network((name,)), inputs(3), inputs(3)
    for value in (v for k, v in other[name].items() if k in ("crops", "units")):
        value[one[name]["visible"] == 0] = 7
    present = everyone(3, (name,))
    torch.testing.assert_close(model(one, present), model(other, present))


def test_a_face_that_was_never_seen_is_finite():
    blank = inputs(2)
    blank["face"] = {k: torch.zeros_like(v) for k, v in blank["face"].items()}
    output = network(("face",))(blank, everyone(2, ("face",)))
    assert torch.isfinite(output.mean["valence"]).all() and torch.isfinite(output.embedding).all()


def test_order_of_units_in_time_counts():
    model, one, other = network(("face",)), inputs(3), inputs(3)
    one["face"]["visible"][:], other["face"]["visible"][:] = 1, 1
    other["face"]["units"] = other["face"]["units"][:, torch.randperm(40, generator=torch.Generator().manual_seed(0))]
    present = everyone(3, ("face",))
    assert not torch.allclose(model(one, present).embedding, model(other, present).embedding, atol=1e-4)


@pytest.mark.parametrize("modalities", NETWORKS)
def test_seed_fixes_the_weights_and_leaves_the_generator(modalities):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one, same, other = (build(SPEC, modalities, TARGETS, dropout=0.1, seed=s).state_dict() for s in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)
    assert torch.equal(before, torch.get_rng_state())


def test_modality_dropout_only_in_training():
    model, some, present = network(ALL), inputs(4), everyone(4, ALL)
    assert torch.equal(model(some, present).embedding, model(some, present).embedding)
    torch.manual_seed(0)
    hidden = torch.stack([model._hide(everyone(50, ALL)) for _ in range(40)])
    assert abs(1 - hidden.float().mean().item() - model.absence) < 0.02 and hidden.any(-1).all()


@pytest.mark.parametrize(("spec", "modalities"), [(SPEC, ("voice",)), (SPEC, ()), ({"a": {"encoder": "x"}}, ("a",))])
def test_what_cannot_be_built_is_refused(spec, modalities):
    with pytest.raises(InputError):
        build(spec, modalities, TARGETS, dropout=0.1, seed=0)


def test_a_modality_that_no_training_trial_has_is_calibrated_all_the_same():
    model, present = network(ALL), everyone(6, ALL)
    present[:, 1] = False
    truth = {"valence": torch.linspace(-1, 1, 6), "emotion": torch.arange(6) % 4}
    model.calibrate(model.prepare(inputs(6)), present, truth)
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())
