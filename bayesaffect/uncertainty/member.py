"""One task of a cross-fit: train one member of one network on one fit's subjects and predict who was held out."""

from __future__ import annotations

import contextlib
import functools
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from bayesaffect.files import key, write_json
from bayesaffect.types import Target
from bayesaffect.uncertainty import checkpoint, data, dropout
from bayesaffect.uncertainty.training import Training, derived_seed, train

FORMAT = 1


@dataclass(frozen=True)
class Task:
    """All that determines one member's weights and draws.

    ``train``, ``validation`` and ``test`` are positions of trials; ``held_out`` the subjects of the fit's
    held-out groups. The initial weights depend on ``seed``, the modalities and ``member`` only, so that the
    same member of different fits starts at the same point and its embeddings stay comparable.
    """

    name: str
    modalities: tuple[str, ...]
    member: int
    held_out: tuple[str, ...]
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    inputs: str
    settings: Training
    passes: int
    seed: int

    @functools.cached_property
    def key(self) -> str:
        """Name of the task's folder: equal for equal results, except for ``passes``, which only the draws need."""
        positions = [rows.tolist() for rows in (self.train, self.validation, self.test)]
        who = (self.modalities, self.member, self.held_out)
        return key(FORMAT, who, positions, self.inputs, asdict(self.settings), self.seed)


@dataclass(frozen=True)
class Place:
    """Where tasks find their inputs and leave their results, and how their networks are built."""

    directory: Path
    inputs: Path
    spec: Mapping[str, Mapping]
    targets: tuple[Target, ...]
    build: Callable[..., nn.Module]

    def folder(self, task: Task) -> Path:
        return self.directory / task.key

    def draws(self, task: Task) -> Path:
        return self.folder(task) / f"draws-{task.passes}.safetensors"


def build_network(place: Place, task: Task) -> nn.Module:
    """The task's network with its initial weights."""
    seed = derived_seed(task.seed, "initial weights", task.modalities, task.member)
    return place.build(place.spec, task.modalities, place.targets, dropout=task.settings.dropout, seed=seed)


def finished(place: Place, task: Task) -> dict[str, Tensor] | None:
    """The draws of a task that has ended, ``test/...`` and ``validation/...``; ``None`` if it has to be run."""
    found = checkpoint.read_tensors(place.draws(task))
    return None if found is None else found[0]


def run(place: Place, task: Task, *, worker: bool = False) -> str:
    """Train (or go on training) the member, write ``weights.safetensors`` and its draws, return the task's key.

    Weights that are there already are used as they are. ``worker`` says that this is a process of a pool:
    an interrupt is then left to the parent, which ends its workers.
    """
    if worker:
        with contextlib.suppress(ValueError):
            signal.signal(signal.SIGINT, signal.SIG_IGN)
    folder = place.folder(task)
    folder.mkdir(parents=True, exist_ok=True)
    with one_thread():
        trials = _load(place.inputs, task.modalities)
        held_out, validation = trials.rows(task.test), trials.rows(task.validation)
        network = build_network(place, task)
        stored = checkpoint.read_tensors(folder / "weights.safetensors")
        if stored is not None:
            network.load_state_dict(stored[0])
        else:
            write_json(folder / "task.json", _description(task))
            seed = derived_seed(task.seed, "training", task.modalities, task.held_out, task.member)
            train(network, trials.rows(task.train), validation, settings=task.settings, seed=seed, directory=folder)
            checkpoint.write_tensors(folder / "weights.safetensors", network.state_dict(), _description(task))
            checkpoint.clear(folder)
        draws = {}
        for label, rows in (("test", held_out), ("validation", validation)):
            if len(rows):
                seed = derived_seed(task.seed, "passes", task.modalities, task.held_out, task.member, label)
                found = dropout.sample(network, rows, passes=task.passes, seed=seed)
                draws |= {f"{label}/{name}": value for name, value in found.items()}
        checkpoint.write_tensors(place.draws(task), draws, _description(task))
    return task.key


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread inside the block: sums, and so results, do not depend on the machine's cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _description(task: Task) -> dict:
    return {
        "network": task.name,
        "modalities": list(task.modalities),
        "member": task.member,
        "held_out": list(task.held_out),
        "passes": task.passes,
        "seed": task.seed,
        "training": asdict(task.settings),
    }


@functools.lru_cache(maxsize=2)
def _load(path: Path, modalities: tuple[str, ...]) -> data.Data:
    return data.load(path, modalities)


def forget():
    """Let go of the inputs that this process keeps between tasks."""
    _load.cache_clear()
