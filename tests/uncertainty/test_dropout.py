from __future__ import annotations

import torch

from bayesaffect.encoders import build
from bayesaffect.uncertainty import data
from bayesaffect.uncertainty.dropout import active, sample


def make(trials):
    network = build(data.describe(trials), ("physio",), trials.targets, dropout=0.4, seed=0)
    torch.nn.init.ones_(network.heads.deep.weight)
    return network, data.from_trials(trials).only(("physio",))


def test_passes_differ_and_a_seed_repeats_them(small):
    network, some = make(small)
    one, two = (sample(network, some, passes=3, seed=4) for _ in range(2))
    assert torch.equal(one["mean/valence"], two["mean/valence"])
    assert one["mean/valence"].std(0).min() > 0
    assert one["log_prob/mood"].shape == (3, len(some), 3) and one["embedding"].shape[0] == len(some)


def test_one_pass_is_the_network_itself(small):
    network, some = make(small)
    drawn = sample(network, some, passes=1, seed=4)["mean/valence"][0]
    torch.testing.assert_close(drawn, network.eval()(some.inputs, some.present).mean["valence"])


def test_active_switches_dropout_alone_and_switches_back(small):
    network, _ = make(small)
    network.train()
    with active(network):
        assert network.stem.outer.training and not network.stem.training
    assert all(module.training for module in network.modules())


def test_data_survives_its_file(small, tmp_path):
    everything = data.from_trials(small)
    back = data.load(data.save(everything, tmp_path / "inputs.safetensors"), ("wrist", "physio"))
    assert data.fingerprint(back) == data.fingerprint(everything.only(("wrist", "physio")))
    assert data.fingerprint(back) != data.fingerprint(everything.only(("physio", "wrist")))
