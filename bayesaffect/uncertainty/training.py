"""The one training loop: early stopping on validation subjects, a checkpoint every epoch."""

from __future__ import annotations

import functools
import hashlib
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from bayesaffect.errors import InputError
from bayesaffect.files import write_text
from bayesaffect.uncertainty import checkpoint, watch
from bayesaffect.uncertainty.checkpoint import Checkpoint
from bayesaffect.uncertainty.data import Data
from bayesaffect.uncertainty.losses import class_weights, losses, total

STEPS = 8
CHUNK = 1024
RESIDENT = 2**30
BOUNDS = {
    "epochs": "[1, inf)",
    "batch": "[1, inf)",
    "patience": "[1, inf)",
    "learning_rate": "(0, inf)",
    "weight_decay": "[0, inf)",
    "dropout": "[0, 1)",
    "beta": "[0, 1]",
    "clip": "(0, inf)",
    "class_weights": "[0, 1]",
}


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
    beta : exponent of the variance weight in `losses.continuous_loss`; 0 is the Gaussian likelihood itself.
    clip : largest norm of a gradient.
    bootstrap : draw the training subjects with replacement, once per member. Off by default: each member
        would do without a third of the subjects, which costs more than the diversity gains where they are few.
    class_weights : exponent a of the weights n_k^-a that classes have in the training loss, see
        `losses.class_weights`: 0 (none) keeps probabilities honest, 1 finds rare classes more often and claims too much
        for them. The validation loss is never weighted, so that stopping early limits what weights can do.
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
    class_weights: float = 0.0

    def __post_init__(self):
        whole = {field.name for field in fields(self) if field.type == "int"}
        for name, bounds in BOUNDS.items():
            value, kind = getattr(self, name), "a whole number" if name in whole else "a number"
            if not _within(value, bounds, whole=name in whole):
                raise InputError(f"{name} is {value!r}", where="Training", remedy=f"give {kind} in {bounds}")
        if not isinstance(self.bootstrap, bool):
            raise InputError(f"bootstrap is {self.bootstrap!r}", where="Training", remedy="give true or false")


def _within(value, bounds: str, *, whole: bool) -> bool:
    """Whether ``value`` is a finite number inside an interval written like "[0, 1)"."""
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not math.isfinite(value):
        return False
    low, high = (float(bound) for bound in bounds[1:-1].split(","))
    above = value >= low if bounds[0] == "[" else value > low
    return above and (value <= high if bounds[-1] == "]" else value < high)


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
    device: str = "cpu",
    after_epoch: Callable[[int, Mapping[str, float]], None] | None = None,
) -> pd.DataFrame:
    """Train ``network`` in place, leave the weights of its best validation epoch in it, return the history.

    The order of trials and the dropout masks of an epoch follow from ``seed`` and the epoch's number alone,
    and a checkpoint in ``directory`` holds weights, best weights and the optimiser's moments, so that a
    run that was interrupted, or killed at any instant, ends with the very same weights. A checkpoint that cannot
    be read is passed over. Without labelled validation trials, the training loss stands in for the validation loss.

    Parameters
    ----------
    training_data, validation_data : trials of disjoint sets of subjects; those without any truth are skipped.
    directory : where ``checkpoint.safetensors``, ``history.csv`` and the signs of life in ``progress.json``
        (`watch.signs_of_life`) go; nothing is written without it.
    device : torch device of the steps. Moments of inputs and the regression that heads start from are taken on the
        CPU; the network comes back to it. Other devices round differently and draw other dropout masks.
    after_epoch : called with the epoch's number and its row of the history after its checkpoint.

    Returns
    -------
    Table with the columns epoch, training, validation and validation_<target>, one row per epoch; epoch 0 is the
    network before the first step.

    Raises
    ------
    InputError : if no training trial has any truth, a subject is in both sets, or ``directory`` cannot be written to.
    """
    training_data, validation_data = _sets(training_data, validation_data, settings, seed)
    training_data, validation_data = training_data.prepared(network), validation_data.prepared(network)
    if hasattr(network, "calibrate"):
        network.calibrate(training_data.inputs, training_data.present, training_data.truth)
    place = torch.device(device)
    network.to(place)
    criterion = _criterion(training_data, settings, place)
    optimiser = _optimiser(network, settings)
    if directory is not None:
        directory = Path(directory)
        with checkpoint.writing(directory):
            directory.mkdir(parents=True, exist_ok=True)
    state = None if directory is None else checkpoint.read(directory, network, optimiser)
    training_data, validation_data = _resident(training_data, place), _resident(validation_data, place)
    state = state or _start(network, validation_data, place)
    report = None if directory is None else watch.signs_of_life(directory / watch.PROGRESS, settings.epochs)
    if report:
        report(state)
    with torch.random.fork_rng(**_generators(place)):
        while state.epoch < settings.epochs and state.epoch - state.best_epoch < settings.patience:
            _seed(place, derived_seed(seed, "epoch", state.epoch))
            mean = _pass(network, optimiser, training_data, settings, state.epoch, criterion)
            state = _next(state, network, mean, _validate(network, validation_data, place))
            if directory is not None:
                checkpoint.write(directory, state, network, optimiser)
                report(state)
            if after_epoch is not None:
                after_epoch(state.epoch, state.history[-1])
    network.load_state_dict(state.best)
    network.cpu().eval()
    history = pd.DataFrame(state.history)
    if directory is not None:
        buffer = io.StringIO()
        history.to_csv(buffer, index=False)
        with checkpoint.writing(directory):
            write_text(directory / "history.csv", buffer.getvalue())
        report(state, last=True)
    return history


def _sets(training_data: Data, validation_data: Data, settings: Training, seed: int) -> tuple[Data, Data]:
    """The trials with a truth, subjects of the training set drawn with replacement if asked for."""
    if shared := sorted(set(training_data.subject) & set(validation_data.subject)):
        raise InputError(f"subjects {shared} are in both the training and the validation set")
    keep = np.flatnonzero(training_data.labelled)
    if keep.size == 0:
        raise InputError("no training trial has both inputs and a truth", remedy="leave the modality out")
    training_data = training_data.rows(keep)
    if settings.bootstrap:
        training_data = training_data.rows(bootstrap_rows(training_data.subject, seed=derived_seed(seed, "bootstrap")))
    return training_data, validation_data.rows(np.flatnonzero(validation_data.labelled))


def _pass(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    data: Data,
    settings: Training,
    epoch: int,
    criterion: Callable[..., dict[str, Tensor]],
) -> float:
    """One pass over the training trials, in steps; their mean loss."""
    rate = settings.learning_rate * 0.5 * (1 + math.cos(math.pi * epoch / settings.epochs))
    for group in optimiser.param_groups:
        group["lr"] = rate
    network.train()
    parameters = list(network.parameters())
    place = parameters[0].device
    size = max(4, min(settings.batch, len(data) // STEPS))
    found = []
    for index in torch.randperm(len(data)).split(size):
        batch = data.rows(index).to(place)
        output = network(batch.inputs, batch.present)
        loss = total(criterion(output, batch.truth))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, settings.clip)
        optimiser.step()
        found.append((loss.detach(), len(batch)))
    return sum(loss.item() * count for loss, count in found) / len(data)


def _next(state: Checkpoint, network: nn.Module, mean: float, validation: Mapping[str, float]) -> Checkpoint:
    """The state after one more epoch; a better validation loss (the training loss, without any) makes it the best."""
    row = {"epoch": state.epoch + 1, "training": mean, **validation}
    score = row["validation"] if len(validation) > 1 else mean
    better = score < state.best_score
    return Checkpoint(
        state.epoch + 1,
        [*state.history, row],
        score if better else state.best_score,
        state.epoch + 1 if better else state.best_epoch,
        _copy(network) if better else state.best,
    )


def _start(network: nn.Module, validation_data: Data, place: torch.device) -> Checkpoint:
    """Epoch 0: the calibrated network is the first candidate for the best one."""
    row = {"epoch": 0, "training": math.nan} | _validate(network, validation_data, place)
    score = row["validation"] if math.isfinite(row["validation"]) else math.inf
    return Checkpoint(0, [row], score, 0, _copy(network))


def _copy(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def _validate(network: nn.Module, data: Data, place: torch.device) -> dict[str, float]:
    """Gaussian or categorical negative log-likelihood per target, and their mean."""
    if not len(data):
        return {"validation": math.nan}
    network.eval()
    with torch.no_grad():
        parts = []
        for index in torch.arange(len(data)).split(CHUNK):
            batch = (data if len(data) <= CHUNK else data.rows(index)).to(place)
            parts.append((network(batch.inputs, batch.present), batch.truth))
        output, truth = parts[0] if len(parts) == 1 else _joined(parts)
        found = losses(output, truth, beta=0)
    return {"validation": total(found).item()} | {f"validation_{name}": value.item() for name, value in found.items()}


def _joined(parts: Sequence[tuple]) -> tuple[SimpleNamespace, dict[str, Tensor]]:
    """Outputs and truth of several batches as those of one."""
    outputs, truths = zip(*parts, strict=True)

    def join(some: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        return {name: torch.cat([one[name] for one in some]) for name in some[0]}

    fields = {name: join([getattr(o, name) for o in outputs]) for name in ("mean", "log_variance", "logits")}
    return SimpleNamespace(**fields), join(truths)


def _criterion(data: Data, settings: Training, place: torch.device) -> Callable[..., dict[str, Tensor]]:
    """The losses of the training trials: weighted by class if asked for, and looking for gaps only where there are."""
    weights = None
    if settings.class_weights:
        categorical = {name: truth for name, truth in data.truth.items() if not truth.is_floating_point()}
        weights = {n: class_weights(y, exponent=settings.class_weights).to(place) for n, y in categorical.items()}
    complete = frozenset(name for name, known in data.known.items() if known.all())
    return functools.partial(losses, beta=settings.beta, weights=weights, complete=complete)


def _resident(data: Data, place: torch.device) -> Data:
    """``data`` on the device where it is small; large data stays and follows batch by batch."""
    return data.to(place) if data.nbytes <= RESIDENT else data


def _generators(place: torch.device) -> dict:
    """Which generators beside the CPU's are put back after training, for `torch.random.fork_rng`."""
    if place.type != "cuda":
        return {"devices": []}
    return {"devices": [place.index if place.index is not None else torch.cuda.current_device()]}


def _seed(place: torch.device, seed: int):
    """The generators that an epoch draws from; `torch.manual_seed` would spend a millisecond on absent devices."""
    torch.default_generator.manual_seed(seed)
    if place.type != "cpu":
        torch.get_device_module(place).manual_seed(seed)


def _optimiser(network: nn.Module, settings: Training) -> torch.optim.Optimizer:
    weights = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": weights, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)
