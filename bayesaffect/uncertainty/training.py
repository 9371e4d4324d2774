"""The one training loop: masked losses, early stopping on validation subjects, a checkpoint every epoch."""

from __future__ import annotations

import hashlib
import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from bayesaffect.errors import InputError
from bayesaffect.files import write_text
from bayesaffect.uncertainty.checkpoint import Checkpoint
from bayesaffect.uncertainty.checkpoint import read as read_checkpoint
from bayesaffect.uncertainty.checkpoint import write as write_checkpoint
from bayesaffect.uncertainty.data import Data

STEPS = 8


@dataclass(frozen=True)
class Training:
    """Settings of the loop.

    Parameters
    ----------
    epochs : at most so many passes over the training trials.
    batch : trials per step; fewer in a small set, so that an epoch has about 8 steps.
    learning_rate, weight_decay : of AdamW (Loshchilov & Hutter 2019); the rate falls to zero along half a
        cosine over ``epochs``; biases and learned stand-ins do not decay.
    patience : epochs without a better validation loss before the loop stops.
    dropout : probability in the network's dropout layers.
    beta : exponent of the variance weight in `continuous_loss`; 0 is the Gaussian likelihood itself.
    clip : largest norm of a gradient.
    bootstrap : draw the training subjects with replacement, once per member. Off by default: each member
        would do without a third of the subjects, which costs more than the diversity gains where they are few.
    """

    epochs: int = 40
    batch: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.3
    patience: int = 5
    dropout: float = 0.4
    beta: float = 0.5
    clip: float = 1.0
    bootstrap: bool = False

    def __post_init__(self):
        for name in ("epochs", "batch", "patience"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}", where="Training", remedy="give at least 1")
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout is {self.dropout}", where="Training", remedy="give a probability below 1")


def continuous_loss(mean: Tensor, log_variance: Tensor, truth: Tensor, *, beta: float) -> Tensor:
    """beta-NLL per trial: stop(v)^beta * ((y - m)^2 / v + log v + log 2 pi) / 2, with v = exp(log_variance).

    beta = 0 is the Gaussian negative log-likelihood; beta > 0 keeps trials with a large variance from
    being ignored (Seitzer et al. 2022).
    """
    nll = 0.5 * ((truth - mean) ** 2 * torch.exp(-log_variance) + log_variance + math.log(2 * math.pi))
    return nll if beta == 0 else torch.exp(beta * log_variance.detach()) * nll


def losses(output, truth: dict[str, Tensor], *, beta: float) -> dict[str, Tensor]:
    """Mean loss per target over the trials whose truth is known; a target with none is left out."""
    found = {}
    for name, mean in output.mean.items():
        y = truth[name]
        known = torch.isfinite(y)
        if known.any():
            found[name] = continuous_loss(mean[known], output.log_variance[name][known], y[known], beta=beta).mean()
    for name, logits in output.logits.items():
        known = truth[name] >= 0
        if known.any():
            found[name] = functional.cross_entropy(logits[known], truth[name][known])
    return found


def total(found: dict[str, Tensor]) -> Tensor | None:
    """Every target counts the same: the mean of the losses found, ``None`` without any."""
    return torch.stack(list(found.values())).mean() if found else None


def derived_seed(seed: int, *parts) -> int:
    """A seed for one purpose: the first 63 bits of SHA-256 over ``seed`` and the purpose's name."""
    digest = hashlib.sha256(repr((int(seed), *parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def bootstrap_rows(subject: tuple[str, ...], *, seed: int) -> np.ndarray:
    """Positions of all trials of as many subjects as there are, drawn with replacement."""
    names = np.array(subject)
    unique = np.unique(names)
    drawn = np.random.default_rng(seed).choice(unique, size=unique.size)
    return np.concatenate([np.flatnonzero(names == s) for s in drawn])


def train(
    network: nn.Module,
    training_data: Data,
    validation_data: Data,
    *,
    settings: Training,
    seed: int,
    directory: Path | None = None,
    after_epoch=None,
) -> pd.DataFrame:
    """Train ``network`` in place, leave the weights of its best validation epoch in it, return the history.

    The order of trials and the dropout masks of an epoch follow from ``seed`` and the epoch's number alone,
    and a checkpoint in ``directory`` holds weights, best weights and the optimiser's moments, so that a
    run that was interrupted ends with the very same weights. A checkpoint that cannot be read is
    passed over. Without labelled validation trials, the training loss stands in for the validation loss.

    Parameters
    ----------
    training_data, validation_data : trials of disjoint sets of subjects; those without any truth are skipped.
    directory : where ``checkpoint.safetensors`` and ``history.csv`` go; nothing is written without it.
    after_epoch : called with the epoch's number after its checkpoint (progress, tests).

    Returns
    -------
    Table with the columns epoch, training, validation and validation_<target>, one row per epoch.

    Raises
    ------
    InputError : if no training trial has any truth, or a subject is in both sets.
    """
    if shared := sorted(set(training_data.subject) & set(validation_data.subject)):
        raise InputError(f"subjects {shared} are in both the training and the validation set")
    keep = np.flatnonzero(training_data.labelled)
    if keep.size == 0:
        raise InputError("no training trial has both inputs and a truth", remedy="leave the modality out")
    training_data = training_data.rows(keep)
    validation_data = validation_data.rows(np.flatnonzero(validation_data.labelled))
    if settings.bootstrap:
        training_data = training_data.rows(bootstrap_rows(training_data.subject, seed=derived_seed(seed, "bootstrap")))
    training_data, validation_data = _prepared(network, training_data), _prepared(network, validation_data)
    if hasattr(network, "calibrate"):
        network.calibrate(training_data.inputs, training_data.present, training_data.truth)
    optimiser = _optimiser(network, settings)
    state = None if directory is None else read_checkpoint(Path(directory), network, optimiser)
    state = state or _start(network, validation_data)
    with torch.random.fork_rng(devices=[]):
        while state.epoch < settings.epochs and state.epoch - state.best_epoch < settings.patience:
            state = _epoch(network, optimiser, state, training_data, validation_data, settings, seed)
            if directory is not None:
                write_checkpoint(Path(directory), state, network, optimiser)
            if after_epoch is not None:
                after_epoch(state.epoch)
    network.load_state_dict(state.best)
    network.eval()
    history = pd.DataFrame(state.history)
    if directory is not None:
        buffer = io.StringIO()
        history.to_csv(buffer, index=False)
        write_text(Path(directory) / "history.csv", buffer.getvalue())
    return history


def _epoch(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    state: Checkpoint,
    training_data: Data,
    validation_data: Data,
    settings: Training,
    seed: int,
) -> Checkpoint:
    """One pass over the training trials and one look at the validation trials."""
    torch.manual_seed(derived_seed(seed, "epoch", state.epoch))
    rate = settings.learning_rate * 0.5 * (1 + math.cos(math.pi * state.epoch / settings.epochs))
    for group in optimiser.param_groups:
        group["lr"] = rate
    network.train()
    size = max(4, min(settings.batch, len(training_data) // STEPS))
    summed, count = 0.0, 0
    for index in torch.randperm(len(training_data)).split(size):
        inputs = {m: {k: v[index] for k, v in block.items()} for m, block in training_data.inputs.items()}
        output = network(inputs, training_data.present[index])
        loss = total(losses(output, {k: v[index] for k, v in training_data.truth.items()}, beta=settings.beta))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), settings.clip)
        optimiser.step()
        summed, count = summed + loss.item() * len(index), count + len(index)
    row = {"epoch": state.epoch + 1, "training": summed / count} | _validate(network, validation_data)
    score = row["validation"] if len(validation_data) else row["training"]
    better = score < state.best_score
    best = {k: v.clone() for k, v in network.state_dict().items()} if better else state.best
    return Checkpoint(
        state.epoch + 1,
        [*state.history, row],
        score if better else state.best_score,
        state.epoch + 1 if better else state.best_epoch,
        best,
    )


def _start(network: nn.Module, validation_data: Data) -> Checkpoint:
    """Epoch 0: the calibrated network is the first candidate for the best one."""
    row = {"epoch": 0, "training": math.nan} | _validate(network, validation_data)
    score = row["validation"] if len(validation_data) else math.inf
    return Checkpoint(0, [row], score, 0, {k: v.clone() for k, v in network.state_dict().items()})


def _validate(network: nn.Module, validation_data: Data) -> dict[str, float]:
    """Gaussian or categorical negative log-likelihood per target, and their mean."""
    if not len(validation_data):
        return {"validation": math.nan}
    network.eval()
    with torch.no_grad():
        found = losses(network(validation_data.inputs, validation_data.present), validation_data.truth, beta=0)
    return {"validation": total(found).item()} | {f"validation_{name}": value.item() for name, value in found.items()}


def _prepared(network: nn.Module, data: Data) -> Data:
    if not hasattr(network, "prepare"):
        return data
    return Data(network.prepare(data.inputs), data.present, data.truth, data.subject)


def _optimiser(network: nn.Module, settings: Training) -> torch.optim.Optimizer:
    weights = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": weights, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)
