from __future__ import annotations

import pickle
import textwrap

import pytest
import torch

from bayesaffect.encoders import Builder, Output, build
from bayesaffect.errors import InputError
from bayesaffect.types import Target

TARGETS = (Target("valence", bounds=(1, 9)), Target("emotion", levels=tuple("abcd")))
SPEC = {
    "eeg": {"encoder": "eeg_raw", "shapes": {"raw": [8, 256], "maps": [5, 8, 2]}},
    "physio": {"encoder": "physio", "shapes": {"features": [7]}},
    "gaze": {"encoder": "of another laboratory", "shapes": {"track": [2, 30]}},
}

OWN = """
    import torch
    from torch import nn
    from bayesaffect.encoders import Heads, Output

    class Small(nn.Module):
        def __init__(self, modalities, sizes, targets, dropout):
            super().__init__()
            self.modalities = modalities
            self.hidden = nn.Sequential(nn.Linear(sum(sizes), 5), nn.Tanh(), nn.Dropout(dropout))
            self.heads = Heads(5, 0, targets)

        def forward(self, inputs, present):
            parts = [value.flatten(1) for m in self.modalities for value in inputs[m].values()]
            return self.heads(self.hidden(torch.cat(parts, 1)))

    def make(spec, modalities, targets, *, dropout, seed):
        sizes = [torch.Size(s).numel() for m in modalities for s in spec[m]["shapes"].values()]
        return Small(modalities, sizes, targets, dropout)

    def number(*given, **more):
        return 7

    def narrow(spec, modalities, targets, *, dropout, seed):
        return Small(modalities, [3], targets, dropout)

    class Wrong(Small):
        def forward(self, inputs, present):
            return self.change(super().forward(inputs, present))

    def wrong(change):
        def make(spec, modalities, targets, *, dropout, seed):
            made = Wrong(modalities, [7], targets, dropout)
            made.change = change
            return made
        return make

    bare = wrong(lambda output: output.embedding)
    nothing = wrong(lambda output: output._replace(mean={}))
    wide = wrong(lambda output: output._replace(mean={"valence": output.mean["valence"][:, None]}))
    few = wrong(lambda output: output._replace(logits={"emotion": output.logits["emotion"][:, :2]}))
    infinite = wrong(lambda output: output._replace(log_variance={"valence": output.mean["valence"] / 0}))
    flat = wrong(lambda output: output._replace(embedding=output.embedding[:, 0]))
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Name of a module that is importable in this test."""
    name = f"own_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(OWN))
    (tmp_path / "broken_by_design.py").write_text("import a_package_that_nobody_has")
    monkeypatch.syspath_prepend(tmp_path)
    return name


def made(place, modalities=("physio",), *, seed=0):
    name = modalities[0] if len(modalities) == 1 else "early"
    return Builder({name: place})(SPEC, modalities, TARGETS, dropout=0.3, seed=seed)


@pytest.mark.parametrize("modalities", [("physio",), ("gaze",), ("eeg", "physio", "gaze")])
def test_own_network_takes_the_place_of_ours(own, modalities):
    model = made(f"{own}:make", modalities).eval()
    inputs = {m: {n: torch.randn(4, *s) for n, s in SPEC[m]["shapes"].items()} for m in modalities}
    output = model(inputs, torch.ones(4, len(modalities), dtype=torch.bool))
    assert isinstance(output, Output) and output.embedding.shape == (4, 5)


def test_other_networks_are_ours(own):
    given = {"spec": SPEC, "modalities": ("physio",), "targets": TARGETS, "dropout": 0.3, "seed": 4}
    ours, same = build(**given), Builder({"eeg": f"{own}:make"})(**given)
    assert str(ours) == str(same)
    torch.testing.assert_close(ours.state_dict(), same.state_dict())


def test_seed_fixes_the_weights_and_leaves_the_generator(own):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one, same, other = (made(f"{own}:make", seed=s).state_dict()["hidden.0.weight"] for s in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert torch.equal(before, torch.get_rng_state())


def test_a_builder_travels_and_its_name_follows_the_code(own, tmp_path):
    builder = Builder({"physio": f"{own}:make", "early": f"{own}:make"})
    before = repr(builder)
    assert repr(pickle.loads(pickle.dumps(builder))) == before and own in before
    ours, theirs = builder.identity(("eeg",)), builder.identity(("physio",))
    assert ours == "bayesaffect.encoders.networks.build" and theirs in before
    assert theirs == builder.identity(("eeg", "physio"))
    (tmp_path / f"{own}.py").write_text(textwrap.dedent(OWN).replace("Tanh", "ReLU"))
    assert repr(builder) != before and builder.identity(("physio",)) != theirs
    assert builder.identity(("eeg",)) == ours
    assert repr(Builder()) == "Builder()"


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("make", "names no callable"),
        ("a_module_that_nobody_has:make", r"cannot be imported \(ModuleNotFoundError.*PYTHONPATH"),
        ("broken_by_design:make", r"broken_by_design.*a_package_that_nobody_has"),
        ("OWN:nobody", r"has no callable 'nobody'"),
        ("OWN:number", r"returned int, not a torch\.nn\.Module"),
        ("OWN:narrow", r"fails on 3 random trials with RuntimeError"),
        ("OWN:Output", r"fails with TypeError"),
        ("OWN:bare", r"is a Tensor, not a bayesaffect\.encoders\.Output"),
        ("OWN:nothing", r"has mean of \[\], not \['valence'\]"),
        ("OWN:wide", r"mean of valence that has the shape \(3, 1\), not \(3,\)"),
        ("OWN:few", r"logits of emotion that has the shape \(3, 2\), not \(3, 4\)"),
        ("OWN:infinite", r"log_variance of valence that is not finite"),
        ("OWN:flat", r"embedding that has the shape \(3,\), not \(3, feature\)"),
    ],
)
def test_what_does_not_fit_is_told_before_any_training(own, place, told):
    with pytest.raises(InputError, match=told) as caught:
        made(place.replace("OWN", own))
    assert "\n" not in str(caught.value)


def test_modality_that_does_not_exist_is_refused(own):
    with pytest.raises(InputError, match="voice"):
        made(f"{own}:make", ("voice",))


BRAINDECODE = """
    import torch
    from braindecode.models import EEGNet
    from torch import nn
    from bayesaffect.encoders import Heads

    class Wrapped(nn.Module):
        def __init__(self, shape, targets, dropout):
            super().__init__()
            self.body = EEGNet(n_chans=shape[0], n_times=shape[1], n_outputs=12, sfreq=128, drop_prob=dropout)
            self.heads = Heads(12, 0, targets)

        def forward(self, inputs, present):
            return self.heads(self.body(inputs["eeg"]["raw"]))

    def make(spec, modalities, targets, *, dropout, seed):
        return Wrapped(spec["eeg"]["shapes"]["raw"], targets, dropout)
"""


def test_braindecode_network_trains_on_raw_windows(tmp_path, monkeypatch):
    pytest.importorskip("braindecode")
    (tmp_path / "with_braindecode.py").write_text(textwrap.dedent(BRAINDECODE))
    monkeypatch.syspath_prepend(tmp_path)
    from bayesaffect.uncertainty import dropout
    from bayesaffect.uncertainty.data import Data
    from bayesaffect.uncertainty.training import Training, train

    def data(trials, seed):
        generator = torch.Generator().manual_seed(seed)
        valence = 2 * torch.rand(trials, generator=generator) - 1
        wave = torch.sin(6.2832 * 10 * torch.arange(256) / 128)
        raw = torch.randn(trials, 8, 256, generator=generator)
        raw[:, 3] += (3 + 3 * valence)[:, None] * wave
        inputs = {"eeg": {"raw": raw, "maps": torch.zeros(trials, 5, 8, 2)}}
        truth = {"valence": valence, "emotion": torch.full((trials,), -1)}
        return Data(inputs, torch.ones(trials, 1, dtype=torch.bool), truth, tuple(f"{seed}/{k}" for k in range(trials)))

    network = Builder({"eeg": "with_braindecode:make"})(SPEC, ("eeg",), TARGETS, dropout=0.25, seed=0)
    settings = Training(epochs=15, learning_rate=0.01, patience=15)
    history = train(network, data(96, 0), data(48, 1), settings=settings, seed=0)
    assert history["validation"].min() < history["validation"].iloc[0] - 0.2
    drawn = dropout.sample(network, data(10, 2), passes=3, seed=0)
    assert drawn["mean/valence"].shape == (3, 10) and drawn["mean/valence"].std(0).min() > 0
