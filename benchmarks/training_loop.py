"""Time of an epoch: the loop with its checkpoints against the shortest loop that takes the same steps."""

from __future__ import annotations

import copy
import math
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
import training_study as study
from pairs import Row, costs, fact
from torch import nn
from torch.nn import functional

from bayesaffect.encoders import build
from bayesaffect.uncertainty.data import Data
from bayesaffect.uncertainty.training import STEPS, Training, derived_seed, train

EPOCHS, SUBJECTS, VALIDATION = 20, 22, 5
SETTINGS = Training(epochs=EPOCHS, patience=EPOCHS)


def rows(repeats: int) -> Iterator[Row]:
    """All four networks, 22 subjects x 20 trials to learn from and 5 x 20 to validate on, a checkpoint per epoch."""
    torch.set_num_threads(1)
    trials = study.make(SUBJECTS + VALIDATION)
    home = Path(tempfile.mkdtemp(prefix="bayesaffect-"))
    try:
        for name, modalities in study.NETWORKS.items():
            yield from _compared(name, *study.sets(trials, modalities, VALIDATION), home, repeats)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _compared(name: str, spec: dict, learn: Data, check: Data, home: Path, repeats: int) -> Iterator[Row]:
    network = started(spec, tuple(learn.inputs), learn)
    learn, check = learn.prepared(network), check.prepared(network)
    weights = {}

    def ours():
        shutil.rmtree(home / name, ignore_errors=True)
        mine = copy.deepcopy(network)
        train(mine, learn, check, settings=SETTINGS, seed=0, directory=home / name)
        weights["ours"] = mine.state_dict()

    def other():
        bare_one = copy.deepcopy(network)
        bare(bare_one, learn, check)
        weights["other"] = bare_one.state_dict()

    note = f"{EPOCHS} epochs, {len(learn)} trials, {sum(p.numel() for p in network.parameters())} weights"
    title = f"loop, {name}: epochs with checkpoints over bare ones"
    yield costs(title, ours, other, most=1.05, repeats=repeats, note=note)
    apart = max((a - weights["other"][k]).abs().max().item() for k, a in weights["ours"].items())
    yield fact(f"loop, {name}: largest difference of the weights", apart, goal="<= 1e-5", holds=apart <= 1e-5)


def started(spec: dict, modalities: tuple[str, ...], learn: Data, seed: int = 0) -> nn.Module:
    """A network whose heads have been fitted once, so that fitting them is in nobody's time."""
    network = build(spec, modalities, study.TARGETS, dropout=SETTINGS.dropout, seed=seed)
    prepared = learn.prepared(network)
    network.calibrate(prepared.inputs, prepared.present, prepared.truth)
    network.calibrate = nothing
    return network


def nothing(*_):
    """In place of fitting the heads."""


def bare(network: nn.Module, learn: Data, check: Data, epochs: int = EPOCHS):
    """What one would write for this study alone: all truth is known, nothing is kept, nothing is checked."""
    optimiser = torch.optim.AdamW(groups(network, SETTINGS), lr=SETTINGS.learning_rate, fused=True)
    size = max(4, min(SETTINGS.batch, len(learn) // STEPS))
    best, lowest = copy.deepcopy(network.state_dict()), _validation(network, check)
    for epoch in range(epochs):
        torch.manual_seed(derived_seed(0, "epoch", epoch))
        for some in optimiser.param_groups:
            some["lr"] = SETTINGS.learning_rate * 0.5 * (1 + math.cos(math.pi * epoch / epochs))
        network.train()
        for index in torch.randperm(len(learn)).split(size):
            inputs = {m: {k: v[index] for k, v in block.items()} for m, block in learn.inputs.items()}
            output = network(inputs, learn.present[index])
            loss = _loss(output, {k: v[index] for k, v in learn.truth.items()}, SETTINGS.beta)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), SETTINGS.clip)
            optimiser.step()
        score = _validation(network, check)
        if score < lowest:
            best, lowest = copy.deepcopy(network.state_dict()), score
    network.load_state_dict(best)


def groups(network: nn.Module, settings: Training) -> list[dict]:
    """Parameters with and without weight decay, as an optimiser takes them."""
    matrices = [p for p in network.parameters() if p.ndim > 1]
    rest = [p for p in network.parameters() if p.ndim <= 1]
    return [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": rest, "weight_decay": 0.0}]


def _loss(output, truth: dict, beta: float) -> torch.Tensor:
    found = []
    for name, mean in output.mean.items():
        log_variance = output.log_variance[name]
        nll = (truth[name] - mean) ** 2 * torch.exp(-log_variance) + log_variance + math.log(2 * math.pi)
        found.append((torch.exp(beta * log_variance.detach()) * 0.5 * nll).mean())
    found += [functional.cross_entropy(logits, truth[name]) for name, logits in output.logits.items()]
    return torch.stack(found).mean()


def _validation(network: nn.Module, check: Data) -> float:
    network.eval()
    with torch.no_grad():
        return _loss(network(check.inputs, check.present), check.truth, 0).item()
